"""An image file that is whole: a damaged one is an error that names it, never grey pixels.

OpenCV decodes a truncated JPEG without complaint and fills the missing part with grey.
"""

import io

import cv2
import mmcv
import numpy as np
from mmengine.fileio import get
from PIL import Image, UnidentifiedImageError

from mmhier.heif_file import is_heif, read_heif
from mmhier.safe_files import MAX_PICTURE_BYTES, check_local

_JPEG_START, _JPEG_END = b'\xff\xd8', b'\xff\xd9'
_PNG_START, _PNG_END = b'\x89PNG', b'IEND\xaeB`\x82'
_TAIL = 64  # bytes at the end in which an intact file's end marker is expected


def read_image(
    path: str, color_type: str = 'color', decoder: str = 'cv2', backend_args: dict | None = None
) -> np.ndarray:
    """Read an image file that has to be whole.

    Args:
        path: A path or URL that MMEngine's file backends understand.
        color_type: As in ``mmcv.imfrombytes``.
        decoder: As ``backend`` in ``mmcv.imfrombytes``.
        backend_args: As in ``mmengine.fileio.get``.

    Returns:
        The image (H, W, 3), uint8, BGR for the default ``color_type``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty, truncated or not an image.
    """
    check_local(path, MAX_PICTURE_BYTES)
    try:
        content = get(path, backend_args=backend_args)
    except FileNotFoundError:
        raise FileNotFoundError(
            f'image {path} does not exist; check data_root and data_prefix in the config'
        ) from None
    except OSError as error:
        raise ValueError(f'image {path} cannot be read ({error})') from error
    if is_heif(content):
        return read_heif(content, path, color_type)
    problem = damage(content)
    try:
        image = None if problem else mmcv.imfrombytes(content, flag=color_type, backend=decoder)
    except cv2.error as error:  # among others, more pixels than OpenCV takes
        image, problem = None, f'cannot be decoded ({" ".join(str(error).split())})'
    if image is None:
        raise ValueError(
            f'image {path} ({len(content)} bytes) {problem or "cannot be decoded"}; download or copy it again'
        )
    return image


def damage(content: bytes) -> str | None:
    """Say what is wrong with an encoded image, or ``None``; free of cost for an intact JPEG or PNG."""
    tail = content[-_TAIL:]
    if content.startswith(_JPEG_START) and _JPEG_END in tail:
        return None
    if content.startswith(_PNG_START) and _PNG_END in tail:
        return None
    if not content:
        return 'is empty'
    try:  # other formats and files with a trailer: Pillow's decoder is strict
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except UnidentifiedImageError:
        return 'is damaged or not an image'
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f'is damaged or not an image ({error})'
    return None
