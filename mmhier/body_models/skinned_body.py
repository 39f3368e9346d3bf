"""The skinning that all bodies of SMPL's family share: components and rotations in, vertices and joints out.

Loper et al., SMPL: A Skinned Multi-Person Linear Model, SIGGRAPH Asia 2015. One core for every file of that
format: any number of vertices, joints and components of shape and expression, with or without pose
correctives. Differentiable, exportable (``torch.export``), always computed in the precision of its buffers,
also under autocast and where networks may use TF32. Nothing of it is saved in checkpoints: the licences of
the models forbid handing them on.

Four things make it fast: shape and pose correctives are one matrix product; the chain of rotations is built
by doubling (a few products of all joints at once instead of one per joint); coordinates lie in planes, so
that blending runs over contiguous vertices; who wants joints only has only those vertices skinned of which
joints are made (389 of the open body's 13,380).

Letters: B batch, V vertices, F faces, J joints, N components (shape, then expression), K joints of the joint
set, P correctives (9 * (J - 1), or 0).

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

from mmhier.body_models import smplx_file
from mmhier.body_models.joint_regressor import NUM_SMPL_VERTICES, JointRegressor
from mmhier.body_models.joint_sets import JointSet
from mmhier.body_models.smpl_file import BodyModelData
from mmhier.geometry.rotations import axis_angle_to_matrix
from mmhier.ops.linear import linear

_TERMS = 'free for non-commercial scientific research, not to be passed on; commercial use needs a licence'
SMPL_LICENCE = f'SMPL Model License (https://smpl.is.tue.mpg.de/modellicense.html): {_TERMS} from Meshcapade'
SMPLX_LICENCE = (
    f'SMPL-X Model License (https://smpl-x.is.tue.mpg.de/modellicense.html): {_TERMS} from Meshcapade'
)
# Number of vertices -> what is known of a file of that topology that does not state its licence.
LICENCES = {NUM_SMPL_VERTICES: SMPL_LICENCE, smplx_file.NUM_VERTICES: SMPLX_LICENCE}


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


class SkinnedBody(nn.Module):
    """A body model as a layer without parameters.

    Args:
        model (BodyModelData): see :func:`mmhier.body_models.model_directory.load_body_model`.
        joints (JointSet | str): the set of ``output.joints``; see :mod:`mmhier.body_models.joint_sets`.
        num_betas (int, optional): use only that many shape components. Default: all.
        num_expressions (int, optional): use only that many expression components. Default: all.
        update_hips (bool): see :class:`mmhier.body_models.joint_regressor.JointRegressor`.

    Attributes:
        parents (tuple[int, ...]): parent of each joint, -1 for the root.
        faces (Tensor): (F, 3) triangles, counter-clockwise seen from outside.
        weights (Tensor): (V, J) skinning weights; rows sum to one.
        joint_set (JointSet): names, flip and parents of ``output.joints``.
        name (str): name of the model, for protocols and messages.
        joint_names (tuple[str, ...]): names of the model's own joints; ``joint_00`` and so on if the file
            does not say and the skeleton is neither SMPL's nor SMPL-X's.
        licence (str): licence of the model, for files that hold a part of it.

    Raises:
        ValueError: if ``num_betas`` or ``num_expressions`` exceeds what the model has, or a regressor of the
            joint set is missing.
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
    near_template: Tensor
    near_directions: Tensor
    near_weights: Tensor

    def __init__(
        self,
        model: BodyModelData,
        joints: JointSet | str,
        num_betas: int | None = None,
        num_expressions: int | None = None,
        update_hips: bool = False,
    ) -> None:
        super().__init__()
        self.num_betas = _num_used('num_betas', num_betas, model.num_betas, 'shape')
        self.num_expressions = _num_used(
            'num_expressions', num_expressions, model.num_expressions, 'expression'
        )
        self.num_joints = model.num_joints
        self.num_vertices = len(model.v_template)
        self.has_pose_correctives = model.posedirs is not None
        self.parents = tuple(model.parents.tolist())
        self.name = str(model.metadata.get('name', f'body of {self.num_vertices} vertices'))
        self.joint_names = model.joint_names
        unstated = LICENCES.get(self.num_vertices, 'not stated in the model file')
        self.licence = str(model.metadata.get('licence', unstated))
        self.regressor = JointRegressor(joints, model, update_hips)
        self.joint_set = self.regressor.joint_set

        directions = [model.shapedirs[..., : self.num_betas]]
        joint_directions = [model.joint_shapedirs[..., : self.num_betas]]
        if model.exprdirs is not None:
            directions.append(model.exprdirs[..., : self.num_expressions])
            joint_directions.append(model.joint_exprdirs[..., : self.num_expressions])
        if model.posedirs is not None:
            directions.append(model.posedirs)
        directions = np.concatenate(directions, axis=-1)
        buffers = {
            'faces': model.faces,
            # Planes of coordinates: entry [c * V + v] belongs to coordinate c of vertex v.
            'template': model.v_template.T.reshape(-1),
            'directions': directions.transpose(1, 0, 2).reshape(-1, directions.shape[-1]),
            'weights': model.weights,
            'joint_template': model.joint_template,
            'joint_directions': np.concatenate(joint_directions, axis=-1),
            'ancestors': _ancestor_table(self.parents),
            'parent_indices': np.maximum(model.parents, 0),
            'homogeneous': _homogeneous_constant(self.num_joints),
        }
        for name, array in buffers.items():
            self.register_buffer(name, torch.from_numpy(np.array(array, order='C')), persistent=False)
        # The same of the vertices of which the joints are made.
        near = self.regressor.vertex_indices
        rows = (torch.arange(3)[:, None] * self.num_vertices + near).flatten()
        for name, values in (
            ('near_template', self.template[rows]),
            ('near_directions', self.directions[rows]),
            ('near_weights', self.weights[near]),
        ):
            self.register_buffer(name, values, persistent=False)

    def extra_repr(self) -> str:
        """Say what the body is."""
        expressions = f', {self.num_expressions} expressions' if self.num_expressions else ''
        return (
            f'{self.name!r}, {self.num_vertices} vertices, {self.joint_set.name}, {self.num_betas} betas'
            + expressions
        )

    @property
    def v_template(self) -> Tensor:
        """(V, 3) rest vertices of the mean shape, metres."""
        return self.template.view(3, -1).t()

    def rest_joints(self, betas: Tensor | None = None) -> Tensor:
        """Joints of the rest pose, without expression.

        Args:
            betas (Tensor, optional): (B, up to ``num_betas``). Default: the mean shape, B = 1.

        Returns:
            Tensor: (B, J, 3) metres.
        """
        batch = 1 if betas is None else len(betas)
        betas = self._coefficients('betas', betas, self.num_betas, batch)
        return self._rest_joints(nn.functional.pad(betas, (0, self.num_expressions)))

    def _pose(self, shape: Tensor, rotations: Tensor, near: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Skin bodies.

        Args:
            shape: (B, N) components of shape, then of expression.
            rotations: (B, J, 3, 3) local rotations.
            near: Only the M vertices of which the joints are made.

        Returns:
            Vertices (B, V or M, 3), skeleton (B, J, 3) and world rotations (B, J, 3, 3).
        """
        batch = shape.shape[0]
        template, directions, weights = self.template, self.directions, self.weights
        if near:
            template, directions, weights = self.near_template, self.near_directions, self.near_weights
        features = shape
        if self.has_pose_correctives:
            identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
            features = torch.cat([shape, (rotations[:, 1:] - identity).flatten(1)], dim=1)
        rest_vertices = linear(features, directions, template).view(batch, 3, len(weights))

        rest = self._rest_joints(shape)
        turned, skeleton = self._chain(rotations, rest)
        # x_posed = R (x - rest) + skeleton, as four columns: R and a shift.
        shift = skeleton - (turned * rest[:, :, None]).sum(dim=-1)
        motion = torch.cat([turned, shift[..., None]], dim=-1).permute(0, 2, 3, 1)  # (B, 3, 4, J)
        blended = linear(motion.reshape(12 * batch, self.num_joints), weights).view(batch, 3, 4, len(weights))
        *columns, planes = blended.unbind(2)
        for column, coordinate in zip(columns, rest_vertices[:, None].unbind(2)):
            planes = torch.addcmul(planes, column, coordinate)
        return planes.transpose(1, 2).contiguous(), skeleton, turned

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

    def _rest_joints(self, shape: Tensor) -> Tensor:
        return self.joint_template + torch.einsum('jcn,bn->bjc', self.joint_directions, shape)

    def _moved(self, transl: Tensor | None, batch: int, *points: Tensor) -> tuple[Tensor, ...]:
        """Points (B, ..., 3) with the translation added."""
        if transl is None:
            return points
        self._check('transl', transl, transl.shape[1:] == (3,), '(B, 3)', batch)
        shift = transl.to(self.template.dtype)[:, None]
        return tuple(value + shift for value in points)

    def _coefficients(self, name: str, given: Tensor | None, count: int, batch: int) -> Tensor:
        """(B, count) in the layer's precision; components that are not given are zero."""
        if given is None:
            return self.template.new_zeros(batch, count)
        fits = given.ndim == 2 and given.shape[1] <= count
        self._check(name, given, fits, f'(B, up to {count})', batch)
        given = given.to(self.template.dtype).expand(batch, -1)
        return nn.functional.pad(given, (0, count - given.shape[1]))

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


def common_batch(*given: Tensor | None) -> int:
    """The batch size of arguments of which some may be missing or a batch of one that serves all."""
    batch = 1
    for value in given:
        if value is not None and value.shape[0] != 1:
            batch = value.shape[0]
    return batch


def _num_used(name: str, asked: int | None, count: int, kind: str) -> int:
    asked = count if asked is None else asked
    if not 0 <= asked <= count:
        raise ValueError(f'{name}={asked}: the model has {count} {kind} components.')
    return asked


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
