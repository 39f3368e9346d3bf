"""Tars of 4D-Humans: their samples are found, their damage is described, nothing in them is executed."""

import pickle

import numpy as np
import pytest

from mmhier.datasets.mesh.annotation import PROBLEMS
from mmhier.datasets.mesh.shard import list_samples, read_people, split_name
from mmhier.testing.mesh_data import random_person, shard_members, write_tar

RNG = np.random.default_rng


def test_samples_are_found_where_they_are(tmp_path):
    members = shard_members(RNG(0), 5)
    path = write_tar(tmp_path / 'x.tar', members)
    samples, damage = list_samples(path)
    assert damage is None
    assert [sample.key for sample in samples] == [f'set/{number:06d}' for number in range(5)]
    content = path.read_bytes()
    for sample in samples:
        for member, suffix in ((sample.image, sample.suffix), (sample.annotation, 'data.pyd')):
            assert content[member.offset : member.offset + member.size] == members[f'{sample.key}.{suffix}']


def test_long_names_are_found(tmp_path):
    key = 'a/' * 80 + 'b' * 120
    members = {f'{key}.png': b'x', f'{key}.data.pyd': b'y'}
    samples, damage = list_samples(write_tar(tmp_path / 'x.tar', members))
    assert (len(samples), samples[0].key, damage) == (1, key, None)


@pytest.mark.parametrize('cut', [10240 + 512, 30000])
def test_cut_tar_is_noticed_wherever_it_is_cut(tmp_path, cut):
    path = write_tar(tmp_path / 'x.tar', shard_members(RNG(0), 5))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - cut])
    samples, damage = list_samples(path)
    assert len(samples) < 6
    assert 'cut off' in damage


