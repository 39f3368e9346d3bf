"""Rearranging a map of tokens into shifted windows and back (Swin Transformer, arXiv 2103.14030).

A map of H x W tokens is padded at the right and at the bottom to whole windows, rolled up and left by the
shift, and cut into windows. After the roll a window at the edge may hold tokens from opposite sides of the
map; such tokens do not see each other (:func:`shift_mask`). Padding takes part like any other token.

There are two ways to do it, with the same result. :func:`partition` and :func:`merge` are views, pads and
rolls: they trace, compile and export well. :class:`WindowPlan` does each direction as one gather of rows that
were worked out once per map size; on a CPU that saves most of the copies.

Letters: B batch, H and W map size in tokens, nW windows per image, N tokens per window, h heads, d channels
per head, C = h * d.
"""

from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


def padded_hw(map_hw: tuple[int, int], window: int) -> tuple[int, int]:
    """Size of the map after padding to whole windows."""
    h, w = map_hw
    return -(-h // window) * window, -(-w // window) * window


def partition(rows: Tensor, map_hw: tuple[int, int], window: int, shift: int, heads: int) -> Tensor:
    """Cut rows of q, k and v into windows; padding is zero.

    Args:
        rows: (B * H * W, 3 * C), ordered q, k, v, then head, then channel.
        map_hw: H and W.
        window: Side of a window.
        shift: Tokens to roll by.
        heads: Number of heads.

    Returns:
        (3, B, nW, heads, N, d).
    """
    h, w = map_hw
    ph, pw = padded_hw(map_hw, window)
    x = rows.view(-1, h, w, rows.shape[1])
    if (ph, pw) != (h, w):
        x = F.pad(x, (0, 0, 0, pw - w, 0, ph - h))
    if shift:
        x = torch.roll(x, (-shift, -shift), (1, 2))
    x = x.view(-1, ph // window, window, pw // window, window, 3, heads, rows.shape[1] // (3 * heads))
    return x.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(5, 6).flatten(2, 3)


def merge(windows: Tensor, map_hw: tuple[int, int], window: int, shift: int) -> Tensor:
    """Undo :func:`partition` for one tensor and drop the padding.

    Args:
        windows: (B, nW, heads, N, d).
        map_hw: H and W.
        window: Side of a window.
        shift: Tokens that were rolled by.

    Returns:
        (B * H * W, C).
    """
    h, w = map_hw
    ph, pw = padded_hw(map_hw, window)
    heads, d = windows.shape[2], windows.shape[4]
    x = windows.view(-1, ph // window, pw // window, heads, window, window, d)
    x = x.permute(0, 1, 4, 2, 5, 3, 6).reshape(-1, ph, pw, heads * d)
    if shift:
        x = torch.roll(x, (shift, shift), (1, 2))
    return x[:, :h, :w].reshape(-1, heads * d)


def shift_mask(map_hw: tuple[int, int], window: int, shift: int, device: torch.device) -> Tensor:
    """What to add to the logits so that tokens from opposite sides of the map do not see each other.

    Returns:
        (nW, 1, N, N) float32: 0 where two tokens of a window belong together, -100 elsewhere.
    """
    sides = []
    for side in padded_hw(map_hw, window):
        position = torch.arange(side, device=device)
        sides.append((position >= side - window).long() + (position >= side - shift).long())
    region = 3 * sides[0][:, None] + sides[1][None, :]
    ph, pw = region.shape
    region = region.view(ph // window, window, pw // window, window).transpose(1, 2)
    region = region.reshape(-1, 1, window * window)
    return (region[:, :, None, :] != region[:, :, :, None]).float() * -100.0


class WindowPlan(NamedTuple):
    """Row numbers that take maps of one size into windows and back.

    A *row* is what one head sees of one token: d channels. Slots that hold padding point at some token and
    are multiplied by zero. K = nW * h * N is the number of slots of an image.
    """

    heads: int
    tokens: int  # N
    spread: Tensor  # (3, B, K) row of (B, H * W, 3, h) in each slot
    spread_back: Tensor | None  # (B, H * W, 3, h) slot of each row; only for gradients
    collect: Tensor  # (B, H * W, h) slot in which each row is
    collect_back: Tensor | None  # (B, K) row of (B, H * W, h) in each slot; only for gradients
    gain: Tensor  # (3, 1, K, 1) the scale of q, 1 for k and v, 0 for padding
    mask: Tensor | None  # (nW, 1, N, N) shift mask

    def partition(self, rows: Tensor) -> Tensor:
        """Take (B * H * W, 3 * C) to (3, B * nW * h, N, d) with q scaled; padding is zero."""
        d = rows.shape[1] // (3 * self.heads)
        windows = _Gather.apply(rows.view(-1, d), self.spread, self.spread_back, None)
        return windows.view(*self.spread.shape, d).mul_(self.gain).view(3, -1, self.tokens, d)

    def merge(self, windows: Tensor) -> Tensor:
        """Take (B * nW * h, N, d) back to (B * H * W, C)."""
        d = windows.shape[-1]
        rows = _Gather.apply(windows.view(-1, d), self.collect, self.collect_back, self.gain[1, 0])
        return rows.view(-1, self.heads * d)


def window_plan(
    batch: int, map_hw: tuple[int, int], window: int, shift: int, heads: int, d: int
) -> WindowPlan:
    """Work out a :class:`WindowPlan` for tensors on the CPU; what does not depend on the batch is remembered.

    Args:
        batch: B.
        map_hw: H and W.
        window: Side of a window.
        shift: Tokens to roll by.
        heads: Number of heads.
        d: Channels per head; q is scaled by d ** -0.5.
    """
    spread, collect, collect_back, gain, mask = _image_plan(map_hw, window, shift, heads, d)
    slots, rows = collect_back.numel(), collect.numel()
    image = torch.arange(batch)[:, None]
    part = torch.arange(3)[:, None]
    collect = collect + image[:, :, None] * slots
    with_grad = torch.is_grad_enabled()
    return WindowPlan(
        heads=heads,
        tokens=window * window,
        spread=spread[:, None, :] + image * (3 * rows),
        spread_back=collect[:, :, None, :] + part * (batch * slots) if with_grad else None,
        collect=collect,
        collect_back=collect_back + image * rows if with_grad else None,
        gain=gain,
        mask=mask,
    )


@lru_cache(maxsize=32)
def _image_plan(map_hw: tuple[int, int], window: int, shift: int, heads: int, d: int) -> tuple:
    """Return spread (3, K), collect (H * W, h), collect_back (K,), gain and mask for one image."""
    # The cache outlives the caller's modes: its tensors must be usable in later training.
    with torch.inference_mode(False), torch.device('cpu'):
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
        gain = real.float() * torch.tensor([d**-0.5, 1.0, 1.0])[:, None]
        mask = shift_mask(map_hw, window, shift, torch.device('cpu')) if shift else None
        return spread.flatten(1), collect.view(h * w, heads), collect_back, gain.view(3, 1, -1, 1), mask


class _Gather(torch.autograd.Function):
    """``rows[index]`` whose gradient is again a gather, ``grad[back]``, because no row is wanted twice.

    ``keep``, (K, 1), is zero where ``grad[back]`` has no meaning, because the slot was not read.
    """

    @staticmethod
    def forward(rows: Tensor, index: Tensor, back: Tensor | None, keep: Tensor | None) -> Tensor:
        return rows.index_select(0, index.view(-1))

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        _, ctx.index, ctx.back, ctx.keep = inputs

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows = _Gather.apply(grad, ctx.back, ctx.index, None)
        if ctx.keep is not None:
            rows = (rows.view(-1, *ctx.keep.shape[:1], rows.shape[1]) * ctx.keep).view_as(rows)
        return rows, None, None, None
