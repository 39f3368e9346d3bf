import io
import pickle
import zipfile

import numpy as np
import pytest

from mmhier.body_models.model_files import (
    FoundBody,
    FoundParts,
    FoundRegressor,
    gender_in_name,
    read_members,
    recognise,
)
from mmhier.testing.smplx_file import random_smplx


def npz_bytes(arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy_bytes(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


@pytest.mark.parametrize(
    ('name', 'gender'),
    [
        ('basicModel_f_lbs_10_207_0_v1.0.0.pkl', 'female'),
        ('basicmodel_m_lbs_10_207_0_v1.1.0.pkl', 'male'),
        ('download.zip: smpl/models/basicModel_neutral_lbs_10_207_0_v1.0.0.pkl', 'neutral'),
        ('/data/SMPL_FEMALE.pkl', 'female'),
        ('SMPL_MALE.npz', 'male'),
        ('C:\\models\\SMPL_NEUTRAL.pkl', 'neutral'),
        ('/male/model.pkl', None),
        ('male_and_female.pkl', None),
        ('SMPL.pkl', None),
    ],
)
def test_genders_in_names(name, gender):
    assert gender_in_name(name) == gender


def test_version_1_0_as_published(smpl_arrays, as_published, pickle_smpl):
    name = 'basicModel_f_lbs_10_207_0_v1.0.0.pkl'
    found = recognise(pickle_smpl(as_published(smpl_arrays)), name)
    assert isinstance(found, FoundBody)
    assert (found.gender, found.version) == ('female', '1.0')
    np.testing.assert_array_equal(found.model.J_regressor, smpl_arrays['J_regressor'].astype(np.float32))
    assert found.model.parents[0] == -1


def test_version_1_1_is_told_by_its_components(smpl_arrays, as_published, pickle_smpl):
    arrays = smpl_arrays | {'shapedirs': np.zeros((6890, 3, 300), np.float32)}
    found = recognise(pickle_smpl(as_published(arrays)), 'basicmodel_m_lbs_10_207_0_v1.1.0.pkl')
    assert (found.gender, found.version, found.model.num_betas) == ('male', '1.1', 300)
    arrays['shapedirs'] = arrays['shapedirs'][..., :16]
    assert recognise(npz_bytes(arrays), 'a.npz').version == 'unknown'


def test_npz_with_a_gender_and_a_pickled_sparse_regressor(smpl_arrays):
    from scipy.sparse import csc_matrix

    sparse = np.empty((), object)
    sparse[()] = csc_matrix(smpl_arrays['J_regressor'])
    arrays = smpl_arrays | {'gender': np.array('female'), 'J_regressor': sparse}
    found = recognise(npz_bytes(arrays), 'SMPL_MALE.npz')
    assert found.gender == 'female'
    np.testing.assert_array_equal(found.model.J_regressor, smpl_arrays['J_regressor'].astype(np.float32))


def test_regressors_are_told_by_their_shape():
    rng = np.random.default_rng(0)
    j19, h36m = rng.dirichlet(np.ones(6890), 19), rng.dirichlet(np.ones(6890), 17)
    for content, group, matrix in (
        (pickle.dumps(j19, 2), 'j19', j19),
        (npy_bytes(h36m), 'h36m', h36m),
        (npy_bytes(np.asfortranarray(h36m)), 'h36m', h36m),
    ):
        found = recognise(content, 'x')
        assert isinstance(found, FoundRegressor) and found.group == group
        np.testing.assert_array_equal(found.matrix, matrix.astype(np.float32))
    with pytest.raises(
        ValueError, match=r'array \(9, 6890\): none of SMPL_to_J19.*SMPLX_to_J14 \(14, 10475\)'
    ):
        recognise(npy_bytes(np.ones((9, 6890))), 'J_regressor_extra.npy')
    with pytest.raises(ValueError, match='sum to about 1'):
        recognise(npy_bytes(np.ones((17, 6890))), 'x')


@pytest.fixture(scope='module')
def smplx_arrays():
    return random_smplx()


def test_smplx_as_npz_and_as_pickle(smplx_arrays, pickle_smpl):
    arrays = dict(smplx_arrays)
    by_pickle = recognise(pickle_smpl(arrays | {'joint2num': {'Pelvis': 0}}), 'SMPLX_MALE.pkl')
    by_npz = recognise(npz_bytes(arrays), 'SMPLX_MALE.npz')
    for found in (by_pickle, by_npz):
        assert (found.kind, found.gender, found.version) == ('smplx', 'male', '1.0')
        model = found.model
        np.testing.assert_array_equal(model.exprdirs, arrays['shapedirs'][..., 10:])
        np.testing.assert_array_equal(model.hand_means[1], arrays['hands_meanr'])
        np.testing.assert_array_equal(model.hand_components[0], arrays['hands_componentsl'])
        corners = arrays['f'][arrays['lmk_faces_idx'][3]].astype(int)
        point = arrays['lmk_bary_coords'][3] @ arrays['v_template'][corners]
        np.testing.assert_allclose(model.regressors['face'][3] @ model.v_template, point, atol=1e-6)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'shapedirs': np.zeros((10475, 3, 30), np.float32)}, 'SMPL-X has 20 or 400 components'),
        ({'hands_meanl': np.zeros(44)}, r'"hands_meanl" has shape \(44,\), expected \(45,\)'),
        ({'lmk_faces_idx': np.full(51, 20908)}, '"lmk_faces_idx" refers to triangles that are not in "f"'),
        ({'dynamic_lmk_bary_coords': np.zeros((79, 17))}, 'expected .79, 17, 3.'),
        ({'hands_componentsr': np.full((45, 45), np.nan)}, '"hand_components".*finite'),
        ({'lmk_bary_coords': None}, 'key "lmk_bary_coords" is missing'),
        ({'hands_meanl': None}, 'has the body of SMPL-X but not its hands'),
    ],
)
def test_wrong_arrays_of_smplx_are_refused(smplx_arrays, change, message):
    arrays = {name: value for name, value in (smplx_arrays | change).items() if value is not None}
    if 'hands_meanl' not in arrays:
        arrays['shapedirs'] = arrays['shapedirs'][..., :10]
    with pytest.raises(ValueError, match=f'bad.npz.*{message}'):
        recognise(npz_bytes(arrays), 'bad.npz')


