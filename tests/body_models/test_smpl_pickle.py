import os
import pickle
import random
import struct

import numpy as np
import pytest

from mmhier.body_models.smpl_pickle import read_smpl_pickle
from mmhier.safe_pickle import read_pickle, to_array


@pytest.mark.parametrize('protocol', [0, 1, 2])
def test_python2_files_with_chumpy_and_sparse_regressor(make_body, as_published, pickle_smpl, protocol):
    arrays = make_body(40)
    content = pickle_smpl(as_published(arrays), protocol)
    for name in (b'chumpy.ch', b'scipy.sparse.csc\n', b'numpy.core.multiarray'):
        assert name in content
    found = read_smpl_pickle(content, 'a.pkl')
    assert found.keys() == arrays.keys()
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array)
        assert found[key].dtype == array.dtype


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_files_that_python3_wrote_again(make_body, as_published, pickle_smpl, protocol):
    arrays = make_body(40)
    arrays['v_template'] = np.asfortranarray(arrays['v_template'])
    arrays['weights'] = arrays['weights'].astype('>f4')
    found = read_smpl_pickle(pickle_smpl(as_published(arrays), protocol, python2=False), 'a.pkl')
    for key, array in arrays.items():
        np.testing.assert_array_equal(found[key], array)
        assert found[key].dtype.isnative


def test_selection_of_chumpy(pickle_smpl, chumpy):
    whole = np.arange(24.0).reshape(2, 3, 4)
    indices = np.arange(24).reshape(2, 3, 4)[:, :, :2].ravel()
    content = pickle_smpl({'shapedirs': chumpy.Select(chumpy.Ch(whole), indices, (2, 3, 2))})
    np.testing.assert_array_equal(read_smpl_pickle(content, 'a.pkl')['shapedirs'], whole[:, :, :2])


@pytest.mark.parametrize('kind', ['csc_matrix', 'csr_matrix', 'csc_array'])
@pytest.mark.parametrize('protocol', [2, 5])
def test_sparse_matrices(kind, protocol):
    import scipy.sparse

    dense = np.zeros((3, 5))
    dense[0, 4], dense[2, 1], dense[2, 2] = 1.0, 2.0, -3.0
    value = read_pickle(pickle.dumps(getattr(scipy.sparse, kind)(dense), protocol), 'a.pkl')
    np.testing.assert_array_equal(to_array(value, 'x'), dense)


@pytest.mark.parametrize('protocol', range(6))
def test_an_empty_array(protocol):
    content = pickle.dumps(np.zeros((0, 3), np.float32), protocol)
    assert to_array(read_pickle(content, 'a.pkl'), 'x').shape == (0, 3)


def test_a_scalar():
    assert to_array(read_pickle(pickle.dumps(np.float32(2.5)), 'a.pkl'), 'x') == 2.5


class Call:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


def text_pickle(*lines):
    return b'\n'.join(line.encode() if isinstance(line, str) else line for line in lines)


def reconstruct(*lines):
    return text_pickle('ccopy_reg', '_reconstructor', *lines, 'NtR.')


