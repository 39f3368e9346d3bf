"""Pixels of any kind become 8-bit BGR as OpenCV does it."""

import cv2
import numpy as np
import pytest

from mmhier.media import to_bgr


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
@pytest.mark.parametrize('shape', [(5, 7), (5, 7, 1), (5, 7, 3), (5, 7, 4)])
def test_arrays_become_what_opencv_reads_from_a_file_with_them(dtype, shape):
    rng = np.random.default_rng(0)
    array = rng.integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)
    read = cv2.imdecode(cv2.imencode('.png', array)[1], cv2.IMREAD_COLOR)
    np.testing.assert_array_equal(to_bgr(array), read)


def test_bgr_is_not_copied():
    image = np.zeros((4, 4, 3), np.uint8)
    assert np.shares_memory(to_bgr(image), image)


@pytest.mark.parametrize(
    'array',
    [np.zeros((2, 2, 2), np.uint8), np.zeros(3, np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_image_is_refused(array):
    with pytest.raises(ValueError, match='is no image'):
        to_bgr(array)


def test_floats_are_refused():
    with pytest.raises(ValueError, match='float32.*uint8'):
        to_bgr(np.zeros((2, 2, 3), np.float32))
