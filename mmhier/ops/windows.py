"""Rearranging a map of tokens into shifted windows and back (Swin Transformer, arXiv 2103.14030).

A map of H x W tokens is padded at the right and at the bottom to whole windows, rolled up and left by the
shift, and cut into windows. After the roll a window at the edge may hold tokens from opposite sides of the
map; such tokens do not see each other (:func:`shift_mask`). Padding takes part like any other token.

Letters: B batch, H and W map size in tokens, nW windows per image, N tokens per window, h heads, d channels
per head, C = h * d.
"""

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
