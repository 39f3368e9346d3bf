"""Crops of another resolution than the pipeline's, for small models."""

from typing import Any

import torch.nn.functional as F
from mmpose.models.data_preprocessors import PoseDataPreprocessor
from mmpose.registry import MODELS


@MODELS.register_module()
class MeshDataPreprocessor(PoseDataPreprocessor):
    """``PoseDataPreprocessor`` that shrinks the crops of :mod:`mmhier.mesh_sample`.

    Annotations are in crop units and stay as they are.

    Args:
        shrink: Each pixel becomes the mean of ``shrink`` x ``shrink``.
        **kwargs: Arguments of ``PoseDataPreprocessor``.

    Raises:
        ValueError: If ``shrink`` is less than 1, or in use if it does not divide the size of the crop.
    """

    def __init__(self, shrink: int = 1, **kwargs: Any):
        super().__init__(**kwargs)
        if shrink < 1:
            raise ValueError(f'shrink must be at least 1, got {shrink}')
        self.shrink = shrink

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise, then shrink."""
        data = super().forward(data, training)
        height, width = data['inputs'].shape[-2:]
        if height % self.shrink or width % self.shrink:
            raise ValueError(f'shrink={self.shrink} does not divide crops of {width} x {height} pixels')
        data['inputs'] = F.avg_pool2d(data['inputs'], self.shrink)
        return data
