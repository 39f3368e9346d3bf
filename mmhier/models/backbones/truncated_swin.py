"""Swin Transformer (arXiv 2103.14030) that keeps its first stages only.

The numbers are those of MMPose's and mmpretrain's Swin with the same weights, and parameters have the same
names, so their checkpoints load as they are; Microsoft's, timm's and Hugging Face's are converted by
:mod:`mmhier.convert`.

Where the time goes differently than in the usual implementation:

* The linear layers see real tokens only. A padded token is zero after the norm, so its q, k and v are their
  bias. Since k's bias moves all logits of a query alike and v's bias passes through the weighted mean
  unchanged, k and v are computed without bias (padding is then zero) and v's bias is added afterwards.
* On a CPU the matrix products run on oneDNN (:mod:`mmhier.ops.linear`), and each direction of pad + roll +
  cut into windows is one gather (:mod:`mmhier.ops.window_attention`). Everywhere else, and whenever somebody
  compiles, exports or traces, it is pads, rolls, views and ``scaled_dot_product_attention``.
* What depends on the map size only is remembered by size, outside of the modules. The bias of the relative
  positions is gathered in every forward pass: that costs about 2 % and can never be stale.

Letters: B batch, H and W map size in tokens, C channels, N tokens per window.
"""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.model import ModuleList
from mmengine.model.weight_init import trunc_normal_
from mmpose.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmhier.convert.swin import SWIN
from mmhier.models.backbones.truncation import FeatureInfo, LayerKeys, TruncatedEncoder, Truncation
from mmhier.ops.in_place import add
from mmhier.ops.linear import Linear, is_eager_cpu, linear
from mmhier.ops.remember import remember
from mmhier.ops.window_attention import WindowPlan, attend
from mmhier.ops.windows import merge, partition, shift_mask

ARCHS = dict(
    tiny=dict(embed_dims=96, depths=(2, 2, 6, 2), num_heads=(3, 6, 12, 24)),
    small=dict(embed_dims=96, depths=(2, 2, 18, 2), num_heads=(3, 6, 12, 24)),
    base=dict(embed_dims=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32)),
    large=dict(embed_dims=192, depths=(2, 2, 18, 2), num_heads=(6, 12, 24, 48)),
)
ARCH_DEFAULTS = dict(window_size=7, mlp_ratio=4)
DEFAULT_INIT = (
    dict(type='TruncNormal', std=0.02, layer='Linear'),
    dict(type='Constant', val=1.0, layer='LayerNorm'),
)
CONVENTIONS = ('detection', 'classification')
PATCH = 4


def resolve_arch(arch: str | Mapping, window_size: int | None = None) -> dict:
    """Return ``embed_dims``, ``depths``, ``num_heads``, ``window_size`` and ``mlp_ratio`` of an architecture.

    Args:
        arch: Name or settings.
        window_size: Overrides the architecture's.

    Raises:
        ValueError: If the name is unknown or the mapping is not an architecture.
    """
    if isinstance(arch, str):
        if arch not in ARCHS:
            raise ValueError(f'arch must be one of {sorted(ARCHS)} or a dict, got {arch!r}')
        arch = ARCHS[arch]
    if not isinstance(arch, Mapping):
        raise ValueError(f'arch must be one of {sorted(ARCHS)} or a dict, got {arch!r}')
    settings = {**ARCH_DEFAULTS, **arch}
    if window_size is not None:
        settings['window_size'] = window_size
    expected = {'embed_dims', 'depths', 'num_heads', *ARCH_DEFAULTS}
    if set(settings) != expected:
        raise ValueError(
            f'arch needs embed_dims, depths, num_heads and may have {ARCH_DEFAULTS}, got {dict(arch)}'
        )
    if len(settings['depths']) != len(settings['num_heads']):
        raise ValueError(f'arch needs as many num_heads as depths, got {dict(arch)}')
    for stage, heads in enumerate(settings['num_heads']):
        width = settings['embed_dims'] * 2**stage
        if width % heads:
            raise ValueError(f'arch: {heads} heads of stage {stage + 1} do not divide its width {width}')
    if settings['window_size'] < 2:
        raise ValueError(f'arch: window_size must be at least 2, got {settings["window_size"]}')
    return settings


_remembered_mask = remember(32)(shift_mask)


def gathers_pay(x: Tensor) -> bool:
    """Whether windows are cut by gathers: on a CPU in eager mode, but half precision without gradients."""
    half = x.dtype in (torch.bfloat16, torch.float16) or torch.is_autocast_enabled('cpu')
    return is_eager_cpu(x) and (torch.is_grad_enabled() or not half)


