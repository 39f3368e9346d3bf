"""Boxes of people, and their numbers with a halo."""

from collections.abc import Sequence

import cv2
import numpy as np

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DIGIT = 21  # pixels that a digit of this font is high at scale 1
_BOX = (60, 200, 250)  # BGR
_BLACK = (0, 0, 0)
_FARTHEST = 1e6  # pixels: OpenCV counts fractions of them in 32 bits


def draw_box(canvas: np.ndarray, bbox: np.ndarray, width: int, colour: Sequence[float] | None = None) -> None:
    """Draw a box on (H, W, 3) uint8, with a dark rim unless its line is a single pixel.

    Args:
        canvas: The picture, which is changed.
        bbox: (4,) left, top, right, bottom, pixels.
        width: Of the line, pixels.
        colour: BGR; amber by default.
    """
    left, top, right, bottom = _whole(bbox)
    lines = [(width, _BOX if colour is None else _plain(colour))]
    if width > 1:
        lines.insert(0, (width + 2 * max(1, round(width / 4)), _BLACK))
    for line, shade in lines:
        cv2.rectangle(canvas, (left, top), (right, bottom), shade, line, cv2.LINE_AA)


def draw_number(
    canvas: np.ndarray, number: int, bbox: np.ndarray, size: float, colour: Sequence[float]
) -> None:
    """Write a number above the top left corner of a box, on (H, W, 3) uint8; it stays within the picture.

    Args:
        canvas: The picture, which is changed.
        number: To write.
        bbox: (4,) left, top, right, bottom, pixels.
        size: Of the person, pixels: the height of the digits is a tenth of it, at least 10 pixels and at most
            a fifteenth of the picture.
        colour: BGR.
    """
    height, width = canvas.shape[:2]
    digit = max(10.0, min(size / 10, height / 15))
    ink, halo = _ink(str(number), digit)
    high, wide = ink.shape
    left, top = _whole(bbox)[:2]
    left = min(max(left, 0), max(0, width - wide))
    top = min(max(top - high, 0), max(0, height - high))
    part = canvas[top : top + high, left : left + wide]
    for shade, cover in ((_BLACK, halo), (colour, ink)):
        cover = cover[: part.shape[0], : part.shape[1], None]
        part[:] = part * (1 - cover) + np.float32(shade) * cover + 0.5


def _ink(text: str, digit: float) -> tuple[np.ndarray, np.ndarray]:
    """How much text of this height, and a halo around it, cover each pixel: (h, w) float32, 0 to 1."""
    scale, line, rim = digit / _DIGIT, max(1, round(digit / 8)), max(2, round(digit / 7))
    (width, height), below = cv2.getTextSize(text, _FONT, scale, line)
    ink = np.zeros((height + below + 2 * rim, width + 2 * rim), np.uint8)
    cv2.putText(ink, text, (rim, rim + height), _FONT, scale, 255, line, cv2.LINE_AA)
    # Versions of OpenCV have other letters: what counts is where there is ink.
    rows, columns = (np.flatnonzero(ink.any(axis=axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    ink = cv2.copyMakeBorder(ink, rim, rim, rim, rim, cv2.BORDER_CONSTANT)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * rim + 1, 2 * rim + 1))
    return ink / np.float32(255), cv2.dilate(ink, disc) / np.float32(255)


def _whole(bbox: np.ndarray) -> list[int]:
    clipped = np.clip(np.nan_to_num(np.asarray(bbox, np.float64)), -_FARTHEST, _FARTHEST)
    return np.round(clipped).astype(int).tolist()


def _plain(colour: Sequence[float]) -> tuple[int, ...]:
    return tuple(round(float(part)) for part in colour)
