"""One stream of frames from whatever the user has: a path, a folder, a pattern, arrays, videos, a camera.

Files are decoded by a thread of their own while the frames before them are being worked on; a queue that is
bounded in frames and in bytes keeps the memory the same for a second of video and for two hours.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmhier.file_endings import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_video
from mmhier.media.frames import Frame, Skip, Source, to_bgr
from mmhier.media.pictures import (
    MAX_PIXELS,
    PICTURE,
    jpeg_size,
    layout,
    png_size,
    read_lens,
    read_pictures,
)
from mmhier.media.video_reader import read_video, video_info
from mmhier.suggestions import similar_path

_QUEUE = 8
# Of the frames that wait: eight of 4K. A single one may have more.
QUEUE_BYTES = 2**28
_PATIENCE = 5.0  # seconds
_END = object()


class NothingReadError(ValueError):
    """None of the inputs could be read."""


@dataclass(frozen=True)
class MediaFile:
    """A file to read.

    Attributes:
        path: Where it is.
        name: What its frames and messages call it, if that is another name: a stand-in of what is elsewhere.
    """

    path: Path
    name: str = ''

    @property
    def is_video(self) -> bool:
        """Whether it is read as a video."""
        return is_video(self.path)

    @property
    def moves(self) -> bool:
        """Whether its pictures follow each other in time."""
        return self.is_video or layout(self.path).kind == 'animation'


class FrameStream:
    """Iterates over :class:`Frame`; close it, or use it in a ``with`` statement, when not all are wanted.

    Args:
        inputs: A path of an image or a video; a folder, whose images and videos are taken in the order of
            their names, neither hidden ones nor those of folders in it; a pattern with ``*``, ``?`` or
            ``[]``; an image as an array, or several as (N, H, W, 3); the index of a camera; or any list or
            iterator of these, of :class:`MediaFile`, :class:`Frame` and :class:`Skip`.
        queue_size: Decoded frames that wait at most; fewer where they are large.
        max_pixels: Picture files with more are not read.

    Attributes:
        live (bool): Whether a camera is among the inputs. Of a camera, frames that nobody waits for are lost.
        left_out (Counter[str]): What was found in folders and by patterns and is not read, by reason.
        seconds (float): Time spent so far on reading and decoding, in a thread of its own.

    Raises:
        FileNotFoundError: If a path or pattern stands for nothing.
        ValueError: If an input is of no known kind.
        NothingReadError: While iterating: if nothing at all could be read.
    """

    def __init__(self, inputs: Any, queue_size: int = _QUEUE, max_pixels: int = MAX_PIXELS):
        self.left_out: Counter[str] = Counter()
        self.seconds = 0.0
        self._skips: Counter[tuple[str, str, bool]] = Counter()
        self._lock = threading.Lock()
        self._entries, self._listed = _entries(inputs, self.left_out)
        self.live = any(_is_camera(entry) for entry in self._known())
        self._max_pixels = max_pixels
        self._queue = _FrameQueue(1 if self.live else queue_size, QUEUE_BYTES)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._arrays = 0

    @property
    def skips(self) -> list[Skip]:
        """What could not be read so far."""
        with self._lock:
            return [Skip(name, reason, count, kept) for (name, reason, kept), count in self._skips.items()]

    @property
    def moving(self) -> bool:
        """Whether a camera, a video or an animated picture is among the inputs, as far as they are known."""
        return self.live or any(isinstance(entry, MediaFile) and entry.moves for entry in self._known())

    @property
    def files(self) -> list[Path]:
        """Files among the inputs, as far as they are known."""
        return [entry.path for entry in self._known() if isinstance(entry, MediaFile)]

    @property
    def names(self) -> list[str] | None:
        """Names of the sources of the frames that are to come, if all are known beforehand."""
        return (
            [_name(entry) for entry in self._entries if not isinstance(entry, Skip)] if self._listed else None
        )

    def _known(self) -> list:
        return self._entries if self._listed else []

    def sizes(self) -> Iterator[tuple[str, tuple[tuple[int, int], ...]]]:
        """Names of the files that say their size at once, and the widths and heights their frames may have.

        Those of a video and of a PNG may be exchanged, as they may be turned upright.
        """
        for path in self.files:
            if sizes := _sizes(path):
                yield str(path), sizes

    def total(self) -> int | None:
        """How many frames there will be, as far as the heads of the files tell; None if that is unknown."""
        if not self._listed:
            return None
        total = 0
        for entry in self._entries:
            if _is_camera(entry):
                return None
            count = _count(entry)
            if count is None:
                return None
            total += count
        return total

    def __enter__(self) -> 'FrameStream':
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading; a source that is stuck, such as a camera that was unplugged, is not waited for."""
        self._stop.set()
        deadline = time.monotonic() + _PATIENCE
        while self._thread is not None and self._thread.is_alive() and time.monotonic() < deadline:
            self._queue.clear()
            self._thread.join(0.05)
        self._queue.clear()

    def __iter__(self) -> Iterator[Frame]:
        if self._thread is not None:
            raise ValueError('a stream of frames can be read once; make another one')
        self._thread = threading.Thread(target=self._work, name='mmhier-frames', daemon=True)
        self._thread.start()
        count = 0
        try:
            while (item := self._queue.get()) is not _END:
                if isinstance(item, BaseException):
                    raise item
                count += 1
                yield item
                del item  # not to keep the frame while waiting for the next one
        finally:
            self.close()
        if not count and self.skips:
            skips = self.skips
            more = f' (and {len(skips) - 1} more)' if len(skips) > 1 else ''
            raise NothingReadError(f'nothing could be read: {skips[0].name}: {skips[0].reason}{more}')

    def _work(self) -> None:
        """Read everything into the queue; runs in the thread."""
        try:
            for entry in self._entries:
                frames = self._frames(entry)
                while (frame := self._next(frames)) is not None:
                    if not self._put(frame):
                        return
                    del frame
            self._put(_END, keep=True)
        except BaseException as error:
            self._put(error, keep=True)

    def _next(self, frames: Iterator[Frame]) -> Frame | None:
        start = time.perf_counter()
        try:
            return next(frames, None)
        finally:
            self.seconds += time.perf_counter() - start

    def _put(self, item: object, keep: bool = False) -> bool:
        """Queue an item, waiting for room; False if reading is to stop."""
        while not self._stop.is_set():
            if self.live and not keep:
                self._queue.clear()
            if self._queue.put(item, timeout=0.1):
                return True
        return False

    def _frames(self, entry: Any) -> Iterator[Frame]:
        if isinstance(entry, Frame):
            yield entry
        elif isinstance(entry, Skip):
            self.note(entry.name, entry.reason, entry.count)
        elif isinstance(entry, np.ndarray):
            for array in entry if entry.ndim == 4 else [entry]:
                yield Frame(to_bgr(array), Source(_name(array), 'array', 'array'), self._arrays)
                self._arrays += 1
        elif _is_camera(entry):
            yield from self._camera_frames(int(entry))
        elif isinstance(entry, MediaFile):
            yield from self._file_frames(entry)
        else:  # an iterator hands out whatever may also stand in a list
            try:
                parts = _entries(entry, self.left_out)[0]
            except FileNotFoundError as error:
                self.note(str(entry), str(error), 1)
                return
            for part in parts:
                yield from self._frames(part)

    def _file_frames(self, file: MediaFile) -> Iterator[Frame]:
        name, folder = _name(file), file.name.rpartition('/')[0] if file.name else str(file.path.parent)

        def report(reason: str, count: int) -> None:
            self.note(name, ' '.join(reason.replace(str(file.path), name).split()), count)

        lens_mm = None
        try:
            if file.is_video:
                source = Source(name, 'video', name, video_info(file.path).fps)
                pictures = read_video(file.path, report)
            else:
                found = layout(file.path)
                kind = 'video' if found.kind == 'animation' else 'image'
                source = Source(name, kind, folder if found == PICTURE else name)
                pictures = read_pictures(file.path, found, report, self._max_pixels)
                lens_mm = read_lens(file.path)
            for index, (image, seconds) in enumerate(pictures):
                yield Frame(image, source, index, seconds, lens_mm)
                del image
        except (OSError, ValueError, cv2.error) as error:  # OpenCV refuses images of more than 2**30 pixels
            report(str(error), 1)

    def _camera_frames(self, number: int) -> Iterator[Frame]:
        capture = cv2.VideoCapture(number)
        if not capture.isOpened():
            raise ValueError(f'camera {number} cannot be opened; is it connected, and free?')
        name = _name(number)
        rate = capture.get(cv2.CAP_PROP_FPS)  # 0, -1 or not a number where the driver does not know
        source = Source(name, 'camera', name, rate if rate > 0 else None)
        start, index = time.monotonic(), 0
        try:
            while not self._stop.is_set():
                read, image = capture.read()
                if not read:
                    return
                yield Frame(image, source, index, time.monotonic() - start)
                index += 1
        finally:
            capture.release()

    def note(self, name: str, reason: str, count: int, kept: bool = False) -> None:
        """Remember a skip; equal ones of a file are counted together, whichever thread they come from."""
        with self._lock:
            self._skips[name, reason, kept] += count


