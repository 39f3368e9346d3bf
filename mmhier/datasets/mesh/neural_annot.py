"""MSCOCO, MPII, UBody, Human3.6M and 3DPW as SMPLer-X reads them: COCO files, and bodies beside them.

| data set | annotations | bodies |
|----------|-------------|--------|
| MSCOCO   | coco_wholebody_train_v1.0.json | MSCOCO_train_SMPLX_all_NeuralAnnot.json |
| MPII     | train.json | MPII_train_SMPLX_NeuralAnnot.json |
| UBody    | SCENE/keypoint_annotation.json | SCENE/smplx_annotation.json |
| Human36M | Human36M_subject{N}_data, _camera, _joint_3d .json | Human36M_subject{N}_SMPLX_NeuralAnnot.json |
| PW3D     | 3DPW_{split}.json | in it, of SMPL |

Bodies of NeuralAnnot (arXiv 2011.11232) are SMPL-X with a camera each: ``smplx_param`` with root_pose,
body_pose, lhand_pose, rhand_pose, jaw_pose, shape, expr, trans, and ``cam_param`` with focal and princpt.
Those of Human3.6M stand in the world, its camera has R and t too (millimetres).

What the official code leaves out is left out here: crowds and people without any annotated joint (MSCOCO,
UBody), test videos and people without a valid body (UBody), four of five frames (Human3.6M). UBody's boxes of
hands are by 0.65 smaller than annotated, those of faces around the points, by 1.2 larger.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmhier.body_models.joint_sets import JOINT_SETS
from mmhier.body_models.model_directory import load_body_data
from mmhier.datasets.mesh.human_data_file import People
from mmhier.datasets.mesh.whole_body_index import Source
from mmhier.datasets.mesh.whole_body_rows import (
    Person,
    blocks,
    by_name,
    named,
    part_boxes,
    read_coco,
    tight,
)
from mmhier.geometry.array_rotations import axis_angle_to_matrix, matrix_to_axis_angle
from mmhier.safe_files import read_json, read_npy

WHOLEBODY = JOINT_SETS['wholebody133'].names
MPII_NAMES = (
    'right_ankle', 'right_knee', 'right_hip', 'left_hip', 'left_knee', 'left_ankle', 'pelvis', '-', 'neck',
    '-', 'right_wrist', 'right_elbow', 'right_shoulder', 'left_shoulder', 'left_elbow', 'left_wrist',
)  # fmt: skip
H36M_NAMES = (
    'pelvis', 'right_hip', 'right_knee', 'right_ankle', 'left_hip', 'left_knee', 'left_ankle', '-', 'neck',
    '-', '-', 'left_shoulder', 'left_elbow', 'left_wrist', 'right_shoulder', 'right_elbow', 'right_wrist',
)  # fmt: skip
H36M_TRAIN, H36M_FRAMES = (1, 5, 6, 7, 8), 5
MILLIMETRES = 1000.0
UBODY_HAND, UBODY_FACE = 0.65, 1.2
PARAMETERS = {
    'global_orient': 'root_pose', 'body_pose': 'body_pose', 'left_hand_pose': 'lhand_pose',
    'right_hand_pose': 'rhand_pose', 'jaw_pose': 'jaw_pose', 'betas': 'shape', 'expression': 'expr',
    'transl': 'trans',
}  # fmt: skip
VALID = {'left_hand': 'lhand_valid', 'right_hand': 'rhand_valid', 'face': 'face_valid'}


def coco_source(annotations: Path, bodies: Path) -> Source:
    """MSCOCO's training images."""
    return Source([annotations, bodies], partial(read_mscoco, annotations, bodies), __name__, 'coco')


def mpii_source(annotations: Path, bodies: Path) -> Source:
    """MPII's training images."""
    return Source([annotations, bodies], partial(read_mpii, annotations, bodies), __name__, 'mpii')


def ubody_sources(root: Path, is_test: bool) -> list[Source]:
    """All scenes of UBody."""
    videos = root / 'splits/intra_scene_test_list.npy'
    folders = sorted(path.parent for path in (root / 'annotations').glob('*/keypoint_annotation.json'))
    if not folders:
        raise FileNotFoundError(f'{root}/annotations has no folder with keypoint_annotation.json')
    sources = []
    for folder in folders:
        files = [folder / 'keypoint_annotation.json', folder / 'smplx_annotation.json', videos]
        sources.append(Source(files, partial(read_ubody, *files, is_test), __name__, f'ubody {is_test}'))
    return sources


def human36m_sources(folder: Path, body_model: str | None = None) -> list[Source]:
    """Subjects 1, 5, 6, 7 and 8 of Human3.6M.

    Args:
        folder: Of the annotations.
        body_model: SMPL-X, whose rest pose tells where a body of the world stands in the camera; without it
            that is not known.
    """
    sources = []
    for subject in H36M_TRAIN:
        stem = f'Human36M_subject{subject}'
        files = [
            folder / f'{stem}_{what}.json' for what in ('data', 'SMPLX_NeuralAnnot', 'camera', 'joint_3d')
        ]
        read = partial(read_human36m, *files, body_model)
        sources.append(Source(files, read, __name__, f'human36m {body_model}'))
    return sources


