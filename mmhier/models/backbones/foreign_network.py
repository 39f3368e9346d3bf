"""A hierarchical encoder of timm, MMPose or mmpretrain as a whole: built, asked for its maps, and watched.

Nothing is known about such a network but how to ask for its maps (timm's ``features_only``, OpenMMLab's
``out_indices``) and what timm says of them (strides, order of dimensions). The rest is seen in one forward
pass: which parameters each map depends on, in which order modules are called, and on which shapes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from mmpose.registry import MODELS
from torch import Tensor, nn

FIRST_STRIDE = 4
MOST_MAPS = 8  # more maps than any network is asked for
INSTALL_TIMM = "backbone=dict(type='timm', ...) needs timm. Run: pip install timm"


class Trace(NamedTuple):
    """What one forward pass showed."""

    maps: list[Tensor]  # (1, C, H, W) or (1, H, W, C) each
    users: dict[str, set[int]]  # parameter -> indices of the maps that depend on it
    called: list[str]  # modules in the order in which they were first called
    shapes: dict[str, tuple[torch.Size, torch.Size]]  # module -> shapes of its first input and output


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
