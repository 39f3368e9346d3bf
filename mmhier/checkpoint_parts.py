"""Checkpoints in parts, one per process of a sharded training, and how they become one again.

::

    epoch_2.pth                   what all processes have in common, and which parts belong to it
    epoch_2.parts/TOKEN_0.pth     weights and optimizer: the first process's rows of every tensor
    epoch_2.parts/TOKEN_1.pth     the second's ...

All of them are plain checkpoints, in which a tensor that is divided stands as a dictionary of its whole shape
and of the rows that are here. A checkpoint is there as soon as its first file is; its parts were before. Each
time it is written its parts have a name of their own, so that the old ones are whole until then.
"""

import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

PARTS = 'mmhier_parts'  # in the first file: dict(count=N, token=TOKEN)
DIVIDED = ('shape', 'rows')  # keys of a tensor that is divided
_TOKEN = re.compile(r'[0-9a-f]{16}')
_NAME = re.compile(r'\.?[0-9a-f.]*[0-9a-f]{16}_\d+\.pth')  # of a part, or of one that was not finished


def part_path(path: str | Path, token: str, number: int) -> Path:
    """Where a part of the checkpoint ``path`` lies."""
    return _folder(path) / f'{token}_{number}.pth'


def is_divided(value: Any) -> bool:
    """Whether this stands for a tensor of which the rows of one process are here."""
    return isinstance(value, Mapping) and tuple(value) == DIVIDED


def parts_of(content: Any, path: str | Path) -> list[Path]:
    """Paths of the parts of a checkpoint; none of a whole one.

    Args:
        content: Of its first file.
        path: Of its first file.

    Raises:
        FileNotFoundError: If a part is missing.
        ValueError: If what names them is damaged.
    """
    named = content.get(PARTS) if isinstance(content, Mapping) else None
    if named is None:
        return []
    count, token = (named.get(key) if isinstance(named, Mapping) else None for key in ('count', 'token'))
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or not isinstance(count, int) or count < 1:
        raise ValueError(f'checkpoint {path} is damaged: {named!r} names no parts')
    paths = [part_path(path, token, number) for number in range(count)]
    missing = [path.name for path in paths if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f'checkpoint {path} is of {count} processes, and {len(missing)} of its parts, such as '
            f'{missing[0]}, are not in {_folder(path)}: file and folder belong together'
        )
    return paths


def merge(content: dict[str, Any], path: str | Path, read: Callable[[Path], Any]) -> dict[str, Any]:
    """Put the parts of a checkpoint into it; a whole one stays as it is.

    Args:
        content: Of its first file.
        path: Of its first file.
        read: Reads a file.

    Raises:
        FileNotFoundError: If a part is missing.
        ValueError: If one is damaged, or does not fit the others.
    """
    paths = parts_of(content, path)
    if not paths:
        return content
    parts = [read(part) for part in paths]
    try:
        joined = _join(parts)
    except (TypeError, KeyError, IndexError, RuntimeError) as error:
        raise ValueError(f'the parts of checkpoint {path} do not fit each other: {error}') from error
    return {**{key: value for key, value in content.items() if key != PARTS}, **joined}


def remove_parts(path: str | Path, keep: str | None = None) -> None:
    """Delete the parts of a checkpoint, but those with the token to keep; nothing else in their folder."""
    folder = _folder(path)
    for part in folder.glob('*.pth') if folder.is_dir() else ():
        if _NAME.fullmatch(part.name) and not (keep and part.name.startswith(keep)):
            part.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        shutil.rmtree(folder)


def remove_what_no_checkpoint_names(folder: str | Path, read: Callable[[Path], Any]) -> None:
    """Delete parts that a killed run left behind in a folder of checkpoints; ``read`` reads a first file."""
    for parts in Path(folder).glob('*.parts'):
        path = parts.with_suffix('.pth')
        try:
            named = parts_of(read(path), path) if path.is_file() else []
        except (ValueError, OSError):
            continue  # damaged: whoever reads it says so
        remove_parts(path, named[0].name.partition('_')[0] if named else None)


def _folder(path: str | Path) -> Path:
    return Path(path).with_suffix('.parts')


def _join(parts: Sequence[Any]) -> Any:
    first = parts[0]
    if is_divided(first):
        whole = torch.cat([part['rows'] for part in parts])
        if any(tuple(part['shape']) != tuple(whole.shape) for part in parts):
            raise ValueError(f'rows make {tuple(whole.shape)}, expected {tuple(first["shape"])}')
        return whole
    if isinstance(first, Tensor):
        return first  # the same in all processes
    if isinstance(first, Mapping):
        return type(first)((key, _join([part[key] for part in parts])) for key in first)
    if isinstance(first, list | tuple):
        return type(first)(_join([part[number] for part in parts]) for number in range(len(first)))
    return first
