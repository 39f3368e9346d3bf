"""Weights of other projects -> our names, by literal key tables.

A family of encoders (:class:`Family`) has one table per format. The table lists every key that the format can
have: the name here, or why the key has none. A key that is in no table is an error. What a truncated network
does not have is left out and reported. Nothing is guessed and nothing is loaded in part.

Placeholders of the tables: ``{i}`` stage, ``{i-1}`` the stage before, ``{j}`` block, ``{last}`` the last
stage in the file, ``{p}`` weight or bias, ``{b}`` any entry of a batch normalisation, ``{d}`` a data
set.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

# Where a training loop puts the weights in its checkpoint.
WRAPPERS = ('state_dict', 'model', 'network')  # the last: SMPLer-X

_BATCH_NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
_PLACEHOLDERS = {
    '{i}': r'(?P<i>\d+)',
    '{j}': r'(?P<j>\d+)',
    '{p}': r'(?P<p>weight|bias)',
    '{d}': r'(?P<d>\w+)',
    '{b}': f'(?P<b>{"|".join(_BATCH_NORM)})',
}


class Drop(str):
    """Why a key has no place here."""


class Part(NamedTuple):
    """Our name for a tensor whose rows are stored in several parts, and which of ``count`` this is."""

    name: str
    index: int
    count: int = 3


class Shaped(NamedTuple):
    """Our name for a tensor, and the function that brings it to our order or shape."""

    name: str
    change: Callable[[Tensor], Tensor]


Target = str | Drop | Part | Shaped


def same(weights: dict[str, Tensor], expected: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """Adapt nothing."""
    return weights


def as_found(name: str, keys: Sequence[str]) -> str:
    """Keep the format that the anchor names."""
    return name


@dataclass(frozen=True)
class Family:
    """What is known about the files of one family of encoders.

    Attributes:
        name: For messages.
        tables: Format -> key -> our name.
        anchors: Key by which a format is known -> the format. What stands before it is the prefix.
        mark: Regular expression found in the keys of this family and of no other.
        stem_keys: Our keys that every network has.
        stage_keys: Our keys of a stage, beside its blocks.
        block_keys: Our keys of a block.
        step_keys: Our keys of the step from a stage to the next.
        optional_keys: Our keys that a file may lack.
        describe: State dictionary -> architecture, in words.
        remedy: What to do if the architectures differ.
        block: Regular expression of our block keys, with the groups ``i`` (where there are stages) and ``j``.
        refine: Tells apart formats with the same anchor: (format, keys without prefix) -> format.
        adapt: Last change before shapes are compared: (weights, network's state, source) -> weights.
    """

    name: str
    tables: Mapping[str, Mapping[str, Target]]
    anchors: Mapping[str, str]
    mark: str
    block_keys: Sequence[str]
    describe: Callable[[Mapping[str, Tensor]], str]
    remedy: str
    stem_keys: Sequence[str] = ()
    stage_keys: Sequence[str] = ()
    step_keys: Sequence[str] = ()
    optional_keys: Sequence[str] = ()
    block: str = r'stages\.(?P<i>\d+)\.blocks\.(?P<j>\d+)\.'
    refine: Callable[[str, Sequence[str]], str] = as_found
    adapt: Callable[[dict[str, Tensor], Mapping[str, Tensor], str], dict[str, Tensor]] = same

    def depths(self, keys: Iterable[str]) -> list[int]:
        """Blocks per stage among keys of ours; a single entry where there are no stages."""
        found = [match.groupdict() for key in keys if (match := re.match(self.block, key))]
        depths: dict[int, int] = {}
        for groups in found:
            stage = int(groups.get('i', 0))
            depths[stage] = max(depths.get(stage, 0), int(groups['j']) + 1)
        return [depths.get(stage, 0) for stage in range(max(depths, default=-1) + 1)]

    def all_keys(self, depths: Sequence[int]) -> list[str]:
        """Keys that a network with these depths must have."""
        templates = list(self.stem_keys)
        for stage, depth in enumerate(depths):
            of_stage = [*self.stage_keys, *(self.step_keys if stage + 1 < len(depths) else ())]
            of_stage += [
                key.replace('{j}', str(block)) for block in range(max(depth, 1)) for key in self.block_keys
            ]
            templates += [key.replace('{i}', str(stage)) for key in of_stage]
        return [key for template in templates for key in _expand(template)]


class Converted(NamedTuple):
    """Weights under our names, and what was left out."""

    state_dict: dict[str, Tensor]
    format: str
    dropped: dict[str, str]  # key in the file -> reason


class Report(NamedTuple):
    """What became of a checkpoint."""

    source: str
    format: str
    loaded: list[str]
    dropped: dict[str, str]  # key in the file -> reason
    missing: list[str]  # our parameters, left at their initial value

    def __str__(self) -> str:
        text = f'{self.source}: loaded {len(self.loaded)} tensors ({self.format} keys)'
        if self.dropped:
            reasons = Counter(self.dropped.values())
            text += '; left out ' + ', '.join(f'{count} ({reason})' for reason, count in reasons.items())
        if self.missing:
            text += '; not in the file and at their initial value: ' + ', '.join(self.missing)
        return text


def unwrap(checkpoint: Mapping, source: str = 'checkpoint', wrapper: str | None = None) -> dict[str, Tensor]:
    """Return the mapping of names to tensors that is in a checkpoint.

    Args:
        checkpoint: What was read from the file.
        source: Where it comes from, for messages.
        wrapper: Key under which the weights are, if not under the first of :data:`WRAPPERS` that is there.

    Raises:
        ValueError: If there is none.
    """
    if wrapper is not None and (not isinstance(checkpoint, Mapping) or wrapper not in checkpoint):
        found = sorted(map(str, checkpoint))[:8] if isinstance(checkpoint, Mapping) else type(checkpoint)
        raise ValueError(f'{source} has nothing under {wrapper!r}: it has {found}')
    for key in (wrapper,) if wrapper is not None else WRAPPERS:
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(key), Mapping):
            checkpoint = checkpoint[key]
            break
    is_mapping = isinstance(checkpoint, Mapping)
    if (
        not is_mapping
        or not checkpoint
        or not all(isinstance(value, Tensor) for value in checkpoint.values())
    ):
        found = sorted(map(str, checkpoint))[:8] if is_mapping else type(checkpoint).__name__
        raise ValueError(f'{source} holds no weights, alone or under {" or ".join(WRAPPERS)}: it is {found}')
    return dict(checkpoint)


def detect_format(
    family: Family, keys: Iterable[str], prefix: str | None = None, source: str = 'checkpoint'
) -> tuple[str, str]:
    """Find out which project wrote a checkpoint.

    Args:
        family: The family of encoders.
        keys: Keys of the state dictionary.
        prefix: What the backbone's keys begin with, if the file holds several networks.
        source: Where the keys come from, for messages.

    Returns:
        A key of the family's tables, and the prefix of the backbone's keys.

    Raises:
        ValueError: If no format fits, or several networks do.
    """
    keys = list(keys)
    found = [
        (name, key.removesuffix(anchor))
        for key in keys
        for anchor, name in family.anchors.items()
        if key == anchor or key.endswith('.' + anchor)
    ]
    prefixes = [before for _, before in found]
    if prefix is not None:
        found = [(name, before) for name, before in found if before == prefix]
    if not found:
        where = f' under {prefix!r}, only under {prefixes}' if prefixes else f'; it begins with {keys[:3]}'
        known = ', '.join(family.tables)
        raise ValueError(f'{source} holds no {family.name} with keys of one of {known}{where}')
    if len(found) > 1:
        if len(set(prefixes)) == 1:
            names = ' or '.join(dict.fromkeys(name for name, _ in found))
            raise ValueError(f'{source} may be a {family.name} of {names}: it has the keys of each')
        raise ValueError(
            f'{source} holds several networks: choose one of the prefixes {prefixes} with prefix='
        )
    name, prefix = found[0]
    own = [key.removeprefix(prefix) for key in keys if key.startswith(prefix)]
    return family.refine(name, own), prefix


def convert(
    family: Family,
    state_dict: Mapping[str, Tensor],
    num_stages: int | None = None,
    out_indices: Sequence[int] | None = None,
    prefix: str | None = None,
    source: str = 'checkpoint',
) -> Converted:
    """Rename the weights of an encoder and keep those of its first stages.

    Args:
        family: The family of encoders.
        state_dict: Weights of one of the formats, of the backbone alone or of a model around it.
        num_stages: Stages to keep; by default all that the file has.
        out_indices: Stages whose closing norm is kept; by default the last kept one.
        prefix: What the backbone's keys begin with, if the file holds several networks.
        source: Where the weights come from, for messages.

    Returns:
        Converted: The weights, the format and what was dropped, with reasons.

    Raises:
        ValueError: If the format or a key is unknown, or a key is missing.
    """
    name, prefix = detect_format(family, state_dict, prefix, source)
    dropped = {key: 'not part of the backbone' for key in state_dict if not key.startswith(prefix)}
    rules = [(compile_key(prefix + key), target) for key, target in family.tables[name].items()]
    matches = {key: _look_up(key, rules) for key in state_dict if key not in dropped}
    unknown = [key for key, (match, _) in matches.items() if match is None]
    if unknown:
        raise ValueError(f'{source} has keys that no {family.name} of {name} has: {_some(unknown)}')
    blocks = [match.groupdict() for match, _ in matches.values() if 'j' in match.groupdict()]
    stages = 1 + max((int(groups.get('i', 0)) for groups in blocks), default=-1)
    num_stages = stages if num_stages is None else num_stages
    if not 1 <= num_stages <= stages:
        raise ValueError(f'{source} has {stages} stages; {num_stages} cannot be kept')
    outputs = (num_stages - 1,) if out_indices is None else tuple(out_indices)

    converted: dict[str, Tensor] = {}
    parts: dict[str, list[Tensor | None]] = {}
    for key, (match, target) in matches.items():
        ours = _fill(target if isinstance(target, str) else target.name, match, stages)
        reason = str(target) if isinstance(target, Drop) else _not_kept(ours, num_stages, outputs)
        if reason:
            dropped[key] = reason
        elif isinstance(target, Part):
            parts.setdefault(ours, [None] * target.count)[target.index] = state_dict[key]
        elif isinstance(target, Shaped):
            converted[ours] = target.change(state_dict[key])
        else:
            converted[ours] = state_dict[key]
    complete = {key: tensors for key, tensors in parts.items() if all(part is not None for part in tensors)}
    converted.update((key, torch.cat(tensors)) for key, tensors in complete.items())
    depths = family.depths(converted)
    depths += [0] * (num_stages - len(depths))
    optional = [compile_key(key) for key in family.optional_keys]
    lacking = [key for key in family.all_keys(depths) if key not in converted and not _any(optional, key)]
    if lacking:
        raise ValueError(f'{source} ({name} keys) is incomplete: it lacks {_some(lacking)}')
    return Converted(converted, name, dropped)


def fit(
    family: Family,
    checkpoint: Mapping,
    expected: Mapping[str, Tensor],
    num_stages: int | None = None,
    out_indices: Sequence[int] | None = None,
    prefix: str | None = None,
    source: str = 'checkpoint',
    wrapper: str | None = None,
) -> tuple[dict[str, Tensor], Report]:
    """Convert a checkpoint and check that it fits a network.

    Args:
        family: The family of encoders.
        checkpoint: What was read from the file.
        expected: State dictionary of the network.
        num_stages: Stages of the network.
        out_indices: Stages that it returns.
        prefix: What the backbone's keys begin with, if the file holds several networks.
        source: Where the weights come from, for messages.
        wrapper: See :func:`unwrap`.

    Returns:
        The weights, a subset of ``expected``, and a report.

    Raises:
        ValueError: If keys are unknown or missing, or shapes differ.
    """
    found = convert(family, unwrap(checkpoint, source, wrapper), num_stages, out_indices, prefix, source)
    weights = family.adapt(found.state_dict, expected, source)
    optional = [compile_key(key) for key in family.optional_keys]
    missing = [key for key in expected if key not in weights]
    problems = [f'{key} is missing' for key in missing if not _any(optional, key)]
    problems += [f'{key} has no place in the network' for key in weights if key not in expected]
    problems += [
        f'{key} is {tuple(weights[key].shape)} in the file and {tuple(expected[key].shape)} in the network'
        for key in weights
        if key in expected and weights[key].shape != expected[key].shape
    ]
    if problems:
        raise ValueError(
            f'{source} ({found.format} keys) does not fit: {_some(problems, 3)}. The file holds a '
            f'{family.name} with {family.describe(weights)}, the network has {family.describe(expected)}: '
            f'{family.remedy}'
        )
    return weights, Report(source, found.format, sorted(weights), found.dropped, missing)


def load(
    family: Family, backbone: nn.Module, path: str, prefix: str | None = None, wrapper: str | None = None
) -> Report:
    """Load a checkpoint into a backbone and log what was left out.

    Args:
        family: The family of encoders.
        backbone: The network; what is kept of it is read from its ``truncation`` if it has one.
        path: File or URL, as MMEngine's loader takes them.
        prefix: What the backbone's keys begin with, if the file holds several networks.
        wrapper: See :func:`unwrap`.

    Raises:
        ValueError: If the checkpoint does not fit.
    """
    checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    kept, current = getattr(backbone, 'truncation', None), backbone.state_dict()
    stages = (kept.num_stages, kept.out_indices) if kept else (None, None)
    weights, report = fit(family, checkpoint, current, *stages, prefix, path, wrapper)
    backbone.load_state_dict({**current, **weights})
    parameters = dict(backbone.named_parameters())
    report = report._replace(missing=[key for key in report.missing if key in parameters])
    print_log(str(report), logger='current', level=logging.INFO)
    return report


def compile_key(key: str) -> re.Pattern:
    """Compile a key of a table."""
    pattern = re.escape(key)
    for placeholder, group in _PLACEHOLDERS.items():
        pattern = pattern.replace(re.escape(placeholder), group)
    return re.compile(pattern)


def _expand(key: str) -> list[str]:
    """Write out ``{p}``; of a batch normalisation ``{b}``, what every file has."""
    if '{p}' in key:
        return [key.replace('{p}', entry) for entry in ('weight', 'bias')]
    if '{b}' in key:
        return [key.replace('{b}', entry) for entry in _BATCH_NORM[:4]]
    return [key]


def _any(patterns: Iterable[re.Pattern], key: str) -> bool:
    return any(pattern.fullmatch(key) for pattern in patterns)


def _look_up(key: str, rules: list[tuple[re.Pattern, Target]]) -> tuple[re.Match | None, Target]:
    """Find the row of a table that a key belongs to."""
    for pattern, target in rules:
        if match := pattern.fullmatch(key):
            return match, target
    return None, ''


def _fill(target: str, match: re.Match, stages: int) -> str:
    """Put what was matched into the placeholders of a name."""
    values = {**match.groupdict(), 'last': str(stages - 1)}
    if 'i' in values:
        values['i-1'] = str(int(values['i']) - 1)
    for placeholder, value in values.items():
        target = target.replace('{' + placeholder + '}', value)
    return target


def _not_kept(key: str, num_stages: int, out_indices: tuple[int, ...]) -> str | None:
    """Why a truncated network does not have a key, or None if it has it."""
    if found := re.match(r'stages\.(\d+)\.(downsample)?', key):
        stage = int(found[1])
        if stage >= num_stages:
            return f'stage {stage + 1} is not kept'
        if found[2] and stage == num_stages - 1:
            return f'leads to stage {stage + 2}, which is not kept'
    elif (found := re.match(r'norm(\d+)\.', key)) and int(found[1]) not in out_indices:
        return f'closes stage {int(found[1]) + 1}, which is not returned'
    return None


def _some(items: list[str], limit: int = 6) -> str:
    """List the first few items."""
    rest = len(items) - limit
    return ', '.join(items[:limit]) + (f' and {rest} more' if rest > 0 else '')
