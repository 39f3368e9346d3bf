"""Every backend that runs on the CPU against the reference; the reference against the closed form."""

import pytest
import torch
from torch import Tensor

from mmhier.ops.cross_scan import cross_merge, cross_order, cross_scan
from mmhier.ops.selective_scan import choose, cross_selective_scan, selective_scan
from mmhier.ops.selective_scan.chunked import CHUNK, linear_recurrence

K = 4


@pytest.fixture(params=['torch', 'cpp'])
def backend(request) -> str:
    try:
        return choose(request.param, 'cpu')
    except ImportError as error:
        pytest.skip(str(error))


def sequences(batch=2, channels=5, states=1, length=21, dtype=torch.float32) -> dict[str, Tensor]:
    rows = K * channels
    return {
        'u': torch.randn(batch, rows, length, dtype=dtype),
        'delta': torch.rand(batch, rows, length, dtype=dtype),
        'A': -torch.rand(rows, states, dtype=dtype) - 0.1,
        'B': torch.randn(batch, K, states, length, dtype=dtype),
        'C': torch.randn(batch, K, states, length, dtype=dtype),
        'D': torch.randn(rows, dtype=dtype),
        'delta_bias': torch.rand(rows, dtype=dtype),
    }


def maps(batch=2, map_hw=(5, 4), channels=5, states=1, rank=3, dtype=torch.float32) -> dict[str, Tensor]:
    shape, rows = (batch, *map_hw), K * channels
    inputs = sequences(0, channels, states, 1, dtype)
    return {
        'x': torch.randn(*shape, channels, dtype=dtype),
        'dt': torch.randn(*shape, K, rank or channels, dtype=dtype),
        'A': inputs['A'],
        'B': torch.randn(*shape, K, states, dtype=dtype),
        'C': torch.randn(*shape, K, states, dtype=dtype),
        'D': inputs['D'],
        'delta_bias': inputs['delta_bias'],
        'dt_weight': torch.randn(rows, rank, dtype=dtype) if rank else None,
    }


