"""What a worker does: a model that is loaded once, and one shard after the other."""

import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmhier.detection.detector import NotMentionedError
from mmhier.file_endings import IMAGE_SUFFIXES
from mmhier.inference.inferencer import Inferencer, InferenceRun
from mmhier.labelling.plan import TAR, Shard
from mmhier.labelling.storage import copy_part, fetched, join, opened, put, suffix_of
from mmhier.media.frames import Skip
from mmhier.media.stream import FrameStream, MediaFile, NothingReadError
from mmhier.results.files import ResultLines, finish
from mmhier.results.frame_result import FrameResult
from mmhier.results.writer import OutputError
from mmhier.safe_files import MAX_PICTURE_BYTES
from mmhier.tar_file import tar_members


@dataclass(frozen=True)
class Job:
    """What all shards of a run share; plain values, so that it can be sent to a worker.

    Attributes:
        model: Arguments of :class:`mmhier.inference.inferencer.Inferencer`.
        boxes: File of boxes, if they are known.
        folder: Of the results; path or address.
        formats: Endings of the files of a shard, of :data:`mmhier.results.files.FORMATS`.
        max_pixels: Pictures with more are not read.
    """

    model: dict[str, Any]
    boxes: str | None
    folder: str
    formats: tuple[str, ...]
    max_pixels: int


@dataclass(frozen=True)
class Report:
    """What came of a shard.

    Attributes:
        number: Of the shard.
        frames: Frames in its files.
        people: People on them.
        skips: What could not be read.
        left_out: What was found and not used, by reason.
        seconds: From its start to its files.
    """

    number: int
    frames: int = 0
    people: int = 0
    skips: list[Skip] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class Labeller:
    """Labels shards.

    Args:
        job: What they share.

    Raises:
        OSError: If something is missing, or cannot be fetched.
        ValueError: If the settings do not fit each other.
    """

    def __init__(self, job: Job):
        self._job = job
        self._inferencer = Inferencer(**job.model)
        self._detector = self._inferencer.detector_for(job.boxes)

    def label(self, shard: Shard) -> Report:
        """Label a shard, and put its files in their place.

        Raises:
            OutputError: If they cannot be written.
            OSError: If the storage of an input does not answer; nothing is written then.
        """
        start = time.perf_counter()
        left_out: Counter[str] = Counter()
        with tempfile.TemporaryDirectory(prefix='mmhier-') as made:
            lines = ResultLines(Path(made, f'{shard.stem}.jsonl'))
            stream = FrameStream(
                _entries(shard.inputs, Path(made), left_out), max_pixels=self._job.max_pixels
            )
            with InferenceRun(self._inferencer, stream, self._detector) as run:
                lines.begin(self._no_result())
                try:
                    for result in run:
                        lines.write(result)
                        del result  # not to keep its frame while the next one is computed
                except (NothingReadError, NotMentionedError):
                    pass  # all of it is among the skips
            lines.close()
            skips = sorted(run.skips, key=lambda skip: (skip.name, skip.reason))
            records = [dict(name=skip.name, reason=skip.reason, count=skip.count) for skip in skips]
            self._put(finish(lines.path, self._job.formats, skipped=records))
        seconds = time.perf_counter() - start
        return Report(shard.number, run.frames, run.people, skips, run.left_out + left_out, seconds)

    def _put(self, files: Sequence[Path]) -> None:
        for path in files:
            try:
                put(path, join(self._job.folder, path.name))
            except OSError as error:
                raise OutputError(error.errno, f'results cannot be written: {error}') from error

    def _no_result(self) -> FrameResult:
        """Has what the header of a file says."""
        model = self._inferencer.estimator
        names, skeleton = model.keypoint_names, model.skeleton
        return FrameResult('', 0, (0, 0), [], names, skeleton, model.name)


def _entries(names: Sequence[str], made: Path, left_out: Counter[str]) -> Iterator[MediaFile | Skip]:
    """Files that are read one after the other; those from elsewhere are there until the next is asked for."""
    for name in names:
        try:
            if suffix_of(name) == TAR:
                yield from _tar_entries(name, made, left_out)
                continue
            with fetched(name) as path:
                yield MediaFile(path, '' if str(path) == name else name)
        except (FileNotFoundError, PermissionError, ValueError) as error:
            yield Skip(name, ' '.join(str(error).split()))


def _tar_entries(name: str, made: Path, left_out: Counter[str]) -> Iterator[MediaFile | Skip]:
    """Pictures in a tar, called as if it were a folder.

    Raises:
        ValueError: At the end: if it is cut off, damaged, or no tar.
    """
    with opened(name) as file:
        for info in tar_members(file):
            ending = suffix_of(info.name)
            if ending not in IMAGE_SUFFIXES:
                left_out[f'files in tars that are no pictures ({ending or "no ending"})'] += 1
                continue
            yield _member(file, info, made / f'member{ending}', f'{name}/{info.name}')


def _member(file: Any, info: tarfile.TarInfo, path: Path, name: str) -> MediaFile | Skip:
    if info.size > MAX_PICTURE_BYTES:
        return Skip(name, f'has {info.size:,} bytes, a picture has at most {MAX_PICTURE_BYTES:,}')
    copy_part(file, info.offset_data, info.size, path)
    return MediaFile(path, name)
