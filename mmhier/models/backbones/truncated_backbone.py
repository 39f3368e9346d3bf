"""Any hierarchical encoder of timm, MMPose or mmpretrain that keeps its first stages only.

When it is built, the whole network is looked at once for its stages and layers (without memory for weights,
on the meta device, if it is timm's), see :mod:`mmhier.models.backbones.network_survey`. Then it is built with
the maps that are wanted, and what these do not need is taken out: a parameter from which no gradient path
leads to a returned map is removed with the largest module around it of which that is true. The module is
taken out of its list, or replaced by None or by an identity, whichever leaves the maps as they are. A network
that resists is refused.

The wrapped network keeps its names under ``network.``, its own initialisation and stochastic depth.
"""

from collections.abc import Mapping, Sequence

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from mmpose.registry import MODELS
from torch import Tensor, nn

from mmhier.convert.key_table import unwrap
from mmhier.models.backbones.foreign_network import (
    Trace,
    build_timm,
    is_channels_last,
    maps_of,
    strides,
    trace,
)
from mmhier.models.backbones.network_survey import LISTS, number_layers, plain_name, survey, timm_undecayed
from mmhier.models.backbones.truncation import FeatureInfo, TruncatedEncoder, Truncation
from mmhier.network import DownloadError, downloading


def remove_unused(network: nn.Module, images: Tensor, source: str) -> Trace:
    """Take out of a network what its maps do not depend on; return what is seen of the rest.

    Raises:
        ValueError: If the network does not run without it.
    """
    found = trace(network, images)
    superfluous = _unused(network, found)
    if not superfluous:
        return found
    for name in reversed(superfluous):
        owner = network.get_submodule(name.rpartition('.')[0])
        key = name.rpartition('.')[2]
        if not any(_try_without(network, owner, key, way, images, found.maps) for way in _ways(owner, key)):
            raise ValueError(
                f'{source} does not run without {name}, which its first stages do not need. Truncate it by '
                'its own arguments'
            )
    left = trace(network, images)
    unused = [name for name, _ in network.named_parameters() if name not in left.users]
    if unused:
        raise ValueError(f'{source}: parameters without effect are left: {unused[:4]}')
    return left


def _unused(network: nn.Module, found: Trace) -> list[str]:
    """Names of the largest modules, and of single parameters, without effect on the maps."""
    used = set()
    for name in found.users:
        parts = name.split('.')
        used |= {'.'.join(parts[:end]) for end in range(len(parts) + 1)}
    result: list[str] = []
    for name, _ in network.named_parameters():
        if name not in used:
            parts = name.split('.')
            ends = range(1, len(parts) + 1)
            largest = next(part for end in ends if (part := '.'.join(parts[:end])) not in used)
            if largest not in result:
                result.append(largest)
    return result


def _ways(owner: nn.Module, key: str) -> list[str]:
    if key in owner._parameters:
        return ['none']
    is_last = isinstance(owner, LISTS) and key == str(len(owner) - 1)
    return (['delete'] if is_last else []) + ['none', 'identity']


def _try_without(
    network: nn.Module, owner: nn.Module, key: str, way: str, images: Tensor, expected: Sequence[Tensor]
) -> bool:
    """Take a module or parameter out in one of the ways; put it back if the maps change."""
    entries = owner._parameters if key in owner._parameters else owner._modules
    kept = entries[key]
    if way == 'delete':
        del entries[key]
    else:
        entries[key] = None if way == 'none' else nn.Identity()
    try:
        with torch.no_grad():
            maps = maps_of(network, images)
        if len(maps) == len(expected) and all(map(_is_same, maps, expected)):
            return True
    except Exception:  # whatever a foreign network raises when a part of it is missing
        pass
    entries[key] = kept
    return False


def _is_same(out: Tensor, expected: Tensor) -> bool:
    """Whether two maps are equal; without values (on the meta device) whether they can be."""
    return out.shape == expected.shape and (out.is_meta or torch.equal(out, expected))