def results(function, inputs: dict[str, Tensor | None], backend: str, **options) -> dict[str, Tensor]:
    """Result, and gradients with respect to every input."""
    leaves = {name: t if t is None else t.detach().requires_grad_() for name, t in inputs.items()}
    y = function(**leaves, **options, backend=backend)
    weights = torch.linspace(-1, 1, y.numel()).view(y.shape)
    wanted = {name: t for name, t in leaves.items() if t is not None}
    grads = torch.autograd.grad((y * weights).sum(), list(wanted.values()), materialize_grads=True)
    return {'y': y.detach(), **dict(zip(wanted, grads, strict=True))}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Within 1e-3 of the largest value as required; 1e-5 is what float32 sums of this length reach."""
    assert set(found) == set(expected)
    for name, value in found.items():
        assert value.shape == expected[name].shape and value.dtype == expected[name].dtype
        scale = expected[name].abs().max().item() if value.numel() else 0
        assert torch.allclose(value, expected[name], rtol=0, atol=1e-5 * scale), name


SIZES = [
    dict(length=21),
    dict(states=16, channels=3),
    dict(states=3, length=77, channels=19),  # neither lanes nor chunks come out even
    dict(length=64, channels=16),
    dict(length=1),
    dict(length=CHUNK + 1, batch=1),
]


@pytest.mark.parametrize('sizes', SIZES, ids=str)
@pytest.mark.parametrize('softplus', [True, False])
def test_equals_reference(backend, sizes, softplus):
    inputs = sequences(**sizes)
    expected = results(selective_scan, inputs, 'reference', delta_softplus=softplus)
    assert_equal(results(selective_scan, inputs, backend, delta_softplus=softplus), expected)


MAPS = [
    dict(),
    dict(rank=0),
    dict(states=16, channels=3),
    dict(states=2, map_hw=(3, 67), channels=19, rank=7),
    dict(map_hw=(16, 12), channels=32, rank=2, batch=1),
    dict(map_hw=(1, 1)),
    dict(map_hw=(9, 1), rank=0),
    dict(map_hw=(1, 9)),
]


@pytest.mark.parametrize('sizes', MAPS, ids=str)
def test_maps_equal_reference(backend, sizes):
    inputs = maps(**sizes)
    expected = results(cross_selective_scan, inputs, 'reference')
    assert_equal(results(cross_selective_scan, inputs, backend), expected)


@pytest.mark.parametrize('missing', [('D',), ('delta_bias',), ('D', 'delta_bias')])
def test_without_direct_path_and_bias(backend, missing):
    inputs = sequences() | dict.fromkeys(missing)
    expected = results(selective_scan, inputs, 'reference', delta_softplus=True)
    assert_equal(results(selective_scan, inputs, backend, delta_softplus=True), expected)
    inputs = maps() | dict.fromkeys(missing)
    expected = results(cross_selective_scan, inputs, 'reference', delta_softplus=False)
    assert_equal(results(cross_selective_scan, inputs, backend, delta_softplus=False), expected)


def test_reference_equals_powers_of_a_constant_decay():
    """With constant steps and weights, y_t = sum over s <= t of a^(t-s) b u_s c, plus D u_t."""
    inputs = sequences(batch=1, channels=1, length=6, dtype=torch.float64)
    inputs |= {
        name: torch.full_like(inputs[name], value) for name, value in (('B', 2.0), ('C', 3.0), ('delta', 0.5))
    }
    inputs['delta_bias'] = None
    y = selective_scan(**inputs, backend='reference')
    decay = torch.exp(0.5 * inputs['A'])  # (K, 1)
    steps = torch.arange(6)
    powers = torch.where(
        steps[:, None] >= steps, decay[..., None] ** (steps[:, None] - steps), 0
    )  # (K, t, s)
    expected = (
        torch.einsum('kts,bks->bkt', powers, inputs['u']) * 0.5 * 2 * 3 + inputs['D'][:, None] * inputs['u']
    )
    assert torch.allclose(y, expected)


def test_reference_map_equals_four_sequences():
    inputs = maps(rank=0)
    y = torch.zeros_like(inputs['x'])
    for k in range(K):
        rows = slice(k * 5, k * 5 + 5)
        u = cross_scan(inputs['x'])[:, k].mT
        delta, B, C = (cross_order(inputs[name])[:, k].mT for name in ('dt', 'B', 'C'))
        constants = inputs['D'][rows], inputs['delta_bias'][rows], True
        one = selective_scan(
            u, delta, inputs['A'][rows], B[:, None], C[:, None], *constants, backend='reference'
        )
        alone = torch.zeros(2, K, 20, 5)
        alone[:, k] = one.mT
        y += cross_merge(alone, (5, 4))
    assert torch.allclose(cross_selective_scan(**inputs, backend='reference'), y, atol=1e-5)


@pytest.mark.parametrize('states', [1, 2])
def test_derivatives_by_finite_differences(backend, states):
    small = sequences(batch=1, channels=2, states=states, length=11, dtype=torch.float64)
    leaves = [t.requires_grad_() for t in small.values()]
    assert torch.autograd.gradcheck(
        lambda *args: selective_scan(*args, True, backend=backend), leaves, fast_mode=True
    )
    small = maps(batch=1, map_hw=(3, 2), channels=3, states=states, rank=2, dtype=torch.float64)
    leaves = [t.requires_grad_() for t in small.values()]
    assert torch.autograd.gradcheck(
        lambda *args: cross_selective_scan(*args[:7], True, args[7], backend=backend), leaves, fast_mode=True
    )


def test_non_contiguous_inputs(backend):
    dense = maps(map_hw=(6, 5), channels=4, rank=3, states=2)
    projected = torch.cat([dense[name] for name in ('dt', 'B', 'C')], -1)
    strided = dense | dict(zip(('dt', 'B', 'C'), projected.split((3, 2, 2), -1), strict=True))
    strided['x'] = dense['x'].permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
    for name in ('A', 'dt_weight'):
        strided[name] = dense[name].T.contiguous().T
    for name in ('D', 'delta_bias'):
        strided[name] = dense[name].repeat_interleave(2)[::2]
    assert not any(t.is_contiguous() for t in strided.values())
    expected = results(cross_selective_scan, dense, 'reference')
    assert_equal(results(cross_selective_scan, strided, backend), expected)

    dense = sequences(states=2)
    strided = {name: t.mT.contiguous().mT for name, t in dense.items() if t.ndim > 1}
    assert not any(t.is_contiguous() for t in strided.values())
    expected = results(selective_scan, dense, 'reference')
    assert_equal(results(selective_scan, dense | strided, backend), expected)


def test_gradient_of_a_view(backend):
    """What follows the scan hands back gradients that are not contiguous."""
    inputs = maps()
    leaves = [t.requires_grad_() for t in inputs.values()]
    weights = torch.randn(2, 5, 5, 4)  # channels first
    grads = [
        torch.autograd.grad(
            (cross_selective_scan(**inputs, backend=b).permute(0, 3, 1, 2) * weights).sum(), leaves
        )
        for b in (backend, 'reference')
    ]
    for found, expected in zip(*grads, strict=True):
        assert torch.allclose(found, expected, atol=1e-5 * expected.abs().max().item())


def test_empty_batch(backend):
    for function, inputs in ((selective_scan, sequences(batch=0)), (cross_selective_scan, maps(batch=0))):
        found = results(function, inputs, backend)
        assert found['y'].numel() == 0
        for name, value in found.items():
            assert name == 'y' or (value.shape == inputs[name].shape and not value.any())


def test_steep_decays_do_not_overflow(backend):
    inputs = sequences(length=50) | {'delta': torch.full((2, 20, 50), 80.0)}
    inputs['A'] = torch.full((20, 1), -16.0)
    found = results(selective_scan, inputs, backend, delta_softplus=True)
    assert_equal(found, results(selective_scan, inputs, 'reference', delta_softplus=True))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_inputs_give_float32(backend, dtype):
    constants = ('A', 'D', 'delta_bias')
    for function, inputs in ((selective_scan, sequences()), (cross_selective_scan, maps())):
        half = {name: t if name in constants else t.to(dtype) for name, t in inputs.items()}
        found = function(**half, backend=backend)
        exact = function(**{name: t.float() for name, t in half.items()}, backend='reference')
        assert found.dtype == torch.float32
        # the torch backend projects the step size in float32 as well
        assert torch.allclose(found, exact, atol=1e-4 * exact.abs().max().item())


@pytest.mark.parametrize('length', [1, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK**2 + 3])
def test_linear_recurrence(length):
    a, b = torch.rand(length, 2, dtype=torch.float64), torch.randn(length, 2, dtype=torch.float64)
    state, states = torch.zeros(2, dtype=torch.float64), []
    for decay, value in zip(a, b, strict=True):
        state = decay * state + value
        states.append(state)
    assert torch.allclose(linear_recurrence(a, b), torch.stack(states))


@pytest.mark.parametrize('name', ['reference', 'torch', 'cpp'])
def test_autocast_rounds_nothing(name):
    """What comes in may be half precision; step size, state and result are float32 in every backend."""
    try:
        choose(name, 'cpu')
    except ImportError as error:
        pytest.skip(str(error))
    torch.manual_seed(0)
    for function, inputs in ((selective_scan, sequences()), (cross_selective_scan, maps())):
        inputs = {key: value.bfloat16() if value.ndim > 2 else value for key, value in inputs.items()}
        exact = {key: value.double() for key, value in inputs.items()}
        expected = function(**exact, delta_softplus=True, backend='reference')
        with torch.autocast('cpu', torch.bfloat16):
            found = function(**inputs, delta_softplus=True, backend=name)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)
