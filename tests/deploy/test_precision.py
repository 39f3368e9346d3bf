"""bf16 and int8 are given where an engine has them and move little; elsewhere one sentence says why not."""

import json
import shutil

import pytest
import torch

from mmhier.deploy import engines, export_model, formats, load_exported, make_engine
from mmhier.deploy.engines import BY_PRECISION, ENGINES, check_engine
from mmhier.deploy.graphs import run_model
from mmhier.deploy.parity import BOUNDS, compare
from mmhier.inference.engine_network import open_network

WANTED = (('heatmaps',), ('keypoints', 'scores'))
# Rounding moves keypoints of random weights far, whose heatmaps have peaks everywhere.
ANY = (float('inf'), None)


def needs_bf16():
    pytest.importorskip('openvino')
    pytest.importorskip('onnxscript')
    from mmhier.deploy.formats import openvino_has_bf16

    if not openvino_has_bf16():
        pytest.skip('this CPU has no bf16')


@pytest.fixture(scope='module')
def model(pose_model):
    return pose_model('vit')


@pytest.fixture(scope='module')
def conversion():
    """The converted model, which all files start from."""
    return {}


@pytest.fixture(scope='module')
def file(tmp_path_factory, model, images, conversion):
    """A float32 OpenVINO file of the model."""
    needs_bf16()
    path = tmp_path_factory.mktemp('file') / 'pose.xml'
    with pytest.MonkeyPatch.context() as patch:
        convert = formats.onnx_model
        patch.setattr(formats, 'onnx_model', lambda *a: conversion.setdefault('model', convert(*a)))
        export_model(model, images, path, 'openvino')
    return path


@pytest.mark.parametrize('family', ['swin', 'gmf', 'vmamba', 'vit'])
def test_every_family_in_bf16_of_pytorch(family, pose_model, images):
    model = pose_model(family)
    found = engines._bf16(ENGINES['eager'])(model, images, 1, None)(images)['heatmaps']
    expected = run_model(model, images)['heatmaps']
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < 0.1 * expected.abs().max()


def test_bf16_of_openvino_rounds_and_fp32_does_not(file, model, images):
    expected = run_model(model, images)['heatmaps']
    errors = {}
    for precision in ('fp32', 'bf16'):
        engine = load_exported(file, precision=precision)
        assert engine.precision == precision
        errors[precision] = (engine(images)['heatmaps'] - expected).abs().max() / expected.abs().max()
    assert errors['fp32'] < 1e-4 < errors['bf16'] < 0.1
    assert load_exported(file).precision == 'fp32'


def test_a_mesh_model_in_bf16(mesh_model, images, monkeypatch):
    monkeypatch.setitem(BOUNDS['mesh'], 'bf16', (4.0, None))  # random weights move by 2 mm
    model = mesh_model()
    engine = make_engine('eager', model, images, precision='bf16')
    difference = compare(model, run_model(model, images), engine(images), 'bf16').differences['vertices']
    assert 0 < difference['mean'] < 4


def moved(pixels):
    """An engine whose peaks are shifted to the right in the heatmaps."""

    def make(model, images, threads, folder):
        return lambda batch: dict(heatmaps=run_model(model, batch)['heatmaps'].roll(pixels, 3))

    return make


@pytest.mark.parametrize('precision', ['bf16', 'int8'])
def test_what_moves_keypoints_is_refused(precision, model, images, monkeypatch):
    monkeypatch.setitem(BY_PRECISION[precision], 'eager', moved(2))
    with pytest.raises(ValueError, match=f'{precision} of engine eager moves what the model finds'):
        make_engine('eager', model, images, precision=precision)


def test_auto_takes_bf16_only_where_nothing_moves(model, images, monkeypatch, caplog):
    offered = []
    monkeypatch.setattr(engines, '_fastest', lambda found, images: offered.append([*found]) or [*found][-1])
    for pixels, expected in ((0, ['eager', 'eager bf16']), (2, ['eager'])):
        monkeypatch.setitem(BY_PRECISION['bf16'], 'eager', moved(pixels))
        make_engine('eager', model, images, precision='auto')
        assert offered.pop() == expected
    assert 'engine eager bf16 is not used: bf16 of engine eager moves' in caplog.text


def test_auto_takes_no_bf16_that_cannot_be_judged(pose_model, images, monkeypatch, caplog):
    model = pose_model('vit')
    torch.nn.init.normal_(model.head.final_layer.weight, std=1e-4)
    torch.nn.init.zeros_(model.head.final_layer.bias)
    monkeypatch.setattr(engines, '_fastest', lambda found, images: [*found][-1])
    make_engine('eager', model, images, precision='auto')
    assert 'bf16 of engine eager cannot be judged: the model sees no keypoint' in caplog.text
    make_engine('eager', model, images, precision='bf16')  # named: compared by heatmaps
    monkeypatch.setitem(BY_PRECISION['bf16'], 'eager', moved(3))
    with pytest.raises(ValueError, match='of the largest value of heatmaps, more than 0.1'):
        make_engine('eager', model, images, precision='bf16')


