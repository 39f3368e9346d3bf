"""``mmhier benchmark``."""

import csv

import pytest

from mmhier.cli.main import main

MICRO = 'swinpose_micro_s3_synth'


def test_table_stages_and_files(tmp_path, capsys):
    arguments = [MICRO, '--batch', '1', '2', '--runs', '2', '--stages', '--csv', str(tmp_path / 'a.csv')]
    assert main(['benchmark', *arguments]) == 0
    printed = capsys.readouterr().out
    assert 'post-processing' in printed and 'Random weights' in printed and '(9 N + 1) L K D' in printed
    rows = list(csv.DictReader((tmp_path / 'a.csv').open()))
    assert [(row['Config'], row['Engine'], row['Batch']) for row in rows] == [
        (MICRO, 'eager', '1'),
        (MICRO, 'eager', '2'),
    ]
    for row in rows:
        assert 0 < float(row['Median, ms']) <= float(row['p95, ms']) and row['Machine']
        rate = 1e3 * int(row['Batch']) / float(row['Median, ms'])
        assert float(row['Images/s']) == pytest.approx(rate, rel=0.05)


def test_models_in_turns_and_picture(tmp_path):
    picture = tmp_path / 'a.png'
    arguments = ['swinpose_s_s[34]_coco', '--in-turns', '--batch', '1', '--runs', '1', '--plot', str(picture)]
    assert main(['benchmark', *arguments]) == 0
    assert picture.stat().st_size > 5000


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--engine', 'tensorrt'], "among eager, compile, onnxruntime, openvino, got 'tensorrt'"),
        (['--engine', 'eager', '--precision', 'int8'], '--engine eager has no --precision int8'),
        (['--engine', 'onnxruntime', '--precision', 'bf16'], 'eager, compile, openvino have'),
        (['--device', 'tpu'], 'only cpu and cuda'),
        (['--device', 'cuda:77'], '--device cuda:77 is not usable here'),
        (['--device', 'cuda', '--engine', 'openvino'], 'on the CPU only'),
    ],
)
def test_wrong_options_are_one_line(arguments, message, capsys):
    assert main(['benchmark', MICRO, *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


def test_numbers_must_be_positive(capsys):
    with pytest.raises(SystemExit):
        main(['benchmark', MICRO, '--batch', '0'])
    assert 'must be at least 1' in capsys.readouterr().err
