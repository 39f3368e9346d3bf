"""How people are drawn: what a user may choose, and the sizes and colours that follow from it.

Lines, points, boxes and labels follow the size of the person in the picture, so that somebody looks the same
in a thumbnail and in a photo of 4,000 pixels, near and far. Colours are BGR.
"""

import math
from dataclasses import dataclass

import numpy as np

from mmhier.palette import BODY_BLUE, PALETTE

STYLES = ('auto', 'skeleton', 'mesh', 'both')
COLOURS = ('auto', 'side', 'person')
BACKGROUNDS = ('image', 'dim', 'white', 'black')

# Lines of the same people.
_VIVID = np.array(
    [
        (255, 170, 60),  # blue
        (80, 110, 255),  # red
        (90, 220, 90),  # green
        (40, 190, 255),  # orange
        (255, 110, 200),  # violet
        (200, 220, 30),  # turquoise
        (170, 90, 255),  # pink
        (150, 160, 170),  # grey
    ],
    np.float32,
)
SIDES = {'left': (90, 200, 60), 'right': (40, 130, 250), 'middle': (235, 170, 60)}

_WHITE, _BLACK, _DIM = 255, 0, 0.35
# A line is this share of the size of a person wide, and never wider than so many pixels.
_LINE = 1 / 80
_WIDEST = 1000


@dataclass(frozen=True)
class Style:
    """What is drawn, and how.

    Attributes:
        score_thr: Keypoints below this score are left out.
        line_width: Width of lines in pixels; by default it follows the person's size.
        boxes: Draw the boxes. Track numbers are always written.
        style: 'skeleton', 'mesh' or 'both'; 'auto' draws meshes where there are any, else skeletons.
        colours: 'side': the left of a skeleton is green, its right orange, and all bodies are blue;
            'person': everybody has a colour, by track number where there is one, the first blue, and the left
            is lighter than the right; 'auto': 'side', but 'person' in views from the side, where nothing
            else tells people apart.
        background: 'image', a 'dim' image, 'white' or 'black'.

    Raises:
        ValueError: If a value is out of its range.
    """

    score_thr: float = 0.3
    line_width: float | None = None
    boxes: bool = False
    style: str = 'auto'
    colours: str = 'auto'
    background: str = 'image'

    def __post_init__(self):
        for name, known in (('style', STYLES), ('colours', COLOURS), ('background', BACKGROUNDS)):
            if getattr(self, name) not in known:
                raise ValueError(f'{name}={getattr(self, name)!r}: there are {", ".join(known)}')
        if not 0 <= self.score_thr <= 1:
            raise ValueError(f'score_thr={self.score_thr}: expected a score from 0 to 1')
        if self.line_width is not None and not 0 < self.line_width <= _WIDEST:
            raise ValueError(f'line_width={self.line_width}: expected pixels, above 0 and up to {_WIDEST}')

    def canvas(self, image: np.ndarray | None, image_hw: tuple[int, int]) -> np.ndarray:
        """What people are drawn on, new: (H, W, 3) uint8; white where there is no image."""
        if self.background == 'black':
            return np.full((*image_hw, 3), _BLACK, np.uint8)
        if image is None or self.background == 'white':
            return np.full((*image_hw, 3), _WHITE, np.uint8)
        return image.copy() if self.background == 'image' else (image * np.float32(_DIM)).astype(np.uint8)

    def width(self, size: float) -> int:
        """Width of the lines, in pixels, of a person of this size in pixels."""
        return max(1, round(min(size * _LINE, _WIDEST) if self.line_width is None else self.line_width))

    def body_colour(self, number: int) -> np.ndarray:
        """Of the body of somebody with this number."""
        own = PALETTE[number % len(PALETTE)]
        return own if self.colours == 'person' else np.array(BODY_BLUE, np.float32)

    def side_colours(self, number: int) -> dict[str, tuple[int, ...]]:
        """Of the left, right and middle of the skeleton of somebody with this number."""
        if self.colours != 'person':
            return SIDES
        own = person_colour(number)
        shades = dict(left=own + 0.5 * (255 - own), right=0.75 * own, middle=own)
        return {side: tuple(round(float(part)) for part in shade) for side, shade in shades.items()}


def person_colour(number: int) -> np.ndarray:
    """(3,) BGR of lines about the person with this number; the same in every frame."""
    return _VIVID[number % len(_VIVID)]


def person_size(bbox: np.ndarray, keypoints: np.ndarray) -> float:
    """How large a person is in the picture, pixels: the longer side of what is there of the keypoints.

    Args:
        bbox: (4,) left, top, right, bottom, taken where there are fewer than two keypoints.
        keypoints: (K, 2) those that are drawn.
    """
    points = np.asarray(keypoints, np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    extent = np.ptp(points, axis=0).max() if len(points) > 1 else 0.0
    box = max(float(bbox[2] - bbox[0]), float(bbox[3] - bbox[1]))
    size = float(extent) if extent > 0 else box
    return size if math.isfinite(size) else 0.0
