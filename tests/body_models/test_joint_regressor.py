from dataclasses import replace

import numpy as np
import pytest
import torch

from mmhier.body_models.joint_regressor import JointRegressor, is_available
from mmhier.body_models.joint_sets import J19_NAMES, JOINT_SETS, SURFACE_VERTICES, joint_set
from mmhier.body_models.smpl_file import JOINT_NAMES, body_from_arrays


@pytest.fixture(scope='module')
def body(smpl_arrays):
    rng = np.random.default_rng(1)
    regressors = {'j19': rng.dirichlet(np.ones(6890), 19), 'h36m': rng.dirichlet(np.ones(6890), 17)}
    regressors = {group: matrix.astype(np.float32) for group, matrix in regressors.items()}
    return replace(body_from_arrays(smpl_arrays, 'x'), regressors=regressors)


@pytest.fixture(scope='module')
def posed():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 6890, 3, generator=generator), torch.randn(2, 24, 3, generator=generator)


def point(body, posed, landmark):
    vertices, skeleton = posed
    group, _, name = landmark.partition('.')
    if group == 'skeleton':
        return skeleton[:, JOINT_NAMES.index(name)]
    if group == 'surface':
        return vertices[:, SURFACE_VERTICES[name]]
    names = J19_NAMES if group == 'j19' else joint_set('h36m17').names
    return torch.from_numpy(body.regressors[group][names.index(name)]) @ vertices


OF_SMPL = (
    'smpl24', 'openpose25', 'extra19', 'hmr44', 'coco17', 'h36m17', 'lsp14', 'hmr2_eval14', 'smplx25'
)  # fmt: skip


@pytest.mark.parametrize('name', OF_SMPL)
def test_every_joint_comes_from_its_landmark(body, posed, name):
    joints = joint_set(name)
    found = JointRegressor(name, body)(*posed)
    expected = torch.stack([point(body, posed, landmark) for landmark in joints.landmarks], dim=1)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_update_hips_is_that_of_hmr2(body, posed):
    plain = JointRegressor('hmr44', body)(*posed)
    moved = JointRegressor('hmr44', body, update_hips=True)(*posed)
    hips, other = plain[:, [9, 12]], plain[:, [12, 9]]
    expected = plain.clone()
    expected[:, [9, 12]] = hips + 0.25 * (hips - other) + 0.5 * (plain[:, [8]] - 0.5 * (hips + other))
    torch.testing.assert_close(moved, expected, rtol=0, atol=1e-5)
    assert not torch.allclose(moved, plain)


def test_update_hips_leaves_other_sets_alone(body, posed):
    torch.testing.assert_close(
        JointRegressor('smpl24', body, update_hips=True)(*posed), JointRegressor('smpl24', body)(*posed)
    )


def test_nothing_is_saved(body):
    assert JointRegressor('hmr44', body).state_dict() == {}


def test_precision_is_kept_under_autocast(body, posed):
    regressor = JointRegressor('hmr44', body)
    with torch.autocast('cpu', torch.bfloat16):
        low = regressor(*posed)
    torch.testing.assert_close(low, regressor(*posed), rtol=0, atol=0)


def test_a_missing_regressor_says_where_it_comes_from(body, make_body):
    bare = replace(body, regressors={})
    with pytest.raises(ValueError, match=r'hmr44 needs the regressor "j19".*setup.*SMPL_to_J19\.pkl'):
        JointRegressor('hmr44', bare)
    with pytest.raises(ValueError, match=r'h36m17 needs.*J_regressor_h36m\.npy'):
        JointRegressor('h36m17', bare)
    small = body_from_arrays(make_body(40), 'x')
    with pytest.raises(ValueError, match=r'needs the regressor "surface".*6890 or 10475 vertices'):
        JointRegressor('coco17', small)
    assert JointRegressor('smpl24', small).joint_set.name == 'smpl24'
    with pytest.raises(ValueError, match=r'smplx_j14 needs.*SMPLX_to_J14\.pkl'):
        JointRegressor('smplx_j14', bare)


def test_sets_that_a_body_has(body, make_body):
    assert {name for name, joints in JOINT_SETS.items() if is_available(joints, body)} == set(OF_SMPL)
    for name, joints in JOINT_SETS.items():
        if is_available(joints, body):
            assert JointRegressor(name, body).joint_set is joints
        else:
            with pytest.raises(ValueError, match=f'The joint set {name} needs'):
                JointRegressor(name, body)
