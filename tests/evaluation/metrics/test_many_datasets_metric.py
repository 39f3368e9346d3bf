"""Scores of several data sets in one table, each those of its own metric."""

import json

import numpy as np
import pytest
from mmengine.logging import MessageHub
from mmengine.registry import init_default_scope
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.registry import METRICS

META = {name: dict(from_file=f'configs/_base_/datasets/{name}.py') for name in ('coco', 'aic', 'mpii')}
METRIC = dict(coco=dict(type='CocoMetric'), aic=dict(type='CocoMetric', use_area=False))
METRIC |= dict(mpii=dict(type='MpiiPCKAccuracy'))
JOINTS = dict(coco=17, aic=14, mpii=16)


def metas():
    init_default_scope('mmpose')
    for name in META:  # where MMPose's data sets leave the path of their annotations for any metric
        MessageHub.get_current_instance().pop_info(f'{name}_ann_file', None)
    found = {name: parse_pose_metainfo(meta) for name, meta in META.items()}
    for meta in found.values():
        meta['CLASSES'] = [dict(id=1, name='person')]
    return found


def samples(name, count, error):
    """Predictions this many pixels beside the annotations."""
    rng = np.random.default_rng(len(name))
    made = []
    for number in range(1, count + 1):
        points = rng.uniform(20, 80, (1, JOINTS[name], 2))
        labelled = np.concatenate([points, np.full((1, JOINTS[name], 1), 2)], 2)
        box = np.array([[10.0, 10.0, 90.0, 90.0]])
        annotation = dict(id=number, image_id=number, category_id=1, bbox=[10, 10, 80, 80], iscrowd=0)
        annotation |= dict(area=6400.0, keypoints=labelled.ravel().tolist(), num_keypoints=JOINTS[name])
        made.append(
            dict(
                dataset_name=name,
                id=number,
                img_id=number,
                ori_shape=(100, 100),
                category_id=1,
                raw_ann_info=annotation,
                gt_instances=dict(
                    keypoints=points + (name == 'mpii'),  # whose metric counts pixels from 1
                    keypoints_visible=np.ones((1, JOINTS[name])),
                    bboxes=box,
                    bbox_scores=np.ones(1),
                    head_size=np.full((1, 1), 10.0),
                ),
                pred_instances=dict(
                    keypoints=points + error,
                    keypoint_scores=np.ones((1, JOINTS[name])),
                    bboxes=box,
                    bbox_scores=np.ones(1),
                ),
            )
        )
    return made


def test_each_data_set_is_judged_by_its_own_metric(tmp_path):
    """The same as of the metrics alone, however samples are mixed."""
    errors = dict(coco=2.0, aic=0.0, mpii=6.0)
    meta = metas()
    many = METRICS.build(
        dict(type='ManyDatasetsMetric', judges=METRIC, outfile_prefix=str(tmp_path / 'out' / 'table'))
    )
    many.dataset_meta = dict(datasets=meta)
    own = {name: samples(name, 3 if name == 'coco' else 2, error) for name, error in errors.items()}
    mixed = [one for group in zip(*own.values(), strict=False) for one in group] + own['coco'][2:]
    many.process({}, mixed[:4])
    many.process({}, mixed[4:])
    found = many.evaluate(len(mixed))
    expected = {}
    for name, metric in METRIC.items():
        alone = METRICS.build(metric)
        alone.dataset_meta = meta[name]
        alone.process({}, own[name])
        scores = alone.evaluate(len(own[name]))
        expected |= {f'{name}/{key.split("/")[-1]}': value for key, value in scores.items()}
    assert found == pytest.approx(expected)
    assert found['aic/AP'] == 1 > found['coco/AP'] > 0 and found['mpii/PCK'] == 0
    rows = json.loads((tmp_path / 'out' / 'table.json').read_text())
    assert [(row['dataset'], row['samples']) for row in rows] == [('coco', 3), ('aic', 2), ('mpii', 2)]
    assert rows[2]['PCK'] == found['mpii/PCK']
    assert '| aic ' in (tmp_path / 'out' / 'table.md').read_text()


def test_what_has_no_counterpart_is_named():
    many = METRICS.build(dict(type='ManyDatasetsMetric', judges=METRIC))
    meta = metas()
    del meta['aic']
    with pytest.raises(ValueError, match=r'coco, mpii are read .*, aic, coco, mpii are judged'):
        many.dataset_meta = dict(datasets=meta)
    with pytest.raises(ValueError, match="of the data set 'lsp', there are metrics of coco, aic, mpii"):
        many.process({}, [dict(dataset_name='lsp')])
    with pytest.raises(ValueError, match='judges of ManyDatasetsMetric are a dictionary'):
        METRICS.build(dict(type='ManyDatasetsMetric', judges=[]))
