"""Random parts of pictures: within the picture, within the ranges, and the right pixels."""

import numpy as np
import pytest

from mmhier.datasets.transforms import RandomResizedPicture


def test_parts_lie_within_the_picture_and_the_ranges():
    rng = np.random.default_rng(0)
    crop = RandomResizedPicture((8, 8), area=(0.2, 0.5), aspect=(0.5, 2.0))
    areas, aspects = [], []
    for _ in range(300):
        left, top, width, height = crop.draw((300, 400), rng)
        assert left >= 0 and top >= 0 and left + width <= 400 and top + height <= 300
        areas.append(width * height / 120_000)
        aspects.append(width / height)
    assert 0.195 < min(areas) < 0.22 and 0.48 < max(areas) < 0.505
    assert 0.49 < min(aspects) < 0.6 and 1.7 < max(aspects) < 2.02


def test_a_picture_that_no_part_fits_gives_its_middle():
    rng = np.random.default_rng(0)
    assert RandomResizedPicture((8, 8), area=(1.0, 1.0)).draw((10, 100), rng) == (43, 0, 13, 10)
    assert RandomResizedPicture((8, 8), area=(1.0, 1.0)).draw((100, 10), rng) == (0, 43, 10, 13)
    assert RandomResizedPicture((8, 8)).draw((1, 1), rng) == (0, 0, 1, 1)


def test_the_whole_picture_is_resized():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    crop = RandomResizedPicture((2, 2), area=(1.0, 1.0), aspect=(1.0, 1.0))
    results = crop(dict(img=image.copy()))
    assert np.array_equal(results['img'], image) and results['img_shape'] == (2, 2)
    assert RandomResizedPicture((6, 4))(dict(img=np.zeros((30, 20, 3), np.uint8)))['img'].shape == (4, 6, 3)


@pytest.mark.parametrize(
    'settings', [dict(area=(0.5, 0.2)), dict(area=(0.0, 1.0)), dict(area=(0.5, 2.0)), dict(aspect=(0, 1))]
)
def test_ranges_that_are_none(settings):
    with pytest.raises(ValueError, match='must be two numbers above 0'):
        RandomResizedPicture((8, 8), **settings)
    with pytest.raises(ValueError, match=r'must be \(width, height\) in pixels'):
        RandomResizedPicture((8, 0))
