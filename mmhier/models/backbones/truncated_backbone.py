"""Any hierarchical encoder of timm, MMPose or mmpretrain that keeps its first stages only.

Nothing is known about the wrapped network but how to ask for its maps (timm's ``features_only``, OpenMMLab's
``out_indices``) and what timm says of them (strides, order of dimensions, groups of layers). The rest is
found by trying, once, when it is built (without memory for weights, on the meta device, if it is timm's):

* Stages. Its maps of stride 4 and more, one per stride, the last of each. A network whose maps all have one
  stride has no hierarchy and is refused, and so is one whose first map needs most of it (HRNet), or whose
  maps do not cover the image evenly (Inception).
* What is not needed. A parameter from which no gradient path leads to a returned map is removed with the
  largest module around it of which that is true: the module is taken out of its list, or replaced by None or
  by an identity, whichever leaves the maps as they are. A network that resists is refused.
* Depth, for layer-wise decay. A block is a member of a list of composed modules (of a list within, if the
  member is itself a chain of modules that keep the shape of their input). What runs before the first block
  is the stem; what runs between two blocks belongs to the later one; what no later map depends on closes a
  stage. In a network without such lists timm's own groups of layers take the place of blocks, and without
  these the stages. Of more than 40 blocks consecutive ones share a layer.

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
from mmhier.network import DownloadError, downloading

FIRST_STRIDE = 4
MOST_MAPS = 8  # more maps than any network is asked for
# As many as the deepest encoders that are trained with layer-wise decay (ViT-g): with more layers the first
# would not learn.
MOST_LAYERS = 40
MOST_OF_FIRST_MAP = 0.9  # of all parameters
LISTS = (nn.ModuleList, nn.Sequential)
ONE_STRIDE = 'its maps have the strides'
INSTALL_TIMM = "backbone=dict(type='timm', ...) needs timm. Run: pip install timm"


class Trace(NamedTuple):
    """What one forward pass showed."""

    maps: list[Tensor]  # (1, C, H, W) or (1, H, W, C) each
    users: dict[str, set[int]]  # parameter -> indices of the maps that depend on it
    called: list[str]  # modules in the order in which they were first called
    shapes: dict[str, tuple[torch.Size, torch.Size]]  # module -> shapes of its first input and output


class Survey(NamedTuple):
    """What is known about a whole network."""

    strides: list[int]  # of the map that closes each stage
    ends: list[int]  # its index, by which the network is asked for it
    stage_of: dict[str, int]  # parameter or module -> stage
    layers: list[list[str]]  # modules or parameters of each, in the order of depth
    depths: list[int]  # layers per stage


def build_timm(
    config: Mapping, weights: Mapping[str, Tensor] | bool = False, features_only: bool = True
) -> nn.Module:
    """Build timm's feature extractor.

    Args:
        config: ``name`` and arguments of ``timm.create_model``; without ``out_indices`` it returns all maps.
        weights: Weights under any names that timm knows for this network, or True for those it downloads.
        features_only: Build the feature extractor; else the network itself.
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
    return timm.create_model(config['name'], features_only=features_only, **options)


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
    everything = network.named_parameters(remove_duplicate=False)  # a part may be used in several places
    return [name for name, parameter in everything if id(parameter) in reached]


def is_channels_last(network: nn.Module) -> bool:
    """Whether a network returns (B, H, W, C): timm says so, OpenMMLab's return (B, C, H, W)."""
    return str(getattr(network, 'output_fmt', None)).endswith('NHWC')


def told_strides(network: nn.Module) -> list[int] | None:
    """Strides of the maps by timm's description; OpenMMLab's networks have none."""
    info = getattr(network, 'feature_info', None)
    return list(info.reduction()) if hasattr(info, 'reduction') else None


