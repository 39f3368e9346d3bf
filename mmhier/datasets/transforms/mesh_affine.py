"""From the image to the crop: one warp that shifts, scales, turns and mirrors, and the annotation after it.

Convention:
    ``box_rotation`` turns the person counter-clockwise as seen in the image, after mirroring; in the camera
    frame (x right, y down, z forward) that is a rotation by minus the angle about z. A mirrored person has
    left and right exchanged, x of points negated, y and z of axis-angle vectors negated.
"""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmpose.registry import TRANSFORMS

from mmhier.body_models.joint_sets import JOINT_SETS
from mmhier.geometry.quaternions import turn_axis_angle
from mmhier.mesh_sample import CROP_SIZE, INPUT_SIZE_WH, JOINTS

# Columns of the square at the left of the input.
MARGIN = (CROP_SIZE - INPUT_SIZE_WH[0]) // 2
FLIP = np.array(JOINTS.flip)
# Of the joints of ``body_pose``, which has no pelvis.
POSE_FLIP = np.array(JOINT_SETS['smpl24'].flip[1:]) - 1

_MIRRORED_AXES = np.array([1.0, -1.0, -1.0], np.float32)


@TRANSFORMS.register_module()
class MeshAffine(BaseTransform):
    """Cut the crop out of the image and bring the annotation into it.

    The pixels are those of a square of 256 x 256 without its outer columns, as a network of HMR2.0 sees it,
    warped with bilinear interpolation, black outside the image.
    """

    def transform(self, results: dict) -> dict:
        """Replace ``img`` by the crop (256, 192, 3), bring annotations into it, add ``crop_matrix``.

        ``original_keypoints_2d`` keeps the joints in pixels of the image.
        """
        center, size = results['box_center'], results['box_size']
        rotation, flip = results['box_rotation'], results['flip']
        image_width = results['ori_shape'][1]
        matrix = crop_matrix(center, size, rotation, image_width if flip else None)
        warp = matrix.copy()
        warp[0, 2] -= MARGIN
        if (factor := results.get('img_reduction', 1)) > 1:
            warp = from_reduced(warp, factor)
        results['img'] = cv2.warpAffine(results['img'], warp, INPUT_SIZE_WH, flags=cv2.INTER_LINEAR)
        results['crop_matrix'] = matrix.astype(np.float32)
        keypoints = results['keypoints_2d']
        results['original_keypoints_2d'] = keypoints
        results['keypoints_2d'] = crop_keypoints(keypoints, matrix, flip)
        results['keypoints_3d'] = turn_points(results['keypoints_3d'], rotation, flip)
        if flip:
            results['global_orient'] = results['global_orient'] * _MIRRORED_AXES
            results['body_pose'] = mirror_pose(results['body_pose'])
        if results['has_body_pose']:
            results['global_orient'] = turn_orientation(results['global_orient'], rotation)
        return results


def crop_matrix(
    center: np.ndarray, size: float, rotation: float = 0.0, mirrored_width: int | None = None
) -> np.ndarray:
    """Matrix from pixels of the image to pixels of the square crop.

    Args:
        center: (2,) centre of the square, pixels of the image.
        size: Its side, pixels of the image.
        rotation: Degrees, see the top of this file.
        mirrored_width: Width of the image if the crop is mirrored, else None.

    Returns:
        (2, 3) float64.
    """
    angle = np.deg2rad(rotation)
    zoom = CROP_SIZE / size
    cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
    x, y = float(center[0]), float(center[1])
    if mirrored_width is not None:
        x = mirrored_width - 1 - x
    half = CROP_SIZE / 2
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


def crop_keypoints(keypoints: np.ndarray, matrix: np.ndarray, flip: bool) -> np.ndarray:
    """Bring joints (44, 3) from pixels of the image to crop units; zero where not annotated."""
    placed = keypoints.copy()
    placed[:, :2] = (keypoints[:, :2] @ matrix[:, :2].T + matrix[:, 2]) / CROP_SIZE - 0.5
    placed[placed[:, 2] <= 0] = 0
    return placed[FLIP] if flip else placed


def turn_points(points: np.ndarray, rotation: float, flip: bool) -> np.ndarray:
    """Mirror points (44, 4), then turn them about z."""
    if flip:
        points = points[FLIP]
        points[:, 0] *= -1
    if rotation:
        angle = np.deg2rad(rotation)
        cos, sin = np.cos(angle), np.sin(angle)
        x, y = points[:, 0].copy(), points[:, 1].copy()
        points = points.copy()
        points[:, 0], points[:, 1] = cos * x + sin * y, cos * y - sin * x
    return points


def mirror_pose(body_pose: np.ndarray) -> np.ndarray:
    """The pose (23, 3) of a mirrored body."""
    return body_pose[POSE_FLIP] * _MIRRORED_AXES


def turn_orientation(global_orient: np.ndarray, rotation: float) -> np.ndarray:
    """The orientation (1, 3) of a body whose picture is turned."""
    if not rotation:
        return global_orient
    turn = np.array([0.0, 0.0, -np.deg2rad(rotation)])
    return turn_axis_angle(global_orient, turn).astype(np.float32)
