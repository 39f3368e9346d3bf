"""Swin weights of Microsoft, OpenMMLab, timm and Hugging Face -> the names of ``TruncatedSwin``.

Our names are OpenMMLab's. The table of a format lists every key it can have: the name here, or why the key
has none. A key that is in no table is an error. What a truncated network does not have is left out and
reported.

Shape rules:

* Patch merging. Microsoft, timm and Hugging Face order the 4C inputs by place in the 2 x 2, places
  (0,0), (1,0), (0,1), (1,1), then by channel. OpenMMLab orders by channel, then by place, places
  (0,0), (0,1), (1,0), (1,1).
* Hugging Face stores query, key and value apart; here they are the thirds of ``qkv``.

Placeholders of the tables: ``{i}`` stage, ``{j}`` block, ``{p}`` weight or bias.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

_BLOCK = 'stages.{i}.blocks.{j}.'
_QKV = _BLOCK + 'attn.w_msa.qkv.{p}'
_PROJ = _BLOCK + 'attn.w_msa.proj.{p}'
_TABLE = _BLOCK + 'attn.w_msa.relative_position_bias_table'
_INDEX = _BLOCK + 'attn.w_msa.relative_position_index'
_FC1 = _BLOCK + 'ffn.layers.0.0.{p}'
_FC2 = _BLOCK + 'ffn.layers.1.{p}'
_MERGE_NORM = 'stages.{i}.downsample.norm.{p}'
_MERGE = 'stages.{i}.downsample.reduction.weight'

# Every key of ours: of the stem, of a block, of the step between two stages, and what may be absent. A
# classifier has one closing norm, behind its last stage; the index is computed.
STEM_KEYS = ('patch_embed.projection.{p}', 'patch_embed.norm.{p}')
BLOCK_KEYS = (_BLOCK + 'norm1.{p}', _BLOCK + 'norm2.{p}', _QKV, _PROJ, _TABLE, _FC1, _FC2)
STEP_KEYS = (_MERGE_NORM, _MERGE)
MAY_BE_MISSING = ('norm{i}.{p}', _INDEX)


class Drop(str):
    """Why a key has no place here."""


class Merge(str):
    """Our name for a weight whose 4C inputs are in Microsoft's order."""


class Third(NamedTuple):
    """Our name for q, k and v, and which of them this is."""

    name: str
    index: int


