"""Everything that goes into MMPose's ``MODELS`` registry."""

from mmhier.models import backbones, heads, losses, necks, pose_estimators, pretraining

__all__ = ['backbones', 'heads', 'losses', 'necks', 'pose_estimators', 'pretraining']
