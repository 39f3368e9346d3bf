"""Pre-training of encoders without labels; masked autoencoders of plain ViTs are mmpretrain's."""

from mmhier.models.pretraining.masked_image_model import MaskedImageModel

__all__ = ['MaskedImageModel']
