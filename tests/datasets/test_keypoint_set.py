"""Descriptions of keypoints that contradict themselves are refused when they are read."""

import copy
from pathlib import Path

import mmpose
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.registry import DATASETS

from mmhier.datasets import keypoint_set
from mmhier.datasets.keypoint_set import check_keypoint_set

OWN = sorted((Path(mmpose.__file__).parent / '.mim' / 'configs' / '_base_' / 'datasets').glob('*.py'))
NAMES = ['nose', 'left_hand', 'right_hand', 'left_foot', 'right_foot']
SWAPS = ['', 'right_hand', 'left_hand', 'right_foot', 'left_foot']


@pytest.fixture
def info():
    keypoints = {
        number: dict(name=name, id=number, color=[0, 0, 0], type='upper', swap=swap)
        for number, (name, swap) in enumerate(zip(NAMES, SWAPS, strict=True))
    }
    skeleton = {0: dict(link=('nose', 'left_hand'), id=0, color=[0, 0, 0])}
    return dict(
        dataset_name='five',
        keypoint_info=keypoints,
        skeleton_info=skeleton,
        joint_weights=[1.0] * 5,
        sigmas=[0.05] * 5,
    )


def keypoint(number, **fields):
    return lambda info: info['keypoint_info'][number].update(fields)


def renumber(info):
    info['keypoint_info'][7] = info['keypoint_info'].pop(4)


def disorder(info):
    info['keypoint_info'] = dict(sorted(info['keypoint_info'].items(), reverse=True))


def short_names(info):
    names = ['nose', 'LHand', 'RHand', 'LFoot', 'RFoot']
    for one, name in zip(info['keypoint_info'].values(), names, strict=True):
        one.update(name=name, swap='')
    info['skeleton_info'] = {}


def crossed(info):
    swaps = dict(
        left_hand='right_foot', right_foot='left_hand', right_hand='left_foot', left_foot='right_hand'
    )
    for one in info['keypoint_info'].values():
        one['swap'] = swaps.get(one['name'], '')


def no_swaps(info):
    for one in info['keypoint_info'].values():
        one['swap'] = ''


WRONG = {
    'sigmas': (lambda info: info.update(sigmas=[0.1] * 17), '17 sigmas for 5 keypoints'),
    'sigma 0': (
        lambda info: info['sigmas'].__setitem__(2, 0),
        'sigmas of right_hand is 0, expected a finite number',
    ),
    'sigma NaN': (lambda info: info['sigmas'].__setitem__(2, float('nan')), 'sigmas of right_hand is nan'),
    'weights': (lambda info: info['joint_weights'].pop(), '4 joint_weights for 5 keypoints'),
    'weight -1': (lambda info: info['joint_weights'].__setitem__(0, -1), 'joint_weights of nose is -1'),
    'swap on one side': (
        keypoint(3, swap=''),
        "swap of right_foot is left_foot, but that of left_foot is ''",
    ),
    'swap of another': (
        keypoint(3, swap='right_hand'),
        "left_foot is right_hand, but that of right_hand is 'left_hand'",
    ),
    'swap misspelt': (
        keypoint(1, swap='right_hnad'),
        "'right_hnad' is no keypoint; did you mean 'right_hand'?",
    ),
    'swaps forgotten': (no_swaps, "swap of left_hand is '', not right_hand: mirrored pictures"),
    'swaps forgotten, short names': (short_names, "swap of LHand is '', not RHand: mirrored pictures"),
    'swaps crossed': (crossed, "swap of left_hand is 'right_foot', not right_hand"),
    'swap null': (keypoint(0, swap=None), "keypoint 0 has the swap None, expected the name of one, or ''"),
    'swap a list': (keypoint(1, swap=['right_hand']), r"keypoint 1 has the swap \['right_hand'\]"),
    'colour text': (keypoint(1, color='red'), "keypoint_info 1 has the color 'red', expected red, green"),
    'colour of two': (keypoint(1, color=[0, 0]), r'keypoint_info 1 has the color \[0, 0\], expected red'),
    'sigmas text': (lambda info: info.update(sigmas='0.1'), "sigmas is '0.1', expected a list of numbers"),
    'no weights': (lambda info: info.update(joint_weights=[]), '0 joint_weights for 5 keypoints'),
    'weight infinite': (
        lambda info: info['joint_weights'].__setitem__(0, float('inf')),
        'joint_weights of nose is inf, expected a finite number',
    ),
    'line of three': (
        lambda info: info['skeleton_info'][0].update(link=('nose', 'left_hand', 'right_hand')),
        'expected two keypoints',
    ),
    'keypoints as names': (
        lambda info: info.update(keypoint_info=dict(enumerate(NAMES))),
        'keypoint_info is .*expected a mapping of numbers to mappings',
    ),
    'skeleton a list': (
        lambda info: info.update(skeleton_info=[dict(link=NAMES[:2])]),
        'skeleton_info is .*expected a mapping of numbers to mappings',
    ),
    'line without link': (
        lambda info: info['skeleton_info'][0].pop('link'),
        'line 0 of skeleton_info has the link None, expected the names of two keypoints',
    ),
    'sigmas none': (lambda info: info.update(sigmas=None), 'sigmas is None, expected a list of numbers'),
    'sigmas a number': (lambda info: info.update(sigmas=0.1), 'sigmas is 0.1, expected a list of numbers'),
    'sigma of another scale': (
        lambda info: info.update(sigmas=[2.6] * 5),
        'sigmas of nose is 2.6, expected a finite number above 0, and not above 1',
    ),
    'name twice': (keypoint(4, name='left_foot'), r"keypoints \[3, 4\] have the same name, 'left_foot'"),
    'name missing': (lambda info: info['keypoint_info'][4].pop('name'), 'keypoint 4 has the name None'),
    'type misspelt': (
        keypoint(0, type='uper'),
        "nose is of the type 'uper', expected 'upper', 'lower' or ''",
    ),
    'number left out': (renumber, r'the keys of keypoint_info are \[0, 1, 2, 3, 7\], expected 0 to 4'),
    'another order': (disorder, r'the keys of keypoint_info are \[4, 3, 2, 1, 0\]'),
    'skeleton': (
        lambda info: info['skeleton_info'][0].update(link=('nose', 'tail')),
        "line 0 .*'tail' is no keypoint",
    ),
    'line of one': (
        lambda info: info['skeleton_info'][0].update(link=('nose', 'nose')),
        'expected two keypoints',
    ),
    'nothing': (lambda info: info.update(keypoint_info={}), 'keypoint_info is empty'),
    'no sigmas': (lambda info: info.pop('sigmas'), 'has no sigmas'),
}


