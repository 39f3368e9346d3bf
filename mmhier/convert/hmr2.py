"""Whole mesh models of 4D-Humans (HMR2.0 a and b) and of its truncated kin -> ``backbone``, ``head``, ...

The files are Lightning checkpoints, to be read by :mod:`mmhier.convert.lightning`.

The encoder is converted by the table of its family, ``smpl_head`` and ``discriminator`` by the table below.
The body model's buffers (``smpl.``) are left out: they are licensed, and come from the user's own file.

The number of attention heads cannot be read off the weights; the truncated models carry it in the name of
the release, ``hmr_<encoder>_d<depth>-a<heads>x<width>-m<mlp>``.

Shape rules:

* The query's position loses the dimension of the tokens, of which there is one.
* The discriminator's 1 x 1 convolutions are linear layers here; its 23 read-outs are the rows of one matrix.
"""

from collections.abc import Mapping

from torch import Tensor

from mmhier.convert.key_table import Converted, Drop, Family, Part, Shaped, Target, convert, unwrap

BODY_JOINTS = 23

_LAYER = 'head.layers.{j}.'
_THEIR_LAYER = 'smpl_head.transformer.transformer.layers.{j}.'


def _first(value: Tensor) -> Tensor:
    """Take the only token."""
    return value[0]


def _as_linear(value: Tensor) -> Tensor:
    """Turn the weight of a 1 x 1 convolution, (O, I, 1, 1), into that of a linear layer."""
    return value.flatten(1)


HEAD_TABLE: dict[str, Target] = {
    'smpl_head.init_body_pose': 'head.init_body_pose',
    'smpl_head.init_betas': 'head.init_betas',
    'smpl_head.init_cam': 'head.init_cam',
    'smpl_head.transformer.to_token_embedding.{p}': 'head.query.{p}',
    'smpl_head.transformer.pos_embedding': Shaped('head.query_position', _first),
    _THEIR_LAYER + '0.norm.{p}': _LAYER + 'norm1.{p}',
    _THEIR_LAYER + '0.fn.to_qkv.weight': _LAYER + 'self_attn.qkv.weight',
    _THEIR_LAYER + '0.fn.to_out.0.{p}': _LAYER + 'self_attn.proj.{p}',
    _THEIR_LAYER + '1.norm.{p}': _LAYER + 'norm2.{p}',
    _THEIR_LAYER + '1.fn.to_q.weight': _LAYER + 'cross_attn.q.weight',
    _THEIR_LAYER + '1.fn.to_kv.weight': _LAYER + 'cross_attn.kv.weight',
    _THEIR_LAYER + '1.fn.to_out.0.{p}': _LAYER + 'cross_attn.proj.{p}',
    _THEIR_LAYER + '2.norm.{p}': _LAYER + 'norm3.{p}',
    _THEIR_LAYER + '2.fn.net.0.{p}': _LAYER + 'ffn.fc1.{p}',
    _THEIR_LAYER + '2.fn.net.3.{p}': _LAYER + 'ffn.fc2.{p}',
    'smpl_head.decpose.{p}': 'head.pose_readout.{p}',
    'smpl_head.decshape.{p}': 'head.shape_readout.{p}',
    'smpl_head.deccam.{p}': 'head.camera_readout.{p}',
}
DISCRIMINATOR_TABLE: dict[str, Target] = {
    'discriminator.D_conv1.weight': Shaped('discriminator.joint_fc1.weight', _as_linear),
    'discriminator.D_conv1.bias': 'discriminator.joint_fc1.bias',
    'discriminator.D_conv2.weight': Shaped('discriminator.joint_fc2.weight', _as_linear),
    'discriminator.D_conv2.bias': 'discriminator.joint_fc2.bias',
    **{
        f'discriminator.pose_out.{joint}.{{p}}': Part('discriminator.joint_readout.{p}', joint, BODY_JOINTS)
        for joint in range(BODY_JOINTS)
    },
    'discriminator.betas_fc1.{p}': 'discriminator.shape_fc1.{p}',
    'discriminator.betas_fc2.{p}': 'discriminator.shape_fc2.{p}',
    'discriminator.betas_out.{p}': 'discriminator.shape_readout.{p}',
    'discriminator.D_alljoints_fc1.{p}': 'discriminator.pose_fc1.{p}',
    'discriminator.D_alljoints_fc2.{p}': 'discriminator.pose_fc2.{p}',
    'discriminator.D_alljoints_out.{p}': 'discriminator.pose_readout.{p}',
}
LEFTOVERS: dict[str, Target] = {'initialized': Drop('flag of a layer that the model does not have')}

