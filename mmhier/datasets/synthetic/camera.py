"""Pinhole cameras that look at people on a floor.

Convention:
    World frame: y up, floor at y = 0, metres, right-handed. Camera frame as in OpenCV: x right, y down,
    z forward. A level camera looks along the world's +z, so the world's x points to the image's left.
    Pixel coordinates have (0, 0) at the centre of the top left pixel, as COCO tools and MMPose use them;
    ``K`` is stated for these coordinates.
"""

from typing import NamedTuple

import numpy as np

from mmhier.geometry.array_rotations import euler_to_matrix

SUPERSAMPLING = 2
HIP_HEIGHT = 0.9
MIN_HEIGHT = 0.25


class Camera(NamedTuple):
    """World-to-camera rotation (3, 3), world position (3,), intrinsics K (3, 3), image (height, width)."""

    rotation: np.ndarray
    position: np.ndarray
    intrinsics: np.ndarray
    image_hw: tuple[int, int]

    def to_camera(self, points: np.ndarray) -> np.ndarray:
        """World points (..., 3) in the camera frame."""
        return (points - self.position) @ self.rotation.T

    def rays(self) -> np.ndarray:
        """(H, W, 3) unit world directions of the pixel centres."""
        height, width = self.image_hw
        k, rotation = self.intrinsics, self.rotation.astype(np.float32)
        x = ((np.arange(width) - k[0, 2]) / k[0, 0]).astype(np.float32)[None, :, None]
        y = ((np.arange(height) - k[1, 2]) / k[1, 1]).astype(np.float32)[:, None, None]
        return (x * rotation[0] + y * rotation[1] + rotation[2]) / np.sqrt(x * x + y * y + 1.0)

    def raised(self, amount: float) -> 'Camera':
        """The same camera ``amount`` metres higher, but never below ``MIN_HEIGHT``."""
        x, height, z = self.position
        return self._replace(position=np.array([x, max(height + amount, MIN_HEIGHT), z]))

    def fine_intrinsics(self) -> np.ndarray:
        """K of the supersampled buffer, whose coordinates have (0, 0) at the corner of the first pixel."""
        fine = self.intrinsics.copy()
        fine[:2, 2] += 0.5
        fine[:2] *= SUPERSAMPLING
        return fine


class Framing(NamedTuple):
    """How large people are, and where their hips are, in heights of the image.

    Attributes:
        close_chance: share of cameras that are so close that a part of the person is outside of the image.
        sizes: range of the height of a person, and ``close_sizes`` of one seen from close.
        rows: range of the row of the hips, and ``close_rows`` from close.
        keeps_head: the closer the camera the lower the hips, so that the head stays in the image.
    """

    close_chance: float
    sizes: tuple[float, float]
    close_sizes: tuple[float, float]
    rows: tuple[float, float]
    close_rows: tuple[float, float]
    keeps_head: bool = False


BODIES = Framing(0.15, (0.4, 0.95), (1.1, 1.9), (0.45, 0.6), (0.55, 1.05))
# The hand of a person as high as the image is a tenth as high.
WHOLE_BODIES = Framing(0.65, (0.85, 1.0), (1.15, 2.3), (0.49, 0.55), (0.04, 0.2), keeps_head=True)


def sample_camera(
    rng: np.random.Generator, image_hw: tuple[int, int], framing: Framing = BODIES
) -> tuple[Camera, float]:
    """A camera that sees a person of 1.7 m at a random size and place; also that person's distance."""
    height, width = image_hw
    focal = max(image_hw) * rng.uniform(0.9, 1.9)
    pitch = np.radians(rng.uniform(-8, 12) if rng.random() < 0.65 else rng.uniform(12, 42))
    roll = np.radians(rng.normal(0.0, 2.5))
    close = rng.random() < framing.close_chance
    size = height * rng.uniform(*(framing.close_sizes if close else framing.sizes))
    distance = max(focal * 1.7 / size, 1.2)
    level = np.array([[-1.0, 0, 0], [0, -1, 0], [0, 0, 1]])
    rotation = euler_to_matrix([pitch, 0.0, roll]) @ level
    intrinsics = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    row = height * rng.uniform(*(framing.close_rows if close else framing.rows))
    if close and framing.keeps_head:
        row += size * (1.7 - HIP_HEIGHT) / 1.7
    ray = rotation.T @ [0.0, (row - intrinsics[1, 2]) / focal, 1.0]
    # High enough that the hip of the main person appears in that row.
    camera_height = max(HIP_HEIGHT - distance * ray[1], MIN_HEIGHT)
    return Camera(rotation, np.array([0.0, camera_height, 0.0]), intrinsics, image_hw), distance