def pw3d_source(annotations: Path) -> Source:
    """A split of 3DPW."""
    return Source([annotations], partial(read_pw3d, annotations), __name__, 'pw3d')


def read_mscoco(annotations: Path, bodies: Path) -> Iterator[People]:
    """People of MSCOCO; see the top of this file."""

    def people() -> Iterator[Person]:
        people, images = read_coco(annotations)
        fitted = _fitted(bodies)
        for annotation in people:
            with named(annotations, f'annotation {annotation["id"]}'):
                image = images[annotation['image_id']]
                fields = _wholebody_fields(annotation, image)
                boxes = {
                    part: annotation[f'{key}_box'] if annotation[f'{key}_valid'] else None
                    for part, key in _KEYS.items()
                }
                fields['part_boxes'] = part_boxes(boxes)
                yield Person(
                    f'train2017/{image["file_name"]}',
                    fields | _fit(bodies, fitted, annotation, boxes),
                    bool(annotation['iscrowd']) or not annotation['num_keypoints'],
                )

    return blocks(people(), str(annotations))


def read_mpii(annotations: Path, bodies: Path) -> Iterator[People]:
    """People of MPII; see the top of this file."""

    def people() -> Iterator[Person]:
        people, images = read_coco(annotations)
        fitted = _fitted(bodies)
        for annotation in people:
            with named(annotations, f'annotation {annotation["id"]}'):
                image = images[annotation['image_id']]
                points = np.asarray(annotation['keypoints'], np.float32).reshape(16, 3)
                fields = tight(annotation['bbox']) | dict(
                    image_hw=(image['height'], image['width']), keypoints_2d=by_name(MPII_NAMES, points)
                )
                yield Person(image['file_name'], fields | _fit(bodies, fitted, annotation))

    return blocks(people(), str(annotations))


def read_ubody(annotations: Path, bodies: Path, videos: Path, is_test: bool) -> Iterator[People]:
    """People of a scene of UBody; see the top of this file."""

    def people() -> Iterator[Person]:
        people, images = read_coco(annotations)
        fitted, test_videos = _fitted(bodies), set(read_npy(videos).astype(str).ravel().tolist())
        for annotation in people:
            with named(annotations, f'annotation {annotation["id"]}'):
                image = images[annotation['image_id']]
                name = image['file_name'].lstrip('/')
                video = name.split('/')[-2].split('_Trim')[0]
                fields = _wholebody_fields(annotation, image)
                face = np.asarray(annotation['face_kpts'], np.float32).reshape(-1, 3)[:, :2]
                boxes = {
                    part: _resized(annotation[f'{key}_box'], UBODY_HAND)
                    if annotation[f'{key}_valid']
                    else None
                    for part, key in _KEYS.items()
                }
                if annotation['face_valid']:
                    around = np.concatenate([face.min(0), face.max(0) - face.min(0)])
                    boxes['face'] = _resized(around, UBODY_FACE)
                fields['part_boxes'] = part_boxes(boxes)
                is_used = annotation['valid_label'] and str(annotation['id']) in fitted
                is_used &= not annotation['iscrowd'] and bool(annotation['num_keypoints'])
                yield Person(
                    f'{annotations.parent.name}/{name}',
                    fields | _fit(bodies, fitted, annotation, boxes),
                    not is_used or (video in test_videos) != is_test,
                )

    return blocks(people(), str(annotations))


def read_human36m(
    annotations: Path, bodies: Path, cameras: Path, joints: Path, body_model: str | None
) -> Iterator[People]:
    """People of a subject of Human3.6M; see the top of this file."""

    def people() -> Iterator[Person]:
        people, images = read_coco(annotations)
        fitted, camera_of, joints_of = _fitted(bodies), read_json(cameras), read_json(joints)
        rest = None if body_model is None else load_body_data(body_model)
        for annotation in people:
            with named(annotations, f'annotation {annotation["id"]}'):
                image = images[annotation['image_id']]
                keys = [str(image[key]) for key in ('action_idx', 'subaction_idx', 'frame_idx')]
                camera = camera_of[str(image['cam_idx'])]
                world = np.asarray(joints_of[keys[0]][keys[1]][keys[2]], np.float64).reshape(17, 3)
                rotation = np.asarray(camera['R'], np.float64).reshape(3, 3)
                shift = np.asarray(camera['t'], np.float64).reshape(3)
                placed = (world @ rotation.T + shift) / MILLIMETRES
                focal, center = (np.asarray(camera[key], np.float64).reshape(2) for key in 'fc')
                pixels = placed[:, :2] / placed[:, 2:] * focal + center
                known = np.ones((17, 1))
                fields = tight(annotation['bbox']) | dict(
                    image_hw=(image['height'], image['width']),
                    keypoints_2d=by_name(H36M_NAMES, np.concatenate([pixels, known], 1)),
                    keypoints_3d=by_name(H36M_NAMES, np.concatenate([placed, known], 1)),
                    camera=(*focal, *center),
                )
                param = fitted[keys[0]][keys[1]][keys[2]]
                body = _body(param.get('smplx_param', param))
                fields |= _in_camera(body, rotation, shift / MILLIMETRES, rest)
                is_left_out = int(image['frame_idx']) % H36M_FRAMES != 0
                yield Person(image['file_name'], fields, is_left_out)

    return blocks(people(), str(annotations))


