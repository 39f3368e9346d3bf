"""Reads npz files of SPIN and its descendants, which may contain pickled text, executing nothing."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmhier.safe_files import npy_header, open_zip, parse_npy
from mmhier.safe_pickle import Array, read_pickle, to_texts


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
    with open_zip(path) as archive:
        members = set(archive.names)
        contents = {
            field: archive.read(f'{field}.npy')
            for field in (*fields, *text_fields)
            if f'{field}.npy' in members
        }
    found = {}
    for field, content in contents.items():
        read = _read_text if field in text_fields else _read_numbers
        found[field] = read(content, f'{path}: {field}')
    return found


def _read_numbers(content: bytes, source: str) -> np.ndarray:
    array = parse_npy(content, source)
    if array.dtype.kind not in 'fiub':
        raise ValueError(f'{source} is not an array of numbers but of {array.dtype}')
    return array


def _read_text(content: bytes, source: str) -> np.ndarray:
    *_, dtype, start = npy_header(content, source)
    if dtype.hasobject:
        recorded = read_pickle(content[start:], source)
        if type(recorded) is not Array:
            raise ValueError(f'{source} is no list of text')
        return np.array(to_texts(recorded, source), np.str_)
    return np.array(to_texts(parse_npy(content, source).ravel().tolist(), source), np.str_)
