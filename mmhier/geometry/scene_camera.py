"""The camera of a whole picture: its focal length, and where bodies stand that networks saw in crops.

A network that sees the crop of a person predicts a pose as if a far camera looked straight at the person, and
a weak-perspective camera ``(s, tx, ty)``, see :mod:`mmhier.geometry.cameras`. HMR2.0 keeps this view for the
full image by a focal length of 5000 / 256 times its longer side, 2.9 degrees: who stands 4 m away comes to
stand 80 m away. Here the same body is placed before a camera of any focal length, in three steps:

1. The crop's pixels of the joints, what the network says about the image, are kept as they are:
   ``u = c + b p``, with the crop's centre c, its side b and the projection p in crop units.
2. The body is turned with the line of sight. The axis of the crop's camera meets c; in the picture's frame it
   is the direction ``d = ((c - image / 2) / f, 1)``. ``V = R_y(yaw) R_x(pitch)`` takes the axis to d and
   keeps what is vertical vertical. ``global_orient`` becomes ``V global_orient``, about the pelvis.
3. The translation t is that from which the turned joints X are seen nearest to u, in pixels, by least squares
   over the joints i, each equation weighted by ``w_i = 1 / (Z_i + z)``:

       f (X_i + t_x) = u_i (Z_i + t_z)        f (Y_i + t_y) = v_i (Z_i + t_z)

   with u, v counted from the image's centre. Without t_x and t_y, which are weighted means, this is one
   equation for the depth, ``z = [cov(u, f X - u Z) + cov(v, f Y - v Z)] / [var(u) + var(v)]``. It starts from
   the depth of the weak perspective, ``2 f / (b s)``.

Preserved are the pose as seen along the line of sight, and the place and size of the joints in the picture as
a whole. Not preserved is each joint's pixel: what is nearer is larger before a near camera, which the crop's
camera does not know. With f towards infinity all of it becomes the formula of HMR2.0.

Nothing here is a matrix product, so autocast does not lower the precision.

Convention:
    As in :mod:`mmhier.geometry.cameras`: x right, y down, z forward, metres; the axis meets the image's
    centre. Fields of view are those of the longer side, which turning a camera does not change. Focal lengths
    "in 35 mm" are those of a lens with the same view on film of 36 x 24 mm, compared by the diagonal, as
    EXIF has them.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mmhier.geometry.cameras import CROP_FOCAL_LENGTH, CROP_SIZE

# Of the longer side, where nothing is known: a 35 mm lens. Phones have 69 degrees, a normal lens has 40;
# the cameras of Human3.6M, 3DPW and EMDB have 47, 52 and 67.
DEFAULT_FOV = 55.0
LEAST_FOV, MOST_FOV = 1.0, 170.0
OFFICIAL = 'official'
FILM_DIAGONAL = math.hypot(36.0, 24.0)  # mm

# No joint comes nearer to the camera's plane, in metres: pictures that show a part of somebody may say so.
NEAREST = 0.1
_ROUNDS = 4


@dataclass(frozen=True)
class FocalChoice:
    """Where the focal length of a picture is taken from.

    Attributes:
        fov: Degrees that the longer side shows.
        focal: Pixels, or 'official': what HMR2.0 assumes.

    With neither, what the photo says about its lens is used, and :data:`DEFAULT_FOV` where it says nothing.

    Raises:
        ValueError: If both are given, or one is out of its range.
    """

    fov: float | None = None
    focal: float | str | None = None

    def __post_init__(self) -> None:
        if self.fov is not None and self.focal is not None:
            raise ValueError(f'fov={self.fov} and focal={self.focal!r} say the same twice; give one of them')
        if self.fov is not None and not LEAST_FOV <= self.fov <= MOST_FOV:
            raise ValueError(
                f'fov={self.fov}: expected {LEAST_FOV:g} to {MOST_FOV:g} degrees, what the longer side of '
                'the picture shows'
            )
        if self.focal in (None, OFFICIAL):
            return
        if isinstance(self.focal, str) or not (math.isfinite(self.focal) and self.focal > 0):
            raise ValueError(f'focal={self.focal!r}: expected pixels above 0, or {OFFICIAL!r}')

    @property
    def is_official(self) -> bool:
        """Whether bodies are to be placed as HMR2.0 does."""
        return self.focal == OFFICIAL

    def of(self, image_hw: tuple[int, int], lens_mm: float | None = None) -> tuple[float, str]:
        """Focal length of a picture in pixels, and where it comes from.

        Args:
            image_hw: Height and width, pixels.
            lens_mm: What the photo says about its lens: a focal length in 35 mm.

        Returns:
            Pixels, and 'official', 'given', 'exif' or 'assumed'.
        """
        if self.is_official:
            return CROP_FOCAL_LENGTH / CROP_SIZE * max(image_hw), 'official'
        if self.focal is not None:
            return float(self.focal), 'given'
        if self.fov is not None:
            return focal_from_fov(image_hw, self.fov), 'given'
        if lens_mm is not None:
            return focal_from_35mm(image_hw, lens_mm), 'exif'
        return focal_from_fov(image_hw, DEFAULT_FOV), 'assumed'


AUTOMATIC = FocalChoice()


class Placement(NamedTuple):
    """Bodies before the camera of the full image.

    Attributes:
        global_orient: (B, 1, 3, 3), body to camera.
        transl: (B, 3) metres.
        joints: (B, K, 3) metres, axes of the camera, origin of the body: add ``transl``.
    """

    global_orient: Tensor
    transl: Tensor
    joints: Tensor


def focal_from_fov(image_hw: tuple[int, int], degrees: float) -> float:
    """Focal length in pixels with which the longer side of an image shows so many degrees."""
    return max(image_hw) / (2 * math.tan(math.radians(degrees) / 2))


def focal_from_35mm(image_hw: tuple[int, int], lens_mm: float) -> float:
    """Focal length in pixels of an image that a lens took with this focal length in 35 mm."""
    return lens_mm * math.hypot(*image_hw) / FILM_DIAGONAL


def place_in_scene(
    joints: Tensor,
    pelvis: Tensor,
    global_orient: Tensor,
    camera: Tensor,
    keypoints: Tensor,
    box_center: Tensor,
    box_size: Tensor,
    image_size_wh: Tensor,
    focal_length: Tensor,
) -> Placement:
    """Place bodies that were seen in crops before the camera of the full image; see the top of this file.

    Args:
        joints (Tensor): (B, K, 3) of the bodies, metres, axes of the crop's camera, origin of the body.
        pelvis (Tensor): (B, 3) rest place of the joint about which ``global_orient`` turns.
        global_orient (Tensor): (B, 1, 3, 3), body to the crop's camera.
        camera (Tensor): (B, 3), ``(s, tx, ty)``.
        keypoints (Tensor): (B, K, 2) pixels of the image at which the crop shows the joints.
        box_center (Tensor): (B, 2) of the crop, pixels of the image.
        box_size (Tensor): (B) side of the crop, pixels of the image.
        image_size_wh (Tensor): (B, 2) pixels.
        focal_length (Tensor): (B) of the full image, pixels.

    Returns:
        Placement: In the type of ``joints``.
    """
    kind = joints.dtype
    joints, pelvis, camera, keypoints = (x.double() for x in (joints, pelvis, camera, keypoints))
    middle, focal = image_size_wh.double() / 2, focal_length.double()
    turn = line_of_sight((box_center.double() - middle) / focal[:, None])
    joints = _rotate(turn[:, None], joints - pelvis[:, None]) + pelvis[:, None]
    scale = box_size.double() * camera[:, 0]
    depth = 2 * focal / torch.where(scale.abs() < 1e-6, torch.full_like(scale, 1e-6), scale)
    seen = (keypoints - middle[:, None]) / focal[:, None, None]
    transl = fit_translation(joints, seen, depth)
    columns = _rotate(turn[:, None, None], global_orient.double().transpose(-1, -2))
    return Placement(columns.transpose(-1, -2).to(kind), transl.to(kind), joints.to(kind))


def line_of_sight(directions: Tensor) -> Tensor:
    """Rotations that take the camera's axis to directions and keep what is vertical vertical.

    Args:
        directions (Tensor): (..., 2), x / z and y / z.

    Returns:
        Tensor: (..., 3, 3), ``R_y(yaw) R_x(pitch)``, from the frame of a camera that looks along the
        direction to that of the camera.
    """
    x, y = directions.unbind(-1)
    level = torch.sqrt(1 + x * x)
    length = torch.sqrt(1 + x * x + y * y)
    sin_yaw, cos_yaw = x / level, 1 / level
    sin_pitch, cos_pitch = (
        -y / length,
        level / length,
    )  # a turn about x takes the axis up where it is positive
    zero = torch.zeros_like(x)
    rows = (
        torch.stack([cos_yaw, sin_yaw * sin_pitch, sin_yaw * cos_pitch], -1),
        torch.stack([zero, cos_pitch, -sin_pitch], -1),
        torch.stack([-sin_yaw, cos_yaw * sin_pitch, cos_yaw * cos_pitch], -1),
    )
    return torch.stack(rows, -2)


def fit_translation(points: Tensor, seen: Tensor, start_depth: Tensor) -> Tensor:
    """The translation from which points are seen nearest to where they were seen.

    Args:
        points (Tensor): (B, K, 3) metres, axes of the camera.
        seen (Tensor): (B, K, 2) pixels from the image's centre, over the focal length.
        start_depth (Tensor): (B) metres, for the weights; where the points do not determine the depth, such
            as a single one, the result.

    Returns:
        Tensor: (B, 3) metres. No point comes nearer to the camera's plane than ``NEAREST``.
    """
    across, along = points[..., :2], points[..., 2:]
    nearest = NEAREST - along.amin(1)[:, 0]
    depth = torch.maximum(start_depth, nearest)
    for _ in range(_ROUNDS):
        weights = 1 / (along + depth[:, None, None])
        weights = weights**2 / (weights**2).sum(1, keepdim=True)
        offsets = across - seen * along
        spread = seen - (weights * seen).sum(1, keepdim=True)
        variance = (weights * spread**2).sum((1, 2))
        covariance = (weights * spread * (offsets - (weights * offsets).sum(1, keepdim=True))).sum((1, 2))
        found = torch.where(variance > 1e-12, covariance / variance.clamp_min(1e-12), start_depth)
        depth = torch.maximum(found, nearest)
    place = (weights * (seen * (along + depth[:, None, None]) - across)).sum(1)
    return torch.cat([place, depth[:, None]], -1)


def _rotate(rotations: Tensor, vectors: Tensor) -> Tensor:
    """Vectors (..., 3) turned by matrices (..., 3, 3)."""
    return (rotations * vectors[..., None, :]).sum(-1)
