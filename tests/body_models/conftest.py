import importlib.util
import pickle
import struct
import sys
import types

import numpy as np
import pytest

from mmhier.body_models.smpl_file import PARENTS, ROOT_PARENT


@pytest.fixture(scope='session')
def open_body_path(tmp_path_factory):
    """An open body built in this session; tests of synthetic people use the same file."""
    if importlib.util.find_spec('anny') is None:
        pytest.skip('the open body needs the package anny')
    from mmhier.body_models import open_body

    path = tmp_path_factory.getbasetemp() / 'body_models' / open_body.open_body_path().name
    open_body.load_open_body(path)
    return path


@pytest.fixture(scope='session')
def open_body(open_body_path):
    from mmhier.body_models.smpl_file import read_smpl_npz

    return read_smpl_npz(open_body_path)


def random_body(num_vertices, num_betas=10, num_faces=None, posedirs=True, seed=0):
    """Arrays with the names, types and shapes of a SMPL file, and random content."""
    rng = np.random.default_rng(seed)
    rows = np.arange(num_vertices)
    weights = np.zeros((num_vertices, 24))
    for _ in range(4):
        weights[rows, rng.integers(0, 24, num_vertices)] += rng.random(num_vertices)
    regressor = np.zeros((24, num_vertices))
    for row in regressor:
        row[rng.choice(num_vertices, min(num_vertices, 30), replace=False)] = 1.0
    kintree = np.stack([[ROOT_PARENT, *PARENTS[1:]], np.arange(24)]).astype(np.uint32)
    arrays = {
        'v_template': rng.normal(size=(num_vertices, 3)) * 0.5,
        'shapedirs': rng.normal(size=(num_vertices, 3, num_betas)) * 0.02,
        'weights': weights / weights.sum(axis=1, keepdims=True),
        'J_regressor': regressor / regressor.sum(axis=1, keepdims=True),
        'kintree_table': kintree,
        'f': rng.integers(0, num_vertices, (num_faces or num_vertices, 3)).astype(np.uint32),
    }
    if posedirs:
        arrays['posedirs'] = rng.normal(size=(num_vertices, 3, 207)) * 0.005
    return arrays


@pytest.fixture(scope='session')
def smpl_arrays():
    """A body of SMPL's size with random content."""
    return random_body(6890, num_faces=13776)


@pytest.fixture(scope='session')
def make_body():
    """``random_body`` as a function."""
    return random_body


class _Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value):
        if self.bin:
            self.write(pickle.BINSTRING + struct.pack('<i', len(value)) + value)
        else:
            self.write(pickle.STRING + repr(value)[1:].encode('ascii') + b'\n')
        self.memoize(value)

    dispatch[bytes] = save_bytes


class Ch:
    """Pickles as chumpy's array does."""

    def __init__(self, x):
        self.x = x
        self._dirty_vars = {}


class Select:
    """Pickles as chumpy's selection does."""

    def __init__(self, a, idxs, preferred_shape):
        self.a, self.idxs, self.preferred_shape = a, idxs, preferred_shape


@pytest.fixture
def chumpy(monkeypatch):
    """A package of that name whose classes can be pickled; it is gone again when ``pickle_smpl`` returns."""
    package = types.SimpleNamespace(Ch=Ch, Select=Select)
    monkeypatch.setattr(Ch, '__module__', 'chumpy.ch')
    monkeypatch.setattr(Select, '__module__', 'chumpy.reordering')
    return package


@pytest.fixture
def pickle_smpl(chumpy):
    """Write values as a published file holds them: ``pickle_smpl(values, protocol, python2)``."""
    import io

    def write(values, protocol=2, python2=True):
        modules = {name: types.ModuleType(name) for name in ('chumpy', 'chumpy.ch', 'chumpy.reordering')}
        modules['chumpy.ch'].Ch = chumpy.Ch
        modules['chumpy.reordering'].Select = chumpy.Select
        stream = io.BytesIO()
        with pytest.MonkeyPatch.context() as patch:
            for name, module in modules.items():
                patch.setitem(sys.modules, name, module)
            kind = _Python2Pickler if python2 else pickle._Pickler
            kind(stream, protocol).dump(values)
        content = stream.getvalue()
        if python2:
            content = content.replace(b'numpy._core.', b'numpy.core.').replace(
                b'sparse._csc\n', b'sparse.csc\n'
            )
        return content

    return write


@pytest.fixture
def as_published(chumpy):
    """Arrays as version 1 of SMPL stores them: shape components in chumpy, the regressor sparse."""
    from scipy.sparse import csc_matrix

    def convert(arrays):
        return arrays | {
            'shapedirs': chumpy.Ch(arrays['shapedirs']),
            'J_regressor': csc_matrix(arrays['J_regressor']),
            'f': np.asarray(arrays['f'], np.uint32),
            'bs_style': 'lbs',
            'bs_type': 'lrotmin',
            'J': np.zeros((24, 3)),
            'vert_sym_idxs': np.arange(4),
            'pose_training_info': {'gender': 'na', 'num_samples': np.float64(3.0)},
        }

    return convert
