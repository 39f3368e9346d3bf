"""Targets of SMPLer-X's losses, made of the labels of a sample.

Labels are those of the layout ``smplx`` of :mod:`mmhier.mesh_sample`; targets are what the official code
(arXiv 2309.17448) compares predictions with. Points are in cells of the body's grid: x and y are the crop's,
z is the depth beyond the pelvis, for hands beyond their wrist, for the face beyond the neck, between minus
and plus one metre (body) or 15 centimetres (hands, face). Points outside of the grid are not valid, nor is
what is not annotated.

Letters: B people, K = 137 points (the set ``smplx137``).
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from mmhier.mesh_sample import SMPLX_LAYOUT
from mmhier.models.heads.smplerx_head import DEPTH_CELLS, MAP_HW

JOINTS = SMPLX_LAYOUT.joints
NUM_POINTS = 65  # of those that are predicted as points, too
BODY, LEFT_HAND, RIGHT_HAND, FACE = slice(0, 25), slice(25, 45), slice(45, 65), slice(65, 137)
# The joint that a part is put at -> the part.
ROOTS = {'left_wrist': LEFT_HAND, 'right_wrist': RIGHT_HAND, 'neck': FACE}
# How far the grid reaches before and behind the root, metres.
BODY_REACH, PART_REACH = 1.0, 0.15
# Part -> the flags that say whether the annotated body has it.
PART_FLAGS = (
    (BODY, ('has_body_pose',)),
    (LEFT_HAND, ('has_body_pose', 'has_left_hand_pose')),
    (RIGHT_HAND, ('has_body_pose', 'has_right_hand_pose')),
    (FACE, ('has_body_pose', 'has_jaw_pose', 'has_expression')),
)


def whole_body_targets(labels: Mapping[str, Tensor], points_need_depth: bool = False) -> dict[str, Tensor]:
    """Make the targets of :meth:`mmhier.models.losses.WholeBodyLoss.compare`.

    Args:
        labels: Of the layout ``smplx``, confidences apart (``keypoints_2d_confidence`` and so on), and
            ``fitted_keypoints_3d`` (B, K, 3), joints of the annotated body, metres, any origin.
        points_need_depth: Points without a known depth are not valid in the image either.

    Raises:
        ValueError: If a label is missing.
    """
    wanted = [*SMPLX_LAYOUT.label_shapes, *(f'{name}_confidence' for name in SMPLX_LAYOUT.keypoint_fields)]
    if missing := [name for name in (*wanted, 'fitted_keypoints_3d') if name not in labels]:
        raise ValueError(f'the losses of whole bodies need labels of the layout smplx; {missing} are missing')
    pelvis = SMPLX_LAYOUT.pelvis_index
    joints, fitted = (
        labels[name] - labels[name][:, pelvis, None] for name in ('keypoints_3d', 'fitted_keypoints_3d')
    )
    known = (labels['keypoints_3d_confidence'] > 0).float()
    has_depth = known[:, pelvis]
    fitted_known = torch.zeros_like(known)
    for part, flags in PART_FLAGS:
        fitted_known[:, part] = torch.stack([labels[flag] for flag in flags]).amin(0)[:, None]

    depth, depth_known = depth_cells(parts_at_their_roots(joints)), known * roots_known(known)
    points = torch.cat([cells(labels['keypoints_2d']), depth[..., None]], dim=2)
    seen = (labels['keypoints_2d_confidence'] > 0).float() * inside(points[..., :2], MAP_HW[::-1])
    # In a person with a depth, a point without one cannot be told where it is.
    with_depth = has_depth[:, None] > 0
    in_depth = torch.where(with_depth, depth_known * inside(points[..., 2:], (DEPTH_CELLS,)), 1.0)
    if points_need_depth:
        in_depth = in_depth * with_depth
    at_roots = parts_at_their_roots(fitted)
    depth = depth_cells(at_roots)
    fitted_points = torch.cat([cells(labels['fitted_keypoints_2d']), depth[..., None]], dim=2)
    fitted_seen = (labels['fitted_keypoints_2d_confidence'] > 0).float() * fitted_known
    fitted_seen = fitted_seen * inside(fitted_points, (*MAP_HW[::-1], DEPTH_CELLS))

    boxes = cells(labels['part_boxes'].unflatten(2, (2, 2)))
    flags = [labels['has_global_orient'], *(labels[f'has_{name}'] for name in SMPLX_LAYOUT.rotations)]
    poses = [labels['global_orient'], *(labels[name] for name in SMPLX_LAYOUT.rotations)]
    valid = [flag[:, None].expand(-1, pose[0].numel()) for flag, pose in zip(flags, poses, strict=True)]
    return {
        'pose': torch.cat([pose.flatten(1) for pose in poses], dim=1),
        'pose_valid': torch.cat(valid, dim=1),
        'betas': labels['betas'],
        'betas_valid': labels['has_betas'],
        'expression': labels['expression'],
        'expression_valid': labels['has_expression'],
        'joints_3d': joints,
        'joints_3d_valid': known,
        'has_depth': has_depth,
        'body_joints_3d': at_roots,
        'body_joints_3d_valid': fitted_known,
        'points': points,
        'points_valid': seen * in_depth,
        'body_points': fitted_points,
        'body_points_valid': fitted_seen,
        'box_centers': boxes.mean(2),
        'box_sizes': boxes[:, :, 1] - boxes[:, :, 0],
        'box_valid': (labels['part_boxes_confidence'] > 0).float(),
    }


def parts_at_their_roots(joints: Tensor) -> Tensor:
    """Joints (B, K, 3) with the hands relative to their wrists and the face to the neck."""
    parts = [joints[:, BODY]]
    parts += [joints[:, part] - joints[:, JOINTS.index(root), None] for root, part in ROOTS.items()]
    return torch.cat(parts, dim=1)


def roots_known(known: Tensor) -> Tensor:
    """(B, K) whether the joint is known that each joint's depth is counted from."""
    pelvis = known[:, SMPLX_LAYOUT.pelvis_index, None].expand(-1, BODY.stop)
    parts = [
        known[:, JOINTS.index(root), None].expand(-1, part.stop - part.start) for root, part in ROOTS.items()
    ]
    return torch.cat([pelvis, *parts], dim=1)


def cells(points: Tensor) -> Tensor:
    """Cells of the map of points (..., 2) in crop units."""
    rows, columns = MAP_HW
    return points * rows + points.new_tensor([columns / 2, rows / 2])


def depth_cells(joints: Tensor) -> Tensor:
    """Cells (B, K) along z of joints (B, K, 3) relative to their roots."""
    reach = joints.new_full((len(JOINTS),), PART_REACH)
    reach[BODY] = BODY_REACH
    return (joints[..., 2] / reach + 1) / 2 * DEPTH_CELLS


def inside(points: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """1 for points (..., n) inside of a grid of these sizes, else 0."""
    limit = points.new_tensor(sizes)
    return ((points >= 0) & (points < limit)).all(-1).to(points.dtype)
