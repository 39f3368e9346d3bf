"""Stages and layers of a hierarchical encoder of another project, found by trying it whole.

* Stages. Its maps of stride 4 and more, one per stride, the last of each. A network whose maps all have one
  stride has no hierarchy and is refused, and so is one whose first map needs most of it (HRNet), or whose
  maps do not cover the image evenly (Inception).
* Depth, for layer-wise decay. A block is a member of a list of composed modules (of a list within, if the
  member is itself a chain of modules that keep the shape of their input). What runs before the first block
  is the stem; what runs between two blocks belongs to the later one; what no later map depends on closes a
  stage. In a network without such lists timm's own groups of layers take the place of blocks, and without
  these the stages. Of more than 40 blocks consecutive ones share a layer.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mmhier.models.backbones.foreign_network import (
    FIRST_STRIDE,
    Trace,
    build_all_maps,
    build_timm,
    is_channels_last,
    map_indices,
    strides,
    told_strides,
    trace,
)

# As many as the deepest encoders that are trained with layer-wise decay (ViT-g): with more layers the first
# would not learn.
MOST_LAYERS = 40
MOST_OF_FIRST_MAP = 0.9  # of all parameters
LISTS = (nn.ModuleList, nn.Sequential)
ONE_STRIDE = 'its maps have the strides'


class Survey(NamedTuple):
    """What is known about a whole network."""

    strides: list[int]  # of the map that closes each stage
    ends: list[int]  # its index, by which the network is asked for it
    stage_of: dict[str, int]  # parameter or module -> stage
    layers: list[list[str]]  # modules or parameters of each, in the order of depth
    depths: list[int]  # layers per stage


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
    plain = {plain_name(name): name for name in parameters}
    kept = ([plain.get(plain_name(name)) for name in names] for _, names in sorted(groups.items())[1:])
    return [known for names in kept if (known := [name for name in names if name is not None])]


def timm_undecayed(config: Mapping) -> set[str]:
    """Parameters that do not decay, as timm tells, by their plain names."""
    with torch.device('meta'):
        whole = build_timm(config, features_only=False)
    if not hasattr(whole, 'no_weight_decay'):
        return set()
    return {plain_name(name) for name in whole.no_weight_decay()}


def plain_name(name: str) -> str:
    """A parameter's name as timm's feature extractor and its networks have in common: without dots."""
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
