"""Errors of whole bodies: all vertices, hands and face, joints of body and hands, as SMPLer-X judges them.

Everything is computed of vertices, predicted and true, since some truths are nothing but vertices (EHF,
AGORA). Roots and joints are SMPL-X's regressors of the posed mesh. Each part is put at its own root (the
whole body at the pelvis, hands at their wrists, the face at the neck), or aligned by a similarity of its own;
the error of hands is the mean of both.

Letters: B bodies, V vertices, K points.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmhier.body_models.joint_sets import GROUP_NAMES, HANDS40_NAMES
from mmhier.body_models.smpl_file import SMPLX_JOINT_NAMES, BodyModelData
from mmhier.evaluation.functional.mesh import mpjpe, relative_to_joint
from mmhier.geometry.procrustes import procrustes_align

HANDS = ('left_hand', 'right_hand')
# What is judged -> its root.
ROOTS = {'all': 'pelvis', 'left_hand': 'left_wrist', 'right_hand': 'right_wrist', 'face': 'neck'}
# The 14 joints of 3DPW's protocol, of the skeletons of SMPL and of SMPL-X.
SKELETON14 = (
    'left_hip', 'right_hip', 'left_knee', 'right_knee', 'left_ankle', 'right_ankle', 'neck', 'head',
    'left_shoulder', 'right_shoulder', 'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist',
)  # fmt: skip
_INSTALL = 'install it once: `mmhier body-model setup`'


@dataclass(frozen=True)
class WholeBodyPoints:
    """Which points of a mesh are judged.

    Attributes:
        skeleton: (55, V) regressor of SMPL-X's own joints.
        parts: 'left_hand', 'right_hand', 'face' -> numbers of their vertices.
        hands: 'left_hand', 'right_hand' -> (21, V) regressor: wrist, then thumb to little finger to the tips.
        body: (14, V) regressor of the body's joints, if there is one.
        landmarks: (127, V) regressor of the first 127 points of the set ``smplx144``, those without the
            outline of the face, if the body has them all.
    """

    skeleton: Tensor
    parts: Mapping[str, Tensor]
    hands: Mapping[str, Tensor]
    body: Tensor | None = None
    landmarks: Tensor | None = None


def whole_body_points(model: BodyModelData) -> WholeBodyPoints:
    """The points of a body model.

    Raises:
        ValueError: If it has another skeleton than SMPL-X, or its hands or face are not known.
    """
    name = model.metadata.get('name', f'body of {len(model.v_template)} vertices')
    if model.joint_names != SMPLX_JOINT_NAMES:
        raise ValueError(
            f'{name} has {model.num_joints} joints, not those of SMPL-X: it has no hands to judge'
        )
    missing = [part for part in (*HANDS, 'face') if part not in model.parts]
    if missing:
        raise ValueError(
            f'{name}: which vertices are {", ".join(missing)} is not known; {_INSTALL} with '
            'MANO_SMPLX_vertex_ids.pkl and SMPL-X__FLAME_vertex_ids.npy'
        )
    if 'tips' not in model.regressors:
        raise ValueError(f'{name} has no points at the tips of its fingers')
    skeleton = torch.from_numpy(model.J_regressor).float()
    tips = torch.from_numpy(model.regressors['tips']).float()
    hands = {}
    for part in HANDS:
        side = part.partition('_')[0]
        rows = [skeleton[SMPLX_JOINT_NAMES.index(f'{side}_wrist')]]
        for joint in HANDS40_NAMES:
            if joint.startswith(side):
                is_tip = joint in GROUP_NAMES['tips']
                names, matrix = (GROUP_NAMES['tips'], tips) if is_tip else (SMPLX_JOINT_NAMES, skeleton)
                rows.append(matrix[names.index(joint)])
        hands[part] = torch.stack(rows)
    body, face = model.regressors.get('j14'), ('surface', 'tips', 'face')
    landmarks = None
    if all(group in model.regressors for group in face):
        landmarks = np.concatenate([model.J_regressor, *(model.regressors[group] for group in face)])
    return WholeBodyPoints(
        skeleton=skeleton,
        parts={part: torch.from_numpy(model.parts[part]).long() for part in (*HANDS, 'face')},
        hands=hands,
        body=None if body is None else torch.from_numpy(body).float(),
        landmarks=None if landmarks is None else torch.from_numpy(landmarks).float(),
    )


def whole_body_errors(
    predicted: Tensor,
    target: Tensor,
    points: WholeBodyPoints,
    inside: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """All errors of bodies.

    Args:
        predicted: (B, V, 3) metres.
        target: (B, V, 3) metres; where a body stands does not matter, unless ``inside`` asks.
        points: What is judged.
        inside: From true points (B, K, 3) to (B, K) bool, whether each lies in the image. Those that do not
            are aligned with the others, but not judged, as in UBody. By default all are judged.

    Returns:
        PVE, PA-PVE, the same of hands and face, MPJPE and PA-MPJPE of hands and, if there is a regressor, of
        the body: (B,) millimetres, float64; NaN for a body of which nothing lies in the image, and for a
        prediction that is not finite.
    """
    errors = {}
    both = predicted.double(), target.double()
    roots = [points.skeleton.double() @ mesh for mesh in both]
    vertices = {part: tuple(mesh[:, rows] for mesh in both) for part, rows in points.parts.items()}
    joints = {part: tuple(matrix.double() @ mesh for mesh in both) for part, matrix in points.hands.items()}
    if points.body is not None:
        joints['all'] = tuple(points.body.double() @ mesh for mesh in both)
    for kind, groups in (('PVE', {'all': both} | vertices), ('MPJPE', joints)):
        found = {}
        for part, (some, truth) in groups.items():
            root = SMPLX_JOINT_NAMES.index(ROOTS[part])
            moved = [relative_to_joint(*pair, root) for pair in zip((some, truth), roots, strict=True)]
            valid = torch.ones_like(truth[..., 0], dtype=torch.bool) if inside is None else inside(truth)
            aligned = procrustes_align(some, truth)
            found[part] = mpjpe(*moved, valid), mpjpe(aligned, truth, valid), valid.any(1)
        for part, (plain, aligned, _) in found.items():
            if part not in HANDS:
                name = _name(kind, part)
                errors[name], errors[f'PA-{name}'] = plain, aligned
        known = torch.stack([found[hand][2] for hand in HANDS])
        for number, prefix in enumerate(('', 'PA-')):
            each = torch.stack([found[hand][number] for hand in HANDS])
            errors[f'{prefix}{kind} hands'] = torch.where(known, each, 0.0).sum(0) / known.sum(0)
    return errors


def skeleton_errors(predicted: Tensor, target: Tensor, points: WholeBodyPoints) -> dict[str, Tensor]:
    """MPJPE and PA-MPJPE of SMPL-X against a skeleton of SMPL, as SMPLer-X judges 3DPW.

    Args:
        predicted: (B, V, 3) vertices of SMPL-X, metres.
        target: (B, 24, 3) joints of SMPL, regressed from its posed vertices, metres.
        points: Those of SMPL-X.

    Returns:
        (B,) millimetres, float64: over 14 joints, relative to the pelvis or aligned by a similarity.
    """
    rows = [SMPLX_JOINT_NAMES.index(name) for name in SKELETON14]  # the same in SMPL
    joints = points.skeleton.double() @ predicted.double()
    moved = relative_to_joint(joints, joints, 0)[:, rows], relative_to_joint(target, target, 0)[:, rows]
    aligned = procrustes_align(joints[:, rows], target[:, rows].double())
    return {'MPJPE': mpjpe(moved[0], moved[1].double()), 'PA-MPJPE': mpjpe(aligned, target[:, rows].double())}


def in_image(pixels: Tensor, size_wh: Tensor) -> Tensor:
    """Which points lie in their image.

    Args:
        pixels: (B, K, 2).
        size_wh: (B, 2) width and height.

    Returns:
        (B, K) bool.
    """
    return ((pixels > 0) & (pixels < size_wh[:, None])).all(-1)


def _name(kind: str, part: str) -> str:
    if part == 'all':
        return 'PVE' if kind == 'PVE' else 'MPJPE body'
    return f'{kind} {part}'