class Layout:
    """Where the windows lie on the map; shared by all blocks of a stage with this shift."""

    def __init__(self, x: Tensor, map_hw: tuple[int, int], window: int, shift: int, heads: int):
        self.map_hw, self.window, self.shift, self.heads = map_hw, window, shift, heads
        self.batch = x.shape[0] // (map_hw[0] * map_hw[1])
        self.plan: WindowPlan | None = None
        self.mask: Tensor | None = None
        if gathers_pay(x):
            self.plan = WindowPlan(self.batch, map_hw, window, shift, heads, x.shape[1] // heads)
            self.mask = self.plan.mask
        elif shift:
            self.mask = _remembered_mask(map_hw, window, shift, x.device)


class WindowAttention(nn.Module):
    """Multi-head self-attention within windows, with a learned bias per relative position.

    Args:
        dims: C.
        heads: Number of heads; C is a multiple of it.
        window: Side of a window in tokens.
    """

    result_of = None  # new memory, see mmhier.ops.in_place

    def __init__(self, dims: int, heads: int, window: int):
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        trunc_normal_(self.relative_position_bias_table, std=0.02)
        position = torch.arange(window)
        offset = position[:, None] - position[None, :] + window - 1  # (query, key)
        index = offset[:, None, :, None] * (2 * window - 1) + offset[None, :, None, :]
        # Stored in checkpoints because MMPose stores it.
        self.register_buffer('relative_position_index', index.reshape(window**2, window**2))
        self.qkv = Linear(dims, 3 * dims)
        self.proj = Linear(dims, dims)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Attend within windows.

        Args:
            x: Normed tokens, (B * H * W, C).
            layout: Where the windows lie.

        Returns:
            (B * H * W, C).
        """
        dims = x.shape[1]
        q_bias, v_bias = self.qkv.bias[:dims], self.qkv.bias[2 * dims :]
        qkv = linear(x, self.qkv.weight, F.pad(q_bias, (0, 2 * dims)))
        bias = self.position_bias()
        if layout.mask is not None:
            bias = bias + layout.mask
        x = attend(qkv, bias, layout.plan) if layout.plan else self._attend_by_views(qkv, bias, layout)
        return linear(x, self.proj.weight, torch.addmv(self.proj.bias, self.proj.weight, v_bias))

    def uncounted_macs(self, x: Tensor, layout: Layout) -> int:
        """Multiply-adds of the linear layers on padded tokens, which Swin's graph has and this one saves."""
        height, width = (side + -side % layout.window for side in layout.map_hw)
        padded = layout.batch * height * width
        return 4 * x.shape[1] ** 2 * (padded - x.shape[0])

    def position_bias(self) -> Tensor:
        """Bias of each pair of tokens in a window, (heads, N, N)."""
        index = self.relative_position_index
        return F.embedding(index, self.relative_position_bias_table).permute(2, 0, 1)

    def _attend_by_views(self, qkv: Tensor, bias: Tensor, layout: Layout) -> Tensor:
        qkv = partition(qkv, layout.map_hw, layout.window, layout.shift, self.heads)
        shape = qkv.shape[1:]
        # one bias per window and head: windows join the heads; one per head: they join the batch
        qkv, bias = (qkv.flatten(2, 3), bias.flatten(0, 1)) if bias.ndim == 4 else (qkv.flatten(1, 2), bias)
        x = F.scaled_dot_product_attention(*qkv.unbind(0), attn_mask=bias[None].to(qkv.dtype))
        if torch.compiler.is_compiling():  # the operator and its decomposition for ONNX differ in strides
            x = x.clone(memory_format=torch.contiguous_format)
        return merge(x.reshape(shape), layout.map_hw, layout.window, layout.shift)


class SwinBlock(nn.Module):
    """Attention within windows and an MLP, both pre-normed, residual and subject to stochastic depth."""

    def __init__(self, dims: int, heads: int, window: int, shift: bool, mlp_ratio: int, drop_path: float):
        super().__init__()
        self.shift = window // 2 if shift else 0
        self.norm1 = nn.LayerNorm(dims)
        self.norm2 = nn.LayerNorm(dims)
        # `attn.w_msa` and `ffn.layers.0.0` are the names in OpenMMLab's checkpoints.
        self.attn = nn.ModuleDict(dict(w_msa=WindowAttention(dims, heads, window)))
        hidden = nn.Sequential(Linear(dims, mlp_ratio * dims, gelu=True))
        self.ffn = nn.ModuleDict(dict(layers=nn.Sequential(hidden, Linear(mlp_ratio * dims, dims))))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        """Map tokens (B * H * W, C) to the same shape."""
        attention, mlp = self.attn['w_msa'], self.ffn['layers']
        x = self._join(x, attention(self.norm1(x), layout), attention, layout)
        return self._join(x, mlp(self.norm2(x)), mlp, layout)

    def _join(self, x: Tensor, branch: Tensor, module: nn.Module, layout: Layout) -> Tensor:
        """Add the branch that a module returned, after dropping it for some of the images."""
        if self.training and isinstance(self.drop_path, DropPath):
            return x + self.drop_path(branch.view(layout.batch, -1, x.shape[1])).view_as(x)
        return add(x, branch, module)


class PatchMerging(nn.Module):
    """Join 2 x 2 tokens into one of twice the width.

    The parameters are stored in OpenMMLab's order (channel, then place in the 2 x 2), the tokens are joined
    in the order that needs no shuffling of channels (place, then channel).
    """

    def __init__(self, dims: int):
        super().__init__()
        self.norm = nn.LayerNorm(4 * dims)
        self.reduction = nn.Linear(4 * dims, 2 * dims, bias=False)

    def forward(self, x: Tensor, map_hw: tuple[int, int]) -> tuple[Tensor, tuple[int, int]]:
        """Map (B * H * W, C) to (B * H' * W', 2C) with H' = ceil(H / 2); return H' and W' too."""
        (h, w), dims = map_hw, x.shape[1]
        x = x.view(-1, h, w, dims)
        if h % 2 or w % 2:
            x = F.pad(x, (0, 0, 0, w % 2, 0, h % 2))
        h, w = (h + 1) // 2, (w + 1) // 2
        x = x.view(-1, h, 2, w, 2, dims).transpose(2, 3).reshape(-1, 4 * dims)
        norm_weight, norm_bias = (p.view(dims, 4).t().flatten() for p in (self.norm.weight, self.norm.bias))
        x = F.layer_norm(x, (4 * dims,), norm_weight, norm_bias, self.norm.eps)
        weight = self.reduction.weight.view(-1, dims, 4).transpose(1, 2).flatten(1)
        return linear(x, weight), (h, w)


class SwinStage(nn.Module):
    """Blocks at one resolution, then the step to the next stage if there is one."""

    def __init__(
        self, dims: int, heads: int, window: int, mlp_ratio: int, rates: Sequence[float], downsample: bool
    ):
        super().__init__()
        self.heads, self.window = heads, window
        self.blocks = nn.ModuleList(
            SwinBlock(dims, heads, window, i % 2 == 1, mlp_ratio, rate) for i, rate in enumerate(rates)
        )
        self.downsample = PatchMerging(dims) if downsample else None

    def forward(self, x: Tensor, map_hw: tuple[int, int], shifted: bool, with_cp: bool) -> Tensor:
        """Run the blocks.

        Args:
            x: Tokens, (B * H * W, C).
            map_hw: H and W.
            shifted: Shift the windows of every second block.
            with_cp: Recompute activations in the backward pass.

        Returns:
            (B * H * W, C).
        """
        layouts = {}
        for block in self.blocks:
            shift = block.shift if shifted else 0
            if shift not in layouts:
                layouts[shift] = Layout(x, map_hw, self.window, shift, self.heads)
            if with_cp and torch.is_grad_enabled():
                x = checkpoint(block, x, layouts[shift], use_reentrant=False)
            else:
                x = block(x, layouts[shift])
        return x


class PatchEmbed(nn.Module):
    """4 x 4 pixels to one token."""

    def __init__(self, in_channels: int, dims: int):
        super().__init__()
        self.projection = nn.Conv2d(in_channels, dims, PATCH, PATCH)
        self.norm = nn.LayerNorm(dims)

    def forward(self, images: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Map (B, in_channels, height, width) to tokens (B * H * W, C); return H and W too."""
        bottom, right = -images.shape[2] % PATCH, -images.shape[3] % PATCH
        if bottom or right:
            images = F.pad(images, (0, right, 0, bottom))
        x = self.projection(images)
        return self.norm(x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])), (x.shape[2], x.shape[3])


@MODELS.register_module()
class TruncatedSwin(TruncatedEncoder):
    """The first stages of a Swin Transformer.

    Args:
        arch: ``'tiny'``, ``'small'``, ``'base'``, ``'large'``, or a dict with ``embed_dims``, ``depths`` and
            ``num_heads`` (one entry per stage) and, optionally, ``window_size`` (7) and ``mlp_ratio`` (4).
        num_stages: Stages to keep, 1 to 4; by default up to the last of ``out_indices``, or all.
        out_indices: Stages to return; by default the last kept one. Each has its own closing norm.
        in_channels: Channels of the image.
        window_size: Overrides the architecture's; weights trained at 384 pixels have 12.
        drop_path_rate: Stochastic depth of the last block.
        drop_path_span: Which last block: that of the ``'full'`` network, or the last ``'kept'`` one.
        frozen_stages: -1 trains all, 0 freezes the patch embedding, k the first k stages as well.
        with_cp: Recompute activations in the backward pass to save memory.
        window_convention: ``'detection'`` shifts the windows in every second block of every stage, as
            Swin does for dense tasks (MMPose, MMDetection). ``'classification'`` does not shift where a
            window covers the map, as it was pre-trained; maps smaller than a window are then an error.
        init_cfg: ``dict(type='Pretrained', checkpoint=PATH_OR_URL)`` loads Microsoft, OpenMMLab, timm or
            Hugging Face weights; with ``prefix`` if the file holds several networks. By default weights
            of linear layers and position biases are drawn with a deviation of 0.02.
        frozen_parts: ``'attention'``, ``'mlp'`` or both: these do not learn in any block; norms do.

    Attributes:
        feature_info: Channels and stride of each returned map.
    """

    weights = SWIN
    undecayed = ('relative_position_bias_table',)
    block_parts = dict(attention='attn', mlp='ffn')
    small = dict(arch=dict(embed_dims=16, depths=[2, 1, 2, 1], num_heads=[1, 2, 4, 8], window_size=4))
    layer_keys = LayerKeys(
        stem=r'patch_embed\.',
        block=r'stages\.(\d+)\.blocks\.(\d+)\.',
        downsample=r'stages\.(\d+)\.downsample\.',
        closing=r'norm\d+\.',
    )

    def __init__(
        self,
        arch: str | dict = 'tiny',
        num_stages: int | None = None,
        out_indices: Sequence[int] | None = None,
        in_channels: int = 3,
        window_size: int | None = None,
        drop_path_rate: float = 0.1,
        drop_path_span: str = 'full',
        frozen_stages: int = -1,
        with_cp: bool = False,
        window_convention: str = 'detection',
        init_cfg: dict | list | None = None,
        frozen_parts: str | Sequence[str] = (),
    ):
        settings = resolve_arch(arch, window_size)
        truncation = Truncation.of(settings['depths'], num_stages, out_indices)
        init_cfg = list(DEFAULT_INIT) if init_cfg is None else init_cfg
        super().__init__(truncation, frozen_stages, init_cfg, frozen_parts)
        if window_convention not in CONVENTIONS:
            raise ValueError(f'window_convention must be one of {CONVENTIONS}, got {window_convention!r}')
        self.in_channels, self.with_cp, self.window_convention = in_channels, with_cp, window_convention
        widths = [settings['embed_dims'] * 2**stage for stage in range(truncation.num_stages)]
        self.patch_embed = PatchEmbed(in_channels, widths[0])
        rates = truncation.drop_path_rates(drop_path_rate, drop_path_span)
        self.stages = ModuleList(
            SwinStage(
                width,
                settings['num_heads'][stage],
                settings['window_size'],
                settings['mlp_ratio'],
                rates[stage],
                downsample=stage + 1 < truncation.num_stages,
            )
            for stage, width in enumerate(widths)
        )
        for stage in truncation.out_indices:
            self.add_module(f'norm{stage}', nn.LayerNorm(widths[stage]))
            self.feature_info.append(FeatureInfo(widths[stage], PATCH * 2**stage))
        self.freeze()

    def parts_of_stage(self, stage: int) -> list[nn.Module]:
        """Modules that are frozen with a stage; stage -1 is the patch embedding."""
        if stage < 0:
            return [self.patch_embed]
        norm = getattr(self, f'norm{stage}', None)
        return [self.stages[stage]] + ([norm] if norm is not None else [])

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
        x, map_hw = self.patch_embed(images)
        maps = []
        for index, stage in enumerate(self.stages):
            x = stage(x, map_hw, self._shifted(stage, map_hw), self.with_cp)
            if index in self.truncation.out_indices:
                out = getattr(self, f'norm{index}')(x).view(images.shape[0], *map_hw, x.shape[1])
                maps.append(out.permute(0, 3, 1, 2).contiguous())
            if stage.downsample is not None:
                x, map_hw = stage.downsample(x, map_hw)
        return tuple(maps)

    def _shifted(self, stage: SwinStage, map_hw: tuple[int, int]) -> bool:
        """Whether the windows of every second block are shifted at this map size."""
        if self.window_convention == 'detection':
            return True
        if min(map_hw) < stage.window:
            raise ValueError(
                f'a map of {map_hw} (H, W) tokens is smaller than a window of {stage.window}: use larger '
                "images, or window_convention='detection', which pads"
            )
        return min(map_hw) > stage.window
