"""Output distillation of heatmaps (ViTPose, arXiv 2204.12484): the student also learns what the teacher says.

To the loss of the annotated keypoints the mean squared difference to the teacher's heatmaps is added, with
the same weight by default. It counts for every keypoint, annotated or not. Teacher and student may be of any
two families; they see the same crop, and their heatmaps must be of the same keypoints, size and width of
peaks.

Letters: B crops, K keypoints, h and w size of heatmaps.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from mmpose.models.pose_estimators import TopdownPoseEstimator
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample
from torch import Tensor, nn

from mmhier.distillation.teacher import Teacher, check_same

# What has to be alike in the codecs of teacher and student.
CODEC = ('input_size', 'heatmap_size', 'sigma')


@MODELS.register_module()
class DistilledPoseEstimator(TopdownPoseEstimator):
    """MMPose's top-down estimator, as the student of another one. Its checkpoints are the student's.

    Args:
        *args: Of MMPose's estimator.
        teacher: ``config`` and, optionally, ``checkpoint``, ``precision`` and ``cache``, see
            :class:`mmhier.distillation.Teacher`.
        teacher_weight: Factor of the difference to the teacher.
        **kwargs: Of MMPose's estimator.

    Raises:
        ValueError: If a setting is wrong.
    """

    def __init__(self, *args: Any, teacher: dict, teacher_weight: float = 1.0, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if not isinstance(teacher_weight, int | float) or teacher_weight <= 0:
            raise ValueError(f'model.teacher_weight must be a number above 0, got {teacher_weight!r}')
        self.teacher_weight = teacher_weight
        self.teacher = Teacher.of(teacher, heatmaps_of)
        self._is_checked = False

    def loss(self, inputs: Tensor, data_samples: Sequence[PoseDataSample]) -> dict[str, Tensor]:
        """Compute the losses.

        Args:
            inputs: (B, 3, height, width), normalised.
            data_samples: One per crop, with targets.

        Returns:
            Those of the head, and ``loss_teacher``.

        Raises:
            ValueError: If teacher and student do not fit each other.
        """
        if not self._is_checked:
            self._check_teacher()
            self._is_checked = True
        targets = self.teacher.targets(inputs, [sample.get('crop_key') for sample in data_samples])
        with outputs_of(self.head) as outputs:
            losses = super().loss(inputs, data_samples)
        heatmaps, wanted = outputs[-1], targets['heatmaps']
        check_same('head: size of heatmaps (K, h, w)', _size(heatmaps), _size(wanted), self.teacher.config)
        losses['loss_teacher'] = self.teacher_weight * F.mse_loss(heatmaps.float(), wanted)
        return losses

    def _check_teacher(self) -> None:
        """Compare with the config of the teacher.

        Raises:
            ValueError: If it does not fit.
        """
        described = self.teacher.settings().model
        if described.type != 'TopdownPoseEstimator':
            raise ValueError(
                f'the teacher {self.teacher.config} is a {described.type}: a pose model learns from heatmaps '
                'of a TopdownPoseEstimator'
            )
        decoder = described.head.get('decoder') or {}
        own = getattr(self.head, 'decoder', None)
        for key in CODEC:
            if key in decoder and hasattr(own, key):
                values = [_numbers(getattr(own, key)), _numbers(decoder[key])]
                check_same(f'head.decoder.{key}', *values, self.teacher.config)
        check_same(
            'head.out_channels (keypoints)',
            self.head.out_channels,
            described.head.get('out_channels'),
            self.teacher.config,
        )
        check_preprocessing(self, self.teacher)


def check_preprocessing(student: nn.Module, teacher: Teacher) -> None:
    """Compare how images are normalised and shrunk.

    Raises:
        ValueError: If teacher and student see different numbers.
    """
    own, other = student.data_preprocessor, teacher.network().data_preprocessor
    check_same('data_preprocessor.type', type(own).__name__, type(other).__name__, teacher.config)
    for key in ('mean', 'std', '_channel_conversion', 'shrink', 'average'):
        values = [_numbers(getattr(part, key, None)) for part in (own, other)]
        check_same(f'data_preprocessor.{key.removeprefix("_")}', *values, teacher.config)


def heatmaps_of(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Heatmaps (B, K, h, w) of a pose model.

    Raises:
        ValueError: If it predicts something else.
    """
    heatmaps = network.head.forward(network.extract_feat(images))
    if not isinstance(heatmaps, Tensor) or heatmaps.ndim != 4:
        raise ValueError(f'{type(network.head).__name__} gives no heatmaps, from which a student could learn')
    return dict(heatmaps=heatmaps)


@contextmanager
def outputs_of(head: nn.Module) -> Iterator[list[Tensor]]:
    """Collect what ``head.forward`` returns: MMPose's ``loss`` calls it by this name, without hooks."""
    found: list[Tensor] = []
    forward = head.forward

    def keep(*args: Any, **kwargs: Any) -> Any:
        found.append(forward(*args, **kwargs))
        return found[-1]

    head.forward = keep
    try:
        yield found
    finally:
        del head.forward


def _size(heatmaps: Tensor) -> tuple[int, ...]:
    return tuple(heatmaps.shape[1:])


def _numbers(value: Any) -> Any:
    """Arrays, tensors and lists as tuples; one number as itself."""
    if isinstance(value, Tensor):
        value = value.flatten().tolist()
    if hasattr(value, 'tolist'):
        value = value.tolist()
    return tuple(value) if isinstance(value, list) else value
