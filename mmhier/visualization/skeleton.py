"""Draw 2D skeletons on images and lay images out on a contact sheet (OpenCV only).

Images are (H, W, 3) uint8 BGR; keypoints are pixels, x to the right and y down. Limbs and points have a dark
rim, so that they stand out from any background.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from mmhier.visualization.style import Style, person_size

_SUBPIXEL_BITS = 4
_RIM, _CORE = (40, 40, 40), (255, 255, 255)
# Pixels: what lies farther away is not drawn. OpenCV counts fractions of pixels in 32 bits.
_FARTHEST = 1e6
_THICKEST = 32767  # OpenCV's limit


def draw_skeleton(
    canvas: np.ndarray,
    keypoints: np.ndarray,
    scores: np.ndarray,
    names: Sequence[str],
    links: Sequence[tuple[int, int]],
    style: Style | None = None,
    number: int = 0,
) -> np.ndarray:
    """Draw one person's skeleton on a picture.

    Args:
        canvas: (H, W, 3) uint8 BGR, which is changed.
        keypoints: (K, 2) pixels.
        scores: (K,); keypoints below the style's ``score_thr`` and their links are left out.
        names: K keypoint names; ``left_*`` and ``right_*`` choose the colour.
        links: Pairs of keypoint indices, counted from 0.
        style: How; by default as :class:`Style` says.
        number: Of the person, who has a colour by it if the style says so.

    Returns:
        The canvas.

    Raises:
        ValueError: If the arrays disagree on K.
    """
    if not len(keypoints) == len(scores) == len(names):
        raise ValueError(
            f'{len(keypoints)} keypoints, {len(scores)} scores and {len(names)} names do not match'
        )
    style = style or Style()
    drawn = drawn_keypoints(keypoints, scores, style)
    if not drawn.any():
        return canvas
    width = min(style.width(person_size(np.zeros(4), keypoints[drawn])), _THICKEST // 4)
    rim, colours = max(1, round(width / 4)), style.side_colours(number)
    fixed = np.zeros((len(names), 2), int)
    fixed[drawn] = np.round(np.asarray(keypoints, dtype=float)[drawn] * 2**_SUBPIXEL_BITS)
    options = dict(lineType=cv2.LINE_AA, shift=_SUBPIXEL_BITS)
    limbs = [(a, b) for a, b in links if drawn[a] and drawn[b]]
    for a, b in limbs if width > 1 else ():
        cv2.line(canvas, tuple(fixed[a]), tuple(fixed[b]), _RIM, width + 2 * rim, **options)
    for a, b in limbs:
        colour = colours[_link_side(names[a], names[b])]
        cv2.line(canvas, tuple(fixed[a]), tuple(fixed[b]), colour, width, **options)
    # Points are as large as their limbs are wide, plus a rim; in a small person they would hide the limbs.
    discs = [(width, None)] if width == 1 else [(width + rim, _RIM), (width, None), (0.5 * width, _CORE)]
    for index in np.flatnonzero(drawn):
        for radius, colour in discs:
            cv2.circle(
                canvas, tuple(fixed[index]), round(radius * 2**_SUBPIXEL_BITS),
                colours[_side(names[index])] if colour is None else colour, -1, **options,
            )  # fmt: skip
    return canvas


def drawn_keypoints(keypoints: np.ndarray, scores: np.ndarray, style: Style) -> np.ndarray:
    """Which keypoints (K, 2) are sure enough, and places that can be drawn: (K,) bool."""
    near = (np.abs(keypoints) < _FARTHEST).all(axis=1)  # not so if they are not numbers
    return (np.asarray(scores) >= style.score_thr) & near


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


def _link_side(name_a: str, name_b: str) -> str:
    side = _side(name_a)
    return side if side == _side(name_b) else 'middle'
