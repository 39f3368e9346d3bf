"""Similarity alignment of point clouds (Procrustes), batched and finite for every finite cloud.

The least-squares solution of S. Umeyama, "Least-squares estimation of transformation parameters between two
point patterns", TPAMI 1991: rotation from the singular vectors of the covariance, never a reflection.
Computed in float64, whatever comes in; a batch gives what its members give alone.

Clouds for which the textbook formula divides by zero or has no single answer:

* The source has no extent (one point, or all equal up to the rounding of its type): it is moved, neither
  turned nor scaled.
* The target has no extent, the source has: the best scale is 0, every point lands on the target.
* Both lie on lines, or the covariance is otherwise of low rank: one of the equally good rotations.
* A cloud that is not finite, or has no point of positive weight: the result of that cloud is NaN, the rest of
  the batch is not touched.

Convention:
    Points are rows, (x, y, z). ``aligned = scale * rotation @ source + translation`` on column vectors.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Similarity(NamedTuple):
    """Scale (...), rotation (..., 3, 3) and translation (..., 3), float64."""

    scale: Tensor
    rotation: Tensor
    translation: Tensor

    def apply(self, points: Tensor) -> Tensor:
        """Move points (..., N, 3); the result is float64."""
        turned = points.double() @ self.rotation.mT
        return self.scale[..., None, None] * turned + self.translation[..., None, :]


def similarity_transform(
    source: Tensor, target: Tensor, weights: Tensor | None = None, with_scale: bool = True
) -> Similarity:
    """Find the similarity that brings a cloud closest to another in the sense of least squares.

    Args:
        source (Tensor): (..., N, 3).
        target (Tensor): (..., N, 3), the point that belongs to each.
        weights (Tensor | None): (..., N), not negative; by default all 1. A mask is cast. Points of weight 0
            may be anything, NaN included.
        with_scale (bool): False finds a rigid motion.

    Returns:
        Similarity: In float64.

    Raises:
        ValueError: If the shapes do not match, there is no point, or a weight is negative.
    """
    if source.shape != target.shape or source.ndim < 2 or source.shape[-1] != 3 or source.shape[-2] < 1:
        raise ValueError(
            f'expected two clouds of shape (..., N, 3) with N >= 1, got {tuple(source.shape)} and '
            f'{tuple(target.shape)}'
        )
    if weights is None:
        weights = torch.ones_like(source[..., 0])
    if weights.shape != source.shape[:-1] or (weights < 0).any():
        raise ValueError(
            f'weights must have the shape {tuple(source.shape[:-1])} and not be negative, got '
            f'{tuple(weights.shape)} with a minimum of {weights.min().item() if weights.numel() else None}'
        )
    rounding = max(_rounding(source), _rounding(target))
    weights = weights.double()
    used = weights[..., None] > 0
    source, target = (torch.where(used, points.double(), 0.0) for points in (source, target))
    total = weights.sum(-1)
    usable = source.isfinite().all(-1).all(-1) & target.isfinite().all(-1).all(-1) & (total > 0)
    usable &= total.isfinite()
    source, target = (torch.where(usable[..., None, None], points, 0.0) for points in (source, target))
    shares = torch.where(usable[..., None], weights, 1.0)
    shares = (shares / shares.sum(-1, keepdim=True))[..., None]

    source_mean, target_mean = (shares * source).sum(-2), (shares * target).sum(-2)
    source_rest = torch.where(used, source - source_mean[..., None, :], 0.0)
    target_rest = torch.where(used, target - target_mean[..., None, :], 0.0)
    # Unit size, so that neither the covariance nor the variance can underflow.
    source_size, target_size = _size(source_rest), _size(target_rest)
    source_is_point = source_size <= rounding * source.abs().amax((-2, -1))
    target_is_point = target_size <= rounding * target.abs().amax((-2, -1))
    degenerate = source_is_point | target_is_point
    source_rest = source_rest / torch.where(source_is_point, 1.0, source_size)[..., None, None]
    target_rest = target_rest / torch.where(target_is_point, 1.0, target_size)[..., None, None]

    covariance = (shares * target_rest).mT @ source_rest
    identity = torch.eye(3, dtype=torch.float64, device=source.device)
    u, s, vh = torch.linalg.svd(torch.where(degenerate[..., None, None], identity, covariance))
    sign = torch.where(torch.linalg.det(u) * torch.linalg.det(vh) < 0, -1.0, 1.0).to(s)
    signs = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], dim=-1)
    rotation = (u * signs[..., None, :]) @ vh
    if with_scale:
        variance = (shares * source_rest.square()).sum((-2, -1))
        ratio = target_size / torch.where(source_is_point, 1.0, source_size)
        scale = (s * signs).sum(-1) / torch.where(degenerate, 1.0, variance) * ratio
        scale = torch.where(target_is_point, 0.0, scale)
        scale = torch.where(source_is_point, 1.0, scale)
    else:
        scale = torch.ones_like(source_size)
    rotation = torch.where(degenerate[..., None, None], identity, rotation)
    translation = target_mean - scale[..., None] * (rotation @ source_mean[..., None])[..., 0]
    nan = torch.where(usable, 0.0, torch.nan).to(scale)
    return Similarity(scale + nan, rotation + nan[..., None, None], translation + nan[..., None])


def procrustes_align(
    source: Tensor, target: Tensor, weights: Tensor | None = None, with_scale: bool = True
) -> Tensor:
    """Move a cloud onto another, see :func:`similarity_transform`.

    Returns:
        Tensor: (..., N, 3), float64.
    """
    return similarity_transform(source, target, weights, with_scale).apply(source)


def _size(centred: Tensor) -> Tensor:
    """Largest distance along an axis from the centre, (...)."""
    return centred.abs().amax((-2, -1))


def _rounding(points: Tensor) -> float:
    """Relative size below which differences between coordinates of this type mean nothing."""
    kind = points.dtype if points.is_floating_point() else torch.float64
    return 8 * torch.finfo(kind).eps