# Format -> key -> our name for it. `{last}` is the last stage in the file.
TABLES: dict[str, dict[str, str | Third]] = dict(
    openmmlab={key: key for key in (*STEM_KEYS, *BLOCK_KEYS, *STEP_KEYS, *MAY_BE_MISSING)},
    microsoft={
        'patch_embed.proj.{p}': 'patch_embed.projection.{p}',
        'patch_embed.norm.{p}': 'patch_embed.norm.{p}',
        'layers.{i}.blocks.{j}.norm1.{p}': _BLOCK + 'norm1.{p}',
        'layers.{i}.blocks.{j}.norm2.{p}': _BLOCK + 'norm2.{p}',
        'layers.{i}.blocks.{j}.attn.qkv.{p}': _QKV,
        'layers.{i}.blocks.{j}.attn.proj.{p}': _PROJ,
        'layers.{i}.blocks.{j}.attn.relative_position_bias_table': _TABLE,
        'layers.{i}.blocks.{j}.attn.relative_position_index': _INDEX,
        'layers.{i}.blocks.{j}.attn_mask': Drop('recomputed'),
        'layers.{i}.blocks.{j}.mlp.fc1.{p}': _FC1,
        'layers.{i}.blocks.{j}.mlp.fc2.{p}': _FC2,
        'layers.{i}.downsample.norm.{p}': Merge(_MERGE_NORM),
        'layers.{i}.downsample.reduction.weight': Merge(_MERGE),
        'norm.{p}': 'norm{last}.{p}',  # classifier
        'norm{i}.{p}': 'norm{i}.{p}',  # detector
        'head.{p}': Drop('classifier'),
    },
    timm={
        'patch_embed.proj.{p}': 'patch_embed.projection.{p}',
        'patch_embed.norm.{p}': 'patch_embed.norm.{p}',
        'layers.{i}.blocks.{j}.norm1.{p}': _BLOCK + 'norm1.{p}',
        'layers.{i}.blocks.{j}.norm2.{p}': _BLOCK + 'norm2.{p}',
        'layers.{i}.blocks.{j}.attn.qkv.{p}': _QKV,
        'layers.{i}.blocks.{j}.attn.proj.{p}': _PROJ,
        'layers.{i}.blocks.{j}.attn.relative_position_bias_table': _TABLE,
        'layers.{i}.blocks.{j}.mlp.fc1.{p}': _FC1,
        'layers.{i}.blocks.{j}.mlp.fc2.{p}': _FC2,
        # timm keeps the step between two stages in the later one
        'layers.{i}.downsample.norm.{p}': Merge(_MERGE_NORM.replace('{i}', '{i-1}')),
        'layers.{i}.downsample.reduction.weight': Merge(_MERGE.replace('{i}', '{i-1}')),
        'norm.{p}': 'norm{last}.{p}',
        'head.fc.{p}': Drop('classifier'),
    },
    huggingface={
        'embeddings.patch_embeddings.projection.{p}': 'patch_embed.projection.{p}',
        'embeddings.norm.{p}': 'patch_embed.norm.{p}',
        'encoder.layers.{i}.blocks.{j}.layernorm_before.{p}': _BLOCK + 'norm1.{p}',
        'encoder.layers.{i}.blocks.{j}.layernorm_after.{p}': _BLOCK + 'norm2.{p}',
        'encoder.layers.{i}.blocks.{j}.attention.self.query.{p}': Third(_QKV, 0),
        'encoder.layers.{i}.blocks.{j}.attention.self.key.{p}': Third(_QKV, 1),
        'encoder.layers.{i}.blocks.{j}.attention.self.value.{p}': Third(_QKV, 2),
        'encoder.layers.{i}.blocks.{j}.attention.output.dense.{p}': _PROJ,
        'encoder.layers.{i}.blocks.{j}.attention.self.relative_position_bias_table': _TABLE,
        'encoder.layers.{i}.blocks.{j}.attention.self.relative_position_index': _INDEX,
        'encoder.layers.{i}.blocks.{j}.intermediate.dense.{p}': _FC1,
        'encoder.layers.{i}.blocks.{j}.output.dense.{p}': _FC2,
        # names in memory since transformers 5; its files keep those above
        'encoder.layers.{i}.blocks.{j}.attention.q_proj.{p}': Third(_QKV, 0),
        'encoder.layers.{i}.blocks.{j}.attention.k_proj.{p}': Third(_QKV, 1),
        'encoder.layers.{i}.blocks.{j}.attention.v_proj.{p}': Third(_QKV, 2),
        'encoder.layers.{i}.blocks.{j}.attention.o_proj.{p}': _PROJ,
        'encoder.layers.{i}.blocks.{j}.attention.relative_position_bias.relative_position_bias_table': _TABLE,
        'encoder.layers.{i}.blocks.{j}.attention.relative_position_bias.relative_position_index': _INDEX,
        'encoder.layers.{i}.blocks.{j}.mlp.fc1.{p}': _FC1,
        'encoder.layers.{i}.blocks.{j}.mlp.fc2.{p}': _FC2,
        'encoder.layers.{i}.downsample.norm.{p}': Merge(_MERGE_NORM),
        'encoder.layers.{i}.downsample.reduction.weight': Merge(_MERGE),
        'layernorm.{p}': 'norm{last}.{p}',
    },
)

# The key by which a format is known. What stands before it is the prefix of the backbone in the file.
ANCHORS = {
    'patch_embed.proj.weight': 'microsoft',  # or timm, see detect_swin_format
    'patch_embed.projection.weight': 'openmmlab',
    'embeddings.patch_embeddings.projection.weight': 'huggingface',
}
# Where a training loop puts the weights in its checkpoint.
WRAPPERS = ('state_dict', 'model')

_PLACES = (0, 2, 1, 3)  # of the 2 x 2 neighbourhood, row by row, in Microsoft's order
_PLACEHOLDERS = {'{i}': r'(?P<i>\d+)', '{j}': r'(?P<j>\d+)', '{p}': r'(?P<p>weight|bias)'}


class Converted(NamedTuple):
    """Weights under our names, and what was left out."""

    state_dict: dict[str, Tensor]
    format: str
    dropped: dict[str, str]  # key in the file -> reason


class Report(NamedTuple):
    """What happened to the keys of a checkpoint."""

    source: str
    format: str
    loaded: list[str]
    dropped: dict[str, str]  # key in the file -> reason
    missing: list[str]  # our key, left at its initial value

    def __str__(self) -> str:
        text = f'{self.source}: loaded {len(self.loaded)} tensors ({self.format} keys)'
        if self.dropped:
            reasons = Counter(self.dropped.values())
            text += '; left out ' + ', '.join(f'{count} ({reason})' for reason, count in reasons.items())
        missing = [key for key in self.missing if not _pattern(_INDEX).fullmatch(key)]
        if missing:
            text += '; not in the file and at their initial value: ' + ', '.join(missing)
        return text


