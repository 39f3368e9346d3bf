"""GroupMixFormer weights of its authors -> the names of ``TruncatedGMF``.

Released files are ``{'model': ...}``, snapshots of their training loop hold the weights under the same key.
Tensors are renamed only. The file of the large network may not fit its configuration (see ``ARCHS``): that
is an error which names both architectures.
"""

from collections.abc import Mapping

from torch import Tensor

from mmhier.convert.key_table import Drop, Family

_BLOCK = 'stages.{i}.blocks.{j}.'

# Every key of ours: of the stem, of a block, of the step between two stages.
STEM_KEYS = (
    'stem.0.conv.{p}',
    'stem.0.norm.{b}',
    'stem.1.conv.{p}',
    'stem.1.norm.{b}',
    'stem.2.proj.depthwise.weight',
    'stem.2.proj.pointwise.weight',
    'stem.2.norm.{b}',
)
BLOCK_KEYS = (
    _BLOCK + 'cpe.{p}',
    _BLOCK + 'norm1.{p}',
    _BLOCK + 'norm2.{p}',
    _BLOCK + 'attn.qkv.{p}',
    _BLOCK + 'attn.proj.{p}',
    _BLOCK + 'attn.groups.0.norm.{b}',
    _BLOCK + 'attn.groups.1.conv.depthwise.weight',
    _BLOCK + 'attn.groups.1.conv.pointwise.weight',
    _BLOCK + 'attn.groups.1.norm.{b}',
    _BLOCK + 'attn.groups.2.conv.depthwise.weight',
    _BLOCK + 'attn.groups.2.conv.pointwise.weight',
    _BLOCK + 'attn.groups.2.norm.{b}',
    _BLOCK + 'attn.groups.3.conv.depthwise.weight',
    _BLOCK + 'attn.groups.3.conv.pointwise.weight',
    _BLOCK + 'attn.groups.3.norm.{b}',
    _BLOCK + 'attn.local.conv.depthwise.weight',
    _BLOCK + 'attn.local.conv.pointwise.weight',
    _BLOCK + 'attn.local.norm.{p}',
    _BLOCK + 'attn.position.0.{p}',
    _BLOCK + 'attn.position.1.{p}',
    _BLOCK + 'attn.position.2.{p}',
    _BLOCK + 'mlp.0.{p}',
    _BLOCK + 'mlp.1.{p}',
)
STEP_KEYS = (
    'stages.{i}.downsample.proj.depthwise.weight',
    'stages.{i}.downsample.proj.pointwise.weight',
    'stages.{i}.downsample.norm.{b}',
)

_THEIRS = 'groupmixformer_backbone.{i}.gma_stage.{j}.'
_AGGREGATOR = _THEIRS + 'att.aggregator.'

