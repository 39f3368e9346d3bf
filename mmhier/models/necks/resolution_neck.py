"""Bring a map of any stride to the stride the decoder expects, with one layer at most.

Encoders cut after stage 2, 3 or 4 end at 1/8, 1/16 or 1/32 of the image. One strided (transposed) convolution
takes the outer two to 1/16 and to the width of stage 3, so that one decoder serves all. The parameter counts
published for SwinHMR2.0-S at S3 and S4 (arXiv 2510.12660) agree with exactly this.
"""

from mmengine.model import BaseModule
from mmpose.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class ResolutionNeck(BaseModule):
    """At most one layer between the last map of an encoder and a decoder.

    * ``in_stride == out_stride`` and equal widths: identity, no parameters.
    * ``in_stride == out_stride``, other width: 1 x 1 convolution.
    * ``in_stride < out_stride``: convolution with stride ``out_stride / in_stride``.
    * ``in_stride > out_stride``: transposed convolution with stride ``in_stride / out_stride``.

    A map whose side is not a multiple of the stride is padded with zeros at the right and at the bottom
    before the strided convolution, so a side n always becomes ceil(n / stride), or n * stride.

    Args:
        in_channels: Width of the map.
        in_stride: Its stride with respect to the image.
        out_channels: Width for the decoder.
        out_stride: Stride for the decoder.
        kernel_size: Of the strided layer: 2, grown to the stride where that is larger so that no input is
            skipped, or 3 for one that overlaps by a row and a column.
        init_cfg: Initial weights; by default PyTorch's.

    Raises:
        ValueError: If one stride is not a multiple of the other, or the kernel is neither 2 nor 3.
    """

    def __init__(
        self,
        in_channels: int,
        in_stride: int,
        out_channels: int,
        out_stride: int = 16,
        kernel_size: int = 2,
        init_cfg: dict | list | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        low, high = sorted((in_stride, out_stride))
        if low < 1 or high % low:
            raise ValueError(
                f'in_stride {in_stride} and out_stride {out_stride} must be positive, one a multiple of the '
                'other'
            )
        if kernel_size not in (2, 3):
            raise ValueError(f'kernel_size must be 2 or 3, got {kernel_size!r}')
        self.in_channels = in_channels
        self.factor = high // low
        self.shrinks = in_stride < out_stride
        overlap = kernel_size - 2
        kernel = self.factor + overlap
        if self.factor == 1:
            same = in_channels == out_channels
            self.layer = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)
        elif self.shrinks:
            self.layer = nn.Conv2d(in_channels, out_channels, kernel, self.factor, padding=overlap)
        else:
            self.layer = nn.ConvTranspose2d(
                in_channels, out_channels, kernel, self.factor, padding=overlap, output_padding=overlap
            )

    def forward(self, maps: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Bring the last of the maps to the decoder's stride and width.

        Args:
            maps: Maps of the encoder; the last, (B, in_channels, H, W), is used.

        Returns:
            One map (B, out_channels, H', W').
        """
        x = maps[-1]
        if x.shape[1] != self.in_channels:
            raise ValueError(
                f'the neck was built for {self.in_channels} channels, the encoder gives {x.shape[1]}'
            )
        if self.shrinks:
            bottom, right = -x.shape[2] % self.factor, -x.shape[3] % self.factor
            if bottom or right:
                x = nn.functional.pad(x, (0, right, 0, bottom))
        return (self.layer(x),)
