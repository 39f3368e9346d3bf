import numpy as np
import pytest
import torch

from mmhier.body_models.joint_sets import joint_set
from mmhier.body_models.model_directory import load_body_data, load_body_model
from mmhier.body_models.skinning import pose_body
from mmhier.body_models.smpl import SMPL
from mmhier.body_models.smpl_file import SMPLX_JOINT_NAMES, body_from_arrays
from mmhier.body_models.smplx import SMPLX
from mmhier.geometry.rotations import axis_angle_to_matrix
from mmhier.testing.smplx_file import random_smplx, write_smplx_npz

SINGLES = ('global_orient', 'jaw_pose', 'leye_pose', 'reye_pose')


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp('smplx') / 'SMPLX_NEUTRAL.npz'
    write_smplx_npz(path, version='1.1')
    return path


@pytest.fixture(scope='module')
def model(file):
    return load_body_data(file)


@pytest.fixture(scope='module')
def small():
    return body_from_arrays(random_smplx(num_vertices=70, num_faces=90), 'small')


def arguments(batch, num_betas=10, num_expressions=10, hands=45, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, scale=0.5):
        return scale * torch.randn(batch, *shape, generator=generator, dtype=dtype)

    values = dict(
        betas=draw(num_betas, scale=1.0),
        expression=draw(num_expressions, scale=1.0),
        body_pose=draw(63, scale=0.3),
        transl=draw(3, scale=1.0),
        left_hand_pose=draw(hands),
        right_hand_pose=draw(hands),
    )
    return values | {name: draw(3) for name in SINGLES}


@pytest.mark.parametrize(
    ('components', 'means', 'num_betas', 'num_expressions'),
    [(0, True, 10, 10), (0, False, 300, 100), (12, True, 10, 10), (6, False, 16, 50)],
)
def test_equals_smplx_on_the_same_file(file, model, components, means, num_betas, num_expressions):
    smplx = pytest.importorskip('smplx')
    theirs = smplx.SMPLX(
        str(file),
        num_betas=num_betas,
        num_expression_coeffs=num_expressions,
        use_pca=components > 0,
        num_pca_comps=components or 6,
        flat_hand_mean=not means,
        use_face_contour=True,
        batch_size=40,
    )
    ours = SMPLX(
        model,
        num_betas=num_betas,
        num_expressions=num_expressions,
        hand_components=components,
        add_hand_means=means,
    )
    given = arguments(40, num_betas, num_expressions, components or 45)
    with torch.no_grad():
        expected, found = theirs(**given), ours(**given)
    assert found.joints.shape == expected.joints.shape == (40, 144, 3)
    assert (found.vertices - expected.vertices).abs().max() < 1e-5
    assert (found.joints - expected.joints).abs().max() < 1e-5
    assert (found.skeleton - expected.joints[:, :55]).abs().max() < 1e-5


def test_equals_the_layer_of_smplx_for_matrices(file, model):
    smplx = pytest.importorskip('smplx')
    theirs = smplx.SMPLXLayer(str(file), num_betas=10, num_expression_coeffs=10, use_face_contour=True)
    given = arguments(7)
    for name, value in given.items():
        if name.endswith(('pose', 'orient')):
            given[name] = axis_angle_to_matrix(value.unflatten(1, (-1, 3)))
    gradients = []
    for layer in (theirs, SMPLX(model, num_betas=10, num_expressions=10)):
        jaw = given['jaw_pose'].clone().requires_grad_()
        found = layer(**(given | {'jaw_pose': jaw}))
        (found.vertices.square().mean() + found.joints.square().mean()).backward()
        gradients.append((found.vertices.detach(), found.joints.detach(), jaw.grad))
    for theirs_value, ours_value in zip(*gradients, strict=True):
        assert (theirs_value - ours_value).abs().max() < 1e-5
    assert gradients[0][2].abs().max() > 1e-3


