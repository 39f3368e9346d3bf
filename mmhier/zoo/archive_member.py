"""One member of an archive, and nothing else of it, within bounds that are known before.

ZIP and tar, the latter also compressed by gzip. An archive with a member whose name leads out of its folder
is refused whole, and so is one that would unpack to far more than it can hold.
"""

import gzip
import os
import tarfile
import zlib
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from mmhier.atomic import new_file
from mmhier.safe_files import FREE_BYTES, MAX_RATIO, Archive, Bounded, open_file

BLOCK = 1 << 20
# What may lie between two members of a tar: headers, long names.
HEADER_BYTES = 1 << 20


def extract_member(path: Path, member: str, target: Path, expected_bytes: int | None = None) -> None:
    """Write one member of an archive to a file.

    Args:
        path: The archive.
        member: The member's name, or a pattern (``**/end2end.onnx``) that fits one member.
        target: The file, which is whole or not there.
        expected_bytes: Size that the member has to have, if it is known.

    Raises:
        ValueError: If it is no archive, damaged or hostile, or not exactly one member fits.
    """
    with open_file(path) as file:
        start = file.read(4)
        file.seek(0)
        take = _from_zip if start.startswith(b'PK') else _from_tar
        with new_file(target) as part:
            take(file, str(path), member, part, expected_bytes)


def _fits(name: str, pattern: str) -> bool:
    """Whether a member's name is that of a pattern, in which ``**/`` stands for any folders or none."""
    return fnmatchcase(name, pattern) or (pattern.startswith('**/') and fnmatchcase(name, pattern[3:]))


def _check_name(name: str, archive: str) -> str:
    """A member's name without ``./``."""
    path = PurePosixPath(name.replace('\\', '/'))
    if path.is_absolute() or '..' in path.parts or (path.parts and ':' in path.parts[0]):
        raise ValueError(f'{archive} is refused: its member {name[:100]!r} leads out of its folder')
    return str(path)


def _check_size(size: int, expected: int | None, name: str, archive: str) -> None:
    if expected is not None and size != expected:
        raise ValueError(f'{archive}: {name} unpacks to {size:,} bytes instead of {expected:,}')


def _from_zip(file: BinaryIO, archive: str, member: str, part: Path, expected: int | None) -> None:
    with_names = Archive(file, archive)
    fitting = [name for name in with_names.names if _fits(_check_name(name, archive), member)]
    if len(fitting) != 1:
        raise ValueError(f'{archive} has {len(fitting)} members {member}, expected one')
    _check_size(with_names.size(fitting[0]), expected, fitting[0], archive)
    part.write_bytes(with_names.read(fitting[0]))


def _from_tar(file: BinaryIO, archive: str, member: str, part: Path, expected: int | None) -> None:
    limit = max(FREE_BYTES, MAX_RATIO * file.seek(0, os.SEEK_END))
    file.seek(0)
    is_gzip = file.read(2) == b'\x1f\x8b'
    file.seek(0)
    budget = _Budget(gzip.GzipFile(fileobj=file) if is_gzip else Bounded(file), archive)
    fitting = []
    try:
        with tarfile.open(fileobj=budget, mode='r|', format=tarfile.PAX_FORMAT) as tar:
            for info in tar:
                name = _check_name(info.name, archive)
                if (limit := limit - info.size) < 0:
                    raise ValueError(f'{archive} would unpack to far more than its own size: {name}')
                budget.allow(info.size)
                if not _fits(name, member):
                    continue
                fitting.append(name)
                if not info.isreg() or len(fitting) > 1:
                    raise ValueError(f'{archive}: {member} is no file, or there are several: {fitting}')
                _check_size(info.size, expected, name, archive)
                with part.open('wb') as out:
                    _copy(tar.extractfile(info), out, info.size, archive)
    except (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, RecursionError) as error:
        # RecursionError: tarfile calls itself for every header that stands before another one
        raise ValueError(f'{archive} is not a ZIP or tar archive, or a damaged one ({error})') from error
    if not fitting:
        raise ValueError(f'{archive} has no member {member}')


def _copy(stream: BinaryIO, out: BinaryIO, size: int, archive: str) -> None:
    while size:
        block = stream.read(min(size, BLOCK))
        if not block:
            raise ValueError(f'{archive} is damaged: it ends within a member')
        out.write(block)
        size -= len(block)


class _Budget:
    """A stream of which a tar reader gets no more than the headers and members that it has come to."""

    def __init__(self, stream: BinaryIO | Bounded, archive: str):
        self._stream, self._archive = stream, archive
        self._left = HEADER_BYTES

    def allow(self, size: int) -> None:
        """Allow a member of this size, and the headers behind it."""
        self._left = size + HEADER_BYTES

    def read(self, size: int) -> bytes:
        """Read ``size`` bytes, or what is left."""
        block = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise ValueError(
                f'{self._archive} is refused: it has headers of more than {HEADER_BYTES:,} bytes'
            )
        return block
