"""One entrance to the selective scan, whichever backend runs it.

    h_t = exp(delta_t A) h_(t-1) + delta_t B_t u_t,    y_t = C_t . h_t + D u_t,    h_(-1) = 0

A backend is a module of this package with three functions: ``is_available()``, which returns None or the reason
why it cannot run here and what would help, and ``selective_scan`` and ``cross_selective_scan`` as below without
the last argument. ``'auto'`` takes the first usable one of ``PREFERENCE``. Every fast backend is compared with
``reference``, forward and backward, the first time that a process uses it on a type of device; one that gives
other numbers is set aside with a warning.

Letters: K groups of channels that share B and C (VMamba: its 4 directions), D channels of a group, N states of a
channel, L length, H, W height and width of a map, R rank of the step size (delta) before its projection.
"""

from importlib import import_module

from torch import Tensor

BACKENDS = {
    'reference': 'reference',
    'torch': 'chunked',
    'cpp': 'cpp',
    'triton': 'triton',
    'mamba_ssm': 'mamba_ssm',
}


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

    Inputs may be half precision; the state is float32 (float64 if ``u`` or ``A`` is, in the backends that can).

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
    """
    return _backend(backend, u).selective_scan(u, delta, A, B, C, D, delta_bias, delta_softplus)


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
    What VMamba computes from ``x`` for each direction is pointwise, so ``dt``, ``B`` and ``C`` are best slices of
    one projection of the map, (batch, H, W, K, R + 2 N); they need not be contiguous.

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
    """
    chosen = _backend(backend, x)
    return chosen.cross_selective_scan(x, dt, A, B, C, D, delta_bias, delta_softplus, dt_weight)


def _backend(name: str, u: Tensor):
    return import_module(f'{__package__}.{BACKENDS["torch" if name == "auto" else name]}')
