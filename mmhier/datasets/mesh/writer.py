"""Writes the npz files that :class:`.npz_dataset.MeshNpzDataset` reads, from images and body parameters.

To train on one's own data give, for every person, an image, the parameters of a SMPL body in the camera's
frame, and the camera. All 44 joints then come from the body, in 3-D and, projected, in 2-D.

Convention:
    Camera: x right, y down, z forward, metres. Pixels: ``K @ point`` divided by depth; (0, 0) is the centre
    of the first.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmhier.atomic import new_file
from mmhier.body_models.smpl import SMPL
from mmhier.datasets.mesh.npz_dataset import ROW_SHAPES
from mmhier.mesh_sample import SMPL_LAYOUT
from mmhier.safe_files import read_json, read_npz

# Factor from a tight box to ``scale``, as in the evaluation sets of HMR2.0.
BOX_PADDING = 1.2
NUM_OPENPOSE = 25
# Bodies at a time.
CHUNK = 256


def people_from_bodies(
    body: SMPL,
    global_orient: np.ndarray,
    body_pose: np.ndarray,
    betas: np.ndarray,
    transl: np.ndarray,
    intrinsics: np.ndarray,
    image_wh: np.ndarray,
) -> dict[str, np.ndarray]:
    """Joints and parameters of N people.

    Args:
        body: Body model with the 44 joints ``hmr44``.
        global_orient: (N, 3) axis-angle, body to camera.
        body_pose: (N, 69) axis-angle.
        betas: (N, 10).
        transl: (N, 3) metres.
        intrinsics: (N, 3, 3) pixels.
        image_wh: (N, 2) pixels.

    Returns:
        The fields of ``ROW_SHAPES``. Joints outside the image or behind the camera have confidence 0 in 2-D.
    """
    count = len(betas)
    joints = pose_joints(body, global_orient, body_pose, betas) + np.asarray(transl)[:, None]
    return dict(
        body_pose=np.concatenate([global_orient, body_pose], 1).astype(np.float32),
        betas=np.asarray(betas, np.float32).reshape(count, SMPL_LAYOUT.num_betas),
        has_body_pose=np.ones(count, np.float32),
        has_betas=np.ones(count, np.float32),
        **project_joints(joints, intrinsics, image_wh),
    )


def pose_joints(
    body: SMPL,
    global_orient: np.ndarray,
    body_pose: np.ndarray,
    betas: np.ndarray,
    transl: np.ndarray | None = None,
) -> np.ndarray:
    """Joints (N, K, 3) of bodies (N, ...), metres, float64; without ``transl`` at the origin."""
    given = dict(global_orient=global_orient, body_pose=body_pose, betas=betas)
    given |= {} if transl is None else dict(transl=transl)
    tensors = [torch.as_tensor(np.asarray(values, np.float32)) for values in given.values()]
    with torch.no_grad():
        chunks = zip(*(tensor.split(CHUNK) for tensor in tensors), strict=True)
        parts = [body(**dict(zip(given, chunk, strict=True))).joints for chunk in chunks]
    return torch.cat(parts).double().numpy()


def project_joints(
    joints: np.ndarray, intrinsics: np.ndarray, image_wh: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Fields of the 44 joints.

    Args:
        joints: (N, 44, 3) metres, frame of the camera.
        intrinsics: (N, 3, 3) pixels.
        image_wh: (N, 2) pixels. Without it joints count as seen wherever they are in front of the camera.

    Returns:
        The four fields of keypoints of ``ROW_SHAPES``. Joints outside the image or behind the camera have
        confidence 0 in 2-D.
    """
    projected = np.einsum('nij,nkj->nki', intrinsics, joints)
    in_front = projected[..., 2:] > 0
    pixels = projected[..., :2] / np.where(in_front, projected[..., 2:], 1)
    seen = in_front[..., 0]
    if image_wh is not None:
        seen = seen & ((pixels >= 0) & (pixels <= image_wh[:, None] - 1)).all(-1)
    flat = np.where(seen[..., None], pixels, 0)
    keypoints_2d = np.concatenate([flat, seen[..., None]], -1).astype(np.float32)
    keypoints_3d = np.concatenate([joints, np.ones((*joints.shape[:2], 1))], -1).astype(np.float32)
    return dict(
        body_keypoints_2d=keypoints_2d[:, :NUM_OPENPOSE],
        extra_keypoints_2d=keypoints_2d[:, NUM_OPENPOSE:],
        body_keypoints_3d=keypoints_3d[:, :NUM_OPENPOSE],
        extra_keypoints_3d=keypoints_3d[:, NUM_OPENPOSE:],
    )


