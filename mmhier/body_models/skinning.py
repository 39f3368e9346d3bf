"""Linear blend skinning of SMPL-family bodies in plain numpy.

Loper et al., SMPL: A Skinned Multi-Person Linear Model, SIGGRAPH Asia 2015. Pose correctives are applied
when the model has them.

Letters: B batch, J joints, V vertices.

Convention:
    Right-handed; metres; the frame of the output is the frame of ``transl`` and of the root rotation.
    A rotation acts on column vectors: ``x_parent = R @ x_child``. Joint 0 is the root: its rotation turns
    the body about its own rest position, then ``transl`` is added. Axis-angle is the axis times the angle
    in radians (positive is counter-clockwise when the axis points at the viewer).
"""

from typing import NamedTuple

import numpy as np

from mmhier.body_models.smpl_file import BodyModelData
from mmhier.geometry.array_rotations import axis_angle_to_matrix


class PosedBody(NamedTuple):
    """Posed vertices (B, V, 3) and joints (B, J, 3), metres."""

    vertices: np.ndarray
    joints: np.ndarray


def forward_kinematics(
    rotations: np.ndarray, joints: np.ndarray, parents: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Chain local rotations along the tree.

    Args:
        rotations: (B, J, 3, 3) local rotations.
        joints: (B, J, 3) rest joints.
        parents: (J,) parent of every joint, -1 for the root; parents come first.

    Returns:
        World rotations (B, J, 3, 3) and posed joints (B, J, 3).
    """
    world = np.empty_like(rotations)
    posed = np.empty_like(joints)
    world[:, 0], posed[:, 0] = rotations[:, 0], joints[:, 0]
    for joint in range(1, len(parents)):
        parent = parents[joint]
        world[:, joint] = world[:, parent] @ rotations[:, joint]
        offset = joints[:, joint] - joints[:, parent]
        posed[:, joint] = posed[:, parent] + np.einsum('bij,bj->bi', world[:, parent], offset)
    return world, posed


def skin(
    weights: np.ndarray, vertices: np.ndarray, world: np.ndarray, rest: np.ndarray, posed: np.ndarray
) -> np.ndarray:
    """Blend rigid joint motions on vertices.

    Args:
        weights: (V, J).
        vertices: (B, V, 3) rest vertices.
        world: (B, J, 3, 3) world rotations.
        rest: (B, J, 3) rest joints.
        posed: (B, J, 3) posed joints.

    Returns:
        (B, V, 3) posed vertices.
    """
    shift = posed - np.einsum('bjik,bjk->bji', world, rest)
    motion = np.concatenate([world, shift[..., None]], axis=-1)
    # One matrix product for the whole batch: (V, J) @ (J, 4 * B * 3).
    columns = motion.transpose(1, 3, 0, 2)
    blended = (weights @ columns.reshape(len(columns), -1)).reshape(len(weights), *columns.shape[1:])
    posed_vertices = blended[:, 3]
    for axis in range(3):
        posed_vertices += blended[:, axis] * vertices[..., axis].T[..., None]
    return np.ascontiguousarray(posed_vertices.transpose(1, 0, 2))


def pose_body(
    model: BodyModelData,
    pose: np.ndarray,
    betas: np.ndarray | None = None,
    transl: np.ndarray | None = None,
    vertex_indices: np.ndarray | None = None,
) -> PosedBody:
    """Shape and pose a body.

    Args:
        model: the body model.
        pose: (B, J, 3) axis-angle or (B, J, 3, 3) matrices, root first; the batch axis may be missing.
        betas: (B, <= number of components) shape, zero when missing.
        transl: (B, 3) metres, zero when missing.
        vertex_indices: compute only these vertices.

    Returns:
        float32 vertices and joints, without the batch axis when ``pose`` had none.

    Raises:
        ValueError: if ``pose`` has another number of joints than the model.
    """
    pose = np.asarray(pose, np.float32)
    if pose.shape[-1:] != (3,) or model.num_joints not in pose.shape[-3:-1]:
        raise ValueError(
            f'pose of shape {pose.shape}: expected (..., {model.num_joints}, 3) axis-angle '
            f'or (..., {model.num_joints}, 3, 3) rotation matrices.'
        )
    is_matrix = pose.ndim >= 3 and pose.shape[-3] == model.num_joints and pose.shape[-2] == 3
    rotations = pose if is_matrix else axis_angle_to_matrix(pose)
    batched = rotations.ndim == 4
    rotations = rotations.reshape(-1, model.num_joints, 3, 3)
    batch = len(rotations)

    select = slice(None) if vertex_indices is None else vertex_indices
    vertices = np.broadcast_to(model.v_template[select], (batch, *model.v_template[select].shape))
    joints = np.broadcast_to(model.joint_template, (batch, model.num_joints, 3))
    if betas is not None:
        betas = np.asarray(betas, np.float32).reshape(batch, -1)
        used = betas.shape[1]
        vertices = vertices + np.einsum(
            'vcn,bn->bvc', model.shapedirs[select][..., :used], betas, optimize=True
        )
        joints = joints + np.einsum('jcn,bn->bjc', model.joint_shapedirs[..., :used], betas)
    if model.posedirs is not None:
        feature = (rotations[:, 1:] - np.eye(3, dtype=np.float32)).reshape(batch, -1)
        vertices = vertices + np.einsum('vcp,bp->bvc', model.posedirs[select], feature, optimize=True)
    world, posed = forward_kinematics(rotations, np.ascontiguousarray(joints), model.parents)
    vertices = skin(model.weights[select], vertices, world, joints, posed)
    if transl is not None:
        offset = np.asarray(transl, np.float32).reshape(batch, 1, 3)
        vertices, posed = vertices + offset, posed + offset
    vertices, posed = vertices.astype(np.float32), posed.astype(np.float32)
    return PosedBody(vertices, posed) if batched else PosedBody(vertices[0], posed[0])
