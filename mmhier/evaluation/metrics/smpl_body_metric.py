"""Errors of SMPL's own 24 joints and of vertices against bodies of the annotated gender, as EMDB judges.

The 44 joints of samples lack ten of SMPL's, and their annotation knows one gender only. So the ground truth
is posed here, from the parameters in the npz file, whose rows samples of
:class:`mmhier.datasets.mesh.MeshNpzDataset` name in ``sample_key``.

EMDB (Kaufmann et al., ICCV 2023): MPJPE and vertex error after moving the middle of the hip joints to one
place, PA-MPJPE over all 24 joints, mean over frames of all sequences.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from mmpose.registry import METRICS

from mmhier.body_models.model_directory import load_body_model
from mmhier.body_models.smpl import SMPL
from mmhier.datasets.mesh.npz_file import read_npz
from mmhier.evaluation.functional.mesh import pve, relative_to_joint
from mmhier.evaluation.metrics.mesh_metric import PARAMETERS, MeshMetric, Protocol, as_tensor

JOINTS = 'smpl24'


@METRICS.register_module()
class SmplBodyMetric(MeshMetric):
    """MPJPE, PA-MPJPE and PVE of SMPL's skeleton, each data set against its file.

    Args:
        datasets: Data set -> fields of :class:`Protocol`, with ``joints`` and ``root`` of SMPL's joints.
        ann_files: Data set -> its npz file, with ``body_pose``, ``betas`` and ``gender``.
        body_model: Body of the predictions.
        bodies: Gender -> body model of the ground truth; by default those that are installed.
        kwargs: See :class:`MeshMetric`.

    Raises:
        ValueError: If a protocol is malformed or a file lacks something.
    """

    def __init__(
        self,
        datasets: Mapping[str, Mapping],
        ann_files: Mapping[str, str],
        body_model: str = 'neutral',
        bodies: Mapping[str, str] | None = None,
        **kwargs: Any,
    ):
        super().__init__(datasets, JOINTS, body_model, **kwargs)
        if set(ann_files) != set(self.protocols):
            raise ValueError(
                f'ann_files are of {sorted(ann_files)}, datasets are {sorted(self.protocols)}: each data set '
                'needs its file'
            )
        judged = {measure for protocol in self.protocols.values() for measure in protocol.measures}
        if 'image' in judged:
            raise ValueError("SmplBodyMetric measures 'joints' and 'mesh'; for 'image' use MeshMetric")
        self.bodies = dict(bodies or {})
        self._loaded: dict[str, SMPL] = {}
        self._truths = {name: _read_truth(path) for name, path in ann_files.items()}

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Measure each sample."""
        known = [sample for sample in data_samples if sample.get('dataset_name') in self.protocols]
        if len(known) < len(data_samples):
            super().process(data_batch, data_samples)  # which names the first that is not known
        super().process(data_batch, [self._with_skeletons(sample) for sample in known])

    def _with_skeletons(self, sample: dict) -> dict:
        """The sample with SMPL's joints in place of the 44, and the vertices of the ground truth."""
        predicted = sample['pred_instances']
        skeleton = self.body(**{name: as_tensor(predicted[name]) for name in PARAMETERS}).joints
        fields = self._truths[sample['dataset_name']]
        row = _row_of(sample, len(fields['betas']))
        pose, betas = (torch.from_numpy(fields[name][row : row + 1]) for name in ('body_pose', 'betas'))
        truth = self._body_of(str(fields['gender'][row]))(betas, pose[:, 3:], pose[:, :3])
        known = torch.ones_like(truth.joints[..., :1])
        return dict(
            dataset_name=sample['dataset_name'],
            pred_instances=dict(keypoints_3d=skeleton, vertices=predicted['vertices']),
            gt_instance_labels=dict(
                keypoints_3d=torch.cat([truth.joints, known], -1),
                joints=truth.joints,
                vertices=truth.vertices,
            ),
        )

    def _mesh_error(self, sample: dict, protocol: Protocol) -> dict:
        """PVE."""
        roots, _ = self._numbers(protocol)
        predicted, truth = sample['pred_instances'], sample['gt_instance_labels']
        error = pve(
            relative_to_joint(as_tensor(predicted['vertices']), predicted['keypoints_3d'], roots),
            relative_to_joint(truth['vertices'], truth['joints'], roots),
        )
        return {'PVE': error.item(), 'has_mesh': True}

    def _body_of(self, gender: str) -> SMPL:
        if gender not in self._loaded:
            self._loaded[gender] = load_body_model(self.bodies.get(gender, gender), JOINTS)
        return self._loaded[gender]


def _read_truth(path: str) -> dict[str, np.ndarray]:
    """Parameters of all people of a file."""
    fields = read_npz(path, ('body_pose', 'betas'), ('gender',))
    missing = {'body_pose', 'betas', 'gender'} - set(fields)
    if missing:
        raise ValueError(
            f'{path} has no {", ".join(sorted(missing))}; make it with tools/prepare/benchmark_to_npz.py'
        )
    count = len(fields['gender'])
    for name, size in (('body_pose', 72), ('betas', 10)):
        fields[name] = fields[name].astype(np.float32)
        if fields[name].shape != (count, size) or not np.isfinite(fields[name]).all():
            raise ValueError(
                f'{path}: {name} is {fields[name].shape}; expected ({count}, {size}), all finite'
            )
    return fields


def _row_of(sample: dict, count: int) -> int:
    """Which row of its file a sample is."""
    key = str(sample.get('sample_key'))
    row = key.rpartition('#')[2]
    if not row.isdigit() or int(row) >= count:
        raise ValueError(f'the sample {key!r} names none of the {count} rows of the npz file in ann_files')
    return int(row)
