"""Motions of people, and the scene that all animated files are written from.

Letters: T frames of a person, J joints of the body model, root included, V vertices, S shape components.

Convention:
    A ``Motion`` is what mesh recovery yields: camera frame, x right, y down, z forward, metres; the root's
    rotation turns the body about its rest pelvis, then ``transl`` is added (:mod:`mmhier.body_models.smpl`).

    The world of all files is that of glTF: metres, right-handed, x right, y up, z towards the viewer, so that
    a person upright in the image is upright and looks along +z when facing the camera. It is the camera frame
    turned by half a turn about x, and then, with ``origin='floor'``, moved, everybody by the same vector: the
    floor, y = 0, is where the median over all people and frames has the lowest point of the body, and x and z
    are measured from the median place of the pelvises. With ``origin='camera'`` the camera is the origin. In
    both cases the camera looks along -z with +y up, from ``Scene.camera_position``. The floor is level with
    the camera's axis: a camera that looks down gives people who lean.

    Frame numbers are those of the clip. Files with times begin with the scene's first frame: frame n is at
    (n - first_frame) / fps seconds, or, where the frame rate varies, as long after it as in the clip.

    Rotations are unit quaternions (x, y, z, w) without changes of sign, of joints relative to their parents;
    that of the root is relative to the world. Places relative to the parent are those of the rest pose.

What skinning cannot say: the pose correctives (posedirs) of SMPL bend the rest mesh as a function of the
pose, which neither glTF, USD nor BVH has. Animated files hold the shaped mesh without them, so that SMPL's
skin is thinner where joints bend much; joints, and the meshes in OBJ and PLY files, are exact. The open body
has no correctives and loses nothing (tests/scene_files/test_gltf_file.py measures both).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from mmhier.body_models.skinning import forward_kinematics
from mmhier.body_models.smpl import SMPL
from mmhier.geometry.quaternions import (
    continuous_quaternions,
    interpolate,
    matrix_to_quaternion,
    quaternion_to_matrix,
)
from mmhier.palette import PALETTE
from mmhier.version import __version__

ORIGINS = ('floor', 'camera')
# Percent of a clip's steps from frame to frame that may be shorter than those of an even rate, and its bound.
SHORT_STEPS, MOST_FPS = 10, 240.0
# From the camera's axes (x right, y down, z forward) to the world's (x right, y up, z back).
CAMERA_TO_WORLD = np.array([1.0, -1.0, -1.0])


@dataclass(frozen=True, eq=False)
class Motion:
    """One person of a clip in the camera's frame, see the convention of this file.

    Attributes:
        fps: frames per second of the clip.
        frame_numbers: (T,) frames of the clip in which the person was seen, increasing, counted from 0.
        rotations: (T, J, 3, 3) rotations relative to the parent joint, root first.
        transl: (T, 3) metres.
        betas: (S,) shape, the same throughout.
        name: as the person is called in files, for example ``person_3``.
        body_model: the body.
        times_s: (C,) seconds of all frames of the clip, from number 0 on, whoever is seen on them; None if
            frame n is at n / fps.

    Raises:
        ValueError: if a shape or a value does not fit.
    """

    fps: float
    frame_numbers: np.ndarray
    rotations: np.ndarray
    transl: np.ndarray
    betas: np.ndarray
    name: str
    body_model: SMPL
    times_s: np.ndarray | None = None

    def __post_init__(self) -> None:
        frames = len(self.frame_numbers)
        shapes = {
            'frame_numbers': (frames,),
            'rotations': (frames, self.body_model.num_joints, 3, 3),
            'transl': (frames, 3),
        }
        for name, shape in shapes.items():
            array = np.asarray(getattr(self, name))
            if array.shape != shape:
                raise ValueError(f'{self.name}: {name} of shape {array.shape}: expected {shape}.')
            if not np.isfinite(array).all():
                raise ValueError(f'{self.name}: {name} is not finite; leave such frames out.')
        if (np.linalg.det(self.rotations) < 0.5).any():
            raise ValueError(
                f'{self.name}: rotations are no rotation matrices; one has a determinant below 0.5.'
            )
        numbers = np.asarray(self.frame_numbers)
        if not frames or numbers[0] < 0 or (np.diff(numbers) <= 0).any():
            raise ValueError(f'{self.name}: frame_numbers {numbers}: expected some, >= 0, increasing.')
        if not (np.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f'{self.name}: fps={self.fps}: expected frames per second above 0.')
        if self.times_s is not None:
            times = np.asarray(self.times_s)
            if times.shape != (times.size,) or times.size <= numbers[-1]:
                raise ValueError(
                    f'{self.name}: times_s of shape {times.shape}: expected one for each frame of the clip, '
                    f'which has at least {numbers[-1] + 1}.'
                )
            if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
                raise ValueError(f'{self.name}: times_s {times}: expected seconds, increasing.')
        if np.ndim(self.betas) != 1 or not np.isfinite(self.betas).all():
            raise ValueError(f'{self.name}: betas of shape {np.shape(self.betas)}: expected (S,), finite.')


@dataclass(frozen=True, eq=False)
class Actor:
    """A person of a scene: a mesh in the rest pose, its bones, and their motion in the world.

    Attributes:
        motion: where it comes from.
        rest_vertices: (V, 3) float32 metres, shaped.
        rest_joints: (J, 3) float32 metres, in the frame of ``rest_vertices``.
        rotations: (T, J, 4) quaternions.
        root_positions: (T, 3) of the root joint in the world.
        colour: (3,) RGB, 0 to 1, linear.
    """

    motion: Motion
    rest_vertices: np.ndarray
    rest_joints: np.ndarray
    rotations: np.ndarray
    root_positions: np.ndarray
    colour: np.ndarray

    @property
    def name(self) -> str:
        """Name of the person."""
        return self.motion.name

    @property
    def body(self) -> SMPL:
        """The body model."""
        return self.motion.body_model

    @property
    def faces(self) -> np.ndarray:
        """(F, 3) triangles, counter-clockwise seen from outside."""
        return self.body.faces.cpu().numpy()

    @property
    def parents(self) -> tuple[int, ...]:
        """(J,) parent of each joint, -1 for the root."""
        return self.body.parents

    @cached_property
    def offsets(self) -> np.ndarray:
        """(J, 3) from the parent joint in the rest pose; of the root: zero."""
        parents = np.maximum(self.parents, 0)
        return self.rest_joints - self.rest_joints[parents]

    @property
    def frame_numbers(self) -> np.ndarray:
        """(T,) frames in which the person was seen."""
        return np.asarray(self.motion.frame_numbers, np.int64)

    def influences(self, most: int) -> tuple[np.ndarray, np.ndarray]:
        """Joints (V, n) and weights (V, n) of each vertex, the largest first, n <= most; rows sum to one."""
        weights = self.body.weights.cpu().numpy().astype(np.float64)
        count = min(most, int((weights > 0).sum(axis=1).max()))
        joints = np.argsort(-weights, axis=1, kind='stable')[:, :count]
        kept = np.take_along_axis(weights, joints, axis=1)
        # Joints of weight zero are 0, as glTF asks for.
        return np.where(kept > 0, joints, 0), (kept / kept.sum(axis=1, keepdims=True)).astype(np.float32)

    def interpolated(self, places: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rotations (N, J, 4) and root positions (N, 3) between the frames in which the person was seen.

        Args:
            places: (T,) where those frames are, in any unit, increasing.
            wanted: (N,) from the first of them to the last.
        """
        if len(wanted) == len(places) and (wanted == places).all():
            return self.rotations, self.root_positions
        if len(places) == 1:
            return np.repeat(self.rotations, len(wanted), 0), np.repeat(self.root_positions, len(wanted), 0)
        positions = np.stack([np.interp(wanted, places, axis) for axis in self.root_positions.T], axis=1)
        joints = [interpolate(joint, places, wanted) for joint in self.rotations.transpose(1, 0, 2)]
        return continuous_quaternions(np.stack(joints, axis=1)), positions


