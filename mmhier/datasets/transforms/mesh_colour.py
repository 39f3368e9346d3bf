"""Colours of mesh crops."""

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmpose.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomChannelScale(BaseTransform):
    """Multiply each colour channel by its own random factor; the crop only, by a table of 256 values.

    Args:
        scale: Factors lie within 1 - scale and 1 + scale.
        rounded: Round to whole numbers, which makes batches a quarter as large; HMR2.0 does not round.
    """

    def __init__(self, scale: float = 0.2, rounded: bool = False):
        self.scale = scale
        self.rounded = rounded

    def transform(self, results: dict) -> dict:
        """Change ``img`` (H, W, 3) from uint8 to float32, 0 to 255, or rounded uint8."""
        rng = results.get('rng', np.random)
        factors = rng.uniform(1 - self.scale, 1 + self.scale, size=3)
        results['img'] = scale_channels(results['img'], factors, self.rounded)
        return results


def scale_channels(image: np.ndarray, factors: np.ndarray, rounded: bool = False) -> np.ndarray:
    """Multiply channels of an image (H, W, 3) uint8 by factors (3,), cut off at 255.

    Returns:
        (H, W, 3), float32, or uint8 if rounded.
    """
    table = (np.arange(256)[:, None] * factors).clip(0, 255)
    table = table.round().astype(np.uint8) if rounded else table.astype(np.float32)
    return cv2.LUT(image, table[None])
