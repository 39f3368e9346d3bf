"""GroupMixFormer (arXiv 2311.15157) that keeps its first stages only.

The numbers are those of the authors' code with the same weights; their files are read by
:mod:`mmhier.convert.gmf`. Differences from their code:

* Maps are (B, H, W, C) throughout, so that matrix products and convolutions need no copies in between.
* In evaluation mode on a CPU the depthwise convolutions of all groups are one (kernels surrounded by zeros),
  and their 1 x 1 convolutions and batch normalisations are one block-diagonal matrix. Both are worked out
  anew in each forward pass and can never be stale; ``fuse_for_inference`` does it once and for all.
* Images of any size work, stage maps are rounded up; sides need not be multiples of 32 as for the authors.
* It has batch normalisation without synchronisation: the runner's ``sync_bn`` decides that.

There is no norm behind the last stage: the authors return the bare maps for dense tasks.

Letters: B batch, H and W map size in tokens, C channels, s = C / 5 channels per group, N = H * W.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import NamedTuple

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.model import ModuleList
from mmpose.registry import MODELS
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmhier.convert.gmf import GMF
from mmhier.models.backbones.truncation import FeatureInfo, LayerKeys, TruncatedEncoder, Truncation
from mmhier.ops.group_mix import (
    convolve,
    fold_norm,
    gain_and_shift,
    grow,
    hardswish,
    linear_attention,
    linear_attention_into,
    runs_in_place,
)
from mmhier.ops.in_place import add
from mmhier.ops.linear import Linear, linear

# The large one is the authors' configuration file, which they mark as in need of adjustment: it has 71.8
# million parameters with its classifier where their table says 70.3.
ARCHS = dict(
    mobile=dict(embed_dims=(40, 80, 160, 160), depths=(3, 3, 12, 4), mlp_ratios=(4, 4, 4, 4)),
    tiny=dict(embed_dims=(80, 160, 200, 240), depths=(4, 4, 12, 4), mlp_ratios=(4, 4, 4, 4)),
    small=dict(embed_dims=(80, 160, 320, 320), depths=(2, 4, 12, 4), mlp_ratios=(4, 4, 4, 4)),
    base=dict(embed_dims=(200, 240, 320, 480), depths=(8, 8, 12, 8), mlp_ratios=(2, 2, 4, 4)),
    large=dict(embed_dims=(240, 320, 360, 480), depths=(8, 10, 30, 10), mlp_ratios=(4, 4, 2, 2)),
)
DEFAULT_INIT = (
    dict(type='TruncNormal', std=0.02, layer='Linear'),
    dict(type='Constant', val=1.0, layer='LayerNorm'),
)
HEADS = 8
GROUPS = 5  # the last one is the local branch, the others attend
GROUP_KERNELS = (None, 3, 5, 7)
POSITION_KERNELS = ((3, 2), (5, 3), (7, 3))  # kernel and number of heads
SIDE = 7  # of the largest kernel
STRIDE = 4


def resolve_arch(arch: str | Mapping) -> dict:
    """Return ``embed_dims``, ``depths`` and ``mlp_ratios`` of an architecture, one entry per stage.

    Raises:
        ValueError: If the name is unknown or the mapping is not an architecture.
    """
    if isinstance(arch, str) and arch in ARCHS:
        return ARCHS[arch]
    if not isinstance(arch, Mapping):
        raise ValueError(f'arch must be one of {sorted(ARCHS)} or a dict, got {arch!r}')
    if (
        set(arch) != {'embed_dims', 'depths', 'mlp_ratios'}
        or len({len(entry) for entry in arch.values()}) > 1
    ):
        raise ValueError(
            f'arch needs embed_dims, depths and mlp_ratios with one entry per stage, got {dict(arch)}'
        )
    for width in arch['embed_dims']:
        if width < 1 or width % 10:
            raise ValueError(f'arch: embed_dims must be multiples of 10 (5 groups, 8 heads), got {width}')
    return dict(arch)


class ConvNorm(nn.Module):
    """3 x 3 convolution with stride 2, batch normalisation and hardswish."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, ceil(H / 2), ceil(W / 2), C')."""
        return hardswish(normalise(self.norm, convolve(x, self.conv.weight, self.conv.bias, 2)), self.norm)

    def fuse(self) -> None:
        """Fold the normalisation into the convolution."""
        fold_norm(self.conv, self.norm)
        self.norm = nn.Identity()


