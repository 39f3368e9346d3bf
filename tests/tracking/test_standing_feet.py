"""Legs are bent so that feet reach a place; all else stays."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mmhier.body_models.skinning import forward_kinematics
from mmhier.tracking.standing_feet import LEGS, hold_feet, points_of_feet, steady_feet

NAMES = ('pelvis', *LEGS[0], *LEGS[1])
PARENTS = np.array([-1, 0, 1, 2, 3, 0, 5, 6, 7])
LEG = np.array([[0, -0.02, 0], [0, -0.42, 0.01], [0, -0.84, 0], [0, -0.9, 0.13]])
REST = np.concatenate([np.zeros((1, 3)), LEG + [0.1, 0, 0], LEG - [0.1, 0, 0]])


def posed(rotations):
    return forward_kinematics(rotations, np.broadcast_to(REST, (len(rotations), *REST.shape)), PARENTS)


@pytest.fixture
def crouching():
    """A body in slightly bent poses that tremble, its root before the camera."""
    rng = np.random.default_rng(0)
    angles = rng.normal(0, 0.03, (40, 9, 3))
    angles[:, [1, 5], 0] -= 0.35
    angles[:, [2, 6], 0] += 0.7
    angles[:, 0, 0] += np.pi
    rotations = Rotation.from_rotvec(angles.reshape(-1, 3)).as_matrix().reshape(40, 9, 3, 3)
    return rotations, np.tile([0.2, 0.1, 4.0], (40, 1)), np.arange(40) / 30


def test_feet_stay_where_they_stand(crouching):
    rotations, places, times = crouching
    turned, joints = posed(rotations)
    stands = [(0, np.arange(5, 20)), (1, np.arange(15, 35))]
    held, moved = hold_feet(rotations, turned, joints, NAMES, places, stands, times)
    np.testing.assert_allclose(moved, places, atol=1e-9)  # legs are long enough
    again, after = posed(held)
    before = points_of_feet(joints, NAMES)
    feet = points_of_feet(after, NAMES)
    for foot, when in stands:
        assert np.ptp(before[when, foot], axis=0).max() > 0.03
        assert np.ptp(feet[when, foot], axis=0).max() < 1e-6
        np.testing.assert_allclose(feet[when[0], foot], np.median(before[when, foot], axis=0), atol=1e-6)
    others = [0, 1, 5]
    np.testing.assert_allclose(after[:, others], joints[:, others], atol=1e-9)
    np.testing.assert_allclose(again[:, [3, 7]], turned[:, [3, 7]], atol=1e-9)  # feet keep their direction
    np.testing.assert_allclose(
        held @ held.swapaxes(-1, -2), np.broadcast_to(np.eye(3), held.shape), atol=1e-9
    )
    bend = np.degrees(Rotation.from_matrix(held[:, [2, 6]].reshape(-1, 3, 3)).as_rotvec()[:, 0])
    assert bend.min() > 10  # knees bend forwards


def test_feet_that_stand_do_not_tremble():
    rng = np.random.default_rng(0)
    angles = rng.normal(0, np.radians(2), (120, 9, 3))
    rotations = Rotation.from_rotvec(angles.reshape(-1, 3)).as_matrix().reshape(120, 9, 3, 3)
    turned, _ = posed(rotations)
    stands, times = [(0, np.arange(20, 110)), (1, np.arange(120))], np.arange(120) / 30
    steady = steady_feet(rotations, turned, NAMES, stands, times)
    ankles = [NAMES.index(f'{side}_ankle') for side in ('left', 'right')]
    others = [joint for joint in range(9) if joint not in ankles]
    np.testing.assert_array_equal(steady[:, others], rotations[:, others])
    after, _ = posed(steady)
    left, right = (after[:, ankle] for ankle in ankles)
    np.testing.assert_allclose(
        left[[0, 19, 20, 109, 110]], turned[[0, 19, 20, 109, 110], ankles[0]], atol=1e-9
    )

    def steps(feet):
        return np.linalg.norm(np.diff(feet, axis=0), axis=(1, 2))

    assert steps(turned[40:90, ankles[0]]).mean() > 20 * steps(left[40:90]).mean()
    assert steps(turned[:, ankles[1]]).mean() > 20 * steps(right).mean()  # up to the ends of the clip
    before, now = (Rotation.from_matrix(feet).magnitude() for feet in (turned[:, ankles[1]], right))
    assert now.mean() < 0.25 * before.mean()


def test_feet_that_roll_off_are_left_to_roll():
    """A step of 0.6 s: in its last third the heel rises by 40 degrees; 6 off at most, where it begins."""
    roll = np.radians(40) * np.clip((np.arange(18) - 12) / 5, 0, 1)
    angles = np.zeros((40, 9, 3))
    ankle = NAMES.index('left_ankle')
    angles[10:28, ankle, 0], angles[28:, ankle, 0] = roll, roll[-1]
    rotations = Rotation.from_rotvec(angles.reshape(-1, 3)).as_matrix().reshape(40, 9, 3, 3)
    turned, _ = posed(rotations)
    steady = steady_feet(rotations, turned, NAMES, [(0, np.arange(10, 28))], np.arange(40) / 30)
    found = Rotation.from_matrix(steady[:, ankle]).as_rotvec()
    np.testing.assert_allclose(np.degrees(found), np.degrees(angles[:, ankle]), atol=6)
    np.testing.assert_allclose(found[[10, 27, 28]], angles[[10, 27, 28], ankle], atol=1e-9)


def test_the_root_comes_nearer_where_a_leg_is_too_short(crouching):
    rotations, places, times = crouching
    places = places + np.linspace(0, 0.35, 40)[:, None] * [0, -1, 0]  # rises from feet that stand
    turned, joints = posed(rotations)
    when = np.arange(40)
    held, moved = hold_feet(rotations, turned, joints, NAMES, places, [(0, when), (1, when)], times)
    feet = moved[:, None] + points_of_feet(posed(held)[1], NAMES)
    assert np.ptp(feet, axis=0).max() < 0.01
    assert (moved - places)[-1, 1] > 0.05 and np.abs(np.diff(moved, axis=0)).max() < 0.03


def test_shifts_that_cannot_be_are_not_made(crouching):
    rotations, places, times = crouching
    turned, joints = posed(rotations)
    places = places + times[:, None] * [1.0, 0, 0]
    held, moved = hold_feet(rotations, turned, joints, NAMES, places, [(0, np.arange(40))], times)
    np.testing.assert_array_equal(held, rotations)
    np.testing.assert_array_equal(moved, places)


def test_a_skeleton_without_legs_and_nobody_who_stands(crouching):
    rotations, places, times = crouching
    turned, joints = posed(rotations)
    names = ('pelvis', *(f'joint_{n}' for n in range(8)))
    assert points_of_feet(joints, names).shape == (40, 0, 3)
    for joint_names, stands in ((names, [(0, np.arange(9))]), (NAMES, [])):
        held, moved = hold_feet(rotations, turned, joints, joint_names, places, stands, times)
        np.testing.assert_array_equal(held, rotations)
        np.testing.assert_array_equal(moved, places)
