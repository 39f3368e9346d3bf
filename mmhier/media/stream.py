"""One stream of frames from whatever the user has: a path, a folder, a pattern, arrays, videos, a camera.

Files are decoded by a thread of their own while the frames before them are being worked on; a bounded queue
keeps the memory the same for a second of video and for two hours.
"""

import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmhier.media.frames import Frame, Skip, Source, to_bgr
from mmhier.media.video_reader import read_video, video_info

IMAGE_SUFFIXES = frozenset('.jpg .jpeg .png .bmp .tif .tiff .webp .jp2 .ppm .pgm .pbm'.split())
VIDEO_SUFFIXES = frozenset(
    '.mp4 .mov .avi .mkv .webm .m4v .mpg .mpeg .ts .mts .m2ts .mxf .ogv .wmv .flv .gif .3gp'.split()
)

_QUEUE = 8
_PATIENCE = 5.0  # seconds
_END = object()


@dataclass(frozen=True)
class _File:
    """A file to read."""

    path: Path
    is_video: bool


class FrameStream:
    """Iterates over :class:`Frame`; close it, or use it in a ``with`` statement, when not all are wanted.

    Args:
        inputs: A path of an image or a video; a folder, whose images and videos are taken in the order of
            their names, neither hidden ones nor those of folders in it; a pattern with ``*``, ``?`` or
            ``[]``; an image as an array, or several as (N, H, W, 3); the index of a camera; or any list or
            iterator of these.
        queue_size: Decoded frames that wait at most.

    Attributes:
        skips (list[Skip]): What could not be read so far.
        live (bool): Whether a camera is among the inputs. Of a camera, frames that nobody waits for are lost.
        moving (bool): Whether a camera or a video is among the inputs, as far as they are known.

    Raises:
        FileNotFoundError: If a path or pattern stands for nothing.
        ValueError: If an input is of no known kind. While iterating: if nothing at all could be read.
    """

    def __init__(self, inputs: Any, queue_size: int = _QUEUE):
        self.skips: list[Skip] = []
        self._entries, self._listed = _entries(inputs)
        known = self._entries if self._listed else []
        self.live = any(_is_camera(entry) for entry in known)
        self.moving = self.live or any(isinstance(entry, _File) and entry.is_video for entry in known)
        self._queue: queue.Queue = queue.Queue(1 if self.live else queue_size)
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._arrays = 0

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
            self._empty_queue()
            self._thread.join(0.05)
        self._empty_queue()

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
            raise ValueError(f'nothing could be read: {skips[0].name}: {skips[0].reason}{more}')

    def _work(self) -> None:
        """Read everything into the queue; runs in the thread."""
        try:
            for entry in self._entries:
                for frame in self._frames(entry):
                    if not self._put(frame):
                        return
                    del frame
            self._put(_END, keep=True)
        except BaseException as error:
            self._put(error, keep=True)

    def _put(self, item: object, keep: bool = False) -> bool:
        """Queue an item, waiting for room; False if reading is to stop."""
        while not self._stop.is_set():
            try:
                if self.live and not keep:
                    self._empty_queue()
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def _empty_queue(self) -> None:
        try:
            while True:
                self._queue.get_nowait()
        except queue.Empty:
            return

    def _frames(self, entry: Any) -> Iterator[Frame]:
        if isinstance(entry, Frame):
            yield entry
        elif isinstance(entry, Skip):
            self.note(entry.name, entry.reason, entry.count)
        elif isinstance(entry, np.ndarray):
            for array in entry if entry.ndim == 4 else [entry]:
                yield Frame(to_bgr(array), Source('array', 'array', 'array'), self._arrays)
                self._arrays += 1
        elif _is_camera(entry):
            yield from self._camera_frames(int(entry))
        elif isinstance(entry, _File):
            yield from self._file_frames(entry)
        else:  # an iterator hands out whatever may also stand in a list
            try:
                parts = _entries(entry)[0]
            except FileNotFoundError as error:
                self.note(str(entry), str(error), 1)
                return
            for part in parts:
                yield from self._frames(part)

    def _file_frames(self, file: _File) -> Iterator[Frame]:
        name = str(file.path)
        try:
            if not file.is_video:
                yield Frame(_read_image(file.path), Source(name, 'image', str(file.path.parent)), 0)
                return
            source = Source(name, 'video', name, video_info(file.path).fps)
            frames = read_video(file.path, lambda reason, count: self.note(name, reason, count))
            for index, (image, seconds) in enumerate(frames):
                yield Frame(image, source, index, seconds)
        except (OSError, ValueError, cv2.error) as error:  # OpenCV refuses images of more than 2**30 pixels
            self.note(name, ' '.join(str(error).split()), 1)

    def _camera_frames(self, number: int) -> Iterator[Frame]:
        capture = cv2.VideoCapture(number)
        if not capture.isOpened():
            raise ValueError(f'camera {number} cannot be opened; is it connected, and free?')
        name = f'camera {number}'
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

    def note(self, name: str, reason: str, count: int) -> None:
        """Remember a skip; equal ones of a file are counted together."""
        for number, skip in enumerate(self.skips):
            if (skip.name, skip.reason) == (name, reason):
                self.skips[number] = Skip(name, reason, skip.count + count)
                return
        self.skips.append(Skip(name, reason, count))


