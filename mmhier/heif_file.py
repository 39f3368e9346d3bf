"""HEIF photos, as phones take them (.heic): read by pillow-heif (BSD), where it is installed.

The picture is upright, as its file says, like every other that mmhier reads.
"""

import io
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np

# Of a file's type (ISO 14496-12): HEVC or AVC still pictures and sequences. AVIF is Pillow's.
_BRANDS = frozenset((b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'mif1', b'msf1'))
_INSTALL = 'pip install pillow-heif'


def is_heif(head: bytes) -> bool:
    """Whether a file that begins with these 12 bytes or more is a HEIF photo."""
    return head[4:8] == b'ftyp' and head[8:12] in _BRANDS


def heif_size(content: bytes, path: str) -> tuple[int, int]:
    """Width and height, from the head of a file; errors as of :func:`read_heif`."""
    return _open(content, path).size


def read_heif(content: bytes, path: str, color_type: str = 'color') -> np.ndarray:
    """Decode a photo.

    Args:
        content: Of the file.
        path: Its name, for messages.
        color_type: 'grayscale' for one channel; all others give colours.

    Returns:
        (H, W, 3) uint8, BGR; (H, W) for 'grayscale'.

    Raises:
        ValueError: If pillow-heif is not installed, or the file is damaged.
    """
    photo = _open(content, path)
    try:
        rgb = np.asarray(photo.to_pillow().convert('RGB'))
    except (OSError, ValueError, RuntimeError, SyntaxError, EOFError) as error:
        raise ValueError(f'image {path} is damaged ({" ".join(str(error).split())})') from error
    code = cv2.COLOR_RGB2GRAY if color_type.startswith('grayscale') else cv2.COLOR_RGB2BGR
    return cv2.cvtColor(rgb, code)


def _open(content: bytes, path: str) -> Any:
    if find_spec('pillow_heif') is None:
        raise ValueError(f'image {path} is a HEIF photo (.heic), which needs: {_INSTALL}')
    import pillow_heif

    try:
        return pillow_heif.open_heif(io.BytesIO(content), convert_hdr_to_8bit=True)
    except (OSError, ValueError, RuntimeError, SyntaxError, EOFError) as error:
        raise ValueError(f'image {path} is damaged ({" ".join(str(error).split())})') from error
