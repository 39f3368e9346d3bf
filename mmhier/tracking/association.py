"""Who is who: the assignment that maximises similarity, and boxes of people of whom keypoints are known."""

import numpy as np
from scipy.optimize import linear_sum_assignment


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
