"""People of ``mmhier synth`` for mesh recovery, read as they lie there.

The parameters are exact, so are the joints: they come from the open body (:mod:`mmhier.body_models`) that the
pictures show, hidden or outside of the image or not. Boxes are those of the visible mask.
"""

import os
from typing import Any

import numpy as np
from mmpose.registry import DATASETS
from torch.utils.data import Dataset

from mmhier.body_models.model_directory import load_body_model
from mmhier.datasets.mesh.annotation import check_annotation, to_results
from mmhier.datasets.mesh.mesh_dataset import MeshDataset
from mmhier.datasets.mesh.npz_file import read_npz
from mmhier.datasets.mesh.writer import pose_joints
from mmhier.mesh_sample import SMPL_LAYOUT
from mmhier.safe_files import read_json

PARAMETERS = ('global_orient', 'body_pose', 'betas')


@DATASETS.register_module()
class SyntheticMeshDataset(MeshDataset):
    """A split of a folder of synthetic people; the format is :mod:`mmhier.datasets.synthetic.dataset_format`.

    Args:
        data_root: The folder.
        split: 'train' or 'val'.
        name: Names the data set to the evaluator.
        padding: The annotated box is enlarged by this factor, as the boxes of HMR2.0's data sets are.
        person_filter: See :class:`mmhier.datasets.mesh.MeshNpzDataset`.
        kwargs: See :class:`MeshDataset`.

    Raises:
        ValueError: If the two annotation files do not belong together, or the people are whole bodies.
    """

    def __init__(
        self,
        data_root: str,
        split: str,
        name: str = 'synth',
        padding: float = 1.2,
        person_filter: dict | None = None,
        **kwargs: Any,
    ):
        super().__init__(name, **kwargs)
        self.img_dir = os.path.join(data_root, 'images', split)
        folder = os.path.join(data_root, 'annotations')
        smpl_file = os.path.join(folder, f'smpl_{split}.npz')
        coco_file = os.path.join(folder, f'person_keypoints_{split}.json')
        if os.path.isfile(os.path.join(folder, f'human_data_{split}.npz')):
            raise ValueError(
                f'{data_root} holds whole bodies, which SMPL does not have; make people without --whole-body'
            )
        for path in (smpl_file, coco_file):
            if not os.path.isfile(path):
                raise FileNotFoundError(f'{path} does not exist; make people: mmhier synth {data_root}')
        smpl = read_npz(smpl_file, ('annotation_id', *PARAMETERS, 'transl', 'K'))
        coco = read_json(coco_file)
        annotations = coco['annotations']
        if smpl['annotation_id'].tolist() != [annotation['id'] for annotation in annotations]:
            raise ValueError(f'{smpl_file} and {coco_file} are not of the same people; make them again')
        images = {image['id']: image['file_name'] for image in coco['images']}
        self._image_names = [images[annotation['image_id']] for annotation in annotations]
        records, problems = self._read(smpl, np.array([a['bbox'] for a in annotations], float), padding)
        people = {'confidence': records['keypoints_2d'][..., 2], 'problem': problems}
        people |= {field: records[field] for field in ('scale', 'fitting_error')}
        self._rows = self.select(people, person_filter)
        self._records = records[self._rows]

    @staticmethod
    def _read(
        smpl: dict[str, np.ndarray], boxes: np.ndarray, padding: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Records of the layout ``smpl`` and numbers of their problems."""
        given = {name: smpl[name] for name in (*PARAMETERS, 'transl')}
        joints = pose_joints(load_body_model('open', SMPL_LAYOUT.joints), **given).astype(np.float32)
        pixels = np.einsum('nij,nkj->nki', smpl['K'], joints)
        ones = np.ones((*joints.shape[:2], 1))
        fields = {name: smpl[name] for name in PARAMETERS} | {
            'keypoints_2d': np.concatenate([pixels[..., :2] / pixels[..., 2:], ones], -1),
            'keypoints_3d': np.concatenate([joints, ones], -1),
            'center': boxes[:, :2] + boxes[:, 2:] / 2,
            'scale': padding * boxes[:, 2:],
        }
        records, problems = np.zeros(len(boxes), SMPL_LAYOUT.dtype), np.zeros(len(boxes), np.uint8)
        for row in range(len(boxes)):
            person = {name: value[row] for name, value in fields.items()}
            records[row], problems[row] = check_annotation(person)
        return records, problems

    def __len__(self) -> int:
        return len(self._records)

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Fields of a person."""
        row = int(self._rows[index])
        return dict(
            to_results(self._records[index]),
            sample_key=f'{self._image_names[row]}#{row}',
            dataset_name=self.name,
            sample_idx=index,
            img_path=os.path.join(self.img_dir, self._image_names[row]),
        )


@DATASETS.register_module()
class SyntheticPoses(Dataset):
    """Poses and shapes of synthetic people in the place of :class:`mmhier.datasets.mesh.MocapDataset`.

    Args:
        ann_file: ``annotations/smpl_train.npz`` of the folder.
    """

    def __init__(self, ann_file: str):
        fields = read_npz(ann_file, ('body_pose', 'betas'))
        self.body_pose = fields['body_pose'].astype(np.float32)
        self.betas = fields['betas'].astype(np.float32)

    def __len__(self) -> int:
        return len(self.betas)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """``body_pose`` (23, 3), axis-angle in radians, and ``betas`` (10,), float32."""
        return dict(body_pose=self.body_pose[index].reshape(-1, 3), betas=self.betas[index])
