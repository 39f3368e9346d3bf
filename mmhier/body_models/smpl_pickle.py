"""Reads SMPL's .pkl files without executing anything.

A pickle is a program; Python's own reader would run whatever it calls. Here the names that a body model needs
(numpy arrays, scipy's sparse matrices, two array classes of chumpy) lead to inert stand-ins that only record
what they were given, every other name is refused, and so are opcodes that arrays do not need. Neither
chumpy nor scipy nor an old numpy is involved. Python-2 files (text is latin-1) and current ones are read.

After that, :func:`to_array` checks a recorded array (type, shape against the number of bytes, indices) and
makes a numpy array of it.
"""

import io
import math
import pickle
import re
import struct
from typing import Any

import numpy as np

SMPL_KEYS = ('v_template', 'shapedirs', 'posedirs', 'weights', 'J_regressor', 'kintree_table', 'f')
# Entries of a sparse matrix once it is dense (SMPL's has 165,360).
MAX_ENTRIES = 1 << 25

_CORE = ('numpy.core', 'numpy._core')


class StandIn:
    """What a pickle builds in place of a foreign object: it records its arguments and its state."""

    def __init__(self, *args: Any) -> None:
        self.args = args
        self.state: Any = None


class Dtype(StandIn):
    """``numpy.dtype(code, align, copy)``; its state holds the byte order."""


class Array(StandIn):
    """``numpy.ndarray`` and the function that makes one; state (version, shape, dtype, is_fortran, bytes)."""


class Scalar(StandIn):
    """``numpy.scalar(dtype, bytes)``."""


class Buffer(StandIn):
    """An array of pickle protocol 5: ``_frombuffer(bytes, dtype, shape, order)``."""


class Columns(StandIn):
    """``scipy.sparse.csc_matrix``; state with data, indices, indptr, _shape."""


class Rows(Columns):
    """``scipy.sparse.csr_matrix``."""


class Chumpy(StandIn):
    """``chumpy.ch.Ch``; state with the array ``x``."""


class Select(StandIn):
    """``chumpy.reordering.Select``; state with ``a``, ``idxs`` and ``preferred_shape``."""


class _Object:
    """``object``, named as the base class by pickles of protocol 0 and 1; never instantiated."""


def _reconstruct(cls: Any, base: Any, state: Any) -> StandIn:
    if not (isinstance(cls, type) and issubclass(cls, StandIn) and base is _Object and state is None):
        raise pickle.UnpicklingError('copyreg._reconstructor on something that is not an array')
    return cls()


def _encode(text: Any, encoding: Any = None) -> bytes:
    if not isinstance(text, str) or encoding not in ('latin1', 'latin-1'):
        raise pickle.UnpicklingError('_codecs.encode with another encoding than latin1')
    return text.encode('latin1')


def _empty(*args: Any) -> bytes:
    if args:
        raise pickle.UnpicklingError('bytes with arguments')
    return b''


_GLOBALS: dict[tuple[str, str], Any] = {
    ('numpy', 'dtype'): Dtype,
    ('numpy', 'ndarray'): Array,
    ('_codecs', 'encode'): _encode,
    ('__builtin__', 'bytes'): _empty,  # an empty array, by Python 3 in protocols before 3
    ('copyreg', '_reconstructor'): _reconstruct,
    ('copy_reg', '_reconstructor'): _reconstruct,
    ('builtins', 'object'): _Object,
    ('__builtin__', 'object'): _Object,
    ('chumpy', 'Ch'): Chumpy,
    ('chumpy.ch', 'Ch'): Chumpy,
    ('chumpy.reordering', 'Select'): Select,
}
for _core in _CORE:
    _GLOBALS[_core + '.multiarray', '_reconstruct'] = Array
    _GLOBALS[_core + '.multiarray', 'scalar'] = Scalar
    _GLOBALS[_core + '.numeric', '_frombuffer'] = Buffer
for _format, _class in (('csc', Columns), ('csr', Rows)):
    for _module in (f'scipy.sparse.{_format}', f'scipy.sparse._{_format}'):
        _GLOBALS[_module, f'{_format}_matrix'] = _class
        _GLOBALS[_module, f'{_format}_array'] = _class

# Opcodes for plain values, containers, and calls of the names above. Left out: persistent and extension
# identifiers, sets, Python-2 instances, out-of-band buffers.
_OPCODES = (
    'PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE '
    'INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT '
    'STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 '
    'UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 '
    'EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS '
    'PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE '
    'GLOBAL STACK_GLOBAL REDUCE NEWOBJ NEWOBJ_EX BUILD'
).split()


_KEY_TYPES = (str, bytes, int, float, type(None))


