"""Rotations in numpy, where importing torch would cost more than it does: bodies, motions, synthetic people.

The formulas and the convention are those of :mod:`mmhier.geometry.rotations`, which is differentiable.

Convention:
    Right-handed. A matrix acts on column vectors. Axis-angle is the unit axis times the angle in radians,
    positive counter-clockwise when the axis points at the viewer.
"""

from collections.abc import Sequence

import numpy as np


def axis_angle_to_matrix(axis_angle: np.ndarray) -> np.ndarray:
    """Rodrigues' formula.

    Args:
        axis_angle: (..., 3) radians.

    Returns:
        (..., 3, 3) rotation matrices of the same floating type.
    """
    vector = np.asarray(axis_angle)
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    small = angle < 1e-4
    safe = np.where(small, 1.0, angle)
    sine = np.where(small, 1.0 - angle**2 / 6.0, np.sin(safe) / safe)
    cosine = np.where(small, 0.5 - angle**2 / 24.0, (1.0 - np.cos(safe)) / safe**2)
    cross = cross_matrix(vector)
    return (np.eye(3) + sine * cross + cosine * (cross @ cross)).astype(vector.dtype)


def matrix_to_axis_angle(matrix: np.ndarray) -> np.ndarray:
    """Inverse of :func:`axis_angle_to_matrix`, angles in [0, pi], through unit quaternions.

    Args:
        matrix: (..., 3, 3) rotation matrices.

    Returns:
        (..., 3) radians.
    """
    matrix = np.asarray(matrix)
    m = matrix.astype(np.float64)
    trace = np.trace(m, axis1=-2, axis2=-1)
    diagonal = np.diagonal(m, axis1=-2, axis2=-1)
    # 4 q q^T: its column with the largest diagonal entry is the quaternion (w, x, y, z) up to scale.
    outer = np.empty((*m.shape[:-2], 4, 4))
    outer[..., 0, 0] = 1.0 + trace
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        outer[..., i + 1, i + 1] = 1.0 + 2.0 * diagonal[..., i] - trace
        outer[..., 0, i + 1] = outer[..., i + 1, 0] = m[..., k, j] - m[..., j, k]
        outer[..., j + 1, k + 1] = outer[..., k + 1, j + 1] = m[..., j, k] + m[..., k, j]
    best = np.argmax(np.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
    quaternion = np.take_along_axis(outer, best[..., None, None], axis=-1)[..., 0]
    quaternion = quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)
    quaternion = np.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    sine = np.linalg.norm(quaternion[..., 1:], axis=-1, keepdims=True)
    angle = 2.0 * np.arctan2(sine, quaternion[..., :1])
    scale = np.where(sine < 1e-8, 2.0, angle / np.maximum(sine, 1e-8))
    return (quaternion[..., 1:] * scale).astype(matrix.dtype)


def euler_to_matrix(angles: np.ndarray | Sequence[float], order: str = 'zyx') -> np.ndarray:
    """Rotations about the axes, one after the other.

    Args:
        angles: (..., 3) radians about x, y and z, whatever the order.
        order: The factors of the product from left to right: 'zyx' is ``Rz @ Ry @ Rx``.

    Returns:
        (..., 3, 3) rotation matrices, float64.
    """
    sine, cosine = np.sin(angles), np.cos(angles)
    about = {}
    for axis, name in enumerate('xyz'):
        matrix = np.zeros((*sine.shape, 3))
        j, k = (axis + 1) % 3, (axis + 2) % 3
        matrix[..., axis, axis] = 1.0
        matrix[..., j, j] = matrix[..., k, k] = cosine[..., axis]
        matrix[..., k, j], matrix[..., j, k] = sine[..., axis], -sine[..., axis]
        about[name] = matrix
    first, second, third = (about[name] for name in order)
    return first @ second @ third


def cross_matrix(vector: np.ndarray) -> np.ndarray:
    """(..., 3, 3) matrices with ``cross_matrix(a) @ b == cross(a, b)``."""
    x, y, z = np.moveaxis(vector, -1, 0)
    zero = np.zeros_like(x)
    rows = [np.stack(row, axis=-1) for row in ((zero, -z, y), (z, zero, -x), (-y, x, zero))]
    return np.stack(rows, axis=-2)


def shortest_rotation(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The smallest rotations that turn one direction into another.

    Args:
        start: (S, 3) of any length.
        end: (3,) or (S, 3) of any length.

    Returns:
        Axis-angle (S, 3).
    """
    start, end = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (start, end))
    axis = np.cross(start, end)
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    return axis / np.maximum(sine, 1e-12) * np.arctan2(sine, (start * end).sum(axis=1, keepdims=True))


def wrap_axis_angle(rotations: np.ndarray) -> np.ndarray:
    """The same rotations (N, 3) by angles of at most pi."""
    angle = np.linalg.norm(rotations, axis=1, keepdims=True)
    wrapped = (angle + np.pi) % (2 * np.pi) - np.pi
    return np.where(angle > np.pi, rotations * (wrapped / np.maximum(angle, 1e-12)), rotations)
