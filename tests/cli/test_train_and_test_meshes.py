"""Mesh models are trained, resumed and evaluated on synthetic people as a user does it."""

import json
import os
import subprocess
import sys

import pytest
import torch

from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.datasets.synthetic.generator import generate
from mmhier.visualization.curves import read_scalars

EPOCHS, STOP = 4, 2
STEPS = 3  # per epoch


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('people') / 'synth'
    generate(folder, 12, 5, seed=1, image_size_wh=(160, 128), scenes='simple', workers=2, progress=False)
    return folder


@pytest.fixture(scope='module')
def config(repo_root):
    return repo_root / 'configs' / 'hmr' / 'swinhmr2_micro_s3_synth.py'


def _options(data, **more):
    loaders = ('train', 'val', 'test')
    options = {
        **{f'{loader}_dataloader.dataset.data_root': data for loader in loaders},
        **{f'{loader}_dataloader.num_workers': 0 for loader in loaders},
        **{f'{loader}_dataloader.persistent_workers': False for loader in loaders},
        'model.mocap.ann_file': data / 'annotations' / 'smpl_train.npz',
        'model.backbone.init_cfg': 'None',
        'model.backbone.arch.depths': '[1,1,1,1]',
        'train_dataloader.batch_size': 4,
        'train_cfg.max_epochs': EPOCHS,
        'train_cfg.val_interval': EPOCHS,
        'param_scheduler.0.end': 3,
        'param_scheduler.1.end': EPOCHS,
        'default_hooks.checkpoint.interval': STOP,
        'default_hooks.checkpoint.max_keep_ckpts': 9,
        'default_hooks.logger.interval': 1,
        'randomness.seed': 0,
        **more,
    }
    return ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]


def _run(repo_root, script, *arguments, check=True):
    command = [sys.executable, str(repo_root / 'tools' / f'{script}.py'), *map(str, arguments)]
    environment = dict(os.environ, OMP_NUM_THREADS='2')
    result = subprocess.run(
        command, cwd=repo_root, env=environment, capture_output=True, text=True, timeout=300
    )
    if check:
        assert result.returncode == 0, result.stderr[-3000:]
    return result


@pytest.fixture(scope='module')
def trained(repo_root, config, data, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp('trained')
    _run(repo_root, 'train', config, '--work-dir', work_dir, *_options(data))
    return work_dir


def test_training_saves_both_optimizers_and_no_body(trained):
    records = [record for record in read_scalars(trained) if 'loss' in record]
    assert len(records) == EPOCHS * STEPS
    assert {'loss_adversarial', 'loss_discriminator', 'generator.lr', 'discriminator.lr'} <= set(records[0])
    checkpoint = load_checkpoint_file(trained / f'epoch_{EPOCHS}.pth')
    parts = {name.split('.')[0] for name in checkpoint['state_dict']}
    assert parts == {'backbone', 'head', 'discriminator'}
    assert set(checkpoint['optimizer']) == {'generator', 'discriminator'}


def test_resume_goes_on_where_training_stopped(repo_root, config, data, trained, tmp_path):
    """It ends exactly where the run without a stop ended, augmentation and the prior's people included."""
    arguments = ('--work-dir', tmp_path, '--resume', trained / f'epoch_{STOP}.pth')
    _run(repo_root, 'train', config, *arguments, *_options(data))
    whole, resumed = (load_checkpoint_file(folder / f'epoch_{EPOCHS}.pth') for folder in (trained, tmp_path))
    assert {path.name for path in tmp_path.glob('epoch_*.pth')} == {f'epoch_{EPOCHS}.pth'}
    for key in ('epoch', 'iter'):
        assert whole['meta'][key] == resumed['meta'][key]
    for checkpoint in (whole, resumed):
        for state in checkpoint['optimizer'].values():
            assert state['state'][0]['step'] == EPOCHS * STEPS
    torch.testing.assert_close(resumed['state_dict'], whole['state_dict'], rtol=0, atol=0)
    torch.testing.assert_close(resumed['optimizer'], whole['optimizer'], rtol=0, atol=0)


def test_evaluation_writes_one_table(repo_root, config, data, trained, tmp_path):
    out = tmp_path / 'scores.json'
    options = _options(data)
    checkpoint = trained / f'epoch_{EPOCHS}.pth'
    arguments = (config, checkpoint, '--work-dir', tmp_path, '--out', out, '--show-dir', 'pictures')
    result = _run(repo_root, 'test', *arguments, *options)
    scores = json.loads(out.read_text())
    names = ('MPJPE', 'PA-MPJPE', 'PVE', 'PCK@0.05', 'PCK@0.1', 'Phi_M,3D', 'Phi_M,2D')
    assert {f'mesh/{name}' for name in names} <= set(scores)
    rows = json.loads((tmp_path / 'mesh_table.json').read_text())
    assert [row['score'] for row in rows] == list(names)
    assert all(row['samples'] == 5 and row['skipped'] == 0 for row in rows)
    assert rows[0]['mean_pose'] == scores['mesh/MPJPE of the mean pose']
    table = (tmp_path / 'mesh_table.md').read_text()
    assert table in result.stdout + result.stderr
    assert len(list(tmp_path.rglob('pictures/*'))) == 5
    last = [record for record in read_scalars(trained) if 'mesh/PA-MPJPE' in record][-1]
    assert last['mesh/PA-MPJPE'] == pytest.approx(scores['mesh/PA-MPJPE'], rel=1e-4)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('model.body_model=neutral', 'SMPL neutral is not installed'),
        ('model.mocap.ann_file=nobody.npz', 'nobody.npz does not exist'),
        (
            'train_dataloader.batch_size=13',
            '12 training samples do not fill a batch of 13',
        ),
        ('train_dataloader.dataset.data_root=nowhere', 'mmhier synth nowhere'),
    ],
)
def test_bad_input_is_one_line(repo_root, config, data, tmp_path, fresh, option, message):
    options = [*_options(data), option]
    script = str(repo_root / 'tools' / 'train.py')
    processes = fresh(tmp_path, MMHIER_BODY_MODELS=str(tmp_path))
    result = processes.run(script, config, '--work-dir', tmp_path, *options, check=False)
    assert result.returncode == 1
    assert message in result.output.splitlines()[-1]
