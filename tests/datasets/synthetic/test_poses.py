import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mmhier.body_models.smpl_file import JOINT_NAMES
from mmhier.datasets.synthetic.poses import (
    ARMS,
    JOINT_LIMITS,
    LEG_CHANCES,
    LEGS,
    LIMITS,
    PAIRS,
    TORSO_CHANCES,
    TORSOS,
    limits_of,
    local_rotations,
    sample_pose,
)
from mmhier.geometry.array_rotations import axis_angle_to_matrix


def matrix_to_euler(rotations):
    """Angles (24, 3) in degrees about x, y, z of local rotations, by scipy."""
    found = np.empty((len(JOINT_NAMES), 3))
    for joint, name in enumerate(JOINT_NAMES):
        order, columns = ('YZX', [2, 0, 1]) if name.endswith('elbow') else ('ZYX', [2, 1, 0])
        found[joint] = Rotation.from_matrix(rotations[joint]).as_euler(order, degrees=True)[columns]
    return found


@pytest.fixture(scope='module')
def poses():
    rng = np.random.default_rng(0)
    return [sample_pose(rng) for _ in range(500)]


def test_every_pose_stays_within_the_joint_limits(poses):
    for pose in poses:
        # Recovered from the rotations that are rendered and written, not from the sampled angles.
        matrices = axis_angle_to_matrix(pose.body_pose.reshape(23, 3))
        found = matrix_to_euler(np.concatenate([np.eye(3)[None], matrices]))[1:]
        assert (found > LIMITS[1:, :, 0] - 1e-4).all()
        assert (found < LIMITS[1:, :, 1] + 1e-4).all()


def test_right_limits_mirror_left_ones():
    np.testing.assert_array_equal(limits_of('left_shoulder'), JOINT_LIMITS['shoulder'])
    np.testing.assert_array_equal(limits_of('right_shoulder'), [(-90, 70), (-40, 88), (-80, 84)])


def test_middle_angles_leave_no_ambiguity():
    for joint, name in enumerate(JOINT_NAMES[1:], start=1):
        middle = 2 if name.endswith('elbow') else 1
        assert np.abs(LIMITS[joint, middle]).max() <= 88, name


def test_poses_are_varied_and_sides_alike(poses):
    angles = np.stack([pose.angles for pose in poses])
    assert angles[:, JOINT_NAMES.index('left_knee'), 0].std() > 20
    # Both sides have the same distribution: means of 500 samples agree within the noise.
    mirrored = angles * [1, -1, -1]
    for a, b in PAIRS:
        spread = angles[:, a].std(axis=0) + 1e-6
        assert (np.abs(angles[:, a].mean(axis=0) - mirrored[:, b].mean(axis=0)) < 0.3 * spread + 0.5).all(), (
            JOINT_NAMES[a]
        )
    assert {pose.legs for pose in poses} == set(LEGS)


def test_convention_named_angles():
    angles = np.zeros((24, 3))
    angles[JOINT_NAMES.index('left_shoulder'), 2] = -90
    angles[JOINT_NAMES.index('left_elbow'), 1] = -90
    angles[JOINT_NAMES.index('left_hip'), 0] = -90
    rotations = local_rotations(angles)
    # The left arm (+x) hangs down; the forearm points forward; the thigh (-y) points forward.
    np.testing.assert_allclose(
        rotations[JOINT_NAMES.index('left_shoulder')] @ [1, 0, 0], [0, -1, 0], atol=1e-12
    )
    np.testing.assert_allclose(rotations[JOINT_NAMES.index('left_elbow')] @ [1, 0, 0], [0, 0, 1], atol=1e-12)
    np.testing.assert_allclose(rotations[JOINT_NAMES.index('left_hip')] @ [0, -1, 0], [0, 0, 1], atol=1e-12)


def test_convention_order_of_axes():
    angles = np.zeros((24, 3))
    angles[:] = 20, 30, 40

    def turn(axis, degrees):
        return axis_angle_to_matrix(np.eye(3)[axis] * np.radians(degrees))

    rotations = local_rotations(angles)
    x, y, z = turn(0, 20), turn(1, 30), turn(2, 40)
    np.testing.assert_allclose(rotations[JOINT_NAMES.index('head')], z @ y @ x, atol=1e-12)
    np.testing.assert_allclose(rotations[JOINT_NAMES.index('right_elbow')], y @ z @ x, atol=1e-12)
    np.testing.assert_allclose(matrix_to_euler(rotations), angles, atol=1e-9)


def test_key_poses_name_known_joints_and_lie_within_the_limits():
    assert set(LEG_CHANCES) == set(LEGS)
    assert set(TORSO_CHANCES) == set(TORSOS)
    key_poses = list(ARMS.items()) + [(name, pose) for name, pair in LEGS.items() for pose in pair]
    for name, pose in key_poses:
        for (part, axis), degrees in pose.items():
            low, high = JOINT_LIMITS[part]['xyz'.index(axis)]
            assert low <= degrees <= high, (name, part, axis)


def test_same_stream_same_pose():
    first, second = (sample_pose(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.rotations, second.rotations)
