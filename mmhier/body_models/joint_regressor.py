"""Joints of a named set from a posed body: one small matrix product.

Letters: B batch, V vertices, J joints of the skeleton (24), K joints of the set, M vertices that are used.

Convention: metres, in the frame of the vertices that come in; a joint is linear in vertices and skeleton.
"""

import numpy as np
import torch
from torch import Tensor, nn

from mmhier.body_models.joint_sets import GROUP_NAMES, SURFACE_VERTICES, JointSet, joint_set
from mmhier.body_models.smpl_file import BodyModelData

NUM_SMPL_VERTICES = 6890

# Group -> the file with its regressor and where that file comes from.
REGRESSOR_FILES = {
    'j19': 'SMPL_to_J19.pkl (part of the HMR2.0 download hmr2_data.tar.gz)',
    'h36m': 'J_regressor_h36m.npy (part of the data of SPIN)',
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
            skeleton (Tensor): (B, J, 3) posed joints of the model.

        Returns:
            Tensor: (B, K, 3).
        """
        points = torch.cat([vertices.index_select(-2, self.vertex_indices), skeleton], dim=-2)
        with torch.autocast(points.device.type, enabled=False):
            return torch.matmul(self.weights, points.to(self.weights.dtype))


def regressor_matrix(joints: JointSet, model: BodyModelData, update_hips: bool = False) -> np.ndarray:
    """The matrix from posed vertices followed by the posed skeleton to the joints of a set.

    Args:
        joints: the set.
        model: the body.
        update_hips: see :class:`JointRegressor`.

    Returns:
        (K, V + J) float32.

    Raises:
        ValueError: if the body lacks a regressor of the set.
    """
    num_vertices = len(model.v_template)
    matrix = np.zeros((len(joints), num_vertices + model.num_joints), np.float32)
    for row, landmark in enumerate(joints.landmarks):
        group, _, name = landmark.partition('.')
        number = GROUP_NAMES[group].index(name)
        if group == 'smpl':
            matrix[row, num_vertices + number] = 1.0
        else:
            matrix[row, :num_vertices] = _group_regressor(joints, group, model)[number]
    if update_hips and 'mid_hip' in joints.names:
        pelvis, left, right = matrix[joints.indices(['mid_hip', 'left_hip', 'right_hip'])]
        matrix[joints.index('left_hip')] = left + 0.5 * (pelvis - right)
        matrix[joints.index('right_hip')] = right + 0.5 * (pelvis - left)
    return matrix


def surface_regressor() -> np.ndarray:
    """(11, 6890) selection of SMPL's vertices for the group ``surface``."""
    matrix = np.zeros((len(SURFACE_VERTICES), NUM_SMPL_VERTICES), np.float32)
    matrix[np.arange(len(SURFACE_VERTICES)), list(SURFACE_VERTICES.values())] = 1.0
    return matrix


def _group_regressor(joints: JointSet, group: str, model: BodyModelData) -> np.ndarray:
    if group in model.regressors:
        return model.regressors[group]
    if group == 'surface' and len(model.v_template) == NUM_SMPL_VERTICES:
        return surface_regressor()
    name = model.metadata.get('name', f'body of {len(model.v_template)} vertices')
    remedy = (
        f'install it once: `mmhier body-model setup` with {REGRESSOR_FILES[group]}'
        if group in REGRESSOR_FILES
        else "only bodies of SMPL's topology (6890 vertices) and the open body have it"
    )
    raise ValueError(
        f'The joint set {joints.name} needs the regressor "{group}", which the {name} has not: {remedy}.'
    )