def unwrap(checkpoint: Mapping, source: str = 'checkpoint') -> dict[str, Tensor]:
    """Return the mapping of names to tensors that is in a checkpoint.

    Raises:
        ValueError: If there is none.
    """
    for wrapper in WRAPPERS:
        if isinstance(checkpoint, Mapping) and isinstance(checkpoint.get(wrapper), Mapping):
            checkpoint = checkpoint[wrapper]
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


def detect_swin_format(
    keys: Iterable[str], prefix: str | None = None, source: str = 'checkpoint'
) -> tuple[str, str]:
    """Find out which project wrote a checkpoint.

    Args:
        keys: Keys of the state dictionary.
        prefix: What the backbone's keys begin with, if the file holds several networks.
        source: Where the keys come from, for messages.

    Returns:
        A key of :data:`TABLES`, and the prefix of the backbone's keys.

    Raises:
        ValueError: If no format fits, or several networks do.
    """
    keys = list(keys)
    found = [
        (name, key.removesuffix(anchor))
        for key in keys
        for anchor, name in ANCHORS.items()
        if key == anchor or key.endswith('.' + anchor)
    ]
    prefixes = [before for _, before in found]
    if prefix is not None:
        found = [(name, before) for name, before in found if before == prefix]
    if not found:
        where = f' under {prefix!r}, only under {prefixes}' if prefixes else f'; it begins with {keys[:3]}'
        raise ValueError(
            f'{source} holds no Swin with keys of Microsoft, OpenMMLab, timm or Hugging Face{where}'
        )
    if len(found) > 1:
        raise ValueError(
            f'{source} holds several networks: choose one of the prefixes {prefixes} with prefix='
        )
    name, prefix = found[0]
    if name == 'microsoft':
        steps = re.compile(re.escape(prefix) + r'layers\.(\d+)\.downsample\.')
        stages = {int(match[1]) for key in keys if (match := steps.match(key))}
        if stages and 0 not in stages:
            name = 'timm'
    return name, prefix


