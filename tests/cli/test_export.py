"""``mmhier export``."""

import json

import pytest
import torch

from mmhier.cli.main import main
from mmhier.inference.estimators import load_estimator

MICRO = 'swinpose_micro_s3_synth'


def test_export_and_report(picture_folder, tmp_path, capsys):
    out = tmp_path / 'out' / 'model.pt'
    arguments = [
        MICRO,
        'random',
        '--format',
        'torchscript',
        '--crops',
        str(picture_folder),
        '--out',
        str(out),
    ]
    assert main(['export', *arguments]) == 0
    assert 'computes what the model computes: keypoints' in capsys.readouterr().out
    facts = json.loads((tmp_path / 'out' / 'model.pt.json').read_text())
    assert facts['config'] == MICRO and facts['keypoint_names'][0] == 'nose'
    assert facts['parity']['crops'] == 2 and facts['parity']['source'] == 'images in pictures'
    assert torch.jit.load(str(out))(torch.zeros(1, 3, 128, 96))[0].shape == (1, 17, 32, 24)


def test_without_a_checkpoint_it_is_what_training_has_left(picture_folder, tmp_path, capsys, monkeypatch):
    """And if it has not, the message says so; ``mmhier test`` does the same."""
    monkeypatch.chdir(tmp_path)
    command = ['export', MICRO, '--format', 'torchscript', '--crops', str(picture_folder), '--bound', '9']
    for arguments in (command, ['test', MICRO]):
        assert main(arguments) == 1
        assert f'{MICRO} needs weights, and there are none in pretrained/' in capsys.readouterr().err
    (tmp_path / 'pretrained').mkdir()
    state = load_estimator(MICRO, 'random', 'cpu').model.state_dict()
    torch.save(dict(state_dict=state), tmp_path / 'pretrained' / f'{MICRO}.pth')
    assert main(command) == 0
    assert (tmp_path / f'{MICRO}.pt').is_file()
    assert main(['test', MICRO]) == 1
    error = capsys.readouterr().err
    assert f'weights: pretrained/{MICRO}.pth' in error and 'person_keypoints_val.json does not exist' in error


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--crops', 'nowhere'], 'nowhere holds no images'),
        (['--fp16', '--int8', 'nowhere'], '--fp16 and --int8 exclude each other'),
        (['--precision', 'fp32', '--fp16'], '--precision fp32 and --fp16 exclude each other'),
        (['--precision', 'int8'], '--precision int8 needs images to choose ranges by: --int8 DIR'),
        (['--precision', 'bf16'], '--precision bf16 is for the format openvino, not onnx'),
    ],
)
def test_mistakes_are_one_line(options, message, capsys):
    assert main(['export', MICRO, 'random', *options]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--out', 'pose.xml', '--format', 'onnx'], 'pose.xml ends in .xml, but --format onnx writes .onnx'),
        (['--out', 'pose.trt'], 'pose.trt ends in .trt, but no format is called that: .onnx (onnx), .pt'),
        (['--out', 'pose'], 'pose ends in nothing, but'),
        (['--out', '.'], '. is a folder; name a file in it'),
        (
            ['--out', 'pose.pt', '--int8', 'nowhere'],
            '--int8 is for the formats onnx and openvino, not torchscript',
        ),
    ],
)
def test_a_name_and_a_format_that_do_not_fit_are_refused_before_a_model_is_loaded(
    options, message, capsys, monkeypatch
):
    monkeypatch.setattr('mmhier.inference.estimators.load_estimator', None)
    assert main(['export', MICRO, 'random', *options]) == 1
    assert message in capsys.readouterr().err


def test_boxes_of_another_format(picture_folder, tmp_path, capsys):
    boxes = tmp_path / 'boxes.json'
    boxes.write_text('[1, 2]')
    arguments = ['--crops', str(picture_folder), '--boxes', str(boxes)]
    assert main(['export', MICRO, 'random', *arguments]) == 1
    assert 'is not in the format of COCO' in capsys.readouterr().err
