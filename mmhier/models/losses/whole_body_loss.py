"""Losses of SMPLer-X (arXiv 2309.17448) on parameters, points and boxes of whole bodies.

Every term is the mean of ``|predicted - target| * valid`` over all its numbers, those that are not valid
included, times its weight; weights and reductions are those of the official configs for 32 data sets. What is
not valid has no influence, whatever stands there: NaN reaches neither the loss nor a gradient.

Hands are compared in the grids of their predicted boxes: targets, given in cells of the body's grid, are
brought there, and those that then lie outside are not valid. Projected points of hands and face are moved by
the mean distance to their valid targets before they are compared, so that these terms judge shape, not place.

Letters: B people, K = 137 points (the set ``smplx137``), of which the first 65 are predicted as points too.
"""

from collections.abc import Mapping

import torch
from mmpose.registry import MODELS
from torch import Tensor, nn

from mmhier.models.heads.smplerx_head import (
    DEPTH_CELLS,
    HAND_CELLS,
    INPUT_SIZE_WH,
    MAP_HW,
    PARTS,
    full,
    project,
)
from mmhier.models.losses.whole_body_targets import (
    FACE,
    JOINTS,
    LEFT_HAND,
    NUM_POINTS,
    RIGHT_HAND,
    parts_at_their_roots,
    whole_body_targets,
)

OFFICIAL_WEIGHTS = dict(
    pose=10.0, betas=1.0, expression=1.0, joints_3d=100.0, body_joints_3d=100.0, left_hand_box=1.0,
    right_hand_box=1.0, face_box=1.0, joints_2d=1.0, points=1.0, body_points=1.0,
)  # fmt: skip


