"""Benchmarks with bodies: 3DPW-test and EMDB-1, from the .pkl files of the data sets, which are not executed.

Both hold SMPL bodies of the person's gender in the world, and a camera. What is written is in its frame:
``global_orient`` is turned into it, the 44 joints are those of the annotated body of the annotated gender,
also projected into the image. ``betas`` are those of that gender, so ``has_betas`` is 0 unless it is neutral.

3DPW (von Marcard et al., ECCV 2018), by the rule of SPIN that HMR2.0's authors refer to: people and frames
with a valid camera (``campose_valid``), boxes around the detected 2-D keypoints of the data set (``poses2d``,
confidence above 0). The size of the image is not in the files, so all joints in front of the camera count as
seen in 2-D; 3DPW is judged in 3-D only.

EMDB-1 (Kaufmann et al., ICCV 2023): frames of ``good_frames_mask`` of sequences marked ``emdb1``. There are
two conventions of boxes, and numbers of one must not stand beside those of the other:

| boxes   | what |
|---------|------|
| dataset | the boxes of the data set (``bboxes``); frames whose box it declares invalid are left out |
| joints  | around the 24 joints of SMPL projected into the image (``kp2d``) |

Convention:
    Extrinsics: world to camera, 4x4, acting on column vectors. Camera: x right, y down, z forward, metres.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from mmhier.body_models.smpl import SMPL
from mmhier.datasets.mesh.benchmark_people import BenchmarkPeople
from mmhier.datasets.mesh.writer import pose_joints, project_joints
from mmhier.geometry.rotations import axis_angle_to_matrix, matrix_to_axis_angle
from mmhier.mesh_sample import SMPL_LAYOUT
from mmhier.safe_files import read_bytes
from mmhier.safe_pickle import StandIn, read_pickle, to_array

GENDERS = {'m': 'male', 'f': 'female', 'n': 'neutral'}
BOX_SOURCES = ('dataset', 'joints')
NOT_FINITE = 'a body or camera that is not finite'
_FIELDS_3DPW = (
    'sequence', 'genders', 'betas', 'poses', 'trans', 'poses2d', 'cam_poses', 'cam_intrinsics',
    'campose_valid',
)  # fmt: skip
_FIELDS_EMDB = (
    'name', 'gender', 'emdb1', 'n_frames', 'good_frames_mask', 'camera', 'smpl', 'kp2d', 'bboxes',
)  # fmt: skip


def read_3dpw(folder: str | Path, load_body: Callable[[str], SMPL]) -> BenchmarkPeople:
    """Read the test sequences of 3DPW; images are ``imageFiles/SEQUENCE/image_00000.jpg``.

    Args:
        folder: ``sequenceFiles/test`` of the data set.
        load_body: Gender -> its body with the joints ``hmr44``.

    Raises:
        FileNotFoundError: If no sequence is there, or a body model is not installed.
        ValueError: If a file is malformed.
    """
    files = sorted(Path(folder).glob('*.pkl'))
    if not files:
        raise FileNotFoundError(f'{folder} holds no .pkl files; give sequenceFiles/test of 3DPW')
    people, bodies = BenchmarkPeople('3DPW-test'), _cached(load_body)
    for file in files:
        content = _read_fields(file, _FIELDS_3DPW, '3DPW')
        sequence, genders = str(content['sequence']), content['genders']
        count = len(genders) if isinstance(genders, list) else 0
        names = ('betas', 'poses', 'trans', 'poses2d', 'campose_valid')
        if not count or any(not isinstance(content[n], list) or len(content[n]) != count for n in names):
            raise ValueError(f'{file}: genders, {", ".join(names)} are not lists of one length')
        cameras = _array(content['cam_poses'], f'{file}: cam_poses', (None, 4, 4))
        frames = len(cameras)
        intrinsics = _array(content['cam_intrinsics'], f'{file}: cam_intrinsics', (3, 3))
        imgname = [f'imageFiles/{sequence}/image_{frame:05d}.jpg' for frame in range(frames)]
        for person in range(count):
            where = f'{file}: person {person}: '
            pose = _array(content['poses'][person], f'{where}poses', (frames, 72))
            transl = _array(content['trans'][person], f'{where}trans', (frames, 3))
            found = _array(content['poses2d'][person], f'{where}poses2d', (frames, 3, None))
            valid = _array(content['campose_valid'][person], f'{where}campose_valid', (frames,)) > 0
            betas = _array(content['betas'][person], f'{where}betas', (None,))
            boxes, has_box = _boxes_around(found.transpose(0, 2, 1))
            people.skip('no valid camera', int((~valid).sum()))
            people.skip('no 2-D keypoint to put a box around', int((valid & ~has_box).sum()))
            gender = _gender(genders[person], where)
            track = _Track(imgname, boxes, pose, transl, betas, cameras, intrinsics, None, gender)
            _add_bodies(people, track, valid & has_box, bodies)
    return people


def read_emdb(folder: str | Path, load_body: Callable[[str], SMPL], boxes: str) -> BenchmarkPeople:
    """Read the sequences of EMDB-1; images are ``P0/SEQUENCE/images/00000.jpg``.

    Args:
        folder: Of the data set, with P0, P1 and so on.
        load_body: Gender -> its body with the joints ``hmr44``.
        boxes: One of :data:`BOX_SOURCES`.

    Raises:
        FileNotFoundError: If no sequence is there, or a body model is not installed.
        ValueError: If a file is malformed, or there is no such convention of boxes.
    """
    if boxes not in BOX_SOURCES:
        raise ValueError(f'boxes must be one of {BOX_SOURCES}, got {boxes!r}')
    folder = Path(folder)
    files = sorted(folder.glob('*/*/*_data.pkl'))
    if not files:
        raise FileNotFoundError(
            f'{folder} holds no P*/SEQUENCE/*_data.pkl files; give the folder with P0, P1 and so on of EMDB'
        )
    people, bodies = BenchmarkPeople(f'EMDB-1, boxes: {boxes}'), _cached(load_body)
    for file in files:
        content = _read_fields(file, _FIELDS_EMDB, 'EMDB')
        frames = int(_array(content['n_frames'], f'{file}: n_frames', ()))
        if not _array(content['emdb1'], f'{file}: emdb1', ()):
            people.skip('of a sequence that is not of EMDB-1', frames)
            continue
        smpl = _fields_of(content['smpl'], ('poses_root', 'poses_body', 'trans', 'betas'), f'{file}: smpl')
        camera = _fields_of(
            content['camera'], ('intrinsics', 'extrinsics', 'width', 'height'), f'{file}: camera'
        )
        root = _array(smpl['poses_root'], f'{file}: poses_root', (frames, 3))
        pose = np.c_[root, _array(smpl['poses_body'], f'{file}: poses_body', (frames, 69))]
        transl = _array(smpl['trans'], f'{file}: trans', (frames, 3))
        betas = _array(smpl['betas'], f'{file}: betas', (None,))
        cameras = _array(camera['extrinsics'], f'{file}: extrinsics', (frames, 4, 4))
        intrinsics = _array(camera['intrinsics'], f'{file}: intrinsics', (3, 3))
        image_wh = np.array([_array(camera[side], f'{file}: {side}', ()) for side in ('width', 'height')])
        good = _array(content['good_frames_mask'], f'{file}: good_frames_mask', (frames,)) > 0
        people.skip('not a good frame', int((~good).sum()))
        if boxes == 'joints':
            joints = _array(content['kp2d'], f'{file}: kp2d', (frames, 24, 2))
            tight, has_box = _boxes_around(np.concatenate([joints, np.ones((frames, 24, 1))], -1))
        else:
            own = _fields_of(content['bboxes'], ('bboxes', 'invalid_idxs'), f'{file}: bboxes')
            corners = _array(own['bboxes'], f'{file}: bboxes', (frames, 4))
            tight = np.c_[corners[:, :2], corners[:, 2:] - corners[:, :2]]
            invalid = _array(own['invalid_idxs'], f'{file}: invalid_idxs', (None,)).astype(int)
            if not ((invalid >= 0) & (invalid < frames)).all():
                raise ValueError(f'{file}: invalid_idxs names frames that do not exist')
            has_box = np.isfinite(tight).all(1)
            has_box[invalid] = False
        people.skip('invalid box', int((good & ~has_box).sum()))
        sequence = file.parent.relative_to(folder).as_posix()
        imgname = [f'{sequence}/images/{frame:05d}.jpg' for frame in range(frames)]
        gender = _gender(content['gender'], f'{file}: ')
        track = _Track(imgname, tight, pose, transl, betas, cameras, intrinsics, image_wh, gender)
        _add_bodies(people, track, good & has_box, bodies)
    return people


class _Track(NamedTuple):
    """One person over the T frames of a sequence.

    Attributes:
        imgname: T images.
        boxes: (T, 4) left, top, width, height.
        pose: (T, 72) axis-angle, body to world.
        transl: (T, 3) metres, world.
        betas: (any,) of the gender's body.
        cameras: (T, 4, 4) world to camera.
        intrinsics: (3, 3) pixels.
        image_wh: (2,) pixels, if known.
        gender: Of the body.
    """

    imgname: list[str]
    boxes: np.ndarray
    pose: np.ndarray
    transl: np.ndarray
    betas: np.ndarray
    cameras: np.ndarray
    intrinsics: np.ndarray
    image_wh: np.ndarray | None
    gender: str


def _add_bodies(
    people: BenchmarkPeople, track: _Track, chosen: np.ndarray, load_body: Callable[[str], SMPL]
) -> None:
    """Add a person in the chosen ones (T,) of the frames."""
    numbers = np.c_[track.pose, track.transl, track.cameras.reshape(-1, 16)]
    finite = (
        np.isfinite(numbers).all(1) & np.isfinite(track.betas).all() & np.isfinite(track.intrinsics).all()
    )
    people.skip(NOT_FINITE, int((chosen & ~finite).sum()))
    rows = np.flatnonzero(chosen & finite)
    if not len(rows):
        return
    body = load_body(track.gender)
    count = len(rows)
    betas = np.tile(_ten(track.betas), (count, 1))
    pose, cameras = track.pose[rows], track.cameras[rows]
    rotation, shift = cameras[:, :3, :3], cameras[:, None, :3, 3]
    joints = pose_joints(body, pose[:, :3], pose[:, 3:], betas[:, : body.num_betas])
    joints = np.einsum('nij,nkj->nki', rotation, joints + track.transl[rows, None]) + shift
    turned = torch.from_numpy(rotation) @ axis_angle_to_matrix(torch.from_numpy(pose[:, :3]))
    intrinsics = np.broadcast_to(track.intrinsics, (count, 3, 3))
    image_wh = None if track.image_wh is None else np.broadcast_to(track.image_wh, (count, 2))
    fields = dict(
        body_pose=np.c_[matrix_to_axis_angle(turned).numpy(), pose[:, 3:]],
        betas=betas,
        has_body_pose=np.ones(count),
        has_betas=np.full(count, float(track.gender == 'neutral')),
        **project_joints(joints, intrinsics, image_wh),
    )
    people.add([track.imgname[row] for row in rows], track.boxes[rows], fields, track.gender)


def _boxes_around(keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (T, 4), left, top, width, height, of points (T, K, 3) with a confidence; which have any."""
    known = (keypoints[..., 2] > 0) & np.isfinite(keypoints).all(-1)
    points = keypoints[..., :2]
    low = np.where(known[..., None], points, np.inf).min(1)
    high = np.where(known[..., None], points, -np.inf).max(1)
    has_box = known.any(1)
    return np.where(has_box[:, None], np.c_[low, high - low], 0), has_box


