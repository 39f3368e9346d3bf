"""HumanData of synthetic people with whole bodies: ``annotations/human_data_{split}.npz``.

The format is that of MMHuman3D, which SMPLer-X is trained on; N people in the order of the COCO file:

| key                          | shape       | what |
|------------------------------|-------------|------|
| image_path                   | (N,)        | text, relative to the folder of the data set |
| bbox_xywh                    | (N, 5)      | box of the visible mask: left, top, width, height, 1 |
| {lhand,rhand,face}_bbox_xywh | (N, 5)      | box of what is seen of a part, and 1; zeros if it is hidden |
| keypoints2d_smplx            | (N, 144, 3) | SMPL-X's points, pixels (also outside of the image), 1 |
| keypoints3d_smplx            | (N, 144, 4) | the same, metres, camera frame, 1 |
| keypoints{2,3}d_smplx_mask   | (144,)      | ones |
| smplx                        | dictionary  | parameters of the open whole body, below |
| meta                         | dictionary  | height, width, focal_length, principal_point, gender of each |
| misc                         | dictionary  | body_model, flat_hand_mean, licence, what made the data |

``smplx`` holds global_orient (N, 3), body_pose (N, 21, 3), left_hand_pose and right_hand_pose (N, 15, 3),
jaw_pose, leye_pose, reye_pose (N, 3), betas and expression (N, 10) and transl (N, 3), all float32, rotations
as axis-angle in radians, in the camera frame (x right, y down, z forward). Hands are relative to the mean
hands, as those of SMPLer-X are: the layer that takes them has ``add_hand_means=True``.
As in all files of this format, dictionaries are pickled arrays without axes.
"""

from pathlib import Path
from typing import Any

import numpy as np

from mmhier.atomic import new_file
from mmhier.datasets.synthetic.whole_body_annotation import NUM_POINTS

PARAMETER_SHAPES = {
    'global_orient': (3,),
    'body_pose': (21, 3),
    'left_hand_pose': (15, 3),
    'right_hand_pose': (15, 3),
    'jaw_pose': (3,),
    'leye_pose': (3,),
    'reye_pose': (3,),
    'betas': (10,),
    'expression': (10,),
    'transl': (3,),
}
BOX_KEYS = {
    'left_hand_box': 'lhand_bbox_xywh',
    'right_hand_box': 'rhand_bbox_xywh',
    'face_box': 'face_bbox_xywh',
}
POINT_KEYS = {'keypoints2d': 'keypoints2d_smplx', 'keypoints3d': 'keypoints3d_smplx'}
HUMAN_SHAPES = (
    PARAMETER_SHAPES
    | dict.fromkeys(BOX_KEYS, (5,))
    | {'keypoints2d': (NUM_POINTS, 3), 'keypoints3d': (NUM_POINTS, 4), 'K': (3, 3)}
)


def write_human_data(
    path: Path, split: str, entries: list[dict[str, Any]], parameters: dict[str, Any], licence: str
) -> None:
    """Write the file of a split.

    Args:
        path: the file.
        split: 'train' or 'val'.
        entries: as of :func:`.dataset_format.write_split`, people as of :data:`HUMAN_SHAPES`.
        parameters: what the data set was made with.
        licence: of the data set.
    """
    people = [(entry['image'], person) for entry in entries for person in entry['people']]

    def column(name: str) -> np.ndarray:
        flat = np.asarray([person['smpl'][name] for _, person in people], np.float32)
        return flat.reshape(len(people), *HUMAN_SHAPES[name])

    boxes = np.asarray([[*person['coco']['bbox'], 1.0] for _, person in people], np.float32)
    cameras = column('K')
    meta = {
        'height': np.asarray([image['height'] for image, _ in people], np.int64),
        'width': np.asarray([image['width'] for image, _ in people], np.int64),
        'focal_length': cameras[:, [0, 1], [0, 1]],
        'principal_point': cameras[:, :2, 2],
        'gender': ['neutral'] * len(people),
    }
    misc = {
        'body_model': 'open-wholebody',
        'flat_hand_mean': False,
        'licence': licence,
        'parameters': parameters,
    }
    arrays = {
        'image_path': np.asarray([f'images/{split}/{image["file_name"]}' for image, _ in people], str),
        'bbox_xywh': boxes.reshape(-1, 5),
        **{key: column(name) for name, key in (BOX_KEYS | POINT_KEYS).items()},
        **{f'{key}_mask': np.ones(NUM_POINTS, np.int64) for key in POINT_KEYS.values()},
        'smplx': _dictionary({name: column(name) for name in PARAMETER_SHAPES}),
        'meta': _dictionary(meta),
        'misc': _dictionary(misc),
        '__keypoints_compressed__': np.asarray(False),
        '__data_len__': np.asarray(len(people)),
    }
    with new_file(path) as temporary, temporary.open('wb') as file:
        np.savez(file, **arrays)


def _dictionary(values: dict[str, Any]) -> np.ndarray:
    array = np.empty((), object)
    array[()] = values
    return array
