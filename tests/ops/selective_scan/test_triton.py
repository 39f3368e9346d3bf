"""The Triton kernels give the reference's numbers; without a GPU, under Triton's interpreter."""

import inspect
import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from mmhier.ops.selective_scan import reference
from mmhier.ops.selective_scan import triton as module

if find_spec('triton') is None:
    pytest.skip('Triton is not installed', allow_module_level=True)

DEVICE = 'cuda' if torch.cuda.is_available() else 'cpu'
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
# Triton decides on its first import whether it interprets: the tests below need a process of their own.
runs = pytest.mark.skipif(module.is_available() is not None, reason='runs under the interpreter, see below')


@pytest.mark.skipif(DEVICE == 'cuda' or INTERPRETED, reason='the tests run in this process')
def test_under_the_interpreter():
    result = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', __file__],
        env={**os.environ, 'TRITON_INTERPRET': '1'},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout[-4000:]
    assert ' passed' in result.stdout


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Several chunks and blocks in a small problem."""
    if INTERPRETED:
        monkeypatch.setattr(module, 'TILE', 256)


def sequences(batch=2, groups=2, channels=5, length=19, states=1, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    rows = groups * channels
    return [
        torch.randn(batch, rows, length).to(dtype),
        torch.randn(batch, rows, length).to(dtype),
        -torch.rand(rows, states) - 0.1,
        torch.randn(batch, groups, states, length).to(dtype),
        torch.randn(batch, groups, states, length).to(dtype),
        torch.randn(rows),
        torch.randn(rows),
    ]


def maps(batch=2, height=3, width=5, channels=6, states=1, rank=2, dtype=torch.float32, seed=0):
    torch.manual_seed(seed)
    return [
        torch.randn(batch, height, width, channels).to(dtype),
        torch.randn(batch, height, width, 4, rank or channels).to(dtype),
        -torch.rand(4 * channels, states) - 0.1,
        torch.randn(batch, height, width, 4, states).to(dtype),
        torch.randn(batch, height, width, 4, states).to(dtype),
        torch.randn(4 * channels),
        torch.randn(4 * channels),
        torch.randn(4 * channels, rank) if rank else None,
    ]


def results(function, tensors, softplus=True, double=False):
    """The result and the gradients of all inputs."""
    leaves = [
        None if t is None else (t.double() if double else t.to(DEVICE)).detach().requires_grad_()
        for t in tensors
    ]
    y = function(*leaves[:7], softplus, *leaves[7:])
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    (y * weights.to(y)).sum().backward()
    return [y.detach(), *(leaf.grad for leaf in leaves if leaf is not None)]


def compare(name, tensors, softplus=True, tolerance=2e-5):
    """Hold results to the reference in float64, in units of the largest value of each."""
    found = results(getattr(module, name), tensors, softplus)
    expected = results(getattr(reference, name), tensors, softplus, double=True)
    assert found[0].dtype == torch.float32
    given = [t for t in tensors if t is not None]
    for index, (value, wanted) in enumerate(zip(found, expected, strict=True)):
        assert value.shape == wanted.shape
        assert index == 0 or value.dtype == given[index - 1].dtype
        if value.numel():
            # Where the truth is zero (rates of a single step), rounding of terms of about 1 is left:
            # 3e-8 on a GPU.
            scale = wanted.abs().max().clamp(min=1e-2)
            assert (value.double().cpu() - wanted).abs().max() <= tolerance * scale, index


@runs
@pytest.mark.parametrize('states', [1, 3, 16])
def test_sequences(states):
    compare('selective_scan', sequences(states=states))


@runs
@pytest.mark.parametrize('states', [1, 16])
def test_maps(states):
    compare('cross_selective_scan', maps(batch=2 if states == 1 else 1, states=states))


@runs
@pytest.mark.parametrize('size', [dict(length=1), dict(batch=0), dict(channels=33, groups=1, length=9)])
def test_odd_sequences(size):
    compare('selective_scan', sequences(**size))


@runs
@pytest.mark.parametrize('size', [dict(height=1, width=1), dict(batch=0), dict(height=1, rank=None)])
def test_odd_maps(size):
    compare('cross_selective_scan', maps(**size))


@runs
def test_without_softplus_bias_and_direct_path():
    tensors = sequences()
    tensors[1] = tensors[1].abs() / 4
    compare('selective_scan', [*tensors[:5], None, None], softplus=False)


@runs
def test_small_and_large_step_sizes():
    """Both ends of softplus: 1e-7 and beyond 20."""
    tensors = sequences(length=12)
    tensors[1] = torch.linspace(-16, 30, tensors[1].numel()).view(tensors[1].shape)
    compare('selective_scan', tensors)


@runs
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('name', ['selective_scan', 'cross_selective_scan'])
def test_half_precision(name, dtype):
    """Results are float32 of rounded inputs; only gradients are rounded, to the inputs' type."""
    tensors = (sequences if name == 'selective_scan' else maps)(dtype=dtype)
    tolerance = 0.5 * torch.finfo(dtype).eps
    compare(name, tensors, tolerance=2 * tolerance)
    value = results(getattr(module, name), tensors)[0].double().cpu()
    wanted = results(getattr(reference, name), tensors, double=True)[0]
    assert (value - wanted).abs().max() < 2e-5 * wanted.abs().max()


