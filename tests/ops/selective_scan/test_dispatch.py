"""Which backend runs, and what happens to one that gives wrong numbers."""

import logging
from types import SimpleNamespace

import pytest
import torch

from mmhier.ops.selective_scan import choose, cross_selective_scan, dispatch, reference, selective_scan
from mmhier.parts import Problem

from .test_selective_scan import maps, sequences


@pytest.fixture
def fresh(monkeypatch):
    """A process that has chosen nothing yet."""
    for name in ('_modules', '_faults', '_chosen'):
        monkeypatch.setattr(dispatch, name, {})


def broken(**functions):
    intact = dict(
        is_available=lambda: None,
        selective_scan=reference.selective_scan,
        cross_selective_scan=reference.cross_selective_scan,
    )
    return SimpleNamespace(**intact | functions)


class WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return 1.01 * grad


def fails(*args, **kwargs):
    raise RuntimeError('no such kernel image')


FAULTS = {
    'result of selective_scan': dict(
        selective_scan=lambda *a, **k: 1.01 * reference.selective_scan(*a, **k),
    ),
    'gradient of x': dict(
        cross_selective_scan=lambda x, *a, **k: reference.cross_selective_scan(
            WrongGradient.apply(x), *a, **k
        ),
    ),
    'nan': dict(selective_scan=lambda *a, **k: torch.nan * reference.selective_scan(*a, **k)),
    'no such kernel image': dict(selective_scan=fails),
}


@pytest.mark.parametrize('fault', FAULTS)
def test_wrong_backend_is_set_aside(fresh, monkeypatch, caplog, fault):
    modules = {'.cpp': broken(**FAULTS[fault])}
    load = dispatch.import_module
    monkeypatch.setattr(
        dispatch, 'import_module', lambda name, package: modules.get(name) or load(name, package)
    )
    with caplog.at_level(logging.INFO, 'mmhier'):
        assert choose('auto', 'cpu') == choose('auto', 'cpu') == 'torch'
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1 and fault in warnings[0].getMessage()
    with pytest.raises(ImportError, match="backend 'cpp'"):
        selective_scan(**sequences(), backend='cpp')


def test_right_backend_passes_the_check(fresh, monkeypatch, caplog):
    load = dispatch.import_module
    monkeypatch.setattr(
        dispatch, 'import_module', lambda name, package: broken() if name == '.cpp' else load(name, package)
    )
    with caplog.at_level(logging.INFO, 'mmhier'), torch.inference_mode():
        state = torch.random.get_rng_state()
        assert choose('auto', 'cpu') == 'cpp'
        assert torch.equal(state, torch.random.get_rng_state())
    assert [record.getMessage() for record in caplog.records] == ['selective scan on cpu: backend cpp']


def test_missing_backend_is_named_with_its_remedy(fresh, monkeypatch, caplog):
    load = dispatch.import_module
    absent = broken(is_available=lambda: 'install a compiler')
    monkeypatch.setattr(
        dispatch, 'import_module', lambda name, package: absent if name == '.cpp' else load(name, package)
    )
    with caplog.at_level(logging.INFO, 'mmhier'):
        assert choose('auto', 'cpu') == 'torch'
        assert choose('auto', 'cpu') == 'torch'
    (record,) = caplog.records  # said once
    assert record.getMessage() == 'selective scan on cpu: backend torch; not cpp: install a compiler'
    assert record.levelno == logging.WARNING
    with pytest.raises(ImportError, match='install a compiler'):
        choose('cpp', 'cpu')


def test_unusable_names():
    with pytest.raises(ValueError, match="'cuda'.*expected one of"):
        selective_scan(**sequences(), backend='cuda')
    with pytest.raises(ValueError, match="'cpp'.*does not run on cuda"):
        choose('cpp', 'cuda')


def test_devices_without_kernels_use_torch(fresh):
    assert choose('auto', 'meta') == 'torch'


@pytest.mark.parametrize('strict', [True, False])
def test_export_holds_no_custom_operator(strict):
    class Scan(torch.nn.Module):
        def forward(self, *tensors):
            return cross_selective_scan(*tensors[:7], dt_weight=tensors[7])

    inputs = tuple(maps().values())
    choose('auto', 'cpu')
    exported = torch.export.export(Scan(), inputs, strict=strict)
    calls = [str(node.target) for node in exported.graph.nodes if node.op == 'call_function']
    assert calls and not any('mmhier' in call for call in calls)
    assert torch.allclose(exported.module()(*inputs), Scan()(*inputs), atol=1e-4)


@pytest.mark.parametrize('name', ['torch', 'auto'])
def test_compiles_without_graph_break(name):
    inputs = {key: value.requires_grad_() for key, value in maps().items()}
    compiled = torch.compile(cross_selective_scan, fullgraph=True, backend='aot_eager')
    found, expected = (f(**inputs, backend=name) for f in (compiled, cross_selective_scan))
    assert torch.allclose(found, expected, atol=1e-5)
    for a, b in zip(
        *(torch.autograd.grad(y.sum(), list(inputs.values())) for y in (found, expected)), strict=True
    ):
        assert torch.allclose(a, b, atol=1e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason='the fastest backend is another one on a GPU')
def test_doctor_is_told_the_backend_and_why_not_a_faster_one(monkeypatch, fresh):
    faults = dict(cpp=None)
    monkeypatch.setattr(dispatch, '_fault', lambda name, device: faults.get(name))
    assert dispatch.check().startswith('backend cpp on cpu, checked; built in ')
    faults['cpp'] = 'the folder /x cannot be written'
    dispatch._chosen.clear()
    with pytest.raises(Problem, match='runs, but slowly: .*/x cannot be written'):
        dispatch.check()
