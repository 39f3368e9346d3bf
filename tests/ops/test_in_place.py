"""Residual adds: in place where nobody can hold the branch, out of place everywhere else."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmhier.ops.in_place import add, may_overwrite
from mmhier.ops.linear import Linear


class Wrapper(nn.Module):
    """Returns what its part returns, and says so."""

    result_of = 'part'

    def __init__(self, part):
        super().__init__()
        self.part = part


class Adapted(Linear):
    """A subclass may return anything, a tensor that it keeps for instance."""


def test_in_place_or_not_is_the_same_sum():
    x, branch = torch.randn(2, 3, 5)
    expected = x + branch
    with torch.no_grad():
        kept = branch.clone()
        found = add(x, kept, Linear(2, 2))
    assert found is kept
    assert torch.equal(found, expected)
    assert add(x, branch) is not branch  # with gradients never
    assert torch.equal(add(x, branch), expected)


def test_types_that_differ_are_promoted():
    x, branch = torch.randn(3), torch.randn(3).bfloat16()
    with torch.no_grad():
        assert torch.equal(add(x, branch), x + branch)


@torch.no_grad()
def test_chains_of_modules():
    linear = Linear(2, 2)
    assert may_overwrite()
    assert may_overwrite(linear)
    assert may_overwrite(nn.Sequential(nn.ReLU(), linear))
    assert may_overwrite(Wrapper(nn.Sequential(linear)))
    assert may_overwrite(nn.Identity(), linear)
    assert may_overwrite(nn.Identity())  # the caller vouches for what comes before
    for unknown in (nn.Sequential(), nn.ReLU(), nn.Flatten(), Adapted(2, 2), Wrapper(nn.Dropout())):
        assert not may_overwrite(unknown)
    assert not may_overwrite(nn.Identity(), nn.ReLU())


@torch.no_grad()
@pytest.mark.parametrize('place', range(4))
def test_a_hook_anywhere_on_the_way_is_respected(place):
    linear = Linear(2, 2)
    identity, wrapper = nn.Identity(), Wrapper(nn.Sequential(linear))
    on_the_way = [identity, wrapper, wrapper.part, linear]
    handle = on_the_way[place].register_forward_hook(lambda *_: None)
    assert not may_overwrite(identity, wrapper)
    handle.remove()
    assert may_overwrite(identity, wrapper)
    on_the_way[place].forward = on_the_way[place].forward  # as wrappers of other projects do
    assert not may_overwrite(identity, wrapper)


@torch.no_grad()
def test_recorders_and_tracers_are_respected():
    with FlopCounterMode(display=False):
        assert not may_overwrite()
    with torch.overrides.BaseTorchFunctionMode():
        assert not may_overwrite()
    traced = torch.jit.trace(lambda x: x * (2 if may_overwrite() else 3), torch.ones(1), check_trace=False)
    assert traced(torch.ones(1)) == 3
