"""The adapter of mamba-ssm, in front of a stand-in with that package's signature and restrictions."""

import importlib.machinery
import sys
import types

import pytest
import torch

from mmhier.ops.selective_scan import mamba_ssm as module
from mmhier.ops.selective_scan import reference


@pytest.fixture
def calls(monkeypatch):
    """Stand in for mamba-ssm; list what it is called with."""
    seen = []

    def selective_scan_fn(
        u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False, return_last_state=False
    ):
        assert z is None and not return_last_state and u.numel()
        assert {t.dtype for t in (u, delta, A, B, C, D, delta_bias) if t is not None} == {torch.float32}
        assert u.shape == delta.shape and B.shape == C.shape and B.ndim == 4
        seen.append((u.shape, B.shape, delta_softplus))
        return reference.selective_scan(u, delta, A, B, C, D, delta_bias, delta_softplus)

    package = types.ModuleType('mamba_ssm')
    package.__spec__ = importlib.machinery.ModuleSpec('mamba_ssm', None)
    operators = types.ModuleType('mamba_ssm.ops')
    interface = types.ModuleType('mamba_ssm.ops.selective_scan_interface')
    interface.selective_scan_fn = selective_scan_fn
    for stand_in in (package, operators, interface):
        monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
    return seen


def sequences(batch=2, dtype=torch.float32):
    torch.manual_seed(0)
    u, delta = torch.randn(2, batch, 6, 11).to(dtype)
    B, C = torch.randn(2, batch, 2, 3, 11).to(dtype)
    return u, delta, -torch.rand(6, 3), B, C, torch.randn(6), torch.randn(6)


def test_is_not_available_without_the_package(monkeypatch):
    monkeypatch.setattr(module, 'find_spec', lambda name: None)
    assert 'pip install mamba-ssm' in module.is_available()


def test_availability_depends_on_a_gpu(calls, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert 'needs a GPU' in module.is_available()
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    assert module.is_available() is None


@pytest.mark.parametrize('softplus', [True, False])
def test_sequences(calls, softplus):
    inputs = sequences()
    found = module.selective_scan(*inputs, softplus)
    assert torch.equal(found, reference.selective_scan(*inputs, softplus))
    assert calls == [((2, 6, 11), (2, 2, 3, 11), softplus)]


def test_half_precision_gives_float32(calls):
    found = module.selective_scan(*sequences(dtype=torch.bfloat16), True)
    assert found.dtype == torch.float32 and len(calls) == 1


def test_empty_batch_stays_away_from_the_kernels(calls):
    assert module.selective_scan(*sequences(batch=0), True).shape == (0, 6, 11)
    assert not calls


def test_absent_inputs_stay_absent(calls):
    inputs = (*sequences()[:5], None, None)
    assert torch.equal(module.selective_scan(*inputs, True), reference.selective_scan(*inputs, True))


def test_maps(calls):
    torch.manual_seed(0)
    x, dt, weight = torch.randn(2, 3, 5, 6), torch.randn(2, 3, 5, 4, 2), torch.randn(24, 2)
    B, C = torch.randn(2, 2, 3, 5, 4, 3)
    inputs = (x, dt, -torch.rand(24, 3), B, C, torch.randn(24), torch.randn(24), True, weight)
    found, expected = (source.cross_selective_scan(*inputs) for source in (module, reference))
    assert torch.equal(found, expected)
    assert calls == [((2, 24, 15), (2, 4, 3, 15), True)]
