import numpy as np

from mmhier.datasets.synthetic.rendering import render_image


def test_same_stream_same_image(kit):
    first, second = (render_image(np.random.default_rng(11), kit, (64, 96)) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    assert first[0].shape == (64, 96, 3)
    assert first[0].std() > 5
    assert not np.array_equal(first[0], render_image(np.random.default_rng(12), kit, (64, 96))[0])
