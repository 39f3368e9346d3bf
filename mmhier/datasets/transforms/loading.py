"""Image loading that notices a damaged file.

OpenCV decodes a truncated JPEG without complaint and fills the missing part with grey, so a broken copy
of a data set trains and evaluates on wrong pixels. Here a damaged file is an error that names it, or,
where a run over millions of images must go on, a skip that is logged and counted.
"""

import io
import logging
from typing import Any

import cv2
import mmcv
import numpy as np
from mmengine.fileio import get
from mmengine.logging import print_log
from mmpose.datasets.transforms import LoadImage
from mmpose.registry import TRANSFORMS
from PIL import Image, UnidentifiedImageError

from mmhier.datasets.coco_pictures import describe_wrong_size
from mmhier.heif_file import is_heif, read_heif
from mmhier.safe_files import check_local

_JPEG_START, _JPEG_END = b'\xff\xd8', b'\xff\xd9'
_PNG_START, _PNG_END = b'\x89PNG', b'IEND\xaeB`\x82'
_TAIL = 64  # bytes at the end in which an intact file's end marker is expected


@TRANSFORMS.register_module()
class LoadCheckedImage(LoadImage):
    """MMPose's ``LoadImage`` with a check that the file is whole and has the size that its annotation says.

    Args:
        on_error: ``'raise'`` stops with an error that names the file; ``'skip'`` logs it, counts it and
            lets the data set draw another sample (training only: evaluation never drops anything).
        kwargs: See ``LoadImage``.

    Raises:
        ValueError: If ``on_error`` is neither, a file is damaged and ``on_error='raise'``, or a picture is
            not ``img_shape`` (height, width), where that is known: its labels are of other pixels.
        FileNotFoundError: If the file is missing and ``on_error='raise'``.
    """

    def __init__(self, on_error: str = 'raise', **kwargs: Any):
        if on_error not in ('raise', 'skip'):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        super().__init__(**kwargs)
        self.on_error = on_error
        self.skipped: set[str] = set()

    def transform(self, results: dict) -> dict | None:
        """Add ``img`` (H, W, 3) uint8 BGR and its shapes; ``None`` asks the data set for another sample."""
        if 'img' in results:
            return super().transform(results)
        path = results['img_path']
        try:
            image = read_image(path, self.color_type, self.imdecode_backend, self.backend_args)
        except (OSError, ValueError) as error:
            if self.on_error == 'raise':
                raise
            if path not in self.skipped:
                self.skipped.add(path)
                print_log(
                    f'skipped image {len(self.skipped)} of this worker: {error}',
                    logger='current',
                    level=logging.WARNING,
                )
            return None
        expected = results.get('img_shape')
        if expected is not None and tuple(expected) != image.shape[:2]:
            sizes = tuple(expected)[::-1], path, image.shape[1::-1]
            raise ValueError(describe_wrong_size(results.get('img_id'), *sizes))
        results['img'] = image.astype('float32') if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results


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
    check_local(path)
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
    problem = _damage(content)
    try:
        image = None if problem else mmcv.imfrombytes(content, flag=color_type, backend=decoder)
    except cv2.error as error:  # among others, more pixels than OpenCV takes
        image, problem = None, f'cannot be decoded ({" ".join(str(error).split())})'
    if image is None:
        raise ValueError(
            f'image {path} ({len(content)} bytes) {problem or "cannot be decoded"}; download or copy it again'
        )
    return image


def _damage(content: bytes) -> str | None:
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