def convert_swin(
    state_dict: Mapping[str, Tensor],
    num_stages: int | None = None,
    out_indices: Sequence[int] | None = None,
    prefix: str | None = None,
    source: str = 'checkpoint',
) -> Converted:
    """Rename the weights of a Swin and keep those of its first stages.

    Args:
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
    name, prefix = detect_swin_format(state_dict, prefix, source)
    dropped = {key: 'not part of the backbone' for key in state_dict if not key.startswith(prefix)}
    rules = [(_pattern(prefix + key), target) for key, target in TABLES[name].items()]
    matches = {key: _look_up(key, rules) for key in state_dict if key not in dropped}
    unknown = [key for key, (match, _) in matches.items() if match is None]
    if unknown:
        raise ValueError(f'{source} has keys that no Swin of {name} has: {_some(unknown)}')
    stages = 1 + max(
        (int(match['i']) for match, _ in matches.values() if 'j' in match.groupdict()), default=-1
    )
    num_stages = stages if num_stages is None else num_stages
    if not 1 <= num_stages <= stages:
        raise ValueError(f'{source} has {stages} stages; {num_stages} cannot be kept')
    outputs = (num_stages - 1,) if out_indices is None else tuple(out_indices)

    converted: dict[str, Tensor] = {}
    thirds: dict[str, list[Tensor | None]] = {}
    for key, (match, target) in matches.items():
        ours = _fill(target.name if isinstance(target, Third) else target, match, stages)
        reason = str(target) if isinstance(target, Drop) else _not_kept(ours, num_stages, outputs)
        if reason:
            dropped[key] = reason
        elif isinstance(target, Third):
            thirds.setdefault(ours, [None] * 3)[target.index] = state_dict[key]
        else:
            value = state_dict[key]
            converted[ours] = _to_channel_major(value) if isinstance(target, Merge) else value
    complete = {key: parts for key, parts in thirds.items() if all(part is not None for part in parts)}
    converted.update((key, torch.cat(parts)) for key, parts in complete.items())
    lacking = [key for key in _all_keys(converted, num_stages) if key not in converted]
    if lacking:
        raise ValueError(f'{source} ({name} keys) is incomplete: it lacks {_some(lacking)}')
    return Converted(converted, name, dropped)


def fit_swin(
    checkpoint: Mapping,
    expected: Mapping[str, Tensor],
    num_stages: int,
    out_indices: Sequence[int],
    prefix: str | None = None,
    source: str = 'checkpoint',
) -> tuple[dict[str, Tensor], Report]:
    """Convert a checkpoint and check that it fits a network.

    Args:
        checkpoint: What was read from the file.
        expected: State dictionary of the network.
        num_stages: Stages of the network.
        out_indices: Stages that it returns.
        prefix: What the backbone's keys begin with, if the file holds several networks.
        source: Where the weights come from, for messages.

    Returns:
        The weights, a subset of ``expected``, and a report.

    Raises:
        ValueError: If keys are unknown or missing, or shapes differ.
    """
    weights, name, dropped = convert_swin(unwrap(checkpoint, source), num_stages, out_indices, prefix, source)
    optional = [_pattern(key) for key in MAY_BE_MISSING]
    missing = [key for key in expected if key not in weights]
    problems = [
        f'{key} is missing' for key in missing if not any(pattern.fullmatch(key) for pattern in optional)
    ]
    problems += [f'{key} has no place in the network' for key in weights if key not in expected]
    problems += [
        f'{key} is {tuple(weights[key].shape)} in the file and {tuple(expected[key].shape)} in the network'
        for key in weights
        if key in expected and weights[key].shape != expected[key].shape
    ]
    if problems:
        raise ValueError(
            f'{source} ({name} keys) does not fit: {_some(problems, 3)}. The file holds a Swin with '
            f'{_describe(weights)}, the network has {_describe(expected)}: set arch, window_size and '
            'in_channels accordingly'
        )
    for key in weights:
        if _pattern(_INDEX).fullmatch(key) and not torch.equal(weights[key].cpu(), expected[key].cpu()):
            raise ValueError(f'{source} numbers the relative positions differently in {key}')
    return weights, Report(source, name, sorted(weights), dropped, missing)


def load_swin(backbone: nn.Module, path: str, prefix: str | None = None) -> Report:
    """Load a checkpoint into a ``TruncatedSwin`` and log what was left out.

    Args:
        backbone: The network.
        path: File or URL, as MMEngine's loader takes them.
        prefix: What the backbone's keys begin with, if the file holds several networks.

    Raises:
        ValueError: If the checkpoint does not fit.
    """
    checkpoint = CheckpointLoader.load_checkpoint(path, map_location='cpu')
    kept, current = backbone.truncation, backbone.state_dict()
    weights, report = fit_swin(checkpoint, current, kept.num_stages, kept.out_indices, prefix, path)
    backbone.load_state_dict({**current, **weights})
    print_log(str(report), logger='current', level=logging.INFO)
    return report


def _pattern(key: str) -> re.Pattern:
    """Compile a key of a table."""
    pattern = re.escape(key)
    for placeholder, group in _PLACEHOLDERS.items():
        pattern = pattern.replace(re.escape(placeholder), group)
    return re.compile(pattern)


def _look_up(key: str, rules: list[tuple[re.Pattern, str | Third]]) -> tuple[re.Match | None, str | Third]:
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


def _to_channel_major(value: Tensor) -> Tensor:
    """Reorder the 4C inputs of patch merging, the last dimension, from Microsoft's order to OpenMMLab's."""
    return value.unflatten(-1, (4, -1))[..., _PLACES, :].transpose(-1, -2).flatten(-2)


def _depths(keys: Iterable[str]) -> list[int]:
    """Blocks per stage."""
    depths: dict[int, int] = {}
    for key in keys:
        if found := re.match(r'stages\.(\d+)\.blocks\.(\d+)\.', key):
            stage, block = int(found[1]), int(found[2])
            depths[stage] = max(depths.get(stage, 0), block + 1)
    return [depths.get(stage, 0) for stage in range(max(depths, default=-1) + 1)]


def _all_keys(keys: Iterable[str], num_stages: int) -> list[str]:
    """Keys that a network with the blocks found among ``keys`` must have."""
    templates = list(STEM_KEYS)
    for stage, depth in enumerate(_depths(keys)):
        steps = STEP_KEYS if stage + 1 < num_stages else ()
        templates += [key.replace('{i}', str(stage)) for key in steps]
        for block in range(max(depth, 1)):
            templates += [key.replace('{i}', str(stage)).replace('{j}', str(block)) for key in BLOCK_KEYS]
    return [
        key.replace('{p}', p) for key in templates for p in (('weight', 'bias') if '{p}' in key else ('',))
    ]


def _describe(state_dict: Mapping[str, Tensor]) -> str:
    """Describe an architecture by its weights."""
    width = state_dict['patch_embed.projection.weight'].shape[0]
    table = state_dict[_TABLE.replace('{i}', '0').replace('{j}', '0')]
    window = (round(table.shape[0] ** 0.5) + 1) // 2
    return f'width {width}, depths {_depths(state_dict)} and windows of {window}'


def _some(items: list[str], limit: int = 6) -> str:
    """List the first few items."""
    rest = len(items) - limit
    return ', '.join(items[:limit]) + (f' and {rest} more' if rest > 0 else '')