class SeparableConv(nn.Module):
    """Depthwise and 1 x 1 convolution, both without bias."""

    result_of = None  # new memory, see mmhier.ops.in_place

    def __init__(self, in_channels: int, out_channels: int, kernel: int):
        super().__init__()
        self.depthwise = nn.Conv2d(
            in_channels, in_channels, kernel, padding=kernel // 2, groups=in_channels, bias=False
        )
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor, stride: int = 1) -> Tensor:
        """Map (B, H, W, C) to (B, H', W', C')."""
        return self.mix(convolve(x, self.depthwise.weight, None, stride))

    def mix(self, x: Tensor) -> Tensor:
        """Apply the 1 x 1 convolution to (..., C)."""
        return linear(x, self.pointwise.weight.flatten(1), self.pointwise.bias)


class PatchEmbed(nn.Module):
    """Separable convolution, batch normalisation and hardswish; the step into a stage."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.stride = stride
        self.proj = SeparableConv(in_channels, out_channels, 3)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, ceil(H / stride), ceil(W / stride), C')."""
        return hardswish(normalise(self.norm, self.proj(x, self.stride)), self.norm, self.proj)

    def fuse(self) -> None:
        """Fold the normalisation into the 1 x 1 convolution."""
        fold_norm(self.proj.pointwise, self.norm)
        self.norm = nn.Identity()


class AttentionGroup(nn.Module):
    """What a group of channels of q, k and v passes before attention; no convolution in the first group."""

    def __init__(self, width: int, kernel: int | None):
        super().__init__()
        self.conv = SeparableConv(width, width, kernel) if kernel else nn.Identity()
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (3B, H, W, s) to the same shape, without the hardswish."""
        return normalise(self.norm, self.conv(x))


class LocalBranch(nn.Module):
    """The group that does not attend: q, k and v side by side, mixed by a convolution."""

    def __init__(self, width: int):
        super().__init__()
        self.conv = SeparableConv(3 * width, width, 3)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, 3s) to (B, H, W, s)."""
        return self.finish(convolve(x, self.conv.depthwise.weight))

    def finish(self, x: Tensor) -> Tensor:
        """All but the depthwise convolution."""
        return hardswish(self.norm(self.conv.mix(x)), self.norm)


class Folded(NamedTuple):
    """Weights of the groups joined for evaluation mode."""

    kernels: Tensor  # of q, k and v, (3C, 1, 7, 7)
    mix: Tensor  # 1 x 1 convolutions and gains, block-diagonal, (4s, 4s)
    shift: Tensor  # (4s,)
    position_kernels: Tensor  # (4s, 1, 7, 7)
    position_bias: Tensor  # (4s,)


