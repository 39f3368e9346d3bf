"""Losses of HMR2.0 (arXiv 2305.20091) on joints and body parameters.

The official reductions are plain sums, over joints, coordinates and the batch, so the objective grows with
the batch; its weights were chosen for 48 bodies per GPU. ``reference_batch=48`` multiplies by 48 / B and thus
gives every body that weight at any batch size (and changes nothing at 48). None is the official sum.

Supervision is per body and per joint. What is not supervised has no influence, whatever stands there: it is
taken out before anything is computed, so NaN reaches neither the loss nor a gradient. NaN in something
supervised gives NaN. Everything is computed in float32.

Letters: B bodies, K joints, P parameters.
"""

from collections.abc import Mapping, Sequence

import torch
from mmpose.registry import MODELS
from torch import Tensor, nn

from mmhier.geometry.rotations import axis_angle_to_matrix
from mmhier.mesh_sample import SMPL_LAYOUT

OFFICIAL_WEIGHTS = dict(
    keypoints_2d=0.01, keypoints_3d=0.05, global_orient=0.001, body_pose=0.001, betas=0.0005
)


class SummedLoss(nn.Module):
    """A weighted sum over the batch.

    Args:
        weight: Factor of the loss.
        reference_batch: None, or the batch size to which the sum is scaled.
    """

    def __init__(self, weight: float = 1.0, reference_batch: int | None = None):
        super().__init__()
        if reference_batch is not None and reference_batch < 1:
            raise ValueError(f'reference_batch must be None or at least 1, got {reference_batch}')
        self.weight = weight
        self.reference_batch = reference_batch

    def reduce(self, values: Tensor) -> Tensor:
        """Sum values (B, ...), weighted."""
        factor = self.weight
        if self.reference_batch is not None and len(values):
            factor *= self.reference_batch / len(values)
        return factor * values.sum()