def _ten(betas: np.ndarray) -> np.ndarray:
    """The first ten components; those that are missing are zero."""
    count = SMPL_LAYOUT.num_betas
    return np.pad(betas[:count], (0, max(0, count - len(betas))))


def _gender(value: Any, where: str) -> str:
    """Name of a body model for what a file says."""
    gender = GENDERS.get(value[:1].lower()) if isinstance(value, str) else None
    if gender is None:
        raise ValueError(f'{where}gender is {value!r}; expected male, female or neutral')
    return gender


def _cached(load_body: Callable[[str], SMPL]) -> Callable[[str], SMPL]:
    """Load each gender once."""
    bodies: dict[str, SMPL] = {}

    def load(gender: str) -> SMPL:
        if gender not in bodies:
            bodies[gender] = load_body(gender)
        return bodies[gender]

    return load


def _read_fields(file: Path, names: tuple[str, ...], dataset: str) -> dict[str, Any]:
    """The entries of a sequence's file."""
    return _fields_of(read_pickle(read_bytes(file), str(file)), names, f'{file} (a sequence of {dataset})')


def _fields_of(content: Any, names: tuple[str, ...], what: str) -> dict[str, Any]:
    """Check that a value is a dictionary with those entries."""
    if not isinstance(content, dict):
        raise ValueError(f'{what} is no dictionary but a {type(content).__name__}')
    missing = [name for name in names if name not in content]
    if missing:
        raise ValueError(f'{what} has no {", ".join(missing)}')
    return content


def _array(value: Any, what: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """Numbers of a file, float64, of a shape in which None is any size."""
    if isinstance(value, StandIn):
        array = to_array(value, what)
    else:
        try:
            array = np.asarray(value)
        except ValueError:
            array = np.empty((), object)
    if array.dtype.kind not in 'fiub':
        raise ValueError(f'{what} is not an array of numbers')
    fits = array.ndim == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ', '.join('any' if size is None else str(size) for size in shape)
        raise ValueError(f'{what} is {array.shape}, it should be ({wanted})')
    return array.astype(np.float64)
