"""Small files of HumanData with random content, in the layout of those that SMPLer-X is trained on."""

from pathlib import Path
from typing import Any

import numpy as np

NUM_POINTS = 190


def random_human_data(
    count: int = 5,
    seed: int = 0,
    body: str = 'smplx',
    image_hw: tuple[int, int] = (240, 320),
    folder: str = 'images',
) -> dict[str, Any]:
    """Fields of a file.

    Args:
        count: People.
        seed: Of the content.
        body: 'smplx', 'smpl' or 'smplh'.
        image_hw: Height and width of all images.
        folder: Of the images.

    Returns:
        Field -> content; the last 40 points are masked out.
    """
    rng = np.random.default_rng(seed)
    height, width = image_hw
    center = np.array([width, height]) / 2 + rng.uniform(-20, 20, (count, 2))
    size = np.array([0.3 * width, 0.8 * height]) * rng.uniform(0.8, 1, (count, 2))
    points = center[:, None] + rng.uniform(-0.5, 0.5, (count, NUM_POINTS, 2)) * size[:, None]
    places = np.concatenate([rng.normal(0, 0.4, (count, NUM_POINTS, 3)), np.ones((count, NUM_POINTS, 1))], 2)
    mask = np.ones(NUM_POINTS, np.uint8)
    mask[-40:] = 0

    def box(middle: np.ndarray, size: Any) -> np.ndarray:
        size = np.broadcast_to(size, middle.shape)
        return np.concatenate([middle - size / 2, size, np.ones((count, 1))], 1).astype(np.float32)

    parameters = {
        'global_orient': np.array([np.pi, 0, 0]) + rng.normal(0, 0.1, (count, 3)),
        'body_pose': rng.normal(0, 0.2, (count, {'smpl': 23}.get(body, 21), 3)),
        'betas': rng.normal(0, 0.8, (count, 10)),
        'transl': rng.normal([0, 0, 4], 0.3, (count, 3)),
    }
    if body == 'smplx':
        parameters |= {
            'left_hand_pose': rng.normal(0, 0.2, (count, 15, 3)),
            'right_hand_pose': rng.normal(0, 0.2, (count, 15, 3)),
            'jaw_pose': rng.normal(0, 0.1, (count, 3)),
            'expression': rng.normal(0, 1, (count, 10)),
            'leye_pose': np.zeros((count, 3)),
        }
    return {
        'image_path': np.array([f'{folder}/{number:04d}.jpg' for number in range(count)]),
        'bbox_xywh': box(center, size),
        'lhand_bbox_xywh': box(points[:, 20], 20.0),
        'rhand_bbox_xywh': box(points[:, 21], 20.0),
        'face_bbox_xywh': box(points[:, 15], 30.0),
        'keypoints2d_smplx': np.concatenate([points, np.ones((count, NUM_POINTS, 1))], 2),
        'keypoints2d_smplx_mask': mask,
        'keypoints3d_smplx': places,
        'keypoints3d_smplx_mask': mask,
        body: parameters,
        'meta': {
            'height': np.full(count, height),
            'width': np.full(count, width),
            'gender': np.array(['female', 'male', 'neutral'])[np.arange(count) % 3],
        },
        'misc': {'kind': 'random'},
        '__keypoints_compressed__': np.array(False),
    }


def write_human_data(path: Path, content: dict[str, Any] | None = None, **settings: Any) -> dict[str, Any]:
    """Write such a file; what is None in ``content`` is left out.

    Args:
        path: The file.
        content: Fields in place of the random ones.
        settings: See :func:`random_human_data`.

    Returns:
        What was written.
    """
    fields = random_human_data(**settings) | (content or {})
    fields = {key: value for key, value in fields.items() if value is not None}
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **fields)
    return fields


def compressed(fields: dict[str, Any]) -> dict[str, Any]:
    """The same content with the points left out that are masked."""
    changed = {'__keypoints_compressed__': np.array(True)}
    for key, value in fields.items():
        if f'{key}_mask' in fields:
            changed[key] = value[:, fields[f'{key}_mask'] == 1]
    return fields | changed
