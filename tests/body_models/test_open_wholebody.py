import numpy as np
import pytest
import torch

from mmhier.body_models import open_wholebody as builder
from mmhier.body_models.joint_regressor import is_available
from mmhier.body_models.joint_sets import JOINT_SETS, joint_set
from mmhier.body_models.model_directory import load_body_model
from mmhier.body_models.skinning import pose_body
from mmhier.body_models.smpl_file import JOINT_NAMES, SMPLX_JOINT_NAMES, SMPLX_PARENTS
from mmhier.body_models.smplx import SMPLX

joint = SMPLX_JOINT_NAMES.index
MIRROR = np.array([-1.0, 1.0, 1.0])


@pytest.fixture(scope='module')
def model(wholebody_folder):
    return builder.load_open_wholebody(wholebody_folder / builder.open_wholebody_path().name)


@pytest.fixture(scope='module')
def layer(model):
    return SMPLX(model)


def posed(layer, **parts):
    """Joints by name, and vertices, of one body; parts are numbers or lists of numbers."""
    output = layer(
        **{name: torch.tensor(np.asarray(value, np.float32))[None] for name, value in parts.items()}
    )
    return dict(zip(layer.joint_set.names, output.joints[0].numpy())), output.vertices[0].numpy()


def hand(**angles):
    """(45,) of a hand: ``index2=(0, 0, -1)``."""
    pose = np.zeros((15, 3))
    for name, angle in angles.items():
        pose[SMPLX_JOINT_NAMES.index(f'left_{name}') - joint('left_index1')] = angle
    return pose.ravel()


def test_has_the_skeleton_of_smplx(model):
    assert model.joint_names == SMPLX_JOINT_NAMES
    assert tuple(model.parents.tolist()) == SMPLX_PARENTS
    vertices = len(model.v_template)
    assert model.shapedirs.shape == model.exprdirs.shape == (vertices, 3, 10)
    assert model.hand_means.shape == (2, 45)
    assert model.metadata['licence'].startswith('CC0')
    for name in (
        'weights',
        'J_regressor',
        'coco17_regressor',
        *(f'regressors.{g}' for g in model.regressors),
    ):
        matrix = model.regressors[name[11:]] if '.' in name else getattr(model, name)
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-5, err_msg=name)
        assert matrix.min() >= 0, name


def test_is_the_open_body_but_at_the_hands(model, wholebody_folder, monkeypatch):
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(wholebody_folder))
    plain = load_body_model('open')
    betas = np.array([1.0, -1.5, 0.5, 2.0, -1.0, 0.3, -0.2, 1.0, 0.0, -0.7])
    pose = np.random.default_rng(0).normal(0.0, 0.3, (24, 3))
    pose[20:] = 0.0
    whole = np.zeros((55, 3))
    whole[:22] = pose[:22]
    ours = pose_body(model, whole, betas)
    theirs = plain(*(torch.tensor(v, dtype=torch.float32)[None] for v in (betas, pose[1:], pose[:1])))
    hands = model.weights[:13380, [joint('left_wrist'), joint('right_wrist'), *range(25, 55)]].sum(axis=1)
    same = hands == 0
    assert same.sum() > 9000
    np.testing.assert_allclose(ours.vertices[:13380][same], theirs.vertices[0].numpy()[same], atol=1e-4)
    np.testing.assert_allclose(ours.joints[:22], theirs.skeleton[0].numpy()[:22], atol=1e-4)
    assert JOINT_NAMES[:22] == SMPLX_JOINT_NAMES[:22]


def test_has_all_sets_of_smplx(model):
    missing = {name for name, joints in JOINT_SETS.items() if not is_available(joints, model)}
    assert missing == {'smpl24'}  # whose hands are joints of their own


