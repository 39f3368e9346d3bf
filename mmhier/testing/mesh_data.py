"""Small data sets of mesh recovery: random numbers and drawn pictures in the layouts of the real ones."""

import io
import pickle
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmhier.mesh_sample import SMPL_LAYOUT

JOINTS = SMPL_LAYOUT.joints
DOT_RADIUS = 3


def random_person(rng: np.random.Generator, image_hw: tuple[int, int] = (240, 320)) -> dict[str, Any]:
    """A person as ``data.pyd`` of 4D-Humans has it: joints inside a box inside the image."""
    height, width = image_hw
    size = rng.uniform(0.4, 0.6) * min(image_hw)
    center = np.array([width, height]) / 2 + rng.uniform(-0.1, 0.1, 2) * min(image_hw)
    points = center + rng.uniform(-0.45, 0.45, (len(JOINTS), 2)) * size
    confidence = rng.uniform(0.5, 1, (len(JOINTS), 1))
    return {
        'keypoints_2d': np.hstack([points, confidence]),
        'keypoints_3d': np.hstack([rng.normal(0, 0.4, (len(JOINTS), 3)), np.ones((len(JOINTS), 1))]),
        'center': center,
        'scale': np.array([0.8 * size, size]) / 200,
        'body_pose': rng.normal(0, 0.2, 72),
        'betas': rng.normal(0, 0.8, 10),
        'has_body_pose': np.array(1.0),
        'has_betas': np.array(1.0),
        'extra_info': {'fitting_loss': np.array({'reprojection_loss': rng.uniform(0, 20000)})},
    }


def draw_image(
    rng: np.random.Generator, image_hw: tuple[int, int], people: Sequence[dict], grain: float = 0.0
) -> np.ndarray:
    """A picture (H, W, 3) uint8 with smooth noise and a dot at every joint; ``grain`` adds fine noise."""
    noise = rng.integers(0, 256, (8, 8, 3), np.uint8)
    image = cv2.resize(noise, image_hw[::-1], interpolation=cv2.INTER_CUBIC)
    for person in people:
        for x, y, _ in person['keypoints_2d']:
            cv2.circle(image, (round(x), round(y)), DOT_RADIUS, rng.integers(0, 256, 3).tolist(), -1)
    if grain:
        image = (image + rng.normal(0, grain, image.shape)).clip(0, 255).astype(np.uint8)
    return image


def encode(image: np.ndarray, suffix: str = 'jpg') -> bytes:
    """The bytes of an image file."""
    return cv2.imencode(f'.{suffix}', image)[1].tobytes()


def write_tar(path: Path, members: dict[str, bytes]) -> Path:
    """Write a tar from names and contents."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, 'w') as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def shard_members(
    rng: np.random.Generator,
    num_samples: int,
    people_per_image: int = 1,
    image_hw: tuple[int, int] = (240, 320),
    grain: float = 0.0,
) -> dict[str, bytes]:
    """Members of a tar in the layout of 4D-Humans, keys ``set/000000`` and so on."""
    members = {}
    for number in range(num_samples):
        people = [random_person(rng, image_hw) for _ in range(people_per_image)]
        members[f'set/{number:06d}.jpg'] = encode(draw_image(rng, image_hw, people, grain))
        members[f'set/{number:06d}.data.pyd'] = pickle.dumps(people)
    return members
