import numpy as np
import pytest
import torch

from mmhier.body_models.joint_regressor import is_available
from mmhier.body_models.joint_sets import JOINT_SETS, joint_set
from mmhier.body_models.smpl import SMPL
from mmhier.body_models.smpl_file import COCO17_NAMES, LANDMARK_GROUPS


@pytest.fixture(scope='module')
def rest(open_body):
    """Every joint of the open body at rest, by name."""
    found = {}
    for name in ('smpl24', 'hmr44', 'h36m17'):
        layer = SMPL(open_body, joints=name)
        prefix = 'h36m.' if name == 'h36m17' else ''
        found |= {prefix + joint: at.numpy() for joint, at in zip(layer.joint_set.names, layer().joints[0])}
    return found


OF_SMPL = (
    'smpl24', 'openpose25', 'extra19', 'hmr44', 'coco17', 'h36m17', 'lsp14', 'hmr2_eval14', 'smplx25'
)  # fmt: skip


def random_pose(seed=0):
    return 0.4 * torch.randn(3, 24, 3, generator=torch.Generator().manual_seed(seed))


def test_regressors_are_convex(open_body):
    assert open_body.regressors.keys() == {'surface', 'j19', 'h36m'}
    for group, matrix in open_body.regressors.items():
        assert matrix.shape == (LANDMARK_GROUPS[group], len(open_body.v_template))
        assert matrix.min() >= 0
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-5)


def test_the_open_body_has_all_sets_of_smpl(open_body):
    assert {name for name, joints in JOINT_SETS.items() if is_available(joints, open_body)} == set(OF_SMPL)


@pytest.mark.parametrize('name', OF_SMPL)
def test_convention_every_set_mirrors_with_the_body(open_body, name):
    layer = SMPL(open_body, joints=name)
    pose = random_pose()
    flip = list(joint_set('smpl24').flip)
    mirrored = pose[:, flip] * torch.tensor([1.0, -1.0, -1.0])
    found = layer(body_pose=pose[:, 1:], global_orient=pose[:, :1]).joints
    other = layer(body_pose=mirrored[:, 1:], global_orient=mirrored[:, :1]).joints
    expected = found[:, list(layer.joint_set.flip)] * torch.tensor([-1.0, 1.0, 1.0])
    # The mesh is symmetric to 2 mm.
    torch.testing.assert_close(other, expected, rtol=0, atol=5e-3)
    assert not torch.allclose(other, found, atol=0.1)


def test_face_and_limbs_are_those_of_coco(open_body):
    pose = random_pose(1)
    output = SMPL(open_body, joints='coco17')(body_pose=pose[:, 1:], global_orient=pose[:, :1])
    points = torch.cat([output.vertices, output.skeleton], dim=1)
    expected = torch.from_numpy(open_body.coco17_regressor) @ points
    assert joint_set('coco17').names == COCO17_NAMES
    torch.testing.assert_close(output.joints, expected, rtol=0, atol=1e-5)


def test_feet(open_body, rest):
    assert rest['left_big_toe'][2] > rest['left_small_toe'][2] > rest['left_ankle'][2] > rest['left_heel'][2]
    assert rest['left_small_toe'][0] > rest['left_big_toe'][0] + 0.03
    floor = open_body.v_template[:, 1].min()
    for name in ('left_big_toe', 'left_small_toe', 'left_heel'):
        assert floor <= rest[name][1] < floor + 0.05
        assert rest[name][1] < rest['left_ankle'][1] - 0.03
    assert 0.15 < np.linalg.norm(rest['left_big_toe'] - rest['left_heel']) < 0.30


def test_trunk_and_head_are_in_order(open_body, rest):
    order = ('pelvis_mpii', 'spine_h36m', 'thorax_mpii', 'neck_lsp', 'jaw_h36m', 'head_h36m', 'head_top_lsp')
    assert (np.diff([rest[name][1] for name in order]) > 0.03).all()
    assert rest['head_top_lsp'][1] > open_body.v_template[:, 1].max() - 0.02
    assert rest['nose'][2] > rest['jaw_h36m'][2] > rest['head'][2]
    for name in ('pelvis', 'spine', 'thorax', 'jaw', 'head'):
        suffix = {'pelvis': 'mpii', 'thorax': 'mpii'}.get(name, 'h36m')
        np.testing.assert_allclose(rest[f'h36m.{name}'], rest[f'{name}_{suffix}'], atol=1e-6)


def test_limb_joints_of_the_mesh_stay_near_the_skeleton(open_body):
    pose = random_pose(2)
    output = SMPL(open_body, joints='extra19')(body_pose=pose[:, 1:], global_orient=pose[:, :1])
    names = [name for name in joint_set('extra19').names if name.startswith(('left_', 'right_'))]
    assert len(names) == 12
    mesh = output.joints[:, joint_set('extra19').indices(names)]
    bones = output.skeleton[:, joint_set('smpl24').indices(name.removesuffix('_lsp') for name in names)]
    assert (mesh - bones).norm(dim=-1).max() < 0.015
