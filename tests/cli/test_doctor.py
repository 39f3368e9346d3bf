"""The doctor tells what works, what does not, and what to do about it."""

import argparse
from importlib import metadata

import pytest
import torch

from mmhier.cli import doctor


def test_this_environment(capsys):
    """Tests run only where everything required works; whatever the doctor says must agree with that."""
    assert doctor.run(argparse.Namespace()) == 0
    out = capsys.readouterr().out
    assert 'Everything required works.' in out
    assert torch.__version__ in out and metadata.version('mmpose') in out
    assert 'TruncatedSwin      ok' in out
    assert 'xtcocotools' in out
    assert 'Average Precision' not in out


def failing(error: Exception):
    def probe():
        raise error

    return probe


@pytest.mark.parametrize(
    ('error', 'text'),
    [
        (
            ModuleNotFoundError("No module named 'x'", name='x'),
            'thing              absent  x is not installed',
        ),
        (
            RuntimeError('operator x\ndoes not exist'),
            'thing              BROKEN  RuntimeError: operator x does not exist',
        ),
        (doctor.Problem('is too old'), 'thing              BROKEN  is too old'),
    ],
)
def test_failures_and_remedies(monkeypatch, capsys, error, text):
    part = doctor.Part('thing', failing(error), 'repair it')
    monkeypatch.setattr(doctor, 'REQUIRED', (doctor.Part('fine', lambda: '1.0', ''), part))
    monkeypatch.setattr(doctor, 'OPTIONAL', ())
    assert doctor.run(argparse.Namespace()) == 1
    out = capsys.readouterr().out
    assert text in out and '-> repair it' in out and 'Not working, required: thing.' in out


def test_optional_parts_do_not_fail(monkeypatch, capsys):
    monkeypatch.setattr(doctor, 'REQUIRED', ())
    monkeypatch.setattr(doctor, 'OPTIONAL', (doctor.Part('extra', failing(ImportError('no')), 'install it'),))
    assert doctor.run(argparse.Namespace()) == 0
    assert '-> install it' in capsys.readouterr().out


def test_rivals(monkeypatch):
    monkeypatch.setattr(doctor, '_version', lambda name: '1.0' if name in ('mmcv', 'mmcv-lite') else None)
    with pytest.raises(doctor.Problem, match='mmcv and mmcv-lite overwrite each other'):
        doctor._rivals()


def test_a_wrong_coco_evaluation_is_noticed(monkeypatch):
    from xtcocotools.cocoeval import COCOeval

    monkeypatch.setattr(COCOeval, 'summarize', lambda self: setattr(self, 'stats', [0.5]))
    with pytest.raises(doctor.Problem, match=r'0\.5, not 1'):
        doctor._coco()


def test_trust_is_reported(monkeypatch):
    monkeypatch.delenv('MMHIER_TRUST_CHECKPOINT', raising=False)
    assert 'without executing' in doctor._checkpoints()
    monkeypatch.setenv('MMHIER_TRUST_CHECKPOINT', '1')
    assert 'WITHOUT protection' in doctor._checkpoints()


def test_drawing_without_a_compiler_and_the_reason(monkeypatch):
    from mmhier.rasterizer import native

    monkeypatch.setattr(native, 'library', lambda: None)
    monkeypatch.setattr(native, 'fault', lambda: 'c++ is not there')
    with pytest.raises(doctor.Problem, match='several times slower: c\\+\\+ is not there'):
        doctor._drawing()
    monkeypatch.setattr(native, 'library', lambda: native)
    assert doctor._drawing().startswith('C++, in ')


@pytest.mark.skipif(torch.cuda.is_available(), reason='the fastest backend is another one on a GPU')
def test_backend_of_the_selective_scan_and_the_reason(monkeypatch):
    from mmhier.ops.selective_scan import dispatch

    monkeypatch.setattr(dispatch, '_chosen', {})
    faults = dict(cpp=None)
    monkeypatch.setattr(dispatch, '_fault', lambda name, device: faults.get(name))
    assert doctor._scan().startswith('backend cpp on cpu, checked; built in ')
    faults['cpp'] = 'the folder /x cannot be written'
    dispatch._chosen.clear()
    with pytest.raises(doctor.Problem, match='runs, but slowly: .*/x cannot be written'):
        doctor._scan()