def test_equals_the_plain_implementation(small):
    given = arguments(3)
    found = SMPLX(small, add_hand_means=True)(**given)
    means = torch.from_numpy(small.hand_means)
    parts = [
        *(given[name] for name in ('global_orient', 'body_pose', 'jaw_pose', 'leye_pose', 'reye_pose')),
        given['left_hand_pose'] + means[0],
        given['right_hand_pose'] + means[1],
    ]
    shape = torch.cat([given['betas'], given['expression']], dim=1).numpy()
    both = np.concatenate([small.shapedirs, small.exprdirs], axis=-1)
    plain = body_from_arrays(
        {
            'v_template': small.v_template,
            'shapedirs': both,
            'posedirs': small.posedirs,
            'weights': small.weights,
            'J_regressor': small.J_regressor,
            'kintree_table': np.stack([small.parents, small.parents]),
            'f': small.faces,
        },
        'x',
    )
    pose = torch.cat(parts, dim=1).unflatten(1, (55, 3)).numpy()
    expected = pose_body(plain, pose, shape, given['transl'].numpy())
    np.testing.assert_allclose(found.vertices.numpy(), expected.vertices, atol=2e-5)
    np.testing.assert_allclose(found.skeleton.numpy(), expected.joints, atol=2e-5)
    # One core: SMPL's layer on the same file, with the whole pose in one.
    layer = SMPL(plain, joints='smplx55')(
        shape_tensor := torch.from_numpy(shape), torch.cat(parts[1:], 1), parts[0]
    )
    assert shape_tensor.shape == (3, 20)
    np.testing.assert_allclose(
        (layer.vertices + given['transl'][:, None]).numpy(), expected.vertices, atol=2e-5
    )


def test_versions_differ_in_their_components(model, small):
    assert (model.num_betas, model.num_expressions) == (300, 100)
    assert (small.num_betas, small.num_expressions) == (10, 10)
    assert small.joint_names == SMPLX_JOINT_NAMES


def test_a_batch_of_one_serves_every_body_and_what_is_missing_is_zero(small):
    layer, given = SMPLX(small), arguments(4)
    found = layer(**given)
    for k in range(4):
        single = layer(**{name: value[k : k + 1] for name, value in given.items()})
        torch.testing.assert_close(found.joints[k], single.joints[0], rtol=0, atol=1e-6)
    zero = {name: torch.zeros_like(value) for name, value in given.items()}
    torch.testing.assert_close(layer().vertices[0], layer(**zero).vertices[2], rtol=0, atol=1e-6)
    one = layer(**(given | {'jaw_pose': given['jaw_pose'][:1]}))
    every = layer(**(given | {'jaw_pose': given['jaw_pose'][:1].expand(4, -1)}))
    torch.testing.assert_close(one.vertices, every.vertices)
    mean = SMPLX(small, add_hand_means=True)
    given_means = torch.from_numpy(small.hand_means)
    flat = layer(left_hand_pose=given_means[:1], right_hand_pose=given_means[1:])
    torch.testing.assert_close(mean().vertices, flat.vertices, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ('degrees', 'row'),
    [(0, 0), (7, 7), (39, 39), (75, 39), (-1, 40), (-39, 78), (-80, 78), (0.5, 0), (1.5, 2), (0.51, 1)],
)
def test_convention_the_outline_follows_the_neck(small, degrees, row):
    """Positive to the body's right: clockwise seen from above, against the right-handed turn about y."""
    layer = SMPLX(small)
    pose = torch.zeros(1, 21, 3)
    pose[0, SMPLX_JOINT_NAMES.index('spine2') - 1, 1] = -np.radians(degrees)
    found = layer(body_pose=pose)
    corners = found.vertices[0][torch.from_numpy(small.contour_vertices[row])]
    expected = (corners * torch.from_numpy(small.contour_weights[row])[..., None]).sum(dim=1)
    torch.testing.assert_close(found.joints[0, 127:], expected, rtol=0, atol=1e-6)


def test_a_body_that_is_not_finite_leaves_the_others_alone(small):
    """Its points are NaN, the outline of its face, which is looked up by its neck, too."""
    body = SMPLX(small)
    values = arguments(3)
    expected = body(**values).joints
    values['body_pose'][1, 2] = torch.nan
    found = body(**values).joints
    assert found[1].isnan().any(-1).sum() > 17 and found[1, -17:].isnan().all()
    assert torch.allclose(found[[0, 2]], expected[[0, 2]], atol=1e-6)


def test_gradients(small):
    layer = SMPLX(small, hand_components=3, add_hand_means=True).double()
    given = arguments(2, 4, 3, 3, torch.float64)
    names = list(given)
    leaves = [given[name].requires_grad_() for name in names]
    some = torch.tensor([0, 15, 23, 40, 60, 70, 90, 130])
    assert torch.autograd.gradcheck(
        lambda *values: layer(**dict(zip(names, values))).joints[:, some], leaves, fast_mode=True
    )