def test_cut_between_members_is_noticed(tmp_path):
    path = write_tar(tmp_path / 'x.tar', shard_members(RNG(0), 5))
    last = list_samples(path)[0][2].annotation
    end = -(-(last.offset + last.size) // 512) * 512
    path.write_bytes(path.read_bytes()[:end])
    samples, damage = list_samples(path)
    assert len(samples) == 3
    assert damage == 'it is cut off or damaged; 3 whole samples'


def test_damaged_header_is_noticed(tmp_path):
    path = write_tar(tmp_path / 'x.tar', shard_members(RNG(0), 5))
    content = bytearray(path.read_bytes())
    start = list_samples(path)[0][3].image.offset - 512
    content[start : start + 512] = b'\x07' * 512
    path.write_bytes(content)
    samples, damage = list_samples(path)
    assert len(samples) == 3
    assert 'damaged' in damage


def test_negative_size_is_noticed(tmp_path):
    """Python's own reader goes back to the same header again and again."""
    path = write_tar(tmp_path / 'x.tar', shard_members(RNG(0), 2))
    content = bytearray(path.read_bytes())
    start = list_samples(path)[0][1].image.offset - 512
    header = content[start : start + 512]
    header[124:136] = (-1024).to_bytes(12, 'big', signed=True)
    header[148:156] = b' ' * 8
    header[148:156] = b'%06o\0 ' % sum(header)
    content[start : start + 512] = header
    path.write_bytes(content)
    samples, damage = list_samples(path)
    assert [sample.key for sample in samples] == ['set/000000']
    assert 'damaged' in damage


@pytest.mark.parametrize(
    ('content', 'text'), [(b'', 'no tar'), (b'hello' * 500, 'no tar'), (bytes(10240), 'empty')]
)
def test_file_that_is_no_tar_or_empty(tmp_path, content, text):
    path = tmp_path / 'x.tar'
    path.write_bytes(content)
    samples, damage = list_samples(path)
    assert samples == []
    assert text in damage


def test_samples_without_annotation_are_counted(tmp_path):
    members = shard_members(RNG(0), 4)
    del members['set/000001.data.pyd'], members['set/000002.jpg']
    samples, damage = list_samples(write_tar(tmp_path / 'x.tar', members))
    assert [sample.key for sample in samples] == ['set/000000', 'set/000003']
    assert damage == '2 samples lack an image or data.pyd; 2 whole samples'


def test_names_are_split_as_webdataset_does():
    assert split_name('a.b/c.data.pyd') == ('a.b/c', 'data.pyd')
    assert split_name('c.JPG') == ('c', 'jpg')


def test_people_are_read_in_our_units():
    person = random_person(RNG(1))
    ((record, problem),) = read_people(pickle.dumps([person]), 'x')
    assert PROBLEMS[problem] == ''
    np.testing.assert_allclose(record['scale'], person['scale'] * 200, rtol=1e-6)
    np.testing.assert_allclose(record['global_orient'][0], person['body_pose'][:3], rtol=1e-6)
    np.testing.assert_allclose(record['body_pose'].ravel(), person['body_pose'][3:], rtol=1e-6)
    np.testing.assert_allclose(record['keypoints_3d'], person['keypoints_3d'], rtol=1e-6)
    error = person['extra_info']['fitting_loss'].item()['reprojection_loss']
    assert record['fitting_error'] == pytest.approx(error)


@pytest.mark.parametrize('protocol', [0, 2, 4, 5])
@pytest.mark.parametrize('kind', [np.float32, np.float64, float, np.bool_])
def test_flags_of_all_kinds(protocol, kind):
    person = random_person(RNG(1)) | {'has_betas': kind(0), 'has_body_pose': kind(1)}
    ((record, _),) = read_people(pickle.dumps([person], protocol), 'x')
    assert (record['has_betas'], record['has_body_pose']) == (0, 1)


@pytest.mark.parametrize(
    ('changes', 'problem'),
    [
        ({'keypoints_2d': np.ones((43, 3))}, 2),
        ({'body_pose': np.ones(66)}, 2),
        ({'betas': np.full(10, np.nan)}, 3),
        ({'keypoints_3d': np.full((44, 4), np.inf)}, 3),
        ({'keypoints_2d': np.full((44, 3), np.nan)}, 3),
        ({'scale': np.array([0.0, 0.3])}, 1),
        ({'scale': np.array([np.nan, 0.3])}, 3),
        ({'center': None}, 1),
        ({'center': [None, 1.0]}, 3),
        ({'center': [{}, 1.0]}, 1),
        ({'has_betas': np.array(np.nan)}, 3),
        ({'scale': np.ones((1, 1))}, 0),
    ],
)
def test_useless_people_are_told_apart(changes, problem):
    ((record, found),) = read_people(pickle.dumps([random_person(RNG(1)) | changes]), 'x')
    assert found == problem
    assert all(np.isfinite(record[name]).all() for name in record.dtype.names if name != 'fitting_error')


def test_person_without_body_has_zeros_and_no_flags():
    person = random_person(RNG(1))
    for name in ('body_pose', 'betas', 'has_body_pose', 'has_betas', 'extra_info'):
        del person[name]
    ((record, problem),) = read_people(pickle.dumps([person]), 'x')
    assert problem == 0
    assert not record['has_body_pose']
    assert not record['has_betas']
    assert not record['betas'].any()
    assert np.isnan(record['fitting_error'])


def test_nan_beside_no_confidence_means_nothing():
    person = random_person(RNG(1))
    person['keypoints_3d'][3] = np.nan, np.nan, np.nan, 0
    ((record, problem),) = read_people(pickle.dumps([person]), 'x')
    assert problem == 0
    assert not record['keypoints_3d'][3].any()


class Evil:
    """Runs a function when it is unpickled by Python's own reader."""

    def __reduce__(self):
        return print, ('executed',)


@pytest.mark.parametrize('content', [[Evil()], [{'keypoints_2d': Evil()}], {'a': Evil()}])
def test_nothing_is_executed(content, capsys):
    with pytest.raises(ValueError, match='Nothing in it was executed'):
        read_people(pickle.dumps(content), 'x.data.pyd')
    assert capsys.readouterr().out == ''


@pytest.mark.parametrize(
    'content', [b'', b'garbage', pickle.dumps(3), pickle.dumps([3]), pickle.dumps([{}])[:-3]]
)
def test_file_that_is_no_list_of_people(content):
    with pytest.raises(ValueError, match='x.data.pyd'):
        read_people(content, 'x.data.pyd')