BODY_MODEL = 'body model, which comes from the file of the user'


def _names(table: Mapping[str, Target]) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(target if isinstance(target, str) else target.name for target in table.values())
    )


def _describe(state_dict: Mapping[str, Tensor]) -> str:
    """Describe a decoder by its weights."""
    (depth,) = HMR2_HEAD.depths(state_dict)
    inner, channels = state_dict['head.layers.0.cross_attn.kv.weight'].shape
    return f'{depth} layers, {inner // 2} columns over all attention heads and a map of {channels} channels'


# Everything but the encoder.
HMR2_HEAD = Family(
    name='decoder of HMR2.0',
    tables=dict(hmr2={**HEAD_TABLE, **DISCRIMINATOR_TABLE, **LEFTOVERS}),
    anchors={'smpl_head.decpose.weight': 'hmr2'},
    mark=r'(^|\.)smpl_head\.decpose\.weight$',
    stem_keys=[name for name in _names(HEAD_TABLE) if '{j}' not in name],
    block_keys=[name for name in _names(HEAD_TABLE) if '{j}' in name],
    block=r'head\.layers\.(?P<j>\d+)\.',
    describe=_describe,
    remedy='set arch and in_channels of the head accordingly',
)


def convert_hmr2(checkpoint: Mapping, source: str = 'checkpoint') -> Converted:
    """Rename the weights of a whole mesh model.

    Args:
        checkpoint: A Lightning checkpoint, as
            :func:`mmhier.convert.lightning.read_lightning_checkpoint` gives it, or its weights.
        source: Where it comes from, for messages.

    Returns:
        Converted: Weights under ``backbone.``, ``head.`` and, where the file has one, ``discriminator.``.

    Raises:
        ValueError: If it is no such model, a key is unknown, or one is missing.
    """
    from mmhier.convert import find_family

    weights = unwrap(checkpoint, source)
    dropped = {key: BODY_MODEL for key in weights if key.startswith('smpl.')}
    backbone = {key: value for key, value in weights.items() if key.startswith('backbone.')}
    rest = {key: value for key, value in weights.items() if key not in backbone and key not in dropped}
    if not backbone or 'smpl_head.decpose.weight' not in rest:
        raise ValueError(
            f'{source} is no model of HMR2.0, which has keys backbone.* and smpl_head.*; it begins with '
            f'{list(weights)[:3]}'
        )
    encoder = convert(find_family(backbone, source), backbone, prefix='backbone.', source=source)
    decoder = convert(HMR2_HEAD, rest, prefix='', source=source)
    prior = [key for key in decoder.state_dict if key.startswith('discriminator.')]
    lacking = [name for name in _names(DISCRIMINATOR_TABLE) if not _in(name, prior)]
    if any(key.startswith('discriminator.') for key in rest) and lacking:
        raise ValueError(f'{source} has part of a discriminator; it lacks {", ".join(lacking[:3])}')
    converted = {f'backbone.{key}': value for key, value in encoder.state_dict.items()} | decoder.state_dict
    return Converted(
        converted, f'{encoder.format} and hmr2', {**dropped, **encoder.dropped, **decoder.dropped}
    )


def _in(name: str, keys: list[str]) -> bool:
    """Whether all tensors of a row of the table are among the keys."""
    parts = ('weight', 'bias') if '{p}' in name else ('',)
    return all(name.replace('{p}', part) in keys for part in parts)
