import numpy as np
import pytest

from mmhier.body_models.smpl_file import ROOT_PARENT, read_smpl_npz


@pytest.fixture
def arrays():
    return {
        'v_template': np.zeros((4, 3)),
        'shapedirs': np.zeros((4, 3, 2)),
        'weights': np.full((4, 2), 0.5),
        'J_regressor': np.full((2, 4), 0.25),
        'kintree_table': np.array([[ROOT_PARENT, 0], [0, 1]], np.uint32),
        'f': np.array([[0, 1, 2], [1, 2, 3]], np.uint32),
    }


def save(path, arrays):
    np.savez(path, **arrays)
    return path


def test_reads_a_file_without_pose_correctives(tmp_path, arrays):
    model = read_smpl_npz(save(tmp_path / 'm.npz', arrays))
    assert model.posedirs is None
    assert model.parents.tolist() == [-1, 0]
    assert (model.num_joints, model.num_betas) == (2, 2)
    assert model.v_template.dtype == np.float32


def test_reads_pose_correctives(tmp_path, arrays):
    arrays['posedirs'] = np.ones((4, 3, 9))
    assert read_smpl_npz(save(tmp_path / 'm.npz', arrays)).posedirs.shape == (4, 3, 9)


def test_missing_key_is_named(tmp_path, arrays):
    del arrays['weights']
    with pytest.raises(ValueError, match=r'm\.npz.*"weights" is missing'):
        read_smpl_npz(save(tmp_path / 'm.npz', arrays))


@pytest.mark.parametrize(
    ('name', 'value', 'message'),
    [
        ('weights', np.zeros((3, 2)), '"weights" has shape'),
        ('f', np.array([[0, 1, 4]]), r'outside 0\.\.3'),
        ('v_template', np.full((4, 3), np.nan), 'finite'),
        ('kintree_table', np.array([[ROOT_PARENT, 1], [0, 1]], np.uint32), 'parent before'),
        ('shapedirs', np.array([{}], object), 'Python objects'),
    ],
)
def test_bad_arrays_are_refused(tmp_path, arrays, name, value, message):
    arrays[name] = value
    with pytest.raises(ValueError, match=message):
        read_smpl_npz(save(tmp_path / 'm.npz', arrays))


def test_a_damaged_file_is_named(tmp_path, arrays):
    path = save(tmp_path / 'm.npz', arrays)
    content = path.read_bytes()
    for broken in (content[:200], b'nothing like a model', content[:150] + b'?' * 40 + content[190:]):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r'm\.npz.*delete it'):
            read_smpl_npz(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'none\.npz'):
        read_smpl_npz(tmp_path / 'none.npz')
