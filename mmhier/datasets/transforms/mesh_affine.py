"""From the image to the crop: one warp that shifts, scales, turns and mirrors, and the annotation after it.

Convention:
    ``box_rotation`` turns the person counter-clockwise as seen in the image, after mirroring; in the camera
    frame (x right, y down, z forward) that is a rotation by minus the angle about z. A mirrored person has
    left and right exchanged, x of points negated, y and z of axis-angle vectors negated.
"""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmpose.registry import TRANSFORMS

from mmhier.geometry.quaternions import turn_axis_angle
from mmhier.mesh_sample import PARTS, SMPL_LAYOUT, SampleLayout, layout_of

_MIRRORED_AXES = np.array([1.0, -1.0, -1.0], np.float32)
_PARTS_FLIP = [PARTS.index(part) for part in ('right_hand', 'left_hand', 'face')]


@TRANSFORMS.register_module()
class MeshAffine(BaseTransform):
    """Cut the crop out of the image and bring the annotation into it.

    The pixels are those of a square without its outer columns, of 256 x 256 as a network of HMR2.0 sees it,
    of 512 x 512 as SMPLer-X's does, warped with bilinear interpolation, black outside the image.
    """

    def transform(self, results: dict) -> dict:
        """Replace ``img`` by the crop, bring annotations into it, add ``crop_matrix``.

        ``original_keypoints_2d`` keeps the joints in pixels of the image.
        """
        layout = layout_of(results)
        center, size = results['box_center'], results['box_size']
        rotation, flip = results['box_rotation'], results['flip']
        image_width = results['ori_shape'][1]
        matrix = crop_matrix(center, size, rotation, image_width if flip else None, layout.crop_size)
        warp = matrix.copy()
        warp[0, 2] -= layout.margin
        if (factor := results.get('img_reduction', 1)) > 1:
            warp = from_reduced(warp, factor)
        results['img'] = cv2.warpAffine(results['img'], warp, layout.input_size_wh, flags=cv2.INTER_LINEAR)
        results['crop_matrix'] = matrix.astype(np.float32)
        results['original_keypoints_2d'] = results['keypoints_2d']
        results['keypoints_2d'] = crop_keypoints(results['keypoints_2d'], matrix, flip, layout)
        results['keypoints_3d'] = turn_points(results['keypoints_3d'], rotation, flip, layout)
        if layout.has_parts:
            results['fitted_keypoints_2d'] = crop_keypoints(
                results['fitted_keypoints_2d'], matrix, flip, layout
            )
            results['part_boxes'] = crop_boxes(results['part_boxes'], matrix, flip, layout)
        if flip:
            results['global_orient'] = results['global_orient'] * _MIRRORED_AXES
            results |= mirror_pose(results, layout)
        if results['has_body_pose']:
            results['global_orient'] = turn_orientation(results['global_orient'], rotation)
        return results


def crop_matrix(
    center: np.ndarray,
    size: float,
    rotation: float = 0.0,
    mirrored_width: int | None = None,
    crop_size: int = SMPL_LAYOUT.crop_size,
) -> np.ndarray:
    """Matrix from pixels of the image to pixels of the square crop.

    Args:
        center: (2,) centre of the square, pixels of the image.
        size: Its side, pixels of the image.
        rotation: Degrees, see the top of this file.
        mirrored_width: Width of the image if the crop is mirrored, else None.
        crop_size: Side of the square crop in its own pixels.

    Returns:
        (2, 3) float64.
    """
    angle = np.deg2rad(rotation)
    zoom = crop_size / size
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    x, y = float(center[0]), float(center[1])
    if mirrored_width is not None:
        x = mirrored_width - 1 - x
    half = crop_size / 2
    matrix = np.array([[cos, sin, half - cos * x - sin * y], [-sin, cos, half + sin * x - cos * y]])
    if mirrored_width is not None:  # pixels are mirrored first: x -> width - 1 - x
        matrix[:, 2] += matrix[:, 0] * (mirrored_width - 1)
        matrix[:, 0] *= -1
    return matrix


def from_reduced(matrix: np.ndarray, factor: int) -> np.ndarray:
    """The matrix for an image in which a pixel is the mean of ``factor`` x ``factor`` pixels."""
    reduced = matrix.copy()
    reduced[:, 2] += matrix[:, :2].sum(1) * (factor - 1) / 2
    reduced[:, :2] *= factor
    return reduced


def crop_keypoints(
    keypoints: np.ndarray, matrix: np.ndarray, flip: bool, layout: SampleLayout = SMPL_LAYOUT
) -> np.ndarray:
    """Bring joints (K, 3) from pixels of the image to crop units; zero where not annotated."""
    placed = keypoints.copy()
    placed[:, :2] = (keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]) / layout.crop_size - 0.5
    placed[placed[:, 2] <= 0] = 0
    return placed[layout.joint_flip] if flip else placed


def crop_boxes(boxes: np.ndarray, matrix: np.ndarray, flip: bool, layout: SampleLayout) -> np.ndarray:
    """Boxes (3, 5) of the parts around those of the image, in crop units; zero where not annotated."""
    corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]]  # (3, 4, 2)
    placed = (corners @ matrix[:, :2].T + matrix[:, 2]) / layout.crop_size - 0.5
    around = np.concatenate([placed.min(1), placed.max(1), boxes[:, 4:]], 1).astype(np.float32)
    around[around[:, 4] <= 0] = 0
    return around[_PARTS_FLIP] if flip else around


def turn_points(
    points: np.ndarray, rotation: float, flip: bool, layout: SampleLayout = SMPL_LAYOUT
) -> np.ndarray:
    """Mirror points (K, 4), then turn them about z."""
    if flip:
        points = points[layout.joint_flip]
        points[:, 0] *= -1
    if rotation:
        angle = np.deg2rad(rotation)
        cos, sin = np.cos(angle), np.sin(angle)
        x, y = points[:, 0].copy(), points[:, 1].copy()
        points = points.copy()
        points[:, 0], points[:, 1] = cos * x + sin * y, cos * y - sin * x
    return points


def mirror_pose(fields: Mapping[str, Any], layout: SampleLayout = SMPL_LAYOUT) -> dict[str, Any]:
    """The fields of pose, and the flags of hands, of a mirrored body."""
    made = {name: fields[source][rows] * _MIRRORED_AXES for name, (source, rows) in layout.mirrored.items()}
    if layout.has_parts:
        for one, other in (('left', 'right'), ('right', 'left')):
            made[f'has_{one}_hand_pose'] = fields[f'has_{other}_hand_pose']
    return made


def turn_orientation(global_orient: np.ndarray, rotation: float) -> np.ndarray:
    """The orientation (1, 3) of a body whose picture is turned."""
    if not rotation:
        return global_orient
    turn = np.array([0.0, 0.0, -np.deg2rad(rotation)])
    return turn_axis_angle(global_orient, turn).astype(np.float32)
