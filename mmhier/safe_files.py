"""The gate through which files from outside are read: nothing in them hangs, floods or ends the process.

What is read has to be a regular file (a pipe or a device would block or never end, and so would some files of
/proc, whose size says 0) of a size that fits its kind. Sizes that a file only claims are compared with the
bytes that are there before memory is taken, nesting is bounded, and the checksums of a ZIP archive are
compared. Whatever is wrong becomes one sentence with the name of the file: a ``FileNotFoundError``, a
``PermissionError``, and for the rest a ``ValueError``.

Standard library and numpy only. Pickles: :mod:`mmhier.safe_pickle` and :mod:`mmhier.compat.checkpoint`.
"""

import errno
import hashlib
import io
import json
import math
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

BLOCK = 1 << 20
MAX_TEXT_BYTES = 1 << 30
MAX_PICTURE_BYTES = 1 << 30
# The largest annotation files in use have 1 to 2 GB.
MAX_JSON_BYTES = 4 << 30
# A ZIP archive may unpack to this many bytes, or to this many times its own size if that is more.
FREE_BYTES = 256 << 20
MAX_RATIO = 32
# In which the header of an .npy file ends; numpy reads none of more than 10,000 bytes.
NPY_HEAD = 1 << 14

_KINDS = {
    stat.S_IFDIR: 'a folder', stat.S_IFIFO: 'a pipe', stat.S_IFSOCK: 'a socket', stat.S_IFCHR: 'a device',
    stat.S_IFBLK: 'a device',
}  # fmt: skip
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


@contextmanager
def open_file(path: str | os.PathLike, max_bytes: int | None = None) -> Iterator[BinaryIO]:
    """Open a file that has to be a regular one, for reading bytes.

    Args:
        path: The file; links are followed.
        max_bytes: Largest size that this kind of file can have.

    Raises:
        FileNotFoundError: If there is no such file.
        PermissionError: If it may not be read.
        ValueError: If it is a folder, a pipe or a device, its name is impossible, it is too large, or its
            disk fails while it is read.
    """
    path = os.fspath(path)
    # Without O_NONBLOCK to open a pipe is to wait for its writer.
    flags = os.O_RDONLY | getattr(os, 'O_NONBLOCK', 0) | getattr(os, 'O_BINARY', 0)
    try:
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise _explained(error, path) from error
    about = os.fstat(descriptor)
    if not stat.S_ISREG(about.st_mode):
        os.close(descriptor)
        kind = _KINDS.get(stat.S_IFMT(about.st_mode), 'something else')
        raise ValueError(f'{path} is {kind}, expected a regular file')
    with os.fdopen(descriptor, 'rb') as file:
        if max_bytes is not None and about.st_size > max_bytes:
            raise ValueError(f'{path} has {about.st_size:,} bytes, such a file has at most {max_bytes:,}')
        if not about.st_size and _holds_something(descriptor, path):
            raise ValueError(
                f'{path} holds data although its size is 0, as files of /proc do: expected a regular file'
            )
        try:
            yield file
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            raise _explained(error, path) from error


def _holds_something(descriptor: int, path: str) -> bool:
    try:
        return bool(os.read(descriptor, 1))
    except OSError as error:
        raise _explained(error, path) from error


def check_file(path: str | os.PathLike, max_bytes: int | None = None) -> Path:
    """Make sure that another library can open a file by its name; errors as of :func:`open_file`."""
    with open_file(path, max_bytes):
        return Path(path)


def check_local(path: str | os.PathLike, max_bytes: int | None = None) -> None:
    """The same for what may also be an address: what is not on this machine is left to who reads it."""
    if os.path.exists(path):
        check_file(path, max_bytes)


