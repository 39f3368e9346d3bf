"""The selective scan in plain torch operators: fast enough without a compiler, differentiable, exportable.

A linear recurrence ``h_t = a_t h_(t-1) + b_t`` is cut into chunks of ``CHUNK`` steps. The steps of all chunks
are taken at once, as if each chunk began with a state of zero; the states between chunks form a recurrence
that is ``CHUNK`` times shorter and is solved in the same way; then each chunk adds what its first state
contributes. That takes 3 * CHUNK * log(L) / log(CHUNK) operators instead of 3 * L, and only ever multiplies
decays: nothing can overflow that does not overflow in the recurrence itself.

The sequence length becomes part of an exported graph; the batch may stay dynamic.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..cross_scan import NUM_DIRECTIONS, cross_merge, cross_order, cross_scan
from .reference import state_dtype

CHUNK = 8


def is_available() -> str | None:
    """Plain torch: always available."""
    return None


def linear_recurrence(a: Tensor, b: Tensor) -> Tensor:
    """Solve ``h_t = a_t h_(t-1) + b_t`` with ``h_(-1) = 0`` along the first dimension.

    Args:
        a: Decays, (L, ...).
        b: Inputs, (L, ...).

    Returns:
        States, (L, ...).
    """
    length = a.shape[0]
    chunks = -(-length // CHUNK)
    if missing := chunks * CHUNK - length if chunks > 1 else 0:
        padding = b.new_zeros(missing, *b.shape[1:])  # after the last step: its values reach no other
        a, b = torch.cat((a, padding)), torch.cat((b, padding))
    # Steps of a chunk first, then chunks.
    decays, inputs = (t.unflatten(0, (chunks, t.shape[0] // chunks)).unbind(1) for t in (a, b))
    local, reach = [inputs[0]], [decays[0]]
    for decay, value in zip(decays[1:], inputs[1:]):
        local.append(torch.addcmul(value, decay, local[-1]))
        reach.append(decay * reach[-1])
    states = torch.stack(local, 1)
    if chunks == 1:
        return states[0]
    last = linear_recurrence(reach[-1], local[-1])
    first = torch.cat((torch.zeros_like(last[:1]), last[:-1]))  # state that each chunk begins with
    states = torch.addcmul(states, torch.stack(reach, 1), first.unsqueeze(1))
    return states.flatten(0, 1)[:length]


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
    directions = B.shape[1]
    u, delta = (t.unflatten(1, (directions, -1)).permute(3, 0, 1, 2) for t in (u, delta))
    B, C = (t.permute(3, 0, 1, 2) for t in (B, C))
    return _scan(u, delta, A, B, C, D, delta_bias, delta_softplus).permute(1, 2, 3, 0).flatten(1, 2)


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
    if dt_weight is not None:
        dt, weight = (t.to(state_dtype(x, A)) for t in (dt, dt_weight))
        weight = weight.unflatten(0, (NUM_DIRECTIONS, -1)).transpose(1, 2)  # (K, R, D)
        dt = (dt.unsqueeze(-2) @ weight).squeeze(-2)
    maps = cross_scan(x), cross_order(dt), cross_order(B), cross_order(C)
    u, delta, B, C = (t.permute(2, 0, 1, 3) for t in maps)
    y = _scan(u, delta, A, B, C, D, delta_bias, delta_softplus)
    return cross_merge(y.permute(1, 2, 0, 3), x.shape[1:3])


def _scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> Tensor:
    """Scan with steps first: u, delta (L, batch, K, D), B, C (L, batch, K, N), to (L, batch, K, D)."""
    dtype = state_dtype(u, A)
    u, delta, A, B, C = (tensor.to(dtype) for tensor in (u, delta, A, B, C))
    directions, channels = u.shape[2:]
    if delta_bias is not None:
        delta = delta + delta_bias.to(dtype).view(directions, channels)
    if delta_softplus:
        delta = F.softplus(delta)
    decay = torch.exp(delta.unsqueeze(-1) * A.view(directions, channels, -1))  # (L, batch, K, D, N)
    states = linear_recurrence(decay, (delta * u).unsqueeze(-1) * B.unsqueeze(-2))
    y = (states * C.unsqueeze(-2)).sum(-1)
    return y if D is None else torch.addcmul(y, u, D.to(dtype).view(directions, channels))
