"""Draw 2D skeletons on images and lay images out on a contact sheet (OpenCV only).

Images are (H, W, 3) uint8 BGR; keypoints are pixels, x to the right and y down. The person's left is green,
the right orange, the middle blue.
"""

from collections.abc import Sequence

import cv2
import numpy as np

_COLORS = {'left': (90, 200, 60), 'right': (40, 130, 250), 'middle': (235, 170, 60)}  # BGR
_SUBPIXEL_BITS = 4


def draw_skeleton(
    image: np.ndarray,
    keypoints: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    links: Sequence[tuple[int, int]],
    score_thr: float = 0.3,
) -> np.ndarray:
    """Return a copy of ``image`` with one person's skeleton on it.

    Args:
        image: (H, W, 3) uint8 BGR.
        keypoints: (K, 2) pixels.
        scores: (K,); keypoints below ``score_thr`` and their links are left out.
        names: K keypoint names; ``left_*`` and ``right_*`` choose the colour.
        links: Pairs of keypoint indices, counted from 0.
        score_thr: Lowest score that is drawn.

    Raises:
        ValueError: If the arrays disagree on K.
    """
    if not len(keypoints) == len(scores) == len(names):
        raise ValueError(
            f'{len(keypoints)} keypoints, {len(scores)} scores and {len(names)} names do not match'
        )
    canvas = image.copy()
    thickness = max(1, round(max(image.shape[:2]) / 160))
    fixed = np.round(np.asarray(keypoints, dtype=float) * 2**_SUBPIXEL_BITS).astype(int)
    drawn = (np.asarray(scores) >= score_thr) & np.isfinite(keypoints).all(axis=1)
    style = dict(lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    for a, b in links:
        if drawn[a] and drawn[b]:
            cv2.line(
                canvas, tuple(fixed[a]), tuple(fixed[b]), _link_color(names[a], names[b]), thickness, **style
            )
    for index in np.flatnonzero(drawn):
        center, radius = tuple(fixed[index]), thickness + 1
        cv2.circle(canvas, center, radius << _SUBPIXEL_BITS, (255, 255, 255), -1, **style)
        cv2.circle(canvas, center, radius << _SUBPIXEL_BITS, _COLORS[_side(names[index])], 1, **style)
    return canvas


def contact_sheet(
    images: Sequence[np.ndarray], columns: int, cell_hw: tuple[int, int], gap: int = 4
) -> np.ndarray:
    """Lay images out on a white grid, each scaled to fit its cell without distortion.

    Args:
        images: (H, W, 3) uint8 images of any size.
        columns: Cells per row.
        cell_hw: Height and width of a cell in pixels.
        gap: Pixels between cells.

    Returns:
        The sheet, uint8; the last row may have empty cells.

    Raises:
        ValueError: If there is no image.
    """
    if not images:
        raise ValueError('a contact sheet needs at least one image')
    height, width = cell_hw
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for index, image in enumerate(images):
        scale = min(height / image.shape[0], width / image.shape[1])
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=interpolation)[:height, :width]
        top = gap + (index // columns) * (height + gap) + (height - small.shape[0]) // 2
        left = gap + (index % columns) * (width + gap) + (width - small.shape[1]) // 2
        sheet[top : top + small.shape[0], left : left + small.shape[1]] = small
    return sheet


def _side(name: str) -> str:
    return name.split('_')[0] if name.startswith(('left_', 'right_')) else 'middle'


def _link_color(name_a: str, name_b: str) -> tuple[int, int, int]:
    side = _side(name_a)
    return _COLORS[side if side == _side(name_b) else 'middle']
