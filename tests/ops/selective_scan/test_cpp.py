"""The C++ library: its operators as PyTorch sees them, its vectors, and how it is built."""

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from mmhier.ops.selective_scan import choose, cpp, cross_selective_scan, selective_scan

from .test_selective_scan import maps, results, sequences


@pytest.fixture(scope='module')
def built() -> None:
    try:
        choose('cpp', 'cpu')
    except ImportError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize('without', [(), ('D', 'delta_bias')])
def test_operators_keep_their_contract(built, without):
    """Schema, fake implementation, autograd registration and AOT autograd."""
    inputs = sequences(length=5) | dict.fromkeys(without)
    leaves = [t if t is None else t.requires_grad_() for t in inputs.values()]
    torch.library.opcheck(torch.ops.mmhier.selective_scan.default, (*leaves, True))
    inputs = maps(map_hw=(3, 2)) | dict.fromkeys(without)
    *leaves, weight = [t if t is None else t.requires_grad_() for t in inputs.values()]
    torch.library.opcheck(torch.ops.mmhier.cross_selective_scan.default, (*leaves, True, weight))


def test_backward_operators_keep_their_contract(built):
    inputs = list(sequences(length=5, states=2).values())
    torch.library.opcheck(
        torch.ops.mmhier.selective_scan_backward.default, (torch.randn_like(inputs[0]), *inputs, True)
    )
    *inputs, weight = maps(map_hw=(3, 2), states=2).values()
    torch.library.opcheck(
        torch.ops.mmhier.cross_selective_scan_backward.default,
        (torch.randn_like(inputs[0]), *inputs, True, weight),
    )


def test_exponentials_over_their_whole_range(built):
    """One step with D = 0: y = softplus(delta) B C u, and one more brings in exp(delta A)."""
    delta = torch.linspace(-100, 100, 4 * 5000).view(1, -1, 1)
    ones = torch.ones(1, 4, 1, 1)
    y = selective_scan(
        torch.ones_like(delta), delta, -torch.ones(20000, 1), ones, ones, None, None, True, 'cpp'
    )
    exact = torch.nn.functional.softplus(delta.double())
    kept = exact > 1e-37  # below, float32 is denormal and the kernel stops at the smallest normal exponential
    assert kept.sum() > 18000
    assert ((y - exact) / exact)[kept].abs().max() < 1e-6

    decay = torch.linspace(-87, 3, 20000).view(1, -1, 1)
    u = torch.tensor([1.0, 0.0]).expand(1, 20000, 2)
    delta = torch.ones_like(u)
    ones = torch.ones(1, 4, 1, 2)
    y = selective_scan(u, delta, decay.view(-1, 1), ones, ones, backend='cpp')[..., 1:]
    assert ((y - decay.double().exp()) / decay.double().exp()).abs().max() < 1e-6


def test_not_a_number_stays_visible(built):
    inputs = sequences(length=5)
    inputs['delta'][0, 0, 2] = torch.nan
    y = selective_scan(**inputs, delta_softplus=True, backend='cpp')
    assert y[0, 0, 2:].isnan().all() and not y[0, 0, :2].isnan().any() and not y[:, 1:].isnan().any()


def test_threads_change_nothing(built):
    """More threads than blocks of channels: each direction has its own sum."""
    inputs = maps(batch=1, map_hw=(7, 6), channels=20)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        expected = results(cross_selective_scan, inputs, 'cpp')
        torch.set_num_threads(4)
        found = results(cross_selective_scan, inputs, 'cpp')
    finally:
        torch.set_num_threads(threads)
    for name, value in found.items():
        assert torch.allclose(value, expected[name], atol=1e-5 * expected[name].abs().max().item()), name


def test_second_derivative_is_refused(built):
    inputs = {name: t.requires_grad_() for name, t in sequences(length=5).items()}
    y = selective_scan(**inputs, backend='cpp')
    (grad,) = torch.autograd.grad(y.square().sum(), inputs['u'], create_graph=True)
    with pytest.raises(NotImplementedError, match="backend='torch'"):
        grad.sum().backward()


