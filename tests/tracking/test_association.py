"""Assignment and boxes from keypoints, by hand."""

import numpy as np
import pytest

from mmhier.tracking.association import boxes_from_keypoints, match


def test_match_prefers_one_good_pair_to_two_poor_ones():
    rows, columns = match(np.array([[0.9, 0.3], [0.3, 0.0]]), 0.2)
    assert rows.tolist() == [0] and columns.tolist() == [0]
    rows, columns = match(np.array([[0.6, 0.7], [0.1, 0.6]]), 0.2)
    assert list(zip(rows.tolist(), columns.tolist())) == [(0, 0), (1, 1)]


def test_match_of_nothing():
    for shape in [(0, 0), (0, 3), (2, 0)]:
        rows, columns = match(np.zeros(shape), 0.2)
        assert len(rows) == len(columns) == 0
    rows, _ = match(np.array([[-np.inf, np.nan]]), 0.2)
    assert len(rows) == 0


def test_boxes_from_keypoints_by_hand():
    """Extent 100 x 200: 10 % of the longer side on each side."""
    points = np.array([[[100.0, 50], [200, 50], [100, 250], [150, 150], [900, 900]]])
    scores = np.array([[0.9, 0.9, 0.9, 0.9, 0.1]])
    boxes, valid = boxes_from_keypoints(points, scores, margin=0.1)
    assert valid.tolist() == [True] and boxes.dtype == np.float32
    assert np.allclose(boxes, [[80, 30, 220, 270]])


def test_boxes_from_keypoints_without_a_person():
    points, scores = np.ones((3, 5, 2)) * np.arange(5)[:, None], np.ones((3, 5))
    scores[0, :2] = 0  # three are left, four are needed
    points[1, :2] = np.nan
    points[2] = 7.0  # all in one place
    boxes, valid = boxes_from_keypoints(points, scores)
    assert not valid.any() and np.isnan(boxes).all()
    boxes, valid = boxes_from_keypoints(np.zeros((0, 17, 2)), np.zeros((0, 17)))
    assert boxes.shape == (0, 4) and valid.shape == (0,)
    with pytest.raises(ValueError, match='keypoint_scores'):
        boxes_from_keypoints(points, scores[:, :4])
