"""Whole models of SMPLer-X -> ``backbone.`` and ``head.``, the latter those of ``SMPLerXHead``.

The files are ``smpler_x_{s,b,l,h}32.pth.tar``, ``smpler_x_h32_correct.pth.tar`` and snapshots of training:
the weights under ``network``, each with ``module.`` in front, beside Adam's state, which is left out. The
encoder is converted by the table of :mod:`mmhier.convert.vit`; buffers of the body model, which some hold,
are left out: they are licensed, and come from the user's own file. Older snapshots call three of the parts
otherwise.
"""

from collections.abc import Mapping

from torch import Tensor

from mmhier.convert.key_table import Converted, convert, unwrap
from mmhier.convert.vit import VIT

BODY_MODEL = 'body model, which comes from the file of the user'
_AFFINE = ('weight', 'bias')
_NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')

# Their layer -> ours, and the tensors that it has.
TABLE: dict[str, tuple[str, tuple[str, ...]]] = {
    'body_position_net.conv.0': ('body_position.conv', _AFFINE),
    'body_regressor.body_conv.0': ('body_regressor.token_fc', _AFFINE),
    'body_regressor.root_pose_out.0': ('body_regressor.root_readout', _AFFINE),
    'body_regressor.body_pose_out.0': ('body_regressor.body_readout', _AFFINE),
    'body_regressor.shape_out.0': ('body_regressor.shape_readout', _AFFINE),
    'body_regressor.cam_out.0': ('body_regressor.camera_readout', _AFFINE),
    'box_net.deconv.0': ('box_net.deconv.0', ('weight',)),
    'box_net.deconv.1': ('box_net.deconv.1', _NORM),
    'box_net.deconv.3': ('box_net.deconv.3', ('weight',)),
    'box_net.deconv.4': ('box_net.deconv.4', _NORM),
    'box_net.deconv.6': ('box_net.deconv.6', ('weight',)),
    'box_net.deconv.7': ('box_net.deconv.7', _NORM),
    'box_net.bbox_center.0': ('box_net.center_conv', _AFFINE),
    'box_net.lhand_size.0': ('box_net.sizes.left_hand.0', _AFFINE),
    'box_net.lhand_size.2': ('box_net.sizes.left_hand.2', _AFFINE),
    'box_net.rhand_size.0': ('box_net.sizes.right_hand.0', _AFFINE),
    'box_net.rhand_size.2': ('box_net.sizes.right_hand.2', _AFFINE),
    'box_net.face_size.0': ('box_net.sizes.face.0', _AFFINE),
    'box_net.face_size.2': ('box_net.sizes.face.2', _AFFINE),
    'hand_position_net.conv.0': ('hand_position.conv', _AFFINE),
    'hand_roi_net.deconv.0': ('hand_crop.deconv.0', ('weight',)),
    'hand_roi_net.deconv.1': ('hand_crop.deconv.1', _NORM),
    'hand_roi_net.deconv.3': ('hand_crop.deconv.3', ('weight',)),
    'hand_roi_net.deconv.4': ('hand_crop.deconv.4', _NORM),
    'hand_roi_net.conv.0': ('hand_crop.conv', _AFFINE),
    'hand_regressor.hand_conv.0': ('hand_regressor.conv', _AFFINE),
    'hand_regressor.hand_conv.1': ('hand_regressor.norm', _NORM),
    'hand_regressor.hand_pose_out.0': ('hand_regressor.readout', _AFFINE),
    'face_regressor.expr_out.0': ('face_regressor.expression_readout', _AFFINE),
    'face_regressor.jaw_pose_out.0': ('face_regressor.jaw_readout', _AFFINE),
}
# What older snapshots call a part.
OLD_NAMES = {
    'backbone.': 'encoder.',
    'body_rotation_net.': 'body_regressor.',
    'hand_rotation_net.': 'hand_regressor.',
}
MARK = 'hand_roi_net.conv.0.weight'


def is_smplerx(keys: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of a whole SMPLer-X."""
    return MARK in keys or f'module.{MARK}' in keys


def convert_smplerx(checkpoint: Mapping, source: str = 'checkpoint') -> Converted:
    """Rename the weights of a whole SMPLer-X.

    Args:
        checkpoint: What the file holds, or its weights.
        source: Where it comes from, for messages.

    Returns:
        Converted: Weights under ``backbone.`` and ``head.``; of a size with as many channels as
        ``backbone.task_tokens`` has columns.

    Raises:
        ValueError: If it is no such model, a key is unknown, or one is missing.
    """
    weights = {key.removeprefix('module.'): value for key, value in unwrap(checkpoint, source).items()}
    for old, new in OLD_NAMES.items():
        weights = {
            new + key.removeprefix(old) if key.startswith(old) else key: v for key, v in weights.items()
        }
    dropped = {key: BODY_MODEL for key in weights if key.startswith('smplx_layer.')}
    encoder = {key: value for key, value in weights.items() if key.startswith('encoder.')}
    if 'encoder.task_tokens' not in encoder or not is_smplerx(weights):
        raise ValueError(
            f'{source} is no model of SMPLer-X, which has encoder.task_tokens and {MARK}; it begins with '
            f'{list(weights)[:3]}'
        )
    tokens = encoder.pop('encoder.task_tokens')
    names = {
        f'{theirs}.{part}': f'head.{ours}.{part}' for theirs, (ours, parts) in TABLE.items() for part in parts
    }
    rest = weights.keys() - encoder.keys() - dropped.keys() - {'encoder.task_tokens'}
    if unknown := sorted(rest - names.keys()):
        raise ValueError(f'{source} has keys that no SMPLer-X has: {", ".join(unknown[:3])}')
    counters = {name for name in names if name.endswith('num_batches_tracked')}
    if missing := sorted(names.keys() - rest - counters):
        raise ValueError(f'{source} is incomplete: it lacks {", ".join(missing[:3])}')
    found = convert(VIT, encoder, prefix='encoder.', source=source)
    converted = {f'backbone.{key}': value for key, value in found.state_dict.items()}
    converted['backbone.task_tokens'] = tokens
    converted |= {ours: weights[theirs] for theirs, ours in names.items() if theirs in weights}
    return Converted(converted, f'{found.format} and smplerx', {**dropped, **found.dropped})