def test_equals_plain_skinning(model, layer):
    rng = np.random.default_rng(1)
    pose, betas, expression = rng.normal(0.0, 0.3, (55, 3)), rng.normal(size=10), rng.normal(size=10)
    expressive = model.v_template + model.exprdirs @ expression.astype(np.float32)
    rest = model.joint_template + model.joint_exprdirs @ expression.astype(np.float32)
    plain = builder.BodyModelData(
        expressive, model.shapedirs, model.weights, model.J_regressor, model.parents, model.faces
    )
    expected = pose_body(plain, pose, betas)
    np.testing.assert_allclose(plain.joint_template, rest, atol=1e-6)
    _, vertices = posed(
        layer, betas=betas, expression=expression, global_orient=pose[0], body_pose=pose[1:22].ravel(),
        jaw_pose=pose[22], leye_pose=pose[23], reye_pose=pose[24],
        left_hand_pose=pose[25:40].ravel(), right_hand_pose=pose[40:].ravel(),
    )  # fmt: skip
    np.testing.assert_allclose(vertices, expected.vertices, atol=1e-5)


def test_convention_rest_hands_are_flat_and_palms_face_down(layer, model):
    points, vertices = posed(layer)
    for side, sign in (('left', 1), ('right', -1)):
        fingers = [f'{side}_{finger}' for finger in ('index', 'middle', 'ring', 'pinky')]
        for finger in fingers:
            chain = np.stack([points[f'{finger}{number}'] for number in (1, 2, 3, 4)])
            assert (np.diff(chain[:, 0] * sign) > 0.01).all(), finger
            assert np.ptp(chain[:, 1]) < 0.01, finger
        # From the thumb at the front to the little finger.
        assert (np.diff([points[f'{finger}1'][2] for finger in fingers]) < -0.01).all()
        assert points[f'{side}_thumb4'][2] > points[f'{side}_index1'][2]
        own = model.parts[f'{side}_hand']
        assert (vertices[own, 0] * sign > 0.6).all()
        assert vertices[own, 0].max() < 1 and len(own) > 1000


def test_convention_fingers_bend_towards_the_palm(layer):
    for side, sign in (('left', -1), ('right', 1)):
        bent = {
            f'{f}{n}': (0, 0, sign * 1.2) for f in ('index', 'middle', 'ring', 'pinky') for n in (1, 2, 3)
        }
        straight, _ = posed(layer)
        fist, _ = posed(layer, **{f'{side}_hand_pose': hand(**bent)})
        for finger in ('index', 'middle', 'ring', 'pinky'):
            tip, knuckle = fist[f'{side}_{finger}4'], fist[f'{side}_{finger}1']
            assert tip[1] < knuckle[1] - 0.005, finger
            reach = np.linalg.norm(tip - knuckle)
            assert reach < 0.65 * np.linalg.norm(straight[f'{side}_{finger}4'] - knuckle), finger
        other = 'right' if side == 'left' else 'left'
        np.testing.assert_array_equal(fist[f'{other}_index4'], straight[f'{other}_index4'])


def test_joints_of_fingers_are_found_on_bent_hands(model):
    """Hands are judged by joints that a regressor finds among posed vertices."""
    pose = np.zeros((2, 55, 3))
    pose[0, 25:37, 2], pose[1, 25:37, 2] = -0.9, -0.3
    pose[:, 40:52, 2] = 0.6
    bent = pose_body(model, pose, np.random.default_rng(0).normal(size=(2, 10)))
    found = np.einsum('jv,bvc->bjc', model.J_regressor[25:], bent.vertices)
    assert np.linalg.norm(found - bent.joints[:, 25:], axis=-1).max() < 0.004


def test_mean_hands_are_a_little_bent(model):
    flat, _ = posed(SMPLX(model))
    relaxed, _ = posed(SMPLX(model, add_hand_means=True))
    for side in ('left', 'right'):
        assert all(
            0.01 < flat[f'{side}_{finger}4'][1] - relaxed[f'{side}_{finger}4'][1] < 0.06
            for finger in ('index', 'middle', 'ring', 'pinky')
        )


def test_convention_the_jaw_opens(layer):
    rest, _ = posed(layer)
    points, _ = posed(layer, jaw_pose=[0.35, 0, 0])
    gap = points['inner_lip_top'] - points['inner_lip_bottom']
    assert gap[1] > 0.025 > 0.006 > (rest['inner_lip_top'] - rest['inner_lip_bottom'])[1]
    assert points['contour_middle'][1] < rest['contour_middle'][1] - 0.015
    for still in ('nose', 'left_eyelid2', 'right_brow3', 'head', 'left_eye'):
        np.testing.assert_allclose(points[still], rest[still], atol=1e-3, err_msg=still)