class GroupMixAttention(nn.Module):
    """Self-attention whose queries, keys and values see neighbourhoods of four sizes, and a local branch.

    Args:
        dims: C.
    """

    result_of = 'proj'  # see mmhier.ops.in_place

    def __init__(self, dims: int):
        super().__init__()
        self.width = dims // GROUPS
        self.attending = dims - self.width  # channels that attend, 4s
        self.scale = (dims // HEADS) ** -0.5  # of the full width, though heads have 4/5 of it
        self.qkv = Linear(dims, 3 * dims)
        self.groups = nn.ModuleList(AttentionGroup(self.width, kernel) for kernel in GROUP_KERNELS)
        self.local = LocalBranch(self.width)
        per_head = self.attending // HEADS
        self.position = nn.ModuleList(
            nn.Conv2d(n * per_head, n * per_head, kernel, padding=kernel // 2, groups=n * per_head)
            for kernel, n in POSITION_KERNELS
        )
        self.proj = Linear(dims, dims)
        self.fused = False

    def forward(self, x: Tensor) -> Tensor:
        """Map normed tokens (B, H, W, C) to the same shape."""
        qkv = self.qkv(x)
        in_place = runs_in_place(x)
        if self.fused:
            x = self._mix_folded(qkv, self._kept(), in_place)
        elif in_place and not any(group.norm.training for group in self.groups):
            x = self._mix_folded(qkv, self._fold(), in_place)
        else:
            x = self._mix(qkv)
        return self.proj(x)

    def _mix(self, qkv: Tensor) -> Tensor:
        """Take (B, H, W, 3C) to what is projected, (B, H, W, C), the way the paper draws it."""
        b, h, w, _ = qkv.shape
        x = qkv.view(b, h, w, 3, GROUPS, self.width).permute(4, 3, 0, 1, 2, 5).contiguous()
        *groups, local = x.unbind(0)  # (3, B, H, W, s) each
        # q, k and v share the statistics of the batch normalisations: they are one batch of 3B.
        x = torch.cat([group(x.flatten(0, 1)) for group, x in zip(self.groups, groups, strict=True)], -1)
        q, k, v = hardswish(x).view(3, b, h, w, self.attending).unbind(0)
        parts = v.split([conv.weight.shape[0] for conv in self.position], -1)
        position = [convolve(x, conv.weight, conv.bias) for conv, x in zip(self.position, parts, strict=True)]
        position = torch.cat(position, -1)
        x = linear_attention(*(t.flatten(1, 2) for t in (q, k, v, position)), HEADS, self.scale)
        local = self.local(local.permute(1, 2, 3, 0, 4).flatten(3))
        return torch.cat([x.view_as(q).to(local.dtype), local], -1)

    def _mix_folded(self, qkv: Tensor, folded: Folded, in_place: bool) -> Tensor:
        """Do as ``_mix`` does, in evaluation mode."""
        b, h, w, _ = qkv.shape
        x = convolve(qkv, folded.kernels).reshape(b * h * w, 3, GROUPS * self.width)
        rows = x[..., : self.attending].transpose(0, 1).reshape(-1, self.attending)  # those of q, k, then v
        rows = hardswish(linear(rows, folded.mix, folded.shift))
        q, k, v = rows.view(3, b, h * w, self.attending).unbind(0)
        position = convolve(
            v.view(b, h, w, self.attending), folded.position_kernels, folded.position_bias
        ).flatten(1, 2)
        local = self.local.finish(x[..., self.attending :].reshape(b, h * w, 3 * self.width))
        if in_place:
            joined = x.new_empty(b, h * w, GROUPS * self.width)
            attended, joined[..., self.attending :] = joined[..., : self.attending], local
            linear_attention_into(attended, q, k, v, position, HEADS, self.scale)
        else:
            attended = linear_attention(q, k, v, position, HEADS, self.scale)
            joined = torch.cat([attended.to(local.dtype), local], -1)
        return joined.view(b, h, w, GROUPS * self.width)

    def _fold(self) -> Folded:
        """Join the weights of the groups."""
        gain, shift = gain_and_shift([group.norm for group in self.groups])
        convs = [group.conv for group in list(self.groups)[1:]]
        kernels = [grow(conv.depthwise.weight, SIDE) for conv in convs]
        one = torch.ones(self.width, dtype=gain.dtype, device=gain.device)
        identity = grow(one.view(-1, 1, 1, 1), SIDE)
        local = grow(self.local.conv.depthwise.weight, SIDE).unflatten(0, (3, self.width))
        shared = torch.cat([identity, *kernels])
        kernels = torch.cat([shared.expand(3, -1, -1, -1, -1), local], 1).flatten(0, 1)
        mix = torch.block_diag(one.diag(), *(conv.pointwise.weight.flatten(1) for conv in convs))
        position = [grow(conv.weight, SIDE) for conv in self.position]
        bias = [conv.bias for conv in self.position]
        return Folded(kernels, mix * gain[:, None], shift, torch.cat(position), torch.cat(bias))

    def fuse(self) -> None:
        """Join the weights of the groups for good."""
        for name, value in self._fold()._asdict().items():
            self.register_buffer(f'folded_{name}', value)
        del self.groups, self.position, self.local.conv.depthwise
        self.fused = True

    def _kept(self) -> Folded:
        return Folded(*(getattr(self, f'folded_{name}') for name in Folded._fields))


class GMFBlock(nn.Module):
    """Positions by a depthwise convolution, then attention and an MLP, pre-normed and residual."""

    def __init__(self, dims: int, mlp_ratio: int, drop_path: float):
        super().__init__()
        self.cpe = nn.Conv2d(dims, dims, 3, padding=1, groups=dims)
        self.norm1 = nn.LayerNorm(dims, eps=1e-6)
        self.attn = GroupMixAttention(dims)
        self.norm2 = nn.LayerNorm(dims, eps=1e-6)
        self.mlp = nn.Sequential(Linear(dims, mlp_ratio * dims, gelu=True), Linear(mlp_ratio * dims, dims))
        # One module for both branches; it draws anew for each.
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        x = add(x, convolve(x, self.cpe.weight, self.cpe.bias))
        x = self._join(x, self.attn(self.norm1(x)), self.attn)
        return self._join(x, self.mlp(self.norm2(x)), self.mlp)

    def _join(self, x: Tensor, branch: Tensor, module: nn.Module) -> Tensor:
        """Add the branch that a module returned, after dropping it for some of the images."""
        if self.training and isinstance(self.drop_path, DropPath):
            return x + self.drop_path(branch)
        return add(x, branch, module)


class GMFStage(nn.Module):
    """Blocks at one resolution, then the step to the next stage if there is one."""

    def __init__(self, dims: int, mlp_ratio: int, rates: Sequence[float], next_dims: int | None):
        super().__init__()
        self.blocks = nn.ModuleList(GMFBlock(dims, mlp_ratio, rate) for rate in rates)
        self.downsample = PatchEmbed(dims, next_dims, 2) if next_dims else None

    def forward(self, x: Tensor, with_cp: bool) -> Tensor:
        """Run the blocks on (B, H, W, C).

        Args:
            x: The map.
            with_cp: Recompute activations in the backward pass.
        """
        for block in self.blocks:
            if with_cp and torch.is_grad_enabled():
                contexts = partial(_recomputation_of, block)
                x = checkpoint(block, x, use_reentrant=False, context_fn=contexts)
            else:
                x = block(x)
        return x


@MODELS.register_module()
class TruncatedGMF(TruncatedEncoder):
    """The first stages of a GroupMixFormer.

    Args:
        arch: ``'mobile'``, ``'tiny'``, ``'small'``, ``'base'``, ``'large'``, or a dict with ``embed_dims``
            (multiples of 10), ``depths`` and ``mlp_ratios``, one entry per stage.
        num_stages: Stages to keep, 1 to 4; by default up to the last of ``out_indices``, or all.
        out_indices: Stages to return; by default the last kept one.
        in_channels: Channels of the image.
        drop_path_rate: Stochastic depth of the last block. For classification the authors use 0.1, small
            0.2, base 0.5.
        drop_path_span: Which last block: that of the ``'full'`` network, or the last ``'kept'`` one.
        frozen_stages: -1 trains all, 0 freezes the stem, k the first k stages as well. The convolution that
            leads into stage k + 1 is part of stage k here, of stage k + 1 in the authors' code.
        with_cp: Recompute activations in the backward pass to save memory.
        init_cfg: ``dict(type='Pretrained', checkpoint=PATH_OR_URL)`` loads the authors' weights or ours; with
            ``prefix`` if the file holds several networks. By default weights of linear layers are drawn with
            a deviation of 0.02, those of convolutions are PyTorch's.
        frozen_parts: ``'attention'``, ``'mlp'`` or both: these do not learn in any block; norms do.

    Attributes:
        feature_info: Channels and stride of each returned map.
        fused: Whether :meth:`fuse_for_inference` was called.
    """

    weights = GMF
    block_parts = dict(attention='attn', mlp='mlp')
    small = dict(arch=dict(embed_dims=[20, 40, 40, 60], depths=[2, 1, 2, 1], mlp_ratios=[2, 4, 2, 2]))
    layer_keys = LayerKeys(
        stem=r'stem\.',
        block=r'stages\.(\d+)\.blocks\.(\d+)\.',
        downsample=r'stages\.(\d+)\.downsample\.',
        closing=r'(?!)',  # nothing
    )

    def __init__(
        self,
        arch: str | dict = 'tiny',
        num_stages: int | None = None,
        out_indices: Sequence[int] | None = None,
        in_channels: int = 3,
        drop_path_rate: float = 0.1,
        drop_path_span: str = 'full',
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
        frozen_parts: str | Sequence[str] = (),
    ):
        settings = resolve_arch(arch)
        truncation = Truncation.of(settings['depths'], num_stages, out_indices)
        init_cfg = list(DEFAULT_INIT) if init_cfg is None else init_cfg
        super().__init__(truncation, frozen_stages, init_cfg, frozen_parts)
        self.in_channels, self.with_cp, self.fused = in_channels, with_cp, False
        widths = settings['embed_dims'][: truncation.num_stages]
        self.stem = nn.Sequential(
            ConvNorm(in_channels, widths[0] // 2),
            ConvNorm(widths[0] // 2, widths[0]),
            PatchEmbed(widths[0], widths[0], 1),
        )
        rates = truncation.drop_path_rates(drop_path_rate, drop_path_span)
        self.stages = ModuleList(
            GMFStage(width, ratio, of_stage, next_width)
            for width, ratio, of_stage, next_width in zip(
                widths, settings['mlp_ratios'], rates, (*widths[1:], None), strict=False
            )
        )
        self.feature_info = [FeatureInfo(widths[i], STRIDE * 2**i) for i in truncation.out_indices]
        self.freeze()

    def parts_of_stage(self, stage: int) -> list[nn.Module]:
        """Modules that are frozen with a stage; stage -1 is the stem."""
        return [self.stem if stage < 0 else self.stages[stage]]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode images of any size.

        Args:
            images: (B, in_channels, height, width).

        Returns:
            One map (B, channels, ceil(height / stride), ceil(width / stride)) per output.
        """
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ValueError(
                f'expected images (B, {self.in_channels}, height, width), got {tuple(images.shape)}'
            )
        x = self.stem(images.permute(0, 2, 3, 1).contiguous())
        maps = []
        for index, stage in enumerate(self.stages):
            x = stage(x, self.with_cp)
            if index in self.truncation.out_indices:
                maps.append(x.permute(0, 3, 1, 2).contiguous())
            if stage.downsample is not None:
                x = stage.downsample(x)
        return tuple(maps)

    def fuse_for_inference(self) -> 'TruncatedGMF':
        """Fold all batch normalisations into the layers before them and join what is computed jointly.

        This changes the network for good: its outputs stay the same up to rounding, its parameters are
        frozen, it has another state dictionary, and it can no longer be trained.

        Returns:
            The network itself, in evaluation mode.
        """
        if not self.fused:
            self.eval().requires_grad_(False)
            for module in list(self.modules()):
                if isinstance(module, ConvNorm | PatchEmbed | GroupMixAttention):
                    module.fuse()
            self.fused = True
        return self

    def train(self, mode: bool = True) -> 'TruncatedGMF':
        """Set the mode; what is frozen stays in evaluation mode.

        Raises:
            RuntimeError: If a fused network is to be trained.
        """
        if mode and self.fused:
            raise RuntimeError(
                'this TruncatedGMF was fused for inference and has no batch normalisation left to train: '
                'build it anew, load the weights and train that'
            )
        return super().train(mode)


def normalise(norm: nn.Module, x: Tensor) -> Tensor:
    """Apply a batch normalisation to (B, H, W, C)."""
    return norm(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def _recomputation_of(block: nn.Module) -> tuple:
    """Contexts of the two forward passes of checkpointing: the second must not move running statistics."""
    return nullcontext(), _still_statistics(block)


@contextmanager
def _still_statistics(block: nn.Module) -> Iterator[None]:
    norms = [m for m in block.modules() if isinstance(m, _BatchNorm) and m.training and m.track_running_stats]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(count)
