"""Encoders."""

from mmhier.models.backbones.truncated_swin import TruncatedSwin

__all__ = ['TruncatedSwin']
