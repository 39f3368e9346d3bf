"""The one name that MMPose's SimCC visualizer takes from ``torchvision.transforms``.

Unnecessary where torchvision is installed and matches torch (a torchvision from another build fails with
"operator torchvision::nms does not exist"), and once ``mmpose/visualization/simcc_vis.py`` builds its PIL
images itself.
"""

import numpy as np
import torch
from PIL import Image


class ToPILImage:
    """Turn a tensor ``(C, H, W)`` (floats in 0..1 or bytes) or an array ``(H, W, C)`` of bytes to an image.

    Args:
        mode (str, optional): Mode of the image, such as ``'RGB'`` or ``'L'``. Default: by the channels.
    """

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def __call__(self, picture: torch.Tensor | np.ndarray) -> Image.Image:
        """Convert one picture."""
        if isinstance(picture, torch.Tensor):
            if picture.ndim == 2:
                picture = picture[None]
            if picture.is_floating_point():
                picture = picture.mul(255).byte()
            picture = picture.detach().cpu().permute(1, 2, 0).numpy()
        if picture.ndim == 3 and picture.shape[2] == 1:
            picture = picture[..., 0]
        image = Image.fromarray(np.ascontiguousarray(picture))
        return image if self.mode is None else image.convert(self.mode)