@dataclass(frozen=True, eq=False)
class Scene:
    """People in one world.

    Attributes:
        actors: at least one; their names differ.
        fps: frames per second.
        camera_position: (3,) metres.
        times_s: (C,) seconds of all frames of the clip; None if frame n is at n / fps.
    """

    actors: list[Actor]
    fps: float
    camera_position: np.ndarray
    times_s: np.ndarray | None = None

    @property
    def frame_range(self) -> tuple[int, int]:
        """First and last frame with anybody."""
        numbers = [actor.frame_numbers for actor in self.actors]
        return int(min(n[0] for n in numbers)), int(max(n[-1] for n in numbers))

    def seconds(self, frames: np.ndarray) -> np.ndarray:
        """When frames (N,) of the clip are shown, from its start."""
        return np.asarray(frames) / self.fps if self.times_s is None else self.times_s[frames]

    def evenly(self, actor: Actor) -> tuple[np.ndarray, np.ndarray, float]:
        """An actor from the first frame to the last at a constant rate.

        Frames in between in which the person was not seen are interpolated. Where the clip's rate varies, its
        frames are so as well, at a rate that is rarely exceeded in the clip.

        Returns:
            Rotations (N, J, 4), root positions (N, 3), and the seconds from one to the next.
        """
        numbers = actor.frame_numbers
        if self.times_s is None:
            return *actor.interpolated(numbers, np.arange(numbers[0], numbers[-1] + 1)), 1 / self.fps
        seconds = self.seconds(numbers)
        step = 1 / self.even_fps
        count = int(np.ceil((seconds[-1] - seconds[0]) / step - 1e-3)) + 1
        wanted = np.minimum(seconds[0] + step * np.arange(count), seconds[-1])
        return *actor.interpolated(seconds, wanted), step

    @property
    def even_fps(self) -> float:
        """The rate of :meth:`evenly`."""
        if self.times_s is None or len(self.times_s) < 2:
            return self.fps
        short = max(float(np.percentile(np.diff(self.times_s), SHORT_STEPS)), 1 / MOST_FPS)
        return round(1 / short, 3)

    def visibility(self, actor: Actor) -> tuple[np.ndarray, np.ndarray]:
        """Frames (C,) at which an actor appears or leaves, and which of both it is (C,) bool.

        The first entry is the scene's first frame; somebody who is always there has this entry only.
        """
        first, last = self.frame_range
        present = np.zeros(last - first + 1, bool)
        present[actor.frame_numbers - first] = True
        changes = np.concatenate([[0], np.flatnonzero(np.diff(present.astype(np.int8))) + 1])
        return changes + first, present[changes]

    def describe(self) -> dict[str, object]:
        """What a reader has to know, for the metadata of a file."""
        return {
            'generator': generator(),
            'units': 'metres, seconds',
            'axes': 'right-handed, x right, y up, z towards the viewer',
            'camera': 'at camera_position, looking along -z with +y up',
            'camera_position': [round(float(value), 6) for value in self.camera_position],
            'fps': self.fps,
            'first_frame': self.frame_range[0],
            'frame_rate': 'constant' if self.times_s is None else 'variable; fps is the mean',
            'pose_correctives': 'not included',
            'body_models': sorted({body_note(actor.body) for actor in self.actors}),
        }


