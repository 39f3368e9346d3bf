"""The C++ loops are those of NumPy, bit for bit; who has no compiler notices nothing but the time."""

import logging
import subprocess
import threading

import numpy as np
import pytest

from mmhier import built_library
from mmhier.parts import Problem
from mmhier.rasterizer import FrameBuffer, frame_buffer, native

BUFFERS = ('inverse_depth', 'objects', 'faces', 'barycentric')


@pytest.fixture
def compiled():
    if native.library() is None:
        pytest.skip('no compiler')


@pytest.fixture
def afresh(monkeypatch, tmp_path):
    """A process that has built nothing yet."""
    monkeypatch.setenv('MMHIER_NATIVE', str(tmp_path / 'native'))
    native._found.cache_clear()
    yield tmp_path / 'native'
    native._found.cache_clear()


def meshes(seed):
    rng = np.random.default_rng(seed)
    for number in range(3):
        points = np.concatenate([rng.uniform(-20, 120, (80, 2)), rng.uniform(-0.5, 3, (80, 1))], axis=1)
        # Shared corners give equal depths along edges; whole pixels put centres on them.
        points[::2, :2] = np.round(points[::2, :2]) + 0.5
        yield number, points, rng.integers(0, 80, (60, 3))


@pytest.mark.parametrize('chunk', [500, frame_buffer.CHUNK])
def test_every_bit_is_that_of_numpy(compiled, monkeypatch, chunk):
    """Training data of synthetic people is the same on machines with and without a compiler."""
    monkeypatch.setattr(frame_buffer, 'CHUNK', chunk)
    for seed in range(10):
        fast, slow = FrameBuffer((90, 110)), FrameBuffer((90, 110))
        for number, points, faces in meshes(seed):
            fast.draw(points, faces, number)
        with monkeypatch.context() as without:
            without.setattr(native, 'library', lambda: None)
            for number, points, faces in meshes(seed):
                slow.draw(points, faces, number)
        assert set(np.unique(fast.objects)) == {-1, 0, 1, 2}
        for name in BUFFERS:
            np.testing.assert_array_equal(getattr(fast, name), getattr(slow, name))


def test_is_built_once_and_whole(compiled, afresh, monkeypatch):
    threads = [threading.Thread(target=native.library) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    library = native.library_path()
    assert set(afresh.iterdir()) == {library, library.with_suffix('.sha256')}, 'nothing half is left'
    native._found.cache_clear()
    built = native.library_path().stat().st_mtime_ns
    assert native.library() is not None and native.library_path().stat().st_mtime_ns == built


@pytest.mark.parametrize('left', [0, 5000, None])
def test_one_that_is_cut_or_changed_is_built_again(compiled, afresh, left):
    """Loading half a library ends the process."""
    assert native.library() is not None
    path = native.library_path()
    whole = path.read_bytes()
    damaged = whole[:left] if left is not None else whole[:-1] + bytes([whole[-1] ^ 1])
    path.unlink()  # the old file is still in use
    path.write_bytes(damaged)
    native._found.cache_clear()
    assert native.library() is not None and len(path.read_bytes()) == len(whole)
    assert path.read_bytes() != damaged


def test_name_depends_on_source_and_compiler(compiled, afresh, monkeypatch, tmp_path):
    names = {native.library_path()}
    monkeypatch.setattr(native, 'compiler_version', lambda: 'another')
    names.add(native.library_path())
    monkeypatch.setattr(native, 'SOURCE', tmp_path / 'kernel.cpp')
    native.SOURCE.write_text('// another')
    names.add(native.library_path())
    assert len(names) == 3


@pytest.mark.parametrize('fault', ['no compiler', 'broken source', 'no place', 'asked for'])
def test_without_it_numpy_draws(compiled, afresh, monkeypatch, tmp_path, caplog, fault):
    if fault == 'no compiler':
        monkeypatch.setenv('CXX', str(tmp_path / 'none'))
    elif fault == 'broken source':
        monkeypatch.setattr(native, 'SOURCE', tmp_path / 'kernel.cpp')
        native.SOURCE.write_text('nonsense')
    elif fault == 'no place':
        afresh.write_text('a file')
    else:
        monkeypatch.setenv('MMHIER_NO_CPP', '1')
    with caplog.at_level(logging.INFO, 'mmhier'):
        assert native.library() is None and native.fault()
        assert native.library() is None
    assert len(caplog.records) == (fault != 'asked for')
    buffer = FrameBuffer((5, 5))
    buffer.draw(np.array([[0, 0, 1], [0, 4, 1], [4, 0, 1]]), np.array([[0, 1, 2]]), 0)
    assert (buffer.objects == 0).sum() == 10


def test_compiles_without_warnings(compiled, tmp_path):
    command = [*built_library.compiler(), *native.FLAGS, '-Wall', '-Wextra', '-Werror', str(native.SOURCE)]
    done = subprocess.run([*command, '-o', str(tmp_path / 'a.so')], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_doctor_is_told_why_there_is_none(monkeypatch):
    monkeypatch.setattr(native, 'library', lambda: None)
    monkeypatch.setattr(native, 'fault', lambda: 'c++ is not there')
    with pytest.raises(Problem, match='several times slower: c\\+\\+ is not there'):
        native.check()
    monkeypatch.setattr(native, 'library', lambda: native)
    assert native.check().startswith('C++, in ')
