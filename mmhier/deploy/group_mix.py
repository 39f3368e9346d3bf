"""GroupMixFormer in the form that runtimes run fastest.

The network and its numbers are those of :mod:`mmhier.models.backbones.truncated_gmf` after
``fuse_for_inference``. What differs is how they are written, measured with OpenVINO on a CPU:

* Tokens are (B, N, C) between convolutions: a runtime takes any tensor of four axes for (B, C, H, W), picks a
  layout for that, and copies at every step of a residual branch.
* The stem and the steps between stages are convolutions on (B, C, H, W) throughout.
* The 1 x 1 convolutions of the groups are one grouped convolution, not a matrix that is mostly zeros.
* The local branch has convolutions of its own, with its own small kernels.
* The residual of the positions is part of their kernels.

Letters: B batch, H and W map size in tokens, N = H * W, C channels, s = C / 5 channels per group.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhier.models.backbones.truncated_gmf import (
    GROUPS,
    HEADS,
    SIDE,
    ConvNorm,
    GMFBlock,
    GroupMixAttention,
    PatchEmbed,
    TruncatedGMF,
)
from mmhier.ops.group_mix import linear_attention

_LOCAL_SIDE = 3


class ExportedGMF(TruncatedGMF):
    """:class:`TruncatedGMF` for export; never built, modules become it."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode images (B, in_channels, height, width) as :class:`TruncatedGMF` does."""
        x = images
        for part in self.stem:
            x = _embed(part, x)
        maps = []
        for index, stage in enumerate(self.stages):
            size = x.shape[2:]
            tokens = _tokens(x)
            for block in stage.blocks:
                tokens = _run_block(block, tokens, size)
            x = _map(tokens, size)
            if index in self.truncation.out_indices:
                maps.append(x)
            if stage.downsample is not None:
                x = _embed(stage.downsample, x)
        return tuple(maps)


def prepare_group_mix(model: nn.Module) -> None:
    """Bring the GroupMixFormers of a model into the form for export, in place.

    Args:
        model: A copy that is not needed for anything else, fused for inference.
    """
    for module in list(model.modules()):
        if isinstance(module, TruncatedGMF):
            module.__class__ = ExportedGMF
        elif isinstance(module, GMFBlock):
            kernels = module.cpe.weight.clone()
            kernels[:, :, 1, 1] += 1
            module.cpe.weight = nn.Parameter(kernels, requires_grad=False)
        elif isinstance(module, GroupMixAttention):
            _sort_out(module)


def _sort_out(attention: GroupMixAttention) -> None:
    """Separate the channels that attend from those of the local branch."""
    width, attending = attention.width, attention.attending
    channels = torch.arange(3 * GROUPS * width).view(3, -1)
    margin = (SIDE - _LOCAL_SIDE) // 2
    for name, chosen in (('attend', channels[:, :attending]), ('local', channels[:, attending:])):
        chosen = chosen.flatten()
        attention.register_buffer(f'{name}_weight', attention.qkv.weight[chosen])
        attention.register_buffer(f'{name}_bias', attention.qkv.bias[chosen])
        kernels = attention.folded_kernels[chosen]
        if name == 'local':
            kernels = kernels[:, :, margin:-margin, margin:-margin].clone()
        attention.register_buffer(f'{name}_kernels', kernels)
    blocks = attention.folded_mix.view(GROUPS - 1, width, GROUPS - 1, width).diagonal(dim1=0, dim2=2)
    mix = blocks.permute(2, 0, 1).reshape(-1, width, 1, 1).repeat(3, 1, 1, 1)
    attention.register_buffer('mix', mix)
    attention.register_buffer('mix_bias', attention.folded_shift.repeat(3))


def _embed(part: ConvNorm | PatchEmbed, x: Tensor) -> Tensor:
    """Run a part of the stem or a step between stages on (B, C, H, W)."""
    if isinstance(part, ConvNorm):
        return F.hardswish(part.conv(x))
    depthwise = part.proj.depthwise
    x = F.conv2d(x, depthwise.weight, None, part.stride, 1, groups=x.shape[1])
    return F.hardswish(part.proj.pointwise(x))


def _run_block(block: GMFBlock, x: Tensor, size: torch.Size) -> Tensor:
    """Run a block on tokens (B, N, C) of a map of this size (H, W)."""
    x = _tokens(block.cpe(_map(x, size)))
    x = x + _attend(block.attn, block.norm1(x), size)
    return x + block.mlp(block.norm2(x))


def _attend(attention: GroupMixAttention, x: Tensor, size: torch.Size) -> Tensor:
    """Run attention on normed tokens (B, N, C)."""
    mixed = F.linear(x, attention.attend_weight, attention.attend_bias)
    mixed = _depthwise(_map(mixed, size), attention.attend_kernels)
    mixed = F.conv2d(mixed, attention.mix, attention.mix_bias, groups=3 * (GROUPS - 1))
    q, k, v = F.hardswish(mixed).chunk(3, 1)
    position = _depthwise(v, attention.folded_position_kernels, attention.folded_position_bias)
    attended = linear_attention(*(_tokens(part) for part in (q, k, v, position)), HEADS, attention.scale)
    local = F.linear(x, attention.local_weight, attention.local_bias)
    local = attention.local.finish(_tokens(_depthwise(_map(local, size), attention.local_kernels)))
    return attention.proj(torch.cat([attended, local], 2))


def _depthwise(x: Tensor, kernels: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.conv2d(x, kernels, bias, padding=kernels.shape[-1] // 2, groups=x.shape[1])


def _tokens(x: Tensor) -> Tensor:
    """Map (B, C, H, W) to (B, N, C)."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def _map(x: Tensor, size: torch.Size) -> Tensor:
    """Map (B, N, C) to (B, C, H, W)."""
    return x.unflatten(1, size).permute(0, 3, 1, 2)
