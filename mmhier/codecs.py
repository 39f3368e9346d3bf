"""How heatmaps become keypoints, where MMPose 1.x differs from what the weights were published with.

ViTPose (arXiv 2204.12484) was trained and scored with MMPose 0.x. Both versions find the largest value of a
heatmap and refine it by a Newton step on the logarithm of the blurred heatmap (DARK, arXiv 1910.06278).
MMPose 1.x blurs as if there were zeros around the map and then scales each map to its old maximum; 0.x
mirrors the border (without repeating it) and does not scale. The two agree inside of the map and differ near
its border; ``docs/evaluation.md`` says by how much.

Letters: K keypoints, H, W of the heatmap.
"""

import cv2
import numpy as np
from mmpose.codecs import UDPHeatmap
from mmpose.codecs.utils import get_heatmap_maximum
from mmpose.registry import KEYPOINT_CODECS


@KEYPOINT_CODECS.register_module()
class ViTPoseUDPHeatmap(UDPHeatmap):
    """``UDPHeatmap`` that decodes as MMPose 0.x does; targets are the same.

    For original weights of ViTPose: ``--cfg-options codec.type=ViTPoseUDPHeatmap``.

    Args:
        *args: As of ``UDPHeatmap``.
        **kwargs: As of ``UDPHeatmap``.

    Raises:
        ValueError: If ``heatmap_type`` is not 'gaussian', or ``blur_kernel_size`` is not odd.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.heatmap_type != 'gaussian':
            raise ValueError(
                f"ViTPoseUDPHeatmap is for heatmap_type='gaussian', got {self.heatmap_type!r}: use UDPHeatmap"
            )
        if self.blur_kernel_size % 2 != 1:
            raise ValueError(f'blur_kernel_size must be odd, got {self.blur_kernel_size}')

    def decode(self, encoded: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find the keypoints of one person.

        Args:
            encoded: (K, H, W) heatmaps.

        Returns:
            Keypoints (1, K, 2) in pixels of the input, and scores (1, K), the largest values of the heatmaps.
            A map without a positive value gives the keypoint (-1, -1) of the heatmap and is not refined.
        """
        places, scores = get_heatmap_maximum(encoded)  # (K, 2), (K,)
        size = (self.blur_kernel_size, self.blur_kernel_size)
        blurred = np.stack([cv2.GaussianBlur(heatmap, size, 0) for heatmap in encoded])
        found = scores > 0
        places[found] -= _newton_steps(np.log(np.clip(blurred[found], 1e-3, 50)), places[found])
        width, height = self.heatmap_size
        return (places / [width - 1, height - 1] * self.input_size)[None], scores[None]


def _newton_steps(logarithm: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(K, 2) steps from the maxima of parabolas to whole cells (x, y), ``places`` (K, 2)."""
    padded = np.pad(logarithm, ((0, 0), (1, 1), (1, 1)), mode='edge')
    maps = np.arange(len(places))
    x, y = places.astype(int).T + 1

    def at(dx: int, dy: int) -> np.ndarray:
        return padded[maps, y + dy, x + dx]

    here = at(0, 0)
    gradient = 0.5 * np.stack([at(1, 0) - at(-1, 0), at(0, 1) - at(0, -1)], axis=1)
    mixed = 0.5 * (at(1, 1) - at(1, 0) - at(0, 1) + 2 * here - at(-1, 0) - at(0, -1) + at(-1, -1))
    hessian = np.stack(
        [at(1, 0) - 2 * here + at(-1, 0), mixed, mixed, at(0, 1) - 2 * here + at(0, -1)], axis=1
    ).reshape(-1, 2, 2)
    hessian += np.finfo(np.float32).eps * np.eye(2)
    return np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