@MODELS.register_module()
class Keypoint2DLoss(SummedLoss):
    """L1 of projected joints, weighted by confidence, in crop units (the crop has side 1)."""

    def forward(self, predicted: Tensor, target: Tensor, confidence: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            predicted: (B, K, 2).
            target: (B, K, 2).
            confidence: (B, K); 0 or less, or NaN, is not supervised.
        """
        return self.reduce(_weighted_distance(predicted, target, confidence, confidence > 0))


@MODELS.register_module()
class Keypoint3DLoss(SummedLoss):
    """L1 of joints relative to the pelvis, weighted by confidence, in metres.

    Args:
        weight: Factor of the loss.
        reference_batch: None, or the batch size to which the sum is scaled.
        pelvis: Number of the joint at which both bodies are put on top of each other, or its name; by default
            the pelvis of MPII among HMR2.0's 44.
        joint_names: Names of the joints in their order; needed for a name.
        require_pelvis: A body whose pelvis has no confidence is not supervised. That is a difference to the
            official code, which takes the pelvis as it stands, wrong by the distance to whatever stands
            there: False does that, too. With a pelvis in every body the two are equal.

    Raises:
        ValueError: If the pelvis is not among the joints.
    """

    def __init__(
        self,
        weight: float = 1.0,
        reference_batch: int | None = None,
        pelvis: int | str = SMPL_LAYOUT.pelvis_index,
        joint_names: Sequence[str] | None = None,
        require_pelvis: bool = True,
    ):
        super().__init__(weight, reference_batch)
        if isinstance(pelvis, str):
            if joint_names is None or pelvis not in joint_names:
                raise ValueError(f'pelvis={pelvis!r} needs joint_names that contain it, got {joint_names}')
            pelvis = list(joint_names).index(pelvis)
        self.pelvis = pelvis
        self.require_pelvis = require_pelvis

    def forward(self, predicted: Tensor, target: Tensor, confidence: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            predicted: (B, K, 3).
            target: (B, K, 3).
            confidence: (B, K); 0 or less, or NaN, is not supervised.
        """
        if not -predicted.shape[1] <= self.pelvis < predicted.shape[1]:
            raise ValueError(f'pelvis is joint {self.pelvis}, there are {predicted.shape[1]} joints')
        supervised = confidence > 0
        if self.require_pelvis:
            supervised = supervised & supervised[:, self.pelvis, None]
        root = target[:, self.pelvis, None]
        root = torch.where(supervised.any(1)[:, None, None], root, 0.0)
        predicted = predicted - predicted[:, self.pelvis, None]
        return self.reduce(_weighted_distance(predicted, target - root, confidence, supervised))


@MODELS.register_module()
class BodyParameterLoss(SummedLoss):
    """Squared error of body parameters; of rotations, of the nine entries of their matrices."""

    def forward(self, predicted: Tensor, target: Tensor, supervised: Tensor) -> Tensor:
        """Compute the loss.

        Args:
            predicted: Rotation matrices (B, J, 3, 3), or other parameters (B, P).
            target: Of the same shape; rotations may also be axis-angle (B, J, 3), in radians.
            supervised: (B,) bool or 0 and 1, whether the target of a body means anything.
        """
        if len(supervised) != len(predicted) or supervised.numel() != len(predicted):
            raise ValueError(
                f'supervised must be one flag per body, ({len(predicted)},), got {tuple(supervised.shape)}'
            )
        supervised = supervised.flatten() > 0
        target = torch.where(_spread(supervised, target), target, 0.0).to(torch.float32)
        if predicted.ndim == target.ndim + 1 and target.shape[-1] == 3:
            target = axis_angle_to_matrix(target)
        if predicted.shape != target.shape:
            raise ValueError(f'predicted {tuple(predicted.shape)} does not match {tuple(target.shape)}')
        difference = torch.where(_spread(supervised, predicted), predicted.float() - target, 0.0)
        return self.reduce(difference.square())


@MODELS.register_module()
class MeshLoss(nn.Module):
    """All losses of HMR2.0 but the adversarial one.

    Args:
        weights: Loss -> factor; the losses are those of :data:`OFFICIAL_WEIGHTS`, which is the default. What
            is left out is not computed.
        reference_batch: None (official), or the batch size to which the sums are scaled.
        pelvis: See :class:`Keypoint3DLoss`.
        joint_names: See :class:`Keypoint3DLoss`.
        require_pelvis: See :class:`Keypoint3DLoss`.

    Raises:
        ValueError: If a loss is unknown.
    """

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        reference_batch: int | None = None,
        pelvis: int | str = SMPL_LAYOUT.pelvis_index,
        joint_names: Sequence[str] | None = None,
        require_pelvis: bool = True,
    ):
        super().__init__()
        weights = OFFICIAL_WEIGHTS if weights is None else weights
        if unknown := set(weights) - set(OFFICIAL_WEIGHTS):
            raise ValueError(f'weights has unknown losses {sorted(unknown)}; known: {list(OFFICIAL_WEIGHTS)}')
        self.losses = nn.ModuleDict()
        for name, weight in weights.items():
            if name == 'keypoints_2d':
                self.losses[name] = Keypoint2DLoss(weight, reference_batch)
            elif name == 'keypoints_3d':
                self.losses[name] = Keypoint3DLoss(
                    weight, reference_batch, pelvis, joint_names, require_pelvis
                )
            else:
                self.losses[name] = BodyParameterLoss(weight, reference_batch)

    def forward(self, predicted: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            predicted: ``keypoints_2d`` (B, K, 2) in crop units, ``keypoints_3d`` (B, K, 3) in metres,
                ``global_orient`` (B, 1, 3, 3), ``body_pose`` (B, J, 3, 3), ``betas`` (B, S).
            target: The same, rotations as matrices or axis-angle, and for each how far it is supervised:
                ``keypoints_2d_confidence`` and ``keypoints_3d_confidence`` (B, K), ``has_global_orient``,
                ``has_body_pose`` and ``has_betas`` (B,).

        Returns:
            ``loss_keypoints_2d`` and so on, weighted.

        Raises:
            ValueError: If something is missing.
        """
        losses = {}
        for name, loss in self.losses.items():
            supervision = f'{name}_confidence' if name.startswith('keypoints') else f'has_{name}'
            missing = [f'predicted {name}'] if name not in predicted else []
            missing += [f'target {key}' for key in (name, supervision) if key not in target]
            if missing:
                raise ValueError(
                    f'the loss of {name} needs {" and ".join(missing)}; or take it out of weights'
                )
            losses[f'loss_{name}'] = loss(predicted[name], target[name], target[supervision])
        return losses


def _weighted_distance(predicted: Tensor, target: Tensor, confidence: Tensor, supervised: Tensor) -> Tensor:
    """L1 per coordinate, (B, K, D), times confidence; zero where not supervised."""
    if predicted.shape != target.shape or predicted.shape[:-1] != confidence.shape:
        raise ValueError(
            f'predicted {tuple(predicted.shape)}, target {tuple(target.shape)} and confidence '
            f'{tuple(confidence.shape)} do not belong together: expected (B, K, D) twice and (B, K)'
        )
    supervised = supervised[..., None]
    target = torch.where(supervised, target, 0.0).float()
    confidence = torch.where(supervised, confidence[..., None], 0.0).float()
    return confidence * torch.where(supervised, predicted.float() - target, 0.0).abs()


def _spread(flags: Tensor, like: Tensor) -> Tensor:
    """Flags (B,) in a shape that spreads over a tensor (B, ...)."""
    return flags.reshape(-1, *[1] * (like.ndim - 1))
