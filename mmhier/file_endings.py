"""Endings of files, in one place: what counts as a picture, what as a video."""

from pathlib import PurePath

IMAGE_SUFFIXES = frozenset(
    '.jpg .jpeg .png .apng .bmp .tif .tiff .webp .jp2 .ppm .pgm .pbm .heic .heif'.split()
)
VIDEO_SUFFIXES = frozenset(
    '.mp4 .mov .avi .mkv .webm .m4v .mpg .mpeg .ts .mts .m2ts .mxf .ogv .wmv .flv .gif .3gp'.split()
)


def is_video(path: str | PurePath) -> bool:
    """Whether a file is read as a video; everything else is tried as a picture."""
    return PurePath(path).suffix.lower() in VIDEO_SUFFIXES
