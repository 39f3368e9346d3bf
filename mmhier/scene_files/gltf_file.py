"""Animated people as binary glTF 2.0 (.glb), for Blender, Unreal, web viewers and the like.

Every person is a skinned mesh with a skeleton; one animation, ``clip``, moves them all. The shape is baked
into the mesh. See :mod:`mmhier.scene_files.motion` for the world and for what skinning cannot say.

Letters: V vertices, F triangles, J joints, T frames of a person.

Convention:
    glTF's own: metres, right-handed, y up; a body in its rest pose faces +z. Nodes show the person's first
    frame where nothing is animated. Joint rotations and the root's translation are LINEAR between frames; a
    person who is not in the clip at some frames has the root's scale STEP to 0 there, glTF's way of hiding.

    A vertex with more than four joints has its four largest weights in JOINTS_0 and WEIGHTS_0, the next four
    in JOINTS_1 and WEIGHTS_1; all sum to one. Viewers need not read the second set; those that don't
    (three.js) are off there: by 0.015 mm on average and 9 mm at most over the open body, which has up to
    seven, in strongly bent poses. SMPL has four.

    ``asset.copyright`` names the body models and their licences; ``asset.extras`` says where the camera was
    and which frame of the clip is at time 0; each person's node has the betas in its ``extras``.
"""

import json
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmhier.atomic import new_file
from mmhier.rasterizer import vertex_normals
from mmhier.scene_files.motion import Actor, Motion, Scene, generator, make_scene

MOST_INFLUENCES = 8

_COMPONENT_TYPES = {'u1': 5121, 'u2': 5123, 'u4': 5125, 'f4': 5126}
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_SHAPES = {(): 'SCALAR', (3,): 'VEC3', (4,): 'VEC4', (4, 4): 'MAT4'}


def write_glb(path: str | Path, motions: Sequence[Motion], origin: str = 'floor') -> Path:
    """Write people and their animation.

    Args:
        path: the file.
        motions: one per person.
        origin: 'floor' or 'camera', see :mod:`mmhier.scene_files.motion`.

    Returns:
        ``path``.

    Raises:
        ValueError: see :func:`mmhier.scene_files.motion.make_scene`.
    """
    writer = _Writer(make_scene(motions, origin))
    with new_file(path) as temporary:
        temporary.write_bytes(writer.glb())
    return Path(path)


