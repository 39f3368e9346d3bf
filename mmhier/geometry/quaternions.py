"""Quaternions in numpy, and rotations over time, for motions, their files and their filters.

Convention:
    As in :mod:`mmhier.geometry.array_rotations`. Quaternions are ``(x, y, z, w)``, as glTF and scipy have
    them, of unit norm; a quaternion and its opposite are the same rotation.
"""

import warnings

import numpy as np
from scipy.spatial.transform import Rotation, Slerp


def matrix_to_quaternion(matrix: np.ndarray) -> np.ndarray:
    """(..., 4) of rotation matrices (..., 3, 3)."""
    matrix = np.asarray(matrix)
    return Rotation.from_matrix(matrix.reshape(-1, 3, 3)).as_quat().reshape(*matrix.shape[:-2], 4)


def quaternion_to_matrix(quaternion: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotation matrices of quaternions (..., 4)."""
    quaternion = np.asarray(quaternion)
    return Rotation.from_quat(quaternion.reshape(-1, 4)).as_matrix().reshape(*quaternion.shape[:-1], 3, 3)


def quaternion_to_euler(quaternion: np.ndarray, order: str = 'zyx') -> np.ndarray:
    """Inverse of :func:`mmhier.geometry.array_rotations.euler_to_matrix`.

    Where the angle in the middle is a quarter turn the other two are not unique: one of the answers.

    Args:
        quaternion: (..., 4).
        order: The factors of the product from left to right, three different axes.

    Returns:
        (..., 3) radians about x, y and z, whatever the order.
    """
    quaternion = np.asarray(quaternion)
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', 'Gimbal lock', UserWarning)
        angles = Rotation.from_quat(quaternion.reshape(-1, 4)).as_euler(order.upper())
    return angles[:, [order.index(axis) for axis in 'xyz']].reshape(*quaternion.shape[:-1], 3)


def turn_between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Axis-angle (N, 3) of the shortest turns, about axes outside of the body, from ``start`` to ``end``.

    Args:
        start: (N, 4).
        end: (N, 4).
    """
    return (Rotation.from_quat(end) * Rotation.from_quat(start).inv()).as_rotvec()


def turn_by(quaternion: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """(N, 4) of rotations (N, 4), turned by axis-angle ``turn`` (N, 3) about axes outside of the body.

    ``turn_by(start, turn_between(start, end))`` is ``end``.
    """
    return (Rotation.from_rotvec(turn) * Rotation.from_quat(quaternion)).as_quat()


def turn_axis_angle(axis_angle: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """(N, 3) of rotations (N, 3) that are turned by ``turn`` (3,) or (N, 3) about axes outside of the body.

    Much quicker for a few of them than by matrices.
    """
    return (Rotation.from_rotvec(turn) * Rotation.from_rotvec(axis_angle)).as_rotvec()


def interpolate(quaternion: np.ndarray, places: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Rotations between those that are known, along the shortest arcs at a steady speed.

    Args:
        quaternion: (T, 4), at least two.
        places: (T,) where they are, increasing.
        wanted: (N,) from the first of them to the last.

    Returns:
        (N, 4).
    """
    return Slerp(places, Rotation.from_quat(quaternion))(wanted).as_quat()


def continuous_quaternions(quaternions: np.ndarray) -> np.ndarray:
    """Choose the signs such that each quaternion is on the side of the one before.

    Programs that interpolate animations number by number then take the shortest arc.

    Args:
        quaternions: (T, ..., 4), in any order of the components.

    Returns:
        The same rotations, of the same shape; the first is unchanged.
    """
    quaternions = np.asarray(quaternions)
    products = (quaternions[1:] * quaternions[:-1]).sum(axis=-1, keepdims=True)
    signs = np.cumprod(np.where(products < 0, -1, 1).astype(quaternions.dtype), axis=0)
    return np.concatenate([quaternions[:1], quaternions[1:] * signs])
