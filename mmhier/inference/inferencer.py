"""From pictures and videos to keypoints and bodies of the people on them.

    from mmhier.apis import Inferencer

    inferencer = Inferencer('swinpose_s_s3', weights='swinpose_s_s3.pth', detector='yolox.onnx')
    for result in inferencer('clip.mp4'):
        print(result.frame_index, [person.keypoints for person in result.people])

Results come one by one, in order. Files are decoded by a thread of their own while the network runs; crops of
people are put into batches across frames. At any time only a few frames are in memory, however long the
video: those that wait for the network, at most ``batch_size``, and those that wait behind the decoder.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmhier.deploy.engines import check_engine
from mmhier.detection import Detector, load_detector
from mmhier.detection.detector import NotMentionedError
from mmhier.detection.loading import check_detector
from mmhier.geometry.scene_camera import FocalChoice
from mmhier.inference.boxes import load_boxes
from mmhier.inference.crops import Crop
from mmhier.inference.estimators import MeshEstimator, Pose, PoseEstimator, load_estimator
from mmhier.inference.people_over_time import PeopleOverTime
from mmhier.media.frames import Frame, Skip
from mmhier.media.stream import FrameStream
from mmhier.results.frame_result import FrameResult, Person

logger = logging.getLogger('mmhier')

# What a run spends its time on, see ``InferenceRun.seconds``.
STAGES = ('frames', 'boxes', 'crops', 'network', 'poses')

# Pixels of the frames that wait for a batch to fill, at most.
_WAITING_BYTES = 2**29

# Pixels from which on a coordinate of a box is as good as infinite: OpenCV's whole numbers end there.
_FAR = 1e7


class Inferencer:
    """A model that is ready to be shown images.

    Args:
        model: Name of a model (``swinpose_s_s3``, ``swinhmr2_s_s3``) or config file; pose or mesh. An
            exported file as ``engine`` says it itself.
        weights: Checkpoint, its address, or the name of released weights (``mmhier models``). By default the
            one in ``pretrained/`` or ``work_dirs/``, else the released one of the model; ``'random'``: random
            weights, for tests and timing.
        device: 'auto' takes a GPU if there is one; 'cpu', 'cuda', 'cuda:1'.
        engine: What runs the network: 'eager', 'auto', 'compile', 'onnxruntime', 'openvino', or a file that
            ``mmhier export`` has made.
        detector: Finds people: a function of an image (H, W, 3) BGR that returns boxes (N, 4) and scores
            (N,), or what :func:`mmhier.detection.load_detector` takes. By default a released network, fetched
            when it is first needed; where it cannot be had, the whole image is one person.
        batch_size: People at a time.
        box_threshold: Boxes with a lower score are left out.
        detector_stride: The detector looks at every n-th frame of a video; in between, people are followed.
        track: Give people of a video numbers that stay.
        smooth: Smooth poses over time; implies ``track``.
        flip_test: Average with the mirrored crop (pose models): a little better, half as fast.
        box_padding: Factor on boxes before people are cut out. By default the model's own: 1.25 (pose), 1.2
            (mesh), and 1 for HMR2.0, whose demo takes the boxes of its detector as they are.
        fov: Degrees that the longer side of a picture shows (mesh models). By default what the photo's EXIF
            says about its lens, else 55.
        focal: Instead of ``fov``: the focal length in pixels, or 'official', what HMR2.0 assumes for
            evaluation (2.9 degrees: people stand tens of metres away).
        precision: In which it multiplies: 'fp32'; 'bf16', for CPUs with AVX512_BF16 or AMX and for GPUs,
            compared with fp32 on the first batch; 'auto', the faster of them, and bf16 only if keypoints
            or bodies of the first batch stay within :data:`mmhier.deploy.parity.BOUNDS`; 'int8' for a file
            that is. By default 'fp32', or what the file was exported for.

    Attributes:
        track: Whether people of a video are numbered, as ``smooth`` may be changed between calls.
        smooth: Whether poses are smoothed over time.

    Raises:
        FileNotFoundError: If there is no such model, or there are no weights.
        ValueError: If an argument is out of its range, or the weights are of another model.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        weights: str | Path | None = None,
        device: str = 'auto',
        engine: str | Path = 'eager',
        detector: str | Path | Callable | dict | None = None,
        batch_size: int = 8,
        box_threshold: float = 0.3,
        detector_stride: int = 1,
        track: bool = False,
        smooth: bool = False,
        flip_test: bool = False,
        box_padding: float | None = None,
        fov: float | None = None,
        focal: float | str | None = None,
        precision: str | None = None,
    ):
        for name, value in (('batch_size', batch_size), ('detector_stride', detector_stride)):
            if value < 1:
                raise ValueError(f'{name} must be at least 1, got {value}')
        if not 0 <= box_threshold <= 1:
            raise ValueError(f'box_threshold must be from 0 to 1, got {box_threshold}')
        check_engine(engine, precision)
        if detector is not None:
            check_detector(detector)
        self.estimator: PoseEstimator | MeshEstimator = load_estimator(
            model, weights, device, engine, flip_test, box_padding, FocalChoice(fov, focal), precision
        )
        self.detector: Detector | None = None
        if detector is not None:
            self.detector = load_detector(detector, box_threshold, str(self.estimator.device))
        self.batch_size = batch_size
        self.box_threshold = box_threshold
        self.detector_stride = detector_stride
        self.track = track or smooth or detector_stride > 1
        self.smooth = smooth

    def __call__(self, inputs: Any, boxes: Any = None) -> 'InferenceRun':
        """Start on inputs.

        Args:
            inputs: Path, folder, pattern, array, camera index, or a list or iterator of these, or a
                :class:`mmhier.media.FrameStream` of them.
            boxes: Boxes of the people, instead of the detector's; see :mod:`mmhier.inference.boxes`.

        Returns:
            An iterator over :class:`FrameResult`, in the order of the frames.

        Raises:
            FileNotFoundError: If an input does not exist. While iterating: if nothing could be read.
            NotMentionedError: If a file of boxes mentions none of the inputs; of an iterator that is known
                when it is through.
            ValueError: If boxes in a file are of an image of another size. Of files that do not say their
                size at once, while iterating.
        """
        stream = inputs if isinstance(inputs, FrameStream) else FrameStream(inputs)
        detector = self.detector_for(boxes)
        _check_mentioned(detector, stream.names)
        _check_sizes(detector, stream)
        return InferenceRun(self, stream, detector)

    def check_mesh(self, wanted: str) -> None:
        """Check that the model finds bodies.

        Args:
            wanted: What for, for the message.

        Raises:
            ValueError: If it finds keypoints only.
        """
        if isinstance(self.estimator, PoseEstimator):
            raise ValueError(f'{wanted} needs a mesh model, not {self.estimator.name}')

    def detector_for(self, boxes: Any = None) -> Detector:
        """Return what finds the people: the boxes that are given, else the detector, fetched if need be."""
        if boxes is not None:
            return load_boxes(boxes, self.box_threshold)
        if self.detector is None:
            self.detector = load_detector('auto', self.box_threshold, str(self.estimator.device))
        return self.detector


