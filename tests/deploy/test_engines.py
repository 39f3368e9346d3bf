"""Every engine gives the model's outputs, or says why it cannot."""

import importlib.util
import os
import subprocess
import sys
import time

import pytest
import torch

from mmhier.deploy import engines, formats
from mmhier.deploy.engines import ENGINES, make_engine


@pytest.fixture(scope='module')
def model(pose_model):
    return pose_model('vit')


@pytest.mark.parametrize(
    'name', ['eager', 'onnxruntime', 'openvino', pytest.param('compile', marks=pytest.mark.slow)]
)
def test_same_heatmaps(name, model, images):
    if name in ('onnxruntime', 'openvino') and not (
        importlib.util.find_spec(name) and importlib.util.find_spec('onnxscript')
    ):
        pytest.skip(f'{name} is not installed')
    engine = make_engine(name, model, images[:2])
    with torch.inference_mode():
        expected = model(images, None, mode='tensor')
    assert list(engine(images)) == ['heatmaps']
    for batch in (images[:2], images[:1], images):  # a batch may have another size
        found = engine(batch)['heatmaps']
        torch.testing.assert_close(found[:1], expected[:1], rtol=1e-3, atol=1e-5)


def test_an_engine_with_other_numbers_is_refused(model, images, monkeypatch):
    monkeypatch.setitem(
        ENGINES, 'broken', lambda model, images, threads, folder: lambda batch: _scaled(model, batch, 1.1)
    )
    with pytest.raises(ValueError, match='engine broken differs from the model by 1.0e-01'):
        make_engine('broken', model, images)


def test_not_a_number_is_refused(model, images, monkeypatch):
    monkeypatch.setitem(
        ENGINES,
        'broken',
        lambda model, images, threads, folder: lambda batch: _scaled(model, batch, float('nan')),
    )
    with pytest.raises(ValueError, match='differs'):
        make_engine('broken', model, images)


def test_unknown_engine(model, images):
    with pytest.raises(
        ValueError, match="auto, eager, compile, onnxruntime, openvino or an .*, got 'tensorrt'"
    ):
        make_engine('tensorrt', model, images)


@pytest.mark.parametrize('name', ['onnxruntime', 'openvino'])
def test_missing_runtime_names_the_remedy(name, model, images, monkeypatch):
    for module in (engines, formats):
        monkeypatch.setitem(module.__dict__['__builtins__'], '__import__', _without(name))
    with pytest.raises(ImportError, match=f'pip install .*{name}'):
        make_engine(name, model, images)


def test_auto_takes_the_fastest_that_agrees(model, images, monkeypatch, caplog):
    monkeypatch.setattr(engines, 'CANDIDATES', ('eager', 'slow', 'wrong'))
    monkeypatch.setattr(engines.importlib.util, 'find_spec', lambda name: True)
    calls = []

    def slow(model, images, threads, folder):
        def run(batch):
            calls.append(len(batch))
            time.sleep(0.1)
            return _scaled(model, batch, 1.0)

        return run

    monkeypatch.setitem(ENGINES, 'slow', slow)
    monkeypatch.setitem(
        ENGINES, 'wrong', lambda model, images, threads, folder: lambda batch: _scaled(model, batch, 2)
    )
    engine = make_engine('auto', model, images)
    timed = len(calls)
    assert timed > engines.AUTO_RUNS
    torch.testing.assert_close(engine(images), _scaled(model, images, 1.0), rtol=1e-3, atol=1e-5)
    assert len(calls) == timed, 'the slow engine was chosen'
    assert 'engine wrong is not used: engine wrong differs' in caplog.text


def test_auto_converts_once(model, images, monkeypatch):
    for name in ('onnxruntime', 'openvino', 'onnxscript'):
        pytest.importorskip(name)
    written = []

    def write(graph, images, path, *options):
        written.append(path)
        return formats.write_onnx(graph, images, path, *options)

    monkeypatch.setattr(engines, 'write_onnx', write)
    built = []
    monkeypatch.setattr(engines, '_fastest', lambda found, images: built.extend(found) or 'openvino')
    make_engine('auto', model, images)
    assert {'onnxruntime', 'openvino'} <= set(built) and len(written) == 1


def _scaled(model, batch, factor):
    with torch.inference_mode():
        return dict(heatmaps=model(batch, None, mode='tensor') * factor)


def _without(missing):
    real = __import__

    def find(name, *rest, **options):
        if name == missing:
            raise ImportError(name)
        return real(name, *rest, **options)

    return find


TWO_NETWORKS = """
import gc, signal, subprocess
from pathlib import Path
import numpy as np, openvino, torch
from openvino import opset13 as ops
from mmhier.deploy.formats import open_openvino

images = ops.parameter([1, 3, 4, 4], np.float32)
openvino.save_model(openvino.Model([ops.relu(images)], [images], 'network'), 'network.xml')
networks = [open_openvino(Path('network.xml'), 1) for _ in range(3)]
for network in networks:
    network(torch.ones(1, 3, 4, 4))
while networks:
    del network, networks[0]
    gc.collect()
    network = networks and networks[-1]
signal.signal(signal.SIGCHLD, lambda *_: print('a child has ended'))
subprocess.run(['true'])
print('alive')
"""


def test_networks_that_are_closed_in_any_order_leave_signals_alone(repo_root, tmp_path):
    """OpenVINO moves the stack of signal handlers; a data loader of PyTorch handles the ends of children."""
    pytest.importorskip('openvino')
    environment = os.environ | dict(PYTHONPATH=str(repo_root))
    command = [sys.executable, '-c', TWO_NETWORKS]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, 'a child has ended\nalive\n'), done.stderr
