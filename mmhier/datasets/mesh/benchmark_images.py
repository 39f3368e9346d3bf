"""Benchmarks with joints in the image: COCO-val, PoseTrack-val 2018 and LSP-Extended from their own files.

HMR2.0 publishes how it made its files of PoseTrack and of LSP-Extended, and these are made the same way. How
it made that of COCO it does not; its authors refer to SPIN, whose rule (Kolotouros et al., ICCV 2019: all
twelve joints of the limbs are annotated) PoseTrack has as well and is applied here. Boxes are enlarged by 1.2
when they are written. In 2-D a joint is annotated or not: one that is hidden but annotated counts.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmhier.body_models.joint_sets import JOINT_SETS, LSP14_NAMES, OPENPOSE25_NAMES
from mmhier.datasets.mesh.benchmark_people import BenchmarkPeople
from mmhier.mesh_sample import SMPL_LAYOUT
from mmhier.safe_files import open_file, read_json

JOINTS = SMPL_LAYOUT.joints
NUM_OPENPOSE = len(OPENPOSE25_NAMES)
COCO_JOINTS = JOINTS.indices(JOINT_SETS['coco17'].names)
# PoseTrack has COCO's format with two other joints of the head; ears are in the format, but never annotated.
POSETRACK_JOINTS = JOINTS.indices(
    {'left_eye': 'neck_lsp', 'right_eye': 'head_top_lsp'}.get(name, name)
    for name in JOINT_SETS['coco17'].names
)
LSP_JOINTS = JOINTS.indices(f'{name}_lsp' for name in LSP14_NAMES)
# Of the 17 joints of COCO's format the first five are those of the head.
FIRST_LIMB = 5
MIN_LIMBS = 12
# ``joints.mat`` of 10,000 people has 2 MB; its compressed parts could unpack to 1000 times that.
MAX_MAT_BYTES = 16 << 20
JOINTS_MAT_HINT = 'joints.mat of the high-resolution LSP-Extended (hr-lspet)'


def read_coco(
    annotation_file: str | Path, image_folder: str = 'val2017', min_limbs: int = MIN_LIMBS
) -> BenchmarkPeople:
    """Read ``person_keypoints_val2017.json``.

    Args:
        annotation_file: The file.
        image_folder: Put before the names of images.
        min_limbs: How many of the twelve joints from shoulders to ankles have to be annotated.

    Raises:
        ValueError: If it is not such a file.
    """
    people = BenchmarkPeople('COCO-val')
    _add_coco_people(people, Path(annotation_file), COCO_JOINTS, min_limbs, image_folder)
    return people


def read_posetrack(folder: str | Path, min_limbs: int = MIN_LIMBS) -> BenchmarkPeople:
    """Read the annotations of PoseTrack 2018, one file per video; images are named as in them.

    Args:
        folder: ``annotations/val`` of the data set.
        min_limbs: See :func:`read_coco`.

    Raises:
        FileNotFoundError: If no annotation file is there.
        ValueError: If one is malformed.
    """
    files = sorted(Path(folder).glob('*.json'))
    if not files:
        raise FileNotFoundError(f'{folder} holds no .json files; give annotations/val of PoseTrack 2018')
    people = BenchmarkPeople('PoseTrack-val 2018')
    for file in files:
        _add_coco_people(people, file, POSETRACK_JOINTS, min_limbs)
    return people


def _add_coco_people(
    people: BenchmarkPeople, file: Path, joints: list[int], min_limbs: int, image_folder: str = ''
) -> None:
    """Add the people of a file in COCO's format, whose 17 keypoints are the given ones of the 44 joints."""
    images, annotations = _read_json(file)
    for annotation in annotations:
        try:
            number = annotation['id']
            keypoints = np.asarray(annotation['keypoints'], float).reshape(len(joints), 3)
            image = str(images[annotation['image_id']]['file_name'])
            box = np.asarray(annotation.get('bbox', ()), float).reshape(-1)
        except (KeyError, ValueError, TypeError) as error:
            label = annotation.get('id') if isinstance(annotation, Mapping) else annotation
            raise ValueError(
                f'{file}: annotation {label} is not a person of 17 keypoints in COCO format '
                f'({type(error).__name__}: {error})'
            ) from error
        if not np.isfinite(keypoints).all() or not np.isfinite(box).all():
            raise ValueError(f'{file}: annotation {number} holds a number that is not finite')
        known = keypoints[:, 2] > 0
        if known[FIRST_LIMB:].sum() < min_limbs:
            people.skip(f'fewer than {min_limbs} of the {len(known) - FIRST_LIMB} joints of the limbs')
        elif box.shape != (4,):
            people.skip('no box')
        else:
            placed = np.zeros((len(JOINTS), 3))
            placed[joints] = np.where(known[:, None], np.c_[keypoints[:, :2], known], 0)
            name = f'{image_folder.rstrip("/")}/{image}' if image_folder else image
            people.add([name], box[None], _fields_2d(placed[None]))