@dataclass
class _Waiting:
    """A frame whose people are not all known."""

    frame: Frame
    boxes: np.ndarray
    scores: np.ndarray
    ids: np.ndarray | None
    poses: list[Pose | None] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return None not in self.poses


class InferenceRun:
    """Results of one call of an :class:`Inferencer`, computed while one iterates; close it to stop early.

    Attributes:
        seconds (dict[str, float]): Time spent so far, by :data:`STAGES`: waiting for frames, finding boxes,
            cutting crops, in the network, and reading poses.
        frames (int): Frames handed out so far.
        people (int): People on them.
        focal_sources (Counter[str]): Bodies by where the focal length of their picture is from, see
            :class:`mmhier.geometry.scene_camera.FocalChoice`.
    """

    def __init__(self, inferencer: Inferencer, stream: FrameStream, detector: Detector):
        self.seconds = dict.fromkeys(STAGES, 0.0)
        self.frames = self.people = 0
        self.focal_sources: Counter[str] = Counter()
        self._not_mentioned = 0
        self._first_not_mentioned: NotMentionedError | None = None
        self._settings = inferencer
        self._estimator = inferencer.estimator
        self._stream = stream
        self._detector = detector
        self._left_out: Counter[str] = Counter()
        self._left_out_before = Counter(getattr(detector, 'left_out', ()))
        self._over_time = PeopleOverTime(inferencer.smooth) if inferencer.track else None
        self._queue: deque[_Waiting] = deque()
        self._crops: deque[tuple[_Waiting, int, Crop]] = deque()
        # No batch is filled where the next frame depends on the poses of this one or is shown at once.
        self._at_once = stream.live or inferencer.detector_stride > 1
        self._results = self._run()

    def __iter__(self) -> Iterator[FrameResult]:
        return self

    def __next__(self) -> FrameResult:
        return next(self._results)

    def __enter__(self) -> 'InferenceRun':
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Stop; frames that are not handed out by now are dropped."""
        self._results.close()
        self._stream.close()

    @property
    def skips(self) -> list[Skip]:
        """What could not be read so far."""
        return self._stream.skips

    @property
    def left_out(self) -> Counter[str]:
        """What was found and not used so far, by reason: files, boxes, detections of other things."""
        found = Counter(getattr(self._detector, 'left_out', ())) - self._left_out_before
        return Counter(self._stream.left_out) + found + self._left_out

    @property
    def seconds_decoding(self) -> float:
        """Time spent so far on reading and decoding, in a thread of its own."""
        return self._stream.seconds

    def total(self) -> int | None:
        """How many frames there will be, if the inputs tell."""
        return self._stream.total()

    def _run(self) -> Iterator[FrameResult]:
        size = self._settings.batch_size
        with self._stream:
            frames = iter(self._stream)
            while (frame := self._next_frame(frames)) is not None:
                self._take_in(frame)
                del frame
                full = len(self._queue) > size or self._waiting_bytes() > _WAITING_BYTES
                wait = 0 if self._at_once or full else size - 1
                while len(self._crops) > wait:
                    self._run_batch(min(size, len(self._crops)))
                yield from self._finished()
            while self._crops:
                self._run_batch(min(size, len(self._crops)))
                yield from self._finished()
        self._check_use()

    def _waiting_bytes(self) -> int:
        return sum(waiting.frame.image.nbytes for waiting in self._queue)

    def _check_use(self) -> None:
        """Say it if nothing of a file of boxes was used; refuse one that mentions none of the images."""
        boxes, known_before = self._detector, self._stream.names is not None
        if self._not_mentioned == self.frames and self._first_not_mentioned is not None and not known_before:
            raise self._first_not_mentioned
        if self.frames and getattr(boxes, 'used', None) == 0:
            logger.warning(
                'none of the %d boxes in %s was used: it is of %s', boxes.count, boxes.path, boxes.describe()
            )

    def _next_frame(self, frames: Iterator[Frame]) -> Frame | None:
        with self._timed('frames'):
            return next(frames, None)

    def _take_in(self, frame: Frame) -> None:
        """Find the people of a frame and cut them out."""
        height, width = frame.image.shape[:2]
        with self._timed('boxes'):
            boxes, scores, ids = self._find_people(frame)
            good = (np.abs(boxes) < _FAR).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
            if not good.all():
                self._stream.note(
                    frame.source.name, 'boxes have no area or are not finite', int((~good).sum())
                )
                boxes, scores, ids = boxes[good], scores[good], None if ids is None else ids[good]
            inside = (boxes[:, 2:] > 0).all(axis=1) & (boxes[:, :2] < (width, height)).all(axis=1)
            if not inside.all():
                if ids is None:  # not of people who are expected to have walked out
                    self._left_out['boxes outside the image'] += int((~inside).sum())
                boxes, scores, ids = boxes[inside], scores[inside], None if ids is None else ids[inside]
        waiting = _Waiting(frame, boxes, scores, ids, [None] * len(boxes))
        self._queue.append(waiting)
        with self._timed('crops'):
            for number, box in enumerate(boxes):
                self._crops.append((waiting, number, self._estimator.crop(frame.image, box)))

    def _find_people(self, frame: Frame) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Boxes (N, 4), scores (N,) and, of people who are followed without looking, ids (N,)."""
        if self._over_time is not None:
            self._over_time.begin(frame)
            if self._over_time.number % self._settings.detector_stride:
                boxes, ids = self._over_time.predict()
                return boxes, np.ones(len(boxes), np.float32), ids
        try:
            return *self._detector(frame.image, frame.source.name, frame.index), None
        except NotMentionedError as error:
            self._not_mentioned += 1
            self._first_not_mentioned = self._first_not_mentioned or error
            reason = 'nobody is looked for, as the file of boxes does not mention it'
            self._stream.note(frame.source.name, reason, 1, kept=True)
            return np.empty((0, 4), np.float32), np.empty(0, np.float32), None

    def _run_batch(self, count: int) -> None:
        batch = [self._crops.popleft() for _ in range(count)]
        crops = [crop for _, _, crop in batch]
        with self._timed('network'):
            outputs = self._estimator.network(crops)
            if self._estimator.device.type == 'cuda':
                torch.cuda.synchronize(self._estimator.device)
        with self._timed('poses'):
            frames = [waiting.frame for waiting, _, _ in batch]
            image_hws, lenses = [f.image.shape[:2] for f in frames], [f.lens_mm for f in frames]
            poses = self._estimator.poses(outputs, crops, image_hws, lenses)
            for (waiting, number, _), pose in zip(batch, poses):
                waiting.poses[number] = pose

    def _finished(self) -> Iterator[FrameResult]:
        """Results of the frames at the head of the queue that are complete."""
        while self._queue and self._queue[0].done:
            with self._timed('poses'):
                result = self._result(self._queue.popleft())
            self.frames += 1
            self.people += len(result.people)
            self.focal_sources.update(p.mesh.focal_source for p in result.people if p.mesh is not None)
            yield result
            del result

    def _result(self, waiting: _Waiting) -> FrameResult:
        frame = waiting.frame
        people = [
            Person(box, pose.keypoints, pose.scores, float(score), None, pose.mesh)
            for box, score, pose in zip(waiting.boxes, waiting.scores, waiting.poses)
        ]
        if self._over_time is not None:
            self._over_time.follow(frame, people, waiting.ids)
        return FrameResult(
            source=frame.source.name,
            frame_index=frame.index,
            image_hw=frame.image.shape[:2],
            people=people,
            keypoint_names=self._estimator.keypoint_names,
            skeleton=self._estimator.skeleton,
            model=self._estimator.name,
            time_s=frame.time_s,
            image=frame.image,
            kind=frame.source.kind,
            sequence=frame.source.sequence,
            fps=frame.source.fps,
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start


def _check_mentioned(detector: Detector, names: list[str] | None) -> None:
    """Refuse boxes that somebody else has found and that mention none of the inputs."""
    if not names or not hasattr(detector, 'check_mentioned'):
        return
    first: NotMentionedError | None = None
    for name in names:
        try:
            return detector.check_mentioned(name)
        except NotMentionedError as error:
            first = first or error
    raise first


def _check_sizes(detector: Detector, stream: FrameStream) -> None:
    """Refuse boxes that somebody else has found in images of another size, before anything is computed."""
    if not hasattr(detector, 'check_size'):
        return
    wrong: list[ValueError] = []
    for name, possible in stream.sizes():
        try:
            errors = [error for size_wh in possible if (error := _size_error(detector, name, size_wh))]
        except NotMentionedError:
            continue
        if len(errors) == len(possible):
            wrong.append(errors[0])
    if wrong:
        others = f'. Likewise {len(wrong) - 1} more of the inputs' if len(wrong) > 1 else ''
        raise ValueError(f'{wrong[0]}{others}')


def _size_error(detector: Detector, name: str, size_wh: tuple[int, int]) -> ValueError | None:
    try:
        detector.check_size(name, size_wh)
    except NotMentionedError:
        raise
    except ValueError as error:
        return error
    return None
