"""The gate through which pickles are read: nothing in them is executed.

A pickle is a program; Python's own reader would run whatever it calls. Here is all that keeps it from that:

* :func:`named_globals` reads a pickle's instructions without following them: what it would import, and how
  deep its values lie in one another. :mod:`mmhier.compat.checkpoint` asks it before torch's own restricted
  reader sees a file.
* :class:`RestrictedUnpickler` follows the instructions that plain values need, and calls nothing but what a
  literal table has. :func:`read_pickle` reads arrays with it, :mod:`mmhier.convert.lightning` tensors.

:func:`read_pickle` is for SMPL's .pkl files and for data sets: the names that arrays need (of numpy, scipy's
sparse matrices, two array classes of chumpy) lead to inert stand-ins that only record what they were given.
Neither chumpy nor scipy nor an old numpy is involved. Python-2 files (text is latin-1) and current ones are
read. After that, :func:`to_array` checks a recorded array (type, shape against the number of bytes, indices)
and makes a numpy array of it.

Standard library and numpy only.
"""

import _compat_pickle
import io
import math
import pickle
import pickletools
import re
import struct
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from mmhier.safe_files import Bounded

MAX_NESTING = 200
_PUT = ('MEMOIZE', 'PUT', 'BINPUT', 'LONG_BINPUT')
_GET = ('GET', 'BINGET', 'LONG_BINGET')
_FILL = ('APPEND', 'APPENDS', 'SETITEM', 'SETITEMS', 'ADDITEMS', 'BUILD')

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

# Opcodes for plain values, containers, and calls of known names. Left out: persistent and extension
# identifiers, sets, Python-2 instances, out-of-band buffers.
_OPCODES = (
    'PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE '
    'INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT '
    'STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 '
    'UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 '
    'EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS '
    'PUT BINPUT LONG_BINPUT GET BINGET LONG_BINGET MEMOIZE '
    'GLOBAL STACK_GLOBAL REDUCE NEWOBJ NEWOBJ_EX BUILD'
)

_KEY_TYPES = (str, bytes, int, float, type(None))


class _Opcodes(dict):
    def __missing__(self, code: int) -> None:
        raise pickle.UnpicklingError(f'it uses the opcode {code:#04x}, which nothing that is read needs')


def opcodes(names: str) -> dict[int, Callable]:
    """Python's own functions for some opcodes, by their numbers."""
    codes = (getattr(pickle, name)[0] for name in names.split())
    return {code: pickle._Unpickler.dispatch[code] for code in codes}


class RestrictedUnpickler(pickle._Unpickler):
    """Python's own unpickler written in Python, whose opcodes can be replaced, with a short list of them.

    Nothing is imported: a name leads to what ``names`` has for it, and only that is called. What is refused
    here, a subclass may turn into something inert.

    Args:
        file: In memory.
        encoding: Of text by Python 2.
    """

    names: dict[tuple[str, str], Any] = {}
    key_types: tuple[type, ...] = _KEY_TYPES
    dispatch = _Opcodes(opcodes(_OPCODES))

    def __init__(self, file: io.BytesIO, encoding: str = 'latin1') -> None:
        super().__init__(file, encoding=encoding, fix_imports=False)
        self.size = file.getbuffer().nbytes

    def find_class(self, module: Any, name: Any) -> Any:
        """Look a name up, without importing anything."""
        return self.names[module, name] if (module, name) in self.names else self.unknown(module, name)

    def unknown(self, module: Any, name: Any) -> Any:
        """What a name leads to that is not in the table."""
        raise pickle.UnpicklingError(f'it refers to "{module}.{name}", which is not in the list')

    def call(self, function: Any, args: Any, named: dict) -> Any:
        """Call one of the known names, nothing else."""
        if named:
            raise pickle.UnpicklingError('it passes arguments by name')
        if not any(function is known for known in self.names.values()) or type(args) is not tuple:
            raise pickle.UnpicklingError(f'it calls a {type(function).__name__}')
        return function(*args)

    def set_state(self, owner: Any, state: Any) -> None:
        """Give an object its state."""
        if not isinstance(owner, StandIn):
            raise pickle.UnpicklingError(f'it sets the state of a {type(owner).__name__}')
        owner.state = state

    def fill(self, target: Any, pairs: dict) -> None:
        """Put keys and values into a dictionary."""
        if type(target) is not dict:
            raise pickle.UnpicklingError(f'it sets items of a {type(target).__name__}')
        target.update(pairs)

    def pairs(self, items: list) -> dict:
        """Keys and values in turn; only simple keys: hashing a deeply nested one overflows the stack."""
        if not all(type(key) in self.key_types for key in items[::2]):
            raise pickle.UnpicklingError('it holds a dictionary whose keys are not text or numbers')
        return dict(zip(items[::2], items[1::2], strict=True))

    def _load_reduce(self) -> None:
        args = self.stack.pop()
        self.append(self.call(self.stack.pop(), args, {}))

    def _load_newobj_ex(self) -> None:
        named, args = self.stack.pop(), self.stack.pop()
        self.append(self.call(self.stack.pop(), args, named))

    def _load_build(self) -> None:
        state = self.stack.pop()
        self.set_state(self.stack[-1], state)

    def _load_bytearray8(self) -> None:
        (length,) = struct.unpack('<Q', self.read(8))
        if length > self.size:
            raise pickle.UnpicklingError('pickle data was truncated')
        self.append(self.read(length))

    def _load_dict(self) -> None:
        pairs = self.pairs(self.pop_mark())  # which replaces self.append
        self.append(pairs)

    def _load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.fill(self.stack[-1], self.pairs([key, value]))

    def _load_setitems(self) -> None:
        pairs = self.pairs(self.pop_mark())
        self.fill(self.stack[-1], pairs)

    dispatch.update(
        {
            pickle.REDUCE[0]: _load_reduce,
            pickle.NEWOBJ[0]: _load_reduce,
            pickle.NEWOBJ_EX[0]: _load_newobj_ex,
            pickle.BUILD[0]: _load_build,
            pickle.BYTEARRAY8[0]: _load_bytearray8,
            pickle.DICT[0]: _load_dict,
            pickle.SETITEM[0]: _load_setitem,
            pickle.SETITEMS[0]: _load_setitems,
        }
    )


