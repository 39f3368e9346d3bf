"""A run whose results are written while the next ones are computed, and what all of it has taken."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mmhier.inference.inferencer import InferenceRun
from mmhier.results.frame_result import FrameResult
from mmhier.results.writer import ResultWriter
from mmhier.results.writer_thread import WriterThread


class WrittenRun:
    """Iterates over results, each of which goes to the files first; use it in a ``with`` statement.

    Args:
        inference: What computes them.
        writer: What writes them, if anything does.

    Attributes:
        inference (InferenceRun): What computes them.
        interrupted (bool): Set it where the run is left early: the files say so.

    Raises:
        OutputError: While iterating, and at the end: if a file cannot be written.
    """

    def __init__(self, inference: InferenceRun, writer: ResultWriter | None = None):
        self.inference = inference
        self.interrupted = False
        self._writer = writer
        self._thread = WriterThread(writer) if writer is not None else None

    def __enter__(self) -> 'WrittenRun':
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        self.inference.close()
        if self._thread is not None:
            self._thread.close(kind is None and not self.interrupted, self.inference.skips)

    def __iter__(self) -> Iterator[FrameResult]:
        for result in self.inference:
            if self._thread is not None:
                self._thread.write(result)
            yield result
            del result  # not to keep its frame while the next one is computed

    @property
    def files(self) -> list[Path]:
        """Those that are finished."""
        return [] if self._writer is None else self._writer.files

    @property
    def left_out(self) -> Counter[str]:
        """What was found and not used, and what is not in the files, by reason."""
        return self.inference.left_out + (Counter() if self._writer is None else self._writer.left_out)

    @property
    def seconds(self) -> dict[str, float]:
        """What the time went into; ``frames`` and ``files`` are what was spent on waiting for them."""
        return self.inference.seconds | ({} if self._thread is None else dict(files=self._thread.waited))

    @property
    def seconds_beside(self) -> dict[str, float]:
        """Work in other threads meanwhile."""
        decoding = dict(decoding=self.inference.seconds_decoding)
        return decoding | ({} if self._writer is None else self._writer.seconds)
