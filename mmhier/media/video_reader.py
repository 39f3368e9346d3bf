"""Frames of a video file, one after the other: through PyAV, or through OpenCV where PyAV is not installed.

A damaged part of a file is passed over: what can be decoded comes out, the rest is counted. With PyAV that
is what it reports and, where a file has fewer frames than its head claims, the gaps between their times.
OpenCV stops where it meets damage that it cannot cross, and only the length that the file claims shows what
is missing.

Times are those of the file; a picture that is stored turned (phones) is turned upright.
"""

import contextlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from mmhier.safe_files import check_file

Report = Callable[[str, int], None]

# Packets in a row that fail before the rest of a file is given up.
MAX_FAILURES = 1000
# A frame is off the rate of its video by this part of a frame, beside the rounding of its time.
_UNEVEN, _ROUNDED_S = 0.15, 0.001
# A rate above it is the resolution of the times of a file that has no rate, such as browsers record.
_FASTEST = 250


class VideoInfo(NamedTuple):
    """What the head of a video file says.

    Attributes:
        fps: Frames per second on average, or None.
        length: Number of frames, or None; often an estimate.
        size_wh: Width and height in pixels before frames are turned upright, or None.
    """

    fps: float | None
    length: int | None
    size_wh: tuple[int, int] | None


def video_info(path: str | Path) -> VideoInfo:
    """Open a video and look at its head.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no video that can be read.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'video {path} does not exist')
    av = _import_av()
    if av is None:
        capture = _open_capture(path)
        fps, length = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        size_wh = [int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)]
        capture.release()
        known = tuple(size_wh) if all(size_wh) else None
        return VideoInfo(fps or None, int(length) if length > 0 else None, known)
    with _open_container(av, path) as container:
        stream = container.streams.video[0]
        rate = stream.average_rate or stream.guessed_rate
        length = stream.frames
        if not length and rate and (seconds := _duration(stream, container)):
            length = round(seconds * rate)
        size_wh = stream.codec_context.width, stream.codec_context.height
        return VideoInfo(float(rate) if rate else None, length or None, size_wh if all(size_wh) else None)


def read_video(path: str | Path, report: Report) -> Iterator[tuple[np.ndarray, float | None]]:
    """Decode a video.

    Args:
        path: The file.
        report: Called with a reason and a number of frames when something is missing.

    Yields:
        Images (H, W, 3) uint8 BGR and their times in seconds.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no video that can be read.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'video {path} does not exist')
    av = _import_av()
    frames = _read_with_opencv(path, report) if av is None else _read_with_av(av, path, report)
    return _watched_gif(path, frames, report) if Path(path).suffix.lower() == '.gif' else frames


def _watched_gif(path: str | Path, frames: Iterator, report: Report) -> Iterator:
    """The frames; decoders stop without a word where a GIF is cut off, and its head does not count them."""
    yield from frames
    if not _gif_is_whole(Path(path).read_bytes()):
        report('the GIF has no end: it is cut off, and frames may be missing', 1)


def _gif_is_whole(content: bytes) -> bool:
    """Whether the blocks of a GIF go on to its end mark; what is no GIF at all is left to the decoder."""
    if not content.startswith(b'GIF8') or len(content) < 13:
        return True
    place = 13 + _colour_table(content[10])
    while place < len(content):
        kind = content[place]
        if kind == 0x3B:
            return True
        if kind == 0x2C and place + 10 < len(content):
            place += 11 + _colour_table(content[place + 9])
        elif kind == 0x21:
            place += 2
        else:
            return False
        while place < len(content) and content[place]:
            place += 1 + content[place]
        place += 1
    return False


