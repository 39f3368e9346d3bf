"""Masked image modelling for hierarchical encoders (SimMIM, arXiv 2111.09886).

Squares of the image are hidden, and a linear layer on the encoder's last map paints them back; the loss is
the mean absolute difference over what was hidden, of normalised colours. It is mmpretrain's SimMIM with two
differences, so that it serves every encoder that says what it returns (``feature_info``), cut anywhere:

* What is hidden is a learned colour in the image, where SimMIM has a learned token behind the patch
  embedding. For Swin the token is then the embedding of that colour, and all else is the same; an encoder
  whose stem overlaps (GroupMixFormer, VMamba) could not be given tokens.
* The mask is drawn on the device of the images, from torch's random numbers, and not by the data loader.

Letters: B images, C channels and S stride of the last map, P side of a hidden square.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel
from mmengine.model.weight_init import trunc_normal_
from mmpose.registry import MODELS
from torch import Tensor, nn

COLOURS = 3


@MODELS.register_module()
class MaskedImageModel(BaseModel):
    """An encoder that learns by painting hidden squares. Its checkpoints initialise that encoder.

    Args:
        backbone: Config of an encoder with ``feature_info``; its last output is read.
        mask_patch: P, pixels; a multiple of all strides hides whole tokens.
        mask_ratio: Share of the squares that are hidden, rounded up.
        data_preprocessor: As for pose models.
        init_cfg: Initial weights, MMEngine's.

    Raises:
        ValueError: If a setting is out of range, or the backbone does not say what it returns.
    """

    def __init__(
        self,
        backbone: dict,
        mask_patch: int = 32,
        mask_ratio: float = 0.6,
        data_preprocessor: dict | None = None,
        init_cfg: dict | list | None = None,
    ):
        super().__init__(data_preprocessor, init_cfg)
        if not isinstance(mask_patch, int) or mask_patch < 1:
            raise ValueError(f'model.mask_patch must be a number of pixels from 1, got {mask_patch!r}')
        if not isinstance(mask_ratio, int | float) or not 0 < mask_ratio <= 1:
            raise ValueError(f'model.mask_ratio must lie in (0, 1], got {mask_ratio!r}')
        self.mask_patch, self.mask_ratio = mask_patch, mask_ratio
        self.backbone = MODELS.build(backbone)
        maps = getattr(self.backbone, 'feature_info', None)
        if not maps:
            raise ValueError(
                f'model.backbone {type(self.backbone).__name__} has no feature_info, which says what it '
                "returns: take one of mmhier's encoders, such as TruncatedSwin or TruncatedBackbone"
            )
        channels, self.stride = maps[-1]
        self.mask_colour = nn.Parameter(torch.zeros(COLOURS))
        self.decoder = nn.Conv2d(channels, COLOURS * self.stride**2, 1)

    def init_weights(self) -> None:
        """Draw the weights."""
        super().init_weights()
        trunc_normal_(self.mask_colour, std=0.02)

    def forward(self, inputs: Tensor, data_samples: Sequence[Any] | None = None, mode: str = 'tensor') -> Any:
        """Compute the loss (``mode='loss'``) or, of images as they are, the encoder's maps (``'tensor'``).

        Args:
            inputs: (B, 3, height, width), normalised.
            data_samples: Not read.
            mode: Which.

        Raises:
            ValueError: If ``mode`` is another one: there is nothing to evaluate.
        """
        if mode == 'loss':
            return self.loss(inputs, self.draw_mask(inputs))
        if mode == 'tensor':
            return self.backbone(inputs)
        raise ValueError(
            f'MaskedImageModel has no mode {mode!r}: pre-training is not evaluated, leave out val_cfg'
        )

    def draw_mask(self, images: Tensor) -> Tensor:
        """Choose what is hidden: (B, 1, height, width), 1 where it is."""
        rows, columns = (math.ceil(side / self.mask_patch) for side in images.shape[2:])
        count = math.ceil(self.mask_ratio * rows * columns)
        order = torch.rand(len(images), rows * columns, device=images.device).argsort(dim=1).argsort(dim=1)
        squares = (order < count).to(images.dtype).view(-1, 1, rows, columns)
        mask = squares.repeat_interleave(self.mask_patch, 2).repeat_interleave(self.mask_patch, 3)
        return mask[..., : images.shape[2], : images.shape[3]]

    def reconstruct(self, images: Tensor, mask: Tensor) -> Tensor:
        """Paint images (B, 3, height, width) of which what the mask (B, 1, height, width) says is hidden."""
        hidden = torch.lerp(images, self.mask_colour.to(images).view(1, -1, 1, 1), mask)
        painted = F.pixel_shuffle(self.decoder(self.backbone(hidden)[-1]), self.stride)
        return painted[..., : images.shape[2], : images.shape[3]]

    def loss(self, images: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """Mean absolute difference of what is hidden; shapes as of :meth:`reconstruct`."""
        difference = (self.reconstruct(images, mask) - images).abs() * mask
        return dict(loss_hidden=difference.sum() / (mask.sum() * COLOURS))