def test_vertices_of_parts():
    hands = {'left_hand': np.arange(778), 'right_hand': np.arange(778) + 800}
    found = recognise(pickle.dumps(hands), 'MANO_SMPLX_vertex_ids.pkl')
    assert isinstance(found, FoundParts)
    np.testing.assert_array_equal(found.parts['right_hand'], hands['right_hand'])
    face = recognise(npy_bytes(np.arange(5023)), 'SMPL-X__FLAME_vertex_ids.npy')
    assert face.parts.keys() == {'face'} and face.parts['face'].dtype == np.int64
    for wrong, message in (
        (np.arange(5022), 'vertices of the face are 5023 whole numbers'),
        (np.arange(5023) + 9000, 'from 9000 to 14022, SMPL-X has 10475'),
    ):
        with pytest.raises(ValueError, match=message):
            recognise(npy_bytes(wrong), 'a.npy')
    with pytest.raises(ValueError, match='"left_hand" is not a usable array'):
        recognise(pickle.dumps({'left_hand': 'x', 'right_hand': 'y'}), 'a.pkl')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'weights': np.zeros((6890, 23))}, '"weights" has shape'),
        ({'posedirs': np.zeros((6890, 3, 93))}, '"posedirs" has shape'),
        ({'v_template': np.full((6890, 3), np.nan)}, 'finite'),
        ({'v_template': np.array(['a'] * 3)}, 'numeric'),
        ({'f': np.zeros((5, 3), int)}, r'5 faces.*expected those of SMPL'),
        ({'f': np.full((13776, 3), 6890)}, 'outside'),
        ({'kintree_table': np.zeros((2, 24), int)}, 'joint tree'),
        ({'kintree_table': np.zeros((2, 0), int)}, 'joints'),
        ({'kintree_table': np.zeros((0, 24), int)}, 'joints'),
    ],
)
def test_wrong_arrays_are_refused(smpl_arrays, change, message):
    with pytest.raises(ValueError, match=f'bad.npz.*{message}'):
        recognise(npz_bytes(smpl_arrays | change), 'bad.npz')


