"""Files on this machine, or at an address that fsspec opens (``s3://``, ``gs://``, ``az://`` ...).

What is on this machine is named by its path, as everywhere; what is elsewhere by its address. A file is put
in its place as a whole: on this machine by renaming it, in object storage because nothing else exists there.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from glob import glob, has_magic
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from mmhier.atomic import new_file
from mmhier.safe_files import BLOCK, MAX_JSON_BYTES, open_file, read_bytes
from mmhier.suggestions import similar_path


def is_address(name: str) -> bool:
    """Whether a name is an address, and no path."""
    return '://' in name


def suffix_of(name: str) -> str:
    """Ending of the last part, in small letters."""
    return PurePosixPath(name).suffix.lower() if is_address(name) else Path(name).suffix.lower()


def join(folder: str, name: str) -> str:
    """A name in a folder."""
    return f'{folder.rstrip("/")}/{name}' if is_address(folder) else str(Path(folder) / name)


def list_names(name: str) -> tuple[list[str], bool]:
    """Files that a path or an address stands for.

    Args:
        name: Of a file, a folder (neither hidden files nor those of folders in it), or a pattern.

    Returns:
        The files, sorted, and whether they are those of a folder or a pattern.

    Raises:
        FileNotFoundError: If it stands for nothing.
        ImportError: If what opens such an address is not installed.
        ValueError: If it is no address that anything opens.
        OSError: If the storage does not answer.
    """
    if is_address(name):
        return _list_addresses(name)
    path = Path(name).expanduser()
    if path.is_file():
        return [str(path)], False
    if path.is_dir():
        entries = [entry for entry in path.iterdir() if not entry.name.startswith('.')]
    elif has_magic(str(path)):
        entries = [Path(found) for found in glob(str(path), recursive=True)]
    else:
        raise FileNotFoundError(f'{name} does not exist{similar_path(path)}')
    return sorted(str(entry) for entry in entries if not entry.is_dir()), True


def _list_addresses(address: str) -> tuple[list[str], bool]:
    with _answering(address):
        system, path = _system(address)
        if has_magic(path):
            found = system.glob(path, detail=True).values()
        elif (about := system.info(path))['type'] == 'file':
            return [address], False
        else:
            found = system.ls(about['name'], detail=True)
        names = [entry['name'] for entry in found if entry['type'] == 'file']
        names = [one for one in names if not PurePosixPath(one).name.startswith('.')]
        return sorted(system.unstrip_protocol(one) for one in names), True


@contextlib.contextmanager
def fetched(name: str) -> Iterator[Path]:
    """A file on this machine with the content of another, for as long as the context lasts.

    Raises:
        FileNotFoundError: If there is no such file.
        OSError: If it cannot be fetched.
    """
    if not is_address(name):
        yield Path(name).expanduser()
        return
    with tempfile.TemporaryDirectory(prefix='mmhier-') as folder:
        path = Path(folder, f'fetched{suffix_of(name)}')
        with _answering(name):
            system, place = _system(name)
            system.get_file(place, str(path))
        yield path


@contextlib.contextmanager
def opened(name: str) -> Iterator[BinaryIO]:
    """A file for reading bytes here and there; errors as of :func:`fetched`."""
    if not is_address(name):
        with open_file(Path(name).expanduser()) as file:
            yield file
        return
    with _answering(name):
        system, place = _system(name)
        with system.open(place, 'rb') as file:
            yield file


def read_content(name: str) -> bytes | None:
    """A whole file, None if there is none."""
    try:
        if not is_address(name):
            return read_bytes(name, MAX_JSON_BYTES)
        with opened(name) as file:
            return file.read()
    except FileNotFoundError:
        return None


def names_in(folder: str) -> set[str]:
    """Last parts of the names of the files in a folder; none if there is no such folder."""
    try:
        if not is_address(folder):
            return {entry.name for entry in Path(folder).iterdir()}
        with _answering(folder):
            system, place = _system(folder)
            system.invalidate_cache()
            return {PurePosixPath(entry).name for entry in system.ls(place, detail=False)}
    except FileNotFoundError:
        return set()


def put(path: Path, name: str) -> None:
    """Copy a file to its place, where it is whole or not there.

    Raises:
        OSError: If it cannot be written.
    """
    if is_address(name):
        with _answering(name):
            system, place = _system(name)
            system.put_file(str(path), place)
        return
    with new_file(name, durable=True) as temporary:
        shutil.copyfile(path, temporary)


def copy_part(file: BinaryIO, offset: int, size: int, path: Path) -> None:
    """Write a part of a file to a new one."""
    file.seek(offset)
    with open(path, 'wb') as target:
        while size and (block := file.read(min(size, BLOCK))):
            target.write(block)
            size -= len(block)


def _system(address: str) -> tuple[Any, str]:
    """File system of an address, and the path in it."""
    import fsspec

    return fsspec.core.url_to_fs(address)


@contextlib.contextmanager
def _answering(address: str) -> Iterator[None]:
    """Libraries of storages have errors of their own, such as those about missing credentials."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f'{address} does not exist') from error
    except PermissionError as error:
        raise PermissionError(f'{address} may not be used ({error})') from error
    except ImportError as error:
        raise ImportError(f'{address}: {error}') from error
    except ValueError as error:
        raise ValueError(f'{address}: {error}') from error
    except Exception as error:
        raise OSError(f'{address} cannot be used ({type(error).__name__}: {error})') from error