def _is_camera(entry: Any) -> bool:
    return isinstance(entry, int | np.integer) and not isinstance(entry, bool)


def _entries(inputs: Any) -> tuple[Iterable, bool]:
    """Files, arrays and cameras that an input stands for, and whether they are a list that is known."""
    if isinstance(inputs, Frame | np.ndarray | _File) or _is_camera(inputs):
        return [inputs], True
    if isinstance(inputs, str | Path):
        return _files(inputs), True
    if isinstance(inputs, list | tuple):
        return _listed_entries(inputs)
    if isinstance(inputs, Iterable):
        return inputs, False
    raise ValueError(
        f'{type(inputs).__name__} is no input; expected a path, a folder, a pattern, an array, the index of '
        'a camera, or a list of these'
    )


def _listed_entries(inputs: list | tuple) -> tuple[list, bool]:
    """As :func:`_entries`; of several files those that are missing are left to be counted later."""
    found, all_listed = [], True
    for part in inputs:
        try:
            entries, listed = _entries(part)
        except FileNotFoundError as error:
            if len(inputs) == 1:
                raise
            entries, listed = [Skip(str(part), str(error))], True
        found += entries if listed else [part]
        all_listed &= listed
    return found, all_listed


def _files(text: str | Path) -> list[_File]:
    path = Path(text).expanduser()
    if path.is_file():
        return [_File(path, _is_video(path))]
    if path.is_dir():
        # Hidden files are no pictures, whatever they are called: macOS leaves some on other disks.
        found = sorted(entry for entry in path.iterdir() if not entry.name.startswith('.'))
    elif has_magic(str(path)):
        found = [Path(name) for name in sorted(glob(str(path), recursive=True))]
    else:
        raise FileNotFoundError(f'{text} does not exist; expected an image, a video, a folder or a pattern')
    known = IMAGE_SUFFIXES | VIDEO_SUFFIXES
    files = [_File(entry, _is_video(entry)) for entry in found if entry.suffix.lower() in known]
    files = [file for file in files if not file.path.is_dir()]
    if not files:
        raise FileNotFoundError(f'{text} holds no images or videos ({", ".join(sorted(known))})')
    return files


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _read_image(path: Path) -> np.ndarray:
    """Decode an image file that has to be whole, as models are trained on them."""
    from mmhier.datasets.transforms.loading import read_image

    if not path.is_file():
        raise FileNotFoundError(f'{path} does not exist')
    return read_image(str(path))


def _count(entry: Any) -> int | None:
    """Frames of an entry; None if that is unknown."""
    if isinstance(entry, np.ndarray):
        return len(entry) if entry.ndim == 4 else 1
    if isinstance(entry, Skip):
        return 0
    if not isinstance(entry, _File) or not entry.is_video:
        return 1
    try:
        return video_info(entry.path).length
    except (OSError, ValueError):
        return 0
