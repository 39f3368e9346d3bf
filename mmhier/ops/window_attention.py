"""Attention within the windows of a map, for a CPU in eager mode.

What :mod:`mmhier.ops.windows` and ``scaled_dot_product_attention`` do, with fewer passes over memory: each
direction of pad + roll + cut is one gather whose row numbers are worked out once per map size, batched
products replace the fused attention, which is slow for windows this small, and the backward pass is written
out so that it needs no more copies than the forward pass.

Letters: B batch, H and W map size in tokens, nW windows per image, N tokens per window, h heads, d channels
per head, C = h * d, K = nW * h * N slots per image. A *row* is what one head sees of one token, d channels;
a *slot* is the place of a row in a window.
"""

from functools import cached_property

import torch
from torch import Tensor

from mmhier.ops.remember import remember
from mmhier.ops.windows import padded_hw, shift_mask


class WindowPlan:
    """Which row goes into which slot, for maps of one size.

    Slots that hold padding read some token and are multiplied by zero.

    Args:
        batch: B.
        map_hw: H and W.
        window: Side of a window in tokens.
        shift: Tokens that the map is rolled by.
        heads: h.
        d: Channels per head; q is scaled by d ** -0.5.

    Attributes:
        gain: (3, 1, K, 1): the scale of q, 1 for k and v, 0 for padding.
        mask: Shift mask (nW, 1, N, N), or None without a shift.
    """

    def __init__(self, batch: int, map_hw: tuple[int, int], window: int, shift: int, heads: int, d: int):
        self.heads, self.tokens, self.scale = heads, window * window, d**-0.5
        self._image = torch.arange(batch, device='cpu')[:, None]
        self._spread, self._collect, self._collect_back, self.gain, self.mask = _image_plan(
            map_hw, window, shift, heads, d
        )

    @cached_property
    def spread(self) -> Tensor:
        """Row of (B, H * W, 3, h) in each slot of (3, B, K), flat."""
        return (self._spread[:, None, :] + self._image * (3 * self._collect.numel())).view(-1)

    @cached_property
    def spread_back(self) -> Tensor:
        """Slot of (3, B, K) of each row of (B, H * W, 3, h), flat."""
        batch, rows = self._image.shape[0], self._collect.numel() // self.heads
        part = torch.arange(3, device='cpu')[:, None] * (batch * self._collect_back.numel())
        return (self.collect.view(batch, rows, 1, self.heads) + part).view(-1)

    @cached_property
    def collect(self) -> Tensor:
        """Slot of (B, K) of each row of (B, H * W, h), flat."""
        return (self._collect + self._image * self._collect_back.numel()).view(-1)

    @cached_property
    def collect_back(self) -> Tensor:
        """Row of (B, H * W, h) in each slot of (B, K), flat."""
        return (self._collect_back + self._image * self._collect.numel()).view(-1)

    def partition(self, rows: Tensor) -> Tensor:
        """Take (B * H * W, 3 * C) to (3, B * nW * h, N, d) with q scaled; padding is zero."""
        d = rows.shape[1] // (3 * self.heads)
        windows = rows.view(-1, d).index_select(0, self.spread)
        windows = windows.view(3, -1, self.gain.shape[2], d)
        windows = windows * self.gain if windows.requires_grad else windows.mul_(self.gain)
        return windows.view(3, -1, self.tokens, d)

    def merge(self, windows: Tensor) -> Tensor:
        """Take (B * nW * h, N, d) back to (B * H * W, C)."""
        d = windows.shape[-1]
        return windows.view(-1, d).index_select(0, self.collect).view(-1, self.heads * d)


def attend(rows: Tensor, bias: Tensor, plan: WindowPlan) -> Tensor:
    """Attend within windows.

    Args:
        rows: q, k and v without the biases of k and v, (B * H * W, 3 * C).
        bias: What is added to the logits, (h, N, N) or (nW, h, N, N).
        plan: Where the windows lie.

    Returns:
        (B * H * W, C).
    """
    with torch.autocast('cpu', enabled=False):
        if torch.is_grad_enabled() and (rows.requires_grad or bias.requires_grad):
            return _Attend.apply(rows, bias, plan)[0]
        return _attend(rows, bias, plan)[0]


