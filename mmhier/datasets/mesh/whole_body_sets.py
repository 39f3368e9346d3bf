"""The data sets of whole bodies that are not HumanData: where their files lie, and what is special in them.

A row of :data:`SETS` tells the files under the folder of a data set, as SMPLer-X expects them.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmpose.registry import DATASETS

from mmhier.body_models.model_directory import load_body_data, load_body_model
from mmhier.datasets.mesh.agora_people import (
    agora_source,
    agora_test_source,
    agora_vertices,
    ehf_source,
    ehf_vertices,
)
from mmhier.datasets.mesh.human_data import WholeBodyDataset
from mmhier.datasets.mesh.neural_annot import (
    coco_source,
    human36m_sources,
    mpii_source,
    pw3d_source,
    ubody_sources,
)
from mmhier.datasets.mesh.ply_vertices import read_ply_vertices
from mmhier.datasets.mesh.whole_body_annotation import JOINTS
from mmhier.datasets.mesh.whole_body_index import Source
from mmhier.datasets.mesh.whole_body_rows import named, read_coco

PARAMETERS = (
    'global_orient', 'body_pose', 'left_hand_pose', 'right_hand_pose', 'jaw_pose', 'betas', 'expression',
    'transl',
)  # fmt: skip
# Flag -> the points of a body that are not known without it.
PART_ROWS = {
    'has_left_hand_pose': slice(25, 45),
    'has_right_hand_pose': slice(45, 65),
    'has_expression': slice(65, 137),
}


class Set(NamedTuple):
    """A data set.

    Attributes:
        sources: From its folder, the split ('train' or 'test') and a body model to its annotations.
        images: Folder of its images, in its folder.
        splits: Those that it has.
        padding: Of people's boxes, by default; those of AGORA are enlarged as they are annotated.
        part_padding: Of hands' and face's boxes, by default.
    """

    sources: Callable[[Path, str, str | None], list[Source]]
    images: str
    splits: tuple[str, ...] = ('train',)
    padding: float = 1.2
    part_padding: float | None = None


def _mscoco(root: Path, split: str, body: str | None) -> list[Source]:
    folder = root / 'annotations'
    bodies = folder / 'MSCOCO_train_SMPLX_all_NeuralAnnot.json'
    return [coco_source(folder / 'coco_wholebody_train_v1.0.json', bodies)]


def _mpii(root: Path, split: str, body: str | None) -> list[Source]:
    folder = root / 'annotations'
    return [mpii_source(folder / 'train.json', folder / 'MPII_train_SMPLX_NeuralAnnot.json')]


def _agora(root: Path, split: str, body: str | None) -> list[Source]:
    if split == 'server':
        return [agora_test_source(root / 'AGORA_test_bbox.json')]
    return [agora_source(root / f'AGORA_{"train" if split == "train" else "validation"}_fix_betas.json')]


BOTH = ('train', 'test')
SETS = {
    'mscoco': Set(_mscoco, 'images', part_padding=1.2),
    'mpii': Set(_mpii, ''),
    'ubody': Set(lambda root, split, body: ubody_sources(root, split == 'test'), 'images', BOTH, 1.25),
    'human36m': Set(lambda root, split, body: human36m_sources(root / 'annotations', body), 'images'),
    'pw3d': Set(lambda root, split, body: [pw3d_source(root / f'3DPW_{split}.json')], 'imageFiles', BOTH),
    'agora': Set(_agora, '', (*BOTH, 'server'), 1.0),
    'ehf': Set(lambda root, split, body: [ehf_source(root / 'EHF.json')], '', ('test',), part_padding=1.2),
}


@DATASETS.register_module()
class WholeBodySet(WholeBodyDataset):
    """One of :data:`SETS`.

    In evaluation a sample has the truth that the benchmark judges by: ``vertices`` (V, 3) of AGORA and EHF,
    ``skeleton`` (24, 3) of 3DPW, joints of the annotated SMPL.

    Args:
        kind: Which.
        data_root: Its folder, or one that holds it.
        folder: Its folder in ``data_root``.
        split: 'train' or 'test'; of AGORA the latter is its validation, and 'server' are its test images.
        body_model: SMPL-X, for the points of annotated bodies in the image. Without it those are not known.
        kwargs: See :class:`WholeBodyDataset`.

    Raises:
        ValueError: If there is no such data set or split.
    """

    def __init__(
        self,
        kind: str,
        data_root: str,
        split: str = 'train',
        folder: str = '',
        body_model: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ):
        if kind not in SETS or split not in SETS[kind].splits:
            known = '; '.join(f'{name}: {", ".join(made.splits)}' for name, made in SETS.items())
            raise ValueError(f'kind={kind!r}, split={split!r}: there are {known}')
        self.kind, self.root, self.body_model = kind, Path(data_root, folder), body_model
        sources = SETS[kind].sources(self.root, split, body_model if kind == 'human36m' else None)
        paddings = dict(padding=SETS[kind].padding, part_padding=SETS[kind].part_padding)
        super().__init__(name or kind, sources, self.root / SETS[kind].images, **paddings | kwargs)
        self._bodies: dict[str, Any] = {}
        self._truths: list[Any] = []
        if self.test_mode and kind in ('agora', 'pw3d') and split != 'server':
            path = sources[0].files[0]
            with named(path):
                annotations, _ = read_coco(path)
                self._truths = [_truth_of(kind, annotation) for annotation in annotations]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {'_bodies': {}}

    def get_data_info(self, index: int) -> dict[str, Any]:
        """Fields of a person."""
        results = super().get_data_info(index)
        if not self.test_mode:
            return results
        if self.kind == 'ehf':
            number = os.path.basename(results['img_path']).split('_')[0]
            vertices = read_ply_vertices(self.root / f'{number}_align.ply')
            results['vertices'] = ehf_vertices(vertices)
        elif self.kind == 'agora' and self._truths:
            results['vertices'] = agora_vertices(self.root / self._truths[self._row[index]])
        elif self.kind == 'pw3d':
            results['skeleton'] = self._skeleton(self._truths[self._row[index]])
        return results

    def fitted_points(self, results: Mapping[str, Any]) -> np.ndarray:
        """Points (K, 3) of the annotated body in the image, as far as its place and camera are known."""
        if self.kind == 'agora':
            return super().fitted_points(results)
        if self.body_model is None or not (results['has_transl'] and results['has_camera']):
            return np.zeros((len(JOINTS), 3), np.float32)
        fields = {field: torch.from_numpy(results[field][None]) for field in PARAMETERS}
        with torch.no_grad():
            points = self._body(self.body_model)(**fields).joints[0].numpy()
        focal, center = results['camera'].reshape(2, 2)
        pixels = points[:, :2] / np.maximum(points[:, 2:], 1e-6) * focal + center
        known = points[:, 2:] > 0
        for flag, rows in PART_ROWS.items():
            known[rows] &= bool(results[flag])
        return np.concatenate([pixels * known, known], 1).astype(np.float32)

    def _skeleton(self, param: Mapping[str, Any]) -> np.ndarray:
        """SMPL's joints (24, 3), regressed from its posed vertices, of the annotated gender."""
        gender = param['gender']
        fields = {
            name: torch.tensor(value, dtype=torch.float32)[None]
            for name, value in param.items()
            if name != 'gender'
        }
        with torch.no_grad():
            vertices = self._body(gender)(**fields).vertices[0].numpy()
        return load_body_data(gender).J_regressor @ vertices

    def _body(self, name: str) -> Any:
        if name not in self._bodies:
            settings = dict(joints='smplx137', add_hand_means=True) if name == self.body_model else {}
            self._bodies[name] = load_body_model(name, **settings)
        return self._bodies[name]


def _truth_of(kind: str, annotation: Mapping[str, Any]) -> Any:
    """What of an annotation is the truth of a benchmark: the path of a mesh, or parameters of SMPL."""
    if kind == 'agora':
        return annotation['smplx_verts_path']
    param = annotation['smpl_param']
    pose = np.asarray(param['pose'], np.float32).reshape(24, 3)
    betas = np.asarray(param['shape'], np.float32).ravel()[:10]
    return dict(global_orient=pose[:1], body_pose=pose[1:], betas=betas, gender=str(param['gender']))
