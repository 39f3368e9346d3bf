"""Crops of people: what the validation pipeline of a config does, one warp per person and nothing else.

MMPose's pipeline makes a dictionary, a data sample and a tensor per person. Here a batch of crops is one
array of uint8; normalisation is one step on the batch, on the model's device, by the model's own
``data_preprocessor``. The pixels are the same (tests/apis/test_crops.py).

Letters: B people of a batch, K keypoints.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from mmpose.datasets.transforms import TopdownAffine
from mmpose.structures.bbox import bbox_xyxy2cs, get_udp_warp_matrix, get_warp_matrix
from torch import Tensor, nn

from mmhier.datasets.mesh_sample import INPUT_SIZE_WH
from mmhier.datasets.transforms.mesh_affine import MARGIN, crop_matrix
from mmhier.datasets.transforms.mesh_box import square_side

# Steps of a pipeline that nothing has to be done for: frames are loaded, and packed here.
_LOADING = ('LoadImage', 'LoadCheckedImage', 'PackPoseInputs')
# From a tight box to the crop of mesh models, as in the data they are trained on.
MESH_PADDING = 1.2


@dataclass(frozen=True)
class Crop:
    """A piece of an image.

    Attributes:
        pixels: (height, width, 3) uint8 BGR, of the model's input size.
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
    """Crops of a mesh model: squares around boxes, see :mod:`mmhier.datasets.mesh_sample`.

    Args:
        aspect_wh: Boxes are first enlarged to this shape.
        padding: And by this factor.

    Attributes:
        input_wh (tuple[int, int]): Size of the crops.
    """

    input_wh = INPUT_SIZE_WH

    def __init__(self, aspect_wh: tuple[float, float] | None = (192, 256), padding: float = MESH_PADDING):
        self.aspect_wh = aspect_wh
        self.padding = padding

    def __call__(self, image: np.ndarray, box: np.ndarray) -> Crop:
        """Cut the square around a box (4,) out of an image (H, W, 3)."""
        box = np.asarray(box, np.float32)
        center = (box[:2] + box[2:]) / 2
        side = square_side(self.padding * (box[2:] - box[:2]), self.aspect_wh)
        matrix = crop_matrix(center, side)
        matrix[0, 2] -= MARGIN
        pixels = cv2.warpAffine(image, matrix, self.input_wh, flags=cv2.INTER_LINEAR)
        return Crop(pixels, center, np.array([side, side], np.float32))


def make_batch(crops: list[Crop], preprocessor: nn.Module, device: torch.device | str) -> Tensor:
    """Stack and normalise crops: (B, 3, height, width) float32 on the device, as the model takes them."""
    pixels = torch.from_numpy(np.stack([crop.pixels for crop in crops])).to(device)
    data = dict(inputs=pixels.permute(0, 3, 1, 2), data_samples=[])
    return preprocessor(data, False)['inputs']
