"""Plain ViT weights of MAE, ViTPose, MMPose, HMR2.0, SMPLer-X and Hugging Face -> the names of ``ViT``.

Our names are those of MMPose 1.x, which are mmpretrain's. HMR2.0 and SMPLer-X have ViTPose's names.

Shape rules:

* Positions. ``ViT`` has one row per patch and no class token. ViTPose 0.x and Hugging Face store one row
  more, in front, and add it to every patch: it is added here once and for all. MAE's first row belongs to its
  class token (and is zero): it is left out. So is a row too many in MMPose's files, as mmpretrain does.
  Some of ViTPose's files still hold the class token of their MAE; the closing norm tells them from it.
* A table for another map size is interpolated when it is loaded (bicubic, as ViTPose does with MAE's
  14 x 14).
* Hugging Face stores query, key and value apart; here they are the thirds of ``qkv``.
* ViTPose+ computes the last outputs of each MLP by one of six experts, one per data set. :func:`pick_dataset`
  joins one of them to the rest, which gives an ordinary ViT; ``dataset='all'`` keeps them, for a ``ViT`` with
  ``experts``, and every decoder of the file. Weights without experts give each expert the same last rows.

MAE's closing norm is left out, as ViTPose's loader does in effect (it has another name there): ``ln1`` starts
at 1 and 0.
"""

import logging
import re
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.runner.checkpoint import CheckpointLoader
from torch import Tensor, nn

from mmhier.convert.key_table import (
    Converted,
    Drop,
    Family,
    Part,
    Report,
    Shaped,
    Target,
    convert,
    detect_format,
    fit,
    unwrap,
)

_BLOCK = 'layers.{j}.'
_QKV = _BLOCK + 'attn.qkv.{p}'
_PROJ = _BLOCK + 'attn.proj.{p}'
_FC1 = _BLOCK + 'ffn.layers.0.0.{p}'
_FC2 = _BLOCK + 'ffn.layers.1.{p}'

STEM_KEYS = ('pos_embed', 'patch_embed.projection.{p}')
BLOCK_KEYS = (_BLOCK + 'ln1.{p}', _QKV, _PROJ, _BLOCK + 'ln2.{p}', _FC1, _FC2)

# Of students of a knowledge token: the teacher's token, and what brings it to the student's width.
TOKEN_KEYS = ('knowledge_token', 'token_projection.{p}')

# ViTPose+: data set -> number of its expert, and its joints.
DATASETS = dict(coco=(0, 17), aic=(1, 14), mpii=(2, 16), ap10k=(3, 17), apt36k=(4, 17), wholebody=(5, 133))
ALL = 'all'  # of them
EXPERTS = '.ffn.experts.'
EXPERT_KEY = 'layers.{j}' + EXPERTS + '{d}.{p}'


def _expert_rows(theirs: str) -> dict[str, str]:
    return {
        theirs.replace('{e}', str(number)): EXPERT_KEY.replace('{d}', name)
        for name, (number, _) in DATASETS.items()
    }


def grid_hw(rows: int) -> tuple[int, int] | None:
    """Height and width of a map of this many patches: a square or 4 : 3, as 256 x 192 is; else None."""
    if (side := round(rows**0.5)) ** 2 == rows:
        return side, side
    if 12 * (third := round((rows / 12) ** 0.5)) ** 2 == rows:
        return 4 * third, 3 * third
    return None


def resize_positions(table: Tensor, map_hw: tuple[int, int], new_hw: tuple[int, int]) -> Tensor:
    """Interpolate positions (1, H * W, C) to another map size, bicubic, in float32."""
    grid = table.float().transpose(1, 2).unflatten(2, map_hw)
    grid = F.interpolate(grid, size=new_hw, mode='bicubic', align_corners=False)
    return grid.flatten(2).transpose(1, 2).to(table.dtype)


def _fold_first_row(table: Tensor) -> Tensor:
    """Add the first row to all others."""
    if grid_hw(table.shape[1]) and not grid_hw(table.shape[1] - 1):
        raise ValueError(
            f'the positions have {table.shape[1]} rows, one per patch; files with these names have one more'
        )
    return table[:, 1:] + table[:, :1]


def _without_first_row(table: Tensor) -> Tensor:
    return table[:, 1:]


