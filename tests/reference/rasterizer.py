"""A z-buffer as a textbook has it: every pixel against every triangle, in float64, slow.

Conventions are those of :mod:`mmhier.rasterizer`.
"""

import numpy as np


def rasterize(screen: np.ndarray, faces: np.ndarray, image_hw: tuple[int, int], near: float):
    """Inverse depth (H, W), 0 where nothing is, and distance to the nearest edge in pixels (H, W).

    The distance is that of a pixel's centre from the nearest edge of any triangle that faces the camera.
    """
    inverse_depth = np.zeros(image_hw)
    edge_distance = np.full(image_hw, np.inf)
    for a, b, c in np.asarray(screen, np.float64)[faces]:
        area = cross(b[:2] - a[:2], c[:2] - a[:2])
        if area >= 0 or min(a[2], b[2], c[2]) <= near:
            continue
        for row in range(image_hw[0]):
            for column in range(image_hw[1]):
                point = np.array([column + 0.5, row + 0.5])
                weights = [cross(q[:2] - p[:2], point - p[:2]) / area for p, q in ((b, c), (c, a), (a, b))]
                distance = min(to_segment(point, p[:2], q[:2]) for p, q in ((b, c), (c, a), (a, b)))
                edge_distance[row, column] = min(edge_distance[row, column], distance)
                if min(weights) >= 0:
                    # 1/z, not z, is linear on the screen.
                    inverse = sum(weight / corner[2] for weight, corner in zip(weights, (a, b, c)))
                    inverse_depth[row, column] = max(inverse_depth[row, column], inverse)
    return inverse_depth, edge_distance


def cross(first: np.ndarray, second: np.ndarray) -> float:
    return first[0] * second[1] - first[1] * second[0]


def to_segment(point: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
    along = end - start
    share = np.clip((point - start) @ along / (along @ along), 0, 1)
    return float(np.linalg.norm(point - start - share * along))
