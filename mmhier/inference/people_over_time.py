"""Who is who from frame to frame, where people are while no detector looks, and poses smoothed over time.

The parts are those of :mod:`mmhier.tracking`. A new video, camera or folder begins anew, and so does a video
that is read once more.
"""

import math
from dataclasses import replace

import numpy as np

from mmhier.media.frames import Frame
from mmhier.results.frame_result import ROTATIONS, Person
from mmhier.tracking import Tracker, TrackSmoother, boxes_from_keypoints

# Frames per second where nobody says; of a camera, whose driver may say anything, within bounds.
_FPS, _LEAST_FPS, _MOST_FPS = 30.0, 1.0, 240.0
# Parts of a frame by which times stray in files that round them.
_JITTER = 0.1


class PeopleOverTime:
    """Follows the people of one sequence after the other.

    Boxes of a frame are asked for before its poses are known, and frames wait for their poses in a queue;
    :meth:`predict` may be called only when all frames before have been through :meth:`follow`.

    Args:
        smooth: Smooth poses.

    Attributes:
        number (int): Number of the latest frame of :meth:`begin` in its sequence.
    """

    def __init__(self, smooth: bool):
        self.number = -1
        self._smooth = smooth
        self._begun: Frame | None = None
        self._followed: Frame | None = None
        self._tracker = Tracker()

    def begin(self, frame: Frame) -> None:
        """Take note of the next frame, before anything is known about it."""
        self.number = self.number + 1 if _goes_on(self._begun, frame) else 0
        self._begun = replace(frame, image=None)

    def predict(self) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, 4) and ids (N,) of the people expected on a frame on which no detector looks."""
        return self._tracker.predict(_frames_between(self._followed, self._begun))

    def follow(self, frame: Frame, people: list[Person], ids: np.ndarray | None) -> None:
        """Set ``track_id`` of the people, and smooth their poses.

        Args:
            frame: Their frame.
            people: The people.
            ids: (N,) those of :meth:`predict`; None if they were detected.
        """
        if not _goes_on(self._followed, frame):
            self._tracker = Tracker()
            self._smoother = TrackSmoother()
            self._now = -math.inf
            self._followed = None
        passed = _frames_between(self._followed, frame)
        self._followed = replace(frame, image=None)
        keypoints = np.stack([person.keypoints for person in people]) if people else None
        scores = np.stack([person.keypoint_scores for person in people]) if people else None
        if ids is None:
            boxes = np.array([person.bbox for person in people], np.float32).reshape(-1, 4)
            confidence = np.array([person.bbox_score for person in people], np.float32)
            ids = self._tracker.update(boxes, confidence, keypoints, scores, passed)
        elif people:
            boxes, valid = boxes_from_keypoints(keypoints, scores)
            self._tracker.correct(ids, boxes, valid, keypoints, scores)
        self._now = max(self._now + 1e-3, self._now + 1 / _FPS if frame.time_s is None else frame.time_s)
        self._now = max(self._now, 0.0)
        for person, number in zip(people, ids):
            person.track_id = int(number) if number >= 0 else None
            if self._smooth and person.track_id is not None:
                self._smooth_person(person)

    def _smooth_person(self, person: Person) -> None:
        """Smooth keypoints; of bodies rotations, shape and place, from which the joints follow."""
        number, now = person.track_id, self._now
        size = float(max(person.bbox[3] - person.bbox[1], 1.0))
        smoother = self._smoother
        person.keypoints = smoother.values(number, 'keypoints', person.keypoints, now, size).astype(
            np.float32
        )
        if person.mesh is None:
            return
        mesh = person.mesh = replace(person.mesh, unsmoothed=person.mesh)
        for name, value in mesh.parameters().items():
            smooth = smoother.rotations if name in ROTATIONS else smoother.values
            setattr(mesh, name, smooth(number, name, value, now).astype(np.float32))
        mesh.transl = self._smooth_place(number, mesh.transl, now, size / mesh.focal_length)
        mesh.joints_3d = mesh.joints()

    def _smooth_place(self, number: int, transl: np.ndarray, now: float, size: float) -> np.ndarray:
        """Smooth the line of sight and the logarithm of the depth, which err independently; not metres.

        Args:
            number: Of the person.
            transl: (3,) metres; returned as it is where it is not before the camera.
            now: Seconds.
            size: Of the person, over the focal length.
        """
        depth = float(transl[2])
        if not (np.isfinite(transl).all() and depth > 0):
            return transl
        sight = self._smoother.values(number, 'sight', transl[:2] / depth, now, size)
        depth = math.exp(self._smoother.trend(number, 'depth', math.log(depth), now))
        return np.array([*(sight * depth), depth], np.float32)


def _goes_on(before: Frame | None, frame: Frame) -> bool:
    """Whether a frame is of the same sequence as the one before; each image file has the number 0."""
    if before is None or before.source.sequence != frame.source.sequence:
        return False
    return frame.source.kind == 'image' or before.index < frame.index


def _frames_between(before: Frame | None, frame: Frame) -> float:
    """How long after the one before a frame is shown, in frames of the mean rate; 1 where nobody knows."""
    if before is None or before.time_s is None or frame.time_s is None:
        return 1.0
    fps = frame.source.fps
    fps = fps if fps and _LEAST_FPS <= fps <= _MOST_FPS else _FPS
    passed = (frame.time_s - before.time_s) * fps
    whole = max(1, round(passed))
    return float(whole) if abs(passed - whole) <= _JITTER else max(passed, _JITTER)
