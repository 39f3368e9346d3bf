"""People from an npz file and a folder of images: the evaluation sets of HMR2.0, and one's own data.

Fields, N people; pixels count from the centre of the first pixel. Only the first three have to be there.

| field             | shape             | unit and frame |
|-------------------|-------------------|----------------|
| imgname           | (N,)              | path relative to the folder of images |
| center            | (N, 2)            | centre of the box, pixels, (x, y) |
| scale             | (N,) or (N, 2)    | size of the box, pixels; one number: a square |
| body_pose         | (N, 72)           | axis-angle, radians; the first three: body to camera |
| betas             | (N, 10)           | components of SMPL's shape |
| has_body_pose     | (N,)              | whether it is known |
| has_betas         | (N,)              | whether it is known |
| body_keypoints_2d | (N, 25, 3)        | joints of OpenPose, pixels, confidence |
| extra_keypoints_2d| (N, 19, 3)        | the extra joints, pixels, confidence |
| body_keypoints_3d | (N, 25, 4)        | joints of OpenPose, metres, axes of the camera, confidence |
| extra_keypoints_3d| (N, 19, 4)        | the extra joints, the same |
| gender            | (N,)              | whose body model ``betas`` belong to; not read here |

``has_betas`` is 0 where the body is not the neutral one: its components mean another shape there.
:mod:`mmhier.datasets.mesh.writer` writes such files, :mod:`mmhier.datasets.mesh.benchmark_images` and
:mod:`mmhier.datasets.mesh.benchmark_bodies` make them of the original data of benchmarks.
"""

import logging
import os
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmpose.registry import DATASETS

from mmhier.datasets.mesh.annotation import PROBLEMS, check_annotation, to_results
from mmhier.datasets.mesh.mesh_dataset import MeshDataset
from mmhier.datasets.mesh.npz_file import read_npz
from mmhier.mesh_sample import SMPL_LAYOUT

# Field -> shape of a row.
ROW_SHAPES = {
    'body_pose': (3 + 3 * SMPL_LAYOUT.num_body,),
    'betas': (SMPL_LAYOUT.num_betas,),
    'has_body_pose': (),
    'has_betas': (),
    'body_keypoints_2d': (25, 3),
    'extra_keypoints_2d': (19, 3),
    'body_keypoints_3d': (25, 4),
    'extra_keypoints_3d': (19, 4),
}
# OpenPose's neck, limbs and middle of the hips: in 3-D HMR2.0 judges the extra joints of the same names.
OPENPOSE_LIMBS = slice(1, 15)


@DATASETS.register_module()
class MeshNpzDataset(MeshDataset):
    """People from an npz file; one sample is one person.

    Args:
        name: Names the data set to the evaluator.
        ann_file: The npz file.
        img_dir: Folder of images.
        data_root: Folder to which both are relative.
        ignore_openpose_3d: Take OpenPose's joints 1 to 14 for not annotated in 3-D, as HMR2.0 does.
        person_filter: Arguments of :class:`mmhier.datasets.transforms.mesh_filters.PersonFilter`; by default
            all people are used. Not in evaluation.
        kwargs: See :class:`MeshDataset`.

    Raises:
        ValueError: If the file is malformed, or nobody can be used; in evaluation if anybody cannot.
    """

    def __init__(
        self,
        name: str,
        ann_file: str,
        img_dir: str,
        data_root: str = '',
        ignore_openpose_3d: bool = True,
        person_filter: dict | None = None,
        **kwargs: Any,
    ):
        super().__init__(name, **kwargs)
        self.img_dir = os.path.join(data_root, img_dir)
        path = os.path.join(data_root, ann_file)
        try:
            fields = read_npz(path, ('center', 'scale', *ROW_SHAPES), ('imgname',))
        except FileNotFoundError:
            raise FileNotFoundError(
                f'{path} does not exist; check data_root and ann_file in the config'
            ) from None
        if 'imgname' in fields:
            fields['imgname'] = with_slashes(fields['imgname'], path)
        records, problems = read_people(fields, path, ignore_openpose_3d)
        people = {'confidence': records['keypoints_2d'][..., 2], 'problem': problems}
        people |= {name: records[name] for name in ('scale', 'fitting_error')}
        kept = self.select(people, person_filter)
        self._records, self._image_names, self._rows = records[kept], fields['imgname'][kept], kept

    def __len__(self) -> int:
        return len(self._records)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Fields of a person."""
        name = str(self._image_names[index])
        return dict(
            to_results(self._records[index]),
            sample_key=f'{name}#{self._rows[index]}',
            dataset_name=self.name,
            sample_idx=index,
            img_path=os.path.join(self.img_dir, name),
        )


def with_slashes(names: np.ndarray, source: str) -> np.ndarray:
    """Names of images with slashes in the place of backslashes, of which the first is logged."""
    backward = np.flatnonzero(np.char.find(names, '\\') >= 0)
    if not len(backward):
        return names
    text = f'{source}: backslashes in {len(backward)} names of images were read as slashes'
    print_log(f'{text} (first: {names[backward[0]]})', logger='current', level=logging.WARNING)
    return np.char.replace(names, '\\', '/')


def read_people(
    fields: dict[str, np.ndarray], source: str, ignore_openpose_3d: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Check the fields of an npz file.

    Args:
        fields: As in the table at the top of this file.
        source: For messages.
        ignore_openpose_3d: See :class:`MeshNpzDataset`.

    Returns:
        (N,) records of the layout ``smpl`` and numbers of their ``PROBLEMS``.

    Raises:
        ValueError: If a field is missing or has another shape.
    """
    missing = [name for name in ('imgname', 'center', 'scale') if name not in fields]
    if missing:
        raise ValueError(f'{source} has no {", ".join(missing)}')
    count = len(fields['imgname'])
    if not count:
        raise ValueError(f'{source} holds nobody')
    shapes = {'center': (2,), 'scale': (1,) if fields['scale'].size == count else (2,)} | ROW_SHAPES
    fields = dict(fields)
    for name, shape in shapes.items():
        if name in fields:
            if fields[name].size != count * int(np.prod(shape)):
                raise ValueError(f'{source}: {name} is {fields[name].shape}, it should be {(count, *shape)}')
            fields[name] = fields[name].reshape(count, *shape)
    columns = {'center': fields['center'], 'scale': np.broadcast_to(fields['scale'], (count, 2))}
    for dimension in (2, 3):
        parts = [
            np.asarray(fields.get(name, np.zeros((count, *ROW_SHAPES[name]))), np.float32)
            for name in (f'body_keypoints_{dimension}d', f'extra_keypoints_{dimension}d')
        ]
        columns[f'keypoints_{dimension}d'] = np.concatenate(parts, axis=1)
    if ignore_openpose_3d:
        columns['keypoints_3d'][:, OPENPOSE_LIMBS, 3] = 0
    if 'body_pose' in fields and 'has_body_pose' in fields:
        pose = fields['body_pose']
        columns |= {'global_orient': pose[:, :3], 'body_pose': pose[:, 3:]}
        columns['has_body_pose'] = fields['has_body_pose']
    if 'betas' in fields and 'has_betas' in fields:
        columns |= {'betas': fields['betas'], 'has_betas': fields['has_betas']}
    records, problems = np.zeros(count, SMPL_LAYOUT.dtype), np.zeros(count, np.uint8)
    for row in range(count):
        records[row], problems[row] = check_annotation({name: value[row] for name, value in columns.items()})
    assert problems.max(initial=0) < len(PROBLEMS)
    return records, problems
