"""The evaluator adds Phi to what MMPose reports, and changes nothing else."""

import json

import numpy as np
import pytest
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.evaluation.metrics import CocoMetric

from mmhier.evaluation.metrics import CocoPhiMetric
from mmhier.testing import write_dot_people


@pytest.fixture(scope='module')
def annotation_file(tmp_path_factory):
    return str(write_dot_people(tmp_path_factory.mktemp('dots'), 'val', 5))


def _evaluate(metric, annotation_file, noise):
    rng = np.random.default_rng(0)
    metric.dataset_meta = parse_pose_metainfo(dict(from_file='configs/_base_/datasets/coco.py'))
    with open(annotation_file) as file:
        annotations = json.load(file)['annotations']
    for ann in annotations:
        truth = np.reshape(ann['keypoints'], (1, 17, 3))
        instances = dict(
            keypoints=truth[..., :2] + rng.normal(0, noise, (1, 17, 2)), keypoint_scores=np.ones((1, 17))
        )
        gt = dict(bbox_scores=np.ones(1), bbox_scales=np.array([ann['bbox'][2:]]))
        metric.process(
            {}, [dict(id=ann['id'], img_id=ann['image_id'], pred_instances=instances, gt_instances=gt)]
        )
    return metric.evaluate(len(annotations))


@pytest.mark.parametrize('noise', [0.0, 2.0])
def test_adds_phi_and_changes_nothing_else(annotation_file, noise):
    ours = _evaluate(CocoPhiMetric(annotation_file), annotation_file, noise)
    theirs = _evaluate(CocoMetric(annotation_file), annotation_file, noise)
    assert ours.pop('coco/Phi') == pytest.approx((theirs['coco/AP'] + theirs['coco/AR']) / 2)
    assert ours == theirs
    assert (ours['coco/AP'] == pytest.approx(1.0)) == (noise == 0)


def test_format_only_has_no_score(annotation_file, tmp_path):
    metric = CocoPhiMetric(annotation_file, format_only=True, outfile_prefix=str(tmp_path / 'out'))
    assert _evaluate(metric, annotation_file, 0.0) == {}
    assert (tmp_path / 'out.keypoints.json').exists()
