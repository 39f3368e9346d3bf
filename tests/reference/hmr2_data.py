"""The training pipeline of 4D-Humans step by step, one person at a time: for parity and as the pace to beat.

Per image: unpickle the people, decode the image, inflate the masks. Per person: filters, the image with the
mask as a fourth channel, random box, mirroring of the whole image, a warp of four channels, the colours of
float channels, joints one by one. Random numbers come from several global generators, as there.
"""

# ruff: noqa: NPY002
import copy
import io
import pickle
import random

import cv2
import numpy as np
import torch
from PIL import Image

MEAN = 255 * np.array([0.485, 0.456, 0.406])
STD = 255 * np.array([0.229, 0.224, 0.225])
SIZE = 256
BODY_FLIP = [0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21]
EXTRA_FLIP = [5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13, 14, 15, 16, 17, 18]
FLIP = BODY_FLIP + [25 + number for number in EXTRA_FLIP]
# Joint of SMPL's pose without the pelvis -> the one on the other side.
POSE_FLIP = [1, 0, 2, 4, 3, 5, 7, 6, 8, 10, 9, 11, 13, 12, 14, 16, 15, 18, 17, 20, 19, 22, 21]
AUGMENTATION = dict(
    scale=0.3, rotation=30.0, rotation_chance=0.6, flip_chance=0.5, shift=0.02, colour=0.2, extreme=0.1
)


def decode_sample(image: bytes, people: bytes, masks: bytes | None) -> list[dict]:
    """All people of an image, as webdataset and ``split_data`` hand them on."""
    people = pickle.loads(people)
    with Image.open(io.BytesIO(image)) as picture:
        picture.load()
        rgb = np.asarray(picture.convert('RGB'))
    loaded = None if masks is None else dict(np.load(io.BytesIO(masks)))['masks']
    split = []
    for number, person in enumerate(people):
        mask = np.ones_like(rgb[:, :, 0], dtype=bool) if loaded is None else loaded[number]
        split.append({'jpg': rgb, 'data.pyd': person, 'mask': mask})
    return split


def filter_person(item: dict, histogram: torch.Tensor | None = None, thresholds: torch.Tensor | None = None):
    """Forget what is not trusted; None if the person is left out."""
    person = item['data.pyd']
    joints = person['keypoints_2d']
    confidence = np.where(joints[:, 2] < 0.3, 0.0, joints[:, 2])
    person['keypoints_2d'] = np.concatenate([joints[:, :2], confidence[:, None]], axis=1)
    if person['has_betas'] and (np.abs(person['betas']) > 3).any():
        person['has_betas'] = False
    if histogram is not None and person['has_body_pose']:
        pose = torch.from_numpy(person['body_pose'])[None, 3:]
        if not probable(pose, histogram, thresholds):
            person['has_body_pose'] = False
    both = np.array(float((person['has_body_pose'] > 0) and (person['has_betas'] > 0)))
    person['has_betas'] = person['has_body_pose'] = both
    if not (person['keypoints_2d'][:, 2] > 0).sum() > 4:
        return None
    loss = person.get('extra_info', {}).get('fitting_loss', np.array({})).item().get('reprojection_loss')
    if loss is not None and not loss < 31000:
        return None
    if not person['has_betas'] > 0:
        person['has_betas'] = np.array(1.0)
        person['betas'] = person['betas'] * 0
    return item


def probable(pose: torch.Tensor, histogram: torch.Tensor, thresholds: torch.Tensor) -> bool:
    """Whether all of 21 joints of a pose (1, 69) are turned as motion capture knows it."""
    rotations = pose.reshape(23, 3)
    angle = rotations.norm(dim=1)
    axis = torch.nn.functional.normalize(rotations, p=2, dim=1, eps=1e-8)
    angle, axis = angle.clone(), axis.clone()
    while (too_big := angle > np.pi + 1e-6).any():
        angle[too_big] -= 2 * np.pi
        negative = angle < -1e-6
        axis[negative] *= -1
        angle[negative] *= -1
    rotations = (axis * angle[:, None])[:21]
    bins = histogram.shape[1]
    place = ((rotations + np.pi) / (2 * np.pi) * (bins - 1e-6)).long().clip(0, bins - 1)
    density = histogram[torch.arange(21), place[:, 0], place[:, 1], place[:, 2]]
    density[((rotations < -np.pi) | (rotations >= np.pi)).any(dim=1)] = 0
    return bool((density > thresholds).all())


def draw_augmentation() -> dict:
    """Random numbers of a crop, without the extreme ones."""
    config = AUGMENTATION
    shift = [np.clip(np.random.randn(), -1, 1) * config['shift'] for _ in range(2)]
    scale = np.clip(np.random.randn(), -1, 1) * config['scale'] + 1
    turned = random.random() <= config['rotation_chance']
    rotation = np.clip(np.random.randn(), -2, 2) * config['rotation'] if turned else 0
    flip = random.random() <= config['flip_chance']
    colour = [random.uniform(1 - config['colour'], 1 + config['colour']) for _ in range(3)]
    return dict(shift=shift, scale=scale, rotation=rotation, flip=flip, colour=colour)


