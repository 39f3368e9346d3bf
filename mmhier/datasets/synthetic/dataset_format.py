"""The files of a synthetic data set.

``annotations/person_keypoints_{split}.json`` is a COCO keypoint file: 17 keypoints (x, y, v) with v = 2 seen,
1 inside the image but hidden, 0 outside (x = y = 0); ``bbox`` (x, y, width, height) and ``area`` of the
visible mask; ``segmentation`` polygons; ``iscrowd`` 0.

``annotations/smpl_{split}.npz`` holds one row per annotation, N rows in the order of the JSON file:

| key            | shape      | type    | frame and unit |
|----------------|------------|---------|----------------|
| annotation_id  | (N,)       | int64   | ``id`` of the COCO annotation |
| image_id       | (N,)       | int64   | ``id`` of the COCO image |
| global_orient  | (N, 3)     | float32 | axis-angle, radians; body to camera frame |
| body_pose      | (N, 69)    | float32 | axis-angle of joints 1..23, radians; relative to the parent |
| betas          | (N, 10)    | float32 | shape, standard deviations |
| transl         | (N, 3)     | float32 | metres, camera frame (x right, y down, z forward) |
| joints3d       | (N, 24, 3) | float32 | SMPL joints, metres, camera frame |
| coco17_3d      | (N, 17, 3) | float32 | COCO keypoints, metres, camera frame |
| coco17_2d      | (N, 17, 3) | float32 | pixel x, pixel y (also outside the image), visibility as above |
| K              | (N, 3, 3)  | float32 | camera intrinsics, pixels; (0, 0) is the centre of the first pixel |

Vertices are ``pose_body(model, [global_orient, body_pose], betas, transl)`` with the open body
(:mod:`mmhier.body_models.open_body`), and pixels are ``K @ point`` divided by depth. Clothes and hair that
the images show are not part of the SMPL surface.

People with whole bodies (``mmhier synth --whole-body``) have no ``smpl_{split}.npz`` but
:mod:`.human_data_format`.
"""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from mmhier.body_models.smpl_file import COCO17_NAMES
from mmhier.datasets.synthetic.human_data_format import write_human_data

SMPL_SHAPES = {
    'global_orient': (3,),
    'body_pose': (69,),
    'betas': (10,),
    'transl': (3,),
    'joints3d': (24, 3),
    'coco17_3d': (17, 3),
    'coco17_2d': (17, 3),
    'K': (3, 3),
}
SKELETON = (
    (16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10),
    (9, 11), (2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7),
)  # fmt: skip
LICENCE_TEXT = 'CC0-1.0, synthetic: no real person is shown'
LICENCE = {'id': 1, 'name': 'CC0 1.0 Universal', 'url': 'https://creativecommons.org/publicdomain/zero/1.0/'}


def image_record(image_id: int, file_name: str, image_hw: tuple[int, int]) -> dict[str, Any]:
    """A COCO ``images`` entry."""
    return {'id': image_id, 'file_name': file_name, 'height': image_hw[0], 'width': image_hw[1], 'license': 1}


def annotation_record(
    image_id: int, keypoints: np.ndarray, bbox: list[float], area: int, segmentation: list[list[float]]
) -> dict[str, Any]:
    """A COCO ``annotations`` entry without its id; ``keypoints`` is (17, 3)."""
    rounded = [round(float(value), 2) for value in keypoints.ravel()]
    rounded[2::3] = [int(value) for value in keypoints[:, 2]]
    return {
        'image_id': image_id,
        'category_id': 1,
        'keypoints': rounded,
        'num_keypoints': int((keypoints[:, 2] > 0).sum()),
        'bbox': bbox,
        'area': area,
        'iscrowd': 0,
        'segmentation': segmentation,
    }


def smpl_record(
    smpl: dict[str, np.ndarray], intrinsics: np.ndarray, names: Iterable[str] = SMPL_SHAPES
) -> dict[str, list[float]]:
    """Flat float32 numbers of one person, ready for JSON."""
    values = {**smpl, 'K': intrinsics}
    return {name: np.asarray(values[name], np.float32).ravel().tolist() for name in names}


def write_split(folder: Path, split: str, entries: list[dict[str, Any]], parameters: dict[str, Any]) -> None:
    """Write the two annotation files of a split; of whole bodies HumanData instead of the second one.

    Args:
        folder: the ``annotations`` folder.
        split: 'train' or 'val'.
        entries: one per image in order: 'image' and 'people', a list of {'coco', 'smpl'} records.
        parameters: what the data set was made with, recorded in the files.
    """
    annotations, rows = [], []
    for entry in entries:
        for person in entry['people']:
            annotations.append({'id': len(annotations) + 1, **person['coco']})
            rows.append(person['smpl'])
    coco = {
        'info': {
            'description': f'mmhier synthetic people, {split}',
            'version': '1.0',
            'contributor': 'mmhier',
            'licence': LICENCE_TEXT,
            'parameters': parameters,
        },
        'licenses': [LICENCE],
        'categories': [
            {
                'id': 1,
                'name': 'person',
                'supercategory': 'person',
                'keypoints': COCO17_NAMES,
                'skeleton': SKELETON,
            }
        ],
        'images': [entry['image'] for entry in entries],
        'annotations': annotations,
    }
    (folder / f'person_keypoints_{split}.json').write_text(json.dumps(coco, separators=(',', ':')))
    if parameters.get('whole_body'):
        write_human_data(folder / f'human_data_{split}.npz', split, entries, parameters, LICENCE_TEXT)
        return
    arrays = {
        'annotation_id': np.asarray([annotation['id'] for annotation in annotations], np.int64),
        'image_id': np.asarray([annotation['image_id'] for annotation in annotations], np.int64),
    }
    for name, shape in SMPL_SHAPES.items():
        flat = np.asarray([row[name] for row in rows], np.float32).reshape(len(rows), math.prod(shape))
        arrays[name] = flat.reshape(len(rows), *shape)
    np.savez(folder / f'smpl_{split}.npz', **arrays)
