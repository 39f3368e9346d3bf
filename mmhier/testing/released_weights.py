"""State dictionaries as the authors of encoders release them: ours under their names, classifier included.

Each function is the inverse of a table of :mod:`mmhier.convert` (or of MMPose and timm, for networks of
theirs) and takes the state dictionary of a whole network, all of its stages.
"""

import re
from collections.abc import Callable, Mapping, Sequence

import torch
from mmpose.registry import MODELS
from torch import Tensor

State = dict[str, Tensor]
NUM_CLASSES = 10
MAE_GRID = 14  # patches along a side of the images of the pre-training

_SWIN = [
    (r'stages\.', 'layers.'),
    (r'attn\.w_msa\.', 'attn.'),
    (r'ffn\.layers\.0\.0\.', 'mlp.fc1.'),
    (r'ffn\.layers\.1\.', 'mlp.fc2.'),
    (r'patch_embed\.projection', 'patch_embed.proj'),
    (r'norm3', 'norm'),
]
_GMF = [
    (
        r'^stem\.([01])\.(conv|norm)\.',
        lambda m: f'conv_stem.{dict(conv="proj", norm="norm")[m[2]]}{int(m[1]) + 1}.',
    ),
    (r'^stem\.2\.', 'patch_embed_layers.0.'),
    (r'^stages\.(\d+)\.downsample\.', lambda m: f'patch_embed_layers.{int(m[1]) + 1}.'),
    (r'^stages\.(\d+)\.blocks\.(\d+)\.', r'groupmixformer_backbone.\1.gma_stage.\2.'),
    (r'\.attn\.groups\.(\d)\.norm\.', r'.att.aggregator.norm\1.'),
    (r'\.attn\.groups\.(\d)\.conv\.', r'.att.aggregator.agg\1.'),
    (r'\.attn\.local\.', '.att.aggregator.agg0.'),
    (r'\.attn\.position\.', '.att.crpe.conv_list.'),
    (r'\.attn\.', '.att.'),
    (r'\.depthwise\.', '.conv1.'),
    (r'\.pointwise\.', '.pointwise_conv.'),
    (r'\.cpe\.', '.cpe.proj.'),
    (r'\.mlp\.(\d)\.', lambda m: f'.mlp.fc{int(m[1]) + 1}.'),
]
_VMAMBA_STEM = {'conv1': 0, 'norm1': 2, 'conv2': 5, 'norm2': 7}
_VMAMBA = [
    (r'^stages\.', 'layers.'),
    (r'downsample\.conv', 'downsample.1'),
    (r'downsample\.norm', 'downsample.3'),
    (r'^patch_embed\.(\w+)', lambda m: f'patch_embed.{_VMAMBA_STEM[m[1]]}'),
]
_VIT = [
    (r'ffn\.layers\.0\.0\.', 'mlp.fc1.'),
    (r'ffn\.layers\.1\.', 'mlp.fc2.'),
    (r'^layers\.', 'blocks.'),
    (r'\.ln', '.norm'),
    (r'projection\.', 'proj.'),
]
_PVT = [
    (r'^layers\.(\d)\.0\.', lambda m: f'patch_embed{int(m[1]) + 1}.'),
    (r'^layers\.(\d)\.1\.', lambda m: f'block{int(m[1]) + 1}.'),
    (r'^layers\.(\d)\.2\.', lambda m: f'norm{int(m[1]) + 1}.'),
    (r'projection\.', 'proj.'),
    (r'attn\.attn\.out_proj\.', 'attn.proj.'),
    (r'ffn\.layers\.0\.', 'mlp.fc1.'),
    (r'ffn\.layers\.1\.', 'mlp.dwconv.dwconv.'),
    (r'ffn\.layers\.4\.', 'mlp.fc2.'),
]
_CONVNEXT = [
    (r'^stem\.', 'downsample_layers.0.'),
    (r'^stages\.(\d)\.downsample\.', r'downsample_layers.\1.'),
    (r'^stages\.(\d)\.blocks\.', r'stages.\1.'),
    (r'conv_dw\.', 'dwconv.'),
    (r'mlp\.fc(\d)\.', r'pwconv\1.'),
    (r'^head\.norm\.', 'norm.'),
    (r'^head\.fc\.', 'head.'),
]


def rename(state: Mapping[str, Tensor], table: list[tuple[str, str | Callable]]) -> State:
    """Apply substitutions (regular expression, replacement) to every name, in turn."""
    renamed = {}
    for name, value in state.items():
        for pattern, replacement in table:
            name = re.sub(pattern, replacement, name)
        renamed[name] = value
    return renamed


def classifier(width: int, head: str = 'head') -> State:
    """A linear layer that nothing reads."""
    return {f'{head}.weight': torch.zeros(NUM_CLASSES, width), f'{head}.bias': torch.zeros(NUM_CLASSES)}


def quarters_first(value: Tensor) -> Tensor:
    """OpenMMLab's order of the 4C inputs of a merge -> Microsoft's, which joins four quarters."""
    dims = value.shape[-1] // 4
    row_by_row = value.reshape(*value.shape[:-1], dims, 4)
    return torch.cat([row_by_row[..., place] for place in (0, 2, 1, 3)], dim=-1)  # (0,0) (1,0) (0,1) (1,1)