def test_exports_with_a_free_batch(small):
    layer, given = SMPLX(small, add_hand_means=True), arguments(2)
    batch = torch.export.Dim('batch')
    program = torch.export.export(layer, (), given, dynamic_shapes={name: {0: batch} for name in given})
    other = arguments(5, seed=1)
    torch.testing.assert_close(program.module()(**other).joints, layer(**other).joints)


@pytest.mark.slow
def test_exports_to_onnx(small, tmp_path):
    pytest.importorskip('onnxscript')
    runtime = pytest.importorskip('onnxruntime')
    layer, given = SMPLX(small, add_hand_means=True), arguments(2)
    batch = torch.export.Dim('batch')
    path = tmp_path / 'smplx.onnx'
    shapes = {name: {0: batch} for name in given}
    torch.onnx.export(layer, (), path, kwargs=given, dynamic_shapes=shapes, dynamo=True, verbose=False)
    session = runtime.InferenceSession(path, providers=['CPUExecutionProvider'])
    other = arguments(5, seed=1)
    found = session.run(None, {name: value.numpy() for name, value in other.items()})
    for value, expected in zip(found, layer(**other), strict=True):
        np.testing.assert_allclose(value, expected.numpy(), atol=1e-5)


def test_nothing_is_saved_and_nothing_is_trained(small):
    layer = SMPLX(small, hand_components=5, add_hand_means=True)
    assert layer.state_dict() == {} and list(layer.parameters()) == []


def test_sets_without_an_outline_need_no_tables(small):
    bare = body_from_arrays(
        {
            name: value
            for name, value in random_smplx(num_vertices=70, num_faces=90).items()
            if 'kin' not in name
        }
        | {'kintree_table': np.stack([small.parents, small.parents])},
        'x',
    )
    found = SMPLX(bare, joints='smplx53')().joints
    torch.testing.assert_close(found[0, 52], SMPLX(small)().skeleton[0, 22])
    with pytest.raises(ValueError, match=r'smpl24 needs the joint "left_hand"'):
        SMPLX(small, joints='smpl24')


@pytest.mark.parametrize(
    ('settings', 'change', 'message'),
    [
        ({}, dict(body_pose=torch.zeros(4, 23, 3)), r'body_pose of shape \(4, 23, 3\).*\(B, 21, 3, 3\)'),
        ({}, dict(expression=torch.zeros(4, 11)), r'expression of shape \(4, 11\): expected \(B, up to 10\)'),
        ({}, dict(left_hand_pose=torch.zeros(4, 12)), r'left_hand_pose of shape \(4, 12\)'),
        (
            dict(hand_components=6),
            dict(right_hand_pose=torch.zeros(4, 45)),
            r'expected \(B, 6\) coefficients',
        ),
        (
            dict(add_hand_means=True),
            dict(left_hand_pose=torch.eye(3).expand(4, 15, 3, 3)),
            'matrices cannot be relative to mean hands',
        ),
        ({}, dict(jaw_pose=torch.zeros(3, 3)), 'batch of'),
    ],
)
def test_wrong_shapes_are_refused(small, settings, change, message):
    given = arguments(4, hands=settings.get('hand_components', 45))
    with pytest.raises(ValueError, match=message):
        SMPLX(small, **settings)(**(given | change))


def test_wrong_settings_are_refused(small, make_body):
    with pytest.raises(ValueError, match='num_expressions=11: the model has 10 expression'):
        SMPLX(small, num_expressions=11)
    with pytest.raises(ValueError, match='hand_components=46: .* has 45'):
        SMPLX(small, hand_components=46)
    with pytest.raises(ValueError, match='This body has 24 joints'):
        SMPLX(body_from_arrays(make_body(40), 'x'))
    with pytest.raises(ValueError, match='outline of a face'):
        SMPL(body_from_arrays(make_body(40), 'x'), joints='face72')


def test_loading_by_a_path_chooses_the_layer(file, make_body, tmp_path):
    layer = load_body_model(file, num_betas=10, num_expressions=5, hand_components=6)
    assert isinstance(layer, SMPLX) and layer.joint_set is joint_set('smplx144')
    assert layer(right_hand_pose=torch.zeros(2, 6), expression=torch.ones(2, 5)).joints.shape == (2, 144, 3)
    assert 'SMPL-X Model License' in layer.licence
    np.savez(tmp_path / 'a.npz', **make_body(40))
    with pytest.raises(ValueError, match='num_expressions: only SMPL-X has hands'):
        load_body_model(tmp_path / 'a.npz', num_expressions=5)