class _Opcodes(dict):
    def __missing__(self, code: int) -> None:
        raise pickle.UnpicklingError(f'it uses the opcode {code:#04x}, which no body model needs')


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler written in Python, whose opcodes can be replaced, with a short list of them."""

    dispatch = _Opcodes(
        (code, pickle._Unpickler.dispatch[code]) for code in (getattr(pickle, name)[0] for name in _OPCODES)
    )

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content), encoding='latin1', fix_imports=False)
        self.size = len(content)

    def find_class(self, module: Any, name: Any) -> Any:
        if (module, name) not in _GLOBALS:
            raise pickle.UnpicklingError(f'it refers to "{module}.{name}", which no body model needs')
        return _GLOBALS[module, name]

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.append(_call(self.stack.pop(), args))

    def load_newobj_ex(self) -> None:
        if self.stack.pop():
            raise pickle.UnpicklingError('it passes arguments by name')
        self.load_reduce()

    def load_build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], StandIn):
            raise pickle.UnpicklingError(f'it sets the state of a {type(self.stack[-1]).__name__}')
        self.stack[-1].state = state

    def load_bytearray8(self) -> None:
        (length,) = struct.unpack('<Q', self.read(8))
        if length > self.size:
            raise pickle.UnpicklingError('pickle data was truncated')
        self.append(self.read(length))

    def load_dict(self) -> None:
        pairs = _pairs(self.pop_mark())  # which replaces self.append
        self.append(pairs)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _fill(self.stack[-1], _pairs([key, value]))

    def load_setitems(self) -> None:
        pairs = _pairs(self.pop_mark())
        _fill(self.stack[-1], pairs)

    dispatch.update(
        {
            pickle.REDUCE[0]: load_reduce,
            pickle.NEWOBJ[0]: load_reduce,
            pickle.NEWOBJ_EX[0]: load_newobj_ex,
            pickle.BUILD[0]: load_build,
            pickle.BYTEARRAY8[0]: load_bytearray8,
            pickle.DICT[0]: load_dict,
            pickle.SETITEM[0]: load_setitem,
            pickle.SETITEMS[0]: load_setitems,
        }
    )


def _call(function: Any, args: Any) -> Any:
    """Call one of the known names, nothing else."""
    if not any(function is known for known in _GLOBALS.values()) or type(args) is not tuple:
        raise pickle.UnpicklingError(f'it calls a {type(function).__name__}')
    return function(*args)


def _pairs(items: list) -> dict:
    """Keys and values in turn; only simple keys, because hashing a deeply nested one overflows the stack."""
    keys = items[::2]
    if not all(type(key) in _KEY_TYPES for key in keys):
        raise pickle.UnpicklingError('it holds a dictionary whose keys are not text or numbers')
    return dict(zip(keys, items[1::2], strict=True))


def _fill(target: Any, pairs: dict) -> None:
    if type(target) is not dict:
        raise pickle.UnpicklingError(f'it sets items of a {type(target).__name__}')
    target.update(pairs)


# What a file that is no pickle, or a damaged one, makes the unpickler raise.
_DAMAGE = (
    pickle.UnpicklingError, EOFError, KeyError, IndexError, ValueError, TypeError, AttributeError,
    AssertionError, OverflowError, MemoryError, RecursionError, struct.error,
)  # fmt: skip


def read_pickle(content: bytes, source: str) -> Any:
    """Read a pickle into plain values and stand-ins, executing nothing.

    Args:
        content: the whole file.
        source: where it comes from, for messages.

    Returns:
        What it holds; arrays in it are :class:`StandIn` objects for :func:`to_array`.

    Raises:
        ValueError: if it is damaged or refers to anything but arrays.
    """
    try:
        return _Unpickler(content).load()
    except _DAMAGE as error:
        raise ValueError(
            f'{source} is not a pickle of arrays, or a damaged one: {str(error) or type(error).__name__}. '
            'Nothing in it was executed.'
        ) from error


def read_smpl_pickle(content: bytes, source: str) -> dict[str, np.ndarray]:
    """Read the arrays of a SMPL .pkl file.

    Args:
        content: the whole file.
        source: where it comes from, for messages.

    Returns:
        The arrays of :data:`SMPL_KEYS` that it holds, sparse ones made dense.

    Raises:
        ValueError: if it is damaged, refers to anything but arrays, or holds no dictionary.
    """
    values = read_pickle(content, source)
    if not isinstance(values, dict):
        raise ValueError(f'{source} holds no dictionary but a {type(values).__name__}: not a body model.')
    return {key: to_array(values[key], f'{source}: "{key}"') for key in SMPL_KEYS if key in values}


def to_array(value: Any, what: str, depth: int = 0) -> np.ndarray:
    """Make a numpy array of what a pickle recorded of one.

    Args:
        value: a stand-in.
        what: its name, for messages.
        depth: how many wrappers it lies in.

    Returns:
        An array that owns its memory; sparse matrices become dense.

    Raises:
        ValueError: if it is no array, or its parts contradict each other.
    """
    try:
        if depth > 4:
            raise ValueError('wrapped too often')
        for kind, convert in _CONVERTERS.items():
            if type(value) is kind:
                return convert(value, depth)
        raise ValueError(f'it is a {type(value).__name__}')
    except (ValueError, TypeError, KeyError, IndexError, OverflowError, MemoryError) as error:
        raise ValueError(f'{what} is not a usable array ({error}).') from error


def _dtype(value: Any) -> np.dtype:
    code = value.args[0] if type(value) is Dtype and value.args else None
    match = re.fullmatch(r'([<>|=]?)([fiu][1248]|b1)', code) if isinstance(code, str) else None
    if match is None:
        raise ValueError(f'its type {code!r} is not numeric')
    order = match[1]
    if value.state is not None:
        _, order, *parts = value.state
        if any(part is not None for part in parts[:3]) or order not in ('<', '>', '|', '='):
            raise ValueError(f'its type {code!r} has parts')
    return np.dtype(order + match[2])


def _from_bytes(raw: Any, dtype: np.dtype, shape: Any, order: str) -> np.ndarray:
    if isinstance(raw, str):  # bytes of Python 2
        raw = raw.encode('latin1')
    if type(shape) is not tuple or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError('its shape is not a tuple of sizes')
    if not isinstance(raw, bytes) or math.prod(shape) * dtype.itemsize != len(raw):
        raise ValueError(f'its shape {str(shape)[:60]} does not fit its data')
    array = np.frombuffer(raw, dtype).reshape(shape, order=order)
    return array.astype(dtype.newbyteorder('='))


def _array(value: Array, depth: int) -> np.ndarray:
    *_, shape, dtype, is_fortran, raw = value.state
    return _from_bytes(raw, _dtype(dtype), shape, 'F' if is_fortran else 'C')


def _buffer(value: Buffer, depth: int) -> np.ndarray:
    raw, dtype, shape, order = value.args
    return _from_bytes(raw, _dtype(dtype), shape, 'F' if order == 'F' else 'C')


def _scalar(value: Scalar, depth: int) -> np.ndarray:
    dtype, raw = value.args
    return _from_bytes(raw, _dtype(dtype), (), 'C')


def _sparse(value: Columns, depth: int) -> np.ndarray:
    shape = value.state['_shape']
    sizes = shape if type(value) is Rows else shape[::-1]
    data, indices, starts = (
        to_array(value.state[key], key, depth + 1) for key in ('data', 'indices', 'indptr')
    )
    if len(shape) != 2 or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError('its shape is not a pair of sizes')
    if sizes[0] * sizes[1] > MAX_ENTRIES:
        raise ValueError(f'its shape {str(shape)[:60]} is larger than any body model')
    consistent = (
        data.ndim == indices.ndim == starts.ndim == 1
        and len(starts) == sizes[0] + 1
        and starts[0] == 0
        and (np.diff(starts) >= 0).all()
        and len(data) == len(indices) == starts[-1]
        and (not len(indices) or 0 <= indices.min() <= indices.max() < sizes[1])
    )
    if not consistent:
        raise ValueError('its indices contradict its shape')
    dense = np.zeros(sizes, data.dtype)
    np.add.at(dense, (np.repeat(np.arange(sizes[0]), np.diff(starts)), indices.astype(np.int64)), data)
    return dense if type(value) is Rows else np.ascontiguousarray(dense.T)


def _chumpy(value: Chumpy, depth: int) -> np.ndarray:
    return to_array(value.state['x'], 'x', depth + 1)


def _select(value: Select, depth: int) -> np.ndarray:
    source = to_array(value.state['a'], 'a', depth + 1).ravel()
    indices = to_array(value.state['idxs'], 'idxs', depth + 1)
    if (
        indices.dtype.kind not in 'iu'
        or len(source) < 1
        or not 0 <= indices.min() <= indices.max() < len(source)
    ):
        raise ValueError('it selects entries that do not exist')
    return source[indices].reshape(value.state['preferred_shape'])


_CONVERTERS = {
    Array: _array,
    Buffer: _buffer,
    Scalar: _scalar,
    Columns: _sparse,
    Rows: _sparse,
    Chumpy: _chumpy,
    Select: _select,
}
