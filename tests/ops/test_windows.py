"""Cutting a map into shifted windows and putting it together again."""

import pytest
import torch

from mmhier.ops.windows import merge, partition, shift_mask

SIZES = [(4, 4), (8, 12), (5, 7), (1, 1), (3, 9)]


def test_partition_by_hand():
    """A 2 x 3 map, window 2, shift 1: padded to 2 x 4, rolled, two windows."""
    q = torch.arange(1.0, 7.0)  # 1 2 3 / 4 5 6
    rows = torch.stack([q, q * 10, q * 100], 1)
    windows = partition(rows, (2, 3), 2, 1, 1)
    assert windows.shape == (3, 1, 2, 1, 4, 1)
    assert windows[0].flatten().tolist() == [5, 6, 2, 3, 0, 4, 0, 1]
    assert windows[2].flatten().tolist() == [500, 600, 200, 300, 0, 400, 0, 100]
    assert merge(windows[1], (2, 3), 2, 1).flatten().tolist() == (q * 10).tolist()


def test_mask_by_hand():
    """Of the map above: the roll brought the first row below the second, the first column to the right."""
    mask = shift_mask((2, 3), 2, 1, torch.device('cpu'))
    assert mask.shape == (2, 1, 4, 4)
    apart = [[int(value) for value in row] for row in (mask[0, 0] < 0)]
    assert apart == [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 0], [1, 1, 0, 0]]
    assert (mask[1, 0] < 0).int().tolist() == [[0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]]


@pytest.mark.parametrize('map_hw', SIZES)
@pytest.mark.parametrize('shift', [0, 2])
def test_merge_undoes_partition(map_hw, shift):
    rows = torch.randn(2 * map_hw[0] * map_hw[1], 3 * 6)
    q, k, v = partition(rows, map_hw, 4, shift, 2)
    back = torch.cat([merge(part, map_hw, 4, shift) for part in (q, k, v)], 1)
    assert torch.equal(back, rows)
