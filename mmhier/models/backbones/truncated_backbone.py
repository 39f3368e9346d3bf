"""Any hierarchical encoder of timm, MMPose or mmpretrain that keeps its first stages only.

Nothing is known about the wrapped network but how to ask for its maps (timm's ``features_only``, OpenMMLab's
``out_indices``). The rest is found by trying, once, when it is built:

* Stages. Its maps of stride 4 and more, one per stride, the last of each. A network whose maps all have one
  stride has no hierarchy and is refused.
* What is not needed. A parameter from which no gradient path leads to a returned map is removed with the
  largest module around it of which that is true: the module is taken out of its list, or replaced by None or
  by an identity, whichever leaves the maps as they are. A network that resists is refused.
* Depth, for layer-wise decay. A block is a member of a list of composed modules (of a list within, if the
  member is itself a chain of modules that keep the shape of their input). What runs before the first block
  is the stem; what runs between two blocks belongs to the later one; what no later map depends on closes a
  stage. In a network without such lists every module with parameters of its own counts as a block.

The wrapped network keeps its names under ``network.``, its own initialisation and stochastic depth.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from mmengine.runner.checkpoint import CheckpointLoader
from mmpose.registry import MODELS
from torch import Tensor, nn

from mmhier.convert.key_table import unwrap
from mmhier.models.backbones.truncation import FeatureInfo, TruncatedEncoder, Truncation

FIRST_STRIDE = 4
MOST_MAPS = 8  # more maps than any network is asked for
LISTS = (nn.ModuleList, nn.Sequential)
INSTALL_TIMM = "backbone=dict(type='timm', ...) needs timm. Run: pip install timm"


class Trace(NamedTuple):
    """What one forward pass showed."""

    maps: list[Tensor]  # (1, C, H, W) or (1, H, W, C) each
    users: dict[str, set[int]]  # parameter -> indices of the maps that depend on it
    called: list[str]  # modules in the order in which they were first called
    shapes: dict[str, tuple[torch.Size, torch.Size]]  # module -> shapes of its first input and output


class Survey(NamedTuple):
    """What is known about a whole network."""

    strides: list[int]  # of all maps
    ends: list[int]  # index of the map that closes each stage
    stage_of: dict[str, int]  # parameter or module -> stage
    blocks: list[str]  # names, in the order of depth
    depths: list[int]  # blocks per stage


def build_timm(config: Mapping, weights: Mapping[str, Tensor] | bool = False) -> nn.Module:
    """Build timm's feature extractor.

    Args:
        config: ``name`` and arguments of ``timm.create_model``; without ``out_indices`` it returns all maps.
        weights: Weights under any names that timm knows for this network, or True for those it downloads.
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError(f'{INSTALL_TIMM} ({error})') from error
    options = {key: value for key, value in config.items() if key not in ('type', 'name', 'init_cfg')}
    if 'name' not in config or not timm.is_model(config['name'].partition('.')[0]):
        raise ValueError(f'timm has no model {config.get("name")!r}; see timm.list_models()')
    if not isinstance(weights, bool):
        options['pretrained_cfg_overlay'] = dict(state_dict=dict(weights))
    options['pretrained'] = bool(weights)
    return timm.create_model(config['name'], features_only=True, **options)


def build_all_maps(config: Mapping) -> nn.Module:
    """Build a network that returns every map it can list.

    Raises:
        ValueError: If it cannot list its maps.
    """
    if config['type'] == 'timm':
        try:
            return build_timm(config)
        except (AttributeError, RuntimeError, TypeError) as error:
            raise ValueError(
                f'timm cannot list the features of {config["name"]!r}, so it cannot be truncated: {error}'
            ) from error
    refusal = None
    for count in range(MOST_MAPS, 0, -1):
        try:
            return MODELS.build({**config, 'out_indices': tuple(range(count)), 'init_cfg': None})
        except (AssertionError, IndexError, KeyError, TypeError, ValueError) as error:
            refusal = error
    raise ValueError(
        f'{config["type"]} cannot be built with out_indices=(0,), so it cannot be truncated: {refusal}'
    ) from refusal


def maps_of(network: nn.Module, images: Tensor) -> list[Tensor]:
    """Run a network and return its maps as a list."""
    maps = network(images)
    return [maps] if isinstance(maps, Tensor) else list(maps)


