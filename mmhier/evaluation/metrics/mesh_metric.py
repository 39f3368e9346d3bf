"""Errors of meshes over one or several data sets in one run, each number with its protocol.

What is measured is :mod:`mmhier.evaluation.functional.mesh`, what is read is
:mod:`mmhier.mesh_sample`; here samples are sorted by data set, counted and averaged. A body without
ground truth for an error is counted as skipped, a prediction that is not finite is not: it turns the number
into NaN, or into a miss.

Beside errors in space stands what a constant prediction would reach: the mean of the ground truth of that
very data set (for PA-MPJPE: the mean after alignment), which no model sees.

Letters: K joints of a sample, J joints that are judged.
"""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmpose.registry import METRICS
from torch import Tensor

from mmhier.body_models.joint_sets import joint_set
from mmhier.body_models.model_directory import load_body_model
from mmhier.body_models.smpl import SMPL
from mmhier.evaluation.functional.mesh import (
    mpjpe,
    normalized_distances,
    pa_mpjpe,
    pck,
    phi_mesh_2d,
    phi_mesh_3d,
    pve,
    relative_to_joint,
)
from mmhier.geometry.procrustes import procrustes_align
from mmhier.tables import markdown

PCK_THRESHOLDS = (0.05, 0.1)
MEASURES = ('joints', 'mesh', 'image')
ROUNDS_OF_ALIGNMENT = 5
UNIFIED = 'all'
PARAMETERS = ('global_orient', 'body_pose', 'betas')
HEADER = (
    'Data set', 'Score', 'Value', 'Unit', 'Mean pose', 'Joints', 'Relative to', 'Regressor', 'Ground truth',
    'Boxes', 'Samples', 'Skipped',
)  # fmt: skip


@dataclass(frozen=True)
class Protocol:
    """How a data set is judged.

    Attributes:
        measures: 'joints' (MPJPE, PA-MPJPE), 'mesh' (PVE), 'image' (PCK).
        joints: joint set of MPJPE, PA-MPJPE and PCK, taken from the joints of the samples by landmark; None:
            all joints of the samples.
        root: joint or joints (their mean) at which bodies are put on top of each other, names of the joints
            of the samples; for MPJPE and PVE.
        gender: which bodies the ground truth is made of.
        boxes: where the boxes come from that people are cropped by.
        phi: whether the data set counts for the unified scores.
    """

    measures: tuple[str, ...] = ('joints',)
    joints: str | None = 'hmr2_eval14'
    root: str | tuple[str, ...] = 'pelvis_mpii'
    gender: str = 'neutral'
    boxes: str = 'ground truth'
    phi: bool = True


@dataclass(frozen=True)
class Row:
    """One number and what it means.

    Attributes:
        dataset: data set, or 'all' for the unified scores.
        score: what was measured.
        value: the number.
        unit: 'mm' or nothing.
        mean_pose: what a constant prediction reaches, see :func:`mean_pose_errors`.
        joints: points that were judged.
        root: what they are relative to.
        regressor: how they were taken from the predicted body.
        gender: which bodies the ground truth is made of.
        boxes: where the boxes come from.
        samples: how many people were judged.
        skipped: how many had no ground truth for this.
        phi: whether the number counts for the unified scores.
    """

    dataset: str
    score: str
    value: float
    unit: str = ''
    mean_pose: float | None = None
    joints: str = ''
    root: str = ''
    regressor: str = ''
    gender: str = ''
    boxes: str = ''
    samples: int = 0
    skipped: int = 0
    phi: bool = False


