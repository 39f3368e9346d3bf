"""One annotated whole person, as every reader of whole bodies gives it: body, hands and face of SMPL-X.

Fields of a record; a data set hands them to the pipeline with ``dataset_name``, ``sample_key``,
``sample_idx`` and ``img_path`` of :mod:`mmhier.mesh_sample`. K = 137 points, the set ``smplx137``; pixels of
the image, (x, y), the centre of the first is 0.

| field           | shape   | unit and frame |
|-----------------|---------|----------------|
| keypoints_2d    | (K, 3)  | pixels; confidence |
| keypoints_3d    | (K, 4)  | metres, axes of the camera, any origin; confidence |
| global_orient   | (1, 3)  | axis-angle, radians, body to camera |
| body_pose       | (21, 3) | axis-angle, radians, relative to the parent |
| left_hand_pose  | (15, 3) | the same, relative to SMPL-X's mean hand as well |
| right_hand_pose | (15, 3) | the same |
| jaw_pose        | (1, 3)  | axis-angle, radians |
| betas           | (10,)   | components of SMPL-X's shape |
| expression      | (10,)   | components of SMPL-X's expression |
| transl          | (3,)    | metres, the body's origin in the frame of the camera |
| center          | (2,)    | centre of the annotated box, pixels; it may reach out of the image |
| scale           | (2,)    | its width and height, pixels |
| part_boxes      | (3, 5)  | left, top, right, bottom of left hand, right hand, face, pixels; confidence |
| camera          | (4,)    | focal lengths and principal point (fx, fy, cx, cy), pixels |
| image_hw        | (2,)    | height and width of the image; 0: the annotation does not say |
| gender          |         | of the body that the shape belongs to, see :data:`GENDERS` |
| has_body_pose   |         | 1: ``global_orient`` and ``body_pose`` are known, 0: zeros |
| has_left_hand_pose, has_right_hand_pose | | the same of a hand |
| has_jaw_pose, has_betas, has_expression, has_transl, has_camera | | the same |

A confidence of 0 says that a point or box is not annotated. Of a field that is not known, zeros stand there.

A person with one of the problems of :data:`mmhier.datasets.mesh.annotation.PROBLEMS` has a record of zeros:
no box, one narrower than a pixel or outside of the image, a number that is not finite. A hand's or a face's
box without area inside of the image is no problem of the person; the box counts as not annotated.
"""

from collections.abc import Mapping

import numpy as np

from mmhier.body_models.joint_sets import JOINT_SETS

JOINTS = JOINT_SETS['smplx137']
GENDERS = ('neutral', 'male', 'female')
PARTS = ('left_hand', 'right_hand', 'face')
WHOLE_BODY_SHAPES = {
    'keypoints_2d': (len(JOINTS), 3),
    'keypoints_3d': (len(JOINTS), 4),
    'global_orient': (1, 3),
    'body_pose': (21, 3),
    'left_hand_pose': (15, 3),
    'right_hand_pose': (15, 3),
    'jaw_pose': (1, 3),
    'betas': (10,),
    'expression': (10,),
    'transl': (3,),
    'center': (2,),
    'scale': (2,),
    'part_boxes': (len(PARTS), 5),
    'camera': (4,),
    'image_hw': (2,),
    'gender': (),
    'has_body_pose': (),
    'has_left_hand_pose': (),
    'has_right_hand_pose': (),
    'has_jaw_pose': (),
    'has_betas': (),
    'has_expression': (),
    'has_transl': (),
    'has_camera': (),
}
WHOLE_BODY_DTYPE = np.dtype([(name, '<f4', shape) for name, shape in WHOLE_BODY_SHAPES.items()])
# Flag -> what it is about.
FLAGS = {
    'has_body_pose': ('global_orient', 'body_pose'),
    'has_left_hand_pose': ('left_hand_pose',),
    'has_right_hand_pose': ('right_hand_pose',),
    'has_jaw_pose': ('jaw_pose',),
    'has_betas': ('betas',),
    'has_expression': ('expression',),
    'has_transl': ('transl',),
    'has_camera': ('camera',),
}
NO_BOX, NOT_FINITE, OUTSIDE = 1, 3, 4  # numbers of PROBLEMS


def check_whole_bodies(count: int, fields: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Bring the fields of several people into order.

    Args:
        count: N, how many people.
        fields: Some of :data:`WHOLE_BODY_SHAPES`, (N, ...), any numeric type; poses may be flat. A part whose
            flag is not given counts as known if all of it is there.

    Returns:
        (N,) records of :data:`WHOLE_BODY_DTYPE` and (N,) numbers of their problems.

    Raises:
        ValueError: If a field is unknown or has another shape.
    """
    records, problems = np.zeros(count, WHOLE_BODY_DTYPE), np.zeros(count, np.uint8)
    for name, value in fields.items():
        if name not in WHOLE_BODY_SHAPES:
            raise ValueError(
                f'"{name}" is no field of a whole body; there are: {", ".join(WHOLE_BODY_SHAPES)}'
            )
        value, shape = np.asarray(value), (count, *WHOLE_BODY_SHAPES[name])
        if value.size != np.prod(shape) or (len(value) if value.ndim else 1) != count:
            raise ValueError(f'"{name}" has shape {value.shape}, expected {shape}')
        records[name] = value.reshape(shape)
    for flag, names in FLAGS.items():
        known = np.full(count, all(name in fields for name in names))
        if flag in fields:
            known &= ~(records[flag] <= 0)  # NaN stays, and is found below
        records[flag] = np.where(np.isnan(records[flag]), np.nan, known)
        for name in names:
            records[name][~known] = 0
    for name in ('keypoints_2d', 'keypoints_3d'):
        records[name][records[name][..., -1] <= 0] = 0
    _check_part_boxes(records)
    finite = np.ones(count, bool)
    for name in WHOLE_BODY_SHAPES:
        finite &= np.isfinite(records[name].reshape(count, -1)).all(1)
    problems[~_inside(*corners(records['center'], records['scale']), records['image_hw'])] = OUTSIDE
    problems[~(records['scale'] >= 1).all(1)] = NO_BOX
    problems[~finite] = NOT_FINITE
    records[problems > 0] = 0
    return records, problems


def corners(center: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left top and right bottom (N, 2) of boxes."""
    return center - scale / 2, center + scale / 2


def to_whole_body_results(record: np.ndarray) -> dict[str, np.ndarray | float]:
    """The fields of a record as the pipeline wants them; own copies."""
    return {
        name: np.array(record[name]) if shape else float(record[name])
        for name, shape in WHOLE_BODY_SHAPES.items()
    }


def _inside(start: np.ndarray, end: np.ndarray, image_hw: np.ndarray) -> np.ndarray:
    """Which boxes have area inside of their image, as far as its size is known."""
    size_wh = np.where(image_hw > 0, image_hw, np.inf)[:, ::-1]
    return (np.minimum(end, size_wh - 1) > np.maximum(start, 0)).all(1)


def _check_part_boxes(records: np.ndarray) -> None:
    """Take boxes for not annotated that are not finite or have no area inside of the image."""
    boxes = records['part_boxes']
    for part in range(len(PARTS)):
        known = _inside(boxes[:, part, :2], boxes[:, part, 2:4], records['image_hw'])
        known &= np.isfinite(boxes[:, part]).all(1) & (boxes[:, part, 4] > 0)
        boxes[:, part][~known] = 0
