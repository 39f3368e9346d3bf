"""People from tars: each once; damage reported; bad ones survived in training, refused in evaluation."""

import logging
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from torch.utils.data import DataLoader

from mmhier.datasets.mesh import MeshTarDataset, tar_dataset, tar_index
from mmhier.datasets.mesh.mesh_dataset import _stride
from mmhier.datasets.transforms.mesh_loading import UnusableSample
from mmhier.testing.mesh_data import random_person, shard_members, write_tar

RNG = np.random.default_rng
PIPELINE = [
    dict(type='MeshBox'),
    dict(type='LoadMeshImage'),
    dict(type='MeshAffine'),
    dict(type='PackMeshInputs'),
]


@pytest.fixture
def root(tmp_path):
    for number in range(2):
        write_tar(tmp_path / f'{number:02d}.tar', shard_members(RNG(number), 4, 2))
    return tmp_path


@pytest.fixture
def messages():
    """What is logged."""
    found = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(record.getMessage())
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


def test_everybody_once(root):
    dataset = MeshTarDataset('x', '{00..01}.tar', str(root), pipeline=PIPELINE, test_mode=True)
    samples = [dataset[number]['data_samples'] for number in range(len(dataset))]
    keys = [sample.sample_key for sample in samples]
    assert len(set(keys)) == len(keys) == 16
    assert keys[9] == f'{root}/01.tar:set/000000.jpg#1'
    people = pickle.loads(shard_members(RNG(1), 4, 2)['set/000000.data.pyd'])
    instances = samples[9].gt_instances
    np.testing.assert_allclose(instances.keypoints[0], people[1]['keypoints_2d'][:, :2], rtol=1e-6)
    np.testing.assert_allclose(instances.bbox_scales[0], people[1]['scale'] * 200, rtol=1e-6)


@pytest.mark.parametrize('context', ['fork', 'spawn'])
def test_workers_read_the_same(root, context):
    dataset = MeshTarDataset('x', '*.tar', str(root), pipeline=PIPELINE)
    loader = DataLoader(dataset, batch_size=None, num_workers=1, multiprocessing_context=context)
    loaded = [sample['data_samples'].sample_key for sample in loader]
    assert loaded == [dataset[number]['data_samples'].sample_key for number in range(len(dataset))]


@pytest.mark.parametrize('rank', [0, 1, 2])
def test_processes_share_the_indexing_and_meet_often(root, monkeypatch, rank):
    """No process waits for longer than the others need for a portion: NCCL gives up after ten minutes."""
    for number in range(2, 14):
        shutil.copy(root / '00.tar', root / f'{number:02d}.tar')
    tars = sorted(root.glob('*.tar'))
    since_meeting, meetings, read = [], [], tar_index.list_samples

    def counted(path):
        since_meeting.append(Path(path).name)
        return read(path)

    def barrier():
        """What the others have done meanwhile."""
        meetings.append(list(since_meeting))
        monkeypatch.setattr(tar_index, 'list_samples', read)
        portion = tars[6 * len(meetings) - 6 : 6 * len(meetings)]
        tar_index.build_indexes(portion)
        monkeypatch.setattr(tar_index, 'list_samples', counted)
        since_meeting.clear()

    monkeypatch.setattr(tar_index, 'list_samples', counted)
    monkeypatch.setattr(tar_dataset, 'PORTION', 2)
    monkeypatch.setattr(tar_dataset, 'get_dist_info', lambda: (rank, 3))
    monkeypatch.setattr(tar_dataset, 'barrier', barrier)
    assert len(MeshTarDataset('x', '*.tar', str(root))) == 14 * 8
    names = [path.name for path in tars]
    assert meetings == [names[first + 2 * rank : first + 2 * rank + 2] for first in (0, 6, 12)]
    assert not since_meeting


def test_no_more_files_are_open_than_allowed(root, monkeypatch):
    """Nor does another process get descriptors of this one's."""
    monkeypatch.setattr(tar_dataset, 'MAX_OPEN', 1)
    dataset = MeshTarDataset('x', '*.tar', str(root), pipeline=PIPELINE, test_mode=True)
    before = len(os.listdir('/proc/self/fd'))
    keys = [dataset[number]['data_samples'].sample_key for number in (0, 8, 1, 9, 0)]
    assert ['00.tar' in key for key in keys] == [True, False, True, False, True]
    assert len(dataset._files) == 1
    descriptor = next(iter(dataset._files.values()))[0]
    assert len(os.listdir('/proc/self/fd')) <= before + 2  # its own and that of the annotations
    copy = pickle.loads(pickle.dumps(dataset))
    assert not copy._files and dataset._files
    assert torch.equal(copy[9]['inputs'], dataset[9]['inputs'])
    del dataset, copy
    with pytest.raises(OSError):
        os.fstat(descriptor)


def test_tar_that_has_been_cut_since_is_named(root):
    dataset = MeshTarDataset('x', '01.tar', str(root), pipeline=PIPELINE, test_mode=True)
    os.truncate(root / '01.tar', int(dataset.indexes[0].people[7]['offset']) + 10)
    with pytest.raises(UnusableSample, match=r'01\.tar:.* has 10 bytes, the index says'):
        dataset[7]
    (root / '01.tar').unlink()
    another = MeshTarDataset.__new__(MeshTarDataset)
    another.__dict__.update(dataset.__getstate__())
    with pytest.raises(UnusableSample, match='cannot be read'):
        another[0]


