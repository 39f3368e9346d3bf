"""Picture files: one picture, the frames of an animation, or the pages of a TIFF.

| file                     | pictures |
|--------------------------|----------|
| animated WebP, animated PNG | its frames, with times: a video |
| TIFF                     | its pages, without the reduced copies of them that some programs add |
| anything else            | one; GIF is read as a video, see :mod:`mmhier.media.video_reader` |

A picture is not decoded if its head claims more pixels than the limit: a file of a few megabytes can unpack
to gigabytes. Of formats other than JPEG, PNG and TIFF of several pages, Pillow's own limit of 179 megapixels
comes first.
"""

import io
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import Image

from mmhier.heif_file import heif_size, is_heif
from mmhier.safe_files import open_file

Report = Callable[[str, int], None]

# Of one picture: 804 MB as 8-bit colour.
MAX_PIXELS = 268_000_000

# Shorter ones mean nothing to browsers, which show such frames for 100 ms.
_SHORTEST_MS, _USUAL_MS = 10, 100
_SUBFILE_TYPE, _WIDTH, _HEIGHT = 254, 256, 257  # tags of TIFF
_REDUCED_COPY = 1  # a bit of the first
_MOST_PAGES = 100_000
_UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, struct.error, Image.DecompressionBombError
)  # fmt: skip
_EXIF_IFD, _LENS_35MM, _EXIF_SIZE = 0x8769, 0xA405, (0xA002, 0xA003)  # tags of EXIF
_ORIENTATION, _ON_ITS_SIDE = 0x0112, 5  # a tag of EXIF; from this value on sides are exchanged
_LEAST_LENS, _MOST_LENS = 4.0, 4000.0  # mm; 0 means unknown
_SAME_SHAPE = 0.02
_PNG = b'\x89PNG\r\n\x1a\n'


class Layout(NamedTuple):
    """What a file holds.

    Attributes:
        kind: 'picture', 'animation' or 'pages'.
        numbers: Numbers of the pictures that count, in the file.
    """

    kind: str
    numbers: tuple[int, ...] = (0,)


PICTURE = Layout('picture')


def layout(path: str | Path) -> Layout:
    """Look at the head of a file; one that cannot be read is taken for a picture, which then fails.

    The pixels are not touched, and of pictures that cannot move nothing but the first bytes.
    """
    try:
        with open_file(path) as file:
            head = file.read(32)
            if head.startswith(_PNG):
                return _animation(path) if _has_frames(file) else PICTURE
            if head[:4] == b'RIFF' and head[8:16] == b'WEBPVP8X' and head[20] & 2:
                return _animation(path)
            pages = [number for number, tags in enumerate(_tiff_pages(file)) if not _is_copy(number, tags)]
    except _UNREADABLE:
        return PICTURE
    return Layout('pages', tuple(pages)) if len(pages) > 1 else PICTURE


def read_pictures(
    path: str | Path, found: Layout, report: Report, max_pixels: int = MAX_PIXELS
) -> Iterator[tuple[np.ndarray, float | None]]:
    """Decode the pictures of a file that has to be whole, as models are trained on them.

    Args:
        path: The file.
        found: Of :func:`layout`.
        report: Called with a reason and a number of pictures when something is missing.
        max_pixels: Of one picture, at most.

    Yields:
        Images (H, W, 3) uint8 BGR, and their times in seconds where they move.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a single picture is damaged or too large.
    """
    from mmhier.media.image_file import read_image

    if not Path(path).is_file():
        raise FileNotFoundError(f'{path} does not exist')
    _check_size(path, max_pixels)
    if found.kind == 'picture':
        yield read_image(str(path)), None
        return
    read = _read_frames if found.kind == 'animation' else _read_pages
    count, reason = 0, 'frames' if found.kind == 'animation' else 'pages'
    try:
        for picture in read(path, found.numbers, max_pixels):
            count += 1
            yield picture
    except (*_UNREADABLE, EOFError, cv2.error) as error:
        report(f'{reason} cannot be decoded ({" ".join(str(error).split())})', len(found.numbers) - count)