def strides(network: nn.Module, maps: Sequence[Tensor], images: Tensor, source: str) -> list[int]:
    """Strides of maps with respect to the images: as timm says, else as their height says.

    Raises:
        ValueError: If something is not a map, or does not cover the image.
    """
    told = told_strides(network) or [None] * len(maps)
    first = 1 if is_channels_last(network) else 2
    result = []
    for out, stride in zip(maps, told, strict=True):
        if not isinstance(out, Tensor) or out.ndim != 4:
            kind = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
            raise ValueError(
                f'{source} returns {kind} where a map (B, C, H, W) is needed. Its own arguments may change '
                "that, as gap_before_final_norm=False does for mmpretrain's ConvNeXt"
            )
        map_hw, image_hw = tuple(out.shape[first : first + 2]), tuple(images.shape[2:])
        stride = stride or round(image_hw[0] / map_hw[0])
        apart = max(abs(side - whole / stride) for side, whole in zip(map_hw, image_hw, strict=True))
        if stride >= FIRST_STRIDE and apart >= 1:
            raise ValueError(
                f'{source} makes maps of {map_hw} (H, W) from images of {image_hw}, which is not one place '
                f'per {stride} pixels: what lies where on the image cannot be told. Use another network'
            )
        result.append(stride)
    return result


def map_indices(network: nn.Module, positions: Sequence[int]) -> list[int]:
    """Indices for ``out_indices`` of maps at some positions of those that the whole network returns.

    timm's networks may begin with a map that they do not return unless asked (DLA, DarkNet).
    """
    info = getattr(network, 'feature_info', None)
    known = getattr(info, 'out_indices', None)
    return list(positions) if known is None else [known[position] for position in positions]


