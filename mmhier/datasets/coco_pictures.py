"""Whether the pictures of an annotation file are there and have the size that it says.

Labels are pixels of the picture as it is loaded. MMPose's loader turns a photo the way its EXIF data say, in
training and evaluation as in inference, unless its ``color_type`` ignores the orientation. A file that has
the sizes as stored was labelled on other pixels than the model would see. Where the sizes do not tell (a turn
by 180 degrees, a mirrored or a square picture) it can only be said.
"""

import os
from collections.abc import Sequence
from pathlib import PurePosixPath

from PIL import ExifTags, Image, UnidentifiedImageError

from mmhier.safe_files import check_file

# Values of EXIF's orientation that swap width and height.
_SIDEWAYS = (5, 6, 7, 8)


def missing_pictures(images: Sequence[dict], folder: str) -> list[dict]:
    """Images whose file is not in ``folder``; each folder is listed once, whatever the number of images."""
    listed: dict[str, set[str]] = {}
    missing = []
    for image in images:
        parent, name = os.path.split(os.path.join(folder, image['file_name']))
        if parent not in listed:
            try:
                listed[parent] = set(os.listdir(parent or '.'))
            except OSError:
                listed[parent] = set()
        if name not in listed[parent] and not os.path.exists(os.path.join(parent, name)):
            missing.append(image)
    return missing


def similar_picture(name: str, folder: str) -> str | None:
    """What may be meant by a name that is not there: its last part, or one in other case."""
    last = PurePosixPath(name.replace('\\', '/')).name
    try:
        names = os.listdir(folder or '.')
    except OSError:
        return None
    parent = os.path.dirname(os.path.join(folder, name))
    if os.path.isdir(parent) and os.path.abspath(parent) != os.path.abspath(folder or '.'):
        names += os.listdir(parent)
    return next((other for other in names if other.lower() == last.lower()), None)


def picture_size(path: str, ignore_orientation: bool = False) -> tuple[int, int] | None:
    """Width and height of a picture as it is loaded, from its header; None if it has none that can be read.

    Args:
        path: The file.
        ignore_orientation: Whether it is loaded as stored.
    """
    head = picture_head(path)
    if head is None:
        return None
    return head[0] if ignore_orientation else turned_size(*head)


def turned_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height of a picture after it has been turned by EXIF's orientation."""
    return size[::-1] if orientation in _SIDEWAYS else size


def picture_head(path: str) -> tuple[tuple[int, int], int] | None:
    """Width and height of a picture as stored, and EXIF's orientation, 1 if it stays; None as above."""
    try:
        check_file(path)
        with Image.open(path) as image:
            # Decoders turn a TIFF whatever they are asked for, and Pillow gives its size after that.
            return image.size, 1 if image.format == 'TIFF' else _orientation(image)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _orientation(image: Image.Image) -> int:
    if image.format == 'PNG' and 'exif' not in image.info:
        return 1  # Pillow would decode the whole picture to look behind it; the loader checks again
    return image.getexif().get(ExifTags.Base.Orientation, 1)


def describe_wrong_size(
    image_id: int, entry_wh: tuple[int, int], path: str, loaded_wh: tuple[int, int]
) -> str:
    """Say what does not fit, why, and what to do."""
    text = (
        f'image {image_id} is {entry_wh[0]} x {entry_wh[1]} (width x height), but its picture {path} is '
        f'{loaded_wh[0]} x {loaded_wh[1]}'
    )
    stored = picture_size(path, ignore_orientation=True)
    if stored == entry_wh and stored == loaded_wh[::-1]:
        return (
            f'{text} as its EXIF data turn it: it was labelled as stored. Load it as stored '
            "(color_type='color_ignore_orientation' in LoadImage or LoadCheckedImage), or turn the labels or "
            'the picture'
        )
    if entry_wh == loaded_wh[::-1]:
        return (
            f'{text}. If only width and height are swapped, swap them; if the picture was turned, turn its '
            'labels'
        )
    return (
        f'{text}. Labels are pixels of the picture: give the picture that was labelled, or scale the labels'
    )
