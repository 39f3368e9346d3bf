"""People of AGORA and EHF, whose truth is a mesh, as SMPLer-X reads them.

AGORA, pictures of 1280 x 720: ``AGORA_{split}_fix_betas.json``, a COCO file whose annotations name a file
each of points in the image (of 3840 x 2160), points in space (both the first 127 of the set ``smplx144``),
vertices and parameters (a pickle, in which nothing is executed). People who are not valid are left out.
Adults have neutral shapes (betas_neutral), children their own.

Of its test images there are boxes only: ``AGORA_test_bbox.json``.

EHF: ``EHF.json`` and a scan's registration ``{number}_align.ply`` of each picture, whose frame is turned into
the camera's by :data:`EHF_ROTATION`.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmhier.body_models.joint_sets import JOINT_SETS
from mmhier.datasets.mesh.human_data_file import POINTS, People
from mmhier.datasets.mesh.whole_body_annotation import GENDERS
from mmhier.datasets.mesh.whole_body_index import Source
from mmhier.datasets.mesh.whole_body_rows import Person, blocks, named, part_boxes, read_coco, tight
from mmhier.geometry.array_rotations import axis_angle_to_matrix
from mmhier.safe_files import read_bytes, read_json
from mmhier.safe_pickle import read_pickle, to_array

# Points that AGORA has: all of ``smplx144`` but the outline of the face.
NUM_POINTS = 127
# Pictures are smaller than what annotations are of.
SMALLER = 3.0
IMAGE_HW = (720, 1280)
# Axis-angle, radians: from the frame of EHF's scans to the camera's.
EHF_ROTATION = (-2.98747896, 0.01172457, -0.05704687)
PARAMETERS = {
    'global_orient': 3, 'body_pose': 63, 'left_hand_pose': 45, 'right_hand_pose': 45, 'jaw_pose': 3,
    'expression': 10, 'transl': 3,
}  # fmt: skip
_BOXES = {'left_hand': 'lhand_bbox', 'right_hand': 'rhand_bbox', 'face': 'face_bbox'}
_EHF_BOXES = {'left_hand': 'lefthand_bbox', 'right_hand': 'righthand_bbox', 'face': 'face_bbox'}
assert len(JOINT_SETS['smplx144']) == NUM_POINTS + 17


def agora_source(annotations: Path) -> Source:
    """A split of AGORA; the files that its annotations name lie beside it."""
    return Source([annotations], partial(read_agora, annotations), __name__, 'agora')


def agora_test_source(boxes: Path) -> Source:
    """AGORA's test images, which only its server can judge."""
    return Source([boxes], partial(read_agora_test, boxes), __name__, 'agora test')


def ehf_source(annotations: Path) -> Source:
    """EHF."""
    return Source([annotations], partial(read_ehf, annotations), __name__, 'ehf')


def read_agora(annotations: Path) -> Iterator[People]:
    """People of AGORA; see the top of this file."""

    def people() -> Iterator[Person]:
        people, images = read_coco(annotations)
        for annotation in people:
            with named(annotations, f'annotation {annotation["id"]}'):
                image = images[annotation['image_id']]['file_name_1280x720']
                if not annotation['is_valid']:
                    yield Person(image, {}, True)
                    continue
                box, *parts = (
                    np.asarray(annotation[key], float) / SMALLER for key in ('bbox', *_BOXES.values())
                )
                fields = tight(box) | dict(
                    image_hw=IMAGE_HW,
                    part_boxes=part_boxes(dict(zip(_BOXES, parts, strict=True))),
                    gender=GENDERS.index(annotation['gender']) if annotation['gender'] in GENDERS else 0,
                    **_agora_points(annotations.parent, annotation),
                )
                path = annotations.parent / annotation['smplx_param_path']
                yield Person(image, fields | _agora_body(path, bool(annotation['kid'])))

    return blocks(people(), str(annotations))


def read_agora_test(boxes: Path) -> Iterator[People]:
    """People of AGORA's test images, without any truth."""

    def people() -> Iterator[Person]:
        with named(boxes):
            for image, found in read_json(boxes).items():
                for entry in found:
                    box = np.asarray(entry['bbox'], float) / SMALLER
                    yield Person(f'test/{image}', tight(box) | dict(image_hw=IMAGE_HW))

    return blocks(people(), str(boxes))


def agora_vertices(path: Path) -> np.ndarray:
    """Vertices (V, 3) of a person of AGORA, metres, frame of the camera."""
    vertices = np.asarray(read_json(path), np.float32)
    if vertices.size % 3 or not vertices.size:
        raise ValueError(f'{path} holds {vertices.size} numbers, which are no vertices')
    return vertices.reshape(-1, 3)


def read_ehf(annotations: Path) -> Iterator[People]:
    """People of EHF: boxes only, their truth is a mesh; see the top of this file."""

    def people() -> Iterator[Person]:
        people, images = read_coco(annotations)
        for annotation in people:
            with named(annotations, f'annotation {annotation["id"]}'):
                image = images[annotation['image_id']]
                boxes = part_boxes({part: annotation[key] for part, key in _EHF_BOXES.items()})
                fields = dict(image_hw=(image['height'], image['width']), part_boxes=boxes)
                yield Person(image['file_name'], tight(annotation['body_bbox']) | fields)

    return blocks(people(), str(annotations))


def ehf_vertices(vertices: np.ndarray) -> np.ndarray:
    """Vertices (V, 3) of a registration of EHF in the axes of the camera."""
    rotation = axis_angle_to_matrix(np.array(EHF_ROTATION))
    return (vertices @ rotation.T).astype(np.float32)


def _agora_points(root: Path, annotation: dict[str, Any]) -> dict[str, np.ndarray]:
    """Points in the image and in space, with confidences."""
    fields, rows = {}, np.array(POINTS)
    for name, key, axes in (
        ('keypoints_2d', 'smplx_joints_2d_path', 2),
        ('keypoints_3d', 'smplx_joints_3d_path', 3),
    ):
        path = root / annotation[key]
        points = np.asarray(read_json(path), np.float32)
        if points.size != NUM_POINTS * axes:
            raise ValueError(f'{path} holds {points.size} numbers, expected {NUM_POINTS} points')
        placed = np.zeros((144, axes + 1), np.float32)
        placed[:NUM_POINTS, :axes] = points.reshape(NUM_POINTS, axes) / (SMALLER if axes == 2 else 1)
        placed[:NUM_POINTS, axes] = 1
        fields[name] = placed[rows]
    return fields


def _agora_body(path: Path, is_kid: bool) -> dict[str, np.ndarray]:
    """Parameters of a person."""
    values = read_pickle(read_bytes(path), str(path))
    if not isinstance(values, dict):
        raise ValueError(f'{path} holds no dictionary of parameters')
    key = 'betas' if is_kid else 'betas_neutral'
    missing = [name for name in (*PARAMETERS, key) if name not in values]
    if missing:
        raise ValueError(f'{path} has no "{missing[0]}"')
    fields = {
        name: to_array(values[name], f'{path}: {name}').ravel()[:size] for name, size in PARAMETERS.items()
    }
    return fields | dict(betas=to_array(values[key], f'{path}: {key}').ravel()[:10])