ARRAY = pickle.dumps(np.arange(3.0), 2)[2:-1]
EVIL = {
    'reduce': pickle.dumps(Call(os.system, 'touch ran'), 0),
    'in an array\'s place': pickle.dumps({'v_template': Call(os.system, 'touch ran')}, 2),
    'deep inside': pickle.dumps([({'x': [Call(os.system, 'touch ran')]},)], 4),
    'eval': pickle.dumps(Call(eval, "open('ran', 'w')"), 3),
    'exec': pickle.dumps(Call(exec, "open('ran', 'w')"), 5),
    'getattr': pickle.dumps(Call(getattr, 'x', '__class__'), 4),
    'import': pickle.dumps(Call(__import__, 'os'), 4),
    'open': pickle.dumps(Call(open, 'ran', 'w'), 4),
    'python 2 builtins': text_pickle('c__builtin__', "eval", "(S'open(\"ran\", \"w\")'", 'tR.'),
    'posix': text_pickle('cposix', 'system', "(S'touch ran'", 'tR.'),
    'subprocess': text_pickle('csubprocess', 'call', "((lp0", "S'touch'", "aS'ran'", 'atR.'),
    'numpy function': pickle.dumps(Call(np.load, 'ran'), 4),
    'numpy tofile, dotted': b'\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.',
    'numpy with dots in the module': b'\x80\x04\x8c\x0dnumpy.ndarray\x8c\x06tofile\x93.',
    'name that is not text': b'\x80\x04]\x8c\x05dtype\x93.',
    'reconstructor of a class': reconstruct('(cos', '_wrap_close', 'c__builtin__', 'object'),
    'reconstructor of an array function': reconstruct('(c_codecs', 'encode', 'c__builtin__', 'object'),
    'reconstructor with another base': reconstruct('(cnumpy', 'dtype', 'cnumpy', 'dtype'),
    'copyreg extension': text_pickle('ccopyreg', 'add_extension', "(S'os'", "S'system'", 'I7', 'tR.'),
    'extension code': b'\x80\x02\x82\x07(S\'touch ran\'\ntR.',
    'old instance': b"(S'touch ran'\nios\nsystem\n.",
    'old object': b"(cos\nsystem\nS'touch ran'\no.",
    'persistent id': b'Pwhatever\n.',
    'codec that runs': text_pickle('c_codecs', 'encode', "(Vx", "S'zip'", 'tR.'),
    'codec by name': text_pickle('c_codecs', 'decode', "(Vx", 'tR.'),
    'state of a class': b'\x80\x02cnumpy\ndtype\n}U\x05stateK\x01sb.',
    'slots of a class': b'\x80\x02cnumpy\ndtype\nN}U\x04argsK\x01s\x86b.',
    'state of a function': b'\x80\x02c_codecs\nencode\nN}U\x0c__defaults__)s\x86b.',
    'call of text': b"\x80\x02U\x02os)R.",
    'call of a list method': b'\x80\x02](K\x01e)R.',
    'call of an array': b'\x80\x02' + ARRAY + b')R.',
    'new object of a tuple': b'\x80\x02))\x81.',
    'items of an array': b'\x80\x02' + ARRAY + b'U\x01xK\x01s.',
    'set': b'\x80\x04\x8f.',
    'bytes of an enormous length': b'\x80\x05\x96' + struct.pack('<Q', 1 << 62) + b'.',
    'bytes of a large length': b'\x80\x05\x96' + struct.pack('<Q', 1 << 35) + b'.',
    'text of an enormous length': b'\x80\x04\x8d' + struct.pack('<Q', 1 << 62) + b'.',
    'number of an enormous length': b'\x80\x02\x8b' + struct.pack('<i', 1 << 30) + b'.',
    'key that overflows the stack when hashed': b'\x80\x02}' + b')' + b'\x85' * 500_000 + b'K\x01s.',
    'key in a dict of protocol 0': b'(' + b')' + b'\x85' * 500_000 + b'I1\nd.',
    'arguments by name': b'\x80\x04cnumpy\ndtype\n)}\x8c\x01xK\x01s\x92.',
    'no pickle': b'hello',
    'an image': b'\x89PNG\r\n\x1a\n',
    'nothing but stop': b'.',
}  # fmt: skip


@pytest.mark.parametrize('name', EVIL)
def test_hostile_files_are_refused_and_run_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r'evil\.pkl is not a pickle of arrays.*Nothing in it was executed'):
        read_pickle(EVIL[name], 'evil.pkl')
    assert os.listdir('.') == []


def test_a_memo_bomb_takes_no_memory():
    # Python's reader in C would make a table of 2^32 entries for this.
    assert read_pickle(b'\x80\x02]r\xff\xff\xff\x7f.', 'a.pkl') == []


def test_the_refused_name_is_told():
    with pytest.raises(ValueError, match=r'"(posix|nt)\.system"'):
        read_pickle(EVIL['reduce'], 'evil.pkl')
    with pytest.raises(ValueError, match=r'"numpy\.ndarray\.tofile"'):
        read_pickle(EVIL['numpy tofile, dotted'], 'evil.pkl')
    with pytest.raises(ValueError, match=r'"chumpy\.ch_ops\.add"'):
        read_pickle(b'cchumpy.ch_ops\nadd\n.', 'evil.pkl')
    with pytest.raises(ValueError, match='opcode 0x82'):
        read_pickle(EVIL['extension code'], 'evil.pkl')


def test_the_hostile_files_would_run(tmp_path, monkeypatch):
    """The refusals above mean something: Python's own reader runs the call."""
    monkeypatch.chdir(tmp_path)
    pickle.loads(EVIL['reduce'])
    assert (tmp_path / 'ran').exists()


def array_pickle(shape, code="'f8'", raw=b'\0' * 24, byte_order="'<'", parts='NNN', extra=b''):
    """A pickled array whose every field can lie; ``shape`` and the rest are opcodes of protocol 0."""
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n"
        + shape
        + b'cnumpy\ndtype\n(S'
        + code.encode()
        + b'\nI0\nI1\ntR(I3\nS'
        + byte_order.encode()
        + b'\n'
        + parts.encode()
        + b'I-1\nI-1\nI0\ntbI00\nS'
        + repr(raw)[1:].encode()
        + b'\ntb'
        + extra
        + b'.'
    )


