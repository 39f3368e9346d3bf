"""Four orders of a map: by hand, and back."""

import torch

from mmhier.ops.cross_scan import cross_merge, cross_order, cross_scan


def test_convention_directions():
    x = torch.tensor([[0.0, 1, 2], [3, 4, 5]]).view(1, 2, 3, 1)
    rows, columns = [0, 1, 2, 3, 4, 5], [0, 3, 1, 4, 2, 5]
    assert cross_scan(x).squeeze().tolist() == [rows, columns, rows[::-1], columns[::-1]]


def test_merge_puts_every_value_back():
    x = torch.randn(2, 5, 3, 4)
    assert torch.equal(cross_merge(cross_scan(x), (5, 3)), 4 * x)


def test_order_takes_each_direction_from_its_own_map():
    maps = torch.randn(2, 5, 3, 4, 6)
    ordered = cross_order(maps)
    for k in range(4):
        assert torch.equal(ordered[:, k], cross_scan(maps[..., k, :])[:, k])


def test_merge_is_the_adjoint_of_scan():
    x, y = torch.randn(2, 3, 5, 4, dtype=torch.float64), torch.randn(2, 4, 15, 4, dtype=torch.float64)
    assert torch.allclose((cross_scan(x) * y).sum(), (x * cross_merge(y, (3, 5))).sum())
