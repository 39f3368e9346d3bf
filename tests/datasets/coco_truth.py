"""The truth as prediction: the COCO AP that a perfect model would get with a data set and an evaluator."""

import json
from pathlib import Path

import numpy as np
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS, METRICS

from mmhier.engine.data_preflight import check_data


def write(folder: Path, content) -> Path:
    """Write an annotation file beside the pictures of ``folder``."""
    path = folder / 'annotations' / 'people.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def config(path: Path, folder: Path, kind: str = 'CheckedCocoDataset', **more) -> Config:
    """Evaluation of one file."""
    init_default_scope('mmpose')
    steps = [dict(type='LoadCheckedImage')]
    images = dict(img=f'{folder}/')
    dataset = dict(type=kind, ann_file=str(path), data_prefix=images, test_mode=True, pipeline=steps)
    dataset['serialize_data'] = False  # it collects garbage, which takes longer than all the rest
    return Config(
        dict(
            val_dataloader=dict(dataset=dataset | more),
            val_evaluator=dict(type='CocoPhiMetric', ann_file=str(path)),
        )
    )


def truth_ap(cfg: Config, keypoints: dict | None = None) -> float:
    """AP of annotated keypoints, or of those (1, K, 2) given for each image; the config is checked first."""
    check_data(cfg, 'val_dataloader')
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    metric = METRICS.build(cfg.val_evaluator)
    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        info = dataset[index]
        assert info['img'].shape[:2] == info['img_shape'] == info['ori_shape']
        points = info['keypoints'] if keypoints is None else keypoints[info['img_id']]
        found = dict(keypoints=points, keypoint_scores=np.ones(points.shape[:2]), bboxes=info['bbox'])
        sample = dict(
            id=info['id'],
            img_id=info['img_id'],
            pred_instances=found,
            gt_instances=dict(bbox_scores=info['bbox_score']),
            **({'category_id': info['category_id']} if 'category_id' in info else {}),
        )
        metric.process({}, [sample])
    return metric.evaluate(len(dataset))['coco/AP']
