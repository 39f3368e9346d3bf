"""Legs are bent so that feet reach a place; all else stays."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mmhier.body_models.skinning import forward_kinematics
from mmhier.tracking.standing_feet import LEGS, hold_feet, points_of_feet

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
