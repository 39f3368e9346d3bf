"""One entrance to the selective scan, whichever backend runs it.

    h_t = exp(delta_t A) h_(t-1) + delta_t B_t u_t,    y_t = C_t . h_t + D u_t,    h_(-1) = 0

A backend is a module of this package with three functions: ``is_available()``, which returns None or the
reason why it cannot run here with what would help, and ``selective_scan`` and ``cross_selective_scan`` as
below without the last argument. ``'auto'`` takes the first usable one of ``PREFERENCE``, and ``'torch'``
while a network is exported. A fast backend is compared with ``reference``, forward and backward, the first
time that a process uses it on a type of device; one that gives other numbers is set aside. Which backend
runs, and why not a faster one, is said once, as a warning if it is not the fastest.

Letters: K groups of channels that share B and C (VMamba: its 4 directions), D channels of a group, N states
of a channel, L length, H, W height and width of a map, R rank of the step size (delta) before its projection.
"""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor

from ...parts import Problem
from ..cross_scan import NUM_DIRECTIONS
from ..remember import outside_modes

logger = logging.getLogger('mmhier')

BACKENDS = {
    'reference': 'reference',
    'torch': 'chunked',
    'cpp': 'cpp',
    'triton': 'triton',
    'mamba_ssm': 'mamba_ssm',
}
ANYWHERE = ('torch', 'reference')  # the backends that run on every device, and need no check
PREFERENCE = {'cpu': ('cpp', 'torch'), 'cuda': ('triton', 'mamba_ssm', 'torch')}
FLOAT64 = ('cpp', *ANYWHERE)
TOLERANCE = 1e-3  # of the check: largest difference in units of the largest value

_modules: dict[str, ModuleType] = {}
# Of a backend on a type of device: None, or why it is not used.
_faults: dict[tuple[str, str], str | None] = {}
_chosen: dict[tuple[str, bool], str] = {}


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    backend: str = 'auto',
) -> Tensor:
    """Scan sequences, in the layout of mamba-ssm and VMamba.

    Inputs may be half precision; step size and state are float32, under autocast too (float64 if ``u`` or
    ``A`` is, in the backends that can).

    Args:
        u: Input, (batch, K * D, L).
        delta: Step size, (batch, K * D, L).
        A: Decay rates, usually negative, (K * D, N).
        B: Input weights, (batch, K, N, L).
        C: Output weights, (batch, K, N, L).
        D: Weights of the direct path, (K * D,).
        delta_bias: Added to ``delta``, (K * D,).
        delta_softplus: Pass ``delta`` through softplus after the bias.
        backend: One of ``BACKENDS``, or ``'auto'``.

    Returns:
        (batch, K * D, L), float32 whatever the type of the inputs (as VMamba's "oflex" kernels), or float64.

    Raises:
        ImportError: The backend that is asked for cannot run here.
        ValueError: A tensor has another shape than said above.
    """
    if not torch.compiler.is_compiling():
        _check_axes(dict(u=(u, 3), A=(A, 2), B=(B, 4)))
        (batch, rows, length), (groups, states) = u.shape, (B.shape[1], A.shape[1])
        if groups == 0 or rows % groups:
            raise ValueError(f'selective scan: the {rows} channels of u do not form the {groups} groups of B')
        inputs = (batch, groups, states, length)
        _check_shapes(
            dict(delta=(delta, u.shape), A=(A, (rows, states)), B=(B, inputs), C=(C, inputs))
            | dict(D=(D, (rows,)), delta_bias=(delta_bias, (rows,)))
        )
    chosen = _backend(backend, u)
    with _without_autocast(u):
        return chosen.selective_scan(u, delta, A, B, C, D, delta_bias, delta_softplus)


