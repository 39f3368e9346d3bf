"""Distillation of mesh models: the teacher's body, its parameters and its surface, as targets.

Both models have the same body model; the teacher's surface is made by the student's. As the losses of HMR2.0
these are sums over the batch, scaled to ``reference_batch`` of the student's loss if it has one.

Letters: B crops, J joints, S shape components, V vertices.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample
from torch import Tensor, nn

from mmhier.distillation.pose import check_preprocessing
from mmhier.distillation.teacher import Teacher, check_same
from mmhier.models.losses.mesh_losses import SummedLoss
from mmhier.models.pose_estimators.topdown_mesh import TopdownMeshEstimator

PARAMETERS = ('global_orient', 'body_pose', 'betas', 'camera')
# Those of HMR2.0 for parameters. A millimetre at every vertex weighs what one at every of its 44 joints does.
WEIGHTS = dict(global_orient=0.001, body_pose=0.001, betas=0.0005, camera=0.01, vertices=2.2)


@MODELS.register_module()
class DistilledMeshEstimator(TopdownMeshEstimator):
    """A mesh model as the student of another one. Its checkpoints are the student's.

    Args:
        *args: Of :class:`mmhier.models.pose_estimators.TopdownMeshEstimator`.
        teacher: ``config`` and, optionally, ``checkpoint``, ``precision`` and ``cache``, see
            :class:`mmhier.distillation.Teacher`.
        teacher_weights: Target -> factor, of those of :data:`WEIGHTS`, the default; what is left out is not
            learned.
        **kwargs: Of :class:`mmhier.models.pose_estimators.TopdownMeshEstimator`.

    Raises:
        ValueError: If a setting is wrong.
    """

    def __init__(
        self, *args: Any, teacher: dict, teacher_weights: Mapping[str, float] | None = None, **kwargs: Any
    ):
        super().__init__(*args, **kwargs)
        weights = dict(WEIGHTS if teacher_weights is None else teacher_weights)
        if not weights or set(weights) - set(WEIGHTS):
            raise ValueError(f'model.teacher_weights takes {", ".join(WEIGHTS)}, got {weights}')
        batches = {getattr(loss, 'reference_batch', None) for loss in self.loss_module.modules()}
        batch = max(filter(None, batches), default=None)
        self.teacher_losses = {name: SummedLoss(weight, batch) for name, weight in weights.items()}
        self.loss_needs_vertices = 'vertices' in weights
        self.teacher = Teacher.of(teacher, parameters_of)
        self._is_checked = False

    def losses_of(
        self, predicted: Mapping[str, Tensor], inputs: Tensor, data_samples: Sequence[PoseDataSample]
    ) -> dict[str, Tensor]:
        """Those of the student, and ``loss_teacher_NAME`` for each target."""
        if not self._is_checked:
            self._check_teacher()
            self._is_checked = True
        losses = super().losses_of(predicted, inputs, data_samples)
        targets = self.teacher.targets(inputs, [sample.get('crop_key') for sample in data_samples])
        if 'vertices' in self.teacher_losses:
            with torch.no_grad():
                body = {name: targets[name] for name in ('global_orient', 'body_pose', 'betas')}
                targets['vertices'] = self.body()(**body).vertices
        for name, loss in self.teacher_losses.items():
            own, wanted = predicted[name].float(), targets[name]
            check_same(f'size of {name}', tuple(own.shape[1:]), tuple(wanted.shape[1:]), self.teacher.config)
            if name == 'vertices':
                difference = (own - wanted).abs().sum(2).mean(1)
            else:
                difference = (own - wanted).square()
            losses[f'loss_teacher_{name}'] = loss.reduce(difference)
        return losses

    def _check_teacher(self) -> None:
        """Compare with the config of the teacher.

        Raises:
            ValueError: If it does not fit.
        """
        described = self.teacher.settings().model
        if described.type != 'TopdownMeshEstimator':
            raise ValueError(
                f'the teacher {self.teacher.config} is a {described.type}: a mesh model learns from a '
                'TopdownMeshEstimator'
            )
        other = described.get('body_model', 'open')
        check_same('body_model', self.body_model_name, other, self.teacher.config)
        check_preprocessing(self, self.teacher)


def parameters_of(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Parameters of the bodies that a mesh model sees.

    Returns:
        ``global_orient`` (B, 1, 3, 3), ``body_pose`` (B, J, 3, 3), ``betas`` (B, S) and ``camera`` (B, 3).
    """
    predicted = network.head(network.extract_feat(images))
    return {name: getattr(predicted, name) for name in PARAMETERS}
