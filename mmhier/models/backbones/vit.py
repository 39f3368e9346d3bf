"""Plain Vision Transformer (arXiv 2010.11929) as ViTPose, HMR2.0 and SMPLer-X use it.

The numbers are those of mmpretrain's ``VisionTransformer`` with the settings of MMPose's ViTPose, and
parameters have the same names, so MMPose's checkpoints load as they are. Those of ViTPose 0.x, MAE, HMR2.0,
SMPLer-X and Hugging Face are converted by :mod:`mmhier.convert.vit`.

* Patches. 16 x 16 pixels with a padding of 2: patch (r, c) begins at pixel (16 r - 2, 16 c - 2). Images whose
  sides are no multiples of 16 are padded at the right and at the bottom, where mmpretrain cuts them off. With
  ``patch_stride=8`` patches overlap by half, with a padding of 4, as in ViTPose 0.x.
* Attention. Over the whole map, or within windows: see :data:`ATTENTION`. Weights are the same.
* Positions. One row per patch. ViTPose 0.x trains one row more, which it adds to every patch; the sum is what
  is stored here.
* Depth. The map does not shrink, so what other encoders call a stage is a single block here: ``num_stages=6``
  keeps 6 blocks, ``out_indices`` and ``frozen_stages`` count blocks. The one closing norm is applied to every
  returned map, so that a network cut after a block returns what the full one returns there.
* Experts (ViTPose+, arXiv 2212.04246). The last ``expert_dims`` outputs of each MLP come from a layer of the
  data set that an image is of, all others from layers that are shared. In evaluation both are one product of
  matrices, that of the plain network to which :func:`mmhier.convert.vit.pick_dataset` joins them.
* Task tokens (SMPLer-X, arXiv 2309.17448). Learned tokens that stand before the patches in every block and
  have no position; what the last block makes of them is returned behind the maps.

Letters: T task tokens, B batch, H and W map size in patches, N = H * W, C channels.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks import DropPath
from mmengine.model import ModuleList
from mmengine.model.weight_init import trunc_normal_
from mmpose.registry import MODELS
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mmhier.convert.vit import load_token, load_vit, resize_positions
from mmhier.models.backbones.truncation import FeatureInfo, TruncatedEncoder, Truncation
from mmhier.ops.in_place import add
from mmhier.ops.linear import Linear, linear
from mmhier.ops.map_windows import windowed_attention

ARCHS = dict(
    small=dict(embed_dims=384, num_layers=12, num_heads=12),  # ViTPose's: 12 heads of 32, not 6 of 64
    base=dict(embed_dims=768, num_layers=12, num_heads=12),
    large=dict(embed_dims=1024, num_layers=24, num_heads=16),
    huge=dict(embed_dims=1280, num_layers=32, num_heads=16),
)
DEFAULT_INIT = (
    dict(type='TruncNormal', std=0.02, layer='Linear'),
    dict(type='Constant', val=1.0, layer='LayerNorm'),
)
PATCH = 16
PADDINGS = {16: 2, 8: 4}  # by stride
# Kinds of attention: whether every second block shifts its windows, whether all see the means of windows.
ATTENTION = dict(
    full=None, window=(False, False), shift=(True, False), pool=(False, True), shift_pool=(True, True)
)
NORM_EPS = 1e-6


def resolve_arch(arch: str | Mapping) -> dict:
    """Return ``embed_dims``, ``num_layers``, ``num_heads`` and ``feedforward_channels`` of an architecture.

    Raises:
        ValueError: If the name is unknown or the mapping is not an architecture.
    """
    if isinstance(arch, str) and arch in ARCHS:
        arch = ARCHS[arch]
    if not isinstance(arch, Mapping):
        raise ValueError(f'arch must be one of {sorted(ARCHS)} or a dict, got {arch!r}')
    settings = dict(arch)
    if 'embed_dims' in settings:
        settings.setdefault('feedforward_channels', 4 * settings['embed_dims'])
    if set(settings) != {'embed_dims', 'num_layers', 'num_heads', 'feedforward_channels'}:
        raise ValueError(
            'arch needs embed_dims, num_layers, num_heads and may have feedforward_channels, got '
            f'{dict(arch)}'
        )
    if settings['embed_dims'] % settings['num_heads']:
        raise ValueError(
            f'arch: {settings["num_heads"]} heads do not divide the width {settings["embed_dims"]}'
        )
    return settings


class Attention(nn.Module):
    """Multi-head self-attention over all tokens, or within windows of the map.

    Args:
        dims: C.
        heads: Their number.
        window_hw: Height and width of the windows in tokens; None attends to all.
        shifted: Whether they are shifted.
        pooled: Whether the means of all windows are seen, too.
    """

    result_of = 'proj'  # see mmhier.ops.in_place

    def __init__(
        self,
        dims: int,
        heads: int,
        window_hw: tuple[int, int] | None = None,
        shifted: bool = False,
        pooled: bool = False,
    ):
        super().__init__()
        self.heads = heads
        self.window_hw, self.shifted, self.pooled = window_hw, shifted, pooled
        self.qkv = Linear(dims, 3 * dims)
        self.proj = Linear(dims, dims)

    def forward(self, x: Tensor, map_hw: tuple[int, int]) -> Tensor:
        """Map normed tokens (B, N, C) of a map of this size to the same shape."""
        qkv = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.window_hw is None:
            x = F.scaled_dot_product_attention(*qkv.unbind(0)).transpose(1, 2)
        else:
            x = windowed_attention(qkv, map_hw, self.window_hw, self.shifted, self.pooled).transpose(1, 2)
        if torch.compiler.is_compiling():  # the operator and its decomposition for ONNX differ in strides
            x = x.clone(memory_format=torch.contiguous_format)
        return self.proj(x.flatten(2))


class Block(nn.Module):
    """Attention and an MLP, both pre-normed, residual and subject to stochastic depth.

    Args:
        dims: C.
        heads: Of the attention.
        hidden_dims: Between the two layers of the MLP.
        drop_path: Rate of stochastic depth.
        experts: Data sets that have a layer of their own for the last outputs of the MLP.
        expert_dims: How many outputs that are.
        **windows: Of :class:`Attention`.
    """

    def __init__(
        self,
        dims: int,
        heads: int,
        hidden_dims: int,
        drop_path: float,
        experts: Sequence[str] = (),
        expert_dims: int = 0,
        **windows: Any,
    ):
        super().__init__()
        self.ln1 = nn.LayerNorm(dims, NORM_EPS)
        self.attn = Attention(dims, heads, **windows)
        self.ln2 = nn.LayerNorm(dims, NORM_EPS)
        # `ffn.layers.0.0` is the name in OpenMMLab's checkpoints.
        hidden = nn.Sequential(Linear(dims, hidden_dims, gelu=True))
        self.ffn = nn.ModuleDict(dict(layers=nn.Sequential(hidden, Linear(hidden_dims, dims - expert_dims))))
        if experts:
            self.ffn['experts'] = nn.ModuleDict({name: Linear(hidden_dims, expert_dims) for name in experts})
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor, map_hw: tuple[int, int], counts: Sequence[int] | None = None) -> Tensor:
        """Map tokens (B, N, C) of a map of this size to the same shape.

        With experts, ``counts`` says how many images are of each data set; the images are in this order.
        """
        mlp = self.ffn['layers']
        x = self._join(x, self.attn(self.ln1(x), map_hw), self.attn)
        normed = self.ln2(x)
        return self._join(x, mlp(normed) if counts is None else self._of_experts(normed, counts), mlp)

    def _of_experts(self, x: Tensor, counts: Sequence[int]) -> Tensor:
        """The MLP with the expert of each image's data set."""
        first, shared = self.ffn['layers']
        hidden = first(x)
        pairs = list(zip(self.ffn['experts'].values(), hidden.split(list(counts)), strict=True))
        if self.training:  # experts without images take part, with gradients of zero: all processes agree
            return torch.cat([shared(hidden), torch.cat([expert(part) for expert, part in pairs])], dim=2)
        parts = [
            linear(part, torch.cat([shared.weight, one.weight]), torch.cat([shared.bias, one.bias]))
            for one, part in pairs
            if len(part)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _join(self, x: Tensor, branch: Tensor, module: nn.Module) -> Tensor:
        """Add the branch that a module returned, after dropping it for some of the images."""
        if self.training and isinstance(self.drop_path, DropPath):
            return x + self.drop_path(branch)
        return add(x, branch, module)


class PatchEmbed(nn.Module):
    """16 x 16 pixels to one token, every ``stride`` pixels."""

    def __init__(self, in_channels: int, dims: int, stride: int = PATCH):
        super().__init__()
        self.stride = stride
        self.projection = nn.Conv2d(in_channels, dims, PATCH, stride, PADDINGS[stride])

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, in_channels, height, width) to (B, C, ceil(height / stride), ceil(width / stride))."""
        bottom, right = -images.shape[2] % self.stride, -images.shape[3] % self.stride
        if bottom or right:
            images = F.pad(images, (0, right, 0, bottom))
        return self.projection(images)


@MODELS.register_module()
class ViT(TruncatedEncoder):
    """A Vision Transformer, or its first blocks.

    Args:
        arch: ``'small'``, ``'base'``, ``'large'``, ``'huge'``, or a dict with ``embed_dims``,
            ``num_layers``, ``num_heads`` and, optionally, ``feedforward_channels`` (4 * embed_dims).
        num_stages: Blocks to keep; by default up to the last of ``out_indices``, or all.
        out_indices: Blocks to return; by default the last kept one.
        in_channels: Channels of the image.
        img_size: Height and width of the images that the network is trained with. For other sizes the
            positions are interpolated (bicubic), in weights that are loaded too.
        patch_stride: 16, or 8 for four times as many tokens.
        attention: One of :data:`ATTENTION`: ``'full'``, within windows (``'window'``), that every second
            block shifts (``'shift'``), that also see the means of all windows (``'pool'``), or both
            (``'shift_pool'``); see :mod:`mmhier.ops.map_windows`.
        window_size: Height and width of windows in tokens.
        drop_path_rate: Stochastic depth of the last block.
        drop_path_span: Which last block: that of the ``'full'`` network, or the last ``'kept'`` one.
        num_task_tokens: T tokens that stand before the patches and learn; their last outputs are returned.
        frozen_stages: -1 trains all, 0 freezes the patch embedding, positions and task tokens, k the first k
            blocks as well, and the closing norm if these are all.
        knowledge_token: Width of a token of a teacher that stands before the patches, see
            :mod:`mmhier.distillation.knowledge_token`; it does not learn. If it is not the width of this
            network, a linear layer that learns is between them.
        with_cp: Recompute activations in the backward pass to save memory.
        init_cfg: ``dict(type='Pretrained', checkpoint=PATH_OR_URL)`` loads the weights of any project named
            above; with ``prefix`` if the file holds several networks, and ``dataset`` if it is ViTPose+; with
            ``knowledge_token=PATH_OR_URL`` that token is a trained one, and ``checkpoint`` may be None. By
            default weights of linear layers and positions are drawn with a deviation of 0.02.
        frozen_parts: ``'attention'``, ``'mlp'`` or both: these do not learn in any block; norms do.
        experts: Names of data sets that have experts, in the order of these.
        expert_dims: Outputs of an expert; by default a quarter of the width, as in ViTPose+.

    Attributes:
        feature_info: Channels and stride of each returned map.
    """

    undecayed = ('pos_embed',)
    block_parts = dict(attention='attn', mlp='ffn')
    small = dict(arch=dict(embed_dims=16, num_layers=4, num_heads=2), img_size=(64, 48))

    def __init__(
        self,
        arch: str | dict = 'base',
        num_stages: int | None = None,
        out_indices: Sequence[int] | None = None,
        in_channels: int = 3,
        img_size: tuple[int, int] = (256, 192),
        patch_stride: int = PATCH,
        attention: str = 'full',
        window_size: tuple[int, int] = (8, 8),
        num_task_tokens: int = 0,
        drop_path_rate: float = 0.1,
        drop_path_span: str = 'full',
        frozen_stages: int = -1,
        with_cp: bool = False,
        knowledge_token: int | None = None,
        init_cfg: dict | list | None = None,
        frozen_parts: str | Sequence[str] = (),
        experts: Sequence[str] = (),
        expert_dims: int | None = None,
    ):
        settings = resolve_arch(arch)
        dims = settings['embed_dims']
        truncation = Truncation.of([1] * settings['num_layers'], num_stages, out_indices)
        init_cfg = list(DEFAULT_INIT) if init_cfg is None else init_cfg
        super().__init__(truncation, frozen_stages, init_cfg, frozen_parts)
        if not isinstance(img_size, Sequence) or len(img_size) != 2 or min(img_size) < 1:
            raise ValueError(f'img_size must be (height, width) in pixels, got {img_size!r}')
        self.in_channels, self.with_cp = in_channels, with_cp
        self.img_size = tuple(img_size)
        if patch_stride not in PADDINGS:
            raise ValueError(f'patch_stride must be one of {sorted(PADDINGS)}, got {patch_stride!r}')
        self.map_hw = tuple(-(-side // patch_stride) for side in img_size)
        windows = self._windows(attention, window_size)
        self.pos_embed = nn.Parameter(torch.empty(1, self.map_hw[0] * self.map_hw[1], dims))
        trunc_normal_(self.pos_embed, std=0.02)
        self.patch_embed = PatchEmbed(in_channels, dims, patch_stride)
        self.knowledge_token = self.token_projection = self.task_tokens = None
        if (knowledge_token is not None or num_task_tokens) and self.window_hw is not None:
            raise ValueError(f"a knowledge_token and task tokens need attention='full', got {attention!r}")
        if knowledge_token is not None:
            if num_task_tokens:
                raise ValueError('knowledge_token and num_task_tokens: choose one of them')
            self._add_token(knowledge_token, dims)
        elif num_task_tokens:
            self.task_tokens = nn.Parameter(torch.empty(1, num_task_tokens, dims))
            trunc_normal_(self.task_tokens, std=0.02)
            self.undecayed = (*self.undecayed, 'task_tokens')
        arguments = self._experts(experts, expert_dims, dims)
        arguments |= dict(
            dims=dims, heads=settings['num_heads'], hidden_dims=settings['feedforward_channels']
        )
        self.layers = ModuleList(
            Block(drop_path=rate, **arguments, **windows(index))
            for index, (rate,) in enumerate(truncation.drop_path_rates(drop_path_rate, drop_path_span))
        )
        self.ln1 = nn.LayerNorm(dims, NORM_EPS)
        self.feature_info = [FeatureInfo(dims, patch_stride)] * len(truncation.out_indices)
        self.freeze()

    def init_weights(self) -> None:
        """Load the checkpoint of ``init_cfg``, or draw the weights as it says."""
        configs = self.init_cfg if isinstance(self.init_cfg, list | tuple) else [self.init_cfg]
        pretrained = next((config for config in configs if config.get('type') == 'Pretrained'), None)
        if pretrained is None:
            super().init_weights()
            return
        if pretrained.get('checkpoint') is None:
            self.init_cfg = list(DEFAULT_INIT)
            super().init_weights()
        else:
            options = {key: pretrained.get(key) for key in ('prefix', 'dataset')}
            load_vit(self, pretrained['checkpoint'], **options)
            self._is_init = True
        if pretrained.get('knowledge_token') is not None:
            if self.knowledge_token is None:
                raise ValueError('init_cfg.knowledge_token needs a backbone with knowledge_token=WIDTH')
            load_token(self, pretrained['knowledge_token'])

    def layer_id(self, name: str) -> int:
        """Layer of the parameter ``name`` of this backbone, for layer-wise decay."""
        if re.match(r'pos_embed$|task_tokens$|patch_embed\.', name):
            return 0
        if found := re.match(r'layers\.(\d+)\.', name):
            return int(found[1]) + 1
        if re.match(r'ln1\.|knowledge_token$|token_projection\.', name):
            return self.num_layers + 1
        raise ValueError(f'{name!r} is not the name of a parameter of this backbone')

    def parts_of_stage(self, stage: int) -> list[nn.Module]:
        """Modules that are frozen with a block; -1 is the patch embedding."""
        if stage < 0:
            return [self.patch_embed]
        is_last = stage == self.truncation.num_stages - 1
        return [self.layers[stage]] + ([self.ln1] if is_last else [])

    def freeze(self) -> None:
        """Stop the gradient of the patch embedding, the positions and the first ``frozen_stages`` blocks."""
        super().freeze()
        if self.frozen_stages >= 0:
            self.pos_embed.requires_grad_(False)
            if self.task_tokens is not None:
                self.task_tokens.requires_grad_(False)

    def forward(self, images: Tensor, data_sets: Sequence[str] | None = None) -> tuple[Tensor, ...]:
        """Encode images of any size.

        Args:
            images: (B, in_channels, height, width).
            data_sets: With experts, the name of each image's data set.

        Returns:
            One map (B, C, ceil(height / stride), ceil(width / stride)) per output, then the task tokens
            (B, T, C) of the last output if there are any.

        Raises:
            ValueError: If the images are no images, their map is smaller than a window, or ``data_sets`` does
                not go with the experts.
        """
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ValueError(
                f'expected images (B, {self.in_channels}, height, width), got {tuple(images.shape)}'
            )
        order, counts = self._route(data_sets, images.shape[0])
        x = self.patch_embed(images if order is None else images[order])
        map_hw = tuple(x.shape[2:])
        self._check_window(map_hw)
        x = x.flatten(2).transpose(1, 2) + self.positions(map_hw)  # float32 under autocast
        tokens = self._tokens()
        first = 0 if tokens is None else tokens.shape[1]
        if first:
            x = torch.cat([tokens.to(x).expand(x.shape[0], -1, -1), x], dim=1)
        outputs = []
        for index, block in enumerate(self.layers):
            if self.with_cp and torch.is_grad_enabled():
                x = checkpoint(block, x, map_hw, counts, use_reentrant=False)
            else:
                x = block(x, map_hw, counts)
            if index in self.truncation.out_indices:
                closed = self.ln1(x)
                patches = closed[:, first:] if first else closed
                outputs.append(patches.transpose(1, 2).unflatten(2, map_hw).contiguous())
        if self.task_tokens is not None:
            outputs.append(closed[:, :first])
        if order is not None:
            back = order.argsort()
            outputs = [output[back] for output in outputs]
        return tuple(outputs)

    def _experts(self, names: Sequence[str], expert_dims: int | None, dims: int) -> dict[str, Any]:
        """Check the names of the experts; return the arguments of blocks."""
        if isinstance(names, str) or len(set(names)) != len(names) or any('.' in name for name in names):
            raise ValueError(f'experts must be different names of data sets, without points, got {names!r}')
        self.experts = tuple(names)
        if not self.experts:
            if expert_dims is not None:
                raise ValueError(f'expert_dims={expert_dims!r} needs experts=(names of data sets)')
            return {}
        expert_dims = dims // 4 if expert_dims is None else expert_dims
        if not isinstance(expert_dims, int) or not 1 <= expert_dims < dims:
            raise ValueError(f'expert_dims must be 1 to {dims - 1}, a part of the width, got {expert_dims!r}')
        return dict(experts=self.experts, expert_dims=expert_dims)

    def _route(
        self, data_sets: Sequence[str] | None, images: int
    ) -> tuple[Tensor | None, tuple[int, ...] | None]:
        """Order in which images of the same expert follow each other (None: as it is), and their numbers."""
        if not self.experts and data_sets is None:
            return None, None
        if not self.experts or data_sets is None or len(data_sets) != images:
            given = 'none' if data_sets is None else f'{len(data_sets)}'
            raise ValueError(
                f'a ViT with {len(self.experts)} experts got {images} images and {given} names of their data '
                'sets: each image has one where there are experts. For a single data set join its expert to '
                'the rest (mmhier convert --dataset NAME)'
            )
        if unknown := sorted(set(data_sets) - set(self.experts)):
            raise ValueError(
                f'images of {", ".join(unknown)}, for which there is no expert: there are those of '
                f'{", ".join(self.experts)}'
            )
        numbers = [self.experts.index(name) for name in data_sets]
        counts = tuple(map(numbers.count, range(len(self.experts))))
        if numbers == sorted(numbers):
            return None, counts
        order = torch.tensor(sorted(range(images), key=numbers.__getitem__), device=self.pos_embed.device)
        return order, counts

    def _windows(self, attention: str, window_size: tuple[int, int]) -> Callable[[int], dict[str, Any]]:
        """Arguments of the attention by the number of its block."""
        if attention not in ATTENTION:
            raise ValueError(f'attention must be one of {", ".join(ATTENTION)}, got {attention!r}')
        self.window_hw = None
        if ATTENTION[attention] is None:
            return lambda index: {}
        if not isinstance(window_size, Sequence) or len(window_size) != 2 or min(window_size) < 1:
            raise ValueError(f'window_size must be (height, width) in tokens, got {window_size!r}')
        self.window_hw = tuple(window_size)
        self._check_window(self.map_hw)
        shift, pooled = ATTENTION[attention]
        return lambda index: dict(window_hw=self.window_hw, shifted=shift and index % 2 == 1, pooled=pooled)

    def _check_window(self, map_hw: tuple[int, int]) -> None:
        if self.window_hw is not None and any(map(int.__gt__, self.window_hw, map_hw)):
            raise ValueError(
                f'window_size {self.window_hw} is larger than the map of {map_hw[0]} x {map_hw[1]} tokens '
                "(h, w): choose smaller windows, larger images, patch_stride=8 or attention='full'"
            )

    def _add_token(self, token_dims: int, dims: int) -> None:
        if not isinstance(token_dims, int) or token_dims < 1:
            raise ValueError(f'knowledge_token is the width of a token, a number above 0, got {token_dims!r}')
        self.undecayed = (*self.undecayed, 'knowledge_token')
        self.knowledge_token = nn.Parameter(torch.empty(1, 1, token_dims), requires_grad=False)
        trunc_normal_(self.knowledge_token, std=0.02)
        if token_dims != dims:
            self.token_projection = nn.Linear(token_dims, dims)

    def _tokens(self) -> Tensor | None:
        """What stands before the patches, (1, T, C): task tokens, or the knowledge token at this width."""
        if self.knowledge_token is None:
            return self.task_tokens
        return (
            self.knowledge_token
            if self.token_projection is None
            else self.token_projection(self.knowledge_token)
        )

    def positions(self, map_hw: tuple[int, int]) -> Tensor:
        """Embedding of the positions of a map of H x W patches, (1, N, C)."""
        if tuple(map_hw) == self.map_hw:
            return self.pos_embed
        return resize_positions(self.pos_embed, self.map_hw, map_hw)
