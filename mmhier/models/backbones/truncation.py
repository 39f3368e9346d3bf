"""Which stages of a hierarchical encoder exist, and what follows from that.

This is the one place where "keep the first n stages" is decided. A truncated encoder builds only the stages
up to the last one it returns. Two choices that are easily made in silence are made here:

* Stochastic depth. Rates rise linearly over the depth of the *full* network by default, so the kept blocks
  have the rates that they have in the full network; ``span='kept'`` lets them reach the maximum at the last
  kept block instead.
* Layer-wise decay. Layers are counted over the *kept* blocks: the stem is layer 0, block k is layer k + 1,
  what closes the network is layer ``num_layers + 1``.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mmengine.model import BaseModule
from torch import nn

from mmhier.convert.key_table import Family, load

SPANS = ('full', 'kept')


class FeatureInfo(NamedTuple):
    """What a backbone returns at one of its outputs."""

    channels: int
    stride: int


class LayerKeys(NamedTuple):
    """How a backbone names its parameters: regular expressions, matched at the start of the name.

    ``block`` captures stage and block. ``downsample`` captures a stage, to which ``downsample_leads_to`` is
    added to get the stage that the layer leads into.
    """

    stem: str
    block: str
    downsample: str
    closing: str
    downsample_leads_to: int = 1


@dataclass(frozen=True)
class Truncation:
    """The kept part of an encoder.

    Attributes:
        full_depths: Blocks per stage of the full network.
        num_stages: Number of stages that are built.
        out_indices: Stages that are returned, ascending; the last is ``num_stages - 1``.
    """

    full_depths: tuple[int, ...]
    num_stages: int
    out_indices: tuple[int, ...]

    @classmethod
    def of(
        cls, depths: Sequence[int], num_stages: int | None = None, out_indices: Sequence[int] | None = None
    ) -> 'Truncation':
        """Check and complete what the user asked for.

        Args:
            depths: Blocks per stage of the full network.
            num_stages: Stages to keep; by default up to the last of ``out_indices``, or all.
            out_indices: Stages to return; by default the last kept one.

        Raises:
            ValueError: If a number is out of range, or a stage would be built and never used.
        """
        depths = tuple(depths)
        if not depths or any(not _is_int(depth) or depth < 1 for depth in depths):
            raise ValueError(f'depths must be positive integers, one per stage, got {depths}')
        if out_indices is not None:
            out_indices = tuple(out_indices)
            if not out_indices or any(not _is_int(i) or not 0 <= i < len(depths) for i in out_indices):
                raise ValueError(
                    f'out_indices must be stages 0 to {len(depths) - 1} of an encoder with {len(depths)} '
                    f'stages, got {out_indices}'
                )
            if list(out_indices) != sorted(set(out_indices)):
                raise ValueError(f'out_indices must be ascending and without repetition, got {out_indices}')
        if num_stages is None:
            num_stages = out_indices[-1] + 1 if out_indices else len(depths)
        if not _is_int(num_stages) or not 1 <= num_stages <= len(depths):
            raise ValueError(
                f'num_stages must be 1 to {len(depths)}, the stages this encoder has, got {num_stages!r}'
            )
        out_indices = out_indices or (num_stages - 1,)
        if out_indices[-1] != num_stages - 1:
            raise ValueError(
                f'the last of out_indices {out_indices} must be num_stages - 1 = {num_stages - 1}: what lies '
                f'behind it would never be used. Set num_stages={out_indices[-1] + 1} or add the index'
            )
        return cls(depths, num_stages, out_indices)

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks per kept stage."""
        return self.full_depths[: self.num_stages]

    @property
    def num_layers(self) -> int:
        """Number of kept blocks."""
        return sum(self.depths)

    def block_index(self, stage: int, block: int = 0) -> int:
        """Count of the blocks before a block, over all stages."""
        return sum(self.full_depths[:stage]) + block

    def drop_path_rates(self, rate: float, span: str = 'full') -> list[list[float]]:
        """Rates of stochastic depth per kept stage and block, rising linearly from 0 to ``rate``.

        Args:
            rate: Rate of the last block of the span, in [0, 1).
            span: ``'full'`` ends the rise at the last block of the full network, ``'kept'`` at the last kept.
        """
        if not 0 <= rate < 1:
            raise ValueError(f'drop_path_rate must lie in [0, 1), got {rate!r}')
        if span not in SPANS:
            raise ValueError(f'drop_path_span must be one of {SPANS}, got {span!r}')
        last = (sum(self.full_depths) if span == 'full' else self.num_layers) - 1
        step = rate / last if last else 0.0
        return [
            [step * self.block_index(stage, block) for block in range(depth)]
            for stage, depth in enumerate(self.depths)
        ]

    def layer_id(self, name: str, keys: LayerKeys) -> int:
        """Layer of a parameter for layer-wise decay: 0 (stem) to ``num_layers + 1`` (closing norms).

        A downsampling layer belongs to the first block of the stage that it leads into.

        Raises:
            ValueError: If no rule of ``keys`` knows the name.
        """
        if re.match(keys.stem, name):
            return 0
        if found := re.match(keys.block, name):
            return self.block_index(int(found[1]), int(found[2])) + 1
        if found := re.match(keys.downsample, name):
            return self.block_index(int(found[1]) + keys.downsample_leads_to) + 1
        if re.match(keys.closing, name):
            return self.num_layers + 1
        raise ValueError(f'{name!r} is not the name of a parameter of this backbone')


