"""Vertices of a PLY file: the three coordinates of its first element, as text or binary.

http://paulbourke.net/dataformats/ply/ - colours, normals and faces are not read.
"""

from pathlib import Path

import numpy as np

from mmhier.safe_files import read_bytes

_TYPES = {
    'char': 'i1', 'int8': 'i1', 'uchar': 'u1', 'uint8': 'u1', 'short': 'i2', 'int16': 'i2', 'ushort': 'u2',
    'uint16': 'u2', 'int': 'i4', 'int32': 'i4', 'uint': 'u4', 'uint32': 'u4', 'float': 'f4', 'float32': 'f4',
    'double': 'f8', 'float64': 'f8',
}  # fmt: skip
_ORDERS = {'ascii': None, 'binary_little_endian': '<', 'binary_big_endian': '>'}
_HEADER_BYTES = 1 << 14


def read_ply_vertices(path: str | Path) -> np.ndarray:
    """Read them.

    Returns:
        (V, 3) float64.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no PLY file, or a damaged one.
    """
    content = read_bytes(path)
    end = content.find(b'end_header', 0, _HEADER_BYTES)
    start = content.find(b'\n', end) + 1
    if not content.startswith(b'ply') or end < 0 or not start:
        raise ValueError(f'{path} is not a PLY file')
    try:
        lines = [line.split() for line in content[:end].decode('ascii').splitlines()]
        order = next(_ORDERS[line[1]] for line in lines if line[:1] == ['format'])
        elements = [number for number, line in enumerate(lines) if line[:1] == ['element']]
        first = lines[elements[0] : elements[1] if len(elements) > 1 else None]
        (_, name, count), properties = first[0], [line[1:] for line in first if line[:1] == ['property']]
        fields = [(name, (order or '<') + _TYPES[kind]) for kind, name in properties]
        if name != 'vertex' or not 0 < int(count) <= len(content):
            raise ValueError(f'its first element is {count} of "{name}"')
        dtype = np.dtype(fields)
        if order is None:
            rows = [line.split() for line in content[start:].decode('ascii').splitlines()[: int(count)]]
            table = {field: [row[number] for row in rows] for number, (field, _) in enumerate(fields)}
        else:
            table = np.frombuffer(content, dtype, int(count), start)
        vertices = np.stack([np.asarray(table[axis], np.float64) for axis in 'xyz'], 1)
    except (ValueError, KeyError, IndexError, StopIteration, TypeError) as error:
        raise ValueError(f'{path} is not a usable PLY file ({str(error) or type(error).__name__})') from error
    if len(vertices) != int(count) or not np.isfinite(vertices).all():
        raise ValueError(f'{path} has {len(vertices)} of {count} vertices, or some that are not finite')
    return vertices
