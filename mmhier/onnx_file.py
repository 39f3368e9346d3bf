"""Which other files an ONNX file refers to, found without loading it.

Weights can lie in other files (``external_data`` of a tensor, with a location relative to the file's folder).
Current runtimes refuse locations outside of that folder, older ones open them. Only the messages that can
hold tensors are followed, by the numbers of their fields in ``onnx.proto``.
"""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from mmhier.safe_files import check_file, open_file

MAX_DEPTH = 100
MAX_BYTES = 2 << 30  # of a protobuf file

# Message -> number of a field -> message in it.
_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _SPARSE, _FUNCTION, _TRAINING = range(8)
_MESSAGES = {
    _MODEL: {7: _GRAPH, 20: _TRAINING, 25: _FUNCTION},
    _GRAPH: {1: _NODE, 5: _TENSOR, 15: _SPARSE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH, 22: _SPARSE, 23: _SPARSE},
    _SPARSE: {1: _TENSOR, 2: _TENSOR},
    _FUNCTION: {7: _NODE, 11: _ATTRIBUTE},
    _TRAINING: {1: _GRAPH, 2: _GRAPH},
}
_EXTERNAL_DATA = 13


def check_onnx(path: str | os.PathLike) -> None:
    """Make sure that an ONNX file is whole and refers to regular files in its own folder only.

    Raises:
        FileNotFoundError: If it does not exist, or what it refers to.
        ValueError: If it is no ONNX file, damaged, or refers to something else.
    """
    folder = Path(path).resolve().parent
    for location in external_files(path):
        target = Path(folder, location).resolve()
        if not target.is_relative_to(folder):
            raise ValueError(
                f'{path} takes weights from {location!r}, outside of its folder, and is refused; files of '
                'weights belong beside it'
            )
        check_file(target)


def external_files(path: str | os.PathLike) -> list[str]:
    """Locations of the files that hold weights of an ONNX file; errors as of :func:`check_onnx`."""
    with open_file(path, MAX_BYTES) as file:
        if not os.fstat(file.fileno()).st_size:
            raise ValueError(f'{path} is empty')
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            try:
                return sorted(set(_locations(content, 0, len(content), _MODEL, 0)))
            except (ValueError, IndexError) as error:
                raise ValueError(f'{path} is not an ONNX file, or a damaged one ({error})') from error


def _locations(content: mmap.mmap, start: int, end: int, message: int, depth: int) -> Iterator[str]:
    """What the tensors of a message refer to."""
    if depth > MAX_DEPTH:
        raise ValueError('it is nested too deeply')
    for field, first, last in _fields(content, start, end):
        if message == _TENSOR and field == _EXTERNAL_DATA:
            entry = {number: content[a:b] for number, a, b in _fields(content, first, last)}
            if entry.get(1) == b'location':
                yield entry.get(2, b'').decode()
        elif (inner := _MESSAGES.get(message, {}).get(field)) is not None:
            yield from _locations(content, first, last, inner, depth + 1)


def _fields(content: mmap.mmap, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, start and end of the fields of a message that have a length; numbers are passed over."""
    position = start
    while position < end:
        tag, position = _number(content, position, end)
        kind = tag & 7
        if kind == 2:
            length, position = _number(content, position, end)
            if length > end - position:
                raise ValueError(f'{length} bytes are claimed, {end - position} are left')
            yield tag >> 3, position, position + length
            position += length
        elif kind == 0:
            _, position = _number(content, position, end)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise ValueError(f'unknown kind of field {kind}')
    if position > end:
        raise ValueError('it is cut off')


def _number(content: mmap.mmap, position: int, end: int) -> tuple[int, int]:
    """A number of variable length, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise ValueError('it is cut off')
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError('a number has too many bytes')
