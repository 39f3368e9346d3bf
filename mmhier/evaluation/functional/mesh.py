"""Errors of bodies in space and in the image, one number per body, and their summaries.

Nothing is averaged over bodies but where it is said, so that a metric can count what it has seen and what it
could not judge. A body (or joint) without ground truth gives NaN, never 0; a prediction that is not finite
gives NaN in space and a miss in the image, so that it cannot go unnoticed.

The protocol of HMR2.0 for 3DPW and Human3.6M: :func:`relative_to_joint` with the pelvis of MPII, then
:func:`mpjpe` and :func:`pa_mpjpe` over 14 joints to which the pelvis does not belong; means over images. For
LSP-Extended, COCO and PoseTrack: :func:`normalized_distances` by the longer side of the person's box, joints
with a confidence above 0.5, then :func:`pck` at 0.05 and 0.1.

Letters: B bodies, K joints, V vertices.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmhier.geometry.procrustes import procrustes_align

MILLIMETRES = 1000.0
VISIBLE = 0.5


class PCK(NamedTuple):
    """Share of correct joints.

    Attributes:
        mean: Mean of ``per_joint`` over the joints that were judged; NaN if there is none.
        per_joint: (K,) float64, NaN for a joint that is never visible.
        count: (K,) how many of each joint were judged.
    """

    mean: float
    per_joint: Tensor
    count: Tensor


def relative_to_joint(points: Tensor, joints: Tensor, root: int | Sequence[int]) -> Tensor:
    """Points relative to a joint, or to the mean of several.

    Args:
        points: (B, K, 3) or (B, V, 3).
        joints: (B, J, 3), of which the root is one; may be ``points``.
        root: One joint, or several, such as both hips.

    Returns:
        Of the shape of ``points``.
    """
    roots = [root] if isinstance(root, int) else list(root)
    return points - joints[:, roots].mean(1, keepdim=True)


def mpjpe(predicted: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean distance over the joints of each body.

    Args:
        predicted: (B, K, 3) metres.
        target: (B, K, 3) metres, relative to the same root.
        valid: (B, K) bool, joints with ground truth; by default all.

    Returns:
        (B,) millimetres, float64; NaN for a body without a valid joint.
    """
    _check(predicted, target, valid)
    if valid is None:
        valid = torch.ones_like(target[..., 0], dtype=torch.bool)
    difference = torch.where(valid[..., None], predicted.double() - target.double(), 0.0)
    return MILLIMETRES * difference.norm(dim=-1).sum(-1) / valid.sum(-1)


def pa_mpjpe(predicted: Tensor, target: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean distance over the joints of each body after the best similarity (scale, rotation, translation).

    It says little about one or two joints, which a similarity always brings into place.

    Args:
        predicted: (B, K, 3) metres.
        target: (B, K, 3) metres.
        valid: (B, K) bool, joints with ground truth, to which alone the body is aligned; by default all.

    Returns:
        (B,) millimetres, float64; NaN for a body without a valid joint or whose prediction is not finite.
    """
    _check(predicted, target, valid)
    return mpjpe(procrustes_align(predicted, target, valid), target, valid)


def pve(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean distance over the vertices of each body (PVE; also MPVPE or V2V).

    Args:
        predicted: (B, V, 3) metres.
        target: (B, V, 3) metres, relative to the same root.

    Returns:
        (B,) millimetres, float64.
    """
    return mpjpe(predicted, target)


def normalized_distances(
    predicted: Tensor, target: Tensor, confidence: Tensor, reference_length: Tensor
) -> Tensor:
    """Distances in the image in parts of a length of each body.

    Args:
        predicted: (B, K, 2), in any unit.
        target: (B, K, 2), in the same unit.
        confidence: (B, K); joints above 0.5 are judged.
        reference_length: (B,) in the same unit, such as the longer side of the box.

    Returns:
        (B, K) float64; NaN where there is nothing to judge, infinite where the prediction is not finite.

    Raises:
        ValueError: If shapes do not match or a length is not positive.
    """
    visible = confidence > VISIBLE
    _check(predicted, target, visible)
    if reference_length.shape != predicted.shape[:1] or not (reference_length > 0).all():
        raise ValueError(
            f'reference_length must be {len(predicted)} positive numbers, got shape '
            f'{tuple(reference_length.shape)} and {reference_length.flatten()[:5].tolist()} ...'
        )
    distance = (predicted.double() - target.double()).norm(dim=-1) / reference_length.double()[:, None]
    distance = torch.where(predicted.isfinite().all(-1), distance, torch.inf)
    return torch.where(visible, distance, torch.nan)


def pck(distances: Tensor, threshold: float) -> PCK:
    """Share of joints closer than a threshold: per joint over all bodies, then the mean over joints.

    Args:
        distances: (B, K) of :func:`normalized_distances`, of the whole data set.
        threshold: In parts of the reference length; a distance equal to it is a miss.
    """
    judged = ~distances.isnan()
    count = judged.sum(0)
    per_joint = (distances < threshold).sum(0).double() / count
    return PCK(per_joint[count > 0].mean().item(), per_joint, count)


def phi_mesh_3d(errors: Mapping[str, tuple[float, float]]) -> float:
    """Return Phi_M,3D in millimetres, lower is better: the mean over data sets of (MPJPE + PA-MPJPE) / 2.

    The project's reading of the unified score of arXiv 2510.12660, on the pattern of its Phi_P,2D.

    Args:
        errors: Data set (3DPW, Human3.6M) -> its MPJPE and PA-MPJPE.

    Raises:
        ValueError: If there is no data set.
    """
    return _mean_of_pairs(errors, 'phi_mesh_3d')


def phi_mesh_2d(scores: Mapping[str, tuple[float, float]]) -> float:
    """Return Phi_M,2D in [0, 1], higher is better: the mean over data sets of (PCK@0.05 + PCK@0.1) / 2.

    The project's reading of the unified score of arXiv 2510.12660, on the pattern of its Phi_P,2D.

    Args:
        scores: Data set (LSP-Extended, COCO, PoseTrack) -> its PCK at 0.05 and at 0.1.

    Raises:
        ValueError: If there is no data set.
    """
    return _mean_of_pairs(scores, 'phi_mesh_2d')


def _mean_of_pairs(pairs: Mapping[str, tuple[float, float]], name: str) -> float:
    if not pairs:
        raise ValueError(f'{name} needs the results of at least one data set, got none')
    return sum(sum(pair) / 2 for pair in pairs.values()) / len(pairs)


def _check(predicted: Tensor, target: Tensor, valid: Tensor | None) -> None:
    if predicted.shape != target.shape or predicted.ndim != 3:
        raise ValueError(
            f'expected two tensors of shape (B, K, D), got {tuple(predicted.shape)} and {tuple(target.shape)}'
        )
    if valid is not None and (valid.shape != predicted.shape[:2] or valid.dtype != torch.bool):
        raise ValueError(
            f'expected one bool per joint, {tuple(predicted.shape[:2])}, got {valid.dtype} '
            f'{tuple(valid.shape)}'
        )