def cross_selective_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = True,
    dt_weight: Tensor | None = None,
    backend: str = 'auto',
) -> Tensor:
    """Scan a map along the four directions of VMamba and add up the results (see ``mmhier.ops.cross_scan``).

    Everything comes in map order, channels last; only the order in which a direction visits the map differs.
    What VMamba computes from ``x`` for each direction is pointwise, so ``dt``, ``B`` and ``C`` are best
    slices of one projection of the map, (batch, H, W, K, R + 2 N); they need not be contiguous.

    Args:
        x: Map, (batch, H, W, D).
        dt: Step size for each direction, (batch, H, W, K, D), or (batch, H, W, K, R) with ``dt_weight``.
        A: Decay rates, (K * D, N).
        B: Input weights, (batch, H, W, K, N).
        C: Output weights, (batch, H, W, K, N).
        D: Weights of the direct path, (K * D,).
        delta_bias: Added to the step size, (K * D,).
        delta_softplus: Pass the step size through softplus after the bias.
        dt_weight: Projection of ``dt`` from R to D values, (K * D, R).
        backend: One of ``BACKENDS``, or ``'auto'``.

    Returns:
        Sum over the directions in map order, (batch, H, W, D), float32 or float64 as ``selective_scan``.

    Raises:
        ImportError: The backend that is asked for cannot run here.
        ValueError: A tensor has another shape than said above.
    """
    if not torch.compiler.is_compiling():
        _check_axes(dict(x=(x, 4), A=(A, 2)) | ({} if dt_weight is None else dict(dt_weight=(dt_weight, 2))))
        (*place, channels), states, rows = x.shape, A.shape[1], NUM_DIRECTIONS * x.shape[3]
        rank = channels if dt_weight is None else dt_weight.shape[1]
        inputs = (*place, NUM_DIRECTIONS, states)
        _check_shapes(
            dict(dt=(dt, (*place, NUM_DIRECTIONS, rank)), A=(A, (rows, states)), B=(B, inputs), C=(C, inputs))
            | dict(D=(D, (rows,)), delta_bias=(delta_bias, (rows,)), dt_weight=(dt_weight, (rows, rank)))
        )
    chosen = _backend(backend, x)
    with _without_autocast(x):
        return chosen.cross_selective_scan(x, dt, A, B, C, D, delta_bias, delta_softplus, dt_weight)


def _without_autocast(x: Tensor) -> AbstractContextManager:
    """Leave autocast, which would round the step size to half precision in some backends only."""
    kind = x.device.type
    if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
        return torch.autocast(kind, enabled=False)
    return nullcontext()


def _check_axes(tensors: Mapping[str, tuple[Tensor, int]]) -> None:
    for name, (tensor, axes) in tensors.items():
        if tensor.ndim != axes:
            raise ValueError(f'selective scan: {name} has the shape {tuple(tensor.shape)}, not {axes} axes')


def _check_shapes(tensors: Mapping[str, tuple[Tensor | None, Sequence[int]]]) -> None:
    for name, (tensor, shape) in tensors.items():
        if tensor is not None and tuple(tensor.shape) != tuple(shape):
            raise ValueError(
                f'selective scan: {name} has the shape {tuple(tensor.shape)}, expected {tuple(shape)}'
            )


def _backend(name: str, u: Tensor) -> ModuleType:
    if name == 'auto' and _is_exporting():
        name = 'torch'
    return _modules[choose(name, u.device.type, u.dtype == torch.float64)]


def _is_exporting() -> bool:
    """Whether the graph that is being recorded is meant for elsewhere, where no custom operator is known."""
    if torch.jit.is_tracing() or torch.onnx.is_in_onnx_export():
        return True
    return getattr(torch.compiler, 'is_exporting', torch.compiler.is_compiling)()


def choose(name: str, device_type: str, float64: bool = False) -> str:
    """Return the name of the backend that runs, loaded and checked.

    Args:
        name: What is asked for, one of ``BACKENDS`` or ``'auto'``.
        device_type: Of the inputs, as ``torch.device.type``.
        float64: Whether the inputs are double precision.

    Returns:
        One of ``BACKENDS``.

    Raises:
        ImportError: The backend that is asked for cannot run here.
    """
    if name == 'auto':
        key = device_type, float64
        if key not in _chosen:
            _chosen[key] = _choose(device_type, float64)
        return _chosen[key]
    if name not in BACKENDS:
        raise ValueError(f'backend {name!r} of the selective scan: expected one of {(*BACKENDS, "auto")}')
    if name not in (*ANYWHERE, *PREFERENCE.get(device_type, ())):
        raise ValueError(f"backend {name!r} of the selective scan does not run on {device_type}: use 'auto'")
    if fault := _fault(name, device_type):
        raise ImportError(f"selective scan, backend {name!r}: {fault}; or use backend='auto'")
    return name


# As torch.compiler.assume_constant_result marks it, which would import the compiler at once: 0.3 s.
choose._dynamo_marked_constant = True


