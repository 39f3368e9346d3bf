"""Attention of plain transformers within windows of their map (ViTPose, arXiv 2204.12484).

A map of H x W tokens is cut into windows of any shape, which need not divide it: what lies beyond the map is
seen by nobody. Every second block may shift its windows by half of their size, as Swin does; those at the
right and at the bottom end at the map, and do not go on at the other side. With pooled windows each token
sees, beside the tokens of its own window, the mean of each window of the unshifted grid.

To shift, the map is rolled, as in Swin: a window at the end of the rolled map then holds parts of up to four
windows, whose tokens do not see each other (:func:`_labels`).

ViTPose describes this in words and has published no code for it. How pooling and shifts meet, what becomes of
windows that do not fit, and that means are taken of keys and values (which is the same as of tokens) are
choices made here.

Letters: B batch, H and W map size in tokens, nW windows, N tokens per window, h heads, d channels per head.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmhier.ops.remember import remember


def windowed_attention(
    qkv: Tensor, map_hw: tuple[int, int], window_hw: tuple[int, int], shifted: bool, pooled: bool
) -> Tensor:
    """Attend within windows.

    Args:
        qkv: (3, B, h, H * W, d), q not scaled.
        map_hw: H and W.
        window_hw: Height and width of a window in tokens.
        shifted: Whether windows are shifted by half of their size.
        pooled: Whether the means of all windows are seen, too.

    Returns:
        (B, h, H * W, d).
    """
    shift_hw = (window_hw[0] // 2, window_hw[1] // 2) if shifted else (0, 0)
    heads = qkv.shape[2]
    # Apart, so that none keeps the memory of the others.
    q, k, v = (cut(part, map_hw, window_hw, shift_hw) for part in qkv)  # (B, h, nW, N, d)
    count = q.shape[2]
    if pooled:
        means = window_means(qkv[1:], map_hw, window_hw)[:, :, :, None].expand(-1, -1, -1, count, -1, -1)
        k, v = torch.cat([k, means[0]], 3), torch.cat([v, means[1]], 3)
    mask = None
    if shifted or any(side % window for side, window in zip(map_hw, window_hw, strict=True)):
        mask = _mask(map_hw, window_hw, shift_hw, heads, pooled, qkv.device)
    x = F.scaled_dot_product_attention(q.flatten(1, 2), k.flatten(1, 2), v.flatten(1, 2), mask)
    return join(x.unflatten(1, (heads, count)), map_hw, window_hw, shift_hw)


def cut(
    tokens: Tensor, map_hw: tuple[int, int], window_hw: tuple[int, int], shift_hw: tuple[int, int]
) -> Tensor:
    """Cut a map, rolled by the shift, into windows (..., H * W, d) -> (..., nW, N, d); beyond it are 0."""
    (h, w), (wh, ww) = map_hw, window_hw
    x = tokens.unflatten(-2, (h, w))
    if h % wh or w % ww:
        x = F.pad(x, (0, 0, 0, -w % ww, 0, -h % wh))
    if any(shift_hw):
        x = x.roll((-shift_hw[0], -shift_hw[1]), (-3, -2))
    ph, pw = x.shape[-3:-1]
    x = x.unflatten(-2, (pw // ww, ww)).unflatten(-4, (ph // wh, wh))  # (..., rows, wh, columns, ww, d)
    return x.transpose(-4, -3).flatten(-5, -4).flatten(-3, -2)


def join(
    windows: Tensor, map_hw: tuple[int, int], window_hw: tuple[int, int], shift_hw: tuple[int, int]
) -> Tensor:
    """Undo :func:`cut`: (..., nW, N, d) -> (..., H * W, d)."""
    (h, w), (wh, ww) = map_hw, window_hw
    x = windows.unflatten(-2, (wh, ww)).unflatten(-4, (-1, -(-w // ww))).transpose(-4, -3)
    x = x.flatten(-3, -2).flatten(-4, -3)  # (..., padded height, padded width, d)
    if any(shift_hw):
        x = x.roll(shift_hw, (-3, -2))
    return x[..., :h, :w, :].flatten(-3, -2)


def window_means(tokens: Tensor, map_hw: tuple[int, int], window_hw: tuple[int, int]) -> Tensor:
    """Mean of the tokens of each unshifted window, without what lies beyond the map: (..., nW, d)."""
    sums = cut(tokens, map_hw, window_hw, (0, 0)).sum(-2)
    count = (_labels(map_hw, window_hw, (0, 0), tokens.device) >= 0).sum(1, keepdim=True)
    return sums / count.to(sums.dtype)


@remember(32)
def _labels(
    map_hw: tuple[int, int], window_hw: tuple[int, int], shift_hw: tuple[int, int], device: torch.device
) -> Tensor:
    """To which window each token of the rolled and cut map belongs, -1 beyond the map: (nW, N)."""
    rows, columns = (
        (torch.arange(side, device=device) - shift).div(window, rounding_mode='floor') + 1
        for side, window, shift in zip(map_hw, window_hw, shift_hw, strict=True)
    )
    labels = rows[:, None] * (map_hw[1] + 2) + columns
    return cut(labels.flatten()[:, None] + 1, map_hw, window_hw, shift_hw)[..., 0] - 1


@remember(32)
def _mask(
    map_hw: tuple[int, int],
    window_hw: tuple[int, int],
    shift_hw: tuple[int, int],
    heads: int,
    pooled: bool,
    device: torch.device,
) -> Tensor:
    """Which keys each token of a window sees, (1, h * nW, N, keys) bool; what is no token sees its like."""
    labels = _labels(map_hw, window_hw, shift_hw, device)
    mask = labels[:, :, None] == labels[:, None, :]
    if pooled:
        mask = F.pad(mask, (0, len(labels)), value=True)
    return mask.repeat(heads, 1, 1)[None]