def trace(network: nn.Module, images: Tensor) -> Trace:
    """Run a network in evaluation mode and find out what each of its maps depends on."""
    network.eval()
    called: dict[str, None] = {}  # in order
    shapes = {}

    def before(name: str) -> Callable:
        return lambda module, args: called.setdefault(name)

    def after(name: str) -> Callable:
        def note(module: nn.Module, args: tuple, out: object) -> None:
            out = out[0] if isinstance(out, tuple) and out else out
            if args and isinstance(args[0], Tensor) and isinstance(out, Tensor):
                shapes.setdefault(name, (args[0].shape, out.shape))

        return note

    hooks = [module.register_forward_pre_hook(before(name)) for name, module in network.named_modules()]
    hooks += [module.register_forward_hook(after(name)) for name, module in network.named_modules()]
    # reentrant checkpoints hide the graph
    checkpointed = [module for module in network.modules() if getattr(module, 'with_cp', False) is True]
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    network.requires_grad_(True)
    for module in checkpointed:
        module.with_cp = False
    try:
        with torch.enable_grad():
            maps = maps_of(network, images)
    finally:
        for hook in hooks:
            hook.remove()
        for module in checkpointed:
            module.with_cp = True
    users: dict[str, set[int]] = {}
    for index, out in enumerate(maps):
        for name in _parameters_behind(out, network):
            users.setdefault(name, set()).add(index)
    network.requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    return Trace([out.detach() for out in maps], users, list(called), shapes)


def _parameters_behind(out: Tensor, network: nn.Module) -> list[str]:
    """Names of the parameters from which a gradient path leads to a tensor."""
    reached, waiting, seen = set(), [out.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, 'variable'):
            reached.add(id(node.variable))
        waiting += [following for following, _ in node.next_functions]
    return [name for name, parameter in network.named_parameters() if id(parameter) in reached]


def strides(maps: Sequence[Tensor], images: Tensor, source: str) -> list[int]:
    """Strides of maps with respect to the images, whichever dimension holds the channels."""
    height = images.shape[2]
    result = []
    for out in maps:
        if not isinstance(out, Tensor) or out.ndim != 4:
            kind = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                f'{source} returns {kind} where a map (B, C, H, W) is needed. Its own arguments may change '
                "that, as gap_before_final_norm=False does for mmpretrain's ConvNeXt"
            )
        result.append(round(height / out.shape[1 if is_channels_last(out, images) else 2]))
    return result


def is_channels_last(out: Tensor, images: Tensor) -> bool:
    """Whether a map is (B, H, W, C), by which of its sides have the proportions of the image."""
    height, width = images.shape[2:]

    def misfit(rows: int, columns: int) -> float:
        return abs(1 - width * rows / (columns * height))

    return misfit(*out.shape[1:3]) < misfit(*out.shape[2:4])


def stages_of(found: Sequence[int], source: str) -> list[int]:
    """Indices of the maps that close the stages: the last of each stride from 4 on.

    Raises:
        ValueError: If there is no hierarchy.
    """
    last = {stride: index for index, stride in enumerate(found) if stride >= FIRST_STRIDE}
    if len(last) < 2 or list(last) != sorted(last):
        raise ValueError(
            f'{source} is not hierarchical: its maps have the strides {list(found)}. Use it as it '
            'is, without TruncatedBackbone'
        )
    return list(last.values())


def find_blocks(network: nn.Module, found: Trace) -> list[str]:
    """Names of the blocks in the order of their first call."""
    modules = dict(network.named_modules())

    def is_part(name: str) -> bool:
        return any(True for _ in modules[name].children()) and not isinstance(modules[name], LISTS)

    def members(name: str) -> list[str]:
        return [f'{name}.{key}' if name else key for key, _ in modules[name].named_children()]

    def keeps_shape(name: str) -> bool:
        before, after = found.shapes.get(name, (None, ()))
        return before == after

    def holds_chain(name: str) -> bool:
        inside = [key for key in modules if key.startswith(name + '.') and isinstance(modules[key], LISTS)]
        for key in inside:
            parts = members(key)
            if parts and all(map(is_part, parts)) and all(map(keeps_shape, parts[1:] or parts)):
                return True
        return False

    def walk(name: str) -> Iterator[str]:
        composed = isinstance(modules[name], LISTS) and all(map(is_part, members(name)))
        for member in members(name):
            if composed and not holds_chain(member):
                yield member
            else:
                yield from walk(member)

    blocks = [name for name in walk('') if name in found.called]
    return sorted(blocks, key=found.called.index)


