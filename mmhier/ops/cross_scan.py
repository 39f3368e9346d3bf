"""Cross-scan and cross-merge of VMamba (Liu et al., 2024): a map read along four directions, and back.

Convention: a map is stored channels last, (B, H, W, C). Direction 0 reads it row by row, direction 1 column
by column (top to bottom, then the next column to the right); directions 2 and 3 are 0 and 1 backwards.

These are the plain forms, used by the backends that work on sequences and by the tests; the fast backends of
``mmhier.ops.selective_scan`` fold the order into their indexing and never make the copies.

Letters: B batch, H, W height and width of the map, L = H * W, C channels, K = 4 directions.
"""

import torch
from torch import Tensor

NUM_DIRECTIONS = 4


def cross_order(maps: Tensor) -> Tensor:
    """Put each direction's own map into that direction's order.

    Args:
        maps: One map for each direction, (B, H, W, K, C).

    Returns:
        (B, K, L, C).
    """
    rows = maps[..., 0::2, :].flatten(1, 2).transpose(1, 2)  # directions 0 and 2
    columns = maps[..., 1::2, :].transpose(1, 2).flatten(1, 2).transpose(1, 2)  # directions 1 and 3
    backwards = torch.stack((rows[:, 1], columns[:, 1]), 1).flip(2)
    return torch.cat((rows[:, :1], columns[:, :1], backwards), 1)


def cross_scan(x: Tensor) -> Tensor:
    """Read one map along the four directions: (B, H, W, C) to (B, K, L, C)."""
    return cross_order(x.unsqueeze(3).expand(-1, -1, -1, NUM_DIRECTIONS, -1))


def cross_merge(y: Tensor, map_hw: tuple[int, int]) -> Tensor:
    """Put four sequences back onto the map and add them up: (B, K, L, C) to (B, H, W, C)."""
    height, width = map_hw
    forward = y[:, :2] + y[:, 2:].flip(2)
    rows = forward[:, 0].unflatten(1, (height, width))
    columns = forward[:, 1].unflatten(1, (width, height))
    return rows + columns.transpose(1, 2)