def _colour_table(flags: int) -> int:
    """Bytes of the table of colours that the flags announce."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _import_av():
    try:
        import av
    except ImportError:
        return None
    return av


def _open_container(av, path: str | Path):
    check_file(path)
    try:
        container = av.open(str(path))
    except (av.error.FFmpegError, ValueError) as error:
        raise ValueError(f'video {path} cannot be opened ({_cause(error)})') from None
    if not container.streams.video:
        container.close()
        raise ValueError(f'{path} has no video stream')
    return container


def _duration(stream, container) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / 1e6 if container.duration else None


def _read_with_av(av, path, report: Report) -> Iterator[tuple[np.ndarray, float | None]]:
    with _open_container(av, path) as container:
        stream = container.streams.video[0]
        stream.thread_type = 'AUTO'
        damaged, undecoded, start, count = 0, 0, None, 0
        gaps = _Gaps(stream.guessed_rate or stream.average_rate)
        for packet in _packets(av, container, stream, report):
            try:
                frames = packet.decode()
            except av.error.FFmpegError as error:
                report(f'a part of the video cannot be decoded ({_cause(error)})', 1)
                undecoded += 1
                continue
            for frame in frames:
                damaged += bool(frame.is_corrupt)
                count += 1
                gaps.add(frame.time)
                start = frame.time if start is None else start
                seconds = None if frame.time is None else frame.time - start
                yield _upright(frame.to_ndarray(format='bgr24'), frame.rotation), seconds
        if damaged:
            report('frames are damaged and were used all the same', damaged)
        # Gaps alone may be meant, and the length alone may be an estimate.
        length = video_info(path).length or 0
        missing = min(gaps.missing() - undecoded, length - count - undecoded)
        if missing > 0:
            report('frames are missing', missing)


class _Gaps:
    """Counts the frames that times leave out.

    Args:
        rate: Frames per second, or None.
    """

    def __init__(self, rate: Fraction | None):
        self._rate = rate if rate is not None and rate <= _FASTEST else None
        self._last: float | None = None
        self._frames, self._steps, self._uneven = 0, 0, 0

    def add(self, seconds: float | None) -> None:
        """Take in the time of the next frame."""
        if seconds is None or self._rate is None:
            return
        if self._last is not None:
            steps = float((seconds - self._last) * self._rate)
            self._frames += max(0, round(steps) - 1)
            self._steps += 1
            self._uneven += abs(steps - round(steps)) > _UNEVEN + _ROUNDED_S * self._rate
        self._last = seconds

    def missing(self) -> int:
        """How many frames are left out; none where the times follow no rate."""
        return 0 if self._uneven > 0.1 * self._steps else self._frames


def _packets(av, container, stream, report: Report) -> Iterator:
    """Packets of a stream as far as the file can be read."""
    failures = 0
    while failures < MAX_FAILURES:
        try:
            for packet in container.demux(stream):
                failures = 0
                yield packet
            return
        except av.error.FFmpegError as error:
            report(f'a part of the file cannot be read ({_cause(error)})', 1)
            if isinstance(error, av.error.EOFError):
                return
            failures += 1


def _upright(image: np.ndarray, degrees: int) -> np.ndarray:
    """Turn counter-clockwise by a multiple of 90 degrees, as FFmpeg's display matrix asks."""
    turns = round(degrees / 90) % 4
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


def _open_capture(path: str | Path) -> cv2.VideoCapture:
    check_file(path)
    capture = cv2.VideoCapture(str(path))
    if not capture.isOpened():
        raise ValueError(f'video {path} cannot be opened; `pip install av` reads more formats')
    return capture


def _read_with_opencv(path, report: Report) -> Iterator[tuple[np.ndarray, float | None]]:
    capture = _open_capture(path)
    with contextlib.closing(_Released(capture)):
        expected, count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0
        fps, start, last = capture.get(cv2.CAP_PROP_FPS), 0.0, 0.0
        while True:
            read, image = capture.read()
            if not read:
                break
            now = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            start = start if count else now
            if count and not now - start > last:  # not known
                start = now - last - (1 / fps if fps else 0)
            last = now - start
            yield image, last if fps else None
            count += 1
        if count < expected:
            report('the video ends before the length that it claims', expected - count)


class _Released:
    """Lets ``contextlib.closing`` release a capture."""

    def __init__(self, capture: cv2.VideoCapture):
        self.close = capture.release


def _cause(error: Exception) -> str:
    return getattr(error, 'strerror', None) or str(error)