@MODELS.register_module()
class TruncatedBackbone(TruncatedEncoder):
    """The first stages of a hierarchical encoder of another project.

    Args:
        backbone: ``dict(type='timm', name=...)`` with arguments of ``timm.create_model``;
            ``pretrained=True`` downloads timm's weights. Or the config of any MMPose or mmpretrain backbone
            that takes ``out_indices``.
        num_stages: Stages to keep; by default up to the last of ``out_indices``, or all. Stage 1 ends at
            stride 4.
        out_indices: Stages to return; by default the last kept one.
        img_size: Height and width of the images that the network is tried with. Networks that are built for
            one size need it in ``backbone`` too.
        frozen_stages: -1 trains all, k freezes the first k stages with the stem.
        init_cfg: Initial weights, instead of what ``backbone`` says. For timm
            ``dict(type='Pretrained', checkpoint=PATH_OR_URL)`` with a file of the whole network under any
            names that timm knows for it; else the ``init_cfg`` of the wrapped network.

    Attributes:
        feature_info: Channels and stride of each returned map.
    """

    undecayed = ('relative_position_bias_table', 'pos_embed', 'absolute_pos_embed')

    def __init__(
        self,
        backbone: dict,
        num_stages: int | None = None,
        out_indices: Sequence[int] | None = None,
        img_size: tuple[int, int] = (256, 192),
        frozen_stages: int = -1,
        init_cfg: dict | list | None = None,
    ):
        if not isinstance(backbone, Mapping) or 'type' not in backbone:
            raise ValueError(f"backbone must be a dict with a type, such as 'timm', got {backbone!r}")
        if 'out_indices' in backbone:
            raise ValueError('out_indices must be given to TruncatedBackbone, not to its backbone')
        is_timm = backbone['type'] == 'timm'
        if is_timm and init_cfg is not None and set(init_cfg) != {'type', 'checkpoint'}:
            raise ValueError(
                "init_cfg of a network of timm must be dict(type='Pretrained', checkpoint=...), got "
                f'{init_cfg}'
            )
        if frozen_stages == 0:
            raise ValueError(
                'frozen_stages=0 would freeze the stem, which is not told from stage 1 here: use -1 or 1'
            )
        source = f'timm {backbone.get("name")}' if is_timm else str(backbone['type'])
        backbone = dict(backbone) if init_cfg is None else {**backbone, 'init_cfg': init_cfg}
        device = torch.get_default_device()
        # timm's networks are surveyed without memory for the weights of the stages that are not kept
        with torch.device('meta' if is_timm else 'cpu'):
            channels = backbone.get('in_chans', backbone.get('in_channels', 3))
            plan = survey(backbone, torch.rand(1, channels, *img_size), source)
        truncation = Truncation.of(plan.depths, num_stages, out_indices)
        super().__init__(truncation, frozen_stages)
        self.config, self.in_channels = backbone, channels
        self.out_maps = [plan.ends[stage] for stage in truncation.out_indices]
        expected = [plan.strides[stage] for stage in truncation.out_indices]
        chosen = {**backbone, 'out_indices': tuple(self.out_maps)}
        with torch.device('meta' if is_timm and device.type == 'meta' else 'cpu'):
            generator = torch.Generator().manual_seed(0)
            images = torch.rand(1, channels, *img_size, generator=generator, device='cpu')
            images = images.to(torch.get_default_device())
            self.network = build_timm(chosen) if is_timm else MODELS.build(chosen)
            kept = remove_unused(self.network, images, source)
            if (found := strides(self.network, kept.maps, images, source)) != expected:
                raise ValueError(f'{source} returns maps of the strides {found} when asked for {expected}')
        layers = number_layers(self.network, kept, plan.layers[: truncation.num_layers])
        self._layers = {f'network.{name}': layer for name, layer in layers.items()}
        everything = self.network.named_parameters(remove_duplicate=False)
        self._stages = {name: plan.stage_of[name] for name, _ in everything}
        self.channels_last = is_channels_last(self.network)
        self.feature_info = [
            FeatureInfo(out.shape[3 if self.channels_last else 1], stride)
            for out, stride in zip(kept.maps, expected, strict=True)
        ]
        self.network.train()
        if device.type != 'cpu':
            self.to(device)
        self.freeze()

    def init_weights(self) -> None:
        """Load or draw the weights; timm's networks have drawn theirs when they were built."""
        if self.config['type'] != 'timm':
            super().init_weights()
        elif init_cfg := self.config.get('init_cfg'):
            path = init_cfg['checkpoint']
            self._load_timm(unwrap(CheckpointLoader.load_checkpoint(path, map_location='cpu'), path), path)
        elif self.config.get('pretrained'):
            source = f"timm's weights of {self.config['name']}"
            remedy = "fetch a file elsewhere and name it, init_cfg=dict(type='Pretrained', checkpoint=FILE)"
            try:
                with downloading(source, remedy):
                    self._load_timm(True, source)
            except OSError as error:
                if isinstance(error, DownloadError) or error.errno is not None:  # such as a full disk
                    raise
                raise DownloadError(f'{source} cannot be downloaded ({error}): {remedy}') from error

    def _load_timm(self, weights: Mapping[str, Tensor] | bool, source: str) -> None:
        """Let timm load weights into networks of its own, and take over what is kept here."""
        # timm ignores keys that do not fit; what was not loaded is random and differs between two builds
        config = {**self.config, 'out_indices': tuple(self.out_maps)}
        loaded, again = (build_timm(config, weights).state_dict() for _ in range(2))
        kept = list(self.network.state_dict())
        if missing := [key for key in kept if not torch.equal(loaded[key], again[key])]:
            raise ValueError(
                f'{source} is not of timm {self.config["name"]}: {len(missing)} weights are missing, the '
                f'first is {missing[0]}'
            )
        self.network.load_state_dict({key: loaded[key] for key in kept})

    def layer_id(self, name: str) -> int:
        """Layer of the parameter ``name`` of this backbone, for layer-wise decay."""
        if name not in self._layers:
            raise ValueError(f'{name!r} is not the name of a parameter of this backbone')
        return self._layers[name]

    def no_weight_decay(self) -> set[str]:
        """Tables of positions, and what timm says of its network."""
        told = timm_undecayed(self.config) if self.config['type'] == 'timm' else set()
        names = {name: plain_name(name.removeprefix('network.')) for name, _ in self.named_parameters()}
        return super().no_weight_decay() | {name for name, plain in names.items() if plain in told}

    def freeze(self) -> None:
        """Stop the gradient of the first ``frozen_stages`` stages."""
        for prefix, module in self.network.named_modules():
            names = [f'{prefix}.{name}' if prefix else name for name, _ in module.named_parameters()]
            if names and all(self._stages[name] < self.frozen_stages for name in names):
                module.requires_grad_(False).eval()
        for name, parameter in self.network.named_parameters():
            if self._stages[name] < self.frozen_stages:
                parameter.requires_grad_(False)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode images.

        Args:
            images: (B, in_channels, height, width), of a size that the wrapped network takes.

        Returns:
            One map (B, channels, H, W) per output.
        """
        if images.ndim != 4 or images.shape[1] != self.in_channels:
            raise ValueError(
                f'expected images (B, {self.in_channels}, height, width), got {tuple(images.shape)}'
            )
        maps = maps_of(self.network, images)
        return tuple((out.permute(0, 3, 1, 2) if self.channels_last else out).contiguous() for out in maps)