def make_scene(motions: Sequence[Motion], origin: str = 'floor') -> Scene:
    """Put people into one world.

    Args:
        motions: one per person.
        origin: 'floor' or 'camera', see the convention of this file.

    Raises:
        ValueError: if there is nobody, frame rates or times differ, names repeat or there is no such origin.
    """
    if origin not in ORIGINS:
        raise ValueError(f'origin={origin!r}: expected one of {", ".join(ORIGINS)}.')
    if not motions:
        raise ValueError('There is nobody to write: motions is empty.')
    if len({motion.fps for motion in motions}) > 1:
        raise ValueError(f'Motions of one scene differ in fps: {sorted({m.fps for m in motions})}.')
    times = motions[0].times_s
    if any((motion.times_s is None) != (times is None) for motion in motions) or not all(
        times is None or np.array_equal(motion.times_s, times) for motion in motions
    ):
        raise ValueError('Motions of one scene differ in times_s: it has those of all frames of the clip.')
    names = [motion.name for motion in motions]
    if len(set(names)) < len(names):
        raise ValueError(f'Two people of one scene have the same name: {", ".join(sorted(names))}.')
    actors = [_actor(motion, colour) for motion, colour in zip(motions, _linear(palette(len(motions))))]
    shift = _floor_shift(actors) if origin == 'floor' else np.zeros(3)
    for actor in actors:
        actor.root_positions[:] += shift
    return Scene(actors, float(motions[0].fps), shift, None if times is None else np.asarray(times, float))


