"""SMPL-family bodies in torch: shape and pose in, vertices and joints out.

Loper et al., SMPL: A Skinned Multi-Person Linear Model, SIGGRAPH Asia 2015. One layer for every file of that
format: any number of vertices, joints and shape components, with or without pose correctives. Differentiable,
exportable (``torch.export``), always computed in the precision of its buffers, also under autocast and where
networks may use TF32. Nothing of it is saved in checkpoints: the licences of the models forbid handing them
on.

Three things make it fast: shape and pose correctives are one matrix product; the chain of rotations is built
by doubling (four products of all joints at once instead of one per joint); coordinates lie in planes, so that
blending runs over contiguous vertices.

Letters: B batch, V vertices, F faces, J joints (24), N shape components, K joints of the joint set,
P correctives (9 * (J - 1), or 0).

Convention:
    Right-handed; metres; y up, facing +z, left side at +x in the rest pose. The frame of the output is the
    frame of ``transl`` and of ``global_orient``, which turns the body about its own pelvis; then ``transl``
    is added. A rotation acts on column vectors, ``x_parent = R @ x_child``; axis-angle is in radians
    (:mod:`mmhier.geometry.rotations`).
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from mmhier.body_models.joint_regressor import NUM_SMPL_VERTICES, JointRegressor
from mmhier.body_models.joint_sets import JointSet
from mmhier.body_models.smpl_file import JOINT_NAMES, PARENTS, BodyModelData
from mmhier.geometry.rotations import axis_angle_to_matrix
from mmhier.ops.linear import linear
from mmhier.ops.precision import without_tf32

# What is known of a file of SMPL's topology that does not state its licence.
SMPL_LICENCE = (
    'SMPL Model License (https://smpl.is.tue.mpg.de/modellicense.html): free for non-commercial scientific '
    'research, not to be passed on; commercial use needs a licence from Meshcapade'
)


class BodyOutput(NamedTuple):
    """Posed bodies, metres.

    Attributes:
        vertices: (B, V, 3).
        joints: (B, K, 3) joints of the layer's joint set.
        skeleton: (B, J, 3) joints of the model itself.
    """

    vertices: Tensor
    joints: Tensor
    skeleton: Tensor


class SMPL(nn.Module):
    """A body model as a layer without parameters.

    Args:
        model (BodyModelData): see :func:`mmhier.body_models.model_directory.load_body_model`.
        joints (JointSet | str): the set of ``output.joints``; see :mod:`mmhier.body_models.joint_sets`.
        num_betas (int, optional): use only that many shape components. Default: all.
        update_hips (bool): see :class:`mmhier.body_models.joint_regressor.JointRegressor`.

    Attributes:
        parents (tuple[int, ...]): parent of each joint, -1 for the root.
        faces (Tensor): (F, 3) triangles, counter-clockwise seen from outside.
        weights (Tensor): (V, J) skinning weights; rows sum to one.
        joint_set (JointSet): names, flip and parents of ``output.joints``.
        name (str): name of the model, for protocols and messages.
        joint_names (tuple[str, ...]): names of the model's own joints; ``joint_00`` and so on if the file
            does not say and the skeleton is not SMPL's.
        licence (str): licence of the model, for files that hold a part of it.

    Raises:
        ValueError: if ``num_betas`` exceeds what the model has, or a regressor of the joint set is missing.
    """

    faces: Tensor
    template: Tensor
    directions: Tensor
    weights: Tensor
    joint_template: Tensor
    joint_directions: Tensor
    ancestors: Tensor
    parent_indices: Tensor
    homogeneous: Tensor

    def __init__(
        self,
        model: BodyModelData,
        joints: JointSet | str = 'smpl24',
        num_betas: int | None = None,
        update_hips: bool = False,
    ) -> None:
        super().__init__()
        num_betas = model.num_betas if num_betas is None else num_betas
        if not 0 <= num_betas <= model.num_betas:
            raise ValueError(f'num_betas={num_betas}: the model has {model.num_betas} shape components.')
        self.num_betas = num_betas
        self.num_joints = model.num_joints
        self.num_vertices = len(model.v_template)
        self.has_pose_correctives = model.posedirs is not None
        self.parents = tuple(model.parents.tolist())
        self.name = str(model.metadata.get('name', f'body of {self.num_vertices} vertices'))
        self.joint_names = _joint_names(model)
        unstated = SMPL_LICENCE if self.num_vertices == NUM_SMPL_VERTICES else 'not stated in the model file'
        self.licence = str(model.metadata.get('licence', unstated))
        self.regressor = JointRegressor(joints, model, update_hips)
        self.joint_set = self.regressor.joint_set

        directions = model.shapedirs[..., :num_betas]
        if model.posedirs is not None:
            directions = np.concatenate([directions, model.posedirs], axis=-1)
        buffers = {
            'faces': model.faces,
            # Planes of coordinates: entry [c * V + v] belongs to coordinate c of vertex v.
            'template': model.v_template.T.reshape(-1),
            'directions': directions.transpose(1, 0, 2).reshape(-1, directions.shape[-1]),
            'weights': model.weights,
            'joint_template': model.joint_template,
            'joint_directions': model.joint_shapedirs[..., :num_betas],
            'ancestors': _ancestor_table(self.parents),
            'parent_indices': np.maximum(model.parents, 0),
            'homogeneous': _homogeneous_constant(self.num_joints),
        }
        for name, array in buffers.items():
            self.register_buffer(name, torch.from_numpy(np.array(array, order='C')), persistent=False)

    def extra_repr(self) -> str:
        """Say what the body is."""
        return f'{self.name!r}, {self.num_vertices} vertices, {self.joint_set.name}, {self.num_betas} betas'

    @property
    def v_template(self) -> Tensor:
        """(V, 3) rest vertices of the mean shape, metres."""
        return self.template.view(3, -1).t()

    def rest_joints(self, betas: Tensor | None = None) -> Tensor:
        """Joints of the rest pose.

        Args:
            betas (Tensor, optional): (B, <= N). Default: the mean shape, B = 1.

        Returns:
            Tensor: (B, J, 3) metres.
        """
        return self._rest_joints(self._pad_betas(betas, 1 if betas is None else len(betas)))

    def forward(
        self,
        betas: Tensor | None = None,
        body_pose: Tensor | None = None,
        global_orient: Tensor | None = None,
        transl: Tensor | None = None,
    ) -> BodyOutput:
        """Shape, pose and move bodies. What is missing is zero; a batch of one serves every body.

        Args:
            betas (Tensor, optional): (B, <= N) shape.
            body_pose (Tensor, optional): rotations of all joints but the root relative to their parents:
                (B, J - 1, 3, 3) matrices, or (B, J - 1, 3) or (B, 3 * (J - 1)) axis-angle.
            global_orient (Tensor, optional): rotation of the root: (B, 1, 3, 3) or (B, 3, 3) matrices, or
                (B, 1, 3) or (B, 3) axis-angle.
            transl (Tensor, optional): (B, 3) metres.

        Returns:
            BodyOutput: vertices (B, V, 3), joints (B, K, 3), skeleton (B, J, 3).

        Raises:
            ValueError: if a shape fits none of these.
        """
        batch = 1
        for given in (betas, body_pose, global_orient, transl):
            if given is not None and given.shape[0] != 1:
                batch = given.shape[0]
        kind = self.template.device.type
        with torch.autocast(kind, enabled=False), without_tf32(kind):
            betas = self._pad_betas(betas, batch)
            root = self._rotations('global_orient', global_orient, 1, batch)
            rotations = torch.cat(
                [root, self._rotations('body_pose', body_pose, self.num_joints - 1, batch)], 1
            )
            vertices, skeleton = self._pose(betas, rotations)
            if transl is not None:
                self._check('transl', transl, transl.shape[1:] == (3,), '(B, 3)', batch)
                shift = transl.to(vertices.dtype)[:, None]
                vertices, skeleton = vertices + shift, skeleton + shift
            return BodyOutput(vertices, self.regressor(vertices, skeleton), skeleton)

    def _pose(self, betas: Tensor, rotations: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices (B, V, 3) and skeleton (B, J, 3) for betas (B, N) and local rotations (B, J, 3, 3)."""
        batch = betas.shape[0]
        features = betas
        if self.has_pose_correctives:
            identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            features = torch.cat([betas, (rotations[:, 1:] - identity).flatten(1)], dim=1)
        rest_vertices = linear(features, self.directions, self.template).view(batch, 3, self.num_vertices)

        rest = self._rest_joints(betas)
        turned, skeleton = self._chain(rotations, rest)
        # x_posed = R (x - rest) + skeleton, as four columns: R and a shift.
        shift = skeleton - (turned * rest[:, :, None]).sum(dim=-1)
        motion = torch.cat([turned, shift[..., None]], dim=-1).permute(0, 2, 3, 1)  # (B, 3, 4, J)
        blended = linear(motion.reshape(12 * batch, self.num_joints), self.weights).view(
            batch, 3, 4, self.num_vertices
        )
        *columns, planes = blended.unbind(2)
        for column, coordinate in zip(columns, rest_vertices[:, None].unbind(2)):
            planes = torch.addcmul(planes, column, coordinate)
        return planes.transpose(1, 2).contiguous(), skeleton

    def _chain(self, rotations: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """World rotations (B, J, 3, 3) and posed joints (B, J, 3) by doubling.

        In round r each joint's transform, which reaches 2^r joints up, is put behind that of the joint there;
        one more entry, the identity, stands above the root.
        """
        offset = torch.cat([rest[:, :1], rest[:, 1:] - rest[:, self.parent_indices[1:]]], dim=1)
        affine = torch.cat([rotations, offset[..., None]], dim=-1)
        world = nn.functional.pad(affine, (0, 0, 0, 1, 0, 1))
        world = world + self.homogeneous
        for ancestors in self.ancestors:
            world = torch.matmul(world.index_select(1, ancestors), world)
        return world[:, :-1, :3, :3], world[:, :-1, :3, 3]

    def _rest_joints(self, betas: Tensor) -> Tensor:
        return self.joint_template + torch.einsum('jcn,bn->bjc', self.joint_directions, betas)

    def _pad_betas(self, betas: Tensor | None, batch: int) -> Tensor:
        """(B, N) in the layer's precision; components that are not given are zero."""
        if betas is None:
            return self.template.new_zeros(batch, self.num_betas)
        fits = betas.ndim == 2 and betas.shape[1] <= self.num_betas
        self._check('betas', betas, fits, f'(B, up to {self.num_betas})', batch)
        betas = betas.to(self.template.dtype).expand(batch, -1)
        return nn.functional.pad(betas, (0, self.num_betas - betas.shape[1]))

    def _rotations(self, name: str, pose: Tensor | None, count: int, batch: int) -> Tensor:
        """(B, count, 3, 3) from matrices, axis-angle or nothing."""
        if pose is None:
            identity = torch.eye(3, dtype=self.template.dtype, device=self.template.device)
            return identity.expand(batch, count, 3, 3)
        shape = tuple(pose.shape[1:])
        as_vectors = ((count, 3), (3 * count,))
        as_matrices = ((count, 3, 3), (3, 3)) if count == 1 else ((count, 3, 3),)
        wanted = ', '.join(f'(B, {", ".join(map(str, sizes))})' for sizes in as_matrices + as_vectors)
        self._check(name, pose, shape in as_vectors + as_matrices, wanted, batch)
        pose = pose.to(self.template.dtype)
        if shape in as_matrices:
            matrices = pose.reshape(pose.shape[0], count, 3, 3)
        else:
            matrices = axis_angle_to_matrix(pose.reshape(pose.shape[0], count, 3))
        return matrices.expand(batch, -1, -1, -1)

    @staticmethod
    def _check(name: str, given: Tensor, fits: bool, wanted: str, batch: int) -> None:
        if not fits:
            raise ValueError(f'{name} of shape {tuple(given.shape)}: expected {wanted}.')
        if given.shape[0] != 1 and given.shape[0] != batch:
            raise ValueError(f'{name} has a batch of {given.shape[0]}, other arguments one of {batch}.')


def _joint_names(model: BodyModelData) -> tuple[str, ...]:
    names = tuple(map(str, model.metadata.get('joint_names', ())))
    if len(set(names)) == model.num_joints == len(names):
        return names
    if tuple(model.parents.tolist()) == PARENTS:
        return JOINT_NAMES
    return tuple(f'joint_{number:02d}' for number in range(model.num_joints))


def _ancestor_table(parents: tuple[int, ...]) -> np.ndarray:
    """(rounds, J + 1): the joint 1, 2, 4, ... steps above each joint; J, the identity, above the root."""
    top = len(parents)
    ancestors = np.array([parent if parent >= 0 else top for parent in parents] + [top])
    rows = []
    while (ancestors != top).any():
        rows.append(ancestors)
        ancestors = ancestors[ancestors]
    return np.stack(rows) if rows else np.empty((0, top + 1), np.int64)


def _homogeneous_constant(num_joints: int) -> np.ndarray:
    """(J + 1, 4, 4): the last row of every 4x4 transform, and the identity as the last transform."""
    constant = np.zeros((num_joints + 1, 4, 4), np.float32)
    constant[:, 3, 3] = 1.0
    constant[-1] = np.eye(4)
    return constant
