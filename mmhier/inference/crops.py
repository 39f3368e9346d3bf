"""Crops of people: what the validation pipeline of a config does, one warp per person and nothing else.

MMPose's pipeline makes a dictionary, a data sample and a tensor per person. Here a batch of crops is one
array of uint8; normalisation is one step on the batch, on the model's device, by the model's own
``data_preprocessor``. The pixels are the same (tests/inference/test_crops.py).

Letters: B people of a batch, K keypoints.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from mmpose.datasets.transforms import TopdownAffine
from mmpose.structures.bbox import bbox_xyxy2cs, get_udp_warp_matrix, get_warp_matrix
from torch import Tensor, nn

from mmhier.datasets.transforms.mesh_affine import crop_matrix
from mmhier.datasets.transforms.mesh_box import square_side
from mmhier.mesh_sample import SMPL_LAYOUT, SampleLayout

# Steps of a pipeline that nothing has to be done for: frames are loaded, and packed here.
_LOADING = ('LoadImage', 'LoadCheckedImage', 'PackPoseInputs')
# From a tight box to the crop of mesh models, as in the data they are trained on.
MESH_PADDING = 1.2
# HMR2.0's demo: from this shrinkage on, in halves, pictures are blurred; and how far the Gaussian reaches.
_SHRINKAGE, _DEVIATIONS = 1.1, 4.0


@dataclass(frozen=True)
class Crop:
    """A piece of an image.

    Attributes:
        pixels: (height, width, 3) BGR, of the model's input size; uint8, or float32 where it was blurred.
        center: (2,) of the box in the image, pixels.
        size: (2,) width and height of the box in the image, pixels; of a square both are the same.
    """

    pixels: np.ndarray
    center: np.ndarray
    size: np.ndarray


class PoseCropper:
    """Crops of a top-down pose model.

    Args:
        pipeline: Validation or test pipeline of its config.

    Attributes:
        input_wh (tuple[int, int]): Size of the crops.

    Raises:
        ValueError: If the pipeline does more than cut out the box.
    """

    def __init__(self, pipeline: list[dict]):
        steps = {step['type']: step for step in pipeline}
        unknown = [name for name in steps if name not in (*_LOADING, 'GetBBoxCenterScale', 'TopdownAffine')]
        if unknown or 'TopdownAffine' not in steps:
            raise ValueError(
                f'the val_pipeline of this config has steps that mmhier infer does not know '
                f"({', '.join(unknown) or 'and no TopdownAffine'}); use MMPose's MMPoseInferencer for it"
            )
        self.padding = float(steps.get('GetBBoxCenterScale', {}).get('padding', 1.25))
        self.input_wh = tuple(steps['TopdownAffine']['input_size'])
        use_udp = steps['TopdownAffine'].get('use_udp', False)
        self._warp_matrix = get_udp_warp_matrix if use_udp else get_warp_matrix

    def __call__(self, image: np.ndarray, box: np.ndarray) -> Crop:
        """Cut a box (4,), left, top, right, bottom, out of an image (H, W, 3)."""
        center, size = bbox_xyxy2cs(np.asarray(box, np.float32), self.padding)
        size = TopdownAffine._fix_aspect_ratio(size[None], self.input_wh[0] / self.input_wh[1])[0]
        matrix = self._warp_matrix(center, size, 0.0, self.input_wh)
        return Crop(cv2.warpAffine(image, matrix, self.input_wh, flags=cv2.INTER_LINEAR), center, size)

    def to_image(self, keypoints: np.ndarray, crop: Crop) -> np.ndarray:
        """Bring keypoints (K, 2) from pixels of the crop to the image, as MMPose does."""
        return (keypoints / self.input_wh * crop.size + crop.center - 0.5 * crop.size).astype(np.float32)


class MeshCropper:
    """Crops of a mesh model: squares around boxes, see :mod:`mmhier.mesh_sample`.

    Args:
        aspect_wh: Boxes are first enlarged to this shape.
        padding: And by this factor.
        blur: Blur what is shrunk a lot, as the demo of HMR2.0 does (ViTDetDataset of 4D-Humans), and its
            evaluation does not: with f, the square's side over 512, above 1.1, by a Gaussian of the standard
            deviation (f - 1) / 2.
        layout: Of the model's samples.

    Attributes:
        input_wh (tuple[int, int]): Size of the crops.
    """

    def __init__(
        self,
        aspect_wh: tuple[float, float] | None = (192, 256),
        padding: float = MESH_PADDING,
        blur: bool = False,
        layout: SampleLayout = SMPL_LAYOUT,
    ):
        self.layout, self.input_wh = layout, layout.input_size_wh
        self.aspect_wh = aspect_wh
        self.padding = padding
        self.blur = blur

    def __call__(self, image: np.ndarray, box: np.ndarray) -> Crop:
        """Cut the square around a box (4,) out of an image (H, W, 3)."""
        box = np.asarray(box, np.float32)
        center = (box[:2] + box[2:]) / 2
        side = square_side(self.padding * (box[2:] - box[:2]), self.aspect_wh)
        matrix = crop_matrix(center, side, crop_size=self.layout.crop_size)
        matrix[0, 2] -= self.layout.margin
        shrinkage = side / self.layout.crop_size / 2
        if self.blur and shrinkage > _SHRINKAGE:
            image, corner = _blurred(image, center, side, (shrinkage - 1) / 2)
            matrix[:, 2] += matrix[:, :2] @ corner
        pixels = cv2.warpAffine(image, matrix, self.input_wh, flags=cv2.INTER_LINEAR)
        pixels = pixels.astype(np.float32) if pixels.dtype == np.float64 else pixels
        return Crop(pixels, center, np.array([side, side], np.float32))


def _blurred(
    image: np.ndarray, center: np.ndarray, side: float, deviation: float
) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image that a square shows, blurred, float64, and the place (2,) of its first pixel."""
    radius = int(_DEVIATIONS * deviation + 0.5)
    height, width = image.shape[:2]
    reach = side / 2 + radius + 2
    left, top = np.clip(np.floor(center - reach), 0, (width - 1, height - 1)).astype(int)
    right, bottom = np.clip(np.ceil(center + reach), (left + 1, top + 1), (width, height)).astype(int)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 * (offsets / deviation) ** 2)
    kernel /= kernel.sum()
    # OpenCV warps float64 on a grid of 1/32 pixels, as it does uint8, and float32 in another way.
    part = image[top:bottom, left:right].astype(np.float64)
    part = cv2.sepFilter2D(part, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REPLICATE)
    return part, np.array([left, top])


def make_batch(crops: list[Crop], preprocessor: nn.Module, device: torch.device | str) -> Tensor:
    """Stack and normalise crops: (B, 3, height, width) float32 on the device, as the model takes them."""
    pixels = torch.from_numpy(np.stack([crop.pixels for crop in crops])).to(device)
    data = dict(inputs=pixels.permute(0, 3, 1, 2), data_samples=[])
    return preprocessor(data, False)['inputs']
