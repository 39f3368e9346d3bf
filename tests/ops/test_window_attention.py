"""Attention by gathers: the same as by views, with the gradients of plain autograd."""

import pytest
import torch
import torch.nn.functional as F

from mmhier.ops.window_attention import WindowPlan, _attend, attend
from mmhier.ops.windows import merge, partition, shift_mask

SIZES = [(4, 4), (8, 12), (5, 7), (1, 1), (3, 9)]
BATCH, HEADS, WINDOW, DIMS = 2, 3, 4, 5  # DIMS: channels per head

cases = pytest.mark.parametrize(('map_hw', 'shift'), [(size, shift) for size in SIZES for shift in (0, 2)])


def make(map_hw, shift, dtype=torch.float32):
    rows = torch.randn(BATCH * map_hw[0] * map_hw[1], 3 * HEADS * DIMS, dtype=dtype)
    bias = torch.randn(HEADS, WINDOW**2, WINDOW**2, dtype=dtype)
    plan = WindowPlan(BATCH, map_hw, WINDOW, shift, HEADS, DIMS)
    if dtype == torch.float64:
        plan.gain = plan.gain.double()
    if shift:
        bias = bias + plan.mask.to(dtype)
    return rows, bias, plan


@cases
def test_plan_equals_views(map_hw, shift):
    rows, _, plan = make(map_hw, shift)
    expected = partition(rows, map_hw, WINDOW, shift, HEADS)
    found = plan.partition(rows).view_as(expected)
    assert torch.equal(found[0], expected[0] * DIMS**-0.5)
    assert torch.equal(found[1:], expected[1:])
    values = torch.randn_like(expected[0])
    assert torch.equal(plan.merge(values.flatten(0, 2)), merge(values, map_hw, WINDOW, shift))
    if shift:
        assert torch.equal(plan.mask, shift_mask(map_hw, WINDOW, shift, torch.device('cpu')))


@cases
def test_equals_attention_by_views(map_hw, shift):
    rows, bias, plan = make(map_hw, shift)
    q, k, v = partition(rows, map_hw, WINDOW, shift, HEADS)
    expected = F.scaled_dot_product_attention(
        q, k, v, attn_mask=bias.expand(BATCH, q.shape[1], *bias.shape[-3:])
    )
    assert torch.allclose(attend(rows, bias, plan), merge(expected, map_hw, WINDOW, shift), atol=1e-5)


@cases
def test_gradients_equal_plain_autograd(map_hw, shift):
    rows, bias, plan = make(map_hw, shift)
    grad = torch.randn(BATCH * map_hw[0] * map_hw[1], HEADS * DIMS)
    leaves = rows.requires_grad_(), bias.requires_grad_()
    out, plain = attend(rows, bias, plan), _attend(rows, bias, plan)[0]
    assert torch.equal(out, plain)
    found, expected = torch.autograd.grad(out, leaves, grad), torch.autograd.grad(plain, leaves, grad)
    for gradient, reference in zip(found, expected, strict=True):
        assert torch.allclose(gradient, reference, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('shift', [0, 2])
def test_derivatives_by_finite_differences(shift):
    """First and second."""
    rows, bias, plan = make((3, 2), shift, torch.float64)
    rows.requires_grad_(), bias.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: attend(a, b, plan), (rows, bias), fast_mode=True)
    assert torch.autograd.gradgradcheck(lambda a, b: attend(a, b, plan), (rows, bias), fast_mode=True)


def test_only_what_needs_it_gets_a_gradient():
    rows, bias, plan = make((5, 7), 2)
    attend(rows, bias.requires_grad_(), plan).sum().backward()
    assert bias.grad is not None and rows.grad is None
    (once,) = torch.autograd.grad(attend(rows, bias, plan).square().sum(), bias, create_graph=True)
    once.square().sum().backward()
    with torch.no_grad():
        assert not attend(rows, bias, plan).requires_grad
