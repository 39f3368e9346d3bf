"""Stand-ins for numpy and MMEngine inside checkpoints check what they are given."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmhier.compat import checkpoint_objects as objects
from mmhier.compat.checkpoint import UntrustedCheckpointError, load_checkpoint_file


class Forged:
    """Pickles as a call of ``function`` followed by ``__setstate__`` with a state of the attacker's."""

    def __init__(self, function, args, state) -> None:
        self.reduced = function, args, state

    def __reduce__(self):
        return self.reduced


def forged_dtype(*state):
    return Forged(np.dtype, ('f8', False, True), state)


def array_of(number, raw) -> Forged:
    reconstruct, args, _ = np.zeros(2).__reduce__()
    return Forged(reconstruct, args, (1, (2,), number, False, raw))


FORGERIES = {
    # flags that make numpy take the bytes for references to objects; crashes the real numpy
    'flags': (
        array_of(forged_dtype(3, '<', None, None, None, -1, -1, 63), ['a', 'b']),
        'not made of numbers',
    ),
    # a field a gigabyte behind the end; reads foreign memory in the real numpy
    'records': (
        forged_dtype(3, '<', None, ('a',), {'a': (np.dtype('f8'), 10**9)}, -1, -1, 0),
        'records or a forged',
    ),
    'objects': (np.array([print, None], dtype=object), 'builtins.print'),
    'object dtype': (np.dtype(object), "array of 'O8'"),
    'record dtype': (np.dtype([('a', 'f8')]), 'array of'),
    'byte order': (forged_dtype(3, 'x', None, None, None, -1, -1, 0), 'records or a forged'),
    'memory map': (Forged(np.zeros(1).__reduce__()[0], (np.memmap, (0,), b'b'), None), 'numpy'),
    'encoding': (Forged(__import__('_codecs').encode, ('x', 'zlib'), None), 'x'),
}


@pytest.mark.parametrize('name', FORGERIES)
def test_forgeries_are_refused(tmp_path, name):
    forgery, text = FORGERIES[name]
    path = tmp_path / 'forged.pth'
    torch.save({'forged': forgery}, path)
    if name == 'encoding':
        pytest.skip('newer torch has its own, which takes any codec of Python') if _torch_encodes() else None
    with pytest.raises(UntrustedCheckpointError) as error:
        load_checkpoint_file(path)
    assert text in str(error.value)


def _torch_encodes() -> bool:
    return '_codecs.encode' in torch._weights_only_unpickler._get_allowed_globals()


def test_flags_of_a_forged_dtype_are_ignored(tmp_path):
    """With honest bytes behind it the forgery is an ordinary array: the flags never reach numpy."""
    path = tmp_path / 'forged.pth'
    torch.save(array_of(forged_dtype(3, '<', None, None, None, -1, -1, 63), np.arange(2.0).tobytes()), path)
    array = load_checkpoint_file(path)
    assert array.tolist() == [0, 1] and array.dtype == np.float64 and not array.dtype.hasobject


def test_wrong_sizes_are_told(tmp_path):
    path = tmp_path / 'forged.pth'
    for raw in (b'', b'x' * 8, b'x' * 17):
        torch.save(array_of(np.dtype('f8'), raw), path)
        with pytest.raises(ValueError, match='forged.pth cannot be read'):
            load_checkpoint_file(path)


def test_statistics_come_from_mmengine(tmp_path, monkeypatch):
    """A file cannot change how history buffers compute their statistics, in this process or later."""
    path = tmp_path / 'checkpoint.pth'
    buffer = HistoryBuffer([1.0, 3.0], [1, 1])
    before = dict(HistoryBuffer._statistics_methods)
    with monkeypatch.context() as patch:
        patch.setattr(HistoryBuffer, '_statistics_methods', {'mean': HistoryBuffer.max, 'min': 5})
        torch.save(buffer, path)
    read = load_checkpoint_file(path)
    assert read.statistics('mean') == HistoryBuffer([1.0, 3.0], [1, 1]).statistics('mean') == 2
    assert HistoryBuffer._statistics_methods == before


def test_to_plain_keeps_what_is_shared():
    array = objects.Array()
    array.value = np.arange(3)
    inner = [array, (array, 1), {'deep': array}]
    value = {'a': inner, 'b': inner, 'itself': None, 'tensor': torch.ones(1)}
    value['itself'] = value
    plain = objects.to_plain(value)
    assert plain is value and plain['itself'] is value and plain['a'] is plain['b']
    assert plain['a'][0] is plain['a'][1][0] is plain['a'][2]['deep'] is array.value


def test_unfinished_objects_are_refused():
    with pytest.raises(pickle.UnpicklingError, match='without content'):
        objects.to_plain([objects.Array()])
    with pytest.raises(pickle.UnpicklingError, match='does not hold arrays'):
        objects.to_plain(objects.History())


def test_names_are_what_torch_files_them_under():
    for full_name, item in objects.stand_ins().items():
        assert f'{item.__module__}.{item.__qualname__}' == f'{item.__module__}.{item.__name__}' == full_name