def _without_odd_row(table: Tensor) -> Tensor:
    """Leave out the first row if the others make a map and all do not."""
    rows = table.shape[1]
    return table[:, 1:] if grid_hw(rows) is None and grid_hw(rows - 1) else table


_TIMM_BLOCK: dict[str, Target] = {
    'patch_embed.proj.{p}': 'patch_embed.projection.{p}',
    'blocks.{j}.norm1.{p}': _BLOCK + 'ln1.{p}',
    'blocks.{j}.attn.qkv.{p}': _QKV,
    'blocks.{j}.attn.proj.{p}': _PROJ,
    'blocks.{j}.norm2.{p}': _BLOCK + 'ln2.{p}',
    'blocks.{j}.mlp.fc1.{p}': _FC1,
    'blocks.{j}.mlp.fc2.{p}': _FC2,
}
_MAE_DECODER = (
    'mask_token decoder_pos_embed decoder_embed.{p} decoder_norm.{p} decoder_pred.{p} '
    'decoder_blocks.{j}.norm1.{p} decoder_blocks.{j}.attn.qkv.{p} decoder_blocks.{j}.attn.proj.{p} '
    'decoder_blocks.{j}.norm2.{p} decoder_blocks.{j}.mlp.fc1.{p} decoder_blocks.{j}.mlp.fc2.{p}'
)

# Format -> key -> our name for it.
TABLES: dict[str, dict[str, Target]] = dict(
    openmmlab={
        **{key: key for key in (*STEM_KEYS, *BLOCK_KEYS, 'ln1.{p}', *TOKEN_KEYS, EXPERT_KEY)},
        'pos_embed': Shaped('pos_embed', _without_odd_row),
        'cls_token': Drop('class token'),
    },
    vitpose={
        **_TIMM_BLOCK,
        'pos_embed': Shaped('pos_embed', _fold_first_row),
        'last_norm.{p}': 'ln1.{p}',
        'cls_token': Drop('class token of the pre-training, which ViTPose does not use'),
        'task_tokens': Drop('tokens of SMPLer-X, which its encoder attends to and this one has not'),
    },
    mae={
        **_TIMM_BLOCK,
        'pos_embed': Shaped('pos_embed', _without_first_row),
        'cls_token': Drop('class token'),
        'norm.{p}': Drop('closing norm of the pre-training, which ViTPose does not take over'),
        'fc_norm.{p}': Drop('classifier'),
        'head.{p}': Drop('classifier'),
        **{key: Drop('decoder of the pre-training') for key in _MAE_DECODER.split()},
    },
    huggingface={
        'embeddings.position_embeddings': Shaped('pos_embed', _fold_first_row),
        'embeddings.patch_embeddings.projection.{p}': 'patch_embed.projection.{p}',
        'encoder.layer.{j}.layernorm_before.{p}': _BLOCK + 'ln1.{p}',
        'encoder.layer.{j}.attention.attention.query.{p}': Part(_QKV, 0),
        'encoder.layer.{j}.attention.attention.key.{p}': Part(_QKV, 1),
        'encoder.layer.{j}.attention.attention.value.{p}': Part(_QKV, 2),
        'encoder.layer.{j}.attention.output.dense.{p}': _PROJ,
        'encoder.layer.{j}.layernorm_after.{p}': _BLOCK + 'ln2.{p}',
        'encoder.layer.{j}.mlp.fc1.{p}': _FC1,
        'encoder.layer.{j}.mlp.fc2.{p}': _FC2,
        'layernorm.{p}': 'ln1.{p}',
    },
)
TABLES |= dict(
    vitpose_plus=TABLES['vitpose'] | _expert_rows('blocks.{j}.mlp.experts.{e}.{p}'),
    huggingface_plus=TABLES['huggingface'] | _expert_rows('encoder.layer.{j}.mlp.experts.{e}.{p}'),
)

# The key by which a format is known. What stands before it is the prefix of the backbone in the file.
ANCHORS = {
    'patch_embed.proj.weight': 'vitpose',  # or mae, see _refine
    'patch_embed.projection.weight': 'openmmlab',
    'embeddings.patch_embeddings.projection.weight': 'huggingface',
}

