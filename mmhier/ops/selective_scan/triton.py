"""The selective scan on a GPU, by Triton kernels (:mod:`mmhier.ops.selective_scan.triton_kernels`).

On a map, the four directions are read from and added to the map in the kernels; no sequence is ever copied.
States are float32 and so are the results; inputs may be float32, bfloat16 or float16.

The kernels have been run, and compared with the reference, under Triton's interpreter only. For GPUs they
have been compiled, not run and not timed. The first use in a process compares them with the reference in any
case (:mod:`mmhier.ops.selective_scan.dispatch`).
"""

import os
from importlib.util import find_spec

import torch
from torch import Tensor

from ..cross_scan import NUM_DIRECTIONS

# Entries of a tile (steps * channels * states): 8 for each thread, so that registers suffice (ptxas, sm_90).
TILE = 1024
WARPS = 4


def is_available() -> str | None:
    """Why Triton cannot run here, or None if it can."""
    if find_spec('triton') is None:
        return 'Triton is not installed: pip install triton'
    if not torch.cuda.is_available() and os.environ.get('TRITON_INTERPRET') != '1':
        return 'Triton needs a GPU, and PyTorch sees none'
    return None


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> Tensor:
    """Scan sequences; see ``dispatch.selective_scan``."""
    groups = B.shape[1]
    u, delta = (t.unflatten(1, (groups, -1)).permute(0, 3, 1, 2) for t in (u, delta))
    B, C = (t.permute(0, 3, 1, 2) for t in (B, C))
    y, _ = _scan(u, delta, A, B, C, D, delta_bias, delta_softplus, 0, 0)
    return y.permute(0, 2, 3, 1).flatten(1, 2)


def cross_selective_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    dt_weight: Tensor | None,
) -> Tensor:
    """Scan a map along four directions and add them up; see ``dispatch.cross_selective_scan``."""
    height, width = x.shape[1:3]
    dt, B, C = (t.flatten(1, 2) for t in (dt, B, C))
    if dt_weight is not None:
        weight = dt_weight.float().unflatten(0, (NUM_DIRECTIONS, -1))
        dt = torch.einsum('blkr,kdr->blkd', dt.float(), weight)
    u = x.flatten(1, 2).unsqueeze(2)
    y, _ = _scan(u, dt, A, B, C, D, delta_bias, delta_softplus, height, width)
    return y.view(x.shape)


