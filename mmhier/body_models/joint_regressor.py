"""Joints of a named set from a posed body: one small matrix product.

Letters: B batch, V vertices, J joints of the skeleton, K joints of the set, M vertices that are used, E
points of the face's outline that are put behind the skeleton: 17 for sets that use it, else 0.

Convention: metres, in the frame of the vertices that come in; a joint is linear in vertices and skeleton.
"""

import numpy as np
import torch
from torch import Tensor, nn

from mmhier.body_models import smplx_file
from mmhier.body_models.joint_sets import (
    GROUP_NAMES,
    SMPLX_SURFACE_VERTICES,
    SMPLX_TIP_VERTICES,
    SURFACE_VERTICES,
    JointSet,
    joint_set,
)
from mmhier.body_models.smpl_file import JOINT_NAMES, SMPLX_JOINT_NAMES, BodyModelData

NUM_SMPL_VERTICES = 6890

# Group, number of vertices of the topology -> the vertex of each row.
VERTEX_NUMBERS = {
    ('surface', NUM_SMPL_VERTICES): SURFACE_VERTICES,
    ('surface', smplx_file.NUM_VERTICES): SMPLX_SURFACE_VERTICES,
    ('tips', smplx_file.NUM_VERTICES): SMPLX_TIP_VERTICES,
}

# Group -> the file with its regressor and where that file comes from.
REGRESSOR_FILES = {
    'j19': 'SMPL_to_J19.pkl (part of the HMR2.0 download hmr2_data.tar.gz)',
    'h36m': 'J_regressor_h36m.npy (part of the data of SPIN)',
    'j14': 'SMPLX_to_J14.pkl (part of the data of ExPose)',
}


class JointRegressor(nn.Module):
    """Computes the joints of a set.

    Nothing of it is saved in checkpoints.

    Args:
        joints (JointSet | str): the set, or its name.
        model (BodyModelData): the body with the regressors that the set needs.
        update_hips (bool): move the hips of sets with a ``mid_hip`` by ``(mid_hip - other hip) / 2``: apart
            and up, as HMR2.0's option of this name does (off in its releases).

    Raises:
        ValueError: if there is no such set, or the body lacks a regressor of it.
    """

    weights: Tensor
    vertex_indices: Tensor

    def __init__(self, joints: JointSet | str, model: BodyModelData, update_hips: bool = False) -> None:
        super().__init__()
        self.joint_set = joint_set(joints) if isinstance(joints, str) else joints
        self.needs_contour = 'contour' in self.joint_set.groups
        matrix = regressor_matrix(self.joint_set, model, update_hips)
        num_vertices = len(model.v_template)
        used = np.flatnonzero(matrix[:, :num_vertices].any(axis=0))
        columns = np.concatenate([used, np.arange(num_vertices, matrix.shape[1])])
        self.register_buffer('vertex_indices', torch.from_numpy(used), persistent=False)
        self.register_buffer('weights', torch.from_numpy(matrix[:, columns].copy()), persistent=False)

    def forward(self, vertices: Tensor, skeleton: Tensor) -> Tensor:
        """Compute the joints.

        Args:
            vertices (Tensor): (B, V, 3) posed vertices.
            skeleton (Tensor): (B, J + E, 3) posed joints of the model, then the face's outline if
                ``needs_contour``.

        Returns:
            Tensor: (B, K, 3).
        """
        return self.of_used(vertices.index_select(-2, self.vertex_indices), skeleton)

    def of_used(self, used: Tensor, skeleton: Tensor) -> Tensor:
        """As :meth:`forward`, of the vertices :attr:`vertex_indices` only: ``used`` is (B, M, 3)."""
        points = torch.cat([used, skeleton], dim=-2)
        with torch.autocast(points.device.type, enabled=False):
            return torch.matmul(self.weights, points.to(self.weights.dtype))


