"""Reads npz files of SPIN and its descendants, which may contain pickled text, executing nothing."""

import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmhier.body_models.smpl_pickle import Array, read_pickle

# What a damaged zip archive makes its reader raise; RuntimeError: it is encrypted.
_DAMAGE = (zipfile.BadZipFile, EOFError, KeyError, zlib.error, NotImplementedError, RuntimeError)


def read_npz(
    path: str | Path, fields: Sequence[str], text_fields: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """Read those fields of an npz file that are there; others are not even looked at.

    Args:
        path: The file.
        fields: Numeric fields.
        text_fields: Fields of strings: stored as such, as bytes, or as pickled objects.

    Returns:
        Field -> array; text as an array of str.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not an npz file, or a field is damaged or no array.
    """
    contents = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = set(archive.namelist())
            for field in (*fields, *text_fields):
                if f'{field}.npy' in members:
                    contents[field] = archive.read(f'{field}.npy')
    except FileNotFoundError:
        raise
    except (*_DAMAGE, OSError) as error:
        raise ValueError(f'{path} is not an npz file, or a damaged one: {error}') from error
    found = {}
    for field, content in contents.items():
        read = _read_text if field in text_fields else _read_numbers
        found[field] = read(content, f'{path}: {field}')
    return found


def _read_numbers(content: bytes, source: str) -> np.ndarray:
    try:
        array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, MemoryError) as error:
        raise ValueError(f'{source} is not an array of numbers: {error}') from error
    if array.dtype.kind not in 'fiub':
        raise ValueError(f'{source} is not an array of numbers but of {array.dtype}')
    return array


def _read_text(content: bytes, source: str) -> np.ndarray:
    try:
        text = _texts(content, source)
    except (ValueError, EOFError, MemoryError) as error:
        known = str(error).startswith(source)
        raise ValueError(str(error) if known else f'{source} is no text: {error}') from error
    if not all(isinstance(value, str) for value in text):
        raise ValueError(f'{source} holds something that is no text')
    return np.array(text, np.str_)


def _texts(content: bytes, source: str) -> list:
    stream = io.BytesIO(content)
    version = np.lib.format.read_magic(stream)
    read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in read_header:
        raise ValueError(f'{source} has the unknown npy version {version}')
    *_, dtype = read_header[version](stream)
    if dtype.hasobject:
        recorded = read_pickle(stream.read(), source)
        values = recorded.state[-1] if type(recorded) is Array and recorded.state else None
        if not isinstance(values, list):
            raise ValueError(f'{source} is no list of text')
    else:
        values = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False).ravel().tolist()
    return [value.decode() if isinstance(value, bytes) else value for value in values]