def _read_json(file: Path) -> tuple[dict[int, Any], list[Any]]:
    """Images by number, and annotations."""
    try:
        content = read_json(file)
        images, annotations = (
            {image['id']: image for image in content['images']},
            list(content['annotations']),
        )
        if len(images) < len(content['images']):
            raise ValueError('two images have the same id')
        return images, annotations
    except FileNotFoundError:
        raise FileNotFoundError(f'{file} does not exist') from None
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f'{file} is not an annotation file in COCO format ({type(error).__name__}: {error})'
        ) from error


def read_lsp_extended(folder: str | Path, visible_only: bool = False) -> BenchmarkPeople:
    """Read the high-resolution LSP-Extended: ``joints.mat`` beside its images, which are in the same order.

    Args:
        folder: Of the data set.
        visible_only: Take joints that are marked as not visible for not annotated. HMR2.0 judges all.

    Raises:
        FileNotFoundError: If ``joints.mat`` or the images are missing.
        ValueError: If they do not belong together.
    """
    from scipy.io import loadmat

    folder = Path(folder)
    path = folder / 'joints.mat'
    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist; give the folder with {JOINTS_MAT_HINT}')
    try:
        with open_file(path, MAX_MAT_BYTES) as file:
            joints = np.asarray(loadmat(file)['joints'], float)
    except Exception as error:  # scipy meets damage with errors of many kinds
        raise ValueError(f'{path} is not {JOINTS_MAT_HINT}: {type(error).__name__}: {error}') from error
    if joints.ndim != 3 or joints.shape[:2] != (len(LSP_JOINTS), 3):
        raise ValueError(f'{path}: joints is {joints.shape}, it should be ({len(LSP_JOINTS)}, 3, N)')
    images = sorted(image.name for image in folder.glob('*.png'))
    if len(images) != joints.shape[2]:
        raise ValueError(
            f'{folder} holds {len(images)} .png images and joints of {joints.shape[2]} people; it should be '
            'the whole data set, one image per person'
        )
    people = BenchmarkPeople('LSP-Extended')
    for name, person in zip(images, joints.transpose(2, 0, 1), strict=True):
        known = person[:, 2] > 0 if visible_only else np.ones(len(person), bool)
        if not np.isfinite(person[known, :2]).all():
            raise ValueError(f'{path}: the joints of {name} hold a number that is not finite')
        if not known.any():
            people.skip('no visible joint')
            continue
        low, high = person[known, :2].min(0), person[known, :2].max(0)
        placed = np.zeros((len(JOINTS), 3))
        placed[LSP_JOINTS] = np.where(known[:, None], np.c_[person[:, :2], known], 0)
        people.add([name], np.concatenate([low, high - low])[None], _fields_2d(placed[None]))
    return people


def _fields_2d(keypoints: np.ndarray) -> dict[str, np.ndarray]:
    """Fields of 2-D joints (N, 44, 3)."""
    return dict(body_keypoints_2d=keypoints[:, :NUM_OPENPOSE], extra_keypoints_2d=keypoints[:, NUM_OPENPOSE:])