def read_lens(path: str | Path) -> float | None:
    """Focal length in 35 mm that the EXIF of a JPEG states, in millimetres; None if it states none.

    Nor is it known if the picture was cut since: its shape is not that in EXIF.
    """
    try:
        with open_file(path) as file:
            content, size_wh = _jpeg_exif(file)
        exif = io.BytesIO(content)
        place = next(_tiff_pages(exif), {}).get(_EXIF_IFD, 0)
        tags = next(_tiff_pages(exif, place), {}) if place else {}
    except _UNREADABLE:
        return None
    lens, (width, height) = tags.get(_LENS_35MM, 0), (tags.get(tag, 0) for tag in _EXIF_SIZE)
    if not _LEAST_LENS <= lens <= _MOST_LENS:
        return None
    if width and height and size_wh is not None and min(size_wh):
        claimed, actual = max(width, height) / min(width, height), max(size_wh) / min(size_wh)
        if abs(claimed / actual - 1) > _SAME_SHAPE:
            return None
    return float(lens)


def jpeg_size(path: str | Path) -> tuple[int, int] | None:
    """Width and height of a JPEG that is read as its EXIF says which side is up; None of what is none."""
    try:
        with open_file(path) as file:
            content, size_wh = _jpeg_exif(file)
        turned = next(_tiff_pages(io.BytesIO(content)), {}).get(_ORIENTATION, 1) >= _ON_ITS_SIDE
    except _UNREADABLE:
        return None
    return size_wh[::-1] if turned and size_wh is not None else size_wh


def png_size(path: str | Path) -> tuple[int, int] | None:
    """Width and height of a PNG as it is stored; None of what is none."""
    with open_file(path) as file:
        head = file.read(24)
    return struct.unpack('>II', head[16:24]) if head.startswith(_PNG) and len(head) == 24 else None


def _jpeg_exif(file: BinaryIO) -> tuple[bytes, tuple[int, int] | None]:
    """EXIF, empty if there is none, and width and height of a JPEG."""
    if file.read(2) != b'\xff\xd8':
        return b'', None
    content = b''
    while len(marker := file.read(4)) == 4 and marker[0] == 0xFF:
        kind, length = marker[1], struct.unpack('>H', marker[2:])[0]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            return content, struct.unpack('>xHH', file.read(5))[::-1]
        segment = file.read(max(length - 2, 0))
        if kind == 0xE1 and segment.startswith(b'Exif\0\0'):
            content = content or segment[6:]
    return content, None


def _has_frames(file: io.BufferedReader) -> bool:
    """Whether a PNG has a chunk acTL before its pixels."""
    file.seek(len(_PNG))
    while len(head := file.read(8)) == 8:
        length, kind = struct.unpack('>I4s', head)
        if kind in (b'acTL', b'IDAT', b'IEND'):
            return kind == b'acTL'
        file.seek(length + 4, 1)
    return False


def _animation(path: str | Path) -> Layout:
    with Image.open(path) as image:
        # A PNG may begin with a picture for programs that cannot play it.
        first = int(getattr(image, 'default_image', False))
        numbers = tuple(range(first, getattr(image, 'n_frames', 1)))
    return Layout('animation', numbers) if len(numbers) > 1 else PICTURE


