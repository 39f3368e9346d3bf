"""Rotations in numpy are those in torch."""

import numpy as np
import pytest
import torch

from mmhier.geometry import array_rotations, rotations
from mmhier.geometry.array_rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    shortest_rotation,
    wrap_axis_angle,
)


@pytest.mark.parametrize('name', ['cross_matrix', 'axis_angle_to_matrix'])
def test_what_both_have_is_the_same(name):
    vectors = np.random.default_rng(0).normal(size=(50, 3)) * np.geomspace(1e-6, 3, 50)[:, None]
    found = getattr(array_rotations, name)(vectors)
    expected = getattr(rotations, name)(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)
    if name == 'axis_angle_to_matrix':
        back = rotations.matrix_to_axis_angle(torch.from_numpy(found)).numpy()
        np.testing.assert_allclose(matrix_to_axis_angle(found), back, atol=1e-9)


def test_convention_axis_angle_is_right_handed():
    # 30 degrees about z turns x towards y.
    matrix = axis_angle_to_matrix(np.array([0.0, 0.0, np.pi / 6]))
    np.testing.assert_allclose(matrix @ [1.0, 0.0, 0.0], [np.cos(np.pi / 6), 0.5, 0.0], atol=1e-12)


def test_axis_angle_round_trip_includes_half_turns():
    rng = np.random.default_rng(0)
    axis = rng.normal(size=(200, 3))
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    vectors = np.concatenate(
        [axis * rng.uniform(0, np.pi, (200, 1)), axis[:20] * np.pi, axis[:20] * 1e-7, np.zeros((1, 3))]
    )
    back = matrix_to_axis_angle(axis_angle_to_matrix(vectors))
    np.testing.assert_allclose(axis_angle_to_matrix(back), axis_angle_to_matrix(vectors), atol=1e-7)
    assert np.linalg.norm(back, axis=1).max() <= np.pi + 1e-9


def test_wrapped_rotations_are_the_same_rotations():
    axis = np.array([[0.6, 0.0, 0.8]])
    for angle, expected in (
        (1.0, 1.0),
        (np.pi + 0.5, 0.5 - np.pi),
        (2 * np.pi + 0.3, 0.3),
        (7.5 * np.pi, -np.pi / 2),
    ):
        np.testing.assert_allclose(wrap_axis_angle(axis * angle), axis * expected, atol=1e-9)


def test_shortest_rotation_turns_one_direction_into_the_other():
    starts = np.random.default_rng(0).normal(size=(20, 3))
    end = np.array([0.6, 0.0, 0.8])
    turns = shortest_rotation(starts, end)
    turned = np.einsum('sij,sj->si', axis_angle_to_matrix(turns), starts)
    np.testing.assert_allclose(turned, np.linalg.norm(starts, axis=1, keepdims=True) * end, atol=1e-9)
    np.testing.assert_allclose(turns @ end, 0, atol=1e-9)  # about an axis across both
    ends = 3 * np.random.default_rng(1).normal(size=(20, 3))
    each = [shortest_rotation(starts[i : i + 1], ends[i])[0] for i in range(20)]
    np.testing.assert_allclose(shortest_rotation(starts, ends), each, atol=1e-12)
