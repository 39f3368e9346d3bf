"""Encoders."""

from mmhier.models.backbones.truncated_swin import TruncatedSwin
from mmhier.models.backbones.truncated_vmamba import TruncatedVMamba

__all__ = ['TruncatedSwin', 'TruncatedVMamba']