def test_missing_arrays_and_other_models_are_named(smpl_arrays, make_body):
    arrays = dict(smpl_arrays)
    del arrays['weights']
    with pytest.raises(ValueError, match=r'not a SMPL model: it has no "weights".*v_template'):
        recognise(npz_bytes(arrays), 'a.npz')
    with pytest.raises(ValueError, match='it has no "v_template"'):
        recognise(pickle.dumps({'poses': [1.0]}), 'a.pkl')
    with pytest.raises(ValueError, match=r'40 vertices, 40 faces'):
        recognise(npz_bytes(make_body(40)), 'a.npz')
    other = make_body(40)
    parents = np.stack([np.maximum(np.arange(55) - 1, 0)] * 2)
    other |= {'kintree_table': parents, 'weights': np.ones((40, 55)), 'J_regressor': np.ones((55, 40))}
    other['posedirs'] = np.zeros((40, 3, 486))
    with pytest.raises(ValueError, match=r'40 vertices.*expected those of SMPL-X \(10475, 20908\)'):
        recognise(npz_bytes(other), 'a.npz')
    hands = make_body(40)
    parents = np.stack([np.maximum(np.arange(16) - 1, 0)] * 2)
    hands |= {'kintree_table': parents, 'weights': np.ones((40, 16)), 'J_regressor': np.ones((16, 40))}
    hands['posedirs'] = np.zeros((40, 3, 135))
    with pytest.raises(ValueError, match='16 joints: it is MANO'):
        recognise(npz_bytes(hands), 'a.npz')


def npy_that_claims(shape, data=b'\0' * 16):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + '\n'
    return b'\x93NUMPY\x01\x00' + len(header).to_bytes(2, 'little') + header.encode() + data


@pytest.mark.parametrize(
    'shape', ['(10000000000000,)', '(3,)', '(-2,)', "('a',)", '(1000000, 1000000, 1000000)']
)
def test_npy_files_that_lie_are_refused(shape):
    assert recognise_error(npy_that_claims('(2,)')).startswith('a.npy holds an array (2,)')
    message = recognise_error(npy_that_claims(shape))
    assert 'does not fit' in message or 'not a readable' in message


def recognise_error(content):
    with pytest.raises(ValueError, match=r'a\.npy') as caught:
        recognise(content, 'a.npy')
    return str(caught.value)


def test_npy_and_npz_with_hostile_objects_are_refused(smpl_arrays):
    import os

    class Evil:
        def __reduce__(self):
            return os.system, ('touch ran',)

    array = np.empty((), object)
    array[()] = Evil()
    assert '"posix.system"' in recognise_error(npy_bytes(array)).replace('nt.', 'posix.')
    with pytest.raises(ValueError, match='system'):
        recognise(npz_bytes(smpl_arrays | {'weights': array}), 'a.npz')
    assert 'Python objects' in recognise_error(npy_bytes(np.array([{}, {}], object)))


@pytest.mark.parametrize('keep', [0.1, 0.5, 0.99])
def test_truncated_npz_and_zip_are_refused(smpl_arrays, tmp_path, keep):
    content = npz_bytes(smpl_arrays)
    with pytest.raises(ValueError, match='damaged'):
        recognise(content[: int(len(content) * keep)], 'a.npz')


def test_members_of_a_zip(tmp_path):
    path = tmp_path / 'SMPL_python.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('smpl/models/a.pkl', b'one')
        archive.writestr('__MACOSX/smpl/models/._a.pkl', b'no')
        archive.writestr('smpl/readme.txt', b'no')
        archive.writestr('smpl/b.NPY', b'two')
    assert list(read_members(path)) == [
        (f'{path}: smpl/models/a.pkl', b'one'),
        (f'{path}: smpl/b.NPY', b'two'),
    ]


def test_an_npz_is_one_member(tmp_path):
    path = tmp_path / 'a.npz'
    path.write_bytes(npz_bytes({'x': np.zeros(3)}))
    assert list(read_members(path)) == [(str(path), path.read_bytes())]


def test_unusable_paths_are_named(tmp_path):
    (tmp_path / 'empty.pkl').touch()
    with pytest.raises(ValueError, match=r'empty\.pkl has 0 bytes'):
        list(read_members(tmp_path / 'empty.pkl'))
    with pytest.raises(FileNotFoundError, match=r'none\.pkl'):
        list(read_members(tmp_path / 'none.pkl'))
    path = tmp_path / 'a.zip'
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a.pkl', bytes(range(256)) * 40)
    content = path.read_bytes()
    path.write_bytes(content[:60] + b'\xff' * 40 + content[100:])
    with pytest.raises(ValueError, match='damaged or encrypted'):
        list(read_members(path))
