"""Overlap of boxes and similarity of keypoints, by hand and against COCO's own code."""

import numpy as np
import pytest

from mmhier.geometry.similarity import COCO_SIGMAS, box_iou, object_keypoint_similarity


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


def test_iou_is_that_of_the_stand_in_for_torchvision():
    """Where torchvision is absent, models of others get its function from mmhier: the same overlaps."""
    import torch

    from mmhier.compat.shims import torchvision_boxes

    corners = np.random.default_rng(0).uniform(0, 50, (2, 9, 2))
    boxes = np.concatenate([corners[0], corners[0] + 1 + corners[1]], axis=1)
    expected = torchvision_boxes.box_iou(torch.from_numpy(boxes), torch.from_numpy(boxes[:4])).numpy()
    np.testing.assert_allclose(box_iou(boxes, boxes[:4]), expected, atol=1e-12)
