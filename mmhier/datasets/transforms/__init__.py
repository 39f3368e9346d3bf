"""Data transforms beside MMPose's own."""

from mmhier.datasets.transforms.loading import LoadCheckedImage

__all__ = ['LoadCheckedImage']