@torch.library.custom_op('mmhier::triton_selective_scan', mutates_args=())
def _scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    height: int,
    width: int,
) -> tuple[Tensor, Tensor]:
    """Scan in the layout of the kernels; a height of 0 means sequences. Returns y and the chunks' states."""
    from .triton_kernels import scan_forward

    constants = _constants(delta, A, D, delta_bias, delta_softplus, height)
    batch, length, groups, channels = delta.shape
    chunks = -(-length // constants['CHUNK'])
    y = _new(u, zeros=height > 0)
    starts = u.new_empty((batch * groups, chunks, channels, A.shape[1]), dtype=torch.float32)
    if y.numel():
        inputs = _in_layout(u, delta, A, B, C, D, delta_bias)
        sizes = (length, channels, height, width, *_strides(u, delta))
        with torch.cuda.device_of(u):  # Triton launches on the current device
            scan_forward[_grid(delta, constants)](*inputs, y, starts, *sizes, **constants, num_warps=WARPS)
    return y, starts


@_scan.register_fake
def _(u, delta, A, B, C, D, delta_bias, delta_softplus, height, width):
    batch, length, groups, channels = delta.shape
    chunks = -(-length // _tile(A.shape[1])[0])
    starts = u.new_empty((batch * groups, chunks, channels, A.shape[1]), dtype=torch.float32)
    return _new(u, zeros=False), starts


@torch.library.custom_op('mmhier::triton_selective_scan_backward', mutates_args=())
def _scan_backward(
    grad_y: Tensor,
    starts: Tensor,
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    height: int,
    width: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of u, delta, A, B, C, D and delta_bias."""
    from .triton_kernels import scan_backward

    constants = _constants(delta, A, D, delta_bias, delta_softplus, height)
    batch, length, groups, channels = delta.shape
    new = dict(dtype=torch.float32, device=u.device)
    grad_u = _new(u, zeros=height > 0)
    grad_delta = torch.empty(delta.shape, dtype=delta.dtype, device=u.device)
    grad_B, grad_C = torch.zeros(B.shape, **new), torch.zeros(C.shape, **new)
    grad_A = torch.zeros((batch, *A.shape), **new)
    grad_D, grad_bias = torch.zeros((2, batch, groups * channels), **new)
    if u.numel():
        inputs = _in_layout(u, delta, A, B, C, D, delta_bias)
        results = (grad_u, grad_delta, grad_A, grad_B, grad_C, grad_D, grad_bias)
        sizes = (length, channels, height, width, *_strides(u, delta))
        grad_y = grad_y.float().contiguous()
        with torch.cuda.device_of(u):
            scan_backward[_grid(delta, constants)](
                *inputs, starts, grad_y, *results, *sizes, **constants, num_warps=WARPS
            )
    return (
        grad_u.to(u.dtype),
        grad_delta,
        grad_A.sum(0).to(A.dtype),
        grad_B.to(B.dtype),
        grad_C.to(C.dtype),
        grad_D.sum(0).to(A.dtype if D is None else D.dtype),
        grad_bias.sum(0).to(A.dtype if delta_bias is None else delta_bias.dtype),
    )


@_scan_backward.register_fake
def _(grad_y, starts, u, delta, A, B, C, D, delta_bias, delta_softplus, height, width):
    like = (u, delta, A, B, C, A if D is None else D, A if delta_bias is None else delta_bias)
    shapes = [*(t.shape for t in like[:5]), A.shape[:1], A.shape[:1]]
    return tuple(t.new_empty(shape) for t, shape in zip(like, shapes, strict=True))


def _remember(ctx, inputs: tuple, output: tuple) -> None:
    ctx.save_for_backward(output[1], *inputs[:7])
    ctx.settings = inputs[7:]


def _differentiate(ctx, grad_y: Tensor, _: Tensor | None) -> tuple:
    starts, *inputs = ctx.saved_tensors
    grads = _scan_backward(grad_y, starts, *inputs, *ctx.settings)
    known = [grad if value is not None else None for grad, value in zip(grads, inputs, strict=True)]
    return (*known, None, None, None)


_scan.register_autograd(_differentiate, setup_context=_remember)


def _new(like: Tensor, zeros: bool) -> Tensor:
    """Contiguous float32; zeros where the directions of a map add up."""
    return (torch.zeros if zeros else torch.empty)(like.shape, dtype=torch.float32, device=like.device)


def _tile(states: int) -> tuple[int, int, int]:
    """Steps, channels and states of a tile: powers of two."""
    block_n = 1 << (states - 1).bit_length()
    block_d = 32 if block_n <= 4 else 16
    return max(TILE // (block_d * block_n), 8), block_d, block_n


def _constants(
    delta: Tensor, A: Tensor, D: Tensor | None, bias: Tensor | None, softplus: bool, height: int
) -> dict[str, int | bool]:
    chunk, block_d, block_n = _tile(A.shape[1])
    return dict(
        K=delta.shape[2],
        N=A.shape[1],
        SOFTPLUS=softplus,
        HAS_SKIP=D is not None,
        HAS_BIAS=bias is not None,
        CROSS=height > 0,
        CHUNK=chunk,
        BLOCK_D=block_d,
        BLOCK_N=block_n,
    )


def _grid(delta: Tensor, constants: dict[str, int | bool]) -> tuple[int, int]:
    batch, _, groups, channels = delta.shape
    return batch * groups, -(-channels // constants['BLOCK_D'])


def _in_layout(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, *optional: Tensor | None) -> list:
    """Bring the inputs to what the kernels read; an absent one is replaced by A, which nobody then reads."""
    A = A.float().contiguous()
    rest = [A if value is None else value.float().contiguous() for value in optional]
    return [u, delta, A, B.contiguous(), C.contiguous(), *rest]


def _strides(u: Tensor, delta: Tensor) -> list[int]:
    """Strides of both; where all groups share u its stride over them is 0."""
    strides = list(u.stride())
    if u.shape[2] == 1:
        strides[2] = 0
    return [*strides, *delta.stride()]
