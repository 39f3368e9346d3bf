"""Crops of another resolution than the pipeline's, for small models."""

from typing import Any

import torch.nn.functional as F
from mmpose.models.data_preprocessors import PoseDataPreprocessor
from mmpose.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class MeshDataPreprocessor(PoseDataPreprocessor):
    """``PoseDataPreprocessor`` that shrinks the crops of :mod:`mmhier.mesh_sample`.

    Annotations are in crop units and stay as they are.

    Args:
        shrink: Each pixel becomes the mean of ``shrink`` x ``shrink``.
        average: Otherwise it becomes the first of them, as in SMPLer-X.
        **kwargs: Arguments of ``PoseDataPreprocessor``.

    Raises:
        ValueError: If ``shrink`` is less than 1, or in use if it does not divide the size of the crop.
    """

    def __init__(self, shrink: int = 1, average: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        if shrink < 1:
            raise ValueError(f'shrink must be at least 1, got {shrink}')
        self.shrink, self.average = shrink, average

    def forward(self, data: dict, training: bool = False) -> dict:
        """Normalise, then shrink."""
        data = super().forward(data, training)
        height, width = data['inputs'].shape[-2:]
        if height % self.shrink or width % self.shrink:
            raise ValueError(f'shrink={self.shrink} does not divide crops of {width} x {height} pixels')
        data['inputs'] = shrunk(data['inputs'], self.shrink, self.average)
        return data


def shrunk(images: Tensor, factor: int, average: bool) -> Tensor:
    """Images (B, 3, H, W) of which a square of pixels becomes its mean or its first pixel."""
    if factor == 1:
        return images
    return F.avg_pool2d(images, factor) if average else images[..., ::factor, ::factor]
