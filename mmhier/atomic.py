"""Files that are whole or not there."""

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_file(path: str | Path, durable: bool = False) -> Iterator[Path]:
    """A temporary path beside ``path``, with its ending; the file written there replaces ``path`` at the end.

    After an error the temporary file is gone and ``path`` is as it was. Folders are made. An error of the
    system, such as a full disk, names ``path``.

    Args:
        path: The file.
        durable: Have the disk hold the new file before the old one is given up, so that not even a power cut
            leaves neither.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{os.getpid()}.{time.monotonic_ns()}.{path.name}')
    try:
        yield temporary
        if durable:
            _flush(temporary)
        os.replace(temporary, path)
        if durable:
            _flush(path.parent)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary), temporary):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def remove_leftovers(folder: str | Path, pattern: str) -> list[Path]:
    """Delete what :func:`new_file` left behind in a folder when its process was killed, and return it.

    Args:
        folder: The folder; nobody else may be writing there.
        pattern: Regular expression of the names of the files that were to be made.
    """
    unfinished = re.compile(rf'\.\d+\.\d+\.({pattern})')
    left = sorted(path for path in Path(folder).glob('.*') if unfinished.fullmatch(path.name))
    for path in left:
        path.unlink()
    return left


def _flush(path: Path) -> None:
    """Wait until the disk holds a file, or a folder's list of its files."""
    if path.is_dir() and os.name == 'nt':
        return  # Windows has no such call
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
