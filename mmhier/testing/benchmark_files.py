"""Tiny originals of the benchmarks of mesh recovery, in the formats their data sets are published in."""

import io
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

from mmhier.body_models.smpl_file import PARENTS, ROOT_PARENT, write_npz

INTRINSICS = np.array([[1000.0, 0, 320], [0, 980, 240], [0, 0, 1]])
IMAGE_WH = (640, 480)
FRAMES = 5


def write_small_body(path: Path, seed: int, num_vertices: int = 80) -> Path:
    """Write a random body in SMPL's format, with all regressors of joints."""
    rng = np.random.default_rng(seed)

    def rows(count: int, columns: int) -> np.ndarray:
        matrix = rng.random((count, columns)) ** 4
        return matrix / matrix.sum(1, keepdims=True)

    arrays = {
        'v_template': rng.normal(0, 0.4, (num_vertices, 3)),
        'shapedirs': rng.normal(0, 0.02, (num_vertices, 3, 10)),
        'posedirs': rng.normal(0, 0.005, (num_vertices, 3, 207)),
        'weights': rows(num_vertices, 24),
        'J_regressor': rows(24, num_vertices),
        'kintree_table': np.stack([[ROOT_PARENT, *PARENTS[1:]], np.arange(24)]).astype(np.uint32),
        'f': rng.integers(0, num_vertices, (num_vertices, 3)),
    }
    regressors = {'surface': 11, 'j19': 19, 'h36m': 17}
    arrays |= {f'{name}_regressor': rows(count, num_vertices) for name, count in regressors.items()}
    write_npz(path, arrays)
    return path


def dump_python2(value: Any) -> bytes:
    """Pickle as Python 2 did: protocol 2, all text as byte strings, old names of numpy's modules."""
    stream = io.BytesIO()
    _Python2Pickler(stream, 2).dump(value)
    return stream.getvalue().replace(b'numpy._core.', b'numpy.core.')


class _Python2Pickler(pickle._Pickler):
    dispatch = dict(pickle._Pickler.dispatch)

    def save_text(self, value: str | bytes) -> None:
        content = value.encode('latin1') if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack('<i', len(content)) + content)
        self.memoize(value)

    dispatch[bytes] = dispatch[str] = save_text


def random_motion(rng: np.random.Generator, frames: int = FRAMES) -> dict[str, np.ndarray]:
    """A body about the origin of the world and cameras some metres from it that look at it.

    Returns:
        ``pose`` (T, 72), ``transl`` (T, 3), ``betas`` (10,), ``cameras`` (T, 4, 4).
    """
    cameras = np.tile(np.eye(4), (frames, 1, 1))
    for camera in cameras:
        axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        camera[:3, :3] = axes * np.linalg.det(axes)
        camera[:3, 3] = rng.normal([0, 0, 6], [0.2, 0.2, 0.5])
    return dict(
        pose=rng.normal(0, 0.3, (frames, 72)),
        transl=rng.normal(0, 0.3, (frames, 3)),
        betas=rng.normal(0, 1, 10),
        cameras=cameras,
    )


def sequence_of_3dpw(
    name: str, motions: list[dict[str, np.ndarray]], genders: list[str], poses2d: list[np.ndarray]
) -> dict[str, Any]:
    """What a sequence's file of 3DPW holds; all people are seen by the cameras of the first motion.

    Args:
        name: Of the sequence.
        motions: Of P people, see :func:`random_motion`.
        genders: 'm' or 'f', of each.
        poses2d: (T, 3, 18) detected keypoints of each.
    """
    return {
        'sequence': name,
        'genders': genders,
        'betas': [motion['betas'] for motion in motions],
        'poses': [motion['pose'] for motion in motions],
        'trans': [motion['transl'] for motion in motions],
        'poses2d': poses2d,
        'cam_poses': motions[0]['cameras'],
        'cam_intrinsics': INTRINSICS,
        'campose_valid': [np.ones(len(motion['pose']), np.int64) for motion in motions],
        'img_frame_ids': np.arange(2 * len(motions[0]['pose'])),
    }


def sequence_of_emdb(
    name: str, motion: dict[str, np.ndarray], gender: str, kp2d: np.ndarray, boxes: np.ndarray
) -> dict[str, Any]:
    """What a sequence's file of EMDB holds.

    Args:
        name: Of the sequence, with that of the person in front.
        motion: See :func:`random_motion`.
        gender: 'male', 'female' or 'neutral'.
        kp2d: (T, 24, 2) projected joints of SMPL.
        boxes: (T, 4) left, top, right, bottom.
    """
    frames = len(kp2d)
    return {
        'name': name,
        'gender': gender,
        'emdb1': True,
        'emdb2': False,
        'n_frames': frames,
        'good_frames_mask': np.ones(frames, bool),
        'camera': dict(
            intrinsics=INTRINSICS, extrinsics=motion['cameras'], width=IMAGE_WH[0], height=IMAGE_WH[1]
        ),
        'smpl': dict(
            poses_root=motion['pose'][:, :3],
            poses_body=motion['pose'][:, 3:],
            trans=motion['transl'],
            betas=motion['betas'],
        ),
        'kp2d': kp2d,
        'bboxes': dict(bboxes=boxes, invalid_idxs=np.array([], np.int64)),
    }


def write_coco_people(path: Path, people: list[dict[str, Any]], folder: str = '') -> Path:
    """Write an annotation file of the keypoints (17, 3) and boxes of people, each in an image of its own."""
    images = [dict(id=100 + n, file_name=f'{folder}{n:06d}.jpg') for n in range(len(people))]
    annotations = [
        dict(person, id=n, image_id=100 + n, keypoints=np.ravel(person['keypoints']).tolist())
        for n, person in enumerate(people)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(images=images, annotations=annotations, categories=[])))
    return path