class _FrameQueue:
    """Frames between two threads, first in, first out.

    Args:
        most: Items that wait at most.
        most_bytes: Pixels of waiting frames at most, where more than one waits.
    """

    def __init__(self, most: int, most_bytes: int):
        self._most, self._most_bytes = most, most_bytes
        self._items: deque[object] = deque()
        self._bytes = 0
        self._changed = threading.Condition()

    def put(self, item: object, timeout: float) -> bool:
        """Append an item, if there is room within the time."""
        size = _size(item)
        with self._changed:
            if not self._changed.wait_for(lambda: self._has_room(size), timeout):
                return False
            self._items.append(item)
            self._bytes += size
            self._changed.notify_all()
            return True

    def get(self) -> object:
        """Take out the first item, waiting for one."""
        with self._changed:
            self._changed.wait_for(lambda: self._items)
            item = self._items.popleft()
            self._bytes -= _size(item)
            self._changed.notify_all()
            return item

    def clear(self) -> None:
        """Drop everything."""
        with self._changed:
            self._items.clear()
            self._bytes = 0
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        waiting = len(self._items)
        return not waiting or (waiting < self._most and self._bytes + size <= self._most_bytes)


def _size(item: object) -> int:
    return item.image.nbytes if isinstance(item, Frame) else 0


