"""The selective scan as its equations read, one step at a time. Slow; what every other backend is held to."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cross_scan import NUM_DIRECTIONS, cross_merge, cross_order, cross_scan


def is_available() -> str | None:
    """Plain torch: always available."""
    return None


def state_dtype(u: Tensor, A: Tensor) -> torch.dtype:
    """Return float64 if an input is, otherwise float32: what states and results are kept in."""
    return torch.float64 if torch.float64 in (u.dtype, A.dtype) else torch.float32


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
    dtype = state_dtype(u, A)
    u, delta, A, B, C = (tensor.to(dtype) for tensor in (u, delta, A, B, C))
    if delta_bias is not None:
        delta = delta + delta_bias.to(dtype)[:, None]
    if delta_softplus:
        delta = F.softplus(delta)
    channels = u.shape[1] // B.shape[1]  # that share B and C
    B = B.repeat_interleave(channels, 1)  # (batch, K * D, N, L)
    C = C.repeat_interleave(channels, 1)
    state = u.new_zeros(*u.shape[:2], A.shape[1])
    steps = []
    for step in range(u.shape[2]):
        decay = torch.exp(delta[:, :, step, None] * A)
        state = decay * state + (delta[:, :, step] * u[:, :, step]).unsqueeze(-1) * B[..., step]
        steps.append((state * C[..., step]).sum(-1))
    y = torch.stack(steps, -1)
    return y if D is None else y + D.to(dtype)[:, None] * u


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
    return cross_by_sequences(selective_scan, x, dt, A, B, C, D, delta_bias, delta_softplus, dt_weight)


def cross_by_sequences(scan, x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, *rest) -> Tensor:
    """Compute ``cross_selective_scan`` by ``scan``, a ``selective_scan`` without the last argument."""
    D, delta_bias, delta_softplus, dt_weight = rest
    if dt_weight is not None:
        dt, weight = (t.to(state_dtype(x, A)) for t in (dt, dt_weight))
        dt = torch.einsum('bhwkr,kdr->bhwkd', dt, weight.unflatten(0, (NUM_DIRECTIONS, -1)))
    u, delta = (_as_sequences(t) for t in (cross_scan(x), cross_order(dt)))
    B, C = (cross_order(t).transpose(2, 3) for t in (B, C))  # (batch, K, N, L)
    y = scan(u, delta, A, B, C, D, delta_bias, delta_softplus)
    return cross_merge(y.unflatten(1, (NUM_DIRECTIONS, -1)).transpose(2, 3), x.shape[1:3])


def _as_sequences(t: Tensor) -> Tensor:
    """(batch, K, L, D) to (batch, K * D, L)."""
    return t.transpose(2, 3).flatten(1, 2)
