"""Errors of whole bodies over one or several benchmarks in one run, each number with its protocol.

What is measured is :mod:`mmhier.evaluation.functional.whole_body` and
:mod:`mmhier.evaluation.functional.agora`. Predictions are ``pred_instances.vertices``; the truth is
``gt_instances.vertices`` where a data set has them (EHF, AGORA), else the body that the annotation's
parameters make. What of a person is not annotated (a hand, the face), or not inside of the image where that
is asked for, is not judged and counted as skipped; a prediction that is not finite turns the number into NaN.

Beside a number stands what a constant prediction would reach, the mean of the true bodies of that data set,
found of every so manieth vertex.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from mmpose.registry import METRICS
from torch import Tensor

from mmhier.body_models.model_directory import load_body_data, load_body_model
from mmhier.body_models.smpl_file import SMPLX_JOINT_NAMES
from mmhier.body_models.smplx import SMPLX
from mmhier.evaluation.agora_files import image_stem, write_agora_person
from mmhier.evaluation.functional.agora import (
    body_vertices,
    detection_scores,
    full_body,
    joint_errors,
    match_people,
    vertex_errors,
)
from mmhier.evaluation.functional.mesh import relative_to_joint
from mmhier.evaluation.functional.whole_body import (
    HANDS,
    ROOTS,
    WholeBodyPoints,
    in_image,
    skeleton_errors,
    whole_body_errors,
    whole_body_points,
)
from mmhier.evaluation.metrics.mesh_metric import (
    UNIFIED,
    MeshMetric,
    Row,
    as_tensor,
    mean_pose_errors,
    read_protocol,
)
from mmhier.geometry.rotations import matrix_to_axis_angle

MEASURES = ('mesh', 'joints', 'skeleton', 'agora', 'files')
# Score -> the parts that have to be annotated for it, and the points that are judged.
MESH_SCORES = {
    'PVE': (('body', 'hands', 'face'), 'all'),
    'PVE hands': (('body', 'hands'), 'hands'),
    'PVE face': (('body', 'face'), 'face'),
}
JOINT_SCORES = {
    'MPJPE body': (('body',), '14 joints (j14)'),
    'MPJPE hands': (('body', 'hands'), '2 x 21 joints of hands'),
}
FLAGS = {
    'body': ('has_global_orient', 'has_body_pose', 'has_betas'),
    'hands': ('has_left_hand_pose', 'has_right_hand_pose'),
    'face': ('has_jaw_pose', 'has_expression'),
}
PARAMETERS = (
    'global_orient', 'body_pose', 'left_hand_pose', 'right_hand_pose', 'jaw_pose', 'betas', 'expression',
)  # fmt: skip
# Vertices of each part by which the mean body is judged.
SAMPLED = 256


@dataclass(frozen=True)
class WholeBodyProtocol:
    """How a benchmark is judged.

    Attributes:
        measures: 'mesh' (PVE and PA-PVE of all, hands and face), 'joints' (MPJPE and PA-MPJPE of body and
            hands), 'skeleton' (MPJPE and PA-MPJPE of 14 joints against a skeleton of SMPL, 3DPW), 'agora'
            (F1, NMVE, NMJE), 'files' (none: predictions are written for AGORA's server).
        inside: Judge what lies inside of the image only, as UBody does: the true body, as its own camera
            sees it.
        primary: The score that counts for MPE, the mean over benchmarks; None: none does.
        gender: Which bodies the ground truth is made of.
        boxes: Where the boxes come from that people are cropped by.
    """

    measures: tuple[str, ...] = ('mesh', 'joints')
    inside: bool = False
    primary: str | None = 'PVE'
    gender: str = 'neutral'
    boxes: str = 'ground truth'


@METRICS.register_module()
class WholeBodyMetric(MeshMetric):
    """PVE, PA-PVE, MPJPE, PA-MPJPE (millimetres), AGORA's scores and MPE.

    Args:
        datasets: Data set, as samples name it in ``dataset_name`` -> fields of :class:`WholeBodyProtocol`.
        body_model: Body of the predictions and of the annotated parameters.
        joints: Joint set of the samples' points in the image.
        agora_dir: Folder for the files of 'files', see :mod:`mmhier.evaluation.agora_files`.
        kwargs: See :class:`MeshMetric`.

    Raises:
        ValueError: If a protocol is malformed, or the body lacks what is judged.
    """

    default_prefix = 'whole_body'

    def __init__(
        self,
        datasets: Mapping[str, Mapping],
        body_model: str = 'smplx_neutral',
        joints: str = 'smplx137',
        agora_dir: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(datasets, joints, body_model, **kwargs)
        wanted = [name for name, protocol in self.protocols.items() if 'files' in protocol.measures]
        if wanted and agora_dir is None:
            raise ValueError(f"datasets.{wanted[0]}.measures has 'files': set agora_dir to a folder for them")
        self.agora_dir = agora_dir
        self._points: WholeBodyPoints | None = None
        self._landmarked: SMPLX | None = None

    @property
    def points(self) -> WholeBodyPoints:
        """What of the body's mesh is judged."""
        if self._points is None:
            self._points = whole_body_points(load_body_data(self.body_model))
        return self._points

    @property
    def body(self) -> SMPLX:
        """The body of the annotated parameters; their hands are relative to its mean ones, if it has them."""
        if self._body is None:
            means = load_body_data(self.body_model).hand_means is not None
            self._body = load_body_model(self.body_model, 'smplx55', add_hand_means=means)
        return self._body

    def _protocol(self, name: str, fields: Mapping) -> WholeBodyProtocol:
        return read_protocol(name, fields, WholeBodyProtocol, MEASURES)

    def _measure(self, sample: dict, protocol: WholeBodyProtocol) -> dict:
        predicted = as_tensor(sample['pred_instances']['vertices'])
        result: dict[str, Any] = dict(scores={})
        if 'skeleton' in protocol.measures:
            result['scores'] |= self._skeleton(sample, predicted)
        if 'files' in protocol.measures:
            result['file'] = self._file(sample)
        if set(protocol.measures) - {'skeleton', 'files'}:
            target, known = self._truth(sample)
            wanted = {}
            for kind, names in (('mesh', MESH_SCORES), ('joints', JOINT_SCORES)):
                wanted |= names if kind in protocol.measures else {}
            errors = {}
            if known['body'] and wanted:
                inside = self._inside(sample) if protocol.inside else None
                errors = whole_body_errors(predicted, target, self.points, inside)
                result['targets'] = self._sampled(target)
            is_finite = bool(predicted.isfinite().all())
            for name, (parts, _) in wanted.items():
                judged = name in errors and all(known[part] for part in parts)
                for score in (name, f'PA-{name}'):
                    value = errors[score].item() if judged else None
                    is_outside = judged and is_finite and math.isnan(value)
                    result['scores'][score] = None if is_outside else value
            if 'agora' in protocol.measures:
                result['agora'] = self._person(sample, predicted, target, known)
        return result

    def _truth(self, sample: dict) -> tuple[Tensor | None, dict[str, bool]]:
        """True vertices (1, V, 3), and which parts of them are annotated."""
        if (given := sample['gt_instances'].get('vertices')) is not None:
            return as_tensor(given), dict.fromkeys(FLAGS, True)
        labels = {name: as_tensor(value) for name, value in sample['gt_instance_labels'].items()}
        known = {part: all(bool(labels[flag] > 0) for flag in flags) for part, flags in FLAGS.items()}
        if not known['body']:
            return None, known
        with torch.no_grad():
            return self.body(**{name: labels[name] for name in PARAMETERS}).vertices, known

    def _inside(self, sample: dict) -> Any:
        """The judge of what lies inside of the image."""
        truth = sample['gt_instances']
        missing = [name for name in ('transl', 'camera_intrinsics') if truth.get(name) is None]
        if missing:
            raise ValueError(
                f'{sample.get("sample_key")}: inside=True needs {", ".join(missing)} in gt_instances, which '
                'PackWholeBodyInputs adds where the annotation has a camera'
            )
        fx, fy, cx, cy = as_tensor(truth['camera_intrinsics'])[0].double()
        transl = as_tensor(truth['transl']).double()
        height, width = sample['ori_shape']
        given = sample['gt_instances'].get('vertices') is not None  # in the frame of the camera already

        def inside(points: Tensor) -> Tensor:
            x, y, z = (points if given else points + transl[:, None]).unbind(-1)
            pixels = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)
            return in_image(pixels, pixels.new_tensor([[width, height]])) & (z > 0)

        return inside

    def _skeleton(self, sample: dict, predicted: Tensor) -> dict[str, float | None]:
        """Errors against joints of SMPL."""
        target = sample['gt_instances'].get('skeleton')
        if target is None:
            return {'MPJPE': None, 'PA-MPJPE': None}
        errors = skeleton_errors(predicted, as_tensor(target), self.points)
        return {name: value.item() for name, value in errors.items()}

    def _sampled(self, target: Tensor) -> dict[str, Tensor]:
        """Some vertices of each part, relative to its root."""
        groups = {'all': torch.arange(target.shape[1]), **self.points.parts}
        joints = self.points.skeleton @ target
        sampled = {}
        for part, rows in groups.items():
            rows = rows[:: math.ceil(len(rows) / SAMPLED)]
            root = SMPLX_JOINT_NAMES.index(ROOTS[part])
            sampled[part] = relative_to_joint(target[:, rows], joints, root)[0].float()
        return sampled

    def _person(self, sample: dict, predicted: Tensor, target: Tensor | None, known: dict[str, bool]) -> dict:
        """What AGORA's scores need of a person: 250 KB of SMPL-X."""
        truth = sample['gt_instances']
        return dict(
            image=sample['img_path'],
            points=as_tensor(sample['pred_instances']['keypoints'])[0],
            target_points=as_tensor(truth['keypoints'])[0],
            vertices=predicted[0],
            target=target[0] if all(known.values()) else None,
        )

    def _file(self, sample: dict) -> dict[str, Any]:
        """What AGORA's server gets of a person."""
        predicted = {name: as_tensor(value) for name, value in sample['pred_instances'].items()}
        params = {name: predicted[name] for name in PARAMETERS}
        for name in PARAMETERS[:5]:
            if params[name].shape[-2:] == (3, 3):
                params[name] = matrix_to_axis_angle(params[name])
        params, transl = {name: value.flatten(1) for name, value in params.items()}, predicted['transl']
        if self._landmarked is None:
            means = load_body_data(self.body_model).hand_means is not None
            self._landmarked = load_body_model(self.body_model, 'smplx144', add_hand_means=means)
        with torch.no_grad():
            joints = self._landmarked(**params).joints[0] + transl
        height, width = sample['ori_shape']
        pixels = joints[:, :2] / joints[:, 2:] * predicted['focal_length'][:, None]
        return dict(
            image=sample['img_path'],
            number=int(sample['sample_idx']),
            params={
                name: value.numpy() for name, value in (params | dict(transl=predicted['transl'])).items()
            },
            joints=(pixels + torch.tensor([width / 2, height / 2])).numpy(),
            image_wh=(width, height),
        )

    def _write(self, files: list[dict[str, Any]]) -> None:
        """Write the files of a data set; the people of an image are numbered as they come in it."""
        counts: dict[str, int] = {}
        for file in sorted(files, key=lambda file: file['number']):
            stem = image_stem(file['image'])
            number = counts[stem] = counts.get(stem, -1) + 1
            write_agora_person(self.agora_dir, **(file | dict(number=number)))

    def _rows(self, name: str, protocol: WholeBodyProtocol, samples: list[dict]) -> list[Row]:
        """What one benchmark shows."""
        rows = []
        if 'files' in protocol.measures:
            self._write([sample['file'] for sample in samples])
        about = dict(gender=protocol.gender, boxes=protocol.boxes)
        means = self._mean_bodies(samples) if set(protocol.measures) & {'mesh', 'joints'} else {}
        where = ' inside of the image' if protocol.inside else ''
        for score in dict.fromkeys(score for sample in samples for score in sample['scores']):
            values = [sample['scores'][score] for sample in samples]
            used = [value for value in values if value is not None]
            plain = score.removeprefix('PA-')
            if plain in MESH_SCORES:
                points, regressor = self._described(MESH_SCORES[plain][1]), 'vertices'
                root = self._root(MESH_SCORES[plain][1])
            elif plain in JOINT_SCORES:
                points, regressor = JOINT_SCORES[plain][1], f'of vertices of {self.body.name}'
                root = self._root('hands' if 'hands' in plain else 'all')
            else:
                points, regressor = '14 joints of the skeleton', f'of vertices of {self.body.name}'
                root = 'pelvis'
            rows.append(
                Row(
                    name,
                    score,
                    float(np.mean(used)) if used else math.nan,
                    'mm',
                    means.get(score),
                    f'{points}{where}',
                    root if score == plain else 'similarity',
                    regressor,
                    samples=len(used),
                    skipped=len(values) - len(used),
                    phi=score == protocol.primary,
                    **about,
                )
            )
        if not any(row.samples for row in rows) and rows:
            raise ValueError(
                f'no sample of the data set {name!r} has ground truth for {protocol.measures}: take it out '
                'of datasets of the evaluator, or look into the annotations'
            )
        if 'agora' in protocol.measures:
            rows += self._agora(name, [sample['agora'] for sample in samples], protocol, about)
        return rows

    def _described(self, part: str) -> str:
        if part == 'all':
            return f'{self.points.skeleton.shape[1]} vertices'
        count = sum(len(self.points.parts[p]) for p in (HANDS if part == 'hands' else (part,)))
        return f'{count} vertices of the {part}'

    @staticmethod
    def _root(part: str) -> str:
        return {'hands': 'wrists', 'face': 'neck'}.get(part, 'pelvis')

    @staticmethod
    def _mean_bodies(samples: list[dict]) -> dict[str, float]:
        """PVE and PA-PVE of the mean of the true bodies."""
        sampled = [sample['targets'] for sample in samples if 'targets' in sample]
        if not sampled:
            return {}
        found = {}
        for part in sampled[0]:
            errors = mean_pose_errors(torch.stack([some[part] for some in sampled]))
            found[part] = errors['MPJPE'], errors['PA-MPJPE']
        found['hands'] = tuple(np.mean([found.pop(hand) for hand in HANDS], axis=0).tolist())
        means = {}
        for name, (_, part) in MESH_SCORES.items():
            means[name], means[f'PA-{name}'] = found[part]
        return means

    def _agora(
        self, name: str, people: list[dict], protocol: WholeBodyProtocol, about: dict[str, str]
    ) -> list[Row]:
        """F1, and errors of those who are matched, as they are and divided by F1."""
        if self.points.landmarks is None:
            raise ValueError(
                f"{name}: 'agora' needs the landmarks of a face, which {self.body_model} has not"
            )
        parts = dict(self.points.parts)
        parts['body'] = body_vertices(self.points.skeleton.shape[1], parts)
        images: dict[str, list[dict]] = {}
        for person in people:
            images.setdefault(person['image'], []).append(person)
        matchings, errors = [], {'V': [], 'J': []}
        for group in images.values():
            matching = match_people(
                torch.stack([person['points'] for person in group]),
                torch.stack([person['target_points'] for person in group]),
            )
            matchings.append(matching)
            for number, truth in matching.pairs:
                meshes = group[number]['vertices'][None], group[truth]['target']
                if meshes[1] is None:
                    continue
                meshes = meshes[0], meshes[1][None]
                joints = tuple(self.points.landmarks @ mesh for mesh in meshes)
                errors['V'].append(vertex_errors(*meshes, joints, parts))
                errors['J'].append(joint_errors(*joints))
        found = detection_scores(matchings)
        if not errors['V']:
            raise ValueError(f'{name}: nobody was matched, or nobody of those is annotated')
        about = about | dict(samples=len(errors['V']), skipped=len(people) - len(errors['V']))
        matched = dict(joints='points in the image', root='overlap of 0.1 and more', **about)
        rows = [Row(name, score.capitalize(), value, **matched) for score, value in found._asdict().items()]
        for kind, some in errors.items():
            means = {part: float(torch.cat([error[part] for error in some]).mean()) for part in some[0]}
            shown = dict(joints='vertices' if kind == 'V' else 'joints', root="the part's own", **about)
            shown['regressor'] = f'of vertices of {self.body.name}'
            error = 'MVE' if kind == 'V' else 'MPJPE'
            for title, value in (('full body', full_body(means)), *means.items()):
                title = title.replace('_', ' ')
                rows.append(Row(name, f'{error} {title}', value, 'mm', **shown))
                if title in ('full body', 'body'):
                    score = f'NM{kind}E {title}'
                    counts = score == protocol.primary
                    rows.append(Row(name, score, value / found.f1, 'mm', phi=counts, **shown))
        return rows

    def _unified(self, rows: list[Row]) -> list[Row]:
        """MPE, the mean of the primary errors."""
        primary = [row for row in rows if row.phi]
        if len(primary) < 2:
            return []
        joints = 'mean over ' + ', '.join(f'{row.dataset} ({row.score})' for row in primary)
        counts = dict(
            samples=sum(row.samples for row in primary), skipped=sum(row.skipped for row in primary)
        )
        return [
            Row(UNIFIED, 'MPE', float(np.mean([row.value for row in primary])), 'mm', joints=joints, **counts)
        ]