def read_bytes(path: str | os.PathLike, max_bytes: int = MAX_TEXT_BYTES) -> bytes:
    """Read a whole file; errors as of :func:`open_file`."""
    with open_file(path, max_bytes) as file:
        try:
            return file.read()
        except (OSError, MemoryError) as error:
            raise _explained(error, os.fspath(path)) from error


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file of any size, in hexadecimal digits; errors as of :func:`open_file`."""
    digest = hashlib.sha256()
    with open_file(path) as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def read_text(path: str | os.PathLike, errors: str = 'strict', max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Read a file of UTF-8 text; ``errors`` as of ``bytes.decode``, errors as of :func:`open_file`."""
    try:
        return read_bytes(path, max_bytes).decode('utf-8-sig', errors)
    except UnicodeDecodeError as error:
        raise ValueError(f'{path} is not UTF-8 text ({error})') from error


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file; errors as of :func:`open_file` and :func:`parse_json`."""
    return parse_json(read_bytes(path, MAX_JSON_BYTES), os.fspath(path))


def parse_json(content: bytes | str, name: str) -> Any:
    """Read JSON; ``name`` is for messages.

    Raises:
        ValueError: If it is damaged, or nested more deeply than Python's stack.
    """
    try:
        return json.loads(content)
    except RecursionError:
        raise ValueError(f'{name} is not a usable JSON file (it is nested too deeply)') from None
    except (ValueError, MemoryError) as error:
        raise ValueError(f'{name} is not a JSON file ({_text(error)})') from error


class Archive:
    """A ZIP archive whose members are read whole, with their checksums compared.

    Args:
        file: The archive.
        name: For messages.
        max_bytes: What its members may unpack to; by default :data:`FREE_BYTES` or :data:`MAX_RATIO` times
            the size of the archive.

    Raises:
        ValueError: If it is no ZIP archive, damaged, would unpack to more, or has two members of one name.
    """

    def __init__(self, file: BinaryIO, name: str, max_bytes: int | None = None):
        self.name = name
        size = file.seek(0, os.SEEK_END)
        try:
            self._zip = zipfile.ZipFile(file)
        except Exception as error:  # zipfile meets damage with errors of many kinds
            raise ValueError(f'{name} is not a ZIP archive, or a damaged one ({_text(error)})') from error
        self._members = {info.filename: info for info in self._zip.infolist()}
        limit = max(FREE_BYTES, MAX_RATIO * size) if max_bytes is None else max_bytes
        total = sum(info.file_size for info in self._zip.infolist())
        if total > limit:
            raise ValueError(
                f'{name} has {size:,} bytes and would unpack to {total:,}, more than the {limit:,} that are '
                'taken; if that is right, write it again without compression'
            )
        if len(self._members) < len(self._zip.infolist()):
            raise ValueError(f'{name} is damaged: two of its members have the same name')

    @property
    def names(self) -> list[str]:
        """Names of its members, without folders."""
        return [name for name, info in self._members.items() if not info.is_dir()]

    def size(self, member: str) -> int:
        """Bytes that a member unpacks to."""
        return self._members[member].file_size

    def checksum(self, member: str) -> int:
        """CRC-32 that a member should have."""
        return self._members[member].CRC

    @property
    def is_stored(self) -> bool:
        """Whether nothing is compressed."""
        return all(info.compress_type == zipfile.ZIP_STORED for info in self._members.values())

    def read(self, member: str) -> bytes:
        """Read a member.

        Raises:
            ValueError: If it is damaged or encrypted.
        """
        info = self._members[member]
        try:
            with self._zip.open(info) as stream:
                content = stream.read(info.file_size)  # unpacks no more than that, whatever there is
            if len(content) != info.file_size or (not content and info.CRC):
                raise EOFError(f'{len(content)} of {info.file_size} bytes')
        except Exception as error:  # as above
            raise ValueError(f'{self.name} is damaged or encrypted: {member} ({_text(error)})') from error
        return content

    def shape(self, member: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an .npy member, by its header alone.

        Raises:
            ValueError: If it is damaged, or its shape does not fit its bytes.
        """
        with self._stream(member) as stream:
            head = stream.read(NPY_HEAD)
        return self._header(member, head)[:2]

    def rows(self, member: str, count: int) -> Iterator[np.ndarray]:
        """Read an .npy member some rows at a time; what lies in Fortran's order, or no rows has, at once.

        Args:
            member: Which.
            count: How many rows.

        Raises:
            ValueError: If it is damaged or encrypted, its shape does not fit its bytes, or it holds Python
                objects.
        """
        with self._stream(member) as stream:
            head = stream.read(NPY_HEAD)
            shape, dtype, is_fortran, start = self._header(member, head)
            if dtype.hasobject:
                raise ValueError(f'{self.name}: {member} holds Python objects, which are not read')
            if not shape or (is_fortran and len(shape) > 1):
                yield parse_npy(head + stream.read(), f'{self.name}: {member}')
                return
            left, row = head[start:], dtype.itemsize * math.prod(shape[1:])
            for first in range(0, shape[0], count):
                number = min(count, shape[0] - first)
                # One byte more, so that the end is met and the checksum compared.
                left += stream.read(max(0, number * row + 1 - len(left)))
                content, left = left[: number * row], left[number * row :]
                if len(content) < number * row:
                    raise ValueError(f'{self.name} is damaged: {member} ends early')
                yield np.frombuffer(content, dtype).reshape(number, *shape[1:])

    @contextmanager
    def _stream(self, member: str) -> Iterator[Any]:
        """Open a member; what its damage raises says whose it is."""
        try:
            with self._zip.open(self._members[member]) as stream:
                yield stream
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise ValueError(f'{self.name} is damaged or encrypted: {member} ({_text(error)})') from error

    def _header(self, member: str, head: bytes) -> tuple[tuple[int, ...], np.dtype, bool, int]:
        shape, is_fortran, dtype, start = npy_header(head, f'{self.name}: {member}')
        if not dtype.hasobject and math.prod(shape) * dtype.itemsize != self.size(member) - start:
            raise ValueError(
                f'{self.name}: {member}: its shape {str(shape)[:60]} does not fit its '
                f'{self.size(member) - start} bytes'
            )
        return shape, dtype, is_fortran, start