@METRICS.register_module()
class MeshMetric(BaseMetric):
    """MPJPE, PA-MPJPE, PVE (millimetres), PCK@0.05, PCK@0.1, Phi_M,3D and Phi_M,2D.

    Args:
        datasets: Data set, as samples name it in ``dataset_name`` -> fields of :class:`Protocol`.
        joints: Joint set of the samples.
        body_model: Body of the ground truth's parameters, for PVE, and whose regressors the protocol names.
        outfile_prefix: Writes the table to ``{outfile_prefix}.md`` and ``.json``.
        collect_device: See MMEngine.
        prefix: First part of the names of the scores.

    Raises:
        ValueError: If a protocol is malformed.
    """

    default_prefix = 'mesh'

    def __init__(
        self,
        datasets: Mapping[str, Mapping],
        joints: str = 'hmr44',
        body_model: str = 'open',
        outfile_prefix: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ):
        super().__init__(collect_device, prefix)
        self.joint_set = joint_set(joints)
        self.protocols = {name: self._protocol(name, fields) for name, fields in datasets.items()}
        self.body_model = body_model
        self.outfile_prefix = outfile_prefix
        self._body: SMPL | None = None

    @property
    def body(self) -> SMPL:
        """The body of the ground truth's parameters."""
        if self._body is None:
            self._body = load_body_model(self.body_model, self.joint_set)
        return self._body

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Measure each sample.

        Raises:
            ValueError: If a sample is of a data set without protocol.
        """
        for sample in data_samples:
            name = sample.get('dataset_name')
            if name not in self.protocols:
                raise ValueError(
                    f'a sample is of the data set {name!r}, {type(self).__name__} has protocols of '
                    f'{sorted(self.protocols)}: add it to datasets of the evaluator'
                )
            self.results.append(dict(dataset=name) | self._measure(sample, self.protocols[name]))

    def _measure(self, sample: dict, protocol: Protocol) -> dict:
        """What a sample shows by its protocol."""
        measure = dict(joints=self._joint_errors, mesh=self._mesh_error, image=self._image_distances)
        result = {}
        for kind in protocol.measures:
            result |= measure[kind](sample, protocol)
        return result

    def _joint_errors(self, sample: dict, protocol: Protocol) -> dict:
        """MPJPE and PA-MPJPE, NaN without ground truth, and the judged joints relative to the root."""
        predicted = as_tensor(sample['pred_instances']['keypoints_3d'])
        target, valid = _labels(sample)['keypoints_3d'].split([3, 1], -1)
        valid = valid[..., 0] > 0
        roots, judged = self._numbers(protocol)
        has_root = valid[:, roots].all(1, keepdim=True)
        target = torch.where(valid[..., None], target, 0.0)
        predicted = relative_to_joint(predicted, predicted, roots)[:, judged]
        target = relative_to_joint(target, target, roots)[:, judged]
        valid = valid[:, judged] & has_root
        return {
            'MPJPE': mpjpe(predicted, target, valid).item(),
            'PA-MPJPE': pa_mpjpe(predicted, target, valid).item(),
            'has_joints': bool(valid.any()),
            'target': torch.where(valid[..., None], target, torch.nan)[0].float(),
        }

    def _mesh_error(self, sample: dict, protocol: Protocol) -> dict:
        """PVE, NaN without ground truth."""
        labels = _labels(sample)
        if not all(labels[f'has_{name}'] > 0 for name in PARAMETERS):
            return {'PVE': math.nan, 'has_mesh': False}
        target = self.body(**{name: labels[name] for name in PARAMETERS})
        predicted = sample['pred_instances']
        roots, _ = self._numbers(protocol)
        vertices = relative_to_joint(
            as_tensor(predicted['vertices']), as_tensor(predicted['keypoints_3d']), roots
        )
        error = pve(vertices, relative_to_joint(target.vertices, target.joints, roots))
        return {'PVE': error.item(), 'has_mesh': True}

    def _image_distances(self, sample: dict, protocol: Protocol) -> dict:
        """Distances of the judged joints in parts of the longer side of the box, NaN without ground truth."""
        truth = sample['gt_instances']
        target, confidence = as_tensor(truth['keypoints']), as_tensor(truth['keypoints_confidence'])
        side = as_tensor(truth['bbox_scales']).amax(-1)
        _, judged = self._numbers(protocol)
        predicted = as_tensor(sample['pred_instances']['keypoints'])
        distances = normalized_distances(
            predicted[:, judged], target[:, judged], confidence[:, judged], side
        )[0]
        return {'distances': distances, 'has_image': bool((~distances.isnan()).any())}

    def _protocol(self, name: str, fields: Mapping) -> Protocol:
        """Make a protocol from a config."""
        protocol = read_protocol(name, fields, Protocol, MEASURES)
        joints = self.joint_set
        joints.indices([protocol.root] if isinstance(protocol.root, str) else protocol.root)
        missing = (
            set(joint_set(protocol.joints).landmarks) - set(joints.landmarks) if protocol.joints else None
        )
        if missing:
            raise ValueError(
                f'datasets.{name}.joints={protocol.joints!r} has joints that {joints.name} has not: {missing}'
            )
        return protocol

    def _numbers(self, protocol: Protocol) -> tuple[list[int], list[int]]:
        """Numbers of the root joints and of those that are judged, among the joints of the samples."""
        roots = self.joint_set.indices([protocol.root] if isinstance(protocol.root, str) else protocol.root)
        if protocol.joints is None:
            return roots, list(range(len(self.joint_set)))
        return roots, [self.joint_set.landmarks.index(name) for name in joint_set(protocol.joints).landmarks]

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Average over each data set, log and write the table.

        Returns:
            ``{data set}/{score}``, without the data set if there is one only; ``Phi_M,3D`` and ``Phi_M,2D``
            where data sets count for them; ``{score} of the mean pose``.

        Raises:
            ValueError: If a data set has no sample, or none with ground truth for what it is to show.
        """
        rows = []
        for name, protocol in self.protocols.items():
            samples = [result for result in results if result['dataset'] == name]
            if not samples:
                raise ValueError(f'no sample of {name!r} was evaluated: is it in the data loader?')
            rows += self._rows(name, protocol, samples)
        rows += self._unified(rows)
        table = _table(rows)
        print_log(f'\n{table}', logger='current', level=logging.INFO)
        if self.outfile_prefix:
            path = Path(self.outfile_prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(path.name + '.md').write_text(table + '\n')
            text = json.dumps([_without_nan(asdict(row)) for row in rows], indent=2)
            path.with_name(path.name + '.json').write_text(text + '\n')
        several = len(self.protocols) > 1
        scores = {}
        for row in rows:
            key = f'{row.dataset}/{row.score}' if several and row.dataset != UNIFIED else row.score
            scores[key] = row.value
            if row.mean_pose is not None:
                scores[f'{key} of the mean pose'] = row.mean_pose
        return scores

    def _rows(self, name: str, protocol: Protocol, samples: list[dict]) -> list[Row]:
        """What one data set shows."""
        root = protocol.root if isinstance(protocol.root, str) else 'mean of ' + ', '.join(protocol.root)
        joints = f'{protocol.joints or self.joint_set.name} ({len(self._numbers(protocol)[1])})'
        rows = []
        for measure in protocol.measures:
            used = [sample for sample in samples if sample[f'has_{measure}']]
            if not used:
                raise ValueError(
                    f'no sample of the data set {name!r} has ground truth for {measure!r}: take it out of '
                    'measures of the evaluator, or look into the annotations'
                )
            about = dict(
                joints=joints,
                root=root,
                regressor=f'joints of {self.body.name}',
                gender=protocol.gender,
                boxes=protocol.boxes,
                samples=len(used),
                skipped=len(samples) - len(used),
                phi=protocol.phi,
            )
            if measure == 'joints':
                constant = mean_pose_errors(torch.stack([sample['target'] for sample in used]))
                for score, frame in (('MPJPE', root), ('PA-MPJPE', 'similarity')):
                    value = float(np.mean([sample[score] for sample in used]))
                    rows.append(Row(name, score, value, 'mm', constant[score], **{**about, 'root': frame}))
            elif measure == 'mesh':
                about['joints'] = f'{self.body.num_vertices} vertices'
                rows.append(Row(name, 'PVE', float(np.mean([s['PVE'] for s in used])), 'mm', **about))
            else:
                about['root'] = 'longer side of the box'
                distances = torch.stack([sample['distances'] for sample in used])
                for threshold in PCK_THRESHOLDS:
                    rows.append(Row(name, f'PCK@{threshold}', pck(distances, threshold).mean, **about))
        return rows

    def _unified(self, rows: list[Row]) -> list[Row]:
        """Phi_M,3D and Phi_M,2D of the data sets that count for them."""
        unified = []
        scores = {(row.dataset, row.score): row for row in rows if row.phi}
        for score, pair, function in (
            ('Phi_M,3D', ('MPJPE', 'PA-MPJPE'), phi_mesh_3d),
            ('Phi_M,2D', tuple(f'PCK@{threshold}' for threshold in PCK_THRESHOLDS), phi_mesh_2d),
        ):
            names = [name for name in self.protocols if all((name, part) in scores for part in pair)]
            if names:
                parts = [scores[name, pair[0]] for name in names]
                unified.append(
                    Row(
                        UNIFIED,
                        score,
                        function({name: [scores[name, part].value for part in pair] for name in names}),
                        parts[0].unit,
                        joints=f'mean over {", ".join(names)}',
                        samples=sum(part.samples for part in parts),
                        skipped=sum(part.skipped for part in parts),
                    )
                )
        return unified


def mean_pose_errors(targets: Tensor) -> dict[str, float]:
    """Errors of one constant prediction that knows the ground truth: its mean.

    Args:
        targets: (N, J, 3) metres, relative to the root; NaN where there is no ground truth.

    Returns:
        MPJPE of the mean, and PA-MPJPE of the mean of the bodies aligned to it, millimetres.
    """
    valid = ~targets.isnan().any(-1)
    targets = torch.where(valid[..., None], targets, 0.0).double()
    shares = valid[..., None].double() / valid.sum(0).clamp_min(1)[None, :, None]
    mean = (shares * targets).sum(0)
    errors = mpjpe(mean.expand_as(targets), targets, valid)
    shape = mean
    for _ in range(ROUNDS_OF_ALIGNMENT):
        aligned = procrustes_align(targets, shape.expand_as(targets), valid.double())
        shape = (shares * aligned).sum(0)
    aligned_errors = pa_mpjpe(shape.expand_as(targets), targets, valid)
    return {'MPJPE': errors.mean().item(), 'PA-MPJPE': aligned_errors.mean().item()}


def read_protocol(name: str, fields: Mapping, kind: type, measures: Sequence[str]) -> Any:
    """Make a protocol of some kind from a config.

    Raises:
        ValueError: If it has unknown fields or measures.
    """
    unknown = set(fields) - set(kind.__dataclass_fields__)
    if unknown:
        raise ValueError(
            f'datasets.{name} has unknown fields {sorted(unknown)}; known: {list(kind.__dataclass_fields__)}'
        )
    protocol = kind(
        **{key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    )
    if not protocol.measures or set(protocol.measures) - set(measures):
        raise ValueError(f'datasets.{name}.measures must be some of {measures}, got {protocol.measures}')
    return protocol


def as_tensor(value: np.ndarray | Tensor) -> Tensor:
    """What is stored of a person as an array or a tensor on any device."""
    return torch.as_tensor(value).float().cpu()


def _labels(sample: dict) -> dict[str, Tensor]:
    return {name: as_tensor(value) for name, value in sample['gt_instance_labels'].items()}


def _table(rows: Sequence[Row]) -> str:
    """All numbers with their protocols, in Markdown."""
    lines = []
    for row in rows:
        value = f'{row.value:.1f}' if row.unit == 'mm' else f'{row.value:.3f}'
        mean_pose = '' if row.mean_pose is None else f'{row.mean_pose:.1f}'
        described = (row.joints, row.root, row.regressor, row.gender, row.boxes)
        counts = (str(row.samples), str(row.skipped))
        lines.append((row.dataset, row.score, value, row.unit, mean_pose, *described, *counts))
    return markdown(HEADER, lines)


def _without_nan(fields: dict) -> dict:
    """JSON has no NaN."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in fields.items()
    }