def swin_of_microsoft(state: Mapping[str, Tensor]) -> State:
    """``TruncatedSwin`` -> ``swin_*_patch4_window7_224.pth``."""
    ours = {name: quarters_first(value) if 'downsample' in name else value for name, value in state.items()}
    masked = [name for name in ours if name.endswith('blocks.1.norm1.weight')]
    ours |= {name.replace('norm1.weight', 'attn_mask'): torch.zeros(4, 49, 49) for name in masked}
    return rename(ours, _SWIN) | classifier(state['norm3.weight'].numel())


def gmf_of_authors(state: Mapping[str, Tensor]) -> State:
    """``TruncatedGMF`` -> ``groupmixformer_*.pth``."""
    width = next(reversed([value for name, value in state.items() if name.endswith('mlp.1.bias')])).numel()
    closing = {
        f'norm4.{name}': torch.ones(width) for name in ('weight', 'bias', 'running_mean', 'running_var')
    }
    closing['norm4.num_batches_tracked'] = torch.tensor(3)
    return rename(state, _GMF) | closing | classifier(width)


def vmamba_of_authors(state: Mapping[str, Tensor]) -> State:
    """``TruncatedVMamba`` -> ``vssm*_ckpt_epoch_*.pth``, which have no norms behind stages."""
    width = next(reversed([value for name, value in state.items() if name.endswith('fc2.bias')])).numel()
    ours = {name: value for name, value in state.items() if not re.match(r'norm\d', name)}
    closing = {'classifier.norm.weight': torch.ones(width), 'classifier.norm.bias': torch.zeros(width)}
    return rename(ours, _VMAMBA) | closing | classifier(width, 'classifier.head')


def vit_of_mae(state: Mapping[str, Tensor], side: int = MAE_GRID) -> State:
    """``ViT`` -> ``mae_pretrain_vit_*.pth``; positions of ``side`` x ``side`` patches are drawn."""
    renamed = rename(state, [*_VIT, (r'^ln1\.', 'norm.')])
    dims = state['pos_embed'].shape[-1]
    table = torch.randn(1, 1 + side**2, dims)
    return renamed | {'cls_token': torch.randn(1, 1, dims), 'pos_embed': table}


def vitpose_plus(state: Mapping[str, Tensor], names: Sequence[str]) -> State:
    """A model of ``configs/multi/vitpose_plus_*`` -> ViTPose+'s file; ``names`` are in its order."""
    heads = [f'associate_keypoint_heads.{number}.' for number in range(-1, len(names) - 1)]
    heads[0] = 'keypoint_head.'
    decoders = {
        heads[names.index(key.split('.')[2])] + key.split('.', 3)[3]: value
        for key, value in state.items()
        if key.startswith('head.')
    }
    encoder = {key.removeprefix('backbone.'): value for key, value in state.items() if key.startswith('back')}
    experts = (r'ffn\.experts\.(\w+)\.', lambda match: f'mlp.experts.{names.index(match[1])}.')
    renamed = rename(encoder, [experts, *_VIT, (r'^ln1\.', 'last_norm.')])
    renamed['pos_embed'] = torch.cat([torch.zeros_like(renamed['pos_embed'][:, :1]), renamed['pos_embed']], 1)
    return {f'backbone.{key}': value for key, value in renamed.items()} | decoders


def pvt_of_authors(state: Mapping[str, Tensor]) -> State:
    """``PyramidVisionTransformerV2`` of MMPose -> ``pvt_v2_*.pth``."""
    theirs = {}
    for name, value in rename(state, _PVT).items():
        if 'attn.attn.in_proj_' in name:
            query, both = value.split([len(value) // 3, 2 * len(value) // 3])
            theirs[name.replace('attn.attn.in_proj_', 'attn.q.')] = query
            theirs[name.replace('attn.attn.in_proj_', 'attn.kv.')] = both
        else:
            linear = name.endswith(('fc1.weight', 'fc2.weight'))
            theirs[name] = value[..., 0, 0] if linear else value
    return theirs | classifier(state['layers.3.2.weight'].numel())


def convnext_of_authors(state: Mapping[str, Tensor]) -> State:
    """ConvNeXt of timm -> ``convnext_*_1k_224_ema.pth``."""
    return rename(state, _CONVNEXT)


RELEASES = {
    'TruncatedSwin': swin_of_microsoft,
    'TruncatedGMF': gmf_of_authors,
    'TruncatedVMamba': vmamba_of_authors,
    'ViT': vit_of_mae,
    'PyramidVisionTransformerV2': pvt_of_authors,
    'timm': convnext_of_authors,
}


def release_of(backbone: Mapping) -> dict[str, State]:
    """What a release of a config's encoder holds: all stages, drawn at random.

    Args:
        backbone: ``model.backbone`` of a config; of a type that is not known here, it has our own names.
    """
    options = {
        name: value
        for name, value in backbone.items()
        if name not in ('init_cfg', 'num_stages', 'knowledge_token')
    }
    if backbone['type'] == 'TruncatedBackbone':
        options = dict(backbone['backbone'])
    release = RELEASES.get(options['type'], dict)
    if options['type'] == 'timm':
        import timm

        settings = {key: value for key, value in options.items() if key not in ('type', 'name')}
        network = timm.create_model(options['name'], **settings)
    else:
        network = MODELS.build(options)
    return dict(model=release(network.state_dict()))
