"""What a checkpoint may hold besides tensors and plain Python values: arrays, numbers, logs, settings.

Under ``weights_only=True`` torch calls what an allowed name stands for with arguments from the file. numpy's
own functions are not fit for that: the state of a ``dtype`` is taken on trust, and a forged one corrupts
memory. So the names stand for the small classes below, which check what they are given; :func:`to_plain`
puts the real objects in their place afterwards.
"""

import functools
import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

# Kinds of numbers (numpy's letters: bool, integers, floats, complex) and text. No Python objects, no records.
KINDS = 'biufcUS'

# How the objections of the stand-ins begin.
OBJECTIONS = 'it has', 'it takes', 'it encodes'

STATISTICS = ('min', 'max', 'mean', 'current')


class Number:
    """Stands for ``numpy.dtype``: a kind of number or text."""

    def __init__(self, code: str, *flags: Any) -> None:
        if not isinstance(code, str) or np.dtype(code).kind not in KINDS:
            raise pickle.UnpicklingError(f'it has an array of {code!r}, not of numbers or text')
        self.code, self.value = code, np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        """Take the byte order, the only thing that a plain dtype's state adds to its code."""
        _, order, *composition = state[:5]
        if composition != [None, None, None] or order not in ('<', '>', '=', '|'):
            raise pickle.UnpicklingError(f'it has an array with records or a forged type: {state!r}')
        self.value = np.dtype(order + self.code)


class Array:
    """Stands for ``numpy.ndarray``; made empty, then given its content."""

    value: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        """Read ``(version, shape, dtype, is Fortran order, raw bytes)``."""
        _, shape, number, fortran, raw = state
        if not isinstance(number, Number) or not isinstance(raw, bytes):
            raise pickle.UnpicklingError('it has an array that is not made of numbers or text')
        flat = np.frombuffer(raw, number.value)
        self.value = flat.reshape(shape, order='F' if fortran else 'C').copy(order='K')


class History:
    """Stands for MMEngine's ``HistoryBuffer``, the log of one number."""

    log: Any = ()
    count: Any = ()
    max_length: int = 1000000

    def __setstate__(self, state: dict) -> None:
        """Keep the log; how its statistics are computed is MMEngine's business, not the file's."""
        self.log, self.count = state['_log_history'], state['_count_history']
        self.max_length = state['max_length']


class Config:
    """Stands for yacs' ``CfgNode``, the settings in VMamba's and Swin's snapshots: a dictionary."""

    def __new__(cls) -> OrderedDict:
        """Make what torch lets a file fill."""
        return OrderedDict()


def reconstruct_array(kind: type, *start: Any) -> Array:
    """Stand for ``numpy.core.multiarray._reconstruct``."""
    if kind is not Array:
        raise pickle.UnpicklingError(f'it has an array of the class {kind!r}')
    return Array()


def scalar(number: Number, raw: bytes) -> np.generic:
    """Stand for ``numpy.core.multiarray.scalar``."""
    if not isinstance(number, Number) or not isinstance(raw, bytes):
        raise pickle.UnpicklingError('it has a numpy scalar that is not a number or text')
    return np.frombuffer(raw, number.value, count=1)[0]


def encode(text: str, encoding: str) -> bytes:
    """Stand for ``_codecs.encode``, with which bytes are written in pickles of protocol 2."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'it encodes text as {encoding!r}')
    return text.encode('latin1')


def statistic(owner: type, name: str) -> None:
    """Stand for ``getattr``, with which a history buffer's statistics are written (and here left out)."""
    if owner is not History or name not in STATISTICS:
        raise pickle.UnpicklingError(f'it takes the attribute {name!r} of {owner!r}')


def no_bytes() -> bytes:
    """Stand for ``bytes()``, with which empty bytes are written (those of an empty array)."""
    return b''


def new_set(items: list) -> set:
    """Stand for ``set``, on versions of torch that do not know it."""
    return set(items)


# numpy's functions have one name in numpy 1 and another in numpy 2; each must read the other's files.
ALLOWED = {
    'builtins.set': new_set,
    'builtins.bytes': no_bytes,
    'builtins.getattr': statistic,
    '_codecs.encode': encode,
    'numpy.dtype': Number,
    'numpy.ndarray': Array,
    'numpy.core.multiarray._reconstruct': reconstruct_array,
    'numpy.core.multiarray.scalar': scalar,
    'numpy._core.multiarray._reconstruct': reconstruct_array,
    'numpy._core.multiarray.scalar': scalar,
    'mmengine.logging.history_buffer.HistoryBuffer': History,
    'yacs.config.CfgNode': Config,
}


@functools.lru_cache(maxsize=1)
def stand_ins() -> dict[str, Callable]:
    """The functions and classes of :data:`ALLOWED`, labelled with the names they stand for.

    torch takes a global's name from its ``__module__`` and its ``__qualname__`` (2.4: ``__name__``).
    """
    labelled = {}
    for full_name, original in ALLOWED.items():
        labelled[full_name] = original if isinstance(original, type) else _copy(original)
        module, _, name = full_name.rpartition('.')
        labelled[full_name].__module__ = module
        labelled[full_name].__name__ = labelled[full_name].__qualname__ = name
    return labelled


def _copy(function: Callable) -> Callable:
    """A function that does the same."""
    return lambda *args: function(*args)


def to_plain(value: Any) -> Any:
    """Put arrays and history buffers in the place of their stand-ins, in containers of any depth.

    Dictionaries and lists are changed in place; the same stand-in gives the same object everywhere.
    """
    return _plain(value, {})


def _plain(value: Any, done: dict[int, tuple[Any, Any]]) -> Any:
    """One value; ``done`` maps the identity of what has been seen to it and to what it became."""
    if not isinstance(value, (dict, list, tuple, Array, Number, History)):
        return value
    if id(value) in done:
        return done[id(value)][1]
    if isinstance(value, (dict, list)):
        done[id(value)] = value, value
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            value[key] = _plain(item, done)
        return value
    if isinstance(value, tuple):
        items = [_plain(item, done) for item in value]
        result = value if all(new is old for new, old in zip(items, value)) else tuple(items)
    elif isinstance(value, History):
        result = _history_buffer(value, done)
    else:
        result = value.value
        if result is None:
            raise pickle.UnpicklingError('it has an array without content')
    done[id(value)] = value, result
    return result


def _history_buffer(history: History, done: dict[int, tuple[Any, Any]]) -> Any:
    """MMEngine's own object."""
    from mmengine.logging import HistoryBuffer

    log, count = _plain(history.log, done), _plain(history.count, done)
    if not isinstance(log, np.ndarray) or not isinstance(count, np.ndarray):
        raise pickle.UnpicklingError('it has a history buffer that does not hold arrays')
    return HistoryBuffer(log, count, history.max_length)
