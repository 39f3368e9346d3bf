"""Data sets, evaluators and heads that do not fit each other are refused before anything is built."""

import copy
import json

import numpy as np
import pytest
from mmengine.config import Config

from mmhier.datasets import coco_file
from mmhier.engine.preflight import check_config
from mmhier.testing import write_dot_people
from tests.datasets.coco_truth import config, write

FIVE = dict(
    dataset_name='five',
    keypoint_info={i: dict(name=f'point{i}', id=i, color=[0, 0, 0], type='', swap='') for i in range(5)},
    skeleton_info={},
    joint_weights=[1.0] * 5,
    sigmas=[0.05] * 5,
)


@pytest.fixture
def people(tmp_path):
    return tmp_path, json.loads(write_dot_people(tmp_path, 'val', 3).read_text())


@pytest.fixture
def cfg(people):
    folder, content = people
    return config(write(folder, content), folder / 'images' / 'val')


def _check(cfg, **changes):
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict(changes)
    check_config(cfg, ('val_dataloader',))


def _other(folder, name, content):
    path = folder / 'annotations' / name
    path.write_text(json.dumps(content))
    return str(path)


def test_check_config_looks_into_files(cfg, people):
    _check(cfg)
    folder, content = people
    content['annotations'][0]['iscrowd'] = 'no'
    cfg.val_dataloader.dataset.ann_file = _other(folder, 'b.json', content)
    with pytest.raises(ValueError, match="b.json: annotation 1 .* has the iscrowd 'no'"):
        _check(cfg)
    wrapped = dict(type='RepeatDataset', dataset=cfg.val_dataloader.dataset, times=2)
    with pytest.raises(ValueError, match='b.json: annotation 1'):
        _check(Config(dict(val_dataloader=dict(dataset=wrapped))))


def test_a_file_of_train_val_and_evaluator_is_parsed_three_times_in_all(cfg, monkeypatch):
    """As without the check: by the two data sets and by the evaluator."""
    from mmpose.registry import DATASETS, METRICS

    reads = []
    original = coco_file.read_large_json
    monkeypatch.setattr(coco_file, 'read_large_json', lambda path: reads.append(path) or original(path))
    cfg.train_dataloader = copy.deepcopy(cfg.val_dataloader)
    cfg.train_dataloader.dataset.test_mode = False
    check_config(cfg, ('train_dataloader', 'val_dataloader'))
    assert len(reads) == 1
    for loader in ('train_dataloader', 'val_dataloader'):
        assert len(DATASETS.build(cfg[loader].dataset)) == 3
    assert len(reads) == 2
    METRICS.build(dict(cfg.val_evaluator, format_only=True, outfile_prefix='x'))
    assert len(reads) == 3


def test_an_evaluator_of_other_pictures_is_refused(cfg, people):
    folder, content = people
    fewer = dict(content, images=content['images'][:2], annotations=content['annotations'][:2])
    path = _other(folder, 'fewer.json', fewer)
    with pytest.raises(
        ValueError, match='image 3 of .*people.json is not in .*fewer.json, which val_evaluator reads'
    ):
        _check(cfg, **{'val_evaluator.ann_file': path})
    with pytest.raises(
        ValueError, match='image 3 of .*people.json, which val_evaluator reads, is not in .*fewer.json'
    ):
        _check(cfg, **{'val_dataloader.dataset.ann_file': path})
    renamed = copy.deepcopy(content)
    renamed['images'][1]['file_name'] = 'other.png'
    with pytest.raises(ValueError, match='image 2 is 000002.png in .* and other.png in .*other.json'):
        _check(cfg, **{'val_evaluator.ann_file': _other(folder, 'other.json', renamed)})
    with pytest.raises(FileNotFoundError, match='nowhere.json does not exist .val_evaluator.ann_file'):
        _check(cfg, **{'val_evaluator.ann_file': 'nowhere.json'})
    _check(cfg, **{'val_evaluator.ann_file': _other(folder, 'same.json', content)})
    empty = dict(content, annotations=[])
    cfg.val_evaluator = [dict(type='CocoMetric', ann_file=_other(folder, 'empty.json', empty))]
    with pytest.raises(ValueError, match='empty.json .val_evaluator.ann_file. holds no labelled person'):
        _check(cfg)
    cfg.val_evaluator[0].format_only = True
    _check(cfg)


def _combined(cfg, *datasets, **more):
    meta = dict(from_file='configs/_base_/datasets/coco.py')
    cfg.val_dataloader.dataset = dict(type='CombinedDataset', metainfo=meta, datasets=list(datasets), **more)
    return cfg


