"""VMamba (arXiv 2401.10166) that keeps its first stages only.

The networks are those released for ImageNet (``v05_noz`` in the official code): no gate, convolutions as
stem and between stages, a state of size 1. The numbers are the official ones with the same weights, which
:mod:`mmhier.convert.vmamba` renames.

Where the time goes differently than in the official implementation:

* Maps are channels-last throughout, so a norm is ``layer_norm`` and a 1 x 1 convolution is a linear layer,
  which on a CPU runs on oneDNN (:mod:`mmhier.ops.linear`).
* The map is not copied into four sequences: what the four directions need of each token is projected from
  the map by one matrix product, and scan and sum over directions are one operator
  (:mod:`mmhier.ops.selective_scan`), which reads and writes the map.

Letters: B batch, H and W map size in tokens, C width, D inner width, K = 4 directions, N state size, R rank
of the step size.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.model import ModuleList
from mmpose.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmhier.convert.vmamba import VMAMBA
from mmhier.models.backbones.truncation import FeatureInfo, LayerKeys, TruncatedEncoder, Truncation
from mmhier.ops.in_place import add
from mmhier.ops.linear import Linear, linear
from mmhier.ops.selective_scan import BACKENDS, cross_selective_scan

ARCHS = dict(
    tiny=dict(embed_dims=96, depths=(2, 2, 8, 2), ssm_ratio=1),  # officially tiny s1l8
    small=dict(embed_dims=96, depths=(2, 2, 15, 2), ssm_ratio=2),  # small s2l15
    base=dict(embed_dims=128, depths=(2, 2, 15, 2), ssm_ratio=2),  # base s2l15
    tiny_s2l5=dict(embed_dims=96, depths=(2, 2, 5, 2), ssm_ratio=2),
    small_s1l20=dict(embed_dims=96, depths=(2, 2, 20, 2), ssm_ratio=1),
    base_s1l20=dict(embed_dims=128, depths=(2, 2, 20, 2), ssm_ratio=1),
)
ARCH_DEFAULTS = dict(ssm_ratio=1, mlp_ratio=4, d_state=1)
DEFAULT_INIT = (
    dict(type='TruncNormal', std=0.02, layer='Linear'),
    dict(type='Constant', val=1.0, layer='LayerNorm'),
)
DIRECTIONS = 4
STEM_STRIDE = 4
STEP_SIZES = (1e-3, 1e-1)  # of an untrained network


def resolve_arch(arch: str | Mapping) -> dict:
    """Return ``embed_dims``, ``depths``, ``ssm_ratio``, ``mlp_ratio`` and ``d_state`` of an architecture.

    Raises:
        ValueError: If the name is unknown or the mapping is not an architecture.
    """
    if isinstance(arch, str) and arch in ARCHS:
        arch = ARCHS[arch]
    if not isinstance(arch, Mapping):
        raise ValueError(f'arch must be one of {sorted(ARCHS)} or a dict, got {arch!r}')
    settings = {**ARCH_DEFAULTS, **arch}
    if set(settings) != {'embed_dims', 'depths', *ARCH_DEFAULTS}:
        raise ValueError(f'arch needs embed_dims and depths and may have {ARCH_DEFAULTS}, got {dict(arch)}')
    if settings['embed_dims'] % 2:
        raise ValueError(f'arch: embed_dims must be even, got {settings["embed_dims"]}')
    return settings


class SelectiveScan2d(nn.Module):
    """State space model that reads the map by rows and by columns, both ways, and adds up the four.

    Directions: 0 row by row, 1 column by column, 2 and 3 these two backwards. The names of the parameters are
    the official ones; in ``Ds`` and ``A_logs`` the directions are stacked.

    Args:
        dims: C.
        inner: D.
        d_state: N.
        scan_backend: See :func:`mmhier.ops.selective_scan.cross_selective_scan`.
    """

    result_of = 'out_proj'  # see mmhier.ops.in_place

    def __init__(self, dims: int, inner: int, d_state: int, scan_backend: str):
        super().__init__()
        self.rank, self.d_state, self.scan_backend = math.ceil(dims / 16), d_state, scan_backend
        self.in_proj = Linear(dims, inner, bias=False)
        self.conv2d = nn.Conv2d(inner, inner, 3, padding=1, groups=inner, bias=False)
        self.x_proj_weight = nn.Parameter(torch.empty(DIRECTIONS, self.rank + 2 * d_state, inner))
        self.dt_projs_weight = nn.Parameter(torch.empty(DIRECTIONS, inner, self.rank))
        self.dt_projs_bias = nn.Parameter(torch.empty(DIRECTIONS, inner))
        self.A_logs = nn.Parameter(torch.arange(1.0, d_state + 1).log().repeat(DIRECTIONS * inner, 1))
        self.Ds = nn.Parameter(torch.ones(DIRECTIONS * inner))
        self.out_norm = nn.LayerNorm(inner)
        self.out_proj = Linear(inner, dims, bias=False)
        self._draw()

    def _draw(self) -> None:
        """Draw the projections; the bias gives step sizes between ``STEP_SIZES``, evenly in the logarithm."""
        inner = self.x_proj_weight.shape[2]
        nn.init.uniform_(self.x_proj_weight, -(inner**-0.5), inner**-0.5)
        nn.init.uniform_(self.dt_projs_weight, -(self.rank**-0.5), self.rank**-0.5)
        low, high = (math.log(size) for size in STEP_SIZES)
        step = torch.empty_like(self.dt_projs_bias).uniform_(low, high).exp()
        self.dt_projs_bias.data = step + (-torch.expm1(-step)).log()  # the inverse of softplus

    def forward(self, x: Tensor) -> Tensor:
        """Map a normed map (B, H, W, C) to the same shape."""
        x = self.conv2d(self.in_proj(x).permute(0, 3, 1, 2))
        x = F.silu(x.permute(0, 2, 3, 1))  # (B, H, W, D)
        projected = linear(x, self.x_proj_weight.flatten(0, 1)).unflatten(-1, (DIRECTIONS, -1))
        dt, b, c = projected.split([self.rank, self.d_state, self.d_state], -1)  # (B, H, W, K, R or N)
        y = cross_selective_scan(
            x,
            dt,
            -self.A_logs.to(torch.promote_types(self.A_logs.dtype, torch.float32)).exp(),
            b,
            c,
            D=self.Ds,
            delta_bias=self.dt_projs_bias.flatten(),
            delta_softplus=True,
            dt_weight=self.dt_projs_weight.flatten(0, 1),
            backend=self.scan_backend,
        )
        # The scan's result is float32 at least, under autocast too, and so is the norm.
        norm = self.out_norm
        y = F.layer_norm(y, norm.normalized_shape, norm.weight.to(y.dtype), norm.bias.to(y.dtype), norm.eps)
        return self.out_proj(y.to(x.dtype))

    def uncounted_macs(self, x: Tensor) -> int:
        """Operations of the scan, (9 N + 1) L K D by the formula of VMamba's authors."""
        return (9 * self.d_state + 1) * x.shape[:3].numel() * DIRECTIONS * self.x_proj_weight.shape[2]