@MODELS.register_module()
class WholeBodyLoss(nn.Module):
    """All losses of SMPLer-X.

    Args:
        weights: Loss -> factor; the losses are those of :data:`OFFICIAL_WEIGHTS`, which is the default. What
            is left out is not part of the sum.
        root_pose: Whether ``pose`` judges the root's rotation. Official in the configs for 5 to 32 data sets
            (where it is called ``agora_fix_global_orient_transl``).
        detach_projection: No gradient from projected points to the body, only to its place; official in
            training on AGORA alone.
        points_need_depth: Points whose depth is not known are not supervised in the image either, as in the
            official code: that way pictures with annotated joints but without bodies teach nothing.
        hand_grids_need_a_box: Bring hands to their grids only if a person of the batch has a valid box of a
            hand, as the official code does; without one it compares predictions in the hands' grids with
            targets in the body's, and moves no projected hand.

    Raises:
        ValueError: If a loss is unknown.
    """

    def __init__(
        self,
        weights: Mapping[str, float] | None = None,
        root_pose: bool = True,
        detach_projection: bool = False,
        hand_grids_need_a_box: bool = False,
        points_need_depth: bool = False,
    ):
        super().__init__()
        self.weights = dict(OFFICIAL_WEIGHTS if weights is None else weights)
        if unknown := set(self.weights) - set(OFFICIAL_WEIGHTS):
            raise ValueError(f'weights has unknown losses {sorted(unknown)}; known: {list(OFFICIAL_WEIGHTS)}')
        self.root_pose = root_pose
        self.detach_projection = detach_projection
        self.hand_grids_need_a_box = hand_grids_need_a_box
        self.points_need_depth = points_need_depth

    def forward(self, predicted: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the losses from labels of :mod:`mmhier.mesh_sample`.

        Args:
            predicted: As for :meth:`compare`.
            target: Labels of the layout ``smplx``, confidences apart (``keypoints_2d_confidence`` and so on),
                and ``fitted_keypoints_3d`` (B, K, 3), joints of the annotated body, metres, any origin.

        Returns:
            As :meth:`compare`.

        Raises:
            ValueError: If something is missing or has another shape.
        """
        return self.compare(predicted, whole_body_targets(target, self.points_need_depth))

    def compare(self, predicted: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute the losses from targets as the official code has them.

        Args:
            predicted: ``pose``, ``betas``, ``expression``, ``transl``, ``points``, ``box_centers``,
                ``box_sizes`` and ``boxes`` of the head, and ``keypoints_3d`` (B, K, 3), joints of the bodies
                without ``transl``, metres.
            target: ``pose`` (B, 159) axis-angle in the order of ``smplx53``, ``betas`` (B, 10),
                ``expression`` (B, 10); ``joints_3d`` and ``body_joints_3d`` (B, K, 3) in metres from the
                pelvis, annotated and of the annotated body, the latter's hands and face from wrists and neck;
                ``points`` and ``body_points`` (B, K, 3) the same in cells of the body's grid;
                ``box_centers`` and ``box_sizes`` (B, 3, 2) in cells of the map. Whether each is valid:
                ``pose_valid`` (B, 159), ``betas_valid`` and ``expression_valid`` (B,), ``joints_3d_valid``,
                ``body_joints_3d_valid``, ``points_valid`` and ``body_points_valid`` (B, K), ``box_valid``
                (B, 3); and ``has_depth`` (B,), whether z of ``points`` and all of ``joints_3d`` are.

        Returns:
            ``loss_pose`` and so on, weighted; a box's only if one of the batch is valid.

        Raises:
            ValueError: If something is missing or has another shape.
        """
        self._check(predicted, target)
        joints = predicted['keypoints_3d'] + predicted['transl'][:, None]
        flags = {name: full(value) for name, value in target.items() if name.endswith('_valid')}
        depth = full(target['has_depth'])[:, None]
        rooted = full(joints) - full(joints[:, :1])
        terms: dict[str, Tensor] = {}

        pose = distance(predicted['pose'], target['pose'], flags['pose_valid'])
        terms['pose'] = pose if self.root_pose else pose[:, 3:]
        for name in ('betas', 'expression'):
            terms[name] = distance(predicted[name], target[name], flags[f'{name}_valid'][:, None])
        valid = flags['joints_3d_valid'] * depth
        terms['joints_3d'] = distance(rooted, target['joints_3d'], valid[..., None])
        valid = flags['body_joints_3d_valid'][..., None]
        terms['body_joints_3d'] = distance(parts_at_their_roots(rooted), target['body_joints_3d'], valid)
        for index, part in enumerate(PARTS):
            valid = flags['box_valid'][:, index, None]
            if valid.any():
                terms[f'{part}_box'] = distance(
                    predicted['box_centers'][:, index], target['box_centers'][:, index], valid
                ) + distance(predicted['box_sizes'][:, index], target['box_sizes'][:, index], valid)
        terms |= self._in_the_image(predicted, joints, target, flags, depth)
        return {
            f'loss_{name}': self.weights[name] * terms[name].mean() for name in self.weights if name in terms
        }

    def _in_the_image(
        self,
        predicted: Mapping[str, Tensor],
        joints: Tensor,
        target: Mapping[str, Tensor],
        flags: Mapping[str, Tensor],
        depth: Tensor,
    ) -> dict[str, Tensor]:
        """Terms of points and projected joints."""
        transl = predicted['transl'][:, None]
        if self.detach_projection:
            joints = (joints - transl).detach() + transl
        projected = project(full(joints)) * cells_per_pixel(joints)
        points, points_valid = target['points'], flags['points_valid']
        body_points, body_valid = target['body_points'], flags['body_points_valid']
        if flags['box_valid'][:, :2].any() or not self.hand_grids_need_a_box:
            for hand, box in zip(
                (LEFT_HAND, RIGHT_HAND), predicted['boxes'][:, :2].detach().unbind(1), strict=True
            ):
                points, points_valid = in_hand_grid(points, points_valid, hand, box)
                body_points, body_valid = in_hand_grid(body_points, body_valid, hand, box)
                in_grid = to_hand_grid(projected[:, hand], box)
                projected = replaced(
                    projected, hand, moved_to(in_grid, points[:, hand, :2], points_valid[:, hand])
                )
        if flags['box_valid'][:, 2].any():
            moved = moved_to(projected[:, FACE], points[:, FACE, :2], points_valid[:, FACE])
            projected = replaced(projected, FACE, moved)
        first = slice(0, NUM_POINTS)
        each = torch.stack([points_valid[:, first]] * 2 + [points_valid[:, first] * depth], dim=2)
        return {
            'joints_2d': distance(projected, points[..., :2], points_valid[..., None]),
            'points': distance(predicted['points'], points[:, first], each),
            'body_points': distance(predicted['points'], body_points[:, first], body_valid[:, first, None]),
        }

    def _check(self, predicted: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None:
        joints = predicted['keypoints_3d']
        batch, count = len(joints), len(JOINTS)
        shapes = {
            'pose': (159,), 'pose_valid': (159,), 'betas': (10,), 'betas_valid': (), 'expression': (10,),
            'expression_valid': (), 'joints_3d': (count, 3), 'joints_3d_valid': (count,),
            'body_joints_3d': (count, 3), 'body_joints_3d_valid': (count,), 'points': (count, 3),
            'points_valid': (count,), 'body_points': (count, 3), 'body_points_valid': (count,),
            'box_centers': (3, 2), 'box_sizes': (3, 2), 'box_valid': (3,), 'has_depth': (),
        }  # fmt: skip
        expected = (len(predicted['transl']), count, 3)
        if tuple(joints.shape) != expected:
            raise ValueError(
                f'joints of shape {tuple(joints.shape)}: expected {expected}, the joint set {JOINTS.name}'
            )
        for name, shape in shapes.items():
            if name not in target:
                raise ValueError(f'the target lacks "{name}", (B, {", ".join(map(str, shape))})')
            if tuple(target[name].shape) != (batch, *shape):
                raise ValueError(
                    f'target "{name}" has shape {tuple(target[name].shape)}, expected {(batch, *shape)}'
                )


def distance(predicted: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """``|predicted - target| * valid``; exactly zero, with no gradient, where it is not valid."""
    valid = valid.expand_as(predicted)
    target = torch.where(valid > 0, full(target), 0.0)
    return torch.where(valid > 0, full(predicted) - target, 0.0).abs() * valid


def cells_per_pixel(like: Tensor) -> Tensor:
    """(2,) cells of the map per pixel of the network's input, along x and y."""
    return like.new_tensor([MAP_HW[1] / INPUT_SIZE_WH[0], MAP_HW[0] / INPUT_SIZE_WH[1]])


def to_hand_grid(points: Tensor, box: Tensor) -> Tensor:
    """Cells of a hand's grid (B, n, 2) of cells of the map, for boxes (B, 4) in pixels."""
    corners = (box.unflatten(1, (2, 2)) * cells_per_pixel(box))[:, :, None]  # (B, 2, 1, 2)
    return (points - corners[:, 0]) * HAND_CELLS / (corners[:, 1] - corners[:, 0])


def in_hand_grid(points: Tensor, valid: Tensor, hand: slice, box: Tensor) -> tuple[Tensor, Tensor]:
    """Targets (B, K, 3) and flags (B, K) with one hand in its grid and not valid outside of it."""
    xy = to_hand_grid(full(points[:, hand, :2]), box)
    z = points[:, hand, 2:] * (HAND_CELLS / DEPTH_CELLS)
    outside = ((xy < 0) | (xy >= HAND_CELLS)).any(dim=2)  # so NaN stays valid, and shows
    return replaced(points, hand, torch.cat([xy, z], dim=2)), replaced(valid, hand, valid[:, hand] * ~outside)


def replaced(values: Tensor, part: slice, new: Tensor) -> Tensor:
    """Values (B, K, ...) with other ones for a part."""
    return torch.cat([values[:, : part.start], new.to(values.dtype), values[:, part.stop :]], dim=1)


def moved_to(points: Tensor, target: Tensor, valid: Tensor) -> Tensor:
    """Points (B, n, 2) moved by the mean distance to their valid targets; without any they stay."""
    used = (valid == 1)[..., None]
    offset = torch.where(used, full(target) - points, 0.0).sum(1) / used.sum(1).clamp(min=1)
    return points + offset[:, None]