def camera_to_world(points: np.ndarray) -> np.ndarray:
    """Points (..., 3) of the camera frame in the world whose origin is the camera."""
    return np.asarray(points) * CAMERA_TO_WORLD


def body_note(body: SMPL) -> str:
    """One line that names a body model and its licence."""
    return f'Body model: {body.name}. Licence: {body.licence}'


def generator() -> str:
    """Name and version of the program."""
    return f'mmhier {__version__}'


def palette(count: int) -> np.ndarray:
    """(count, 3) RGB colours of people, 0 to 1, gamma-encoded (sRGB): those of the renderer."""
    return PALETTE[np.arange(count) % len(PALETTE), ::-1] / 255.0


def _linear(colour: np.ndarray) -> np.ndarray:
    """Amounts of light of sRGB colours, both 0 to 1."""
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def _actor(motion: Motion, colour: np.ndarray) -> Actor:
    body = motion.body_model
    like = body.v_template
    betas = torch.as_tensor(np.asarray(motion.betas)[None]).to(like)
    with torch.no_grad():
        vertices, joints = body(betas=betas).vertices[0], body.rest_joints(betas)[0]
    rest_joints = joints.cpu().numpy()
    rotations = np.array(motion.rotations, np.float64)
    rotations[:, 0] = CAMERA_TO_WORLD[:, None] * rotations[:, 0]
    positions = camera_to_world(rest_joints[0] + np.asarray(motion.transl, np.float64))
    return Actor(
        motion,
        vertices.cpu().numpy(),
        rest_joints,
        continuous_quaternions(matrix_to_quaternion(rotations)),
        positions,
        colour,
    )


def _floor_shift(actors: Sequence[Actor]) -> np.ndarray:
    """(3,) what has to be added to bring the people to the floor."""
    lowest = []
    for actor in actors:
        # The sole is as far below the lowest joint as in the rest pose.
        sole = actor.rest_joints[:, 1].min() - actor.rest_vertices[:, 1].min()
        lowest.append(world_joints(actor)[..., 1].min(axis=1) - sole)
    x, _, z = np.median(np.concatenate([actor.root_positions for actor in actors]), axis=0)
    return -np.array([x, np.median(np.concatenate(lowest)), z])


def world_joints(actor: Actor) -> np.ndarray:
    """(T, J, 3) joints in the world, metres."""
    frames, joints = actor.rotations.shape[:2]
    rest = np.broadcast_to(actor.rest_joints - actor.rest_joints[0], (frames, joints, 3))
    matrices = quaternion_to_matrix(actor.rotations)
    _, posed = forward_kinematics(matrices, rest.astype(np.float64), np.asarray(actor.parents))
    return posed + actor.root_positions[:, None]
