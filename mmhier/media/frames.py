"""What a frame is, and how pixels of other kinds become 8-bit colour.

Convention:
    An image is (H, W, 3) uint8, BGR, as OpenCV and MMPose have it.

    | given                | becomes |
    |----------------------|---------|
    | grey, (H, W)/(H, W, 1) | the same value in all three channels |
    | alpha, (H, W, 4)     | its colours; what is transparent is not blended with anything |
    | 16 bits              | divided by 256, rounded down |
    | EXIF orientation     | applied: the image is upright, as MMPose and OpenCV load it |

    Files are decoded by OpenCV with the flag ``IMREAD_COLOR``, which does just that.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Source:
    """Where frames come from.

    Attributes:
        name: Path of the file, ``camera 0`` or ``array``.
        kind: 'image', 'video', 'camera' or 'array'.
        sequence: Frames of the same sequence follow each other in time: the video, the camera, or the folder
            of an image, or the file of pages. Tracks and smoothing do not reach beyond it.
        fps: Frames per second of a video or camera, if it is known.
    """

    name: str
    kind: str
    sequence: str
    fps: float | None = None


@dataclass(frozen=True)
class Frame:
    """One image of a source.

    Attributes:
        image: (H, W, 3) uint8 BGR.
        source: Where it comes from.
        index: Its number in the source, from 0; 0 for an image file, but for pages.
        time_s: Seconds from the start of a video or camera, or None.
        lens_mm: Focal length in 35 mm of a photo whose EXIF says it, see
            :func:`mmhier.geometry.scene_camera.focal_from_35mm`.
    """

    image: np.ndarray
    source: Source
    index: int
    time_s: float | None = None
    lens_mm: float | None = None


@dataclass(frozen=True)
class Skip:
    """Something that could not be read, or not be worked on as it should.

    Attributes:
        name: The file.
        reason: What is wrong with it, one line.
        count: How many frames, packets or boxes; 1 for a whole file.
        kept: Whether frames are among the results all the same.
    """

    name: str
    reason: str
    count: int = 1
    kept: bool = False

    def __str__(self) -> str:
        if not self.kept:
            return f'skipped {self.count} in {self.name}: {self.reason}'
        return f'{self.name}: {self.reason}' + (f' ({self.count} frames)' if self.count > 1 else '')


def to_bgr(array: np.ndarray) -> np.ndarray:
    """Convert pixels to 8-bit colour, see the top of this file.

    Args:
        array: (H, W), (H, W, 1), (H, W, 3) BGR or (H, W, 4) BGRA, uint8 or uint16.

    Returns:
        (H, W, 3) uint8 BGR, contiguous.

    Raises:
        ValueError: If it is no image.
    """
    array = np.asarray(array)
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or not array.size:
        raise ValueError(
            f'an array of shape {array.shape} is no image; expected (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)'
        )
    if array.dtype == np.uint16:
        array = (array >> 8).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ValueError(f'an image of {array.dtype} is not supported; convert it to uint8 (0 to 255), BGR')
    if channels == 1:
        array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(array[..., :3])