@runs
def test_strided_inputs():
    """Step sizes, B and C as slices of one projection, a map with channels first."""
    x, _, A, _, _, D, bias, weight = maps(states=2, rank=3)
    projection = torch.randn(2, 3, 5, 4, 3 + 2 * 2)
    dt, B, C = projection.split([3, 2, 2], -1)
    x = x.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    assert not any(t.is_contiguous() for t in (x, dt, B, C))
    tensors = [x, dt, A, B, C, D, bias, weight]
    found = module.cross_selective_scan(*(t.to(DEVICE) for t in tensors[:7]), True, weight.to(DEVICE))
    expected = reference.cross_selective_scan(*(t.double() for t in tensors[:7]), True, weight.double())
    assert (found.double().cpu() - expected).abs().max() < 2e-5 * expected.abs().max()


@runs
def test_operator_is_well_formed():
    """Schema, shapes without data, and registration of the gradient, as PyTorch checks them."""
    tensors = [t.to(DEVICE).requires_grad_() for t in sequences(length=5)]
    u, delta = (t.detach().unflatten(1, (2, 5)).permute(0, 3, 1, 2) for t in tensors[:2])
    B, C = (t.detach().permute(0, 3, 1, 2) for t in tensors[3:5])
    inputs = [u.requires_grad_(), delta.requires_grad_(), tensors[2], B, C, *tensors[5:], True, 0, 0]
    utils = ('test_schema', 'test_autograd_registration', 'test_faketensor')
    outcome = torch.library.opcheck(module._scan, tuple(inputs), test_utils=utils)
    assert set(outcome.values()) == {'SUCCESS'}


@runs
def test_compiles_into_one_graph():
    torch._dynamo.reset()
    tensors = [t.to(DEVICE).requires_grad_() for t in maps(height=2, width=3)]
    compiled = torch.compile(module.cross_selective_scan, fullgraph=True, backend='aot_eager')
    expected = results(module.cross_selective_scan, tensors)
    for value, wanted in zip(results(compiled, tensors), expected, strict=True):
        assert (value - wanted).abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.skipif(INTERPRETED, reason='nothing is compiled under the interpreter')
@pytest.mark.parametrize('states', [1, 16])
@pytest.mark.parametrize('kernel', ['scan_forward', 'scan_backward'])
def test_compiles_for_a_gpu(kernel, states):
    """Down to PTX; that needs no GPU."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from mmhier.ops.selective_scan import triton_kernels

    function = getattr(triton_kernels, kernel)
    chunk, block_d, block_n = module._tile(states)
    constants = dict(K=4, N=states, SOFTPLUS=True, HAS_SKIP=True, HAS_BIAS=True, CROSS=True)
    constants |= dict(CHUNK=chunk, BLOCK_D=block_d, BLOCK_N=block_n, u_channel=1, delta_channel=1)
    kinds = dict.fromkeys(('u', 'delta', 'B', 'C', 'grad_delta'), '*bf16') | dict.fromkeys(
        constants, 'constexpr'
    )
    sizes = ('length', 'channels', 'height', 'width', 'batch', 'step', 'group')
    signature = {
        name: kinds.get(name, 'i32' if name.rpartition('_')[2] in sizes else '*fp32')
        for name in inspect.signature(function.fn).parameters
    }
    source = ASTSource(fn=function, signature=signature, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget('cuda', 90, 32), options={'num_warps': module.WARPS})
    assert '.target sm_90' in compiled.asm['ptx']