@contextmanager
def open_zip(path: str | os.PathLike, max_bytes: int | None = None) -> Iterator[Archive]:
    """Open a ZIP archive; errors as of :func:`open_file` and :class:`Archive`."""
    with open_file(path) as file:
        yield Archive(file, os.fspath(path), max_bytes)


def read_npz(
    path: str | os.PathLike, fields: Sequence[str] | None = None, max_bytes: int | None = None
) -> dict[str, np.ndarray]:
    """Read arrays of an .npz file; Python objects are not read.

    Args:
        path: The file.
        fields: Those of them that are there; by default all.
        max_bytes: See :class:`Archive`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, or a field holds Python objects.
    """
    with open_zip(path, max_bytes) as archive:
        members = {name.removesuffix('.npy'): name for name in archive.names if name.endswith('.npy')}
        if not members:
            raise ValueError(f'{path} holds no arrays')
        chosen = [field for field in members if fields is None or field in fields]
        return {field: parse_npy(archive.read(members[field]), f'{path}: {field}') for field in chosen}


def read_npy(path: str | os.PathLike, max_bytes: int = MAX_TEXT_BYTES) -> np.ndarray:
    """Read an .npy file; errors as of :func:`open_file` and :func:`parse_npy`."""
    return parse_npy(read_bytes(path, max_bytes), os.fspath(path))


def parse_npy(content: bytes, name: str) -> np.ndarray:
    """Read an array of the .npy format; ``name`` is for messages.

    Raises:
        ValueError: If it is damaged, its shape does not fit its data, or it holds Python objects.
    """
    shape, is_fortran, dtype, start = npy_header(content, name)
    if dtype.hasobject:
        raise ValueError(f'{name} holds Python objects, which are not read')
    if math.prod(shape) * dtype.itemsize != len(content) - start:
        raise ValueError(f'{name}: its shape {str(shape)[:60]} does not fit its {len(content) - start} bytes')
    try:
        flat = np.frombuffer(content, dtype, offset=start).copy() if math.prod(shape) else np.empty(0, dtype)
        return flat.reshape(shape, order='F' if is_fortran else 'C')
    except (ValueError, MemoryError) as error:
        raise ValueError(f'{name} is not a usable array ({_text(error)})') from error


def npy_header(content: bytes, name: str) -> tuple[tuple[int, ...], bool, np.dtype, int]:
    """Shape, whether in Fortran's order, type, and where the data begin, of an array of the .npy format."""
    stream = io.BytesIO(content)
    try:
        shape, is_fortran, dtype = _HEADERS[np.lib.format.read_magic(stream)](stream)
        if not all(size >= 0 for size in shape):
            raise ValueError(f'its shape is {str(shape)[:60]}')
    except Exception as error:  # the header is a Python literal, and fails as one
        raise ValueError(f'{name} is not a readable .npy array ({_text(error)})') from error
    return shape, is_fortran, dtype, stream.tell()


class Bounded:
    """A file whose ``read`` takes no memory for more bytes than there are."""

    def __init__(self, file: BinaryIO):
        self._file = file
        position = file.tell()
        self._size = file.seek(0, os.SEEK_END)
        file.seek(position)
        self.tell, self.seek, self.readline = file.tell, file.seek, file.readline

    def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes, all that are left by default."""
        left = max(0, self._size - self._file.tell())
        return self._file.read(left if size is None or size < 0 else min(size, left))


def _explained(error: Exception, path: str) -> Exception:
    """The error to raise for one of the system."""
    number = getattr(error, 'errno', None)
    if number in (errno.ENOENT, errno.ENOTDIR):
        return FileNotFoundError(f'{path} does not exist')
    if number in (errno.EACCES, errno.EPERM):
        return PermissionError(f'{path} may not be read')
    if number == errno.ENXIO:
        return ValueError(f'{path} is a socket, expected a regular file')
    shown = path if len(path) <= 200 else f'{path[:100]}...{path[-60:]}'
    return ValueError(f'{shown} cannot be read ({getattr(error, "strerror", None) or _text(error)})')


def _text(error: Exception) -> str:
    """What an error says, in one line."""
    return ' '.join(str(error).split()) or type(error).__name__