class VSSBlock(nn.Module):
    """Selective scan and MLP, both pre-normed, residual and subject to stochastic depth."""

    def __init__(self, dims: int, settings: Mapping, drop_path: float, scan_backend: str):
        super().__init__()
        hidden = settings['mlp_ratio'] * dims
        self.norm = nn.LayerNorm(dims)
        self.op = SelectiveScan2d(dims, settings['ssm_ratio'] * dims, settings['d_state'], scan_backend)
        self.norm2 = nn.LayerNorm(dims)
        self.mlp = nn.ModuleDict(dict(fc1=Linear(dims, hidden, gelu=True), fc2=Linear(hidden, dims)))
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        x = self._join(x, self.op(self.norm(x)), self.op)
        return self._join(x, self.mlp['fc2'](self.mlp['fc1'](self.norm2(x))), self.mlp['fc2'])

    def _join(self, x: Tensor, branch: Tensor, module: nn.Module) -> Tensor:
        """Add the branch that a module returned, after dropping it for some of the images."""
        if self.training and isinstance(self.drop_path, DropPath):
            return x + self.drop_path(branch)
        return add(x, branch, module)


class Downsample(nn.Module):
    """Half the size, twice the width: a convolution with stride 2, then a norm."""

    def __init__(self, dims: int):
        super().__init__()
        self.conv = nn.Conv2d(dims, 2 * dims, 3, 2, 1)
        self.norm = nn.LayerNorm(2 * dims)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to (B, ceil(H / 2), ceil(W / 2), 2C)."""
        return self.norm(self.conv(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class PatchEmbed(nn.Module):
    """4 x 4 pixels to one token, by two convolutions."""

    def __init__(self, in_channels: int, dims: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, dims // 2, 3, 2, 1)
        self.norm1 = nn.LayerNorm(dims // 2)
        self.conv2 = nn.Conv2d(dims // 2, dims, 3, 2, 1)
        self.norm2 = nn.LayerNorm(dims)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, in_channels, height, width) to (B, ceil(height / 4), ceil(width / 4), C)."""
        x = self.conv1(images.contiguous(memory_format=torch.channels_last))
        x = F.gelu(self.norm1(x.permute(0, 2, 3, 1)))
        return self.norm2(self.conv2(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


class VMambaStage(nn.Module):
    """Blocks at one resolution, then the step to the next stage if there is one."""

    def __init__(
        self, dims: int, settings: Mapping, rates: Sequence[float], scan_backend: str, downsample: bool
    ):
        super().__init__()
        self.blocks = nn.ModuleList(VSSBlock(dims, settings, rate, scan_backend) for rate in rates)
        self.downsample = Downsample(dims) if downsample else None

    def forward(self, x: Tensor, with_cp: bool) -> Tensor:
        """Run the blocks; activations are recomputed in the backward pass if asked for."""
        for block in self.blocks:
            if with_cp and torch.is_grad_enabled():
                x = checkpoint(block, x, use_reentrant=False)
            else:
                x = block(x)
        return x


@MODELS.register_module()
class TruncatedVMamba(TruncatedEncoder):
    """The first stages of a VMamba.

    Args:
        arch: ``'tiny'``, ``'small'``, ``'base'`` (officially s1l8, s2l15, s2l15), ``'tiny_s2l5'``,
            ``'small_s1l20'``, ``'base_s1l20'``, or a dict with ``embed_dims`` and ``depths`` (one entry per
            stage) and, optionally, ``ssm_ratio`` (inner width per width, 1), ``mlp_ratio`` (4) and
            ``d_state`` (state size, 1).
        num_stages: Stages to keep, 1 to 4; by default up to the last of ``out_indices``, or all.
        out_indices: Stages to return; by default the last kept one.
        in_channels: Channels of the image.
        drop_path_rate: Stochastic depth of the last block.
        drop_path_span: Which last block: that of the ``'full'`` network, or the last ``'kept'`` one.
        frozen_stages: -1 trains all, 0 freezes the patch embedding, k the first k stages as well.
        with_cp: Recompute activations in the backward pass to save memory.
        out_norm: Close each returned stage by a norm of its own, as the official wrapper for detection does.
            Released networks have none there; it starts as a plain normalisation. Without it what is returned
            is the sum of residuals, and the parameters are those of the released network, no more.
        scan_backend: Backend of the selective scan, see :func:`mmhier.ops.selective_scan.selective_scan`.
        init_cfg: ``dict(type='Pretrained', checkpoint=PATH_OR_URL)`` loads released weights; with ``prefix``
            if the file holds several networks, with ``wrapper='model_ema'`` for the averaged weights of a
            snapshot. By default weights of linear layers are drawn with a deviation of 0.02.
        frozen_parts: ``'attention'`` (here the scan with its layers), ``'mlp'`` or both: these do not
            learn in any block; norms do.

    Attributes:
        feature_info: Channels and stride of each returned map.
    """

    weights = VMAMBA
    undecayed = ('A_logs', 'dt_projs_bias')
    block_parts = dict(attention='op', mlp='mlp')
    small = dict(
        arch=dict(embed_dims=16, depths=[2, 1, 2, 1], ssm_ratio=2), out_norm=True, scan_backend='torch'
    )
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
        drop_path_rate: float = 0.1,
        drop_path_span: str = 'full',
        frozen_stages: int = -1,
        with_cp: bool = False,
        out_norm: bool = False,
        scan_backend: str = 'auto',
        init_cfg: dict | list | None = None,
        frozen_parts: str | Sequence[str] = (),
    ):
        settings = resolve_arch(arch)
        truncation = Truncation.of(settings['depths'], num_stages, out_indices)
        init_cfg = list(DEFAULT_INIT) if init_cfg is None else init_cfg
        super().__init__(truncation, frozen_stages, init_cfg, frozen_parts)
        if scan_backend != 'auto' and scan_backend not in BACKENDS:
            raise ValueError(
                f"scan_backend must be 'auto' or one of {sorted(BACKENDS)}, got {scan_backend!r}"
            )
        self.in_channels, self.with_cp, self.out_norm = in_channels, with_cp, out_norm
        widths = [settings['embed_dims'] * 2**stage for stage in range(truncation.num_stages)]
        self.patch_embed = PatchEmbed(in_channels, widths[0])
        rates = truncation.drop_path_rates(drop_path_rate, drop_path_span)
        self.stages = ModuleList(
            VMambaStage(
                width, settings, rates[stage], scan_backend, downsample=stage + 1 < truncation.num_stages
            )
            for stage, width in enumerate(widths)
        )
        for stage in truncation.out_indices:
            if out_norm:
                self.add_module(f'norm{stage}', nn.LayerNorm(widths[stage]))
            self.feature_info.append(FeatureInfo(widths[stage], STEM_STRIDE * 2**stage))
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
        x = self.patch_embed(images)
        maps = []
        for index, stage in enumerate(self.stages):
            x = stage(x, self.with_cp)
            if index in self.truncation.out_indices:
                out = getattr(self, f'norm{index}')(x) if self.out_norm else x
                maps.append(out.permute(0, 3, 1, 2).contiguous())
            if stage.downsample is not None:
                x = stage.downsample(x)
        return tuple(maps)