class _Writer:
    """The lists of a glTF document and its one buffer, filled person by person."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.buffer = bytearray()
        self.accessors: list[dict] = []
        self.views: list[dict] = []
        self.nodes: list[dict] = []
        self.meshes: list[dict] = []
        self.skins: list[dict] = []
        self.materials: list[dict] = []
        self.samplers: list[dict] = []
        self.channels: list[dict] = []
        self.roots: list[int] = []
        self._shared: dict[int, tuple[int, dict[str, int]]] = {}
        for actor in scene.actors:
            self._add_actor(actor)

    def glb(self) -> bytes:
        """The file's content."""
        about = self.scene.describe()
        document = {
            'asset': {
                'version': '2.0',
                'generator': generator(),
                'copyright': ' | '.join(about['body_models']),
                'extras': about,
            },
            'scene': 0,
            'scenes': [{'nodes': self.roots}],
            'nodes': self.nodes,
            'meshes': self.meshes,
            'skins': self.skins,
            'materials': self.materials,
            'accessors': self.accessors,
            'bufferViews': self.views,
            'buffers': [{'byteLength': len(self.buffer)}],
        }
        if self.channels:
            document['animations'] = [{'name': 'clip', 'samplers': self.samplers, 'channels': self.channels}]
        text = json.dumps(document, separators=(',', ':')).encode()
        text += b' ' * (-len(text) % 4)
        chunks = _chunk(b'JSON', text) + _chunk(b'BIN\0', bytes(self.buffer))
        return struct.pack('<4sII', b'glTF', 2, 12 + len(chunks)) + chunks

    def _add_actor(self, actor: Actor) -> None:
        first_joint = self._add_skeleton(actor)
        joints = list(range(first_joint, first_joint + len(actor.parents)))
        self.skins.append(
            {
                'name': actor.name,
                'joints': joints,
                'skeleton': first_joint,
                'inverseBindMatrices': self._accessor(_inverse_binds(actor)),
            }
        )
        self.meshes.append({'name': actor.name, 'primitives': [self._add_primitive(actor)]})
        # A skinned mesh stands at the root: transforms above it would be ignored.
        self._add_root(
            {'name': f'{actor.name}_mesh', 'mesh': len(self.meshes) - 1, 'skin': len(self.skins) - 1}
        )
        betas = [round(float(value), 6) for value in actor.motion.betas]
        self._add_root(
            {'name': actor.name, 'children': [first_joint], 'extras': {'betas': betas}},
        )
        self._animate(actor, joints)

    def _add_root(self, node: dict) -> None:
        self.roots.append(len(self.nodes))
        self.nodes.append(node)

    def _add_skeleton(self, actor: Actor) -> int:
        """Nodes of the joints in the pose of the first frame; returns the root's number."""
        first = len(self.nodes)
        places = actor.offsets.astype(np.float64)
        places[0] = actor.root_positions[0]
        for name, place, rotation in zip(actor.body.joint_names, places, actor.rotations[0]):
            self.nodes.append({'name': name, 'translation': place.tolist(), 'rotation': rotation.tolist()})
        for joint, parent in enumerate(actor.parents[1:], start=1):
            self.nodes[first + parent].setdefault('children', []).append(first + joint)
        return first

    def _add_primitive(self, actor: Actor) -> dict:
        normals = vertex_normals(actor.rest_vertices, actor.faces)
        # Vertices of no triangle have none, but glTF wants unit vectors.
        normals[~(np.linalg.norm(normals, axis=1) > 0.5)] = [0.0, 0.0, 1.0]
        indices, skinning = self._shared_accessors(actor)
        attributes = {
            'POSITION': self._accessor(actor.rest_vertices, _ARRAY_BUFFER, bounds=True),
            'NORMAL': self._accessor(normals, _ARRAY_BUFFER),
        }
        self.materials.append(
            {
                'name': actor.name,
                'pbrMetallicRoughness': {
                    'baseColorFactor': [*actor.colour.round(4).tolist(), 1.0],
                    'metallicFactor': 0.0,
                    'roughnessFactor': 0.8,
                },
            }
        )
        return {
            'attributes': attributes | skinning,
            'indices': indices,
            'material': len(self.materials) - 1,
        }

    def _shared_accessors(self, actor: Actor) -> tuple[int, dict[str, int]]:
        """Triangles and skinning: people with the same body model share them."""
        key = id(actor.body)
        if key not in self._shared:
            index_type = _smallest_type(len(actor.rest_vertices))
            indices = self._accessor(actor.faces.astype(index_type).reshape(-1), _ELEMENT_ARRAY_BUFFER)
            joints, weights = actor.influences(MOST_INFLUENCES)
            padding = ((0, 0), (0, -joints.shape[1] % 4))
            joints = np.pad(joints, padding).astype(_smallest_type(len(actor.parents)))
            weights = np.pad(weights, padding)
            skinning = {}
            for number in range(joints.shape[1] // 4):
                part = slice(4 * number, 4 * number + 4)
                skinning[f'JOINTS_{number}'] = self._accessor(joints[:, part], _ARRAY_BUFFER)
                skinning[f'WEIGHTS_{number}'] = self._accessor(weights[:, part], _ARRAY_BUFFER)
            self._shared[key] = indices, skinning
        return self._shared[key]

    def _animate(self, actor: Actor, joints: Sequence[int]) -> None:
        first, last = self.scene.frame_range
        if first == last:
            return
        times = self._times(actor.frame_numbers)
        for node, rotations in zip(joints, actor.rotations.transpose(1, 0, 2)):
            self._add_channel(node, 'rotation', times, rotations, 'LINEAR')
        self._add_channel(joints[0], 'translation', times, actor.root_positions, 'LINEAR')
        frames, visible = self.scene.visibility(actor)
        if len(frames) > 1:
            scales = np.repeat(visible[:, None].astype(np.float32), 3, axis=1)
            self._add_channel(joints[0], 'scale', self._times(frames), scales, 'STEP')

    def _times(self, frames: np.ndarray) -> int:
        start = self.scene.seconds(np.array(self.scene.frame_range[0]))
        return self._accessor(self.scene.seconds(frames) - start, bounds=True)

    def _add_channel(self, node: int, path: str, times: int, values: np.ndarray, kind: str) -> None:
        self.samplers.append({'input': times, 'output': self._accessor(values), 'interpolation': kind})
        self.channels.append({'sampler': len(self.samplers) - 1, 'target': {'node': node, 'path': path}})

    def _accessor(self, values: np.ndarray, target: int | None = None, bounds: bool = False) -> int:
        """Append an array (N, ...) to the buffer; floating point becomes float32."""
        values = np.asarray(values)
        if values.dtype.kind == 'f':
            values = values.astype('<f4')
        view = {'buffer': 0, 'byteOffset': len(self.buffer), 'byteLength': values.nbytes}
        if target is not None:
            view['target'] = target
        self.buffer += np.ascontiguousarray(values).tobytes()
        self.buffer += b'\0' * (-len(self.buffer) % 4)
        accessor = {
            'bufferView': len(self.views),
            'componentType': _COMPONENT_TYPES[values.dtype.str[1:]],
            'count': len(values),
            'type': _SHAPES[values.shape[1:]],
        }
        if bounds:
            rows = values.reshape(len(values), -1)
            accessor |= {'min': rows.min(axis=0).tolist(), 'max': rows.max(axis=0).tolist()}
        self.views.append(view)
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack('<I4s', len(content), kind) + content


def _smallest_type(count: int) -> str:
    """Unsigned integers for numbers below ``count``; glTF reserves the largest index of each type."""
    return next(kind for kind, most in (('|u1', 255), ('<u2', 65535), ('<u4', 2**32 - 1)) if count <= most)


def _inverse_binds(actor: Actor) -> np.ndarray:
    """(J, 4, 4), column-major: from the rest mesh to each joint's frame, which is a translation."""
    matrices = np.tile(np.eye(4), (len(actor.parents), 1, 1))
    matrices[:, 3, :3] = -actor.rest_joints
    return matrices
