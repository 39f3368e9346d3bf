"""What TruncatedBackbone makes of a network of timm: the first stages with sane depths, or a reason why not.

Networks are built on the meta device: sizes, strides and dependencies without memory for weights. What is
wrong without being refused is an ``AssertionError``.
"""

import warnings
from dataclasses import dataclass

import timm
import torch

from mmhier.models.backbones.network_survey import MOST_LAYERS
from mmhier.models.backbones.truncated_backbone import TruncatedBackbone

KEPT_STAGES = 3
DEFAULT_HW = (224, 224)


@dataclass(frozen=True)
class Finding:
    """A row of the table.

    Attributes:
        name: timm's name of the architecture.
        module: timm's module.
        layers: Layers of each stage of the whole network, as ``2-2-6-2``; empty if it is refused.
        strides: Of the maps of the kept stages, as ``4-8-16``.
        channels: Of the same.
        reason: Why it is refused, or nothing.
    """

    name: str
    module: str
    layers: str = ''
    strides: str = ''
    channels: str = ''
    reason: str = ''


def architectures() -> list[str]:
    """All that timm lists, without the names of weights."""
    return timm.list_models()


def module_of(name: str) -> str:
    """Timm's module in which an architecture is defined."""
    return timm.model_entrypoint(name).__module__.rpartition('.')[2]


def image_hw(name: str) -> tuple[int, int]:
    """Height and width of the images that an architecture is made for."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return DEFAULT_HW if config is None else tuple(config.input_size[1:])


def examine(name: str) -> Finding:
    """Build the first stages of an architecture and check what they declare."""
    hw = image_hw(name)
    try:
        network = _build(name, hw)
    except ValueError as error:
        return Finding(name, module_of(name), reason=str(error))
    with torch.device('meta'), torch.no_grad():
        maps = network.eval()(torch.rand(1, 3, *hw))
    info = network.feature_info
    for out, (channels, stride) in zip(maps, info, strict=True):
        assert out.shape[:2] == (1, channels), (name, out.shape, info)
        assert all(abs(side - whole / stride) < 1 for side, whole in zip(out.shape[2:], hw, strict=True))
    found = [stride for _, stride in info]
    assert found == sorted(set(found)) and found[0] >= 4, (name, found)
    depths = network.truncation.full_depths
    assert len(depths) >= len(info) and sum(depths) <= MOST_LAYERS + len(depths), (name, depths)
    layers = [network.layer_id(key) for key, _ in network.named_parameters()]
    kept = set(range(1, network.num_layers + 1))
    assert kept <= set(layers) <= kept | {0, network.num_layers + 1}, (name, sorted(set(layers)))
    return Finding(
        name,
        module_of(name),
        layers='-'.join(map(str, depths)),
        strides='-'.join(map(str, found)),
        channels='-'.join(str(entry.channels) for entry in info),
    )


def _build(name: str, hw: tuple[int, int]) -> TruncatedBackbone:
    """Three stages, or as many as there are, all returned."""
    with warnings.catch_warnings(), torch.device('meta'):
        warnings.simplefilter('ignore')
        for stages in range(KEPT_STAGES, 1, -1):
            try:
                return TruncatedBackbone(
                    dict(type='timm', name=name), out_indices=tuple(range(stages)), img_size=hw
                )
            except ValueError as error:
                refusal = error
                if 'out_indices must be stages 0 to' not in str(error):
                    break
    raise refusal