# Beginning of a key of a pose model's decoder -> ours, which is MMPose 1.x's.
HEADS = dict(
    openmmlab={'head.deconv_layers.': 'head.deconv_layers.', 'head.final_layer.': 'head.final_layer.'},
    vitpose={
        'keypoint_head.deconv_layers.': 'head.deconv_layers.',
        'keypoint_head.final_layer.': 'head.final_layer.',
    },
    huggingface={
        'head.deconv1.': 'head.deconv_layers.0.',
        'head.batchnorm1.': 'head.deconv_layers.1.',
        'head.deconv2.': 'head.deconv_layers.3.',
        'head.batchnorm2.': 'head.deconv_layers.4.',
        'head.conv.': 'head.final_layer.',
    },
)
# Of ViTPose+'s own files: one decoder per data set.
HEADS['vitpose_plus'] = {
    f'{"associate_keypoint_heads." + str(number - 1) if number else "keypoint_head"}.{part}': (
        f'head.heads.{name}.{part}'
    )
    for name, (number, _) in DATASETS.items()
    for part in ('deconv_layers.', 'final_layer.')
}
# Of transformers' files: that of COCO.
HEADS['huggingface_plus'] = {
    key: ours.replace('head.', 'head.heads.coco.', 1) for key, ours in HEADS['huggingface'].items()
}


def _refine(name: str, keys: Sequence[str]) -> str:
    """Tell MAE from ViTPose where both names fit, and both ViTPose and Hugging Face's from ViTPose+."""
    if any('.mlp.experts.' in key for key in keys):
        return f'{name}_plus'
    if name != 'vitpose':
        return name
    pose = 'last_norm.weight' in keys
    pre_training = any(key.startswith(('norm.', 'fc_norm.', 'mask_token')) for key in keys)
    if pose == pre_training:
        raise ValueError(
            f'this may be ViTPose, which closes with last_norm, or MAE, which closes with norm, and it has '
            f'{"both" if pose else "neither"}: their positions mean different things. Give it the one and '
            'not the other'
        )
    return 'vitpose' if pose else 'mae'


def _describe(state_dict: Mapping[str, Tensor]) -> str:
    """Describe an architecture by its weights."""
    width, (depth,) = state_dict['patch_embed.projection.weight'].shape[0], VIT.depths(state_dict)
    return f'width {width}, {depth} blocks and {state_dict["pos_embed"].shape[1]} positions'


VIT = Family(
    name='ViT',
    tables=TABLES,
    anchors=ANCHORS,
    mark=r'(^|\.)(pos_embed|embeddings\.position_embeddings)$',
    stem_keys=STEM_KEYS,
    block_keys=BLOCK_KEYS,
    optional_keys=('ln1.{p}', *TOKEN_KEYS, EXPERT_KEY),
    block=r'layers\.(?P<j>\d+)\.',
    describe=_describe,
    remedy='set arch, img_size and in_channels accordingly',
    refine=_refine,
)


def pick_dataset(state_dict: Mapping[str, Tensor], dataset: str = 'coco') -> dict[str, Tensor]:
    """Make an ordinary ViTPose of a ViTPose+: one expert per MLP, one decoder.

    Args:
        state_dict: Weights with ViTPose's or Hugging Face's names. Files that ViTPose's own tool has split
            still hold all experts; they are recognised by their full last layers.
        dataset: One of :data:`DATASETS`.

    Returns:
        The weights without experts and associate heads; the final layer has the joints of the data set.

    Raises:
        ValueError: If the data set is unknown, the file is no ViTPose+, was split for another data set, or
            has a decoder but none for this data set.
    """
    if dataset not in DATASETS:
        raise ValueError(f'dataset must be one of {sorted(DATASETS)}, got {dataset!r}')
    expert, joints = DATASETS[dataset]
    if not any('.mlp.experts.' in key for key in state_dict):
        raise ValueError(f'this is no ViTPose+, it has no experts: leave out dataset={dataset!r}')
    _check_split(state_dict, dataset)
    _check_head(state_dict, dataset)
    plain = {}
    for key, value in state_dict.items():
        if '.mlp.experts.' in key or key.startswith('associate_keypoint_heads.'):
            continue
        if '.mlp.fc2.' in key and not _is_whole(state_dict, key):
            value = torch.cat([value, state_dict[key.replace('.mlp.fc2.', f'.mlp.experts.{expert}.')]])
        plain[key] = value
    of_dataset = f'associate_keypoint_heads.{expert - 1}.'
    if any(key.startswith(of_dataset) for key in state_dict):
        plain = {key: value for key, value in plain.items() if not key.startswith('keypoint_head.')}
        plain |= {
            'keypoint_head.' + key.removeprefix(of_dataset): value
            for key, value in state_dict.items()
            if key.startswith(of_dataset)
        }
    for key in ('keypoint_head.final_layer.weight', 'keypoint_head.final_layer.bias'):
        if key in plain:
            plain[key] = plain[key][:joints]
    return plain


