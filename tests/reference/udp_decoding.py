"""Decoding of heatmaps as ViTPose's MMPose 0.x does it, a keypoint at a time."""

import cv2
import numpy as np


def decode(heatmaps: np.ndarray, kernel: int, input_size: tuple[int, int]) -> np.ndarray:
    """(K, H, W) heatmaps -> (K, 2) keypoints in pixels of the input."""
    height, width = heatmaps.shape[1:]
    keypoints = []
    for heatmap in heatmaps:
        y, x = np.unravel_index(heatmap.argmax(), heatmap.shape)
        around = cv2.copyMakeBorder(heatmap, kernel, kernel, kernel, kernel, cv2.BORDER_REFLECT_101)
        blurred = cv2.GaussianBlur(around, (kernel, kernel), 0)[kernel:-kernel, kernel:-kernel]
        log = np.log(np.clip(blurred, 0.001, 50)).astype(np.float64)

        def at(dx, dy, log=log, x=x, y=y):
            return log[min(max(y + dy, 0), height - 1), min(max(x + dx, 0), width - 1)]

        first = 0.5 * np.array([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)])
        xx = at(1, 0) - 2 * at(0, 0) + at(-1, 0)
        yy = at(0, 1) - 2 * at(0, 0) + at(0, -1)
        xy = 0.5 * (at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) - at(0, -1) + at(-1, -1))
        second = np.array([[xx, xy], [xy, yy]]) + np.finfo(np.float32).eps * np.eye(2)
        cell = np.array([x, y]) - np.linalg.inv(second) @ first
        keypoints.append(cell / [width - 1, height - 1] * np.array(input_size))
    return np.array(keypoints)
