"""Boxes of people as everybody hands them on: x1 y1 x2 y2 in pixels, one score each."""

import numpy as np

# Area of a person as a fraction of their box, where a data set has no areas (CrowdPose, AIC).
AREA_OF_BOX = 0.53


def check_boxes(boxes: np.ndarray, name: str = 'boxes') -> np.ndarray:
    """Return boxes as (N, 4) float64.

    Args:
        boxes: (N, 4) x1 y1 x2 y2; anything empty has no box.
        name: What to call them in an error.

    Raises:
        ValueError: If the shape is another, a number is not finite, or a box has no area.
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    if boxes.size == 0:
        return boxes.reshape(0, 4)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ValueError(f'{name} must be (N, 4), x1 y1 x2 y2 in pixels, got the shape {boxes.shape}')
    bad = ~np.isfinite(boxes).all(axis=1) | ~(boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f'{name}[{row}] = {boxes[row].tolist()} is not a box: expected finite x1 y1 x2 y2 with x1 < x2 '
            'and y1 < y2'
        )
    return boxes


def check_scores(scores: np.ndarray, count: int, name: str = 'scores') -> np.ndarray:
    """Return scores as (count,) float64.

    Raises:
        ValueError: If there is another number of them, or one is not finite.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if scores.size == 0:
        scores = scores.reshape(0)
    if scores.shape != (count,):
        raise ValueError(f'{name} must be ({count},), one per box, got the shape {scores.shape}')
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores))[0])
        raise ValueError(f'{name}[{row}] = {scores[row]} is not a finite number')
    return scores
