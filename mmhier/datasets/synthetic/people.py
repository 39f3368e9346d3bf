"""People: a shape, a pose and an outfit put together on the body model.

Letters: V vertices of the render mesh.

Convention: world frame with y up and the floor at y = 0, metres; see :mod:`.camera`.
"""

from dataclasses import dataclass, replace

import numpy as np

from mmhier.body_models.skinning import forward_kinematics, skin
from mmhier.body_models.smpl_file import COCO17_NAMES, SMPLX_JOINT_NAMES, BodyModelData
from mmhier.datasets.synthetic.appearance import (
    EYEBALL,
    TEETH,
    TONGUE,
    Landmarks,
    Outfit,
    surface_offsets,
)
from mmhier.datasets.synthetic.poses import Pose
from mmhier.geometry.array_rotations import euler_to_matrix
from mmhier.rasterizer import vertex_normals


@dataclass(frozen=True)
class Person:
    """A posed person.

    Attributes:
        pose: local rotations and angles.
        betas: (10,).
        expression: (E,), E = 0 of a body without expressions.
        outfit: colours and garments.
        root: (3, 3) world rotation of the root.
        transl: (3,) world translation, metres.
        vertices: (V, 3) clothed render mesh in the world.
        joints: (J, 3) joints of the body in the world.
        coco17: (17, 3) COCO keypoints in the world.
    """

    pose: Pose
    betas: np.ndarray
    expression: np.ndarray
    outfit: Outfit
    root: np.ndarray
    transl: np.ndarray
    vertices: np.ndarray
    joints: np.ndarray
    coco17: np.ndarray

    def moved(self, shift: np.ndarray) -> 'Person':
        """The same person somewhere else; ``shift`` is (3,) metres."""
        names = ('transl', 'vertices', 'joints', 'coco17')
        return replace(self, **{name: getattr(self, name) + shift for name in names})


class BodyKit:
    """The body model with everything precomputed that every person needs.

    Args:
        model: a body model with render mesh and COCO regressor.
    """

    def __init__(self, model: BodyModelData) -> None:
        for name in ('render_vertices', 'render_faces', 'coco17_regressor'):
            if getattr(model, name) is None:
                raise ValueError(f'The body model has no "{name}": synthetic people need the open body.')
        self.model = model
        self.marks = Landmarks.of(model)
        self.keypoint_template = np.stack([self.marks.face[name] for name in COCO17_NAMES])
        self.faces = model.render_faces
        self.texture = model.v_template[model.render_vertices]
        self.normals = vertex_normals(self.texture, self.faces)
        self.is_whole = model.joint_names == SMPLX_JOINT_NAMES
        self.joint_directions = np.concatenate([model.joint_shapedirs, model.joint_exprdirs], axis=-1)
        self.shapedirs = self.directions(model.render_vertices)
        self.weights = np.ascontiguousarray(model.weights[model.render_vertices])
        used = np.flatnonzero((model.coco17_regressor[:, : len(model.v_template)] != 0).any(axis=0))
        self.coco_vertices = used
        self.coco_from_vertices = model.coco17_regressor[:, used]
        self.coco_from_joints = model.coco17_regressor[:, len(model.v_template) :]
        self.coco_directions = self.directions(used)
        self.kinds = _kinds(model) if self.is_whole else None
        attributes = [self.texture] if self.kinds is None else [self.texture, self.kinds[:, None]]
        self.attributes = np.concatenate(attributes, axis=1)

    def directions(self, vertices: np.ndarray) -> np.ndarray:
        """(N, 3, K + E) components of shape and expression of some vertices."""
        parts = [self.model.shapedirs[vertices]]
        if self.model.exprdirs is not None:
            parts.append(self.model.exprdirs[vertices])
        return np.concatenate(parts, axis=-1)

    def build(
        self,
        pose: Pose,
        betas: np.ndarray,
        outfit: Outfit,
        yaw: float,
        expression: np.ndarray | None = None,
    ) -> Person:
        """Dress, shape and pose a person: pelvis above the world's origin, lowest point on the floor."""
        model = self.model
        betas = betas.astype(np.float32)
        given = np.zeros(model.num_expressions) if expression is None else expression
        expression = np.asarray(given, np.float32)
        components = np.concatenate([betas, expression])
        rotations = pose.rotations.copy()
        rotations[0] = euler_to_matrix([0.0, yaw, 0.0]) @ rotations[0]
        rotations = rotations.astype(np.float32)[None]
        rest = (model.joint_template + self.joint_directions @ components)[None].astype(np.float32)
        world, joints = forward_kinematics(rotations, rest, model.parents)
        offsets = surface_offsets(outfit, self.marks, self.texture)
        if self.kinds is not None:
            offsets[self.kinds > 0] = 0.0
        shaped = self.texture + self.shapedirs @ components + self.normals * offsets[:, None]
        vertices = skin(self.weights, shaped[None], world, rest, joints)[0]
        plain = model.v_template[self.coco_vertices] + self.coco_directions @ components
        face = skin(model.weights[self.coco_vertices], plain[None], world, rest, joints)[0]
        coco17 = self.coco_from_vertices @ face + self.coco_from_joints @ joints[0]
        transl = np.array([0.0, -vertices[:, 1].min(), 0.0], np.float32)
        return Person(
            pose,
            betas,
            expression,
            outfit,
            rotations[0, 0],
            transl,
            vertices + transl,
            joints[0] + transl,
            coco17 + transl,
        )


def _kinds(model: BodyModelData) -> np.ndarray:
    """(V,) what the vertices of the render mesh are, see :func:`.appearance.paint`."""
    kinds = np.zeros(len(model.v_template), np.float32)
    for name, (first, end) in model.metadata['meshes'].items():
        kinds[first:end] = next(
            kind for word, kind in (('eye', EYEBALL), ('teeth', TEETH), ('tongue', TONGUE)) if word in name
        )
    return kinds[model.render_vertices]
