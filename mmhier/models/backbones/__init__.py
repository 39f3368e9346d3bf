"""Encoders."""

from mmhier.models.backbones.truncated_backbone import TruncatedBackbone
from mmhier.models.backbones.truncated_gmf import TruncatedGMF
from mmhier.models.backbones.truncated_swin import TruncatedSwin
from mmhier.models.backbones.truncated_vmamba import TruncatedVMamba
from mmhier.models.backbones.vit import ViT

__all__ = ['TruncatedBackbone', 'TruncatedGMF', 'TruncatedSwin', 'TruncatedVMamba', 'ViT']
