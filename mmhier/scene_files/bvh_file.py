"""Skeletons in motion as BVH (Biovision hierarchy), a file per person, and a reader of such files.

Letters: T frames, J joints, C channels.

Convention:
    Axes are those of :mod:`mmhier.scene_files.motion`: right-handed, y up; with all channels zero the
    skeleton stands in the body model's rest pose (a T-pose for SMPL and the open body) and faces +z. BVH has
    no unit; offsets and positions are centimetres by default (``units_per_metre=100``), as Maya, Unreal and
    MotionBuilder expect; Blender asks for the scale at import (0.01 for centimetres).

    The root has the channels Xposition Yposition Zposition Zrotation Xrotation Yrotation, every other joint
    Zrotation Xrotation Yrotation: degrees, ``R = Rz Rx Ry`` acting on column vectors. The root's offset is
    zero, so that it does not matter whether a program adds it to the positions. Joints are listed depth
    first. End sites lie where the skin of a last joint ends.

    A BVH file has one row for every frame from the person's first to the last; frames in which the person was
    not seen are interpolated. It has one frame rate: of a clip whose rate varies the whole motion is
    interpolated, at an even rate, and the log and the text file say so. It has no place for text: body model,
    licence, unit, first frame and the camera are in a text file of the same name beside it (``clip.bvh`` and
    ``clip.bvh.txt``).
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmhier.atomic import new_file
from mmhier.geometry.array_rotations import euler_to_matrix
from mmhier.geometry.quaternions import quaternion_to_euler
from mmhier.safe_files import read_text
from mmhier.scene_files.motion import Actor, Motion, Scene, body_note, make_scene

logger = logging.getLogger('mmhier')

_POSITIONS = ('Xposition', 'Yposition', 'Zposition')
_ROTATIONS = ('Zrotation', 'Xrotation', 'Yrotation')


@dataclass(frozen=True, eq=False)
class Bvh:
    """What a BVH file says, in its own unit.

    Attributes:
        names: (J,) joints; end sites are no joints.
        parents: (J,) parent of each joint, -1 for the root.
        offsets: (J, 3) from the parent joint.
        positions: (T, J, 3) places relative to the parent: the offsets without position channels.
        rotations: (T, J, 3, 3) relative to the parent.
        frame_time: seconds per frame.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: np.ndarray
    positions: np.ndarray
    rotations: np.ndarray
    frame_time: float

    def joints(self) -> np.ndarray:
        """(T, J, 3) places of the joints in the world."""
        world, places = np.empty_like(self.rotations), np.empty_like(self.positions)
        for joint, parent in enumerate(self.parents):
            if parent < 0:
                world[:, joint], places[:, joint] = self.rotations[:, joint], self.positions[:, joint]
                continue
            world[:, joint] = world[:, parent] @ self.rotations[:, joint]
            step = np.einsum('tij,tj->ti', world[:, parent], self.positions[:, joint])
            places[:, joint] = places[:, parent] + step
        return places


def write_bvh(
    path: str | Path, motions: Sequence[Motion], origin: str = 'floor', units_per_metre: float = 100.0
) -> list[Path]:
    """Write a BVH file for every person.

    Args:
        path: the file; of several people each has its name behind a hyphen: ``clip.bvh`` becomes
            ``clip-person_3.bvh``.
        motions: one per person; all files have the same world.
        origin: 'floor' or 'camera', see :mod:`mmhier.scene_files.motion`.
        units_per_metre: 100 for centimetres, 1 for metres.

    Returns:
        The BVH files.

    Raises:
        ValueError: see :func:`mmhier.scene_files.motion.make_scene`.
    """
    path = Path(path)
    scene = make_scene(motions, origin)
    resampled = {}
    if scene.times_s is not None:
        note = f'from a variable frame rate, {scene.fps:.3f} per second on average, to {scene.even_fps:.3f}'
        resampled = {'resampled': note}
        logger.warning('%s: resampled %s, as BVH has one rate; glb and usd keep the times', path, note)
    paths = []
    for actor in scene.actors:
        if len(scene.actors) > 1:
            target = path.with_name(f'{path.stem}-{actor.name}{path.suffix}')
        else:
            target = path
        about = scene.describe() | {
            'units': 'offsets and positions as units_per_metre says, degrees; camera_position in metres',
            'units_per_metre': units_per_metre,
            'first_frame': int(actor.frame_numbers[0]),
        }
        about |= resampled
        del about['body_models']
        with new_file(target) as temporary:
            temporary.write_text(_bvh_text(actor, scene, units_per_metre), encoding='ascii')
        with new_file(target.with_name(f'{target.name}.txt')) as temporary:
            lines = [f'{name}: {json.dumps(value)}' for name, value in about.items()]
            temporary.write_text('\n'.join([body_note(actor.body), *lines, '']), encoding='utf-8')
        paths.append(target)
    return paths


def read_bvh(path: str | Path) -> Bvh:
    """Read a BVH file with one root and any order of channels.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not a BVH file, or not whole.
    """
    path = Path(path)
    tokens = read_text(path, errors='replace').split()
    try:
        return _parse(tokens)
    except (IndexError, ValueError, OverflowError, MemoryError) as error:
        raise ValueError(f'{path} is not a whole BVH file ({error}).') from error


