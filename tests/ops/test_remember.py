"""What is remembered was made outside of the first caller's modes; what is recorded is not remembered."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from mmhier.models.backbones import truncated_swin
from mmhier.models.backbones.truncated_swin import TruncatedSwin
from mmhier.ops import window_attention
from mmhier.ops.linear import has_onednn_linear
from mmhier.ops.remember import outside_modes, remember
from mmhier.ops.selective_scan import dispatch

MODES = {
    'inference': torch.inference_mode,
    'fake': FakeTensorMode,
    'meta': lambda: torch.device('meta'),
    'autocast': lambda: torch.autocast('cpu', torch.bfloat16),
    'flops': lambda: FlopCounterMode(display=False),
}
modes = pytest.mark.parametrize('mode', MODES)


def is_plain(value):
    return type(value) is torch.Tensor and value.device.type == 'cpu' and not value.is_inference()


@modes
def test_outside_modes(mode):
    with MODES[mode](), outside_modes():
        value = torch.ones(2, 2) @ torch.ones(2, 2)
    assert is_plain(value) and value.dtype == torch.float32


@modes
def test_what_is_remembered_is_plain(mode):
    calls = []

    @remember(2)
    def numbers(count):
        calls.append(count)
        return torch.arange(count)

    with MODES[mode]():
        first = numbers(3)
    kept = numbers(3)
    assert is_plain(kept) and numbers(3) is kept
    assert kept.tolist() == [0, 1, 2]
    recorded = mode in ('fake', 'flops')
    assert len(calls) == (2 if recorded else 1)
    assert isinstance(first, FakeTensor) == (mode == 'fake')
    numbers(4), numbers(5)
    assert numbers(3) is not kept  # the oldest made room


@pytest.mark.parametrize('gathers', [True, False])
@modes
def test_a_network_is_not_harmed_by_its_first_use(mode, gathers, monkeypatch):
    """Whatever mode the first image of a size is seen in, training on images of that size works."""
    for module in (truncated_swin._remembered_mask, window_attention._image_plan, has_onednn_linear):
        module.cache_clear()
    if not gathers:
        monkeypatch.setattr(truncated_swin, 'gathers_pay', lambda x: False)
    arch = dict(embed_dims=8, depths=[2, 2], num_heads=[1, 2], window_size=4)
    torch.manual_seed(0)
    network = TruncatedSwin(arch).eval()
    images = torch.randn(1, 3, 40, 24)
    expected = network(images)[0].detach()
    for module in (truncated_swin._remembered_mask, window_attention._image_plan, has_onednn_linear):
        module.cache_clear()
    weights = network.state_dict()
    with MODES[mode]() as entered:
        if mode == 'fake':
            fakes = {name: entered.from_tensor(value) for name, value in weights.items()}
            functional_call(network, fakes, (entered.from_tensor(images),))
        else:
            network(images)
    (out,) = network(images)
    out.sum().backward()
    torch.testing.assert_close(out, expected)


@modes
def test_the_check_of_a_scan_is_made_outside(mode, monkeypatch):
    """A good backend is not set aside because the first caller measured or recorded something."""
    for name in ('_modules', '_faults', '_chosen'):
        monkeypatch.setattr(dispatch, name, {})
    with outside_modes():
        expected = dispatch._choose('cpu', False)
    dispatch._faults.clear()
    with MODES[mode]():
        assert dispatch._choose('cpu', False) == expected


@modes
def test_the_linear_operator_is_judged_outside(mode):
    expected = has_onednn_linear()
    has_onednn_linear.cache_clear()
    if mode not in ('fake', 'flops'):  # nothing is remembered, and nobody asks
        with MODES[mode]():
            assert has_onednn_linear() == expected
    assert has_onednn_linear() == expected
