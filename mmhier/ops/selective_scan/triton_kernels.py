"""The Triton kernels of the selective scan, forward and backward.

One program scans one group (VMamba: direction) of one sequence for ``BLOCK_D`` of its channels. It walks
along the sequence in chunks of ``CHUNK`` steps; the steps of a chunk are solved at once by an associative
scan. The state that each chunk begins with is kept for the backward pass, which recomputes the states within
a chunk and walks from the last chunk to the first.

With ``CROSS`` a group is a direction on a map, and what is read and written at a step is the token that the
direction visits there (:mod:`mmhier.ops.cross_scan`). The directions meet in one result by atomic additions
in float32, so the last bits of a result may differ between two runs.

Letters: K groups, D channels of a group, N states of a channel (padded to a power of two, ``BLOCK_N``), L
steps. Tensors: u (batch, L, K or 1, D) and delta (batch, L, K, D) with any strides; A (K * D, N); B and C
(batch, L, K, N); skip and bias (K * D,); y, grad_u and all other results contiguous, in the shape of what
they belong to.
"""

import triton
import triton.language as tl


@triton.jit
def _compose(decay1, value1, decay2, value2):
    """Do step 1, then step 2."""
    return decay1 * decay2, value1 * decay2 + value2


@triton.jit
def _token(step, group, length, height, width, CROSS: tl.constexpr):
    """Token that is visited at a step."""
    if CROSS:
        step = tl.where(group >= 2, length - 1 - step, step)
        return tl.where(group % 2 == 1, (step % height) * width + step // height, step)
    else:
        return step


@triton.jit
def _softplus(x):
    """Compute log(1 + exp(x)) to full precision also where it is small."""
    e = tl.exp(tl.minimum(x, 20.0))
    w = 1.0 + e
    small = tl.where(w == 1.0, e, tl.log(w) * (e / tl.where(w == 1.0, 1.0, w - 1.0)))
    return tl.where(x > 20.0, x, small)


@triton.jit
def _step_size(pointers, mask, bias, SOFTPLUS: tl.constexpr):
    """Load step sizes: as they are after the bias, and as they act. Where nothing is to be read: 0 acts."""
    raw = tl.load(pointers, mask=mask, other=0.0).to(tl.float32) + bias[None, :]
    if SOFTPLUS:
        return raw, tl.where(mask, _softplus(raw), 0.0)
    else:
        return raw, tl.where(mask, raw, 0.0)


@triton.jit
def _row(values, index: tl.constexpr, CHUNK: tl.constexpr):
    """Take one step out of (CHUNK, BLOCK_D, BLOCK_N)."""
    chosen = tl.arange(0, CHUNK)[:, None, None] == index
    return tl.sum(tl.where(chosen, values, 0.0), 0)


@triton.jit
def scan_forward(
    u, delta, A, B, C, skip, bias, y, starts,
    length, channels, height, width,
    u_batch, u_step, u_group, u_channel,
    delta_batch, delta_step, delta_group, delta_channel,
    K: tl.constexpr, N: tl.constexpr,
    SOFTPLUS: tl.constexpr, HAS_SKIP: tl.constexpr, HAS_BIAS: tl.constexpr, CROSS: tl.constexpr,
    CHUNK: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Write y, and the state that each chunk begins with to ``starts`` (batch * K, chunks, D, N)."""
    sequence = tl.program_id(0).to(tl.int64)
    batch, group = sequence // K, sequence % K
    channel = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    n = tl.arange(0, BLOCK_N)
    is_channel, is_state = channel < channels, n < N
    own = group * channels + channel
    state_mask = is_channel[:, None] & is_state[None, :]
    rates = tl.load(A + own[:, None] * N + n[None, :], mask=state_mask, other=0.0)
    b = tl.zeros((BLOCK_D,), tl.float32)
    if HAS_BIAS:
        b = tl.load(bias + own, mask=is_channel, other=0.0)
    direct = tl.zeros((BLOCK_D,), tl.float32)
    if HAS_SKIP:
        direct = tl.load(skip + own, mask=is_channel, other=0.0)
    chunks = tl.cdiv(length, CHUNK)
    state = tl.zeros((BLOCK_D, BLOCK_N), tl.float32)
    for chunk in range(chunks):
        start = ((sequence * chunks + chunk) * channels + channel[:, None]) * N + n[None, :]
        tl.store(starts + start, state, mask=state_mask)
        step = chunk * CHUNK + tl.arange(0, CHUNK)
        token = _token(step, group, length, height, width, CROSS)
        mask = (step < length)[:, None] & is_channel[None, :]
        place = batch * delta_batch + token[:, None] * delta_step + group * delta_group
        _, size = _step_size(delta + place + channel[None, :] * delta_channel, mask, b, SOFTPLUS)
        place = batch * u_batch + token[:, None] * u_step + group * u_group
        value = tl.load(u + place + channel[None, :] * u_channel, mask=mask, other=0.0).to(tl.float32)
        place = ((batch * length + token[:, None]) * K + group) * N + n[None, :]
        weight_mask = (step < length)[:, None] & is_state[None, :]
        write = tl.load(B + place, mask=weight_mask, other=0.0).to(tl.float32)
        read = tl.load(C + place, mask=weight_mask, other=0.0).to(tl.float32)

        decay = tl.exp(size[:, :, None] * rates[None, :, :])
        reach, states = tl.associative_scan(
            (decay, (size * value)[:, :, None] * write[:, None, :]), 0, _compose
        )
        states += reach * state[None, :, :]
        state = _row(states, CHUNK - 1, CHUNK)
        out = tl.sum(states * read[:, None, :], 2) + direct[None, :] * value
        if CROSS:
            place = (batch * length + token[:, None]) * channels + channel[None, :]
            tl.atomic_add(y + place, out, mask=mask, sem='relaxed')
        else:
            place = ((batch * length + token[:, None]) * K + group) * channels + channel[None, :]
            tl.store(y + place, out, mask=mask)


@triton.jit
def scan_backward(
    u, delta, A, B, C, skip, bias, starts, grad_y,
    grad_u, grad_delta, grad_A, grad_B, grad_C, grad_skip, grad_bias,
    length, channels, height, width,
    u_batch, u_step, u_group, u_channel,
    delta_batch, delta_step, delta_group, delta_channel,
    K: tl.constexpr, N: tl.constexpr,
    SOFTPLUS: tl.constexpr, HAS_SKIP: tl.constexpr, HAS_BIAS: tl.constexpr, CROSS: tl.constexpr,
    CHUNK: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_N: tl.constexpr,
):  # fmt: skip
    """Write all gradients; those of A, skip and bias for each item of the batch, (batch, K * D, ...)."""
    sequence = tl.program_id(0).to(tl.int64)
    batch, group = sequence // K, sequence % K
    channel = tl.program_id(1) * BLOCK_D + tl.arange(0, BLOCK_D)
    n = tl.arange(0, BLOCK_N)
    is_channel, is_state = channel < channels, n < N
    own = group * channels + channel
    state_mask = is_channel[:, None] & is_state[None, :]
    rates = tl.load(A + own[:, None] * N + n[None, :], mask=state_mask, other=0.0)
    b = tl.zeros((BLOCK_D,), tl.float32)
    if HAS_BIAS:
        b = tl.load(bias + own, mask=is_channel, other=0.0)
    direct = tl.zeros((BLOCK_D,), tl.float32)
    if HAS_SKIP:
        direct = tl.load(skip + own, mask=is_channel, other=0.0)
    sum_rates = tl.zeros((BLOCK_D, BLOCK_N), tl.float32)
    sum_skip = tl.zeros((BLOCK_D,), tl.float32)
    sum_bias = tl.zeros((BLOCK_D,), tl.float32)
    later = tl.zeros(
        (BLOCK_D, BLOCK_N), tl.float32
    )  # gradient of the state at the first step of the next chunk
    chunks = tl.cdiv(length, CHUNK)
    for back in range(chunks):
        chunk = chunks - 1 - back
        start = ((sequence * chunks + chunk) * channels + channel[:, None]) * N + n[None, :]
        state = tl.load(starts + start, mask=state_mask, other=0.0)
        step = chunk * CHUNK + tl.arange(0, CHUNK)
        token = _token(step, group, length, height, width, CROSS)
        mask = (step < length)[:, None] & is_channel[None, :]
        place = batch * delta_batch + token[:, None] * delta_step + group * delta_group
        raw, size = _step_size(delta + place + channel[None, :] * delta_channel, mask, b, SOFTPLUS)
        next_token = _token(step + 1, group, length, height, width, CROSS)
        next_mask = (step + 1 < length)[:, None] & is_channel[None, :]
        place = batch * delta_batch + next_token[:, None] * delta_step + group * delta_group
        _, next_size = _step_size(delta + place + channel[None, :] * delta_channel, next_mask, b, SOFTPLUS)
        place = batch * u_batch + token[:, None] * u_step + group * u_group
        value = tl.load(u + place + channel[None, :] * u_channel, mask=mask, other=0.0).to(tl.float32)
        weight_place = ((batch * length + token[:, None]) * K + group) * N + n[None, :]
        weight_mask = (step < length)[:, None] & is_state[None, :]
        write = tl.load(B + weight_place, mask=weight_mask, other=0.0).to(tl.float32)
        read = tl.load(C + weight_place, mask=weight_mask, other=0.0).to(tl.float32)
        own_place = ((batch * length + token[:, None]) * K + group) * channels + channel[None, :]
        shared_place = own_place
        if CROSS:
            shared_place = (batch * length + token[:, None]) * channels + channel[None, :]
        grad = tl.load(grad_y + shared_place, mask=mask, other=0.0)

        # the states again
        entering = (size * value)[:, :, None] * write[:, None, :]
        reach, states = tl.associative_scan(
            (tl.exp(size[:, :, None] * rates[None, :, :]), entering), 0, _compose
        )
        states += reach * state[None, :, :]
        kept = states - entering  # what each step keeps of the state before it
        # gradients of the states, last step first
        next_decay = tl.exp(next_size[:, :, None] * rates[None, :, :])
        reach, grads = tl.associative_scan(
            (next_decay, grad[:, :, None] * read[:, None, :]), 0, _compose, reverse=True
        )
        grads += reach * later[None, :, :]
        later = _row(grads, 0, CHUNK)

        sum_rates += tl.sum(grads * kept * size[:, :, None], 0)
        by_input = tl.sum(grads * write[:, None, :], 2)
        grad_size = tl.sum(grads * kept * rates[None, :, :], 2) + by_input * value
        if SOFTPLUS:
            grad_size = grad_size / (1.0 + tl.exp(-raw))
        grad_size = tl.where(mask, grad_size, 0.0)
        tl.store(grad_delta + own_place, grad_size.to(grad_delta.dtype.element_ty), mask=mask)
        sum_bias += tl.sum(grad_size, 0)
        sum_skip += tl.sum(grad * value, 0)
        grad_value = by_input * size + direct[None, :] * grad
        if CROSS:
            tl.atomic_add(grad_u + shared_place, grad_value, mask=mask, sem='relaxed')
        else:
            tl.store(grad_u + own_place, grad_value, mask=mask)
        grad_write = tl.sum(grads * (size * value)[:, :, None], 1)
        tl.atomic_add(grad_B + weight_place, grad_write, mask=weight_mask, sem='relaxed')
        grad_read = tl.sum(states * grad[:, :, None], 1)
        tl.atomic_add(grad_C + weight_place, grad_read, mask=weight_mask, sem='relaxed')
    mine = batch * K * channels + own
    tl.store(grad_A + mine[:, None] * N + n[None, :], sum_rates, mask=state_mask)
    if HAS_SKIP:
        tl.store(grad_skip + mine, sum_skip, mask=is_channel)
    if HAS_BIAS:
        tl.store(grad_bias + mine, sum_bias, mask=is_channel)
