import numpy as np
import pytest
import torch

from mmhier.body_models.joint_sets import JointSet
from mmhier.body_models.skinning import pose_body
from mmhier.body_models.smpl import SMPL
from mmhier.body_models.smpl_file import JOINT_NAMES, PARENTS, body_from_arrays
from mmhier.geometry.rotations import axis_angle_to_matrix


@pytest.fixture(scope='module')
def small(make_body):
    return body_from_arrays(make_body(50, num_betas=7), 'small')


def arguments(batch, num_betas=7, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(batch, *shape, generator=generator, dtype=dtype)

    return dict(betas=draw(num_betas), body_pose=draw(23, 3), global_orient=draw(1, 3), transl=draw(3))


def test_equals_smplx_on_the_same_file(smpl_arrays, tmp_path):
    smplx = pytest.importorskip('smplx')
    import pickle

    from mmhier.body_models.model_directory import load_body_model

    path = tmp_path / 'SMPL_NEUTRAL.pkl'
    path.write_bytes(pickle.dumps(smpl_arrays))
    theirs = smplx.SMPLLayer(str(path), num_betas=10)
    ours = load_body_model(path, joints='openpose25')
    given = arguments(5, 10)
    for name in ('body_pose', 'global_orient'):
        given[name] = axis_angle_to_matrix(given[name])
    expected, found = theirs(**given), ours(**given)
    assert (found.vertices - expected.vertices).abs().max() < 1e-5
    assert (found.skeleton - expected.joints[:, :24]).abs().max() < 1e-5
    openpose = [24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, *range(25, 35)]
    assert (found.joints - expected.joints[:, openpose]).abs().max() < 1e-5
    gradients = []
    for layer in (theirs, ours):
        pose = given['body_pose'].clone().requires_grad_()
        layer(**(given | {'body_pose': pose})).vertices.square().mean().backward()
        gradients.append(pose.grad)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ('num_vertices', 'num_betas', 'posedirs'), [(31, 1, True), (64, 300, False), (7, 16, True)]
)
def test_equals_the_plain_implementation(make_body, num_vertices, num_betas, posedirs):
    model = body_from_arrays(make_body(num_vertices, num_betas, posedirs=posedirs), 'x')
    given = arguments(3, num_betas)
    found = SMPL(model)(**given)
    pose = torch.cat([given['global_orient'], given['body_pose']], dim=1).numpy()
    expected = pose_body(model, pose, given['betas'].numpy(), given['transl'].numpy())
    np.testing.assert_allclose(found.vertices.numpy(), expected.vertices, atol=2e-5)
    np.testing.assert_allclose(found.skeleton.numpy(), expected.joints, atol=2e-5)
    assert found.vertices.is_contiguous()


def test_joints_alone_are_those_of_the_whole_body(open_body):
    """Values and gradients, from few vertices, for every joint set that the body has."""
    for name in ('smpl24', 'hmr44', 'h36m17'):
        layer = SMPL(open_body, name).double()
        given = arguments(2, 10, torch.float64)
        leaves = [value.requires_grad_() for value in given.values()]
        joints = [layer(**given).joints, layer.posed_joints(**given)]
        torch.testing.assert_close(joints[1], joints[0], rtol=0, atol=1e-12)
        toward = torch.randn_like(joints[0])
        gradients = [torch.autograd.grad(found, leaves, toward) for found in joints]
        torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=1e-9)
    assert len(layer.near_weights) < 0.1 * layer.num_vertices


def test_all_forms_of_a_pose_are_equal(small):
    layer, given = SMPL(small), arguments(4)
    expected = layer(**given)
    matrices = {name: axis_angle_to_matrix(given[name]) for name in ('body_pose', 'global_orient')}
    flat = {name: given[name].flatten(1) for name in ('body_pose', 'global_orient')}
    for form in (matrices, flat, matrices | {'global_orient': matrices['global_orient'][:, 0]}):
        found = layer(**(given | form))
        torch.testing.assert_close(found.vertices, expected.vertices, rtol=0, atol=1e-6)
        torch.testing.assert_close(found.joints, expected.joints, rtol=0, atol=1e-6)


