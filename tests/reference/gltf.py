"""Skinned and animated glTF, evaluated as section 3.7 and appendix C of the glTF 2.0 specification say.

Reads a .glb with pygltflib and poses its meshes at a time, joint by joint, in numpy. Columns are vectors.
"""

import numpy as np
import pygltflib

TYPES = {5121: 'u1', 5123: '<u2', 5125: '<u4', 5126: '<f4'}
SIZES = {'SCALAR': 1, 'VEC3': 3, 'VEC4': 4, 'MAT4': 16}


class Glb:
    """A file."""

    def __init__(self, path):
        self.document = pygltflib.GLTF2().load(str(path))
        self.blob = self.document.binary_blob()

    def array(self, number):
        accessor = self.document.accessors[number]
        view = self.document.bufferViews[accessor.bufferView]
        count = accessor.count * SIZES[accessor.type]
        flat = np.frombuffer(self.blob, TYPES[accessor.componentType], count, view.byteOffset)
        return flat.reshape(accessor.count, -1)

    def sample(self, sampler, time):
        """Value of an animation sampler at a time in seconds."""
        times, values = (
            self.array(sampler.input)[:, 0].astype(float),
            self.array(sampler.output).astype(float),
        )
        after = int(np.searchsorted(times, time + 1e-6))
        if after in (0, len(times)):
            return values[0 if after == 0 else -1]
        before = after - 1
        if sampler.interpolation == 'STEP':
            return values[before]
        share = np.clip((time - times[before]) / (times[after] - times[before]), 0.0, 1.0)
        first, second = values[before], values[after]
        if values.shape[1] == 3:
            return first + share * (second - first)
        cosine = first @ second
        second, cosine = (second, cosine) if cosine >= 0 else (-second, -cosine)
        angle = np.arccos(min(cosine, 1.0))
        if angle < 1e-6:
            return first
        return (np.sin((1 - share) * angle) * first + np.sin(share * angle) * second) / np.sin(angle)

    def world_transforms(self, time=None):
        """4x4 matrix of every node; without a time as the nodes stand in the file."""
        nodes = self.document.nodes
        local = [
            dict(
                translation=np.array(node.translation or (0.0, 0.0, 0.0)),
                rotation=np.array(node.rotation or (0.0, 0.0, 0.0, 1.0)),
                scale=np.array(node.scale or (1.0, 1.0, 1.0)),
            )
            for node in nodes
        ]
        if time is not None:
            for animation in self.document.animations:
                for channel in animation.channels:
                    value = self.sample(animation.samplers[channel.sampler], time)
                    local[channel.target.node][channel.target.path] = value
        world = [None] * len(nodes)
        waiting = [(number, np.eye(4)) for number in self.document.scenes[0].nodes]
        while waiting:
            number, above = waiting.pop()
            world[number] = above @ matrix(**local[number])
            waiting += [(child, world[number]) for child in nodes[number].children]
        return world

    def people(self, time=None, sets=None):
        """Name -> (vertices (V, 3), joints (J, 3)) at a time; ``sets``: read only so many sets of joints."""
        world = self.world_transforms(time)
        found = {}
        for node in self.document.nodes:
            if node.skin is None:
                continue
            skin = self.document.skins[node.skin]
            binds = self.array(skin.inverseBindMatrices).reshape(-1, 4, 4).transpose(0, 2, 1)
            motions = np.stack([world[joint] for joint in skin.joints]) @ binds
            attributes = self.document.meshes[node.mesh].primitives[0].attributes
            points = self.array(attributes.POSITION).astype(float)
            points = np.concatenate([points, np.ones((len(points), 1))], axis=1)
            total, blended = np.zeros((len(points), 1)), np.zeros((len(points), 4))
            for number in range(sets or 2):
                weights = getattr(attributes, f'WEIGHTS_{number}', None)
                if weights is None:
                    break
                joints = self.array(getattr(attributes, f'JOINTS_{number}'))
                for joint, weight in zip(joints.T, self.array(weights).T.astype(float)):
                    blended += weight[:, None] * np.einsum('vij,vj->vi', motions[joint], points)
                    total += weight[:, None]
            joints = np.stack([world[joint][:3, 3] for joint in skin.joints])
            found[skin.name] = (blended / total)[:, :3], joints
        return found


def matrix(translation, rotation, scale):
    x, y, z, w = rotation / np.linalg.norm(rotation)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    result = np.eye(4)
    result[:3, :3], result[:3, 3] = turn * scale, translation
    return result