# Format -> key -> our name for it.
TABLES = dict(
    mmhier={key: key for key in (*STEM_KEYS, *BLOCK_KEYS, *STEP_KEYS)},
    authors={
        'conv_stem.proj1.{p}': 'stem.0.conv.{p}',
        'conv_stem.norm1.{b}': 'stem.0.norm.{b}',
        'conv_stem.proj2.{p}': 'stem.1.conv.{p}',
        'conv_stem.norm2.{b}': 'stem.1.norm.{b}',
        # the first patch embedding keeps the size, the others step between two stages
        'patch_embed_layers.0.proj.conv1.weight': 'stem.2.proj.depthwise.weight',
        'patch_embed_layers.0.proj.pointwise_conv.weight': 'stem.2.proj.pointwise.weight',
        'patch_embed_layers.0.norm.{b}': 'stem.2.norm.{b}',
        'patch_embed_layers.{i}.proj.conv1.weight': 'stages.{i-1}.downsample.proj.depthwise.weight',
        'patch_embed_layers.{i}.proj.pointwise_conv.weight': 'stages.{i-1}.downsample.proj.pointwise.weight',
        'patch_embed_layers.{i}.norm.{b}': 'stages.{i-1}.downsample.norm.{b}',
        _THEIRS + 'cpe.proj.{p}': _BLOCK + 'cpe.{p}',
        _THEIRS + 'norm1.{p}': _BLOCK + 'norm1.{p}',
        _THEIRS + 'norm2.{p}': _BLOCK + 'norm2.{p}',
        _THEIRS + 'mlp.fc1.{p}': _BLOCK + 'mlp.0.{p}',
        _THEIRS + 'mlp.fc2.{p}': _BLOCK + 'mlp.1.{p}',
        _THEIRS + 'att.qkv.{p}': _BLOCK + 'attn.qkv.{p}',
        _THEIRS + 'att.proj.{p}': _BLOCK + 'attn.proj.{p}',
        _THEIRS + 'att.crpe.conv_list.0.{p}': _BLOCK + 'attn.position.0.{p}',
        _THEIRS + 'att.crpe.conv_list.1.{p}': _BLOCK + 'attn.position.1.{p}',
        _THEIRS + 'att.crpe.conv_list.2.{p}': _BLOCK + 'attn.position.2.{p}',
        _AGGREGATOR + 'norm0.{b}': _BLOCK + 'attn.groups.0.norm.{b}',
        _AGGREGATOR + 'agg1.conv1.weight': _BLOCK + 'attn.groups.1.conv.depthwise.weight',
        _AGGREGATOR + 'agg1.pointwise_conv.weight': _BLOCK + 'attn.groups.1.conv.pointwise.weight',
        _AGGREGATOR + 'norm1.{b}': _BLOCK + 'attn.groups.1.norm.{b}',
        _AGGREGATOR + 'agg2.conv1.weight': _BLOCK + 'attn.groups.2.conv.depthwise.weight',
        _AGGREGATOR + 'agg2.pointwise_conv.weight': _BLOCK + 'attn.groups.2.conv.pointwise.weight',
        _AGGREGATOR + 'norm2.{b}': _BLOCK + 'attn.groups.2.norm.{b}',
        _AGGREGATOR + 'agg3.conv1.weight': _BLOCK + 'attn.groups.3.conv.depthwise.weight',
        _AGGREGATOR + 'agg3.pointwise_conv.weight': _BLOCK + 'attn.groups.3.conv.pointwise.weight',
        _AGGREGATOR + 'norm3.{b}': _BLOCK + 'attn.groups.3.norm.{b}',
        # the local branch: their fifth group
        _AGGREGATOR + 'agg0.conv.conv1.weight': _BLOCK + 'attn.local.conv.depthwise.weight',
        _AGGREGATOR + 'agg0.conv.pointwise_conv.weight': _BLOCK + 'attn.local.conv.pointwise.weight',
        _AGGREGATOR + 'agg0.norm.{p}': _BLOCK + 'attn.local.norm.{p}',
        'norm4.{b}': Drop('classifier'),
        'head.{p}': Drop('classifier'),
    },
)


def _describe(state_dict: Mapping[str, Tensor]) -> str:
    """Describe an architecture by its weights."""
    depths = GMF.depths(state_dict)
    rows = [state_dict.get(f'stages.{stage}.blocks.0.mlp.0.weight') for stage in range(len(depths))]
    shapes = [(0, 1) if weight is None else tuple(weight.shape) for weight in rows]
    widths = [width for _, width in shapes]
    ratios = [hidden // width for hidden, width in shapes]
    return f'embed_dims {widths}, depths {depths} and mlp_ratios {ratios}'


GMF = Family(
    name='GroupMixFormer',
    tables=TABLES,
    anchors={'conv_stem.proj1.weight': 'authors', 'stem.2.proj.depthwise.weight': 'mmhier'},
    mark=r'(^|\.)(groupmixformer_backbone\.\d+\.gma_stage|stages\.\d+\.blocks\.\d+\.attn\.groups)\.',
    stem_keys=STEM_KEYS,
    block_keys=BLOCK_KEYS,
    step_keys=STEP_KEYS,
    optional_keys=tuple(
        key.replace('{b}', 'num_batches_tracked')
        for key in (*STEM_KEYS, *BLOCK_KEYS, *STEP_KEYS)
        if '{b}' in key
    ),
    describe=_describe,
    remedy='set arch (a dict with embed_dims, depths and mlp_ratios fits any) and in_channels accordingly',
)
