"""The one home of restricted unpickling; SMPL's files and Lightning's have tests of their own."""

import io
import os
import pickle
from collections import OrderedDict

import pytest

from mmhier.safe_pickle import RestrictedUnpickler, StandIn, named_globals


class Settings(StandIn):
    pass


class Reader(RestrictedUnpickler):
    names = {('collections', 'OrderedDict'): Settings}


def test_a_name_leads_to_what_the_table_has():
    found = Reader(io.BytesIO(pickle.dumps(dict(a=[1, 2.5, 'x'], b=OrderedDict()), 2))).load()
    assert found['a'] == [1, 2.5, 'x'] and type(found['b']) is Settings


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_else_is_called(protocol, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'made'),)

    with pytest.raises(
        pickle.UnpicklingError, match=f'"{os.mkdir.__module__}.mkdir", which is not in the list'
    ):
        Reader(io.BytesIO(pickle.dumps(Bomb(), protocol))).load()
    assert not (tmp_path / 'made').exists()


def test_opcodes_that_values_do_not_need_are_refused():
    with pytest.raises(pickle.UnpicklingError, match=f'opcode {pickle.EMPTY_SET[0]:#04x}'):
        Reader(io.BytesIO(pickle.dumps({1, 2}, 4))).load()


def test_named_globals_follows_the_memo():
    stream = pickle.dumps([os.system, eval, os.system], protocol=4)
    assert named_globals(stream) == {f'{os.system.__module__}.system', 'builtins.eval'}
    assert named_globals(pickle.dumps(eval, protocol=2)) == {'builtins.eval'}
