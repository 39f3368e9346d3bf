"""The index beside a tar: built once, valid only for that tar, resumable."""

import os

import numpy as np
import pytest

from mmhier.datasets.mesh import tar_index
from mmhier.datasets.mesh.tar_index import build_index, build_indexes, expand_shards, open_index
from mmhier.testing.mesh_data import shard_members, write_tar

RNG = np.random.default_rng


@pytest.fixture
def shards(tmp_path):
    return [
        write_tar(tmp_path / f'{number:02d}.tar', shard_members(RNG(number), 3, 2)) for number in range(4)
    ]


def test_patterns():
    names = [path.name for path in expand_shards('a/{08..10}.tar')]
    assert names == ['08.tar', '09.tar', '10.tar']
    # 4D-Humans' own list of MPI-INF-3DHP has ends of different length.
    assert [path.name for path in expand_shards('{000000..00002}.tar')] == [f'{n:06d}.tar' for n in range(3)]
    assert len(expand_shards('{0..1}/{0..2}.tar')) == 6


def test_wildcards(shards, tmp_path):
    assert expand_shards('*.tar', str(tmp_path)) == shards
    with pytest.raises(ValueError, match='no tar matches'):
        expand_shards('*.zip', str(tmp_path))


def test_index_is_built_once(shards, monkeypatch):
    assert open_index(shards[0]) is None
    first = build_indexes(shards)
    monkeypatch.setattr(tar_index, 'list_samples', None)
    second = build_indexes(shards)
    assert len(first) == len(second) == 4
    for before, after in zip(first, second, strict=True):
        np.testing.assert_array_equal(before.people, after.people)
        assert len(after.people) == 6
        assert after.damage is None


def test_index_says_where_images_are(shards):
    index = build_index(shards[1])
    content = shards[1].read_bytes()
    members = shard_members(RNG(1), 3, 2)
    for person in index.people:
        name = f'{person["key"].decode()}.{person["suffix"].decode()}'
        assert content[person['offset'] : person['offset'] + person['size']] == members[name]
    assert index.people['person'].tolist() == [0, 1] * 3


def test_interrupted_build_goes_on(shards, monkeypatch):
    real, read = tar_index.list_samples, []

    def interrupted(path):
        if len(read) == 2:
            raise KeyboardInterrupt
        read.append(path)
        return real(path)

    monkeypatch.setattr(tar_index, 'list_samples', interrupted)
    with pytest.raises(KeyboardInterrupt):
        build_indexes(shards)
    read.clear()
    build_indexes(shards)
    assert read == shards[2:]
    assert not list(shards[0].parent.glob('.mmhier_index/*.tmp'))


def test_another_tar_under_the_same_name_is_indexed_again(shards):
    build_indexes(shards)
    write_tar(shards[0], shard_members(RNG(9), 5))
    assert open_index(shards[0]) is None
    assert len(build_indexes(shards)[0].people) == 5


def test_an_index_of_other_code_is_built_again(shards, monkeypatch):
    build_indexes(shards)
    assert open_index(shards[0]) is not None
    monkeypatch.setattr(tar_index, 'code_digest', lambda module: 'changed')
    assert open_index(shards[0]) is None
    build_indexes(shards)
    assert open_index(shards[0]) is not None


def test_copied_tar_keeps_its_index(shards):
    build_indexes(shards)
    os.utime(shards[0], (0, 0))
    assert open_index(shards[0]) is not None


@pytest.mark.parametrize('victim', ['people.npy', 'annotations.npy', 'json'])
def test_damaged_index_is_built_again(shards, victim):
    build_indexes(shards)
    path = shards[0].parent / '.mmhier_index' / f'00.tar.{victim}'
    path.write_bytes(path.read_bytes()[:-20])
    assert open_index(shards[0]) is None
    assert len(build_indexes(shards)[0].people) == 6


def test_several_processes_build_the_same(shards, tmp_path):
    one = build_indexes(shards, str(tmp_path / 'one'))
    two = build_indexes(shards, str(tmp_path / 'two'), num_workers=2)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.people, b.people)
        assert a.annotations.read_bytes() == b.annotations.read_bytes()


def test_tars_of_the_same_name_do_not_share_an_index(tmp_path):
    shards = [
        write_tar(tmp_path / name / '0.tar', shard_members(RNG(0), n)) for name, n in (('a', 2), ('b', 3))
    ]
    indexes = build_indexes(shards, str(tmp_path / 'indexes'))
    assert [len(index.people) for index in indexes] == [2, 3]


def test_missing_and_unreadable_tars_are_described(shards, tmp_path):
    members = shard_members(RNG(0), 3)
    members['set/000001.data.pyd'] = b'garbage'
    bad = write_tar(tmp_path / 'bad.tar', members)
    gone, unreadable = build_indexes([tmp_path / 'gone.tar', bad])
    assert gone.damage == 'it is missing; 0 whole samples'
    assert 'annotations of 1 samples cannot be read' in unreadable.damage
    assert len(unreadable.people) == 2


def test_folder_that_cannot_be_written_is_named(shards, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OSError, match='index_dir'):
        build_index(shards[0], str(tmp_path / 'file' / 'x'))
