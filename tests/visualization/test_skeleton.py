"""Skeletons land where the keypoints are; sheets hold every image."""

import numpy as np
import pytest

from mmhier.visualization.skeleton import contact_sheet, draw_skeleton
from mmhier.visualization.style import SIDES, Style

NAMES, LINKS = ('nose', 'left_hand', 'right_hand'), [(0, 1), (0, 2)]


def test_only_confident_keypoints_are_drawn():
    image = np.zeros((100, 100, 3), np.uint8)
    keypoints = np.array([[50, 10], [10, 90], [90, 90]], float)
    drawn = draw_skeleton(image, keypoints, np.array([1.0, 1.0, 0.0]), NAMES, LINKS)
    assert drawn[10, 50].any() and drawn[90, 10].any() and drawn[50, 30].any()
    assert not drawn[90, 90].any() and not drawn[50, 70].any()
    assert drawn is image


def person(scale):
    """A stick figure, 80 pixels high at scale 1."""
    return scale * np.array([[50, 10], [20, 90], [80, 90]], float)


@pytest.mark.parametrize('scale', [10, 30])
def test_a_person_looks_the_same_at_any_size(scale):
    """The share of the picture that lines and points take is that of a person twice as large."""

    def share(scale):
        image = np.zeros((100 * scale, 100 * scale, 3), np.uint8)
        return (draw_skeleton(image, person(scale), np.ones(3), NAMES, LINKS) > 0).any(axis=2).mean()

    assert share(scale) == pytest.approx(share(2 * scale), rel=0.12)


def test_sides_have_their_colours():
    drawn = draw_skeleton(np.zeros((400, 400, 3), np.uint8), person(4), np.ones(3), NAMES, LINKS)
    for side, (column, row) in dict(left=(140, 200), right=(260, 200)).items():
        # a hand and the nose are of two sides: their limb is of the middle
        np.testing.assert_array_equal(drawn[row, column], SIDES['middle'])
        hand = drawn[360, 80 if side == 'left' else 320].astype(int)
        assert hand.min() > 250, 'the core of a point is white'
        near = drawn[360, (80 if side == 'left' else 320) + 4]
        np.testing.assert_array_equal(near, SIDES[side])
    own = draw_skeleton(
        np.zeros((400, 400, 3), np.uint8), person(4), np.ones(3), NAMES, LINKS, Style(colours='person'), 2
    )
    np.testing.assert_array_equal(own[200, 140], Style(colours='person').side_colours(2)['middle'])


def test_lines_have_a_rim_on_a_white_ground():
    drawn = draw_skeleton(np.full((1000, 1000, 3), 255, np.uint8), person(10), np.ones(3), NAMES, LINKS)
    row = drawn[500].astype(int).max(axis=1)
    first, last = np.flatnonzero(row[:500] < 255)[[0, -1]]
    assert row[first + 1] < 60 and row[last - 1] < 60, 'on both sides, within a blurred pixel'
    assert row[(first + last) // 2] > 200


def test_points_that_are_nowhere_are_left_out():
    image = np.zeros((100, 100, 3), np.uint8)
    broken = np.array([[50, 10], [np.nan, 90], [1e30, 90]])
    drawn = draw_skeleton(image, broken, np.ones(3), NAMES, LINKS)
    assert drawn[10, 50].any() and not drawn[40:].any()
    nobody = draw_skeleton(np.zeros_like(image), np.full((3, 2), np.inf), np.ones(3), NAMES, LINKS)
    assert not nobody.any()


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
