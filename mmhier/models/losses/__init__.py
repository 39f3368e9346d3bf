"""Losses of mesh recovery; those of heatmaps are MMPose's."""

from mmhier.models.losses.mesh_losses import BodyParameterLoss, Keypoint2DLoss, Keypoint3DLoss, MeshLoss
from mmhier.models.losses.pose_discriminator import AdversarialLoss, PoseDiscriminator
from mmhier.models.losses.whole_body_loss import WholeBodyLoss

__all__ = [
    'AdversarialLoss',
    'BodyParameterLoss',
    'Keypoint2DLoss',
    'Keypoint3DLoss',
    'MeshLoss',
    'PoseDiscriminator',
    'WholeBodyLoss',
]
