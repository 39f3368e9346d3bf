"""What ``mmhier infer`` prints of a run: how far it is, what was done, what was not."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmhier.inference.inferencer import InferenceRun
    from mmhier.inference.written_run import WrittenRun
    from mmhier.media import Skip

_FOCAL_SOURCES = dict(
    assumed='assumed (55 degrees over the longer side; --fov or --focal, if you know it)',
    exif='of EXIF',
    official='of HMR2.0 (distances mean nothing)',
)
_SHOWN = 5  # files and skips that are listed


@contextmanager
def progress(inference: 'InferenceRun', quiet: bool) -> Iterator[Callable[[], None]]:
    """A bar with the rate and the time that is left; call what is yielded to move it."""
    if quiet:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn('frames'), BarColumn(), MofNCompleteColumn(), TextColumn('{task.fields[rate]}'),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task('frames', total=inference.total(), rate='')

        def advance() -> None:
            seconds = bar.tasks[0].elapsed or 0
            rate = f'{inference.frames / seconds:.1f}/s' if seconds else ''
            bar.update(task, completed=inference.frames, rate=rate)

        yield advance


def print_report(run: 'WrittenRun', folder: Path, wall: float, seconds: dict[str, float]) -> None:
    """Say what was done and where the time went.

    Args:
        run: What has run.
        folder: Where its files are.
        wall: Seconds from the start of the command.
        seconds: What they were spent on.
    """
    inference, files = run.inference, run.files
    print(f'{inference.frames} frames, {inference.people} people in {wall:.1f} s: {_spent(seconds)}')
    print(f'beside that, in other threads: {_spent(run.seconds_beside)}')
    sources = [_FOCAL_SOURCES[name] for name in inference.focal_sources if name in _FOCAL_SOURCES]
    if sources:
        print(f'distances from the camera: focal length {", ".join(sources)}')
    for path in files[-_SHOWN:]:
        print(printable(path))
    if len(files) > _SHOWN:
        print(f'and {len(files) - _SHOWN} more files in {printable(folder)}')
    print_left_out(run.left_out)


def print_left_out(left_out: Counter[str]) -> None:
    """Say what was found and not used, by reason."""
    if left_out:
        parts = (f'{reason}: {count}' for reason, count in left_out.items())
        print(f'mmhier: left out: {", ".join(parts)}', file=sys.stderr)


def print_skips(skips: 'list[Skip]') -> None:
    """Name what could not be read; all of it is in results.json."""
    for skip in skips[:_SHOWN]:
        print(f'mmhier: {skip}', file=sys.stderr)
    if len(skips) > _SHOWN:
        print(f'mmhier: the like in {len(skips) - _SHOWN} more places', file=sys.stderr)


def printable(path: Path | str) -> str:
    """A path whose name need not be UTF-8, as a terminal takes it."""
    return str(path).encode(errors='backslashreplace').decode()


def _spent(seconds: dict[str, float]) -> str:
    return ', '.join(f'{stage} {spent:.1f} s' for stage, spent in seconds.items())
