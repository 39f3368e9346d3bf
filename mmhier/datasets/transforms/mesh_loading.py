"""Images of mesh samples: from a file or from the bytes of a tar's member, noticing damage.

Orientation tags are ignored, as HMR2.0 does: its annotations are of the pixels as stored. Where a JPEG has
one, that is said once for each data set and process, since own annotations may be of the picture as shown.

A person who is large in a large image is shrunk to the crop's size anyway. ``reduced=True`` lets the JPEG
decoder halve such an image once or more while decoding, which is faster and leaves fewer moire patterns, but
gives other pixels than HMR2.0. It needs the crop to be known, so it comes after :class:`RandomMeshBox`.
"""

import io
import logging
import struct

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.fileio import get
from mmengine.logging import print_log
from mmpose.registry import TRANSFORMS
from PIL import ExifTags, Image

from mmhier.media.image_file import damage
from mmhier.mesh_sample import layout_of
from mmhier.safe_files import MAX_PICTURE_BYTES, check_local

_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_JPEG = b'\xff\xd8'
_HEAD = 256  # bytes in which EXIF data begin, after JFIF's
_NO_SIZE = {0xC4, 0xC8, 0xCC}  # markers among the frame headers C0 to CF that are none


class UnusableSample(ValueError):
    """A sample that cannot be used: training takes another one, evaluation stops."""


@TRANSFORMS.register_module()
class LoadMeshImage(BaseTransform):
    """Decode ``img_bytes``, or the file ``img_path``.

    Args:
        reduced: Decode a JPEG at 1/2, 1/4 or 1/8 of its size if the crop stays larger than the model's input.
        backend_args: See ``mmengine.fileio.get``.
    """

    def __init__(self, reduced: bool = False, backend_args: dict | None = None):
        self.reduced = reduced
        self.backend_args = backend_args
        self._said: set[str | None] = set()  # data sets of which it has been said that pictures have a tag

    def transform(self, results: dict) -> dict:
        """Add ``img`` (H, W, 3) uint8 BGR, ``ori_shape``, and ``img_reduction``, 1 for whole images.

        Raises:
            UnusableSample: If the image is missing, damaged or none.
        """
        source = f'{results.get("sample_key")}: image {results["img_path"]}'
        content = results.pop('img_bytes', None)
        if content is None:
            try:
                check_local(results['img_path'], MAX_PICTURE_BYTES)
                content = get(results['img_path'], backend_args=self.backend_args)
            except (OSError, ValueError) as error:
                raise UnusableSample(f'{source} cannot be read ({error})') from error
        try:
            problem = damage(content)
        except Image.DecompressionBombError as error:
            problem = f'is refused ({error})'
        if problem:
            raise UnusableSample(f'{source} ({len(content)} bytes) {problem}')
        image_hw = jpeg_size(content) if self.reduced else None
        factor = 1
        if image_hw is not None:
            crop_size = layout_of(results).crop_size
            factor = next(f for f in (8, 4, 2, 1) if f == 1 or results['box_size'] >= f * crop_size)
        flags = _REDUCED[factor] | cv2.IMREAD_IGNORE_ORIENTATION
        try:
            image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        except cv2.error as error:  # a header that asks for more pixels than OpenCV allows
            raise UnusableSample(
                f'{source} ({len(content)} bytes) cannot be decoded ({error.err})'
            ) from error
        if image is None:
            raise UnusableSample(f'{source} ({len(content)} bytes) cannot be decoded')
        name = results.get('dataset_name')
        if name not in self._said and is_tagged(content):
            self._said.add(name)
            print_log(
                f'{name}: {results["img_path"]} is to be turned by its EXIF data, and used as it is stored, '
                "as HMR2.0's annotations are; if yours are of the picture as shown, turn the pixels",
                logger='current',
                level=logging.WARNING,
            )
        results['img'] = image
        results['img_reduction'] = factor
        results['ori_shape'] = image.shape[:2] if factor == 1 else image_hw
        return results


def is_tagged(content: bytes) -> bool:
    """Whether a JPEG has EXIF data that turn or mirror it."""
    if not content.startswith(_JPEG) or b'Exif\0\0' not in content[:_HEAD]:
        return False
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.getexif().get(ExifTags.Base.Orientation, 1) not in (0, 1)
    except Exception:  # Pillow meets damaged EXIF data, which are of no use anyway, with errors of many kinds
        return False


def jpeg_size(content: bytes) -> tuple[int, int] | None:
    """(height, width) as the header of a JPEG has it; None if it is another format or has none."""
    position = 2
    while content.startswith(_JPEG) and position + 9 <= len(content) and content[position] == 0xFF:
        marker, length = struct.unpack_from('>BH', content, position + 1)
        if 0xC0 <= marker <= 0xCF and marker not in _NO_SIZE:
            return struct.unpack_from('>HH', content, position + 5)
        position += 2 + length
    return None