def test_combined_data_sets_whose_images_share_numbers(cfg, people):
    folder, content = people
    first = copy.deepcopy(cfg.val_dataloader.dataset)
    second = dict(copy.deepcopy(first), ann_file=_other(folder, 'second.json', content))
    cfg = _combined(cfg, first, second)
    with pytest.raises(
        ValueError, match='image 1 is in .*people.json and in .*second.json: val_evaluator could not'
    ):
        _check(cfg)
    cfg.train_dataloader = cfg.val_dataloader
    check_config(cfg, ('train_dataloader',))  # where numbers of images do not matter
    cfg.val_evaluator.ann_file = None
    with pytest.raises(
        ValueError, match='val_evaluator has no ann_file and val_dataloader.dataset reads several'
    ):
        _check(cfg)


def test_combined_data_sets_of_other_keypoints(cfg, people):
    folder, content = people
    content['categories'][0].pop('keypoints')
    for one in content['annotations']:
        one['keypoints'] = one['keypoints'][:15]
    first = copy.deepcopy(cfg.val_dataloader.dataset)
    second = dict(copy.deepcopy(first), metainfo=FIVE, ann_file=_other(folder, 'five.json', content))
    cfg = _combined(Config(dict(val_dataloader={})), first, second)
    with pytest.raises(ValueError, match=r'datasets.1 gives 5 keypoints, .* has 17: a KeypointConverter'):
        _check(cfg)
    converter = dict(type='KeypointConverter', num_keypoints=17, mapping=[(0, 0), ((1, 4), 16)])
    cfg.val_dataloader.dataset.datasets[1].pipeline = [converter]
    _check(cfg)
    converter['mapping'] = [(0, 17)]
    cfg.val_dataloader.dataset.datasets[1].pipeline = [converter]
    with pytest.raises(ValueError, match='KeypointConverter maps 0 to 17, .* 17 are wanted'):
        _check(cfg)
    converter['mapping'] = [(5, 0)]
    cfg.val_dataloader.dataset.datasets[1].pipeline = [converter]
    with pytest.raises(ValueError, match='KeypointConverter maps 5 to 0, but the data set has 5 keypoints'):
        _check(cfg)


def test_a_head_with_other_channels(cfg):
    head = dict(type='HeatmapHead', out_channels=17)
    _check(cfg, model=dict(head=head))
    with pytest.raises(ValueError, match='model.head.out_channels is 5, but val_dataloader.dataset has 17'):
        _check(cfg, model=dict(head=dict(head, out_channels=5)))
    with pytest.raises(ValueError, match='model.head.num_joints is 21'):
        _check(cfg, model=dict(head=dict(type='RegressionHead', num_joints=21)))
    combined = dict(head, out_channels=51, decoder=dict(type='UDPHeatmap', heatmap_type='combined'))
    _check(cfg, model=dict(head=combined))


def test_a_head_of_which_some_channels_are_evaluated(cfg):
    cfg.train_dataloader = cfg.val_dataloader
    cfg.model = dict(
        head=dict(type='HeatmapHead', out_channels=21), test_cfg=dict(output_keypoint_indices=[0])
    )
    _check(cfg)
    with pytest.raises(ValueError, match='out_channels is 21, but train_dataloader.dataset has 17'):
        check_config(cfg, ('train_dataloader',))


def test_keypoints_described_wrongly(cfg):
    with pytest.raises(ValueError, match='annotation 1 .* has 51 numbers in keypoints, expected 15'):
        _check(cfg, **{'val_dataloader.dataset.metainfo': FIVE})
    wrong = dict(FIVE, sigmas=[0.05] * 17)
    with pytest.raises(ValueError, match='val_dataloader.dataset.metainfo has 17 sigmas for 5 keypoints'):
        _check(cfg, **{'val_dataloader.dataset.metainfo': wrong})


def test_a_file_with_its_keypoints_in_another_order(cfg, people):
    folder, content = people
    names = content['categories'][0]['keypoints']
    described = list(names)
    names[1], names[2] = names[2], names[1]
    path = _other(folder, 'order.json', content)
    with pytest.raises(
        ValueError, match="order.json .*another order .*: number 2 is 'right_eye' there and 'left_eye'"
    ):
        _check(cfg, **{'val_dataloader.dataset.ann_file': path, 'val_evaluator.ann_file': path})
    for names in (
        ['REye' if name == 'left_eye' else 'LEye' if name == 'right_eye' else name for name in described],
        ['hip', 'right_hip', 'right_knee', 'right_ankle', 'left_hip', *(f'part {n}' for n in range(12))],
    ):
        content['categories'][0]['keypoints'] = names
        path = _other(folder, 'order.json', content)
        with pytest.raises(ValueError, match='order.json .*another order .*: number 2 is '):
            _check(cfg, **{'val_dataloader.dataset.ann_file': path, 'val_evaluator.ann_file': path})
    short = [f'{name.partition("_")[2]}_{name[0]}' if '_' in name else name for name in described]
    content['categories'][0]['keypoints'] = short
    path = _other(folder, 'short.json', content)
    _check(cfg, **{'val_dataloader.dataset.ann_file': path, 'val_evaluator.ann_file': path})
    content['categories'][0]['keypoints'] = [f'part {number}' for number in range(21)]  # as Human-Art has
    path = _other(folder, 'names.json', content)
    _check(cfg, **{'val_dataloader.dataset.ann_file': path, 'val_evaluator.ann_file': path})
    alike = [*described[:2], 'eye_left', *described[3:]]
    content['categories'][0]['keypoints'] = alike  # which of the two is meant nobody can tell
    path = _other(folder, 'alike.json', content)
    _check(cfg, **{'val_dataloader.dataset.ann_file': path, 'val_evaluator.ann_file': path})


