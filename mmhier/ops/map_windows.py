"""Attention of plain transformers within windows of their map (ViTPose, arXiv 2204.12484).

A map of H x W tokens is cut into windows of any shape, which need not divide it: what lies beyond the map is
seen by nobody. Every second block may shift its windows by half of their size, as Swin does; those at the
right and at the bottom end at the map, and do not go on at the other side. With pooled windows each token
sees, beside the tokens of its own window, the mean of each window of the unshifted grid.

ViTPose describes this in words and has published no code for it. How pooling and shifts meet, what becomes of
windows that do not fit, and that means are taken of keys and values (which is the same as of tokens) are
choices made here.

Letters: B batch, H and W map size in tokens, nW windows, N tokens per window, P pooled windows, h heads, d
channels per head.
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
    windows = cut(qkv, map_hw, window_hw, shift_hw)  # (3, B, h, nW, N, d)
    count, tokens = windows.shape[3:5]
    q, k, v = windows.flatten(2, 3).unbind(0)  # (B, h * nW, N, d)
    visible = visible_keys(map_hw, window_hw, shift_hw, qkv.device)  # (nW, N)
    if pooled:
        means = window_means(qkv[1:], map_hw, window_hw)  # (2, B, h, P, d)
        means = means[:, :, :, None].expand(-1, -1, -1, count, -1, -1).flatten(2, 3)
        k, v = torch.cat([k, means[0]], 2), torch.cat([v, means[1]], 2)
        visible = F.pad(visible, (0, means.shape[3]), value=True)
    mask = None
    if not _fits(map_hw, window_hw, shift_hw):
        mask = visible.repeat(qkv.shape[2], 1)[None, :, None]  # (1, h * nW, 1, N + P)
        mask = mask.expand(-1, -1, tokens, -1)
    x = F.scaled_dot_product_attention(q, k, v, mask)
    return join(x.unflatten(1, (-1, count)), map_hw, window_hw, shift_hw)


def cut(
    tokens: Tensor, map_hw: tuple[int, int], window_hw: tuple[int, int], shift_hw: tuple[int, int]
) -> Tensor:
    """Cut a map into windows (..., H * W, d) -> (..., nW, N, d); beyond the map are zeros."""
    before, after = _margins(map_hw, window_hw, shift_hw)
    x = tokens.unflatten(-2, map_hw)
    if any((*before, *after)):
        x = F.pad(x, (0, 0, before[1], after[1], before[0], after[0]))
    (wh, ww), (ph, pw) = window_hw, x.shape[-3:-1]
    x = x.unflatten(-2, (pw // ww, ww)).unflatten(-4, (ph // wh, wh))  # (..., rows, wh, columns, ww, d)
    return x.transpose(-4, -3).flatten(-5, -4).flatten(-3, -2)


def join(
    windows: Tensor, map_hw: tuple[int, int], window_hw: tuple[int, int], shift_hw: tuple[int, int]
) -> Tensor:
    """Undo :func:`cut`: (..., nW, N, d) -> (..., H * W, d)."""
    before, after = _margins(map_hw, window_hw, shift_hw)
    (h, w), (wh, ww) = map_hw, window_hw
    columns = (before[1] + w + after[1]) // ww
    x = windows.unflatten(-2, (wh, ww)).unflatten(-4, (-1, columns)).transpose(-4, -3)
    x = x.flatten(-3, -2).flatten(-4, -3)  # (..., padded height, padded width, d)
    return x[..., before[0] : before[0] + h, before[1] : before[1] + w, :].flatten(-3, -2)


def window_means(tokens: Tensor, map_hw: tuple[int, int], window_hw: tuple[int, int]) -> Tensor:
    """Mean of the tokens of each unshifted window, without what lies beyond the map: (..., P, d)."""
    windows = cut(tokens, map_hw, window_hw, (0, 0))
    if _fits(map_hw, window_hw, (0, 0)):
        return windows.mean(-2)
    count = visible_keys(map_hw, window_hw, (0, 0), tokens.device).sum(1)
    return windows.sum(-2) / count[:, None].to(windows.dtype)


def visible_keys(
    map_hw: tuple[int, int], window_hw: tuple[int, int], shift_hw: tuple[int, int], device: torch.device
) -> Tensor:
    """Which places of windows lie on the map, (nW, N) bool."""
    return _visible(tuple(map_hw), tuple(window_hw), shift_hw, device)


@remember(32)
def _visible(map_hw, window_hw, shift_hw, device) -> Tensor:
    ones = torch.ones(map_hw[0] * map_hw[1], 1, device=device)
    return cut(ones, map_hw, window_hw, shift_hw)[..., 0] > 0


def _margins(map_hw, window_hw, shift_hw) -> tuple[tuple[int, int], tuple[int, int]]:
    """Rows and columns that are added before and behind the map."""
    before = tuple((window - shift) % window for window, shift in zip(window_hw, shift_hw, strict=True))
    after = tuple(
        -(side + margin) % window for side, margin, window in zip(map_hw, before, window_hw, strict=True)
    )
    return before, after


def _fits(map_hw, window_hw, shift_hw) -> bool:
    return not any(sum(_margins(map_hw, window_hw, shift_hw), ()))
