"""Cameras of mesh recovery: weak perspective of a crop, the full image, and projection.

A network that sees a square crop of a person predicts a weak-perspective camera ``(s, tx, ty)``. With an
agreed focal length it stands for a translation of the body, in the camera of the crop or in that of the full
image. The formulas and constants are those of HMR2.0 (4D-Humans), where they come from HMR and SPIN.

Nothing here is a matrix product, so autocast does not lower the precision.

Convention:
    Camera frame: x right, y down, z forward, in metres, right-handed; the body stands at positive z. Pixels:
    u right, v down, from the top left corner of the image. A point X is seen at ``focal * X_xy / X_z +
    centre``. Sizes and centres are (width, height) and (x, y) here.

    The crop's camera looks at the centre of the crop, with ``CROP_FOCAL_LENGTH`` pixels of a crop whose side
    has ``CROP_SIZE``. Projection with ``CROP_FOCAL_LENGTH / CROP_SIZE`` and centre 0 gives crop units: the
    crop reaches from -0.5 to 0.5. ``s`` is the size of a metre at the body's depth, in halves of the crop.
    ``tx, ty`` are metres.
"""

import torch
from torch import Tensor

CROP_FOCAL_LENGTH = 5000.0
CROP_SIZE = 256.0

# Keeps the depth of a camera of scale zero finite; part of the official formula.
EPS = 1e-9


def weak_perspective_to_translation(
    camera: Tensor, focal_length: float | Tensor = CROP_FOCAL_LENGTH, crop_size: float | Tensor = CROP_SIZE
) -> Tensor:
    """Translation of the body in the camera of the crop.

    Args:
        camera (Tensor): (..., 3), ``(s, tx, ty)``.
        focal_length (float | Tensor): Pixels of the crop; a number or (...).
        crop_size (float | Tensor): Side of the crop in the same pixels.

    Returns:
        Tensor: (..., 3) metres, ``(tx, ty, 2 f / (crop_size s))``.
    """
    scale, x, y = camera.unbind(-1)
    return torch.stack([x, y, 2 * focal_length / (crop_size * scale + EPS)], dim=-1)


def translation_to_weak_perspective(
    translation: Tensor,
    focal_length: float | Tensor = CROP_FOCAL_LENGTH,
    crop_size: float | Tensor = CROP_SIZE,
) -> Tensor:
    """Inverse of :func:`weak_perspective_to_translation`, for depths other than zero.

    Args:
        translation (Tensor): (..., 3) metres.
        focal_length (float | Tensor): Pixels of the crop.
        crop_size (float | Tensor): Side of the crop in the same pixels.

    Returns:
        Tensor: (..., 3), ``(s, tx, ty)``.
    """
    x, y, depth = translation.unbind(-1)
    return torch.stack([(2 * focal_length / depth - EPS) / crop_size, x, y], dim=-1)


def crop_to_full_translation(
    camera: Tensor,
    box_center: Tensor,
    box_size: Tensor,
    image_size_wh: Tensor,
    focal_length: float | Tensor,
) -> Tensor:
    """Translation of the body in the camera of the full image, whose axis meets the image's centre.

    Args:
        camera (Tensor): (..., 3), ``(s, tx, ty)`` predicted from the crop.
        box_center (Tensor): (..., 2) pixels of the image.
        box_size (Tensor): (...) side of the square crop in pixels of the image.
        image_size_wh (Tensor): (..., 2) pixels.
        focal_length (float | Tensor): Of the full image, in its pixels; a number or (...).

    Returns:
        Tensor: (..., 3) metres. Seen from there the body appears where it appears in the crop.
    """
    scale = box_size * camera[..., 0] + EPS
    shift = 2 * (box_center - image_size_wh / 2) / scale[..., None]
    return torch.cat([shift + camera[..., 1:], (2 * focal_length / scale)[..., None]], dim=-1)


def full_focal_length(image_size_wh: Tensor) -> Tensor:
    """Focal length that HMR2.0's demo assumes for a whole image, in its pixels.

    Args:
        image_size_wh (Tensor): (..., 2) pixels.

    Returns:
        Tensor: (...), the crop's field of view over the longer side.
    """
    return CROP_FOCAL_LENGTH / CROP_SIZE * image_size_wh.amax(-1)


def perspective_projection(
    points: Tensor,
    translation: Tensor | None = None,
    focal_length: float | Tensor = CROP_FOCAL_LENGTH / CROP_SIZE,
    center: Tensor | None = None,
) -> Tensor:
    """Project points; by default to crop units.

    Args:
        points (Tensor): (..., N, 3) metres.
        translation (Tensor | None): (..., 3) metres, added to the points; by default they are in the camera's
            frame.
        focal_length (float | Tensor): A number, (...), or (..., 2) for x and y.
        center (Tensor | None): (..., 2), where the axis meets the image; by default the origin.

    Returns:
        Tensor: (..., N, 2) in the unit of the focal length. Points behind the camera are mirrored, points in
        its plane are not finite.
    """
    if translation is not None:
        points = points + translation[..., None, :]
    if isinstance(focal_length, Tensor):
        per_axis = focal_length.ndim == points.ndim - 1 and focal_length.ndim > 0
        focal_length = focal_length[..., None, :] if per_axis else focal_length[..., None, None]
    projected = focal_length * points[..., :2] / points[..., 2:]
    return projected if center is None else projected + center[..., None, :]


def boxes_in_crop_units(boxes: Tensor, input_size_wh: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) in pixels of the middle of a square crop, in sides of the crop from its centre.

    Args:
        boxes: Left, top, right, bottom.
        input_size_wh: Size of the middle, which is as high as the crop.
    """
    width, height = input_size_wh
    return (boxes - boxes.new_tensor([width, height, width, height]) / 2) / height
