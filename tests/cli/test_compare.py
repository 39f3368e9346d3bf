"""``mmhier compare``: budgets that are equal, files, what is done only once, and what it refuses."""

import argparse
import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from mmengine.config import Config

from mmhier.cli import compare
from mmhier.cli.main import main
from mmhier.cli.steps import run_step
from mmhier.datasets.synthetic.generator import generate
from mmhier.zoo.names import resolve_config

MICRO = 'swinpose_micro_s3_synth'
S2, S3 = 'swinpose_micro_s2_synth', MICRO


@pytest.fixture
def trainings(monkeypatch):
    """Commands in the place of which a score is written: 0.1 per stage, 0.01 per seed."""
    commands = []

    def pretend(words):
        commands.append(words)
        cfg, folder = Config.fromfile(words[1]), Path(words[3])
        seed = int(words[-1].partition('=')[2])
        score = cfg.model.backbone.num_stages / 10 + seed / 100
        (folder / 'today/vis_data').mkdir(parents=True)
        lines = [{'loss': 1.0, 'iter': 1}, {'coco/AP': 0.9, 'step': 1}, {'coco/AP': score, 'step': 2}]
        (folder / 'today/vis_data/scalars.json').write_text('\n'.join(map(json.dumps, lines)))
        return 1.0

    monkeypatch.setattr(compare, 'run_step', pretend)
    return commands


def test_stages_are_compared_by_their_last_scores_and_trained_once(tmp_path, trainings, capsys):
    command = ['compare', MICRO, '--stages', '2', '3', '--seeds', '0', '2', '--runs', '1']
    page = tmp_path / 'page.md'
    page.write_text('\n'.join(['before', *compare.MARKS, 'after']))
    command += ['--out', str(tmp_path), '--write', str(page)]
    assert main([*command, '--epochs', '4']) == 0
    text = page.read_text()
    assert f'| `{S2}` |   0.210 | 0.014 |' in text and text.startswith('before') and text.endswith('after')
    rows = list(csv.DictReader((tmp_path / 'table.csv').open()))
    assert [(row['Config'], row['coco/AP'], row['+-']) for row in rows] == [
        (S2, '0.210', '0.014'),
        (S3, '0.310', '0.014'),
    ]
    small, large = rows
    for column in ('Model, M', 'Encoder, M', 'Model, GMAC'):
        assert 0 < float(small[column]) < float(large[column])
    assert all(0 < float(row['Median, ms']) <= float(row['p95, ms']) for row in rows)
    scores = list(csv.DictReader((tmp_path / 'scores.csv').open()))
    assert [(row['Config'], row['Seed']) for row in scores] == [(S2, '0'), (S2, '2'), (S3, '0'), (S3, '2')]
    assert cv2.imread(str(tmp_path / 'tradeoff.png')).std() > 10
    assert 'Budget: 4 epochs of data/synth/ in batches of 32, seeds 0 2' in capsys.readouterr().out
    assert [words[3] for words in trainings] == [
        f'{tmp_path}/{name}/seed_{seed}' for seed in (0, 2) for name in (S2, S3)
    ]
    assert main([*command, '--epochs', '4']) == 0
    assert len(trainings) == 4, 'nothing is trained again'
    assert main([*command, '--epochs', '5']) == 1
    assert f'{S2}.py was compared with other settings: choose another folder' in capsys.readouterr().err


def test_a_cut_fits_its_neck_and_a_schedule_its_epochs():
    args = argparse.Namespace(stages=[2, 4], epochs=21, cfg_options=None)
    found = dict(compare.variants(resolve_config('swinpose_t_s3_coco'), args))
    assert list(found) == ['swinpose_t_s2_coco', 'swinpose_t_s4_coco']
    for name, cfg in found.items():
        shipped = Config.fromfile(resolve_config(name)).model
        assert {key: cfg.model.neck[key] for key in shipped.neck} == shipped.neck
        assert cfg.model.backbone.num_stages == shipped.backbone.num_stages
        assert cfg.train_cfg.max_epochs == cfg.train_cfg.val_interval == 21
        warm_up, drops = cfg.param_scheduler
        assert (warm_up.end, drops.end, drops.milestones) == (500, 21, [17, 20])


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        ([MICRO, '--seeds', '1', '1'], '--seeds 1 1: each once'),
        ([MICRO, '--write', __file__], 'has no place for the table: write <!-- comparison'),
        ([MICRO, '--stages', '5'], '--stages 5: num_stages must be 1 to 4'),
        (['vitpose_s_coco', MICRO], "train_cfg={'by_epoch': True, 'max_epochs': 210"),
        (['swinpose_t_s3_coco', MICRO, '--epochs', '2'], 'train_dataloader.batch_size=64'),
        ([MICRO, 'swinhmr2_micro_s3_synth', '--epochs', '2'], 'needs one budget'),
        (['swinhmr2_t_s3_mixed', '--epochs', '2'], 'trains by iterations'),
        ([MICRO, MICRO.replace('3', '2'), '--stages', '2'], 'neither a config file nor the name'),
        ([MICRO, '--cfg-options', 'model.backbone.num_stage=2'], 'num_stages'),
        ([MICRO, '--cfg-options', 'default_hooks.checkpoint.save_best=None'], 'does not name its score'),
        ([MICRO, 'gmfpose_micro_s3_synth', '--stages', '2', '--out', __file__], '--out'),
    ],
)
def test_what_cannot_be_compared_is_one_line(tmp_path, trainings, words, message, capsys):
    out = [] if '--out' in words else ['--out', str(tmp_path / 'out')]
    assert main(['compare', *words, *out]) == 1
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1, error
    assert not trainings and not (tmp_path / 'out').exists()


def test_a_step_that_fails_ends_the_command_in_one_line(capfd):
    with pytest.raises(
        ValueError, match='^mmhier trane config.py ended with status 2, see what it says above$'
    ):
        run_step(['trane', 'config.py'])
    assert "invalid choice: 'trane'" in capfd.readouterr().err


@pytest.mark.slow
def test_every_family_is_trained_in_fresh_processes_and_goes_on_where_it_was(tmp_path):
    generate(tmp_path / 'data/synth', 8, 4, seed=0, scenes='simple', workers=1, progress=False)
    families = ['swinpose_micro_s3', 'gmfpose_micro_s3', 'vmpose_micro_s3']
    command = [sys.executable, '-m', 'mmhier', 'compare', *families, '--stages', '2', '4', '--epochs', '1']
    command += [
        '--seeds',
        '0',
        '--runs',
        '2',
        '--out',
        'out',
        '--cfg-options',
        'train_dataloader.batch_size=4',
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    table = (tmp_path / 'out/table.csv').read_text()
    rows = list(csv.DictReader((tmp_path / 'out/table.csv').open()))
    assert len(rows) == 6
    for row in rows:
        trained = Path(tmp_path, 'out', row['Config'], 'seed_0')
        assert (trained / 'epoch_1.pth').is_file()
        assert json.loads((trained / 'score.json').read_text()) == {
            'coco/AP': pytest.approx(float(row['coco/AP']), abs=5e-4),
            'seed': 0,
        }
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0 and '$ mmhier train' not in again.stdout
    now = (tmp_path / 'out/table.csv').read_text()
    assert [line.split(',')[:7] for line in now.splitlines()] == [
        line.split(',')[:7] for line in table.splitlines()
    ]