@pytest.mark.parametrize(
    ('engine', 'precision', 'message'),
    [
        ('eager', 'fp8', "precision must be auto, fp32, bf16, int8, got 'fp8'"),
        ('eager', 'BF16', 'did you mean bf16'),
        ('onnxruntime', 'bf16', 'engine onnxruntime has no bf16: use eager, compile, openvino'),
        ('openvino', 'int8', 'int8 needs pictures.*mmhier export --int8 DIR'),
    ],
)
def test_an_engine_without_the_precision_is_refused(engine, precision, message):
    with pytest.raises(ValueError, match=message):
        check_engine(engine, precision)


def test_a_cpu_without_bf16_says_so(file, model, images, monkeypatch):
    monkeypatch.setattr(formats, 'openvino_has_bf16', lambda: False)
    with pytest.raises(ValueError, match='OpenVINO has no bf16 on this CPU .*AVX512_BF16 or AMX.*: use fp32'):
        load_exported(file, precision='bf16')
    expected = run_model(model, images)['heatmaps']
    found = open_network(file, model, images, WANTED, 'auto')(images)['heatmaps']
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_a_file_named_in_bf16_or_auto(file, model, images, monkeypatch):
    expected = run_model(model, images)['heatmaps']
    monkeypatch.setitem(BOUNDS['pose'], 'bf16', ANY)
    monkeypatch.setattr(engines, '_fastest', lambda found, images: 'bf16')
    exact = open_network(file, model, images, WANTED)(images)['heatmaps']
    torch.testing.assert_close(exact, expected, rtol=1e-3, atol=1e-4)
    for precision in ('bf16', 'auto'):
        found = open_network(file, model, images, WANTED, precision)(images)['heatmaps']
        assert 1e-4 < (found - expected).abs().max() / expected.abs().max() < 0.1


def test_a_file_that_is_exported_for_bf16_runs_so(
    file, conversion, model, images, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(formats, 'onnx_model', lambda *arguments: conversion['model'])
    path = tmp_path / 'pose.xml'
    parity = export_model(model, images, path, 'openvino', precision='bf16', bound=ANY[0])
    assert parity.differences['keypoints']['median'] > 1e-3
    assert load_exported(path).precision == 'bf16'
    assert load_exported(path, precision='fp32').precision == 'fp32'
    with pytest.raises(ValueError, match='bf16 is for the format openvino, got onnx'):
        export_model(model, images, tmp_path / 'pose.onnx', precision='bf16')
    monkeypatch.setattr(engines, 'openvino_has_bf16', lambda: False)
    assert load_exported(path).precision == 'fp32' and 'it runs in fp32' in caplog.text


@pytest.mark.parametrize(
    ('held', 'wanted', 'message'),
    [
        ('int8', 'fp32', 'is int8 and is not run in fp32: leave the precision out'),
        ('int8', 'bf16', 'is int8 and is not run in bf16'),
        ('float32', 'int8', 'is fp32 and is not run in int8: .* export it again'),
    ],
)
def test_a_file_of_another_precision(held, wanted, message, file, tmp_path):
    for part in file.parent.iterdir():
        shutil.copy(part, tmp_path)
    facts = json.loads((tmp_path / 'pose.xml.json').read_text())
    (tmp_path / 'pose.xml.json').write_text(json.dumps(facts | dict(precision=held)))
    with pytest.raises(ValueError, match=message):
        load_exported(tmp_path / 'pose.xml', precision=wanted)


def test_a_file_of_pytorch_has_no_bf16(model, images, tmp_path):
    export_model(model, images, tmp_path / 'pose.pt', 'torchscript', bound=1e3)
    with pytest.raises(ValueError, match='no bf16 of files, export it with --format openvino'):
        load_exported(tmp_path / 'pose.pt', precision='bf16')


def test_decoded_files_are_compared_too(model, images):
    expected = run_model(model, images)
    people = model.head.decode(expected['heatmaps'])
    size = torch.tensor([47 / 48, 63 / 64])
    keypoints = torch.stack([torch.as_tensor(person.keypoints[0]) for person in people]) * size
    scores = torch.stack([torch.as_tensor(person.keypoint_scores[0]) for person in people])
    decoded = dict(keypoints=keypoints, scores=scores)
    shifted = dict(keypoints=keypoints + torch.tensor([1.0, 0.0]), scores=scores)
    assert compare(model, decoded, expected).passed
    found = compare(model, decoded, shifted, 'bf16')
    assert not found.passed and found.differences['keypoints']['median'] == pytest.approx(48 / 47, abs=1e-4)
