"""Similarity, assignment and boxes from keypoints, by hand."""

import numpy as np
import pytest

from mmhier.tracking.association import (
    COCO_SIGMAS,
    box_iou,
    boxes_from_keypoints,
    check_boxes,
    match,
    object_keypoint_similarity,
)


def test_iou_by_hand():
    first = np.array([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    second = np.array([[5.0, 0, 15, 10], [0, 0, 10, 10], [22, 22, 24, 24]])
    assert np.allclose(box_iou(first, second), [[1 / 3, 1, 0], [0, 0, 0.04]])


def test_oks_by_hand():
    """Equal: 1. A keypoint off by its own standard deviation: exp(-1/2). Unseen ones do not count."""
    area, sigmas = 10000.0, np.array([0.05, 0.1])
    here = np.array([[[10.0, 10.0], [50.0, 50.0]]])
    off = here + np.array([[[0.0, 0.0], [2 * 0.1 * 100, 0.0]]])
    half = np.array([[[10.0, 10.0], [np.nan, np.nan]]])
    none = np.full((1, 2, 2), np.nan)
    found = object_keypoint_similarity(
        here, np.concatenate([here, off, half, none]), np.array([area]), sigmas
    )
    assert np.allclose(found[:3], [1, (1 + np.exp(-0.5)) / 2, 1])
    assert np.isnan(found[3])


def test_oks_equals_pycocotools():
    cocoeval = pytest.importorskip('pycocotools.cocoeval')
    rng = np.random.default_rng(0)
    truth, found = rng.uniform(0, 200, (2, 17, 2)), None
    found = truth[:1] + rng.normal(0, 8, (1, 17, 2))
    areas = np.array([9000.0, 14000.0])
    evaluation = cocoeval.COCOeval(iouType='keypoints')
    seen = np.full((17, 1), 2.0)
    evaluation._gts[1, 1] = [
        dict(keypoints=np.hstack([points, seen]).ravel(), bbox=[0, 0, 100, 100], area=area, num_keypoints=17)
        for points, area in zip(truth, areas)
    ]
    evaluation._dts[1, 1] = [dict(keypoints=np.hstack([found[0], seen]).ravel(), score=1.0)]
    evaluation.params.imgIds, evaluation.params.catIds = [1], [1]
    expected = evaluation.computeOks(1, 1)
    assert np.allclose(object_keypoint_similarity(truth, found, areas, COCO_SIGMAS), expected[0], atol=1e-9)


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


@pytest.mark.parametrize(
    'boxes, text',
    [
        ([[0, 0, 10, 10], [0, 0, float('nan'), 10]], r'boxes\[1\].*nan'),
        ([[10, 0, 5, 10]], r'boxes\[0\] = \[10.0, 0.0, 5.0, 10.0\] is not a box'),
        ([[0, 0, 10, 0]], 'y1 < y2'),
        ([[0, 0, 10]], r'\(N, 4\).*\(1, 3\)'),
        ([0, 0, 10, 10], r'got the shape \(4,\)'),
    ],
)
def test_bad_boxes_are_named(boxes, text):
    with pytest.raises(ValueError, match=text):
        check_boxes(boxes)


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