def test_eyes_turn_in_place(model, layer):
    _, rest = posed(layer)
    _, vertices = posed(layer, leye_pose=[0, 0.5, 0])
    moved = np.flatnonzero(np.linalg.norm(vertices - rest, axis=1) > 1e-3)
    assert len(moved) > 30
    assert (np.linalg.norm(rest[moved] - model.joint_template[joint('left_eyeball')], axis=1) < 0.02).all()
    ball = np.flatnonzero(model.weights[:, joint('left_eyeball')] == 1)
    # Somebody who turns the eye to the left has its front there.
    front = ball[rest[ball, 2].argmax()]
    assert vertices[front, 0] > rest[front, 0] + 0.004


def test_landmarks_of_the_face_are_where_their_names_say(layer):
    points, _ = posed(layer)
    names = joint_set('face72').names
    assert len(names) == 72
    for name in names:
        side = name.partition('_')[0]
        assert points[name][0] * {'left': 1, 'right': -1}.get(side, 0) >= 0, name
        mirrored = points[{'left': 'right', 'right': 'left'}.get(side, side) + name[len(side) :]]
        np.testing.assert_allclose(mirrored * MIRROR, points[name], atol=3e-3, err_msg=name)
    down = [
        'left_brow3', 'left_eyelid2', 'left_eyelid6', 'nose_bridge3', 'nose_bridge4', 'nose_base', 'lip_top',
        'inner_lip_top', 'inner_lip_bottom', 'lip_bottom', 'contour_middle',
    ]  # fmt: skip
    assert (np.diff([points[name][1] for name in down]) < 0).all()
    for chain in ('brow', 'eyelid'):
        assert points[f'left_{chain}1'][0] > points[f'left_{chain}3'][0] > points[f'left_{chain}4'][0] - 0.01


def test_the_outline_is_what_the_camera_sees_of_the_face(layer):
    """Points on the side that is turned away lie on the silhouette of the cheek."""
    names = [f'right_contour{number}' for number in range(3, 8)]
    for degrees in (-35, -10, 10, 35):  # about y: to the left is positive
        pose = np.zeros((21, 3))
        pose[SMPLX_JOINT_NAMES.index('neck') - 1, 1] = np.radians(degrees)
        points, vertices = posed(layer, body_pose=pose.ravel())
        side = names if degrees < 0 else [name.replace('right', 'left') for name in names]
        sign = -1 if degrees < 0 else 1
        for name in side:
            band = np.abs(vertices[:, 1] - points[name][1]) < 0.004
            band &= vertices[:, 2] > points['head'][2] + (0.0 if abs(degrees) > 20 else 0.02)
            furthest = (sign * vertices[band, 0]).max()
            assert sign * points[name][0] > furthest - 0.012, (name, degrees)


def test_expressions_move_the_face_only_and_start_at_rest(model, layer):
    moved = np.linalg.norm(model.exprdirs, axis=1)
    assert (moved.max(axis=0) > 5e-4).all()
    body = np.setdiff1d(np.arange(len(moved)), model.parts['face'])
    neck = model.joint_template[joint('neck'), 1]
    assert moved[body].max() < 0.004 and not moved[model.v_template[:, 1] < neck - 0.1].any()
    size = np.linalg.norm(model.exprdirs.reshape(-1, 10), axis=0)
    assert (np.diff(size) < 0).all()
    gram = model.exprdirs.reshape(-1, 10).T @ model.exprdirs.reshape(-1, 10)
    np.testing.assert_allclose(gram / np.outer(size, size), np.eye(10), atol=1e-3)


def test_loads_by_name(model, wholebody_folder, monkeypatch):
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(wholebody_folder))
    body = load_body_model('open-wholebody', joints='smplx137', add_hand_means=True)
    assert isinstance(body, SMPLX)
    assert body(betas=torch.zeros(2, 10)).joints.shape == (2, 137, 3)


@pytest.mark.slow
def test_same_bytes_every_time(wholebody_folder, tmp_path, monkeypatch):
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(wholebody_folder))
    builder.load_open_wholebody(tmp_path / 'again.npz')
    cached = wholebody_folder / builder.open_wholebody_path().name
    assert (tmp_path / 'again.npz').read_bytes() == cached.read_bytes()
