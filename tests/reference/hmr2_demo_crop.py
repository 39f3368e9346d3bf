"""How the demo of 4D-Humans (ViTDetDataset) cuts a detected box out of a picture: for parity.

The whole picture is blurred in float64, as ``skimage.filters.gaussian`` does by default (mode 'nearest',
truncate 4, channels apart, values kept), where the square is shrunk by more than 2.2; then it is warped.
"""

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

SIZE = 256
SHAPE_WH = (192, 256)


def demo_crop(image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Crop (256, 256, 3) of a picture (H, W, 3), not normalised, and centre (2,) and side of the square."""
    box = np.asarray(box, np.float32)
    center = (box[2:4] + box[0:2]) / 2.0
    scale = (box[2:4] - box[0:2]) / 200.0
    side = expand_to_aspect_ratio(scale * 200, SHAPE_WH).max()
    factor = side * 1.0 / SIZE
    factor = factor / 2.0
    if factor > 1.1:
        sigma = (factor - 1) / 2
        image = gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode='nearest', truncate=4.0)
    half = side * 0.5
    source = np.float32([center, center + [0, half], center + [half, 0]])
    target = np.float32([[SIZE / 2, SIZE / 2], [SIZE / 2, SIZE], [SIZE, SIZE / 2]])
    matrix = cv2.getAffineTransform(source, target)
    crop = cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return crop.astype(np.float32), center, float(side)


def expand_to_aspect_ratio(size_wh: np.ndarray, shape_wh: tuple[int, int]) -> np.ndarray:
    """Enlarge one side until the shape is reached."""
    width, height = size_wh
    shape_w, shape_h = shape_wh
    if height / width < shape_h / shape_w:
        return np.array([width, max(width * shape_h / shape_w, height)])
    return np.array([max(height * shape_w / shape_h, width), height])
