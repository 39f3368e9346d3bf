"""Swin weights of Microsoft, OpenMMLab, timm and Hugging Face -> the names of ``TruncatedSwin``.

Our names are OpenMMLab's. See :mod:`mmhier.convert.key_table` for the way in which the tables are read.

Shape rules:

* Patch merging. Microsoft, timm and Hugging Face order the 4C inputs by place in the 2 x 2, places
  (0,0), (1,0), (0,1), (1,1), then by channel. OpenMMLab orders by channel, then by place, places
  (0,0), (0,1), (1,0), (1,1).
* Hugging Face stores query, key and value apart; here they are the thirds of ``qkv``.
"""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mmhier.convert.key_table import Drop, Family, Part, Shaped, Target

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
_PLACES = (0, 2, 1, 3)  # of the 2 x 2 neighbourhood, row by row, in Microsoft's order


def _channel_major(value: Tensor) -> Tensor:
    """Reorder the 4C inputs of patch merging, the last dimension, from Microsoft's order to OpenMMLab's."""
    return value.unflatten(-1, (4, -1))[..., _PLACES, :].transpose(-1, -2).flatten(-2)


# Format -> key -> our name for it. `{last}` is the last stage in the file.
TABLES: dict[str, dict[str, Target]] = dict(
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
        'layers.{i}.downsample.norm.{p}': Shaped(_MERGE_NORM, _channel_major),
        'layers.{i}.downsample.reduction.weight': Shaped(_MERGE, _channel_major),
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
        'layers.{i}.downsample.norm.{p}': Shaped(_MERGE_NORM.replace('{i}', '{i-1}'), _channel_major),
        'layers.{i}.downsample.reduction.weight': Shaped(_MERGE.replace('{i}', '{i-1}'), _channel_major),
        'norm.{p}': 'norm{last}.{p}',
        'head.fc.{p}': Drop('classifier'),
    },
    huggingface={
        'embeddings.patch_embeddings.projection.{p}': 'patch_embed.projection.{p}',
        'embeddings.norm.{p}': 'patch_embed.norm.{p}',
        'encoder.layers.{i}.blocks.{j}.layernorm_before.{p}': _BLOCK + 'norm1.{p}',
        'encoder.layers.{i}.blocks.{j}.layernorm_after.{p}': _BLOCK + 'norm2.{p}',
        'encoder.layers.{i}.blocks.{j}.attention.self.query.{p}': Part(_QKV, 0),
        'encoder.layers.{i}.blocks.{j}.attention.self.key.{p}': Part(_QKV, 1),
        'encoder.layers.{i}.blocks.{j}.attention.self.value.{p}': Part(_QKV, 2),
        'encoder.layers.{i}.blocks.{j}.attention.output.dense.{p}': _PROJ,
        'encoder.layers.{i}.blocks.{j}.attention.self.relative_position_bias_table': _TABLE,
        'encoder.layers.{i}.blocks.{j}.attention.self.relative_position_index': _INDEX,
        'encoder.layers.{i}.blocks.{j}.intermediate.dense.{p}': _FC1,
        'encoder.layers.{i}.blocks.{j}.output.dense.{p}': _FC2,
        # names in memory since transformers 5; its files keep those above
        'encoder.layers.{i}.blocks.{j}.attention.q_proj.{p}': Part(_QKV, 0),
        'encoder.layers.{i}.blocks.{j}.attention.k_proj.{p}': Part(_QKV, 1),
        'encoder.layers.{i}.blocks.{j}.attention.v_proj.{p}': Part(_QKV, 2),
        'encoder.layers.{i}.blocks.{j}.attention.o_proj.{p}': _PROJ,
        'encoder.layers.{i}.blocks.{j}.attention.relative_position_bias.relative_position_bias_table': _TABLE,
        'encoder.layers.{i}.blocks.{j}.attention.relative_position_bias.relative_position_index': _INDEX,
        'encoder.layers.{i}.blocks.{j}.mlp.fc1.{p}': _FC1,
        'encoder.layers.{i}.blocks.{j}.mlp.fc2.{p}': _FC2,
        'encoder.layers.{i}.downsample.norm.{p}': Shaped(_MERGE_NORM, _channel_major),
        'encoder.layers.{i}.downsample.reduction.weight': Shaped(_MERGE, _channel_major),
        'layernorm.{p}': 'norm{last}.{p}',
    },
)

# The key by which a format is known. What stands before it is the prefix of the backbone in the file.
ANCHORS = {
    'patch_embed.proj.weight': 'microsoft',  # or timm, see _microsoft_or_timm
    'patch_embed.projection.weight': 'openmmlab',
    'embeddings.patch_embeddings.projection.weight': 'huggingface',
}


def _microsoft_or_timm(name: str, keys: Sequence[str]) -> str:
    """Tell apart the two by the place of the step between stages: behind stage 0, or before the last."""
    if name != 'microsoft':
        return name
    steps = {int(match[1]) for key in keys if (match := re.match(r'layers\.(\d+)\.downsample\.', key))}
    last = max((int(match[1]) for key in keys if (match := re.match(r'layers\.(\d+)\.', key))), default=0)
    if steps >= {0, last} and last:
        raise ValueError(
            f'this may be a Swin of microsoft, which has no step behind the last stage, or of timm, which '
            f'has none before the first: it has downsample in layers.0 and layers.{last}'
        )
    return 'timm' if steps and 0 not in steps else name


def _describe(state_dict: Mapping[str, Tensor]) -> str:
    """Describe an architecture by its weights."""
    width = state_dict['patch_embed.projection.weight'].shape[0]
    table = state_dict[_TABLE.replace('{i}', '0').replace('{j}', '0')]
    window = (round(table.shape[0] ** 0.5) + 1) // 2
    return f'width {width}, depths {SWIN.depths(state_dict)} and windows of {window}'


def _check_index(
    weights: dict[str, Tensor], expected: Mapping[str, Tensor], source: str
) -> dict[str, Tensor]:
    """Refuse a file that numbers the relative positions in another way."""
    for key, value in weights.items():
        if key.endswith('relative_position_index') and key in expected:
            same_shape = value.shape == expected[key].shape
            if same_shape and not torch.equal(value.cpu(), expected[key].cpu()):
                raise ValueError(f'{source} numbers the relative positions differently in {key}')
    return weights


SWIN = Family(
    name='Swin',
    tables=TABLES,
    anchors=ANCHORS,
    mark=r'relative_position_bias_table$',
    stem_keys=STEM_KEYS,
    block_keys=BLOCK_KEYS,
    step_keys=STEP_KEYS,
    optional_keys=MAY_BE_MISSING,
    describe=_describe,
    remedy='set arch, window_size and in_channels accordingly',
    refine=_microsoft_or_timm,
    adapt=_check_index,
)
