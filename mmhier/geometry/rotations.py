"""Rotations in torch: matrices, axis-angle, quaternions and the two layouts of the 6-D representation.

The 6-D representation is that of Zhou et al., "On the Continuity of Rotation Representations in Neural
Networks", CVPR 2019: two columns, made orthonormal by Gram-Schmidt. Every function takes any leading shape
``(...)``, keeps floating type and device, is differentiable where the map is (small angles included), and
works without matrix products, so that autocast does not lower its precision.

Convention:
    Right-handed. A matrix acts on column vectors: ``x_out = R @ x_in``, stored ``matrix[..., row, column]``.
    Axis-angle is the unit axis times the angle in radians, positive counter-clockwise when the axis points at
    the viewer. Quaternions are ``(w, x, y, z)``; returned ones have unit norm and ``w >= 0``. A 6-D vector
    holds the first two columns ``a`` and ``b`` of the matrix, in one of two layouts:

    ============== ==================== =============================================
    layout         order                used by
    ============== ==================== =============================================
    'contiguous'   a0 a1 a2 b0 b1 b2    HMR2.0 (4D-Humans)
    'interleaved'  a0 b0 a1 b1 a2 b2    SPIN, ``smpl_mean_params.npz``, SMPLer-X
    ============== ==================== =============================================
"""

import torch
from torch import Tensor
from torch.nn import functional as F

LAYOUTS_6D = ('contiguous', 'interleaved')

# Below these squares (of an angle, of a sine) a power series replaces a quotient, exact to 1e-15.
SMALL_ANGLE_SQUARED = 1e-4
SMALL_SINE_SQUARED = 1e-4


def cross_matrix(vector: Tensor) -> Tensor:
    """Matrices of the cross product.

    Args:
        vector (Tensor): (..., 3).

    Returns:
        Tensor: (..., 3, 3) with ``cross_matrix(a) @ b == cross(a, b)``.
    """
    x, y, z = vector.unbind(dim=-1)
    zero = torch.zeros_like(x)
    entries = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1)
    return entries.unflatten(-1, (3, 3))


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula.

    Args:
        axis_angle (Tensor): (..., 3) radians.

    Returns:
        Tensor: (..., 3, 3).
    """
    square = (axis_angle * axis_angle).sum(dim=-1, keepdim=True)
    # R = cos(t) I + sin(t)/t [v]x + (1 - cos(t))/t^2 v v^T; the last factor through the half angle, because
    # 1 - cos(t) loses its digits for small t.
    sine = _sinc(square)[..., None]
    versine = 0.5 * _sinc(0.25 * square)[..., None] ** 2
    outer = axis_angle[..., :, None] * axis_angle[..., None, :]
    identity = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    cosine = 1.0 - versine * square[..., None]
    return cosine * identity + sine * cross_matrix(axis_angle) + versine * outer


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Inverse of :func:`axis_angle_to_matrix`, exact from zero up to and including half a turn.

    Args:
        matrix (Tensor): (..., 3, 3) rotation matrices.

    Returns:
        Tensor: (..., 3) radians, of norm in [0, pi]. At exactly pi either of the two opposite axes.
    """
    return quaternion_to_axis_angle(matrix_to_quaternion(matrix))


def quaternion_to_axis_angle(quaternion: Tensor) -> Tensor:
    """Rotation vectors of quaternions.

    Args:
        quaternion (Tensor): (..., 4), ``(w, x, y, z)``, of any norm but zero and of either sign.

    Returns:
        Tensor: (..., 3) radians, of norm in [0, pi].
    """
    unit = _upper_half(F.normalize(quaternion, dim=-1))
    real, vector = unit[..., :1], unit[..., 1:]
    square = (vector * vector).sum(dim=-1, keepdim=True)
    small = square < SMALL_SINE_SQUARED
    sine = _safe_sqrt(square, SMALL_SINE_SQUARED)
    # angle / sine(angle / 2); for small sines 2 arcsin(s) / s by its series.
    series = 2.0 + square / 3.0 + 3.0 * square**2 / 20.0 + 5.0 * square**3 / 56.0
    return vector * torch.where(small, series, 2.0 * torch.atan2(sine, real) / sine)


def matrix_to_quaternion(matrix: Tensor) -> Tensor:
    """Unit quaternions of rotation matrices, stable for every angle.

    Args:
        matrix (Tensor): (..., 3, 3).

    Returns:
        Tensor: (..., 4), ``(w, x, y, z)`` with ``w >= 0``.
    """
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrix.flatten(-2).unbind(dim=-1)
    # Rows of 4 q q^T: each is q up to a factor, and the one with the largest diagonal entry is accurate.
    rows = [
        1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01,
        m21 - m12, 1 + m00 - m11 - m22, m01 + m10, m02 + m20,
        m02 - m20, m01 + m10, 1 - m00 + m11 - m22, m12 + m21,
        m10 - m01, m02 + m20, m12 + m21, 1 - m00 - m11 + m22,
    ]  # fmt: skip
    outer = torch.stack(rows, dim=-1).unflatten(-1, (4, 4))
    best = outer.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)[..., None, None]
    row = outer.gather(-2, best.expand(*best.shape[:-1], 4)).squeeze(-2)
    return _upper_half(F.normalize(row, dim=-1))


def rotation_6d_to_matrix(rotation_6d: Tensor, layout: str = 'contiguous') -> Tensor:
    """Gram-Schmidt on two columns; the third is their cross product.

    Args:
        rotation_6d (Tensor): (..., 6), the columns need not be orthonormal. Two parallel columns or a zero
            one describe no rotation, and neither is the result one then.
        layout (str): one of :data:`LAYOUTS_6D`.

    Returns:
        Tensor: (..., 3, 3).
    """
    _check_layout(layout)
    if layout == 'contiguous':
        first, second = rotation_6d[..., :3], rotation_6d[..., 3:]
    else:
        first, second = rotation_6d[..., 0::2], rotation_6d[..., 1::2]
    x = F.normalize(first, dim=-1)
    y = F.normalize(second - (x * second).sum(dim=-1, keepdim=True) * x, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y, dim=-1)], dim=-1)


def _check_layout(layout: str) -> None:
    if layout not in LAYOUTS_6D:
        raise ValueError(f'layout={layout!r} of a 6-D rotation: expected one of {LAYOUTS_6D}.')


def _safe_sqrt(square: Tensor, threshold: float) -> Tensor:
    """The root where ``square`` reaches the threshold, one below it, where another formula takes over."""
    return torch.where(square < threshold, torch.ones_like(square), square).sqrt()


def _sinc(square: Tensor) -> Tensor:
    """``sin(t) / t`` as a function of ``t**2``, with correct derivatives at zero."""
    angle = _safe_sqrt(square, SMALL_ANGLE_SQUARED)
    series = 1.0 - square / 6.0 + square**2 / 120.0 - square**3 / 5040.0
    return torch.where(square < SMALL_ANGLE_SQUARED, series, torch.sin(angle) / angle)


def _upper_half(quaternion: Tensor) -> Tensor:
    """Of a quaternion and its opposite, the one with a real part that is not negative."""
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
