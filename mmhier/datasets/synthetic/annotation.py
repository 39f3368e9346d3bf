"""The truth about every person in an image, read from the z-buffer and the posed body.

Convention: camera frame and pixel coordinates of :mod:`.camera`.
"""

from typing import NamedTuple

import cv2
import numpy as np

from mmhier.datasets.synthetic.camera import SUPERSAMPLING, Camera
from mmhier.datasets.synthetic.people import BodyKit, Person
from mmhier.datasets.synthetic.whole_body_annotation import WholeBodyKit, whole_body_truth
from mmhier.geometry.array_rotations import matrix_to_axis_angle
from mmhier.rasterizer import FrameBuffer, project

# A keypoint is seen when the first surface on its ray is farther away, or is the person's own surface within
# this distance of the keypoint, measured on the T-pose template (metres): about the thickness of flesh there.
KEYPOINT_REACH = np.array(
    [0.045] * 3 + [0.06] * 2 + [0.16] * 2 + [0.11] * 2 + [0.09] * 2 + [0.21] * 2 + [0.13] * 2 + [0.10] * 2
)


class Annotation(NamedTuple):
    """The truth about one visible person: :mod:`.dataset_format`, or :mod:`.human_data_format`."""

    keypoints: np.ndarray
    bbox: list[float]
    area: int
    segmentation: list[list[float]]
    smpl: dict[str, np.ndarray]


def keypoint_visibility(
    keypoints: np.ndarray, number: int, buffer: FrameBuffer, camera: Camera, kit: BodyKit
) -> np.ndarray:
    """COCO visibility from the z-buffer.

    Args:
        keypoints: (17, 3) camera frame, metres.
        number: object number of the person.
        buffer: the rasterised scene.
        camera: the camera.
        kit: the body.

    Returns:
        (17,) integers: 0 outside the image, 1 hidden by another object or by the person itself, 2 seen.
    """
    height, width = buffer.image_hw
    screen = project(keypoints, camera.fine_intrinsics())
    column, row = np.floor(screen[:, 0]).astype(int), np.floor(screen[:, 1]).astype(int)
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (screen[:, 2] > 0)
    pixel = np.where(inside, row * width + column, 0)
    own = buffer.objects[pixel] == number
    faces = np.where(own, buffer.faces[pixel], 0)
    hit = np.einsum('ck,kcd->kd', buffer.barycentric[:, pixel], kit.texture[kit.faces[faces]])
    near = own & (np.linalg.norm(hit - kit.keypoint_template, axis=1) < KEYPOINT_REACH)
    seen = near | (buffer.inverse_depth[pixel] * screen[:, 2] <= 1.0)
    return np.where(inside, np.where(seen, 2, 1), 0)


def annotate(
    number: int,
    person: Person,
    buffer: FrameBuffer,
    camera: Camera,
    kit: BodyKit,
    whole: WholeBodyKit | None = None,
) -> Annotation | None:
    """The truth about one person, or None when nothing of them is visible; ``whole`` of whole bodies."""
    height, width = camera.image_hw
    fine = (buffer.objects == number).reshape(height * SUPERSAMPLING, width * SUPERSAMPLING).view(
        np.uint8
    ) * 255
    mask = (cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA) >= 127).view(np.uint8)
    area = cv2.countNonZero(mask)
    if area == 0:
        return None
    bbox = cv2.boundingRect(mask)
    coco17 = camera.to_camera(person.coco17)
    visible = keypoint_visibility(coco17, number, buffer, camera, kit)
    screen = project(coco17, camera.intrinsics)[:, :2]
    keypoints = np.concatenate([np.where(visible[:, None] > 0, screen, 0.0), visible[:, None]], axis=1)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    outlines = [contour.reshape(-1).astype(float).tolist() for contour in contours if len(contour) >= 3]
    if whole is not None:
        smpl = whole_body_truth(number, person, buffer, camera, kit, whole)
    else:
        seen = np.concatenate([screen, visible[:, None]], axis=1)
        smpl = _smpl(person, camera) | {'coco17_3d': coco17, 'coco17_2d': seen}
    return Annotation(keypoints, [float(value) for value in bbox], area, outlines, smpl)


def _smpl(person: Person, camera: Camera) -> dict[str, np.ndarray]:
    """Parameters and joints of a body of SMPL's skeleton."""
    joints = camera.to_camera(person.joints)
    # The root turns about its own rest position, so the camera-frame translation is found from the pelvis.
    rest = person.joints[0] - person.transl
    return {
        'global_orient': matrix_to_axis_angle(camera.rotation @ person.root),
        'body_pose': person.pose.body_pose,
        'betas': person.betas,
        'transl': joints[0] - rest,
        'joints3d': joints,
    }