def test_what_is_missing_is_zero(small):
    layer = SMPL(small)
    found = layer()
    torch.testing.assert_close(found.vertices[0], layer.v_template, rtol=0, atol=1e-6)
    torch.testing.assert_close(found.skeleton, layer.rest_joints(), rtol=0, atol=1e-6)
    given = arguments(3)
    short = layer(betas=given['betas'][:, :2]).vertices
    padded = torch.cat([given['betas'][:, :2], torch.zeros(3, 5)], dim=1)
    torch.testing.assert_close(short, layer(betas=padded).vertices)


def test_a_batch_is_a_loop_of_singles(small):
    layer, given = SMPL(small), arguments(5)
    found = layer(**given)
    for k in range(5):
        single = layer(**{name: value[k : k + 1] for name, value in given.items()})
        torch.testing.assert_close(found.vertices[k], single.vertices[0], rtol=0, atol=1e-6)
    one = layer(**(given | {'betas': given['betas'][:1]}))
    every = layer(**(given | {'betas': given['betas'][:1].expand(5, -1)}))
    torch.testing.assert_close(one.vertices, every.vertices)
    assert layer(**{name: value[:0] for name, value in given.items()}).vertices.shape == (0, 50, 3)


def test_fewer_components(small):
    layer, given = SMPL(small, num_betas=3), arguments(2)
    whole = SMPL(small)(**(given | {'betas': given['betas'] * (torch.arange(7) < 3)}))
    cut = layer(**(given | {'betas': given['betas'][:, :3]}))
    torch.testing.assert_close(cut.vertices, whole.vertices, rtol=0, atol=1e-6)
    assert SMPL(small, num_betas=0)().vertices.shape == (1, 50, 3)
    with pytest.raises(ValueError, match='num_betas=8: the model has 7'):
        SMPL(small, num_betas=8)


def test_convention_the_root_turns_about_the_pelvis_then_moves(small):
    layer = SMPL(small)
    quarter = torch.tensor([[0.0, np.pi / 2, 0.0]], dtype=torch.float32)
    shift = torch.tensor([[1.0, 2.0, 3.0]])
    found = layer(global_orient=quarter, transl=shift)
    pelvis = layer.rest_joints()[0, 0]
    x, y, z = (layer.v_template - pelvis).unbind(-1)
    # A positive quarter turn about y takes +z to +x and +x to -z.
    expected = torch.stack([z, y, -x], dim=-1) + pelvis + shift
    torch.testing.assert_close(found.vertices[0], expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.skeleton[0, 0], pelvis + shift[0])


def test_convention_flexion_on_the_open_body(open_body):
    layer = SMPL(open_body)
    pose = torch.zeros(1, 23, 3)
    pose[0, JOINT_NAMES.index('left_knee') - 1, 0] = 1.0
    moved = layer(body_pose=pose).skeleton[0] - layer().skeleton[0]
    changed = moved.norm(dim=-1) > 1e-5
    assert {JOINT_NAMES[k] for k in changed.nonzero()[:, 0].tolist()} == {'left_ankle', 'left_foot'}
    assert moved[JOINT_NAMES.index('left_ankle'), 2] < -0.3


def test_gradients(make_body):
    model = body_from_arrays(make_body(5, num_betas=2), 'x')
    layer = SMPL(model).double()
    given = arguments(2, 2, torch.float64)
    names = ('betas', 'body_pose', 'global_orient', 'transl')
    leaves = [given[name].requires_grad_() for name in names]
    assert torch.autograd.gradcheck(lambda *values: layer(**dict(zip(names, values)))[:2], leaves)


def test_gradients_at_the_rest_pose_are_finite(small):
    pose = torch.zeros(1, 23, 3, requires_grad=True)
    SMPL(small)(body_pose=pose).vertices.square().sum().backward()
    assert torch.isfinite(pose.grad).all() and pose.grad.abs().max() > 0