def check() -> str:
    """The backend that runs on this machine, for ``mmhier doctor``.

    Raises:
        Problem: If it is a slow one.
    """
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    chosen = choose('auto', device)
    if chosen == 'torch':
        try:
            choose(PREFERENCE[device][0], device)
        except ImportError as error:
            raise Problem(f'VMamba runs, but slowly: {error}') from error
    text = f'backend {chosen} on {device}, checked'
    if chosen == 'cpp':
        from . import cpp

        text += f'; built in {cpp.library_path().parent}'
    return text


def _choose(device_type: str, float64: bool) -> str:
    skipped = []
    for name in PREFERENCE.get(device_type, ('torch',)):
        if float64 and name not in FLOAT64:
            continue
        fault = _fault(name, device_type)
        if fault is None:
            break
        skipped.append(f'not {name}: {fault}')
    level = logging.WARNING if skipped else logging.INFO
    logger.log(level, 'selective scan on %s: %s', device_type, '; '.join((f'backend {name}', *skipped)))
    return name


def _fault(name: str, device_type: str) -> str | None:
    """Load and check a backend once; return None, or why it is not to be used."""
    key = name, device_type
    if key not in _faults:
        module = _modules[name] = import_module(f'.{BACKENDS[name]}', __package__)
        _faults[key] = module.is_available()
        if _faults[key] is None and name not in ANYWHERE:
            _faults[key] = _difference(module, device_type)
    return _faults[key]


# ------------------------------------------------------------------------------------------------ the check


def _difference(module: ModuleType, device_type: str) -> str | None:
    """Compare a backend with ``reference`` on two small problems; return None, or what is wrong."""
    reference = import_module('.reference', __package__)
    with outside_modes(), torch.enable_grad(), torch.autocast(device_type, enabled=False):
        for function, make in (('selective_scan', _sequences), ('cross_selective_scan', _maps)):
            inputs = make(torch.Generator().manual_seed(0))
            try:
                found = _results(getattr(module, function), inputs, device_type)
            except Exception as error:  # whatever a compiler, a driver or another library raises
                return f'{function} failed with {type(error).__name__}: {error}'
            expected = _results(getattr(reference, function), inputs, device_type)
            for what, value, truth in zip(('result', *inputs), found, expected, strict=True):
                worst = ((value - truth).abs().max() / truth.abs().max()).item()
                if not worst < TOLERANCE:
                    what = what if what == 'result' else f'gradient of {what}'
                    return f'the {what} of {function} differs from the reference by {worst:.1g}'
    return None


def _results(function, inputs: dict[str, Tensor], device_type: str) -> list[Tensor]:
    """Return the result of ``function`` and its gradients with respect to all inputs."""
    leaves = {name: value.to(device_type).requires_grad_() for name, value in inputs.items()}
    y = function(**leaves, delta_softplus=True)
    weights = torch.linspace(-1, 1, y.numel(), device=y.device).view(y.shape)
    return [y.detach(), *torch.autograd.grad((y * weights).sum(), list(leaves.values()))]


def _constants(generator: torch.Generator, rows: int, states: int) -> dict[str, Tensor]:
    return {
        'A': -torch.rand(rows, states, generator=generator) - 0.1,
        'D': torch.randn(rows, generator=generator),
        'delta_bias': torch.randn(rows, generator=generator),
    }


def _sequences(generator: torch.Generator) -> dict[str, Tensor]:
    batch, groups, channels, states, length = 2, 2, 5, 2, 21
    sizes = {'u': (batch, groups * channels, length), 'B': (batch, groups, states, length)}
    sizes |= {'delta': sizes['u'], 'C': sizes['B']}
    values = {name: torch.randn(size, generator=generator) for name, size in sizes.items()}
    return values | _constants(generator, groups * channels, states)


def _maps(generator: torch.Generator) -> dict[str, Tensor]:
    batch, height, width, channels, rank = 2, 4, 5, 18, 3
    maps = batch, height, width, NUM_DIRECTIONS
    sizes = {'x': (*maps[:3], channels), 'dt': (*maps, rank), 'B': (*maps, 1), 'C': (*maps, 1)}
    sizes['dt_weight'] = NUM_DIRECTIONS * channels, rank
    values = {name: torch.randn(size, generator=generator) for name, size in sizes.items()}
    return values | _constants(generator, NUM_DIRECTIONS * channels, 1)