def patch_matrix(center, size, scale, rotation):
    """Matrix (2, 3) from three pairs of points."""
    angle = np.pi * rotation / 180
    sin, cos = np.sin(angle), np.cos(angle)
    half = size * scale * 0.5
    down = np.array([-half * sin, half * cos], np.float32)
    right = np.array([half * cos, half * sin], np.float32)
    source = np.float32([center, center + down, center + right])
    target = np.float32([[SIZE / 2, SIZE / 2], [SIZE / 2, SIZE], [SIZE, SIZE / 2]])
    return cv2.getAffineTransform(source, target)


def flip_keypoints(joints: np.ndarray, width: float) -> np.ndarray:
    """Mirror joints (44, 3) or (44, 4)."""
    joints = joints.copy()
    joints[:, 0] = width - joints[:, 0] - 1
    return joints[FLIP, :]


def turn_orientation(axis_angle: np.ndarray, rotation: float) -> np.ndarray:
    """Orientation (3,) of a body whose picture is turned by degrees."""
    angle = np.deg2rad(-rotation)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    matrix, _ = cv2.Rodrigues(axis_angle)
    return cv2.Rodrigues(turn @ matrix)[0].T[0].astype(np.float32)


def make_example(item: dict, augmentation: dict) -> dict:
    """Crop, annotation and flags of a person.

    Args:
        item: One of :func:`decode_sample`.
        augmentation: As :func:`draw_augmentation` has it.

    Returns:
        ``img`` (3, 256, 256) RGB, normalised; ``mask``; labels.
    """
    person = item['data.pyd']
    rgba = np.concatenate([item['jpg'], item['mask'].astype(np.uint8)[:, :, None] * 255], axis=2)
    size = (person['scale'] * 200).max()
    rotation, flip, scale = augmentation['rotation'], augmentation['flip'], augmentation['scale']
    center = np.array(person['center'], float) + size * np.array(augmentation['shift'])
    width = rgba.shape[1]

    points = person['keypoints_3d'].copy()
    if flip:
        points = flip_keypoints(points, 1)
    turn = np.eye(3)
    if rotation:
        angle = -rotation * np.pi / 180
        turn[0, :2] = np.cos(angle), -np.sin(angle)
        turn[1, :2] = np.sin(angle), np.cos(angle)
    points[:, :3] = np.einsum('ij,kj->ki', turn, points[:, :3])

    if flip:
        rgba = rgba[:, ::-1, :]
        center[0] = width - center[0] - 1
    matrix = patch_matrix(center, size, scale, rotation)
    patch = cv2.warpAffine(rgba, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
    patch = patch.copy().copy()
    image = np.transpose(patch, (2, 0, 1)).astype(np.float32)

    orientation, pose, betas = person['body_pose'][:3], person['body_pose'][3:], person['betas']
    if flip:
        orientation, pose, betas = orientation.copy(), pose.copy(), betas.copy()
        pose = pose.reshape(23, 3)[POSE_FLIP].ravel()
        for values in (orientation, pose):
            values[1::3] *= -1
            values[2::3] *= -1
    orientation = turn_orientation(orientation, rotation)

    for channel in range(3):
        image[channel] = np.clip(image[channel] * augmentation['colour'][channel], 0, 255)
        image[channel] = (image[channel] - MEAN[channel]) / STD[channel]
    joints = flip_keypoints(person['keypoints_2d'], width) if flip else person['keypoints_2d'].copy()
    for joint in joints:
        joint[:2] = np.dot(matrix, np.array([joint[0], joint[1], 1.0]))
    joints[:, :2] = joints[:, :2] / SIZE - 0.5
    mask = (image[3] / 255).clip(0, 1)
    if (mask < 0.5).all():
        mask = np.ones_like(mask)
    return dict(
        img=image[:3], mask=mask, keypoints_2d=joints.astype(np.float32),
        keypoints_3d=points.astype(np.float32), global_orient=orientation, body_pose=pose.astype(np.float32),
        betas=betas.astype(np.float32), has_body_pose=person['has_body_pose'], has_betas=person['has_betas'],
    )  # fmt: skip


def run(sample: tuple[bytes, bytes, bytes | None], histogram=None, thresholds=None) -> list[dict]:
    """All people of one image that are not left out."""
    made = []
    for item in decode_sample(*sample):
        item = filter_person(item, histogram, thresholds)
        if item is not None:
            copy.deepcopy(AUGMENTATION)
            made.append(make_example(item, draw_augmentation()))
    return made