def join_expert(state_dict: Mapping[str, Tensor], dataset: str, source: str = 'checkpoint') -> dict:
    """Join the expert of a data set to the rest, in weights with our names, and leave out the others.

    Raises:
        ValueError: If there is none.
    """
    available = sorted({key.split(EXPERTS)[1].split('.')[0] for key in state_dict if EXPERTS in key})
    if dataset not in available:
        raise ValueError(f'{source} has no expert for {dataset!r}, only for {", ".join(available)}')
    joined = {}
    for key, value in state_dict.items():
        if EXPERTS not in key:
            own = key.replace('.ffn.layers.1.', f'{EXPERTS}{dataset}.')
            joined[key] = torch.cat([value, state_dict[own]]) if '.ffn.layers.1.' in key else value
    return joined


def choose_dataset(state_dict: Mapping[str, Tensor], dataset: str | None) -> dict[str, Tensor]:
    """Pick a data set of a ViTPose+, or leave all of it as it is with ``dataset='all'``.

    Weights with our names and experts, of :mod:`mmhier.convert.data_sets`, are taken as well.

    Raises:
        ValueError: If it is ViTPose+ and none is named; if ``'all'`` is asked of another file, or of one that
            was split for a data set; else as :func:`pick_dataset`.
    """
    if any(EXPERTS in key for key in state_dict):
        return dict(state_dict) if dataset in (None, ALL) else join_expert(state_dict, dataset)
    is_plus = any('.mlp.experts.' in key for key in state_dict)
    if dataset is None and is_plus:
        raise ValueError(
            f'this is ViTPose+, which has one expert per data set: choose one of {sorted(DATASETS)} with '
            "dataset=, in init_cfg or for mmhier.convert.vit.pick_dataset, or 'all' for a ViT with experts"
        )
    if dataset not in (None, ALL):
        return pick_dataset(state_dict, dataset)
    if dataset == ALL and not is_plus:
        raise ValueError("this is no ViTPose+, it has no experts: leave out dataset='all'")
    if is_plus and _is_split(state_dict):
        raise ValueError(
            'this ViTPose+ file was split for one data set, whose expert is part of its last layers: choose '
            'that with dataset=, or take the file that was split'
        )
    return dict(state_dict)


