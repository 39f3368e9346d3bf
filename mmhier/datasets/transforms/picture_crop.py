"""Random parts of whole pictures, for pre-training."""

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmpose.registry import TRANSFORMS

TRIES = 10


@TRANSFORMS.register_module()
class RandomResizedPicture(BaseTransform):
    """Cut out a random part and bring it to one size, as torchvision's ``RandomResizedCrop`` does.

    Args:
        input_size: Width and height of the result.
        area: Least and largest share of the picture.
        aspect: Least and largest width / height of the part, drawn on a logarithmic scale.

    Raises:
        ValueError: If a range is none.
    """

    def __init__(
        self,
        input_size: tuple[int, int],
        area: tuple[float, float] = (0.2, 1.0),
        aspect: tuple[float, float] = (3 / 4, 4 / 3),
    ):
        if len(input_size) != 2 or min(input_size) < 1:
            raise ValueError(f'input_size must be (width, height) in pixels, got {input_size!r}')
        for name, (low, high) in (('area', area), ('aspect', aspect)):
            if not 0 < low <= high or (name == 'area' and high > 1):
                raise ValueError(f'{name} must be two numbers above 0, ascending, got {(low, high)}')
        self.size_wh, self.area, self.aspect = tuple(input_size), tuple(area), tuple(aspect)

    def transform(self, results: dict) -> dict:
        """Replace ``img`` (H, W, 3) by a part of it (height, width, 3), bicubic."""
        rng = results.get('rng', np.random)
        left, top, width, height = self.draw(results['img'].shape[:2], rng)
        part = results['img'][top : top + height, left : left + width]
        results['img'] = cv2.resize(part, self.size_wh, interpolation=cv2.INTER_CUBIC)
        results['img_shape'] = results['img'].shape[:2]
        results['input_size'] = self.size_wh
        return results

    def draw(self, img_hw: Sequence[int], rng: Any) -> tuple[int, int, int, int]:
        """Left, top, width and height of a part; after ten that did not fit, the largest in the middle."""
        rows, columns = img_hw
        for _ in range(TRIES):
            share = rows * columns * rng.uniform(*self.area)
            aspect = math.exp(rng.uniform(*map(math.log, self.aspect)))
            width, height = round(math.sqrt(share * aspect)), round(math.sqrt(share / aspect))
            if 0 < width <= columns and 0 < height <= rows:
                left, top = (int(rng.uniform(0, free + 1)) for free in (columns - width, rows - height))
                return left, top, width, height
        aspect = min(max(columns / rows, self.aspect[0]), self.aspect[1])
        width = max(1, min(columns, round(rows * aspect)))
        height = max(1, min(rows, round(width / aspect)))
        return (columns - width) // 2, (rows - height) // 2, width, height
