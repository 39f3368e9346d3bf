"""Motions of people for animation files, gathered from results frame by frame.

People are told apart by ``track_id``. Where nobody has one (a video without tracking), the n-th person of
each frame counts as the same. Where some have one, people without are left out, unless it is a single frame.

Memory: about 2 kB for every person on every frame.
"""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from mmhier.body_models.skinning import forward_kinematics
from mmhier.body_models.smpl import SMPL
from mmhier.results.frame_result import BodyMesh, FrameResult
from mmhier.tracking.root_motion import ROOTS, root_motion
from mmhier.tracking.smoothing import smooth_rotations_both_ways
from mmhier.tracking.standing_feet import LEGS, has_legs, hold_feet, points_of_feet, steady_feet

if TYPE_CHECKING:
    from mmhier.scene_files import Motion

# Frames per second of images, and of videos that do not say.
DEFAULT_FPS = 30.0
# Frames by which times may stray from a constant rate: files round them, to milliseconds for example.
_JITTER = 0.1

_Key = tuple[bool, int]


class MotionRecorder:
    """Takes in the results of one clip and makes motions of them.

    Args:
        root: 'metric', 'image' or 'fixed', see :func:`mmhier.tracking.root_motion.root_motion`.
        feet: Find out when feet stand, and hold them then; with 'metric' only.

    Attributes:
        left_out (Counter[str]): Bodies that are in no motion, by reason.

    Raises:
        ValueError: If there is no such choice.
    """

    def __init__(self, root: str = 'metric', feet: bool = True):
        if root not in ROOTS:
            raise ValueError(f'root={root!r}: expected one of {", ".join(ROOTS)}')
        self.root = root
        self.feet = feet
        self.left_out: Counter[str] = Counter()
        self._fps: float | None = None
        self._body: SMPL | None = None
        self._seen: dict[_Key, list[tuple[int, BodyMesh]]] = {}
        self._frames = 0
        self._times: dict[int, float | None] = {}

    def add(self, result: FrameResult) -> None:
        """Take in a frame; people whose parameters are not finite are left out."""
        self._fps = self._fps or result.fps
        self._frames += 1
        self._times[result.frame_index] = result.time_s
        for position, person in enumerate(result.people):
            mesh = person.mesh
            if mesh is None:
                continue
            if not _is_finite(mesh):
                self.left_out['bodies that are not finite'] += 1
                continue
            self._body = self._body or mesh.layer()
            tracked = person.track_id is not None
            key = (tracked, person.track_id if tracked else position)
            self._seen.setdefault(key, []).append((result.frame_index, mesh))

    def motions(self, body: SMPL | None = None) -> list['Motion']:
        """Motions of everybody, empty if there is nobody.

        Args:
            body: Body model of the motions; by default that of the results.
        """
        from mmhier.scene_files import Motion

        fps, times = _rate(self._times, self._fps)
        tracked = any(is_track for is_track, _ in self._seen)
        motions = []
        for (is_track, number), frames in sorted(self._seen.items(), key=lambda item: item[0]):
            if is_track != tracked and self._frames > 1:
                self.left_out['bodies without a track number, in animations'] += len(frames)
                continue
            smoothed = [mesh.unsmoothed is not None for _, mesh in frames]
            meshes = [mesh.unsmoothed or mesh for _, mesh in frames]  # of a clip they are smoothed at once
            numbers = np.array([index for index, _ in frames], np.int64)
            seconds = numbers / fps if times is None else times[numbers]
            betas = np.mean([mesh.betas for mesh in meshes], axis=0)
            rotations = np.stack([mesh.rotations() for mesh in meshes])
            if any(smoothed):
                rotations = _smooth(rotations, seconds, body or self._body)
            transl, held = self._move(meshes, rotations, betas, seconds, body or self._body)
            motions.append(
                Motion(
                    fps=fps,
                    frame_numbers=numbers,
                    rotations=held,
                    transl=transl,
                    betas=betas,
                    name=f'{"person" if is_track == tracked else "unnumbered"}_{number}',
                    body_model=body or self._body,
                    times_s=times,
                )
            )
        return motions

    def _move(
        self,
        meshes: Sequence[BodyMesh],
        rotations: np.ndarray,
        betas: np.ndarray,
        times_s: np.ndarray,
        body: SMPL,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Translations (T, 3) of a body that keeps its shape, and its rotations with feet that stand.

        A frame whose shape is larger has it farther away: depths are those at which the mean shape is as
        large in the picture. A single frame stays as it is.
        """
        shapes = torch.as_tensor(np.stack([*(mesh.betas for mesh in meshes), betas])).to(body.template)
        rest = body.rest_joints(shapes).double().cpu().numpy()
        sizes = np.linalg.norm(rest - rest.mean(axis=1, keepdims=True), axis=(1, 2))
        places = rest[:-1, 0] + np.stack([mesh.transl for mesh in meshes])
        places = places * (sizes[-1] / sizes[:-1])[:, None]
        still = np.broadcast_to(rest[-1] - rest[-1, 0], (len(meshes), *rest.shape[1:]))
        turned, posed = forward_kinematics(rotations.astype(np.float64), still, np.asarray(body.parents))
        points = points_of_feet(posed, body.joint_names) if self.feet else None
        motion = root_motion(places, times_s, points, self.root)
        if motion.stands:
            rotations = steady_feet(rotations, turned, body.joint_names, motion.stands, times_s)
            turned, posed = forward_kinematics(rotations, still, np.asarray(body.parents))
        held, places = hold_feet(rotations, turned, posed, body.joint_names, *motion, times_s)
        return places - rest[-1, 0], held


def _smooth(rotations: np.ndarray, times_s: np.ndarray, body: SMPL) -> np.ndarray:
    """Smooth rotations (T, J, 3, 3) without a lag; those of the feet in space: flat feet stay flat."""
    shown = smooth_rotations_both_ways(rotations, times_s)
    if has_legs(body.joint_names):
        still, parents = np.zeros(rotations.shape[:3]), np.asarray(body.parents)
        before, after = (
            forward_kinematics(r.astype(np.float64), still, parents)[0] for r in (rotations, shown)
        )
        feet = [body.joint_names.index(leg[2]) for leg in LEGS]
        shins = after[:, parents[feet]]
        shown[:, feet] = shins.swapaxes(-1, -2) @ smooth_rotations_both_ways(before[:, feet], times_s)
    return shown


def _rate(times: dict[int, float | None], fps: float | None) -> tuple[float, np.ndarray | None]:
    """Frames per second, and where that varies seconds of the frames from 0 on and the mean rate.

    Args:
        times: Seconds by number of the frame; those between are interpolated.
        fps: As the file says, if it does.
    """
    if len(times) < 2 or None in times.values():
        return fps or DEFAULT_FPS, None
    numbers = np.array(sorted(times))
    seconds = np.array([times[number] for number in numbers.tolist()], np.float64)
    for row in range(1, len(seconds)):  # some files have times that stand still
        seconds[row] = max(seconds[row], seconds[row - 1] + 1e-3)
    mean = float((numbers[-1] - numbers[0]) / (seconds[-1] - seconds[0]))
    expected = (numbers - numbers[0]) / (fps or mean)
    if (np.abs(seconds - seconds[0] - expected) * mean <= _JITTER).all():
        return fps or mean, None
    every = np.arange(numbers[-1] + 1)
    before = seconds[0] + (every - numbers[0]) / mean  # of frames before the first result
    return mean, np.where(every < numbers[0], before, np.interp(every, numbers, seconds))


def _is_finite(mesh: BodyMesh) -> bool:
    return all(np.isfinite(array).all() for array in (*mesh.parameters().values(), mesh.transl))