def write_people(
    path: str | Path, imgname: Sequence[str], bbox_xywh: np.ndarray, fields: dict[str, np.ndarray],
    padding: float = BOX_PADDING, gender: Sequence[str] | None = None,
) -> None:  # fmt: skip
    """Write a file of N people.

    Args:
        path: The npz file; replaced at once when it is complete.
        imgname: N paths relative to the folder of images.
        bbox_xywh: (N, 4) tight boxes, pixels: left, top, width, height.
        fields: Some of ``ROW_SHAPES``; what is left out counts as not annotated.
        padding: Factor on the boxes.
        gender: N names of the body model that ``betas`` belong to; by default they are the neutral one's.

    Raises:
        ValueError: If a field is unknown or has another shape.
    """
    count = len(imgname)
    boxes = np.asarray(bbox_xywh, np.float32)
    if boxes.shape != (count, 4):
        raise ValueError(f'bbox_xywh must be ({count}, 4), got {boxes.shape}')
    for name, value in fields.items():
        if name not in ROW_SHAPES:
            raise ValueError(f'unknown field {name!r}; known: {", ".join(ROW_SHAPES)}')
        if value.shape != (count, *ROW_SHAPES[name]):
            raise ValueError(f'{name} must be {(count, *ROW_SHAPES[name])}, got {value.shape}')
    if gender is not None:
        if len(gender) != count:
            raise ValueError(f'gender must be ({count},), got ({len(gender)},)')
        fields = fields | dict(gender=np.array(list(gender), np.str_))
    center = boxes[:, :2] + boxes[:, 2:] / 2
    names = np.array(list(imgname), np.str_)
    with new_file(path) as temporary, temporary.open('wb') as file:
        np.savez(file, imgname=names, center=center, scale=boxes[:, 2:] * padding, **fields)


def convert_synthetic(folder: str | Path, split: str, body: SMPL, image_folder: str = '') -> dict[str, Any]:
    """Read a split of synthetic people (:mod:`mmhier.datasets.synthetic.dataset_format`).

    Args:
        folder: Of the data set.
        split: 'train' or 'val'.
        body: The open body with the joints ``hmr44``.
        image_folder: Put before the names of images.

    Returns:
        ``imgname``, ``bbox_xywh`` and ``fields`` for :func:`write_people`.

    Raises:
        ValueError: If the two annotation files do not belong together.
    """
    annotations = Path(folder, 'annotations')
    coco = read_json(annotations / f'person_keypoints_{split}.json')
    smpl = read_npz(annotations / f'smpl_{split}.npz')
    people = coco['annotations']
    if [person['id'] for person in people] != smpl['annotation_id'].tolist():
        raise ValueError(f'{annotations}: person_keypoints_{split}.json and smpl_{split}.npz do not match')
    images = {image['id']: image for image in coco['images']}
    own = [images[person['image_id']] for person in people]
    image_wh = np.array([(image['width'], image['height']) for image in own])
    names = ('global_orient', 'body_pose', 'betas', 'transl')
    return dict(
        imgname=[os.path.join(image_folder, image['file_name']) for image in own],
        bbox_xywh=np.array([person['bbox'] for person in people], np.float32),
        fields=people_from_bodies(body, *(smpl[name] for name in names), smpl['K'], image_wh),
    )