def test_a_right_one_passes(info):
    assert check_keypoint_set(info, 'here') == NAMES
    assert parse_pose_metainfo(info)['flip_indices'] == [0, 2, 1, 4, 3]
    assert check_keypoint_set(info | dict(sigmas=[]), 'here') == NAMES  # not evaluated by OKS


@pytest.mark.parametrize('name', WRONG)
def test_a_wrong_one_is_refused_when_it_is_read(info, name, tmp_path):
    change, message = WRONG[name]
    change(info)
    with pytest.raises(ValueError, match=message):
        parse_pose_metainfo(copy.deepcopy(info))  # MMPose's own reader
    path = tmp_path / 'five.py'
    path.write_text(f'nan, inf = float("nan"), float("inf")\ndataset_info = {info!r}\n')
    with pytest.raises(ValueError, match=message) as error:
        check_keypoint_set(dict(from_file=str(path)), 'metainfo')
    assert str(error.value).startswith(str(path))
    init_default_scope('mmpose')
    with pytest.raises(ValueError, match=message):
        DATASETS.build(dict(type='CocoDataset', metainfo=dict(from_file=str(path)), lazy_init=True))


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere.py does not exist .x.from_file'):
        check_keypoint_set(dict(from_file='nowhere.py'), 'x')
    path = tmp_path / 'other.py'
    path.write_text('a = 1\n')
    with pytest.raises(ValueError, match='other.py does not describe keypoints'):
        check_keypoint_set(dict(from_file=str(path)), 'x')


def test_mmpose_own_files_are_read_and_their_faults_said(caplog, monkeypatch):
    monkeypatch.setattr(keypoint_set, '_said', set())
    read = 0
    for path in OWN:
        if 'dataset_info' in Config.fromfile(path):
            assert check_keypoint_set(dict(from_file=path.name), 'x')
            read += 1
    assert read > 40
    faulty = {record.getMessage().split('.py')[0].rpartition('/')[2] for record in caplog.records}
    assert faulty <= {'coco_aic', 'humanart_aic', 'deepfashion2'}
    if faulty:
        caplog.clear()
        check_keypoint_set(dict(from_file=f'{min(faulty)}.py'), 'x')
        assert not caplog.records, 'each is said once'
