"""Predictions as AGORA's server takes them: one pickle per person, ``predictions/IMAGE_personId_N.pkl``.

Each holds ``joints``, points in the image of 3840 x 2160 pixels, and ``params``, of SMPL-X with the hands
relative to the mean ones. The server matches people by the first 24 of the points, and makes bodies of the
parameters itself. Pack the folder ``predictions`` into a ZIP to hand it in.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmhier.atomic import new_file

FOLDER = 'predictions'
IMAGE_WH = (3840, 2160)
MIN_POINTS = 24
# Parameter -> numbers of a person. Eyes are those of a face that looks straight ahead.
PARAMETERS = {
    'transl': 3, 'global_orient': 3, 'body_pose': 63, 'left_hand_pose': 45, 'right_hand_pose': 45,
    'jaw_pose': 3, 'expression': 10, 'betas': 10,
}  # fmt: skip
EYES = ('leye_pose', 'reye_pose')
# Endings of pictures of 1280 x 720 and of crops, which the server does not know.
_ENDINGS = ('_1280x720', '_ann_id', '_pid')


def image_stem(image: str) -> str:
    """The name by which the server knows an image."""
    stem = Path(image).stem
    for ending in _ENDINGS:
        stem = stem.split(ending)[0]
    return stem


def write_agora_person(
    folder: str | Path,
    image: str,
    number: int,
    params: Mapping[str, np.ndarray],
    joints: np.ndarray,
    image_wh: tuple[int, int],
) -> Path:
    """Write the prediction of a person.

    Args:
        folder: Where the folder ``predictions`` is, or shall be.
        image: Path or name of the image.
        number: Of the person in the image, from 0.
        params: Those of :data:`PARAMETERS`, axis-angle in radians, metres.
        joints: (24 or more, 2) pixels, in the order of the set ``smplx144``.
        image_wh: Width and height of the image that the pixels are of.

    Returns:
        The file.

    Raises:
        ValueError: If something is missing, of another size or not finite.
    """
    written = {}
    for name, size in PARAMETERS.items():
        value = np.asarray(params[name], np.float32) if name in params else np.empty(0, np.float32)
        if value.size != size or not np.isfinite(value).all():
            raise ValueError(
                f'{image}: {name} of person {number} has to be {size} finite numbers, is {value.shape}'
            )
        written[name] = value.reshape(1, size)
    joints = np.asarray(joints, np.float32)
    if joints.ndim != 2 or joints.shape[1] != 2 or len(joints) < MIN_POINTS or not np.isfinite(joints).all():
        raise ValueError(f'{image}: joints of person {number} are {joints.shape}, expected (24 or more, 2)')
    scale = np.array(IMAGE_WH, np.float32) / image_wh
    content = {
        'params': written | {name: np.zeros((1, 3), np.float32) for name in EYES},
        'joints': (joints * scale)[None],
    }
    path = Path(folder) / FOLDER / f'{image_stem(image)}_personId_{number}.pkl'
    with new_file(path) as temporary:
        temporary.write_bytes(pickle.dumps(content, protocol=4))
    return path
