"""Quaternions agree with matrices, and what is done with them with what it says."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mmhier.geometry.array_rotations import axis_angle_to_matrix, euler_to_matrix
from mmhier.geometry.quaternions import (
    continuous_quaternions,
    interpolate,
    matrix_to_quaternion,
    quaternion_to_euler,
    quaternion_to_matrix,
    turn_axis_angle,
    turn_between,
    turn_by,
)


@pytest.fixture
def matrices():
    return axis_angle_to_matrix(np.random.default_rng(0).normal(size=(4, 5, 3)))


def test_convention_real_part_is_last():
    # 60 degrees about y.
    quaternion = [0.0, 0.5, 0.0, np.sqrt(0.75)]
    matrix = axis_angle_to_matrix(np.array([0.0, np.pi / 3, 0.0]))
    np.testing.assert_allclose(matrix_to_quaternion(matrix), quaternion, atol=1e-12)
    np.testing.assert_allclose(quaternion_to_matrix(quaternion), matrix, atol=1e-12)


def test_matrices_come_back(matrices):
    quaternions = matrix_to_quaternion(matrices)
    assert quaternions.shape == (4, 5, 4)
    np.testing.assert_allclose(quaternion_to_matrix(quaternions), matrices, atol=1e-12)


@pytest.mark.parametrize('order', ['zyx', 'zxy', 'xyz'])
def test_euler_angles_come_back(matrices, order):
    angles = quaternion_to_euler(matrix_to_quaternion(matrices), order)
    np.testing.assert_allclose(euler_to_matrix(angles, order), matrices, atol=1e-12)


def test_euler_angles_where_two_are_not_unique():
    matrix = euler_to_matrix([np.pi / 2, 0.3, 0.4], 'zxy')
    angles = quaternion_to_euler(matrix_to_quaternion(matrix), 'zxy')
    np.testing.assert_allclose(euler_to_matrix(angles, 'zxy'), matrix, atol=1e-7)


def test_turns_are_about_axes_outside_of_the_body(matrices):
    start, end = matrix_to_quaternion(matrices[0]), matrix_to_quaternion(matrices[1])
    turn = turn_between(start, end)
    np.testing.assert_allclose(axis_angle_to_matrix(turn) @ matrices[0], matrices[1], atol=1e-12)
    np.testing.assert_allclose(quaternion_to_matrix(turn_by(start, turn)), matrices[1], atol=1e-12)
    np.testing.assert_allclose(turn_between(-start, end), turn, atol=1e-12)
    vectors = np.random.default_rng(1).normal(size=(5, 3))
    turned = axis_angle_to_matrix(turn_axis_angle(vectors, turn[0]))
    np.testing.assert_allclose(
        turned, axis_angle_to_matrix(turn[0]) @ axis_angle_to_matrix(vectors), atol=1e-12
    )


def test_interpolation_turns_steadily():
    about_y = matrix_to_quaternion(axis_angle_to_matrix(np.outer([0.0, 1.0, 1.5], [0.0, 1.0, 0.0])))
    found = interpolate(about_y, np.array([0.0, 2.0, 3.0]), np.array([0.0, 0.5, 2.0, 2.5]))
    np.testing.assert_allclose(
        quaternion_to_matrix(found),
        axis_angle_to_matrix(np.outer([0.0, 0.25, 1.0, 1.25], [0.0, 1.0, 0.0])),
        atol=1e-12,
    )


def test_continuous_quaternions():
    rng = np.random.default_rng(0)
    whole = Rotation.from_rotvec(np.outer(np.arange(100) * 0.1, [0.0, 1.0, 0.0])).as_quat(canonical=False)
    joints = np.stack([whole, whole[::-1]], axis=1)
    flipped = joints * rng.choice([-1, 1], (100, 2, 1))
    found = continuous_quaternions(flipped)
    assert ((found[1:] * found[:-1]).sum(-1) > 0.9).all()
    assert ((flipped[1:] * flipped[:-1]).sum(-1) < 0).any()
    assert np.array_equal(np.abs(found), np.abs(flipped)) and np.array_equal(found[0], flipped[0])
    assert continuous_quaternions(np.zeros((0, 4))).shape == (0, 4)
