"""Drawing and writing beside the network: a thread of its own for a :class:`ResultWriter`."""

import threading
import time
from collections import deque
from collections.abc import Iterable

from mmhier.media.frames import Skip
from mmhier.results.frame_result import FrameResult
from mmhier.results.writer import ResultWriter

# Results that wait at most, and the pixels of their frames where more than one waits.
_MOST, _MOST_BYTES = 4, 2**28


class WriterThread:
    """Writes results in their order while the next ones are computed; close it.

    Args:
        writer: Belongs to the thread until :meth:`close` has returned.

    Attributes:
        waited (float): Seconds that callers have waited for room, and for the end.
    """

    def __init__(self, writer: ResultWriter):
        self.waited = 0.0
        self._writer = writer
        self._results: deque[FrameResult] = deque()
        self._bytes = 0
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._work, name='mmhier-files', daemon=True)
        self._thread.start()

    def write(self, result: FrameResult) -> None:
        """Hand over a result, waiting for room.

        Raises:
            OutputError: If an earlier one could not be written; nothing is written after it.
        """
        start, size = time.perf_counter(), _size(result)
        with self._changed:
            self._changed.wait_for(lambda: self._error is not None or self._has_room(size))
            self.waited += time.perf_counter() - start
            if self._error is not None:
                raise self._error
            self._results.append(result)
            self._bytes += size
            self._changed.notify_all()

    def close(self, complete: bool = True, skipped: Iterable[Skip] = ()) -> None:
        """Write what waits and finish all files, see :meth:`ResultWriter.close`.

        Raises:
            OutputError: If a result could not be written, or a file not be finished.
        """
        start = time.perf_counter()
        try:
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            self._thread.join()
            error, self._error = self._error, None
            self._writer.close(complete and error is None, skipped)
            if error is not None:
                raise error
        finally:
            self.waited += time.perf_counter() - start

    def _work(self) -> None:
        try:
            while (result := self._next()) is not None:
                self._writer.write(result)
                with self._changed:
                    self._results.popleft()
                    self._bytes -= _size(result)
                    self._changed.notify_all()
                del result
        except BaseException as error:
            with self._changed:
                self._error = error
                self._results.clear()
                self._changed.notify_all()

    def _next(self) -> FrameResult | None:
        with self._changed:
            self._changed.wait_for(lambda: self._results or self._closed)
            return self._results[0] if self._results else None

    def _has_room(self, size: int) -> bool:
        waiting = len(self._results)
        return not waiting or (waiting < _MOST and self._bytes + size <= _MOST_BYTES)


def _size(result: FrameResult) -> int:
    return 0 if result.image is None else result.image.nbytes