def test_library_is_whole_or_absent(tmp_path, monkeypatch):
    """Two builds at once make one library; a build that fails or is interrupted leaves none."""
    from torch.utils import cpp_extension

    builds, loaded = [], []

    def load(name, sources, build_directory, **options):
        builds.append(build_directory)
        with open(f'{build_directory}/{name}.so', 'w') as file:
            if len(builds) == 1:
                raise KeyboardInterrupt
            file.write('whole')

    monkeypatch.setenv('TORCH_EXTENSIONS_DIR', str(tmp_path))
    monkeypatch.setattr(cpp_extension, 'load', load)
    monkeypatch.setattr(torch.ops, 'load_library', loaded.append)
    with pytest.raises(KeyboardInterrupt):
        cpp._load()
    assert not cpp.library_path().exists()
    threads = [threading.Thread(target=cpp._load) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert cpp.library_path().read_text() == 'whole'
    assert len(builds) == 2 and loaded == [str(cpp.library_path())]
    assert not list(cpp.library_path().parent.glob('*.build'))


DAMAGE = {
    'cut': lambda content: content[: len(content) // 2],
    'empty': lambda content: b'',
    'flipped': lambda content: content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
    'other': lambda content: b'of another program',
}


@pytest.mark.parametrize('damage', [*DAMAGE, 'no checksum', 'empty checksum', 'foreign checksum'])
def test_damaged_library_is_built_again(built, tmp_path, monkeypatch, caplog, damage):
    """It is never loaded: whatever the loader would make of it, a signal included."""
    whole = cpp.library_path()
    monkeypatch.setenv('TORCH_EXTENSIONS_DIR', str(tmp_path))
    library = cpp.library_path()
    checksum = library.with_suffix('.sha256')
    library.parent.mkdir()
    shutil.copy(whole, library)
    shutil.copy(whole.with_suffix('.sha256'), checksum)
    if damage in DAMAGE:
        library.write_bytes(DAMAGE[damage](library.read_bytes()))
    elif damage == 'no checksum':
        checksum.unlink()
    else:
        checksum.write_bytes(b'' if damage == 'empty checksum' else b'\xff' * 64)
    builds = fake_builds(monkeypatch, whole)
    loaded = []
    monkeypatch.setattr(torch.ops, 'load_library', lambda path: loaded.append(Path(path).read_bytes()))
    cpp._load()
    assert len(builds) == 1 and not loaded
    assert [record.levelname for record in caplog.records] == ['WARNING']
    assert 'is damaged' in caplog.text
    cpp._load()  # the next process
    assert len(builds) == 1 and loaded == [whole.read_bytes()]


def fake_builds(monkeypatch, whole):
    """Let the compiler give a library that has been built before; return where it did."""
    builds = []

    def load(name, sources, build_directory, **options):
        builds.append(build_directory)
        shutil.copy(whole, f'{build_directory}/{name}.so')

    monkeypatch.setattr('torch.utils.cpp_extension.load', load)
    return builds


def test_library_that_cannot_be_loaded_is_built_again(tmp_path, monkeypatch, caplog):
    """Whole, but of a system with another C library, say."""
    monkeypatch.setenv('TORCH_EXTENSIONS_DIR', str(tmp_path))
    old, new = tmp_path / 'old', tmp_path / 'new'
    old.write_text('old'), new.write_text('new')
    fake_builds(monkeypatch, old)
    cpp._load()
    caplog.clear()

    def load_library(path):
        if Path(path).read_text() == 'old':
            raise OSError('version GLIBC_2.99 not found')

    monkeypatch.setattr(torch.ops, 'load_library', load_library)
    builds = fake_builds(monkeypatch, new)
    cpp._load()
    assert len(builds) == 1 and cpp.library_path().read_text() == 'new'
    assert 'cannot be loaded (version GLIBC_2.99 not found)' in caplog.text
    cpp._load()
    assert len(builds) == 1


def test_process_outlives_a_cut_library(built, tmp_path):
    """A process that finds one, without a compiler: it goes on with another backend and says why."""
    whole = cpp.library_path()
    library = tmp_path / whole.parent.name / whole.name
    library.parent.mkdir()
    library.write_bytes(DAMAGE['cut'](whole.read_bytes()))
    shutil.copy(whole.with_suffix('.sha256'), library.with_suffix('.sha256'))
    code = (
        "from mmhier.ops.selective_scan import choose, cpp;print(cpp.library_path(), choose('auto', 'cpu'))"
    )
    environment = dict(os.environ, TORCH_EXTENSIONS_DIR=str(tmp_path), CXX=f'{tmp_path}/no-compiler')
    result = subprocess.run([sys.executable, '-c', code], env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == [str(library), 'torch']
    assert (
        result.stderr.count('selective scan on cpu: backend torch; not cpp: its C++ library cannot be') == 1
    )


def test_whole_library_needs_no_compiler_and_no_place_to_write(built, tmp_path, monkeypatch):
    whole = cpp.library_path()
    shutil.copytree(whole.parent, tmp_path / whole.parent.name)
    monkeypatch.setenv('TORCH_EXTENSIONS_DIR', str(tmp_path))
    monkeypatch.setenv('CXX', f'{tmp_path}/no-compiler')
    monkeypatch.setattr(cpp, '_locked', None)
    loaded = []
    monkeypatch.setattr(torch.ops, 'load_library', loaded.append)
    cpp._load()
    assert loaded == [str(tmp_path / whole.parent.name / whole.name)]


def test_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('TORCH_EXTENSIONS_DIR', str(tmp_path / 'file'))
    reason = cpp.is_available.__wrapped__()
    assert str(tmp_path / 'file') in reason and 'set TORCH_EXTENSIONS_DIR to a folder' in reason
    assert 'g++' not in reason


def test_library_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """Or a machine that stops leaves an empty file under the right name."""
    monkeypatch.setenv('TORCH_EXTENSIONS_DIR', str(tmp_path))
    (tmp_path / 'whole').write_text('whole')
    fake_builds(monkeypatch, tmp_path / 'whole')
    events = []
    sync, replace = os.fsync, Path.replace
    monkeypatch.setattr(
        os, 'fsync', lambda number: (events.append(os.readlink(f'/proc/self/fd/{number}')), sync(number))
    )
    monkeypatch.setattr(Path, 'replace', lambda path, to: (events.append(str(to)), replace(path, to))[1])
    cpp._load()
    library = cpp.library_path()
    assert [Path(event).name for event in events if event.endswith('.so')] == [library.name] * 2
    assert '.build/' in events[0] and events[-1] == str(library)


@pytest.mark.slow
def test_two_processes_build_one_library(built, tmp_path):
    """With the compiler: the second waits, and loads what the first has built."""
    code = (
        'import logging; logging.basicConfig(level=logging.INFO);'
        "from mmhier.ops.selective_scan import choose; print(choose('cpp', 'cpu'))"
    )
    environment = dict(os.environ, TORCH_EXTENSIONS_DIR=str(tmp_path))
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', code],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=1500) for process in processes]
    assert [out.split()[-1] for out, _ in said] == ['cpp', 'cpp'], said
    assert sum(error.count('building the C++ selective scan') for _, error in said) == 1
    assert {path.suffix for path in tmp_path.glob('*/*')} == {'.so', '.sha256', '.lock'}


def test_library_depends_on_processor_compiler_and_source(monkeypatch, tmp_path):
    paths = {cpp.library_path()}
    with monkeypatch.context() as other:
        other.setattr(cpp, '_compiler', lambda: 'clang version 99')
        paths.add(cpp.library_path())
    monkeypatch.setattr(cpp, '_processor', lambda: 'flags: none')
    paths.add(cpp.library_path())
    monkeypatch.setattr(cpp, 'SOURCE', tmp_path / 'kernel.cpp')
    cpp.SOURCE.write_text('// another')
    paths.add(cpp.library_path())
    assert len(paths) == 4


def test_failed_build_says_why(monkeypatch, tmp_path):
    def load(*args, **options):
        raise RuntimeError(
            'Error building extension\nkernel.cpp:1: fatal error: Parallel.h: no such file\nninja stopped'
        )

    monkeypatch.setenv('TORCH_EXTENSIONS_DIR', str(tmp_path))
    monkeypatch.setattr('torch.utils.cpp_extension.load', load)
    reason = cpp.is_available.__wrapped__()
    assert 'cannot be built' in reason and 'install g++' in reason
    assert not cpp.library_path().exists()


def test_environment_variable_does_without(monkeypatch):
    monkeypatch.setenv('MMHIER_NO_CPP', '1')
    assert cpp.is_available.__wrapped__() == 'MMHIER_NO_CPP is set'


def test_import_builds_nothing():
    code = (
        'import sys, mmhier.ops.selective_scan;'
        "names = 'torch.utils.cpp_extension', 'triton', 'mamba_ssm', 'mmhier.ops.selective_scan.cpp';"
        'print([name for name in names if name in sys.modules])'
    )
    output = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout
    assert output.strip().splitlines()[-1] == '[]'
