import numpy as np
import pytest

from mmhier.datasets.synthetic.rendering import render_image
from mmhier.rasterizer import native


def test_same_stream_same_image(kit):
    first, second = (render_image(np.random.default_rng(11), kit, (64, 96)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    assert first[0].shape == (64, 96, 3)
    assert first[0].std() > 5
    assert not np.array_equal(first[0], render_image(np.random.default_rng(12), kit, (64, 96))[0])


def test_images_are_the_same_with_and_without_a_compiler(kit, monkeypatch):
    if native.library() is None:
        pytest.skip('no compiler')
    for seed in range(2):
        image, _, people = render_image(np.random.default_rng(seed), kit, (96, 128))
        with monkeypatch.context() as without:
            without.setattr(native, 'library', lambda: None)
            again, _, same = render_image(np.random.default_rng(seed), kit, (96, 128))
        np.testing.assert_array_equal(image, again)
        assert len(people) == len(same) > 0
        np.testing.assert_array_equal(people[0].keypoints, same[0].keypoints)
