"""Who is who: similarity of boxes and of keypoints, and the assignment that maximises it."""

import numpy as np
from scipy.optimize import linear_sum_assignment

# Of COCO's 17 keypoints, in its order (the data set's own evaluation).
COCO_SIGMAS = np.array(
    [0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072]
    + [0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089]
)

# Of keypoints of other data sets: about COCO's mean.
DEFAULT_SIGMA = 0.07


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


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of (M, 4) with (N, 4) boxes x1 y1 x2 y2, (M, N)."""
    top_left = np.maximum(first[:, None, :2], second[None, :, :2])
    bottom_right = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (bottom_right - top_left).clip(min=0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    return shared / (areas[0][:, None] + areas[1][None] - shared)


def object_keypoint_similarity(
    first: np.ndarray, second: np.ndarray, areas: np.ndarray, sigmas: np.ndarray
) -> np.ndarray:
    """COCO's object keypoint similarity between people of two frames.

    Args:
        first: (..., K, 2) pixels; NaN where a keypoint is not seen.
        second: (..., K, 2) pixels, likewise; the leading shapes are broadcast.
        areas: (...) square pixels, of the boxes of ``first``.
        sigmas: (K,), spread of each keypoint relative to the root of the area.

    Returns:
        (...), the mean over the keypoints that both people show; NaN if there are none.
    """
    squares = ((first - second) ** 2).sum(axis=-1)
    exponents = squares / (2 * (2 * sigmas) ** 2 * areas[..., None])
    seen = np.isfinite(exponents)
    count = seen.sum(axis=-1)
    total = np.exp(-np.where(seen, exponents, np.inf)).sum(axis=-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def default_sigmas(keypoint_count: int) -> np.ndarray:
    """COCO's sigmas for 17 keypoints, otherwise the same for all, (K,)."""
    if keypoint_count == len(COCO_SIGMAS):
        return COCO_SIGMAS
    return np.full(keypoint_count, DEFAULT_SIGMA)


def match(similarity: np.ndarray, minimum: float) -> tuple[np.ndarray, np.ndarray]:
    """The pairs with the largest sum of ``similarity - minimum``; no pair lies below the minimum.

    A pair at the minimum counts as much as no pair: two poor pairs do not break up a good one.

    Args:
        similarity: (M, N); NaN and -inf are never paired.
        minimum: Lowest similarity of a pair.

    Returns:
        Rows (P,) and columns (P,), in ascending order of rows.
    """
    gain = np.nan_to_num(similarity - minimum, nan=-1.0, neginf=-1.0)
    rows, columns = linear_sum_assignment(gain.clip(min=0), maximize=True)
    paired = gain[rows, columns] > 0
    return rows[paired], columns[paired]


def boxes_from_keypoints(
    keypoints: np.ndarray,
    scores: np.ndarray,
    score_threshold: float = 0.3,
    min_keypoints: int = 4,
    margin: float = 0.08,
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes around the keypoints that are seen, for frames in which no detector runs.

    Args:
        keypoints: (N, K, 2) pixels.
        scores: (N, K).
        score_threshold: Keypoints below it, or not finite, are not seen.
        min_keypoints: People with fewer seen keypoints have no box.
        margin: Width added on each side, relative to the longer side of the keypoints' extent: heads and feet
            go beyond eyes and ankles. The default fits the boxes of synthetic people best (mean IoU 0.85).

    Returns:
        Boxes (N, 4) float32, x1 y1 x2 y2, NaN where there is none; and (N,) bool, where there is one.

    Raises:
        ValueError: If the shapes do not match.
    """
    keypoints, scores = check_keypoints(keypoints, scores, len(keypoints))
    seen = (scores >= score_threshold) & np.isfinite(keypoints).all(axis=2)
    low = np.where(seen[..., None], keypoints, np.inf).min(axis=1, initial=np.inf)
    high = np.where(seen[..., None], keypoints, -np.inf).max(axis=1, initial=-np.inf)
    extent = (high - low).max(axis=1)
    valid = (seen.sum(axis=1) >= min_keypoints) & (extent > 0)
    pad = np.where(valid, margin * extent, 0)[:, None]
    boxes = np.concatenate([low - pad, high + pad], axis=1)
    boxes[~valid] = np.nan
    return boxes.astype(np.float32), valid


def check_keypoints(
    keypoints: np.ndarray, scores: np.ndarray | None, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return keypoints as (count, K, 2) float64 and scores as (count, K); without scores all are 1.

    Raises:
        ValueError: If the shapes do not match.
    """
    keypoints = np.asarray(keypoints, dtype=np.float64)
    if keypoints.size == 0 and count == 0:
        keypoints = np.zeros((0, keypoints.shape[1] if keypoints.ndim == 3 else 0, 2))
    if keypoints.ndim != 3 or keypoints.shape[0] != count or keypoints.shape[2] != 2:
        raise ValueError(f'keypoints must be ({count}, K, 2) pixels, got the shape {keypoints.shape}')
    if scores is None:
        return keypoints, np.ones(keypoints.shape[:2])
    scores = np.asarray(scores, dtype=np.float64)
    if scores.size == 0 and count == 0:
        scores = np.zeros(keypoints.shape[:2])
    if scores.shape != keypoints.shape[:2]:
        raise ValueError(f'keypoint_scores must be {keypoints.shape[:2]}, got the shape {scores.shape}')
    return keypoints, scores
