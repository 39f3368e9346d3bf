"""Everything that goes into MMPose's ``MODELS`` registry."""

from mmhier.models import backbones, necks

__all__ = ['backbones', 'necks']