def without_heads(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The encoder of a pose model: everything but its decoders."""
    heads = ('head.', 'keypoint_head.', 'associate_keypoint_heads.')
    return {key: value for key, value in state_dict.items() if not key.startswith(heads)}


def _is_whole(state_dict: Mapping[str, Tensor], key: str) -> bool:
    """Whether a last layer of an MLP has all of its rows: an expert has been joined to it."""
    return len(state_dict[key]) == state_dict[re.sub(r'fc2\.\w+$', 'fc1.weight', key)].shape[1]


def _is_split(state_dict: Mapping[str, Tensor]) -> bool:
    return any(_is_whole(state_dict, key) for key in state_dict if key.endswith('.mlp.fc2.weight'))


def _check_split(state_dict: Mapping[str, Tensor], dataset: str) -> None:
    """Refuse a file whose last layers hold the expert of another data set."""
    key = next(key for key in state_dict if key.endswith('.mlp.fc2.weight'))
    if not _is_whole(state_dict, key):
        return
    parts = {
        name: state_dict.get(key.replace('.mlp.fc2.', f'.mlp.experts.{expert}.'))
        for name, (expert, _) in DATASETS.items()
    }
    of = [
        name
        for name, part in parts.items()
        if part is not None and torch.equal(state_dict[key][-len(part) :], part)
    ]
    if of and dataset not in of:
        raise ValueError(f'this file was split for {" or ".join(of)}: it cannot be made one for {dataset}')


def _check_head(state_dict: Mapping[str, Tensor], dataset: str) -> None:
    """Refuse a file with a decoder that is another data set's; one without a decoder is an encoder."""
    expert, joints = DATASETS[dataset]
    if any(key.startswith(f'associate_keypoint_heads.{expert - 1}.') for key in state_dict):
        return
    lasts = ('keypoint_head.final_layer.weight', 'head.final_layer.weight', 'head.conv.weight')
    last = next((state_dict[key] for key in lasts if key in state_dict), None)
    split = _is_split(state_dict)
    if last is not None and not (dataset == 'coco' or (split and len(last) == joints)):
        raise ValueError(
            f'this ViTPose+ file has no decoder for {dataset}, which has {joints} joints: its only decoder '
            f'is that of {"another data set" if split else "coco"}, with {len(last)}. Take a file with '
            f'associate_keypoint_heads.{expert - 1}, or the encoder alone (init_cfg of a backbone)'
        )


def convert_vitpose_model(
    state_dict: Mapping[str, Tensor], dataset: str | None = None, source: str = 'checkpoint'
) -> Converted:
    """Rename the weights of a whole pose model, ``backbone.`` and decoder, to those of MMPose 1.x.

    Args:
        state_dict: Weights of ViTPose 0.x, MMPose 1.x or Hugging Face's VitPose.
        dataset: Of ViTPose+, see :func:`choose_dataset`.
        source: Where the weights come from, for messages.

    Returns:
        Converted: Weights for a model of ``configs/hpe/vitpose_*``; with ``'all'``, of
        ``configs/multi/vitpose_plus_*``, with those decoders that the file has.

    Raises:
        ValueError: If the format or a key is unknown, or a key is missing.
    """
    state_dict = choose_dataset(state_dict, dataset)
    backbone = {key: value for key, value in state_dict.items() if key.startswith('backbone.')}
    name, _ = detect_format(VIT, backbone, 'backbone.', source)
    if name not in HEADS:
        raise ValueError(f'{source} ({name} keys) is no pose model')
    found = convert(VIT, backbone, prefix='backbone.', source=source)
    converted = {f'backbone.{key}': value for key, value in found.state_dict.items()}
    for key in state_dict.keys() - backbone.keys():
        ours = [new + key.removeprefix(old) for old, new in HEADS[name].items() if key.startswith(old)]
        if not ours:
            raise ValueError(f'{source} has a key that no pose model of {name} has: {key}')
        converted[ours[0]] = state_dict[key]
    if dataset == ALL:
        for key in [key for key in converted if '.final_layer.' in key]:
            converted[key] = converted[key][: DATASETS[key.split('.')[2]][1]]
    return Converted(converted, name, found.dropped)


def fit_vit(
    checkpoint: Mapping,
    expected: Mapping[str, Tensor],
    map_hw: tuple[int, int],
    prefix: str | None = None,
    dataset: str | None = None,
    source: str = 'checkpoint',
) -> tuple[dict[str, Tensor], Report]:
    """Convert a checkpoint, interpolate its positions, and check that it fits a network.

    Args:
        checkpoint: What was read from the file.
        expected: State dictionary of the network.
        map_hw: Height and width of its map of patches.
        prefix: What the backbone's keys begin with, if the file holds several networks.
        dataset: Of ViTPose+, see :func:`pick_dataset`.
        source: Where the weights come from, for messages.

    Returns:
        The weights, a subset of ``expected``, and a report.

    Raises:
        ValueError: If keys are unknown or missing, or shapes differ.
    """
    weights, experts = unwrap(checkpoint, source), _experts_of(expected)
    if any('.experts.' in key for key in weights):
        chosen = ALL if dataset is None and experts else dataset
        weights = choose_dataset(without_heads(weights), chosen)
    elif dataset is not None:
        weights = pick_dataset(weights, dataset)
    found = convert(VIT, weights, prefix=prefix, source=source)
    (depth,) = VIT.depths(expected)
    beyond = {key for key in found.state_dict if (block := _block_of(key)) is not None and block >= depth}
    kept = {key: value for key, value in found.state_dict.items() if key not in beyond}
    table = kept['pos_embed']
    if table.shape[1] != map_hw[0] * map_hw[1] and grid_hw(table.shape[1]):
        kept['pos_embed'] = resize_positions(table, grid_hw(table.shape[1]), map_hw)
    kept, unused = _fit_experts(kept, experts, expected, source)
    kept, report = fit(VIT, kept, expected, source=source)
    dropped = {**found.dropped, **unused, **{key: f'only {depth} blocks are kept' for key in sorted(beyond)}}
    return kept, report._replace(format=found.format, dropped=dropped)


def _experts_of(state_dict: Mapping[str, Tensor]) -> list[str]:
    """Data sets that have experts, by our names."""
    found = (re.fullmatch(r'layers\.0\.ffn\.experts\.(\w+)\.weight', key) for key in state_dict)
    return [match[1] for match in found if match]


def _fit_experts(
    weights: dict[str, Tensor], names: Sequence[str], expected: Mapping[str, Tensor], source: str
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Give a network its experts; return what it does not have, with reasons.

    Weights without experts give each the rows that it stands for.

    Raises:
        ValueError: If a data set of the network has no expert among those of the file.
    """
    available = _experts_of(weights)
    if not names:
        if available:
            raise ValueError(
                f'{source} has experts for {", ".join(available)}, the network none: set experts= of the '
                'backbone, or join one to the rest (mmhier convert --dataset NAME)'
            )
        return weights, {}
    if not available:
        for key in [key for key in weights if '.ffn.layers.1.' in key]:
            shared = len(expected[key]) if key in expected else len(weights[key])
            for name in names:
                weights[key.replace('.layers.1.', f'.experts.{name}.')] = weights[key][shared:].clone()
            weights[key] = weights[key][:shared]
        return weights, {}
    if lacking := [name for name in names if name not in available]:
        raise ValueError(
            f'{source} has no expert for {", ".join(lacking)}, only for {", ".join(available)}: leave it out '
            'of experts= of the backbone, or start from weights without experts'
        )
    unused = {key for key in weights if '.experts.' in key and key.split('.')[4] not in names}
    kept = {key: value for key, value in weights.items() if key not in unused}
    return kept, {key: 'expert of a data set that the network is not for' for key in sorted(unused)}


def load_vit(backbone: nn.Module, path: str, prefix: str | None = None, dataset: str | None = None) -> Report:
    """Load a checkpoint into a ``ViT`` and log what was left out.

    Args:
        backbone: The network.
        path: File or URL, as MMEngine's loader takes them.
        prefix: What the backbone's keys begin with, if the file holds several networks.
        dataset: Of ViTPose+, see :func:`pick_dataset`.

    Raises:
        ValueError: If the checkpoint does not fit.
    """
    checkpoint, current = CheckpointLoader.load_checkpoint(path, map_location='cpu'), backbone.state_dict()
    weights, report = fit_vit(checkpoint, current, backbone.map_hw, prefix, dataset, path)
    backbone.load_state_dict({**current, **weights})
    print_log(str(report), logger='current', level=logging.INFO)
    return report


def load_token(backbone: nn.Module, path: str) -> None:
    """Load the knowledge token of a teacher into a ``ViT``.

    Args:
        backbone: The network, whose token has the width of the teacher.
        path: Checkpoint of a run of :class:`mmhier.distillation.KnowledgeTokenEstimator`: file or URL.

    Raises:
        ValueError: If it holds no token of that width.
    """
    weights = unwrap(CheckpointLoader.load_checkpoint(path, map_location='cpu'), path)
    found = [value for key, value in weights.items() if key.rpartition('.')[2] == 'knowledge_token']
    if len(found) != 1:
        raise ValueError(
            f'{path} holds no knowledge_token: one is learned with a KnowledgeTokenEstimator, as in '
            'configs/distill/vitpose_l_knowledge_token.py'
        )
    if found[0].shape != backbone.knowledge_token.shape:
        raise ValueError(
            f'{path} holds a knowledge_token of width {found[0].shape[-1]}: set model.backbone.'
            f'knowledge_token={found[0].shape[-1]} instead of {backbone.knowledge_token.shape[-1]}'
        )
    with torch.no_grad():
        backbone.knowledge_token.copy_(found[0])


def _block_of(key: str) -> int | None:
    found = re.match(VIT.block, key)
    return int(found['j']) if found else None