def _tiff_pages(file: BinaryIO, first: int | None = None) -> Iterator[dict[int, int]]:
    """Whole numbers by tag of each page; nothing of what is no TIFF. A page that is cut off has none.

    Args:
        file: The TIFF.
        first: Where the first page is, if not where the head says: EXIF hangs its own tags there.
    """
    file.seek(0)
    head = file.read(16)
    if head[:4] not in (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+'):
        return
    order, big = '<' if head[:2] == b'II' else '>', b'+' in head[:4]
    width, entry, inline = (8, 20, 12) if big else (4, 12, 8)  # of an offset, an entry, where its value is
    count_format, offset_format = (f'{order}Q', f'{order}Q') if big else (f'{order}H', f'{order}I')
    offset = struct.unpack_from(offset_format, head, 8 if big else 4)[0] if first is None else first
    seen: set[int] = set()
    while offset and offset not in seen and len(seen) < _MOST_PAGES:
        seen.add(offset)
        file.seek(offset)
        start = file.read(struct.calcsize(count_format))
        count = struct.unpack(count_format, start)[0] if len(start) == struct.calcsize(count_format) else 0
        table = file.read(min(count, 2**16) * entry)
        tags = {}
        for place in range(0, len(table) - entry + 1, entry):
            tag, kind = struct.unpack_from(f'{order}HH', table, place)
            if kind in (3, 4):  # 16 and 32 bits
                tags[tag] = struct.unpack_from(order + 'HI'[kind - 3], table, place + inline)[0]
        yield tags
        after = file.read(width)
        offset = struct.unpack(offset_format, after)[0] if len(after) == width else 0


def _is_copy(number: int, tags: dict[int, int]) -> bool:
    return bool(number and tags.get(_SUBFILE_TYPE, 0) & _REDUCED_COPY)


def _read_frames(
    path: str | Path, numbers: tuple[int, ...], max_pixels: int
) -> Iterator[tuple[np.ndarray, float]]:
    seconds = 0.0
    with Image.open(path) as image:
        for number in numbers:
            image.seek(number)
            pixels = np.asarray(image.convert('RGB'))
            yield np.ascontiguousarray(pixels[..., ::-1]), seconds
            milliseconds = image.info.get('duration') or 0
            seconds += (milliseconds if milliseconds > _SHORTEST_MS else _USUAL_MS) / 1000


def _read_pages(
    path: str | Path, numbers: tuple[int, ...], max_pixels: int
) -> Iterator[tuple[np.ndarray, None]]:
    with open_file(path) as file:
        tables = list(_tiff_pages(file))
        file.seek(0)
        content = np.fromfile(file, np.uint8)
    for number in numbers:
        _check_pixels(path, (tables[number].get(_WIDTH, 1), tables[number].get(_HEIGHT, 1)), max_pixels)
        read, pages = cv2.imdecodemulti(content, cv2.IMREAD_COLOR, range=(number, number + 1))
        if not read or len(pages) != 1:
            raise ValueError(f'page {number + 1}')
        yield pages[0], None


def _check_size(path: str | Path, max_pixels: int) -> None:
    """Refuse a picture by its head; formats whose head is not known here are left to the decoder."""
    with open_file(path) as file:
        size_wh = _png_or_jpeg_size(file)
        file.seek(0)
        if is_heif(file.read(12)):
            file.seek(0)
            size_wh = heif_size(file.read(), str(path))
    if size_wh is None:
        try:
            with Image.open(path) as image:
                size_wh = image.size
        except Image.DecompressionBombError as error:
            raise ValueError(f'picture {path} is too large ({error})') from None
        except (OSError, SyntaxError, ValueError):
            return
    _check_pixels(path, size_wh, max_pixels)


def _check_pixels(path: str | Path, size_wh: tuple[int, int], max_pixels: int) -> None:
    width, height = size_wh
    if width * height > max_pixels:
        raise ValueError(
            f'picture {path} has {width} x {height} pixels, {width * height / 1e6:.0f} megapixels, more than '
            f'the limit of {max_pixels / 1e6:.0f}; scale it down, or raise the limit (--max-megapixels)'
        )


def _png_or_jpeg_size(file: io.BufferedReader) -> tuple[int, int] | None:
    head = file.read(24)
    if head.startswith(_PNG) and len(head) == 24:
        return struct.unpack('>II', head[16:24])
    if not head.startswith(b'\xff\xd8'):
        return None
    file.seek(2)
    while len(marker := file.read(4)) == 4 and marker[0] == 0xFF:
        kind, length = marker[1], struct.unpack('>H', marker[2:])[0]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            size = file.read(5)
            return struct.unpack('>xHH', size)[::-1] if len(size) == 5 else None
        file.seek(length - 2, 1)
    return None