class ArrayUnpickler(RestrictedUnpickler):
    """Of numpy arrays, sparse matrices and chumpy's two array classes it makes stand-ins."""

    names = _GLOBALS


def named_globals(stream: BinaryIO | Bounded | bytes) -> set[str]:
    """Names that the pickle at the position of ``stream`` would import, found without running it.

    Raises:
        ValueError: The stream is not a whole pickle, or nests values more than :data:`MAX_NESTING` deep.
    """
    found, texts, memo, protocol, nesting = set(), [], {}, 0, _Nesting()
    for code, value, _ in pickletools.genops(stream):
        nesting.follow(code, value)
        if code.name == 'PROTO':
            protocol = value
        elif code.name in ('GLOBAL', 'INST'):
            found.add(_today(*value.split(' ', 1), protocol))
        elif code.name == 'STACK_GLOBAL':
            found.add('.'.join(texts[-2:]))
        elif code.name.startswith('EXT'):
            found.add(f'copyreg extension {value}')
        elif code.name in _PUT:
            memo[len(memo) if value is None else int(value)] = texts[-1] if texts else '?'
        elif code.name in _GET:
            texts.append(memo.get(int(value), '?'))
        elif isinstance(value, str):
            texts.append(value)
    return found


class _Nesting:
    """How deep the values on a pickle's stack are, followed without making them.

    What is put into a list or dictionary after it went into another one is not counted for the other one.
    """

    def __init__(self) -> None:
        self._stack: list[int | None] = []  # None: a mark
        self._memo: dict[int, int] = {}

    def follow(self, code: pickletools.OpcodeInfo, value: Any) -> None:
        """Do to the depths what an instruction does to the values."""
        stack = self._stack
        try:
            if code.name == 'MARK':
                stack.append(None)
            elif code.name in _PUT:
                self._memo[len(self._memo) if value is None else int(value)] = stack[-1] or 0
            elif code.name in _GET:
                stack.append(self._memo[int(value)])
            elif code.name == 'DUP':
                stack.append(stack[-1])
            else:
                self._replace(code)
        except LookupError as error:
            raise ValueError(f'its instruction {code.name} finds nothing to work on') from error

    def _replace(self, code: pickletools.OpcodeInfo) -> None:
        """Take what an instruction takes from the stack, and put what it makes of it."""
        items, wanted = [], list(code.stack_before)
        if pickletools.markobject in wanted:
            while (item := self._stack.pop()) is not None:
                items.append(item)
            wanted = wanted[: wanted.index(pickletools.markobject)]
        items += [self._stack.pop() or 0 for _ in wanted]
        depth = 1 + max(items, default=-1)
        if code.name in _FILL:
            depth = max(items[-1], 1 + max(items[:-1], default=-1))
        if depth > MAX_NESTING:
            raise ValueError(f'its values lie in one another more than {MAX_NESTING} deep')
        self._stack += [depth] * len(code.stack_after)


def _today(module: str, name: str, protocol: int) -> str:
    """Full name in Python 3 of a global in an old pickle (``__builtin__`` -> ``builtins``)."""
    if protocol < 3:
        if (module, name) in _compat_pickle.NAME_MAPPING:
            module, name = _compat_pickle.NAME_MAPPING[module, name]
        else:
            module = _compat_pickle.IMPORT_MAPPING.get(module, module)
    return f'{module}.{name}'


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
        return ArrayUnpickler(io.BytesIO(content)).load()
    except _DAMAGE as error:
        raise ValueError(
            f'{source} is not a pickle of arrays, or a damaged one: {str(error) or type(error).__name__}. '
            'Nothing in it was executed.'
        ) from error


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


def to_texts(value: Any, what: str) -> list[str]:
    """Text that a pickle holds: one, a list of it, or what it recorded of an array of it.

    Args:
        value: text, bytes, a list or tuple of them, or a stand-in of an array.
        what: its name, for messages.

    Raises:
        ValueError: if it is something else.
    """
    if type(value) is Array and value.state:
        *_, dtype, is_fortran, raw = value.state
        if isinstance(raw, list):  # an array of objects
            value = raw
        else:
            code = dtype.args[0] if type(dtype) is Dtype and dtype.args else None
            match = re.fullmatch(r'[<|=]?([US])(\d{1,6})', code) if isinstance(code, str) else None
            size = int(match[2]) * (4 if match[1] == 'U' else 1) if match else 0
            if not size or not isinstance(raw, bytes) or len(raw) % size or is_fortran:
                raise ValueError(f'{what} is no text but an array of {str(code)[:20]!r}')
            order = dtype.state[1] if dtype.state else '<'
            value = np.frombuffer(raw, f'{">" if order == ">" else "<"}{match[1]}{match[2]}').tolist()
    values = list(value) if isinstance(value, list | tuple) else [value]
    try:
        values = [entry.decode() if isinstance(entry, bytes) else entry for entry in values]
    except UnicodeDecodeError as error:
        raise ValueError(f'{what} is no text ({error})') from error
    if not all(isinstance(entry, str) for entry in values):
        raise ValueError(f'{what} holds something that is no text')
    return values


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
        raise ValueError(f'its shape {str(shape)[:60]} is larger than any that is read')
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