def _name(entry: Any) -> str:
    """What the frames of a file, a camera, an array or a frame call their source."""
    if isinstance(entry, MediaFile):
        return entry.name or str(entry.path)
    if isinstance(entry, Frame):
        return entry.source.name
    return f'camera {int(entry)}' if _is_camera(entry) else 'array'


def _is_camera(entry: Any) -> bool:
    return isinstance(entry, int | np.integer) and not isinstance(entry, bool)


def _entries(inputs: Any, left_out: Counter[str]) -> tuple[Iterable, bool]:
    """Files, arrays and cameras that an input stands for, and whether they are a list that is known."""
    if isinstance(inputs, Frame | np.ndarray | MediaFile) or _is_camera(inputs):
        return [inputs], True
    if isinstance(inputs, str | Path):
        return _files(inputs, left_out), True
    if isinstance(inputs, list | tuple):
        return _listed_entries(inputs, left_out)
    if isinstance(inputs, Iterable):
        return inputs, False
    raise ValueError(
        f'{type(inputs).__name__} is no input; expected a path, a folder, a pattern, an array, the index of '
        'a camera, or a list of these'
    )


def _listed_entries(inputs: list | tuple, left_out: Counter[str]) -> tuple[list, bool]:
    """As :func:`_entries`; of several files those that are missing are left to be counted later."""
    found, all_listed = [], True
    for part in inputs:
        try:
            entries, listed = _entries(part, left_out)
        except FileNotFoundError as error:
            if len(inputs) == 1:
                raise
            entries, listed = [Skip(str(part), str(error))], True
        found += entries if listed else [part]
        all_listed &= listed
    return found, all_listed


def _files(text: str | Path, left_out: Counter[str]) -> list[MediaFile]:
    path = Path(text).expanduser()
    if path.is_file():
        return [MediaFile(path)]
    if path.is_dir():
        # Hidden files are no pictures, whatever they are called: macOS leaves some on other disks.
        found = sorted(entry for entry in path.iterdir() if not entry.name.startswith('.'))
    elif has_magic(str(path)):
        found = [Path(name) for name in sorted(glob(str(path), recursive=True))]
    else:
        raise FileNotFoundError(
            f'{text} does not exist{similar_path(text)}; expected an image, a video, a folder or a pattern'
        )
    known = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    files = []
    for entry in found:
        if entry.is_dir():
            if path.is_dir():  # not those on the way that a pattern describes
                left_out['folders within a folder'] += 1
        elif entry.suffix.lower() in known:
            files.append(MediaFile(entry))
        else:
            left_out[f'files that are no pictures or videos ({entry.suffix.lower() or "no ending"})'] += 1
    if not files:
        raise FileNotFoundError(f'{text} holds no images or videos ({", ".join(sorted(known))})')
    return files


def _sizes(path: Path) -> tuple[tuple[int, int], ...]:
    """Widths and heights that the frames of a file may have; empty if that is unknown."""
    try:
        if not is_video(path) and (upright := jpeg_size(path)):
            return (upright,)
        size_wh = video_info(path).size_wh if is_video(path) else png_size(path)
    except (OSError, ValueError):
        return ()
    return () if size_wh is None else tuple(dict.fromkeys((size_wh, size_wh[::-1])))


def _count(entry: Any) -> int | None:
    """Frames of an entry; None if that is unknown."""
    if isinstance(entry, np.ndarray):
        return len(entry) if entry.ndim == 4 else 1
    if isinstance(entry, Skip):
        return 0
    if not isinstance(entry, MediaFile):
        return 1
    if not entry.is_video:
        return len(layout(entry.path).numbers)
    try:
        return video_info(entry.path).length
    except (OSError, ValueError):
        return 0
