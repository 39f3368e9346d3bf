"""Between encoder and decoder."""

from mmhier.models.necks.resolution_neck import ResolutionNeck

__all__ = ['ResolutionNeck']
