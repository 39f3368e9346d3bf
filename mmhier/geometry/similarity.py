"""How alike two people of two frames are: overlap of their boxes, distance of their keypoints."""

import numpy as np

# Of COCO's 17 keypoints, in its order (the data set's own evaluation).
COCO_SIGMAS = np.array(
    [0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072]
    + [0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089]
)

# Of keypoints of other data sets: about COCO's mean.
DEFAULT_SIGMA = 0.07


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