def test_exports_with_a_free_batch(small):
    layer, given = SMPL(small), arguments(2)
    batch = torch.export.Dim('batch')
    shapes = {name: {0: batch} for name in given}
    program = torch.export.export(layer, (), given, dynamic_shapes=shapes)
    other = arguments(5, seed=1)
    torch.testing.assert_close(program.module()(**other).vertices, layer(**other).vertices)


def test_nothing_is_saved_and_nothing_is_trained(small):
    layer = SMPL(small)
    assert layer.state_dict() == {}
    assert list(layer.parameters()) == []
    layer.load_state_dict({})
    assert all(
        buffer.dtype == torch.float64 for buffer in layer.double().buffers() if buffer.is_floating_point()
    )


def test_precision_is_kept_under_autocast_and_for_half_inputs(small):
    layer, given = SMPL(small), arguments(2)
    with torch.autocast('cpu', torch.bfloat16):
        low = layer(**given)
    torch.testing.assert_close(low.vertices, layer(**given).vertices, rtol=0, atol=0)
    assert layer(**{name: value.half() for name, value in given.items()}).vertices.dtype == torch.float32


def test_what_exporters_read(small):
    layer = SMPL(small)
    assert layer.faces.tolist() == small.faces.tolist()
    assert layer.parents == PARENTS
    torch.testing.assert_close(layer.weights, torch.from_numpy(small.weights))
    torch.testing.assert_close(layer.v_template, torch.from_numpy(small.v_template))
    betas = arguments(2)['betas']
    expected = layer(betas=betas).skeleton
    torch.testing.assert_close(layer.rest_joints(betas), expected, rtol=0, atol=1e-6)


def test_names_and_licence(make_body, smpl_arrays, open_body):
    assert SMPL(open_body).joint_names == JOINT_NAMES
    assert SMPL(open_body).licence.startswith('CC0-1.0')
    smpl = SMPL(body_from_arrays(smpl_arrays, 'SMPL_NEUTRAL.npz'))
    assert smpl.joint_names == JOINT_NAMES
    assert all(word in smpl.licence for word in ('non-commercial', 'Meshcapade'))
    arrays = make_body(9, posedirs=False)
    chain = arrays | {
        'weights': np.eye(9)[:, :3] + np.eye(9)[:, 3:].sum(axis=1, keepdims=True) * [1.0, 0.0, 0.0],
        'J_regressor': arrays['J_regressor'][:3],
        'kintree_table': np.array([[-1, 0, 1], [0, 1, 2]]),
    }
    other = body_from_arrays(chain, 'chain')
    root = JointSet('root', ('root',), ('skeleton.pelvis',), (-1,))
    assert SMPL(other, root).joint_names == ('joint_00', 'joint_01', 'joint_02')
    assert SMPL(other, root).licence == 'not stated in the model file'
    other.metadata['joint_names'] = ['root', 'rod', 'reel']
    assert SMPL(other, root).joint_names == ('root', 'rod', 'reel')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(betas=torch.zeros(4, 8)), r'betas of shape \(4, 8\): expected \(B, up to 7\)'),
        (dict(betas=torch.zeros(7)), r'betas of shape \(7,\)'),
        (dict(body_pose=torch.zeros(4, 24, 3)), r'body_pose of shape \(4, 24, 3\).*\(B, 23, 3, 3\)'),
        (dict(body_pose=torch.zeros(4, 23, 6)), 'body_pose of shape'),
        (dict(global_orient=torch.zeros(4, 4)), r'global_orient of shape \(4, 4\).*\(B, 3, 3\)'),
        (dict(transl=torch.zeros(4, 1, 3)), 'transl of shape'),
        (dict(transl=torch.zeros(3, 3)), 'batch of'),
    ],
)
def test_wrong_shapes_are_refused(small, change, message):
    with pytest.raises(ValueError, match=message):
        SMPL(small)(**(arguments(4) | change))
