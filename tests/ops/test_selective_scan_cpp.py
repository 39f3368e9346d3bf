"""The C++ library: its operators as PyTorch sees them, its vectors, and how it is built."""

import subprocess
import sys
import threading

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


def test_library_depends_on_processor_and_source(monkeypatch, tmp_path):
    paths = {cpp.library_path()}
    monkeypatch.setattr(cpp, '_processor', lambda: 'flags: none')
    paths.add(cpp.library_path())
    monkeypatch.setattr(cpp, 'SOURCE', tmp_path / 'kernel.cpp')
    cpp.SOURCE.write_text('// another')
    paths.add(cpp.library_path())
    assert len(paths) == 3


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
