"""VMamba weights of the official code -> the names of ``TruncatedVMamba``.

See :mod:`mmhier.convert.key_table` for the way in which the tables are read. Files that were written by
earlier versions of the official code have other names for a few layers, which its current version renames on
loading; the table has both.

Shape rule: the official code takes the weights of linear layers and of 1 x 1 convolutions for each other;
here they are linear layers.
"""

from collections.abc import Mapping

from torch import Tensor

from mmhier.convert.key_table import Drop, Family, Shaped, Target

_BLOCK = 'stages.{i}.blocks.{j}.'
_OP = _BLOCK + 'op.'
_SCAN = ('x_proj_weight', 'dt_projs_weight', 'dt_projs_bias', 'A_logs', 'Ds')

STEM_KEYS = (
    'patch_embed.conv1.{p}',
    'patch_embed.norm1.{p}',
    'patch_embed.conv2.{p}',
    'patch_embed.norm2.{p}',
)
BLOCK_KEYS = (
    _BLOCK + 'norm.{p}',
    _OP + 'in_proj.weight',
    _OP + 'conv2d.weight',
    *(_OP + name for name in _SCAN),
    _OP + 'out_norm.{p}',
    _OP + 'out_proj.weight',
    _BLOCK + 'norm2.{p}',
    _BLOCK + 'mlp.fc1.{p}',
    _BLOCK + 'mlp.fc2.{p}',
)
STEP_KEYS = ('stages.{i}.downsample.conv.{p}', 'stages.{i}.downsample.norm.{p}')
MAY_BE_MISSING = ('norm{i}.{p}',)


def _as_linear(value: Tensor) -> Tensor:
    """Turn the weight of a 1 x 1 convolution, (O, I, 1, 1), into that of a linear layer; keep all else."""
    return value.flatten(1) if value.ndim == 4 else value


def _op(name: str) -> dict[str, Target]:
    """Keys of the selective scan of a block, which is called ``name``."""
    theirs = 'layers.{i}.blocks.{j}.' + name
    return {
        theirs + '.in_proj.weight': Shaped(_OP + 'in_proj.weight', _as_linear),
        theirs + '.conv2d.weight': _OP + 'conv2d.weight',
        **{f'{theirs}.{key}': _OP + key for key in _SCAN},
        theirs + '.out_norm.{p}': _OP + 'out_norm.{p}',
        theirs + '.out_proj.weight': Shaped(_OP + 'out_proj.weight', _as_linear),
    }


# Format -> key -> our name for it.
TABLES: dict[str, dict[str, Target]] = dict(
    mmhier={key: key for key in (*STEM_KEYS, *BLOCK_KEYS, *STEP_KEYS, *MAY_BE_MISSING)},
    vmamba={
        'patch_embed.0.{p}': 'patch_embed.conv1.{p}',
        'patch_embed.2.{p}': 'patch_embed.norm1.{p}',
        'patch_embed.proj.{p}': 'patch_embed.conv1.{p}',  # earlier
        'patch_embed.norm.{p}': 'patch_embed.norm1.{p}',  # earlier
        'patch_embed.5.{p}': 'patch_embed.conv2.{p}',
        'patch_embed.7.{p}': 'patch_embed.norm2.{p}',
        'layers.{i}.blocks.{j}.norm.{p}': _BLOCK + 'norm.{p}',
        'layers.{i}.blocks.{j}.ln_1.{p}': _BLOCK + 'norm.{p}',  # earlier
        **_op('op'),
        **_op('self_attention'),  # earlier
        'layers.{i}.blocks.{j}.norm2.{p}': _BLOCK + 'norm2.{p}',
        'layers.{i}.blocks.{j}.mlp.fc1.{p}': Shaped(_BLOCK + 'mlp.fc1.{p}', _as_linear),
        'layers.{i}.blocks.{j}.mlp.fc2.{p}': Shaped(_BLOCK + 'mlp.fc2.{p}', _as_linear),
        'layers.{i}.downsample.1.{p}': 'stages.{i}.downsample.conv.{p}',
        'layers.{i}.downsample.3.{p}': 'stages.{i}.downsample.norm.{p}',
        'outnorm{i}.{p}': 'norm{i}.{p}',  # detector
        'classifier.norm.{p}': Drop('classifier'),
        'classifier.head.{p}': Drop('classifier'),
        'norm.{p}': Drop('classifier'),  # earlier
        'head.{p}': Drop('classifier'),  # earlier
    },
)

# The key by which a format is known. What stands before it is the prefix of the backbone in the file.
ANCHORS = {
    'patch_embed.conv1.weight': 'mmhier',
    'patch_embed.0.weight': 'vmamba',
    'patch_embed.proj.weight': 'vmamba',
}


def _describe(state_dict: Mapping[str, Tensor]) -> str:
    """Describe an architecture by its weights."""
    inner, width = state_dict[(_OP + 'in_proj.weight').replace('{i}', '0').replace('{j}', '0')].shape
    return f'width {width}, inner width {inner} and depths {VMAMBA.depths(state_dict)}'


VMAMBA = Family(
    name='VMamba',
    tables=TABLES,
    anchors=ANCHORS,
    mark=r'\.(op|self_attention)\.x_proj_weight$',
    stem_keys=STEM_KEYS,
    block_keys=BLOCK_KEYS,
    step_keys=STEP_KEYS,
    optional_keys=MAY_BE_MISSING,
    describe=_describe,
    remedy='set arch, in_channels and out_norm accordingly',
)
