"""The stream gives what the tars hold, skips and counts what is of no use, ends only if nothing is of use."""

import sys

import numpy as np
import pytest
import torch

from mmhier.datasets.mesh import MeshStreamDataset, MeshTarDataset
from mmhier.datasets.transforms.mesh_loading import UnusableSample
from mmhier.testing.mesh_data import shard_members, write_tar

PIPELINE = [dict(type=name) for name in ('MeshBox', 'LoadMeshImage', 'MeshAffine', 'PackMeshInputs')]


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, 'webdataset', None)
    with pytest.raises(ImportError, match='pip install webdataset'):
        MeshStreamDataset('x', 'x.tar')


@pytest.fixture
def root(tmp_path):
    pytest.importorskip('webdataset')
    for number in range(2):
        members = shard_members(np.random.default_rng(number), 4, 2)
        write_tar(
            tmp_path / f'{number}.tar', {name.replace('set', f's{number}'): members[name] for name in members}
        )
    return tmp_path


def first(stream, count):
    return [sample for sample, _ in zip(stream, range(count))]


def test_same_samples_as_by_index(root):
    stream = MeshStreamDataset('x', f'{root}/{{0..1}}.tar', PIPELINE, buffer_size=5)
    indexed = MeshTarDataset('x', '*.tar', str(root), pipeline=PIPELINE)
    samples = [indexed[number] for number in range(16)]
    images = {sample['data_samples'].sample_key: sample['inputs'] for sample in samples}
    keys = set()
    for sample in first(stream, 100):
        name = sample['data_samples'].sample_key
        keys.add(name)
        assert torch.equal(sample['inputs'], images[name])
    assert len(keys) == 16


def test_what_is_of_no_use_is_counted(root):
    members = shard_members(np.random.default_rng(0), 4)
    members['set/000001.jpg'] = b''
    members['set/000002.data.pyd'] = b'x'
    write_tar(root / 'bad.tar', members)
    stream = MeshStreamDataset('x', f'{root}/bad.tar', PIPELINE, buffer_size=1)
    keys = [sample['data_samples'].sample_key[-8:-6] for sample in first(stream, 6)]
    assert len(keys) == 6
    assert set(stream.skipped) == {'image that cannot be used', 'annotation that cannot be read'}


def test_filter_is_applied(root):
    stream = MeshStreamDataset(
        'x', f'{root}/0.tar', PIPELINE, person_filter=dict(min_keypoints=45), max_in_a_row=50
    )  # fmt: skip
    with pytest.raises(UnusableSample, match='fewer than 45 joints'):
        first(stream, 1)


@pytest.mark.parametrize('buffer_size', [1, 30, 400])
@pytest.mark.parametrize('spoilt', ['annotation', 'image', 'person'])
def test_one_in_twelve_is_enough(root, spoilt, buffer_size):
    """However long the rows of what is of no use are, and before the buffer has been filled."""
    members = shard_members(np.random.default_rng(0), 12)
    for number in range(11):
        if spoilt == 'image':
            members[f'set/{number:06d}.jpg'] = b''
        elif spoilt == 'annotation':
            members[f'set/{number:06d}.data.pyd'] = b'x'
    write_tar(root / 'bad.tar', members)
    keep = [f'set/{number:06d}' for number in range(11)] if spoilt == 'person' else []
    stream = MeshStreamDataset(
        'x', f'{root}/bad.tar', PIPELINE, buffer_size=buffer_size, exclude_keys=keep, max_in_a_row=20
    )  # fmt: skip
    keys = {sample['data_samples'].sample_key[-8:-6] for sample in first(stream, 30)}
    assert keys == {'11'}


@pytest.mark.parametrize('spoilt', ['annotation', 'image'])
def test_one_tar_in_five_is_enough(root, spoilt):
    suffix = dict(annotation='data.pyd', image='jpg')[spoilt]
    for number in range(4):
        members = shard_members(np.random.default_rng(number), 12)
        members = {name: b'' if name.endswith(suffix) else data for name, data in members.items()}
        write_tar(root / f'bad{number}.tar', members)
    shards = [f'{root}/bad{{0..3}}.tar', f'{root}/0.tar']
    stream = MeshStreamDataset('x', shards, PIPELINE, buffer_size=1, max_in_a_row=5)
    keys = [sample['data_samples'].sample_key for sample in first(stream, 40)]
    assert len(keys) == 40 and all('/0.tar:' in key for key in keys)


def test_every_tar_is_used_in_every_round(root):
    stream = MeshStreamDataset('x', f'{root}/{{0..1}}.tar', PIPELINE, buffer_size=1)
    tars = stream._tars()
    rounds = [sorted(next(tars)['url'] for _ in range(2)) for _ in range(20)]
    assert rounds == [sorted(stream.urls)] * 20


@pytest.mark.parametrize('spoilt', ['data.pyd', 'jpg'])
def test_nothing_of_use_ends_the_stream(root, spoilt):
    members = shard_members(np.random.default_rng(0), 12)
    for name in members:
        if name.endswith(spoilt):
            members[name] = b''
    write_tar(root / 'bad.tar', members)
    stream = MeshStreamDataset('x', f'{root}/bad.tar', PIPELINE, buffer_size=4, max_in_a_row=50)
    with pytest.raises(UnusableSample, match='in a row are of no use, and all 1 tars have been gone through'):
        first(stream, 1)


def test_empty_tars_end_the_stream(root):
    write_tar(root / 'empty.tar', {})
    stream = MeshStreamDataset('x', f'{root}/empty.tar', PIPELINE, max_in_a_row=50)
    with pytest.raises(UnusableSample, match='they are empty'):
        first(stream, 1)
    with pytest.raises(ValueError, match='no tars'):
        MeshStreamDataset('x', [])


def test_missing_tars_end_the_stream(root):
    with pytest.raises(UnusableSample, match='in a row are of no use.*tar that cannot be read'):
        first(MeshStreamDataset('x', f'{root}/gone.tar', PIPELINE, max_in_a_row=50), 1)
