"""Tokens for encoders that have none: HMR2.0's decoder with as many queries as there are tokens.

Ours, in no published model. SMPLer-X's encoder computes its tokens together with the map; truncated encoders
have only a map, at 1/16 of the image's size. Here queries of the wanted number read it through the layers of
:mod:`mmhier.models.heads.hmr2_head`, attend to one another, and are brought to the map's width with a closing
norm, as the tokens of a ViT have one.

Letters: B batch, C channels of the map, h x w its size, T tokens, D their width in the decoder.
"""

from collections.abc import Mapping

import torch
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from torch import Tensor, nn

from mmhier.models.heads.hmr2_head import DecoderLayer, resolve_arch, sine_positions
from mmhier.ops.linear import Linear


@MODELS.register_module()
class TokenDecoder(BaseModule):
    """Read tokens from a map.

    Args:
        in_channels: C, a multiple of 4.
        arch: As of :class:`mmhier.models.heads.HMR2Head`.
        num_tokens: T.
        init_cfg: Initial weights; by default PyTorch's, and queries of unit variance, as HMR2.0's.
    """

    def __init__(
        self,
        in_channels: int,
        arch: str | Mapping = 'small',
        num_tokens: int = 31,
        init_cfg: dict | list | None = None,
    ):
        super().__init__(init_cfg=init_cfg)
        if in_channels % 4:
            raise ValueError(f'in_channels must be divisible by 4, got {in_channels}')
        if num_tokens < 1:
            raise ValueError(f'num_tokens must be at least 1, got {num_tokens}')
        self.in_channels = in_channels
        settings = resolve_arch(arch)
        dims = settings['embed_dims']
        self.queries = nn.Parameter(torch.randn(1, num_tokens, dims))
        self.layers = nn.ModuleList(
            DecoderLayer(
                dims,
                in_channels,
                settings['num_heads'],
                settings['head_dims'],
                settings['feedforward_channels'],
            )
            for _ in range(settings['num_layers'])
        )
        self.proj = Linear(dims, in_channels)
        self.norm = nn.LayerNorm(in_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, h, w) to tokens (B, T, C).

        Raises:
            ValueError: If the map has another width.
        """
        if x.ndim != 4 or x.shape[1] != self.in_channels:
            raise ValueError(
                f'the decoder was built for maps (B, {self.in_channels}, h, w), the neck gives '
                f'{tuple(x.shape)}'
            )
        context = (x + sine_positions(self.in_channels, x.shape[2:]).to(x)).flatten(2)
        tokens = self.queries.expand(x.shape[0], -1, -1)
        for layer in self.layers:
            tokens = layer(tokens, context)
        return self.norm(self.proj(tokens))
