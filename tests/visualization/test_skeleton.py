"""Skeletons land where the keypoints are; sheets hold every image."""

import numpy as np
import pytest

from mmhier.visualization.skeleton import contact_sheet, draw_skeleton

NAMES, LINKS = ('nose', 'left_hand', 'right_hand'), [(0, 1), (0, 2)]


def test_only_confident_keypoints_are_drawn():
    image = np.zeros((100, 100, 3), np.uint8)
    keypoints = np.array([[50, 10], [10, 90], [90, 90]], float)
    drawn = draw_skeleton(image, keypoints, np.array([1.0, 1.0, 0.0]), NAMES, LINKS)
    assert drawn[10, 50].any() and drawn[90, 10].any() and drawn[50, 30].any()
    assert not drawn[90, 90].any() and not drawn[50, 70].any()
    assert not image.any(), 'the input is left alone'


def test_lengths_must_match():
    with pytest.raises(ValueError, match='3 keypoints, 2 scores'):
        draw_skeleton(np.zeros((9, 9, 3), np.uint8), np.zeros((3, 2)), np.zeros(2), NAMES, LINKS)


def test_contact_sheet_keeps_every_image_undistorted():
    images = [np.full((40, 20, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = contact_sheet(images, columns=2, cell_hw=(40, 40), gap=2)
    assert sheet.shape == (2 * 42 + 2, 2 * 42 + 2, 3)
    for value in (10, 20, 30):
        assert (sheet[..., 0] == value).sum() == 40 * 20


def test_empty_sheet():
    with pytest.raises(ValueError, match='at least one'):
        contact_sheet([], 2, (4, 4))