def read_pw3d(annotations: Path) -> Iterator[People]:
    """People of 3DPW, whose bodies of SMPL give poses; see the top of this file."""

    def people() -> Iterator[Person]:
        people, images = read_coco(annotations)
        for annotation in people:
            with named(annotations, f'annotation {annotation["id"]}'):
                image = images[annotation['image_id']]
                pose = np.asarray(annotation['smpl_param']['pose'], np.float32).reshape(24, 3)
                camera = image['cam_param']
                fields = tight(annotation['bbox']) | dict(
                    image_hw=(image['height'], image['width']),
                    global_orient=pose[:1],
                    body_pose=pose[1:22],
                    camera=(*camera['focal'], *camera['princpt']),
                )
                yield Person(f'{image["sequence"]}/{image["file_name"]}', fields)

    return blocks(people(), str(annotations))


_KEYS = {'left_hand': 'lefthand', 'right_hand': 'righthand', 'face': 'face'}


def _wholebody_fields(annotation: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    """Box, size of the image and points of COCO-WholeBody."""
    keys = ('keypoints', 'foot_kpts', 'face_kpts', 'lefthand_kpts', 'righthand_kpts')
    points = np.concatenate([np.asarray(annotation[key], np.float32).reshape(-1, 3) for key in keys])
    points[:, 2] = points[:, 2] > 0
    left, right = (points[WHOLEBODY.index(f'{side}_hip')] for side in ('left', 'right'))
    pelvis = np.append((left[:2] + right[:2]) / 2, left[2] * right[2])
    return tight(annotation['bbox']) | dict(
        image_hw=(image['height'], image['width']),
        keypoints_2d=by_name((*WHOLEBODY, 'pelvis'), np.concatenate([points, pelvis[None]])),
    )


def _resized(box: Any, factor: float) -> np.ndarray:
    """A box, left, top, width, height, by a factor larger about its centre."""
    box = np.asarray(box, np.float32).reshape(4)
    return np.concatenate([box[:2] + box[2:] * (1 - factor) / 2, box[2:] * factor])


def _fitted(path: Path) -> Mapping[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError(f'{path} holds no bodies by number')
    return content


def _fit(
    path: Path,
    fitted: Mapping[str, Any],
    annotation: Mapping[str, Any],
    boxes: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The body and the camera of an annotation, if it has them; without a word on a part, its box tells."""
    key = str(annotation['id'])
    if key not in fitted:
        return {}
    with named(path, f'body {key}'):
        found = fitted[key]
        fields = _body(found['smplx_param'])
        for part, flag in VALID.items():
            has_box = boxes is None or boxes.get(part) is not None
            if not found['smplx_param'].get(flag, has_box):
                for name in ('jaw_pose', 'expression') if part == 'face' else (f'{part}_pose',):
                    fields.pop(name, None)
        camera = found['cam_param']
        return fields | dict(camera=(*camera['focal'], *camera['princpt']))


def _body(param: Mapping[str, Any]) -> dict[str, Any]:
    """Our parameters of NeuralAnnot's, as far as they are there."""
    return {name: param[key] for name, key in PARAMETERS.items() if param.get(key) is not None}


def _in_camera(
    body: dict[str, Any], rotation: np.ndarray, shift: np.ndarray, rest: Any | None
) -> dict[str, Any]:
    """A body of the world in a camera's frame; a root turns about its pelvis, which so has to be known."""
    turned = axis_angle_to_matrix(np.asarray(body['global_orient'], np.float64).reshape(3))
    orient = matrix_to_axis_angle(rotation @ turned).reshape(1, 3)
    transl = np.asarray(body.pop('transl'), np.float64).reshape(3)
    moved = body | dict(global_orient=orient)
    if rest is not None:
        betas = np.asarray(body['betas'], np.float64).ravel()
        pelvis = rest.joint_template[0] + rest.joint_shapedirs[0, :, : len(betas)] @ betas
        moved['transl'] = rotation @ (pelvis + transl) + shift - pelvis
    return moved
