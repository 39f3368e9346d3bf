import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mmhier.body_models.smpl_file import SMPLX_JOINT_NAMES
from mmhier.datasets.synthetic.hands import (
    FACE_LIMITS,
    FINGER_AXES,
    HAND_CHANCES,
    HAND_POSES,
    THUMB_AXES,
    hand_limits,
    hand_rotations,
    key_pose,
    sample_hand,
    with_hands_and_face,
)
from mmhier.datasets.synthetic.poses import sample_pose

MIRROR = np.diag([-1.0, 1.0, 1.0])
HANDS = {'left': slice(25, 40), 'right': slice(40, 55)}


def angles_of(rotations):
    """Flexion, spread and twist (15, 3) in degrees of a left hand, by scipy."""
    found = np.empty((15, 3))
    for joint, rotation in enumerate(rotations):
        axes = THUMB_AXES if joint >= 12 else FINGER_AXES
        flexion, spread, twist = axes / np.linalg.norm(axes, axis=1, keepdims=True)
        # The frame whose axes these are: spread about its z, flexion about its y, twist about its x.
        frame = np.stack([twist, flexion, spread], axis=1)
        handed = np.sign(np.linalg.det(frame))
        frame[:, 0] *= handed
        turned = Rotation.from_matrix(frame.T @ rotation @ frame).as_euler('ZYX', degrees=True)
        if abs(turned[0]) > 90:  # of the two solutions the one that bends by more than 90 degrees
            turned = [
                turned[0] - np.sign(turned[0]) * 180,
                180 - turned[1],
                turned[2] - np.sign(turned[2]) * 180,
            ]
        found[joint] = turned[1], turned[0], handed * turned[2]
    return found


@pytest.fixture(scope='module')
def poses():
    rng = np.random.default_rng(0)
    return [with_hands_and_face(rng, sample_pose(rng)) for _ in range(200)]


def test_axes_are_orthogonal():
    np.testing.assert_allclose(FINGER_AXES @ FINGER_AXES.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(THUMB_AXES @ THUMB_AXES.T, np.eye(3), atol=0.02)


def test_every_hand_stays_within_the_limits(poses):
    limits = hand_limits()
    for pose in poses[:60]:
        for side, rows in HANDS.items():
            rotations = pose.rotations[rows]
            if side == 'right':
                rotations = MIRROR @ rotations @ MIRROR
            fingers = angles_of(rotations)[:12]  # the thumb's axes are orthogonal to two digits only
            assert (fingers > limits[:12, :, 0] - 1e-4).all() and (fingers < limits[:12, :, 1] + 1e-4).all()
            assert (pose.angles[rows] >= limits[..., 0]).all() and (pose.angles[rows] <= limits[..., 1]).all()
            rebuilt = hand_rotations(pose.angles[rows], side)
            np.testing.assert_allclose(rebuilt, pose.rotations[rows], atol=1e-12)


def test_every_face_stays_within_the_limits(poses):
    for name, limits in FACE_LIMITS.items():
        joint = SMPLX_JOINT_NAMES.index(name)
        found = np.stack(
            [Rotation.from_matrix(pose.rotations[joint]).as_euler('ZYX', degrees=True) for pose in poses]
        )
        low, high = np.array(limits, float).T
        assert (found[:, ::-1] > low - 1e-6).all() and (found[:, ::-1] < high + 1e-6).all(), name
    opened = np.array([pose.angles[SMPLX_JOINT_NAMES.index('jaw'), 0] for pose in poses])
    assert 0.2 < (opened > 5).mean() < 0.5


def test_the_body_stays_as_it_was():
    rng = np.random.default_rng(3)
    body = sample_pose(rng)
    whole = with_hands_and_face(rng, body)
    assert whole.rotations.shape == (55, 3, 3)
    np.testing.assert_array_equal(whole.rotations[:22], body.rotations[:22])
    np.testing.assert_allclose(np.linalg.det(whole.rotations), 1.0)
    again = with_hands_and_face(np.random.default_rng(3), sample_pose(np.random.default_rng(3)))
    assert again.legs == body.legs


def test_key_poses_lie_within_the_limits_and_all_are_drawn():
    assert set(HAND_CHANCES) == set(HAND_POSES) and sum(HAND_CHANCES.values()) == pytest.approx(1.0)
    limits = hand_limits()
    for name in HAND_POSES:
        angles = key_pose(name)
        assert (angles >= limits[..., 0]).all() and (angles <= limits[..., 1]).all(), name
    rng = np.random.default_rng(1)
    assert {sample_hand(rng)[0] for _ in range(300)} == set(HAND_POSES)


def test_convention_hands():
    # Flexion takes a finger, which points at +x, down; spread takes it towards the thumb, forward.
    for column, end in ((0, [0, -1, 0]), (1, [0, 0, 1])):
        angles = np.zeros((15, 3))
        angles[:12, column] = 90
        np.testing.assert_allclose(hand_rotations(angles, 'left')[0] @ [1, 0, 0], end, atol=1e-12)
        np.testing.assert_allclose(hand_rotations(angles, 'right')[0] @ [-1, 0, 0], end, atol=1e-12)
    both = [hand_rotations(key_pose('grasp'), side) for side in ('left', 'right')]
    np.testing.assert_allclose(MIRROR @ both[0] @ MIRROR, both[1], atol=1e-12)