def remove_unused(network: nn.Module, images: Tensor, source: str) -> None:
    """Take out of a network what its maps do not depend on.

    Raises:
        ValueError: If the network does not run without it.
    """
    found = trace(network, images)
    for name in reversed(_unused(network, found)):
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
        if len(maps) == len(expected) and all(map(torch.equal, maps, expected)):
            return True
    except Exception:  # whatever a foreign network raises when a part of it is missing
        pass
    entries[key] = kept
    return False


def assign_stages(network: nn.Module, found: Trace, ends: Sequence[int]) -> dict[str, int]:
    """Stage of each parameter and module: the first whose map depends on (a part of) it."""
    stages: dict[str, int] = {}
    for name, _ in network.named_parameters():
        first = next((stage for stage, end in enumerate(ends) if end in found.users.get(name, ())), None)
        parts = name.split('.')
        for end in range(1, len(parts) + 1):
            part = '.'.join(parts[:end])
            if first is not None:
                stages[part] = min(first, stages.get(part, first))
    return stages


def survey(config: Mapping, images: Tensor, source: str) -> Survey:
    """Build the whole network and find its stages and blocks.

    Raises:
        ValueError: If it cannot be truncated.
    """
    network = build_all_maps(config)
    try:
        found = trace(network, images)
    except Exception as error:  # whatever a foreign network raises for images that it does not take
        raise ValueError(
            f'{source} does not run on images of {tuple(images.shape[2:])} (height, width): {error}. Set '
            'img_size, in backbone too if the network is built for one size'
        ) from error
    all_strides = strides(found.maps, images, source)
    ends = stages_of(all_strides, source)
    stage_of = assign_stages(network, found, ends)
    blocks = find_blocks(network, found)
    if not {stage_of.get(name) for name in blocks} >= set(range(len(ends))):
        own = {name.rpartition('.')[0] for name in found.users}
        blocks = [name for name in found.called if name in own and name in stage_of]
    depths = [sum(stage_of.get(name) == stage for name in blocks) for stage in range(len(ends))]
    if not all(depths):
        raise ValueError(f'{source} cannot be truncated: its stages have {depths} blocks')
    return Survey(all_strides, ends, stage_of, blocks, depths)


def number_layers(network: nn.Module, found: Trace, blocks: Sequence[str]) -> dict[str, int]:
    """Layer of each parameter: 0 stem, k + 1 block k, ``len(blocks) + 1`` what closes a stage."""
    last_map = len(found.maps) - 1
    order = {name: position for position, name in enumerate(found.called)}
    starts = [order[name] for name in blocks]
    layers = {}
    for name, _ in network.named_parameters():
        inside = next((k for k, block in enumerate(blocks) if name.startswith(block + '.')), None)
        if inside is not None:
            layers[name] = inside + 1
            continue
        owner = name.rpartition('.')[0]
        while owner not in order:
            owner = owner.rpartition('.')[0]
        following = next((k for k, start in enumerate(starts) if start > order[owner]), None)
        if following is None or last_map not in found.users[name]:
            layers[name] = len(blocks) + 1
        else:
            layers[name] = following + 1 if following else 0
    return layers


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
        with torch.device('cpu'):
            channels = backbone.get('in_chans', backbone.get('in_channels', 3))
            generator = torch.Generator().manual_seed(0)
            images = torch.rand(1, channels, *img_size, generator=generator)
            plan = survey(backbone, images, source)
            truncation = Truncation.of(plan.depths, num_stages, out_indices)
            super().__init__(truncation, frozen_stages)
            self.config, self.in_channels = backbone, channels
            self.out_maps = [plan.ends[stage] for stage in truncation.out_indices]
            chosen = {**backbone, 'out_indices': tuple(self.out_maps)}
            self.network = build_timm(chosen) if is_timm else MODELS.build(chosen)
            remove_unused(self.network, images, source)
            kept = trace(self.network, images)
        layers = number_layers(self.network, kept, plan.blocks[: truncation.num_layers])
        self._layers = {f'network.{name}': layer for name, layer in layers.items()}
        self._stages = {name: plan.stage_of[name] for name, _ in self.network.named_parameters()}
        self.channels_last = [is_channels_last(out, images) for out in kept.maps]
        self.feature_info = [
            FeatureInfo(out.shape[3 if last else 1], plan.strides[index])
            for out, last, index in zip(kept.maps, self.channels_last, self.out_maps, strict=True)
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
            self._load_timm(True, "timm's file")

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
        return tuple(
            (out.permute(0, 3, 1, 2) if last else out).contiguous()
            for out, last in zip(maps, self.channels_last, strict=True)
        )
