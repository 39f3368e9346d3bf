"""Every engine gives the model's heatmaps, or says why it cannot."""

import importlib.util

import pytest
import torch

from mmhier.apis.model_zoo import find_configs
from mmhier.cost import engines
from mmhier.cost.engines import ENGINES, make_engine
from mmhier.cost.macs import build_model


@pytest.fixture(scope='module')
def model():
    torch.manual_seed(0)
    return build_model(find_configs(['swinpose_micro_s3_synth'])[0])[0]


@pytest.fixture
def images():
    return torch.randn(2, 3, 128, 96)


@pytest.mark.parametrize(
    'name', ['eager', 'onnxruntime', 'openvino', pytest.param('compile', marks=pytest.mark.slow)]
)
def test_same_heatmaps(name, model, images):
    if name in ('onnxruntime', 'openvino') and not (
        importlib.util.find_spec(name) and importlib.util.find_spec('onnxscript')
    ):
        pytest.skip(f'{name} is not installed')
    engine = make_engine(name, model, images)
    with torch.inference_mode():
        expected = model(images, None, mode='tensor')
    torch.testing.assert_close(engine(images), expected, rtol=1e-3, atol=1e-5)


def test_an_engine_with_other_numbers_is_refused(model, images, monkeypatch):
    monkeypatch.setitem(
        ENGINES, 'broken', lambda network, images, threads: lambda batch: network(batch) * 1.1
    )
    with pytest.raises(ValueError, match='engine broken differs from the model by 1.0e-01'):
        make_engine('broken', model, images)


def test_not_a_number_is_refused(model, images, monkeypatch):
    monkeypatch.setitem(
        ENGINES, 'broken', lambda network, images, threads: lambda batch: network(batch) * float('nan')
    )
    with pytest.raises(ValueError, match='differs'):
        make_engine('broken', model, images)


def test_unknown_engine(model, images):
    with pytest.raises(ValueError, match="one of eager, compile, onnxruntime, openvino, got 'tensorrt'"):
        make_engine('tensorrt', model, images)


@pytest.mark.parametrize('name', ['onnxruntime', 'openvino'])
def test_missing_runtime_names_the_remedy(name, model, images, monkeypatch):
    monkeypatch.setitem(engines.__dict__['__builtins__'], '__import__', _without(name))
    with pytest.raises(ImportError, match=f'pip install .*{name}'):
        make_engine(name, model, images)


def _without(missing):
    real = __import__

    def find(name, *rest, **options):
        if name == missing:
            raise ImportError(name)
        return real(name, *rest, **options)

    return find