def _attend(rows: Tensor, bias: Tensor, plan: WindowPlan) -> tuple[Tensor, Tensor]:
    """Return the result and the attention weights (B * nW * h, N, N)."""
    q, k, v = plan.partition(rows).unbind(0)
    logits = torch.bmm(q, k.transpose(1, 2)).view(-1, *bias.shape)
    in_place = logits.dtype == bias.dtype and not logits.requires_grad
    logits = logits.add_(bias) if in_place else logits + bias
    weights = logits.softmax(-1).view(-1, plan.tokens, plan.tokens).to(v.dtype)
    return plan.merge(torch.bmm(weights, v)), weights


class _Attend(torch.autograd.Function):
    """:func:`_attend` with its gradient."""

    @staticmethod
    def forward(rows: Tensor, bias: Tensor, plan: WindowPlan) -> tuple[Tensor, Tensor]:
        return _attend(rows, bias, plan)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: tuple[Tensor, Tensor]) -> None:
        rows, bias, ctx.plan = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(rows, bias, output[1])

    @staticmethod
    def backward(ctx, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        rows, bias, weights = ctx.saved_tensors
        if torch.is_grad_enabled():  # the caller differentiates the gradient again
            out, _ = _attend(rows, bias, ctx.plan)
            wanted = [tensor for tensor in (rows, bias) if tensor.requires_grad]
            found = iter(torch.autograd.grad(out, wanted, grad, create_graph=True))
            return *(next(found) if tensor.requires_grad else None for tensor in (rows, bias)), None
        plan, d = ctx.plan, grad.shape[1] // ctx.plan.heads
        q, k, v = windows = plan.partition(rows)
        grad_out = grad.reshape(-1, d).index_select(0, plan.collect_back).view(-1, plan.gain.shape[2], d)
        grad_out = grad_out.mul_(plan.gain[1]).view_as(v)
        grads = torch.empty_like(windows)
        torch.bmm(weights.transpose(1, 2), grad_out, out=grads[2])
        grad_weights = torch.bmm(grad_out, v.transpose(1, 2))
        grad_logits = torch.ops.aten._softmax_backward_data(grad_weights, weights, -1, weights.dtype)
        torch.bmm(grad_logits, k, out=grads[0])
        torch.bmm(grad_logits.transpose(1, 2), q, out=grads[1])
        grad_rows = grads.view(-1, d).index_select(0, plan.spread_back).view(-1, 3, plan.heads, d)
        grad_rows[:, 0] *= plan.scale
        return grad_rows.view_as(rows), grad_logits.view(-1, *bias.shape).sum(0, dtype=bias.dtype), None


@remember(32)
def _image_plan(map_hw: tuple[int, int], window: int, shift: int, heads: int, d: int) -> tuple:
    """Return spread (3, K), collect (H * W * h,), collect_back (K,), gain and mask for one image."""
    with torch.device('cpu'):
        h, w = map_hw
        ph, pw = padded_hw(map_hw, window)
        token = torch.full((ph, pw), -1)
        token[:h, :w] = torch.arange(h * w).view(h, w)
        token = token.roll((-shift, -shift), (0, 1))
        token = token.view(ph // window, window, pw // window, window).transpose(1, 2)
        token = token.reshape(-1, 1, window * window).expand(-1, heads, -1)  # (nW, h, N)
        real = (token >= 0).flatten()
        token = token.clamp(min=0)
        head = torch.arange(heads)[:, None]
        part = torch.arange(3).view(3, 1, 1, 1)
        spread = (token * 3 + part) * heads + head
        collect_back = (token * heads + head).flatten()
        collect = torch.empty(h * w * heads, dtype=torch.long)
        collect[collect_back[real]] = torch.arange(real.numel())[real]
        gain = real.float() * torch.tensor([d**-0.5, 1.0, 1.0], dtype=torch.float32)[:, None]
        mask = shift_mask(map_hw, window, shift, torch.device('cpu')) if shift else None
        return spread.flatten(1), collect, collect_back, gain.view(3, 1, -1, 1), mask