def _bvh_text(actor: Actor, scene: Scene, scale: float) -> str:
    lines, order = ['HIERARCHY'], []
    _add_joint(actor, 0, scale, 0, lines, order)
    quaternions, positions, step = scene.evenly(actor)
    angles = _zxy_degrees(quaternions[:, order])
    table = np.concatenate([positions * scale, angles.reshape(len(angles), -1)], axis=1)
    lines += ['MOTION', f'Frames: {len(table)}', f'Frame Time: {step:.9f}']
    lines += [' '.join(f'{value:.6f}' for value in row) for row in table.tolist()]
    return '\n'.join(lines) + '\n'


def _add_joint(
    actor: Actor, joint: int, scale: float, depth: int, lines: list[str], order: list[int]
) -> None:
    """Append the lines of a joint and of those below it; ``order`` gets their numbers."""
    order.append(joint)
    margin, inner = '\t' * depth, '\t' * (depth + 1)
    channels = (_POSITIONS if joint == 0 else ()) + _ROTATIONS
    lines += [
        f'{margin}{"JOINT" if joint else "ROOT"} {actor.body.joint_names[joint].replace(" ", "_")}',
        f'{margin}{{',
        f'{inner}OFFSET {_numbers(actor.offsets[joint] * scale)}',
        f'{inner}CHANNELS {len(channels)} {" ".join(channels)}',
    ]
    children = [child for child, parent in enumerate(actor.parents) if parent == joint]
    for child in children:
        _add_joint(actor, child, scale, depth + 1, lines, order)
    if not children:
        end = f'{inner}\tOFFSET {_numbers(_tip(actor, joint) * scale)}'
        lines += [f'{inner}End Site', f'{inner}{{', end, f'{inner}}}']
    lines.append(f'{margin}}}')


def _tip(actor: Actor, joint: int) -> np.ndarray:
    """(3,) from a last joint on along its bone, to where the skin ends that mostly follows the joint."""
    bone = actor.offsets[joint].astype(np.float64)
    length = np.linalg.norm(bone)
    direction = bone / length if length > 0 else np.array([0.0, 1.0, 0.0])
    own = actor.influences(1)[0][:, 0] == joint
    reach = (actor.rest_vertices[own] - actor.rest_joints[joint]) @ direction
    return direction * (reach.max() if own.any() and reach.max() > 0 else length / 2)


def _numbers(values: np.ndarray) -> str:
    return ' '.join(f'{value:.6f}' for value in values)


def _zxy_degrees(quaternions: np.ndarray) -> np.ndarray:
    """(T, J, 3) angles about z, x, y without jumps by full turns, of quaternions (T, J, 4)."""
    angles = np.degrees(quaternion_to_euler(quaternions, 'zxy'))[..., [2, 0, 1]]
    return np.unwrap(angles, axis=0, period=360.0)


def _parse(tokens: list[str]) -> Bvh:
    if tokens[0].upper() != 'HIERARCHY':
        raise ValueError('it does not begin with HIERARCHY')
    words = iter(tokens[1:])
    names, parents, offsets, channels = [], [], [], []
    open_joints: list[int | None] = []
    upcoming: int | None = -1
    for word in words:
        kind = word.upper()
        if kind in ('ROOT', 'JOINT'):
            parents.append(next((joint for joint in reversed(open_joints) if joint is not None), -1))
            names.append(_next(words))
            upcoming = len(names) - 1
        elif kind == 'END':
            _next(words)
            upcoming = None
        elif kind == '{':
            open_joints.append(upcoming)
        elif kind == '}':
            open_joints.pop()
        elif kind == 'OFFSET':
            values = [float(_next(words)) for _ in range(3)]
            if open_joints[-1] is not None:
                offsets.append(values)
        elif kind == 'CHANNELS':
            channels.append([_next(words).capitalize() for _ in range(int(_next(words)))])
        elif kind == 'MOTION':
            break
        else:
            raise ValueError(f'"{word}" in the hierarchy')
    if open_joints or not len(names) == len(offsets) == len(channels) or parents.count(-1) != 1:
        raise ValueError('the hierarchy is not one closed tree of joints with offsets and channels')
    return _read_motion(list(words), tuple(names), tuple(parents), np.array(offsets), channels)


def _read_motion(
    words: list[str],
    names: tuple[str, ...],
    parents: tuple[int, ...],
    offsets: np.ndarray,
    channels: list[list[str]],
) -> Bvh:
    if [word.upper() for word in (words[0], *words[2:4])] != ['FRAMES:', 'FRAME', 'TIME:']:
        raise ValueError('MOTION is not followed by Frames: and Frame Time:')
    frames, columns = int(words[1]), sum(map(len, channels))
    numbers = np.array(words[5:], np.float64)
    if len(numbers) != frames * columns:
        raise ValueError(f'{len(numbers)} numbers for {frames} frames of {columns} channels')
    table = numbers.reshape(frames, columns)
    positions = np.repeat(offsets[None], frames, axis=0)
    rotations = np.tile(np.eye(3), (frames, len(names), 1, 1))
    column = 0
    for joint, listed in enumerate(channels):
        for channel in listed:
            values = table[:, column]
            column += 1
            if channel in _POSITIONS:
                positions[:, joint, 'XYZ'.index(channel[0])] = values
            elif channel in _ROTATIONS:
                angles = np.zeros((frames, 3))
                angles[:, 'XYZ'.index(channel[0])] = np.radians(values)
                rotations[:, joint] = rotations[:, joint] @ euler_to_matrix(angles)
            else:
                raise ValueError(f'channel {channel}')
    return Bvh(names, parents, offsets, positions, rotations, float(words[4]))


def _next(words: Iterator[str]) -> str:
    word = next(words, None)
    if word is None:
        raise ValueError('it ends in the middle of the hierarchy')
    return word