class TruncatedEncoder(BaseModule):
    """What the truncated encoders have in common.

    A subclass sets ``layer_keys``, and ``undecayed`` if it has parameters of several dimensions that are no
    matrices of a product; ``weights``, if checkpoints of its family are converted; ``small``, arguments of a
    network of four small stages on which ``tests/models/test_backbone_properties.py`` tries everything. It
    fills ``feature_info``, says in :meth:`parts_of_stage` what is frozen with a stage, and calls
    :meth:`freeze` at the end of its constructor.

    Args:
        truncation: What is kept.
        frozen_stages: -1 trains all, 0 freezes the stem, k the first k stages as well.
        init_cfg: MMEngine's description of the initial weights.
        frozen_parts: Parts of all blocks that do not learn, of those in ``block_parts``.

    Attributes:
        feature_info (list[FeatureInfo]): Channels and stride of each returned map.
    """

    weights: Family | None = None
    layer_keys: LayerKeys
    undecayed: tuple[str, ...] = ()  # last words of names
    small: dict[str, Any] | None = None
    block_parts: dict[str, str] = {}  # what of a block may be frozen, and its name there

    def __init__(
        self,
        truncation: Truncation,
        frozen_stages: int = -1,
        init_cfg: dict | list | None = None,
        frozen_parts: str | Sequence[str] = (),
    ):
        super().__init__(init_cfg=init_cfg)
        if not _is_int(frozen_stages) or not -1 <= frozen_stages <= truncation.num_stages:
            raise ValueError(
                f'frozen_stages must be -1 (nothing), 0 (the stem) or up to num_stages = '
                f'{truncation.num_stages}, got {frozen_stages!r}'
            )
        self.truncation = truncation
        self.frozen_stages = frozen_stages
        self.frozen_parts = (frozen_parts,) if isinstance(frozen_parts, str) else tuple(frozen_parts)
        if unknown := set(self.frozen_parts) - set(self.block_parts):
            raise ValueError(
                f'frozen_parts takes {" and ".join(self.block_parts) or "nothing"} here, got '
                f'{sorted(unknown)}'
            )
        self.feature_info: list[FeatureInfo] = []

    def init_weights(self) -> None:
        """Load the checkpoint of ``init_cfg`` in any format of the family, or draw the weights as it says."""
        configs = self.init_cfg if isinstance(self.init_cfg, list | tuple) else [self.init_cfg or {}]
        pretrained = [config for config in configs if config.get('type') == 'Pretrained']
        if pretrained and self.weights is not None:
            chosen = pretrained[0]
            load(self.weights, self, chosen['checkpoint'], chosen.get('prefix'), chosen.get('wrapper'))
            self._is_init = True
            return
        super().init_weights()

    @property
    def num_layers(self) -> int:
        """Number of kept blocks; layer ids reach from 0 to ``num_layers + 1``."""
        return self.truncation.num_layers

    def layer_id(self, name: str) -> int:
        """Layer of the parameter ``name`` of this backbone, for layer-wise decay."""
        return self.truncation.layer_id(name, self.layer_keys)

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that do not decay, beside biases and what has one dimension (as in timm)."""
        return {name for name, _ in self.named_parameters() if name.rpartition('.')[2] in self.undecayed}

    def parts_of_stage(self, stage: int) -> list[nn.Module]:
        """Modules that are frozen with a stage; stage -1 is the stem."""
        raise NotImplementedError

    def freeze(self) -> None:
        """Stop the gradient of the stem, of the first ``frozen_stages`` stages and of ``frozen_parts``."""
        for stage in range(-1, self.frozen_stages):
            for part in self.parts_of_stage(stage):
                part.requires_grad_(False).eval()
        names = {self.block_parts[part] for part in self.frozen_parts}
        for name, module in self.named_modules() if names else ():
            if name.rpartition('.')[2] in names:
                module.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> 'TruncatedEncoder':
        """Set the mode; what is frozen stays in evaluation mode."""
        super().train(mode)
        self.freeze()
        return self


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