def test_damage_is_reported_and_skipped_only_if_asked(root, messages):
    path = root / '01.tar'
    path.write_bytes(path.read_bytes()[:-20000])
    arguments = dict(name='h36m', shards='{00..02}.tar', data_root=str(root), pipeline=PIPELINE)
    with pytest.raises(ValueError) as error:
        MeshTarDataset(**arguments)
    for text in (
        '2 of 3 tars',
        '01.tar: it is cut off',
        'whole samples',
        '02.tar: it is missing',
        "on_damage='skip'",
    ):
        assert text in str(error.value)
    dataset = MeshTarDataset(**arguments, on_damage='skip')
    assert 8 <= len(dataset) < 16
    assert any('02.tar: it is missing; 0 whole samples' in message for message in messages)
    with pytest.raises(ValueError, match='on_damage must be'):
        MeshTarDataset(**arguments, on_damage='ignore')


def test_people_that_are_no_use_are_counted(root, messages):
    people = [random_person(RNG(number)) for number in range(6)]
    people[1]['keypoints_2d'][3] = np.nan
    people[2]['scale'] = np.zeros(2)
    people[3]['keypoints_2d'] = np.ones((17, 3))
    people[4]['keypoints_2d'][4:, 2] = 0.1
    members = shard_members(RNG(0), 1)
    members['set/000000.data.pyd'] = pickle.dumps(people)
    write_tar(root / 'mine.tar', members)
    dataset = MeshTarDataset('mine', 'mine.tar', str(root), pipeline=PIPELINE, person_filter={})
    assert len(dataset) == 2
    (message,) = (message for message in messages if message.startswith('mine: 2 of 6'))
    for text in (
        '1: no box',
        '1: a field of another shape',
        '1: a number that is not finite',
        '1: fewer than 5 joints',
    ):
        assert text in message
    with pytest.raises(ValueError, match=r'evaluation leaves nobody out.*numbers \[1, 2, 3\]'):
        MeshTarDataset('mine', 'mine.tar', str(root), pipeline=PIPELINE, test_mode=True)


def test_nobody_left_is_an_error(root):
    with pytest.raises(ValueError, match='none can be used'):
        MeshTarDataset('x', '*.tar', str(root), person_filter=dict(min_keypoints=45))


def test_excluded_keys_are_left_out(root):
    dataset = MeshTarDataset('x', '*.tar', str(root), exclude_keys=['set/000002'])
    assert len(dataset) == 12


def test_damaged_image_is_survived_and_counted(root, messages):
    members = shard_members(RNG(0), 3)
    members['set/000001.jpg'] = members['set/000001.jpg'][:500]
    write_tar(root / 'mine.tar', members)
    dataset = MeshTarDataset('mine', 'mine.tar', str(root), pipeline=PIPELINE)
    loader = DataLoader(dataset, batch_size=None, num_workers=1)
    keys = [sample['data_samples'].sample_key for sample in loader]
    assert keys[1] in (keys[0], keys[2])
    assert [keys[0][-8:-6], keys[2][-8:-6]] == ['00', '02']
    assert dataset.num_skipped == 1
    evaluation = MeshTarDataset('mine', 'mine.tar', str(root), pipeline=PIPELINE, test_mode=True)
    with pytest.raises(UnusableSample, match=r'mine\.tar:set/000001\.jpg'):
        evaluation[1]
    dataset[1]
    assert any('skipped sample 2: ' in message and '000001.jpg' in message for message in messages)


@pytest.mark.parametrize('alone', [False, True])
def test_damage_in_a_row_is_survived(tmp_path, alone):
    """One sample in twelve is of use, at the end or in every dozen, and each draw finds one."""
    members = shard_members(RNG(0), 48)
    for number in range(48):
        if number % 12 if alone else number < 44:
            members[f'set/{number:06d}.jpg'] = b''
    write_tar(tmp_path / 'mine.tar', members)
    dataset = MeshTarDataset('mine', 'mine.tar', str(tmp_path), pipeline=PIPELINE, max_refetch=24)
    keys = [dataset[number]['data_samples'].sample_key for number in range(48)]
    counts = [keys.count(key) for key in sorted(set(keys))]
    assert len(counts) == 4
    assert max(counts) <= 24, 'not the first one after the row takes the place of all'
    assert keys == [dataset[number]['data_samples'].sample_key for number in range(48)]


def test_every_sample_is_tried_once():
    for length in (*range(1, 60), 1000, 4096, 99991):
        step = _stride(length)
        assert len({step * number % length for number in range(length)}) == length
        assert length < 100 or 0.6 < step / length < 0.65


def test_all_images_damaged_ends_training(root):
    members = shard_members(RNG(0), 3)
    write_tar(
        root / 'mine.tar', {name: b'' if name.endswith('jpg') else data for name, data in members.items()}
    )
    dataset = MeshTarDataset('mine', 'mine.tar', str(root), pipeline=PIPELINE, max_refetch=4)
    with pytest.raises(UnusableSample, match='3 of 3 samples'):
        dataset[0]
