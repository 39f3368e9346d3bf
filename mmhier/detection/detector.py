"""What every source of person boxes has in common.

Convention:
    Boxes are x1 y1 x2 y2 in pixels of the image, float32; the image reaches from 0 to its width and height.
    Images are (H, W, 3) uint8 BGR, as OpenCV reads them.
"""

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Protocol

import numpy as np

from mmhier.geometry.boxes import check_boxes, check_scores

Detections = tuple[np.ndarray, np.ndarray]


class Detector(Protocol):
    """Finds people.

    Attributes:
        left_out (Counter[str]): What was found and not returned, by reason, for those that count it. Boxes
            that a network itself thinks little of are not counted.
    """

    def __call__(self, image: np.ndarray, source: str = '', frame_index: int = 0) -> Detections:
        """Return the people in an image.

        Args:
            image: (H, W, 3) uint8 BGR.
            source: Path of the image or video; needed by boxes from a file that names them.
            frame_index: Number of the frame, from 0.

        Returns:
            Boxes (N, 4) float32 and scores (N,) float32; N may be zero.
        """


class NotMentionedError(ValueError):
    """Boxes that somebody else has found say nothing of an image, not even that nobody is on it."""


class WholeImage:
    """The image is the box: for pictures that show one person."""

    def __call__(self, image: np.ndarray, source: str = '', frame_index: int = 0) -> Detections:
        """See :class:`Detector`."""
        height, width = image.shape[:2]
        return np.array([[0, 0, width, height]], np.float32), np.ones(1, np.float32)


class FunctionDetector:
    """A function of the user, whose result is checked.

    Args:
        function: Takes an image, or an image and the keywords ``source`` and ``frame_index``; returns boxes
            (N, 4), or boxes and scores (N,).
        score_threshold: Boxes with a lower score are dropped.
    """

    def __init__(self, function: Callable, score_threshold: float = 0.0):
        self.function = function
        self.score_threshold = score_threshold
        self.left_out: Counter[str] = Counter()
        self._takes_source = _takes_source(function)

    def __call__(self, image: np.ndarray, source: str = '', frame_index: int = 0) -> Detections:
        """See :class:`Detector`."""
        place = dict(source=source, frame_index=frame_index) if self._takes_source else {}
        result = self.function(image, **place)
        boxes, scores = result if isinstance(result, tuple) and len(result) == 2 else (result, None)
        name = f'boxes of {getattr(self.function, "__name__", type(self.function).__name__)}'
        boxes = check_boxes(boxes, name)
        scores = np.ones(len(boxes)) if scores is None else scores
        scores = check_scores(scores, len(boxes), f'scores of the {name}')
        count_low_scores(self.left_out, scores, self.score_threshold)
        return select(boxes, scores, self.score_threshold)


def select(boxes: np.ndarray, scores: np.ndarray, score_threshold: float) -> Detections:
    """Boxes and scores from the threshold on, float32."""
    chosen = scores >= score_threshold
    return boxes[chosen].astype(np.float32), scores[chosen].astype(np.float32)


def count_low_scores(left_out: Counter[str], scores: np.ndarray, score_threshold: float) -> None:
    """Count what :func:`select` leaves out of boxes that somebody has chosen."""
    if few := int((scores < score_threshold).sum()):
        left_out[f'boxes with a score below {score_threshold:g}'] += few


def count_others(left_out: Counter[str], scores: np.ndarray, score_threshold: float) -> None:
    """Count the detections (N,) of other things than people that are as sure."""
    if found := int((scores >= score_threshold).sum()):
        left_out['detections of other things than people'] += found


def clip_to_image(boxes: np.ndarray, scores: np.ndarray, image: np.ndarray) -> Detections:
    """Cut boxes off at the image's border and drop those that lie outside."""
    height, width = image.shape[:2]
    boxes = boxes.clip(0, np.array([width, height, width, height], boxes.dtype))
    inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return boxes[inside].astype(np.float32), scores[inside].astype(np.float32)


def check_image(image: np.ndarray) -> np.ndarray:
    """Return the image.

    Raises:
        ValueError: If it is not (H, W, 3) uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f'a detector needs an image (H, W, 3) of uint8, BGR, got {image.shape} of {image.dtype}'
        )
    return image


def _takes_source(function: Callable) -> bool:
    try:
        return 'source' in inspect.signature(function).parameters
    except (TypeError, ValueError):  # some compiled functions have no signature
        return False
