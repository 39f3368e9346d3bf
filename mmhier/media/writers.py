"""Videos and pictures to files.

Videos are H.264 in MP4 through PyAV (``pip install av``), or MPEG-4 Part 2 through OpenCV where it is
missing. A video is written beside its final name and renamed when it is complete. Through PyAV it is
fragmented while it grows: what a killed process leaves, ``NAME.part.mp4``, still plays up to its last second.

H.264 as every player knows it has even sides: an odd side grows by one pixel, a copy of the last.
"""

import logging
import os
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from mmhier.atomic import new_file

logger = logging.getLogger('mmhier')

# Ticks per second: every usual frame rate is a whole number of them.
_TICKS = 90000
# Frames from one that stands alone to the next: where a killed video is cut.
_GROUP = 48
_ENCODERS = ('libx264', 'libopenh264')


class VideoWriter:
    """Writes frames to an MP4 file; use it in a ``with`` statement, or close it.

    The file is complete after :meth:`close`, also when an exception ended the ``with`` block: it then holds
    what was written until then. A video without frames leaves no file.

    Args:
        path: The file, ending in .mp4.
        fps: Frames per second where frames have no times; 25 if it is not known.
        encoder: 'av' or 'opencv'. Default: 'av' where it is installed.

    Raises:
        ImportError: If 'av' is asked for and not installed.
        OSError: If the file cannot be written.
    """

    def __init__(self, path: str | Path, fps: float | None = None, encoder: str | None = None):
        self.path = Path(path)
        # Some cameras name a rate that is none: -1, or not a number.
        self.fps = fps if fps and 0.01 <= fps <= _TICKS else 25.0
        self._part = self.path.with_name(f'{self.path.stem}.part.mp4')
        self._sink = None
        self._encoder = encoder
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> 'VideoWriter':
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def write(self, image: np.ndarray, time_s: float | None = None) -> None:
        """Append a frame.

        Args:
            image: (H, W, 3) uint8 BGR; all frames of a video have the same size.
            time_s: When it is shown; by default after the one before, by ``fps``.

        Raises:
            ValueError: If its size is another one than that of the first frame.
            OSError: If the disk is full.
        """
        height, width = image.shape[:2]
        image = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
        if self._sink is None:
            self._sink = _make_sink(self._encoder, self._part, self.fps, image.shape[1::-1])
            self._size_wh = (width, height)
        if (width, height) != self._size_wh:
            raise ValueError(
                f'{self.path}: a frame of {width} x {height} pixels in a video of '
                f'{self._size_wh[0]} x {self._size_wh[1]}'
            )
        self._sink.write(image, time_s)

    def close(self) -> None:
        """Finish the file and give it its name."""
        if self._sink is None:
            return
        sink, self._sink = self._sink, None
        sink.close()
        os.replace(self._part, self.path)


def _exact_colours() -> dict[str, int]:
    """How PyAV converts RGB to YUV. The fast way, all that is there before 18, is off by up to 4 of 255."""
    from av.video.reformatter import Interpolation

    if not hasattr(Interpolation, 'ACCURATE_RND'):
        return {}
    kinds = ('BICUBIC', 'ACCURATE_RND', 'FULL_CHR_H_INT', 'FULL_CHR_H_INP')
    return dict(interpolation=sum(int(getattr(Interpolation, kind)) for kind in kinds))


class _AvSink:
    def __init__(self, av, path: Path, fps: float, size_wh: tuple[int, int]):
        self._av = av
        # Whole when it is closed, playable when it is not.
        options = dict(movflags='+hybrid_fragmented', flush_packets='1')
        self._container = av.open(str(path), 'w', format='mp4', options=options)
        self._rate = Fraction(fps).limit_denominator(1001)
        self._stream = self._add_stream()
        self._stream.width, self._stream.height = size_wh
        self._stream.pix_fmt = 'yuv420p'
        self._stream.codec_context.time_base = Fraction(1, _TICKS)
        # Without frames that refer to later ones, a video begins at its first time.
        options = dict(g=str(_GROUP), bf='0')
        if self._stream.codec_context.name == 'libx264':
            options |= dict(preset='veryfast', crf='20')
        self._stream.options = options
        self._last = None

    def _add_stream(self):
        for name in _ENCODERS:
            try:
                return self._container.add_stream(name, rate=self._rate)
            except (self._av.error.FFmpegError, ValueError):
                continue
        raise ValueError(f'PyAV has none of the encoders {", ".join(_ENCODERS)}; pip install -U av')

    def write(self, image: np.ndarray, time_s: float | None) -> None:
        step = round(_TICKS / self._rate)
        if time_s is None:
            ticks = 0 if self._last is None else self._last + step
        else:
            ticks = round(time_s * _TICKS)
            if self._last is not None and ticks <= self._last:  # times that stand still
                ticks = self._last + 1
        self._last = ticks
        frame = self._av.VideoFrame.from_ndarray(image, format='bgr24')
        frame = frame.reformat(format='yuv420p', **_exact_colours())
        frame.pts, frame.time_base = ticks, Fraction(1, _TICKS)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        try:
            self._container.mux(self._stream.encode(None))
        finally:
            self._container.close()


class _OpenCvSink:
    def __init__(self, path: Path, fps: float, size_wh: tuple[int, int]):
        self._writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'mp4v'), fps, tuple(size_wh))
        if not self._writer.isOpened():
            raise OSError(f'OpenCV cannot write {path}')

    def write(self, image: np.ndarray, time_s: float | None) -> None:
        self._writer.write(image)

    def close(self) -> None:
        self._writer.release()


def _make_sink(encoder: str | None, path: Path, fps: float, size_wh: tuple[int, int]):
    if encoder != 'opencv':
        try:
            import av

            return _AvSink(av, path, fps, size_wh)
        except ImportError as error:
            if encoder == 'av':
                raise ImportError('H.264 videos need: pip install av') from error
            logger.warning(
                'PyAV is not installed: %s is written as MPEG-4 Part 2, which browsers do not play; '
                'pip install av for H.264',
                path.name,
            )
    return _OpenCvSink(path, fps, size_wh)


def write_image(path: str | Path, image: np.ndarray) -> Path:
    """Write a picture so that nobody ever sees half of it.

    Args:
        path: The file; its ending chooses the format.
        image: (H, W, 3) uint8 BGR.

    Raises:
        ValueError: If OpenCV knows no such format.
        OSError: If the file cannot be written.
    """
    path = Path(path)
    try:
        encoded = cv2.imencode(path.suffix, image)[1]
    except cv2.error:
        raise ValueError(f'{path}: OpenCV writes no {path.suffix!r} files; use .jpg or .png') from None
    with new_file(path) as temporary:
        temporary.write_bytes(encoded.tobytes())
    return path
