"""The linear layer on oneDNN is the linear layer."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from mmhier.ops import linear as module
from mmhier.ops.linear import Linear, linear

SHAPES = [(1, 3, 5), (40, 24, 96), (40, 96, 24), (7, 16, 16)]


@pytest.fixture
def onednn(monkeypatch):
    if not module.has_onednn_linear():
        pytest.skip('this build of PyTorch has no oneDNN linear operator')
    monkeypatch.setattr(module, 'SMALL_PRODUCT', 0)


def run(function, *tensors):
    leaves = [t.clone().requires_grad_() if t is not None else None for t in tensors]
    y = function(*leaves)
    y.square().sum().backward()
    return [y.detach(), *(leaf.grad for leaf in leaves if leaf is not None)]


@pytest.mark.parametrize('shape', SHAPES)
@pytest.mark.parametrize('bias', [True, False])
@pytest.mark.parametrize('gelu', [True, False])
def test_equals_plain(onednn, shape, bias, gelu):
    rows, features, outputs = shape
    tensors = (
        torch.randn(rows, features),
        torch.randn(outputs, features),
        torch.randn(outputs) if bias else None,
    )
    expected = run(lambda *t: F.gelu(F.linear(*t)) if gelu else F.linear(*t), *tensors)
    found = run(lambda *t: linear(*t, gelu=gelu), *tensors)
    with torch.no_grad():
        found.append(linear(*tensors, gelu=gelu))
        expected.append(expected[0])
    for out, reference in zip(found, expected, strict=True):
        assert torch.allclose(out, reference, rtol=1e-4, atol=1e-4)


def test_other_leading_dimensions(onednn):
    layer = Linear(8, 6)
    x = torch.randn(2, 3, 4, 8)
    assert torch.allclose(layer(x), F.linear(x, layer.weight, layer.bias), atol=1e-5)


def test_frozen_weights_get_no_gradient(onednn):
    layer = Linear(8, 6).requires_grad_(False)
    x = torch.randn(5, 8, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None
    assert torch.allclose(x.grad, layer.weight.sum(0).expand(5, 8), atol=1e-5)


def test_second_derivative(onednn):
    """Of the gradient's norm, as gradient penalties need it."""
    results = []
    for function in (linear, F.linear):
        x, weight = (
            torch.randn(5, 4, generator=torch.Generator().manual_seed(1)),
            torch.arange(12.0).view(3, 4),
        )
        x, weight = x.requires_grad_(), weight.requires_grad_()
        (grad,) = torch.autograd.grad(function(x, weight).square().sum(), x, create_graph=True)
        grad.square().sum().backward()
        results.append((x.grad, weight.grad))
    for found, expected in zip(*results, strict=True):
        assert torch.allclose(found, expected, rtol=1e-4)


def test_function_transforms(onednn):
    layer = Linear(8, 6)
    x = torch.randn(5, 8)

    def loss(parameters):
        return torch.func.functional_call(layer, parameters, (x,)).square().sum()

    found = torch.func.grad(loss)(dict(layer.named_parameters()))
    loss(dict(layer.named_parameters())).backward()
    assert torch.allclose(found['weight'], layer.weight.grad, rtol=1e-4, atol=1e-4)


def test_a_build_without_the_operator_falls_back(monkeypatch):
    """As would one where its signature has changed."""

    def changed(*arguments):
        raise TypeError('unexpected arguments')

    monkeypatch.setattr(module, '_product', changed)
    monkeypatch.setattr(module, 'SMALL_PRODUCT', 0)
    module.has_onednn_linear.cache_clear()
    try:
        assert not module.has_onednn_linear()
        layer = Linear(8, 6)
        x = torch.randn(5, 8)
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    finally:
        module.has_onednn_linear.cache_clear()


def test_only_plain_float32_is_fast(onednn):
    x, weight = torch.zeros(2, 3), torch.zeros(4, 3)
    assert module._pays(x, weight)
    assert not module._pays(x.double(), weight.double())
    assert not module._pays(x.to('meta'), weight.to('meta'))
    with torch.autocast('cpu', torch.bfloat16):
        assert not module._pays(x, weight)
    with FlopCounterMode(display=False):
        assert not module._pays(x, weight)


def test_onednn_can_be_switched_off(onednn, monkeypatch):
    """``torch.backends.mkldnn.enabled`` is the user's word, at any time."""
    used, product = [], module._product
    monkeypatch.setattr(module, '_product', lambda *tensors: used.append(1) or product(*tensors))
    layer, x = Linear(8, 6), torch.randn(5, 8)
    with torch.backends.mkldnn.flags(enabled=False):
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    assert not used
    layer(x)
    assert used
