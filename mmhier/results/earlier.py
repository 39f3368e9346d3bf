"""What earlier runs have left in a folder of results, and taking that away without anything else.

Nothing that a run reads is taken away for its results: :func:`check_inputs` refuses that before.

``.mmhier.files`` in the folder lists what mmhier wrote there: names, sizes and times of the last change. What
has been changed or replaced since is somebody else's, and so is everything that is not listed.
"""

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path, PurePath

from mmhier.atomic import new_file
from mmhier.safe_files import read_json

NAME = '.mmhier.files'

_Mark = list[int]  # bytes, nanoseconds


def earlier_files(folder: str | Path) -> list[Path]:
    """Files of earlier runs that are still there as they were written.

    Raises:
        ValueError: If the list is damaged.
    """
    folder = Path(folder)
    return [folder / name for name, mark in _read(folder).items() if _mark(folder / name) == mark]


def record_files(folder: str | Path, files: Iterable[Path]) -> None:
    """Add files to the list of a folder, and forget those that are gone.

    Args:
        folder: The folder.
        files: What a run has written; what is not in the folder is not listed.
    """
    folder = Path(folder)
    listed = {name: mark for name, mark in _read(folder).items() if _mark(folder / name) == mark}
    for path in files:
        with contextlib.suppress(ValueError):
            listed[path.relative_to(folder).as_posix()] = _mark(path)
    listed = {name: mark for name, mark in listed.items() if mark is not None}
    if listed:
        with new_file(folder / NAME) as temporary:
            temporary.write_text(json.dumps(listed, indent=0), encoding='utf-8')
    else:
        (folder / NAME).unlink(missing_ok=True)


def check_inputs(folder: str | Path, inputs: Iterable[Path]) -> None:
    """Refuse to remove what earlier runs have left, if some of it is to be read.

    Args:
        folder: The folder.
        inputs: Files that a run reads; a link is the file that it leads to.

    Raises:
        ValueError: If one of them is listed, or the list is damaged.
    """
    earlier = {_identity(path): path for path in earlier_files(folder)}
    for path in inputs:
        if path.is_file() and (found := earlier.get(_identity(path))) is not None:
            raise ValueError(
                f'--overwrite would remove {found}, which this run reads: name another --out or other inputs'
            )


def remove_earlier(folder: str | Path, keep: Iterable[Path] = ()) -> int:
    """Delete what earlier runs have left, and folders that are empty then.

    Args:
        folder: The folder.
        keep: What a run has written over it.

    Returns:
        The number of files.
    """
    folder, kept = Path(folder), set(keep)
    files = [path for path in earlier_files(folder) if path not in kept]
    for path in files:
        path.unlink()
    for parent in sorted({path.parent for path in files} - {folder}, reverse=True):
        with contextlib.suppress(OSError):
            parent.rmdir()
    if not kept:
        (folder / NAME).unlink(missing_ok=True)
    return len(files)


def _read(folder: Path) -> dict[str, _Mark]:
    path = folder / NAME
    if not path.is_file():
        return {}
    listed = read_json(path)
    good = isinstance(listed, dict) and all(
        isinstance(mark, list) and not PurePath(name).is_absolute() and '..' not in PurePath(name).parts
        for name, mark in listed.items()
    )
    if not good:
        raise ValueError(
            f'{path} is damaged: it should list what mmhier wrote. Remove it, or choose another --out'
        )
    return listed


def _identity(path: Path) -> tuple[int, int]:
    """The same for all names of a file."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def _mark(path: Path) -> _Mark | None:
    """Size and time of a regular file; None of anything else."""
    if path.is_symlink() or not path.is_file():
        return None
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns]