def stages_of(found: Sequence[int], source: str) -> list[int]:
    """Indices of the maps that close the stages: the last of each stride from 4 on.

    Raises:
        ValueError: If there is no hierarchy.
    """
    last = {stride: index for index, stride in enumerate(found) if stride >= FIRST_STRIDE}
    if len(last) < 2 or list(last) != sorted(last):
        raise ValueError(
            f'{source} is not hierarchical: {ONE_STRIDE} {list(found)}. Use it as it is, without '
            'TruncatedBackbone'
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
        below = (f'{name}.{key}' for key, _ in modules[name].named_modules() if key)
        inside = [key for key in below if key in modules and isinstance(modules[key], LISTS)]
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


def assign_stages(network: nn.Module, found: Trace, ends: Sequence[int]) -> dict[str, int]:
    """Stage of each parameter and module: the first whose map depends on (a part of) it."""
    stages: dict[str, int] = {}
    for name, _ in network.named_parameters(remove_duplicate=False):
        first = next((stage for stage, end in enumerate(ends) if end in found.users.get(name, ())), None)
        parts = name.split('.')
        for end in range(1, len(parts) + 1):
            part = '.'.join(parts[:end])
            if first is not None:
                stages[part] = min(first, stages.get(part, first))
    return stages


def survey(config: Mapping, images: Tensor, source: str) -> Survey:
    """Build the whole network and find its stages and layers.

    Raises:
        ValueError: If it cannot be truncated.
    """
    network = build_all_maps(config)
    if told := told_strides(network):
        stages_of(told, source)  # refuses without running what timm says is no hierarchy
    try:
        found = trace(network, images)
    except Exception as error:  # whatever a foreign network raises for images that it does not take
        raise ValueError(
            f'{source} does not run on images of {tuple(images.shape[2:])} (height, width): {error}. Set '
            'img_size, in backbone too if the network is built for one size'
        ) from error
    all_strides = strides(network, found.maps, images, source)
    ends = stages_of(all_strides, source)
    stage_of = assign_stages(network, found, ends)
    blocks = [name for name in find_blocks(network, found) if name in stage_of]
    while len(ends) > 1 and len(ends) - 1 not in stage_of.values():
        ends.pop()  # a pooling, as at the end of VGG, is not a stage
    check_hierarchy(network, found, ends, stage_of, blocks, source)
    parameters = [name for name in found.users if name in stage_of]
    layers = find_layers(config, blocks, parameters, stage_of, len(ends))
    depths = [sum(_stage_of(layer, stage_of) == stage for layer in layers) for stage in range(len(ends))]
    if not all(depths):
        raise ValueError(f'{source} cannot be truncated: its stages have {depths} layers')
    return Survey([all_strides[end] for end in ends], map_indices(network, ends), stage_of, layers, depths)


def check_hierarchy(
    network: nn.Module,
    found: Trace,
    ends: Sequence[int],
    stage_of: Mapping[str, int],
    blocks: Sequence[str],
    source: str,
) -> None:
    """Refuse a network whose finer maps are made from coarser ones, so that nothing can be left out.

    Raises:
        ValueError: With the map and what it needs.
    """
    refusal = f'{source} is not hierarchical: its map %s. Use it as it is, without TruncatedBackbone'
    sizes = {name: value.numel() for name, value in network.named_parameters() if name in found.users}
    first = sum(size for name, size in sizes.items() if ends[0] in found.users[name]) / sum(sizes.values())
    if first > MOST_OF_FIRST_MAP:
        raise ValueError(refusal % f'{ends[0]} already needs {first:.0%} of its parameters')
    if is_channels_last(network):
        return
    for name in blocks:
        shape = found.shapes[name][1] if name in found.shapes else ()
        end = ends[stage_of[name]]
        if len(shape) == 4 and max(shape[2:]) < min(found.maps[end].shape[2:]):
            raise ValueError(refusal % f'{end} needs {name}, which makes a coarser one')


def find_layers(
    config: Mapping,
    blocks: Sequence[str],
    parameters: Sequence[str],
    stage_of: Mapping[str, int],
    num_stages: int,
) -> list[list[str]]:
    """Names of each layer: blocks, timm's groups or stages, whichever is the first that all stages have."""

    def are_everywhere(layers: Sequence[Sequence[str]]) -> bool:
        return {_stage_of(layer, stage_of) for layer in layers} >= set(range(num_stages))

    layers = [[name] for name in blocks]
    if not are_everywhere(layers) and config['type'] == 'timm':
        layers = timm_groups(config, parameters)
    if not are_everywhere(layers):
        layers = [[name for name in parameters if stage_of[name] == stage] for stage in range(num_stages)]
        layers = [layer for layer in layers if layer]
    return share_layers(layers, stage_of, num_stages)


def timm_groups(config: Mapping, parameters: Sequence[str]) -> list[list[str]]:
    """Parameters of each group of layers that timm tells, without the stem; nothing if it tells none."""
    from timm.models import group_parameters

    whole = build_timm(config, features_only=False)
    try:
        groups = group_parameters(whole, whole.group_matcher(coarse=False))
    except (AssertionError, AttributeError, NotImplementedError):
        return []
    plain = {_plain(name): name for name in parameters}  # the feature extractor joins names by underscores
    kept = ([plain.get(_plain(name)) for name in names] for _, names in sorted(groups.items())[1:])
    return [known for names in kept if (known := [name for name in names if name is not None])]


def _plain(name: str) -> str:
    return name.removeprefix('model.').replace('.', '_')


def _stage_of(layer: Sequence[str], stage_of: Mapping[str, int]) -> int:
    return min(stage_of[name] for name in layer)


def share_layers(
    layers: Sequence[list[str]], stage_of: Mapping[str, int], num_stages: int
) -> list[list[str]]:
    """Sort layers by stage; join consecutive ones of a stage where there are more than ``MOST_LAYERS``."""
    size = -(-len(layers) // MOST_LAYERS)
    result = []
    for stage in range(num_stages):
        own = [layer for layer in layers if _stage_of(layer, stage_of) == stage]
        parts = (own[start : start + size] for start in range(0, len(own), size))
        result += [[name for layer in part for name in layer] for part in parts]
    return result


def number_layers(network: nn.Module, found: Trace, layers: Sequence[list[str]]) -> dict[str, int]:
    """Layer of each parameter: 0 stem, from 1 on ``layers``, ``len(layers) + 1`` what closes a stage."""
    last_map = len(found.maps) - 1
    order = {name: position for position, name in enumerate(found.called)}
    known = {name: k for k, layer in enumerate(layers) for name in layer}
    starts = [min(order[_nearest(name, order)] for name in layer) for layer in layers]
    result = {}
    for name, _ in network.named_parameters():
        inside = _nearest(name, known)
        if inside in known:
            result[name] = known[inside] + 1
            continue
        position = order[_nearest(name, order)]
        following = next((k for k, start in enumerate(starts) if start > position), None)
        if following is None or last_map not in found.users[name]:
            result[name] = len(layers) + 1
        else:
            result[name] = following + 1 if following else 0
    return result


def _nearest(name: str, known: Mapping[str, int]) -> str:
    """The name itself, or the nearest module around it, that is known; else the whole, ``''``."""
    while name and name not in known:
        name = name.rpartition('.')[0]
    return name


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