def test_training_counts_who_has_no_box(cfg, people, caplog):
    folder, content = people
    content['annotations'][1]['bbox'] = [500, 5, 9, 9]
    cfg.train_dataloader = cfg.val_dataloader
    cfg.train_dataloader.dataset.ann_file = _other(folder, 'boxless.json', content)
    check_config(cfg, ('train_dataloader',))
    assert '1 labelled people have no box' in caplog.text and 'they are left out' in caplog.text
    caplog.clear()
    with pytest.raises(ValueError, match='boxless.json: 1 labelled people .* would count as missed'):
        _check(cfg)


def test_a_part_of_a_file_is_said(cfg, caplog):
    _check(cfg, **{'val_dataloader.dataset.indices': 2})
    line = 'val_dataloader.dataset is a part of its file; what is left out counts as missed'
    assert line in caplog.text
    caplog.clear()
    _check(cfg, **{'val_dataloader.dataset.sample_interval': 2})
    assert line in caplog.text


def test_sizes_that_only_our_data_set_can_ask_for(cfg, people):
    folder, content = people
    del content['images'][1]['height']
    path = _other(folder, 'sizes.json', content)
    changes = {'val_dataloader.dataset.ann_file': path, 'val_evaluator.ann_file': path}
    _check(cfg, **changes)
    with pytest.raises(
        ValueError, match='image 2 has no width and height. Write them, or set .*CheckedCocoDataset'
    ):
        _check(cfg, **changes, **{'val_dataloader.dataset.type': 'CocoDataset'})


def test_data_sets_of_another_format_are_left_alone(tmp_path):
    _check(Config(dict(val_dataloader=dict(dataset=dict(type='MpiiDataset', ann_file='', data_prefix={})))))
    _check(Config(dict(val_dataloader=dict(dataset=dict(type='SyntheticMeshDataset', data_root='nowhere')))))
    path = tmp_path / 'mpii.json'
    path.write_text('[]')
    dataset = dict(type='MpiiDataset', ann_file=str(path), data_prefix={})
    _check(Config(dict(val_dataloader=dict(dataset=dataset))))


def test_pictures_of_an_npz_file(tmp_path, caplog):
    (tmp_path / 'a').mkdir()
    (tmp_path / 'a' / '0.jpg').touch()
    np.savez(tmp_path / 'x.npz', imgname=np.array(['a\\0.jpg', 'a/1.jpg', 'a/1.jpg']))
    dataset = dict(type='MeshNpzDataset', name='x', data_root=str(tmp_path), ann_file='x.npz', img_dir='.')
    with pytest.raises(FileNotFoundError, match='x.npz: 1 of 2 pictures are not in .*first: a/1.jpg'):
        _check(Config(dict(val_dataloader=dict(dataset=dataset))))
    check_config(Config(dict(train_dataloader=dict(dataset=dataset))), ('train_dataloader',))
    assert '1 of 2 pictures are not in' in caplog.text and 'people in them are skipped' in caplog.text
    (tmp_path / 'a' / '0.jpg').unlink()
    with pytest.raises(FileNotFoundError, match='2 of 2 pictures'):
        check_config(Config(dict(train_dataloader=dict(dataset=dataset))), ('train_dataloader',))


def test_people_to_whom_nothing_is_near_enough(cfg, people):
    folder, content = people
    del content['annotations'][1]['bbox']
    path = _other(folder, 'boxless.json', content)
    _check(cfg, **{'val_evaluator.ann_file': path})
    with pytest.raises(ValueError, match='annotation 2 is labelled and has neither area nor box'):
        _check(cfg, **{'val_evaluator.ann_file': path, 'val_evaluator.use_area': False})
    del content['annotations'][1]['area']
    path = _other(folder, 'neither.json', content)
    with pytest.raises(ValueError, match='annotation 2 is labelled and has neither area nor box'):
        _check(cfg, **{'val_evaluator.ann_file': path})


def test_pictures_that_lie_elsewhere_are_left_to_who_reads_them(cfg, people):
    folder, _ = people
    (folder / 'images' / 'val' / '000002.png').unlink()
    with pytest.raises(FileNotFoundError, match='1 of 3 pictures'):
        _check(cfg)
    cfg.val_dataloader.dataset.pipeline[0].backend_args = dict(backend='local')
    _check(cfg)