def test_the_hand_made_array_is_right():
    content = array_pickle(b'(I3\nt', raw=struct.pack('<3d', 1.0, 2.0, 3.0))
    np.testing.assert_array_equal(to_array(read_pickle(content, 'a'), 'x'), [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ('fields', 'message'),
    [
        (dict(shape=b'(I4\nt'), 'does not fit its data'),
        (dict(shape=b'(I1000000000000\nI1000000000000\nt'), 'does not fit its data'),
        (dict(shape=b'(I' + b'9' * 300 + b'\nt'), 'does not fit its data'),
        (dict(shape=b'(I-3\nI-1\nt'), 'tuple of sizes'),
        (dict(shape=b'I3\n'), 'tuple of sizes'),
        (dict(shape=b"(S'3'\nt"), 'tuple of sizes'),
        (dict(shape=b'(I3\nt', code="'O8'"), 'not numeric'),
        (dict(shape=b'(I3\nt', code="'V8'"), 'not numeric'),
        (dict(shape=b'(I3\nt', code="'f8,O'"), 'not numeric'),
        (dict(shape=b'(I3\nt', code="'f16'"), 'not numeric'),
        (dict(shape=b'(I3\nt', byte_order="'?'"), 'has parts'),
        (dict(shape=b'(I3\nt', parts='N(tN'), 'has parts'),
        (dict(shape=b'(I3\nt', raw=b'\0' * 23), 'does not fit its data'),
    ],
)
def test_arrays_that_lie_are_refused(fields, message):
    with pytest.raises(ValueError, match=f'x is not a usable array.*{message}'):
        to_array(read_pickle(array_pickle(**fields), 'a'), 'x')


@pytest.mark.parametrize(
    'change',
    [
        dict(_shape=(2, 2)),
        dict(_shape=(1 << 20, 1 << 20)),
        dict(_shape=(-3, -5)),
        dict(_shape=(3, 5, 1)),
        dict(indices=np.array([0, 9, 2], np.int32)),
        dict(indices=np.array([0, -1, 2], np.int32)),
        dict(indices=np.array([0], np.int32)),
        dict(indptr=np.array([0, 9, 1, 2, 3, 3], np.int32)),
        dict(indptr=np.array([1, 1, 1, 2, 3, 3], np.int32)),
        dict(data=None),
    ],
)
def test_sparse_matrices_that_lie_are_refused(change):
    from scipy.sparse import csc_matrix

    matrix = csc_matrix((np.ones(3), np.array([0, 1, 2]), np.array([0, 1, 1, 2, 3, 3])), shape=(3, 5))
    np.testing.assert_array_equal(to_array(read_pickle(pickle.dumps(matrix), 'a'), 'x'), matrix.toarray())
    matrix.__dict__.update(change)
    with pytest.raises(ValueError, match='x is not a usable array'):
        to_array(read_pickle(pickle.dumps(matrix), 'a'), 'x')


def test_wrappers_that_lie_are_refused(pickle_smpl, chumpy):
    cycle = chumpy.Ch(None)
    cycle.x = cycle
    array = np.arange(6.0)
    for value in (
        cycle,
        chumpy.Ch('text'),
        chumpy.Select(array, np.array([0, 6]), (2,)),
        chumpy.Select(array, np.array([0, -1]), (2,)),
        chumpy.Select(array, np.array([0, 1]), (3,)),
        'text',
        [1.0, 2.0],
    ):
        with pytest.raises(ValueError, match=r'a\.pkl: "f" is not a usable array'):
            read_smpl_pickle(pickle_smpl({'f': value}), 'a.pkl')


@pytest.mark.parametrize('value', [[1], 'text', 3, None])
def test_other_content_than_a_dictionary_is_refused(value):
    with pytest.raises(ValueError, match='holds no dictionary'):
        read_smpl_pickle(pickle.dumps(value), 'a.pkl')


@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_truncated_and_damaged_files_raise_only_value_errors(make_body, as_published, pickle_smpl, protocol):
    content = pickle_smpl(
        as_published(make_body(4, num_betas=1, posedirs=False)), protocol, python2=protocol < 4
    )
    for end in range(0, len(content), 37):
        with pytest.raises(ValueError, match='damaged one'):
            read_smpl_pickle(content[:end], 'a.pkl')
    rng = random.Random(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        try:
            read_smpl_pickle(bytes(damaged), 'a.pkl')
        except ValueError:
            refused += 1
    assert 50 < refused <= 400