def regressor_matrix(joints: JointSet, model: BodyModelData, update_hips: bool = False) -> np.ndarray:
    """The matrix from posed vertices followed by the posed skeleton (and outline) to the joints of a set.

    Args:
        joints: the set.
        model: the body.
        update_hips: see :class:`JointRegressor`.

    Returns:
        (K, V + J + E) float32.

    Raises:
        ValueError: if the body lacks a regressor of the set.
    """
    num_vertices = len(model.v_template)
    outline = num_vertices + model.num_joints
    extra = 0
    if 'contour' in joints.groups:
        if model.contour_vertices is None:
            raise ValueError(_missing(joints, 'the outline of a face', model, 'only SMPL-X has it'))
        extra = len(GROUP_NAMES['contour'])
    skeleton = _skeleton(model)
    matrix = np.zeros((len(joints), outline + extra), np.float32)
    for row, landmark in enumerate(joints.landmarks):
        group, _, name = landmark.partition('.')
        if group == 'skeleton':
            if name not in skeleton:
                raise ValueError(_missing(joints, f'the joint "{name}"', model, 'use another set or body'))
            matrix[row, num_vertices + skeleton.index(name)] = 1.0
        elif group == 'contour':
            matrix[row, outline + GROUP_NAMES[group].index(name)] = 1.0
        else:
            number = GROUP_NAMES[group].index(name)
            matrix[row, :num_vertices] = _group_regressor(joints, group, model)[number]
    if update_hips and 'mid_hip' in joints.names:
        pelvis, left, right = matrix[joints.indices(['mid_hip', 'left_hip', 'right_hip'])]
        matrix[joints.index('left_hip')] = left + 0.5 * (pelvis - right)
        matrix[joints.index('right_hip')] = right + 0.5 * (pelvis - left)
    return matrix


def is_available(joints: JointSet, model: BodyModelData) -> bool:
    """Whether a body has all that a set needs."""
    skeleton = {f'skeleton.{name}' for name in _skeleton(model)}
    groups = {group for group, count in VERTEX_NUMBERS if count == len(model.v_template)}
    groups |= model.regressors.keys() | ({'contour'} if model.contour_vertices is not None else set())
    own = {landmark for landmark in joints.landmarks if landmark.startswith('skeleton.')}
    return joints.groups <= groups and own <= skeleton


def _skeleton(model: BodyModelData) -> tuple[str, ...]:
    """Names by which sets know the joints: whatever another body calls its own, they count as SMPL's."""
    return SMPLX_JOINT_NAMES if model.num_joints == len(SMPLX_JOINT_NAMES) else JOINT_NAMES


def vertex_regressor(group: str, num_vertices: int) -> np.ndarray:
    """(rows, V) selection of the vertices of a group in :data:`VERTEX_NUMBERS`."""
    numbers = VERTEX_NUMBERS[group, num_vertices]
    matrix = np.zeros((len(numbers), num_vertices), np.float32)
    matrix[np.arange(len(numbers)), list(numbers.values())] = 1.0
    return matrix


def _group_regressor(joints: JointSet, group: str, model: BodyModelData) -> np.ndarray:
    if group in model.regressors:
        return model.regressors[group]
    if (group, len(model.v_template)) in VERTEX_NUMBERS:
        return vertex_regressor(group, len(model.v_template))
    counts = ' or '.join(str(count) for known, count in VERTEX_NUMBERS if known == group)
    remedy = 'only a file can bring it, as those of SMPL-X and the open body do'
    if counts:
        remedy = f'only bodies of {counts} vertices (SMPL, SMPL-X) have it, or a file that brings it'
    if group in REGRESSOR_FILES:
        remedy = f'install it once: `mmhier body-model setup` with {REGRESSOR_FILES[group]}'
    raise ValueError(_missing(joints, f'the regressor "{group}"', model, remedy))


def _missing(joints: JointSet, what: str, model: BodyModelData, remedy: str) -> str:
    name = model.metadata.get('name', f'body of {len(model.v_template)} vertices')
    return f'The joint set {joints.name} needs {what}, which the {name} has not: {remedy}.'
