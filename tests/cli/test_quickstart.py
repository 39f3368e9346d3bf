"""The quickstart from end to end with few people and one epoch: every promised file is there and readable."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
import torch

from mmhier.cli.main import main
from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.zoo.names import resolve_config
from mmhier.zoo.registry import SHIPPED

TINY = ['train_cfg.max_epochs=1', 'param_scheduler.1.end=1', 'default_hooks.logger.interval=1']


@pytest.mark.parametrize('start', ['shipped', pytest.param('scratch', marks=pytest.mark.slow)])
def test_quickstart_leaves_scores_and_pictures(repo_root, tmp_path, start):
    out = tmp_path / 'quickstart'
    command = [sys.executable, str(repo_root / 'tools/quickstart.py'), f'--out={out}']
    command += ['--from-scratch'] if start == 'scratch' else []
    command += ['--train=48', '--val=8', '--cfg-options', *TINY, 'train_cfg.val_interval=1']
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr[-3000:]
    metrics = json.loads((out / 'metrics.json').read_text())
    assert 0 <= metrics['coco/AP'] <= 1
    assert f'AP {metrics["coco/AP"]:.3f}' in first.stdout
    errors = json.loads((out / 'mesh_metrics.json').read_text())
    assert 0 < errors['mesh/PA-MPJPE'] < errors['mesh/MPJPE']
    for name in ('MPJPE', 'PA-MPJPE'):
        mean = errors[f'mesh/{name} of the mean pose']
        assert f'{name} {errors[f"mesh/{name}"]:.1f} mm (mean pose: {mean:.1f})' in first.stdout
    assert 'PA-MPJPE' in (out / 'mesh_table.md').read_text()
    summary = json.loads((out / 'quickstart.json').read_text())
    assert summary['pose'] == metrics and summary['mesh'] == errors
    assert summary['people']['num_train'] == 48 and summary['seconds']['mesh_train'] > 0
    pose, mesh = (
        load_checkpoint_file(out / folder / 'epoch_1.pth')['state_dict'] for folder in ('train', 'mesh_train')
    )
    if start == 'scratch':
        begins = [(mesh, pose, 'backbone')]
    else:
        assert (out / 'demo' / 'demo.jpg').is_file()
        names = ('swinpose_micro_s3_varied', 'swinhmr2_micro_s3_varied')
        shipped = [load_checkpoint_file(SHIPPED / f'{name}.safetensors') for name in names]
        begins = [(pose, shipped[0], ''), (mesh, shipped[1], '')]
    for trained, begin, part in begins:  # a few steps away, see TINY
        weights = [name for name in begin if name.startswith(part) and name.endswith('weight')]
        assert len(weights) > 20
        for name in weights:
            torch.testing.assert_close(trained[name], begin[name].float(), atol=1e-2, rtol=0, msg=name)
    for picture in ('predictions.png', 'meshes.png', 'loss_curve.png'):
        assert cv2.imread(str(out / picture)).std() > 10
    *_, line = (line for line in first.stdout.splitlines() if line.startswith('next: mmhier infer'))
    folder, boxes, model, weights = line.split()[3::2]
    assert all(Path(word).exists() for word in (folder, boxes, weights)) and resolve_config(model), line
    again = subprocess.run([*command, '--no-mesh'], cwd=tmp_path, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-3000:]
    assert 'Reused' in again.stdout
    assert json.loads((out / 'metrics.json').read_text()) == metrics, 'nothing was trained again'
    other = subprocess.run([*command, '--train=40'], cwd=tmp_path, capture_output=True, text=True)
    assert other.returncode == 1
    assert 'holds a quickstart with num_train 48, asked for num_train 40: delete it' in other.stderr


def test_a_misspelt_model_is_said_before_anything_runs(tmp_path, capsys):
    out = tmp_path / 'out'
    assert main(['quickstart', '--config', 'swinpose_mikro_s3_synth', '--out', str(out)]) == 1
    assert 'swinpose_micro_s3_synth' in capsys.readouterr().err and not out.exists()
