"""MMPose's top-down estimator for several data sets: the encoder hears of which each image is, too.

Decoders are chosen by :class:`mmhier.models.heads.DataSetHeads`; only a ``ViT`` with experts has parts of its
own for each data set. Any other encoder is called as MMPose calls it.
"""

from collections.abc import Sequence
from contextlib import contextmanager
from typing import Any

from mmpose.models.pose_estimators import TopdownPoseEstimator
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample
from torch import Tensor

from mmhier.models.heads.data_set_heads import DataSetHeads, names_of


@MODELS.register_module()
class ManyDatasetsEstimator(TopdownPoseEstimator):
    """A pose model with a decoder, and maybe an expert, per data set.

    Args:
        *args: Of MMPose's estimator; the head is a ``DataSetHeads``.
        **kwargs: Of MMPose's estimator.

    Raises:
        ValueError: If there is another head, or decoders and experts are of different data sets.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        if not isinstance(getattr(self, 'head', None), DataSetHeads):
            raise ValueError("model.type='ManyDatasetsEstimator' needs model.head.type='DataSetHeads'")
        experts, heads = set(getattr(self.backbone, 'experts', ())), set(self.head.heads)
        if experts and experts != heads:
            raise ValueError(
                f'model.backbone.experts and model.head.heads are of different data sets: '
                f'{", ".join(sorted(experts ^ heads))} is among one of them only'
            )
        self._names: list[str] | None = None

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """Maps of images, with the experts of their data sets."""
        if not getattr(self.backbone, 'experts', ()):
            return super().extract_feat(inputs)
        feats = self.backbone(inputs, self._names)
        return self.neck(feats) if self.with_neck else feats

    def loss(self, inputs: Tensor, data_samples: Sequence[PoseDataSample]) -> dict[str, Tensor]:
        """Losses of all decoders."""
        with self._of(data_samples):
            return super().loss(inputs, data_samples)

    def predict(self, inputs: Tensor, data_samples: Sequence[PoseDataSample]) -> list[PoseDataSample]:
        """Keypoints of each sample, as many as its data set has."""
        with self._of(data_samples):
            return super().predict(inputs, data_samples)

    @contextmanager
    def _of(self, samples: Sequence[PoseDataSample]):
        """While images of these samples are encoded."""
        self._names = names_of(samples)
        try:
            yield
        finally:
            self._names = None
