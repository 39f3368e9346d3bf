"""Training, resuming and testing as a user runs them, on one process and on two (gloo)."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch

from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.testing import write_dot_people
from mmhier.visualization.curves import read_scalars

EPOCHS, STOP = 20, 10


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('dots')
    for split, images, seed in (('train', 48, 0), ('val', 7, 1)):  # 7: the two processes get unequal shares
        write_dot_people(folder, split, images, seed)
    return folder


def _options(data, **more):
    """Turn the micro model's config into one that learns dots within seconds."""
    options = {
        **{f'{loader}_dataloader.dataset.data_root': f'{data}/' for loader in ('train', 'val', 'test')},
        **{f'{loader}_dataloader.num_workers': 0 for loader in ('train', 'val', 'test')},
        **{f'{loader}_dataloader.persistent_workers': False for loader in ('train', 'val', 'test')},
        **{
            f'{split}_evaluator.ann_file': f'{data}/annotations/person_keypoints_val.json'
            for split in ('val', 'test')
        },
        'train_dataloader.batch_size': 4,  # on each of two processes
        'val_dataloader.batch_size': 4,
        'train_cfg.max_epochs': EPOCHS,
        'train_cfg.val_interval': EPOCHS,
        'param_scheduler.0.end': 5,
        'param_scheduler.1.end': EPOCHS,
        'model.backbone.arch.depths': '[1,1,2,1]',
        'default_hooks.checkpoint.interval': STOP // 2,
        'default_hooks.checkpoint.max_keep_ckpts': 9,
        'default_hooks.logger.interval': 3,
        'randomness.seed': 0,
        **more,
    }
    return ['--cfg-options', *(f'{key}={value}' for key, value in options.items())]


def _run(repo_root, script, *arguments, processes=1, check=True):
    """Run a tool on this many CPU processes; return the finished process."""
    command = [sys.executable, str(repo_root / 'tools' / f'{script}.py'), *map(str, arguments)]
    if processes > 1:
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
        launcher = str(repo_root / 'tools' / f'dist_{script}.sh')
        positional = 1 if script == 'train' else 2
        command = ['bash', launcher, *map(str, arguments[:positional]), str(processes)]
        command += map(str, arguments[positional:])
    else:
        port = 0
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ['PATH']])
    environment = dict(os.environ, PORT=str(port), PATH=path, OMP_NUM_THREADS='1' if processes > 1 else '2')
    result = subprocess.run(
        command, cwd=repo_root, env=environment, capture_output=True, text=True, timeout=300
    )
    if check:
        assert result.returncode == 0, result.stderr[-3000:]
    return result


@pytest.fixture(scope='module')
def config(repo_root):
    return repo_root / 'configs' / 'hpe' / 'swinpose_micro_s3_synth.py'


@pytest.fixture(scope='module')
def trained(repo_root, config, data, tmp_path_factory):
    """Work directory of a run on two processes."""
    work_dir = tmp_path_factory.mktemp('trained')
    _run(repo_root, 'train', config, '--work-dir', work_dir, *_options(data), processes=2)
    return work_dir


def _test(repo_root, config, data, checkpoint, tmp_path, processes):
    out = tmp_path / f'metrics_{processes}.json'
    arguments = (config, checkpoint, '--work-dir', tmp_path / 'test', '--out', out, *_options(data))
    _run(repo_root, 'test', *arguments, processes=processes)
    return json.loads(out.read_text())


def test_two_processes_train_and_test_like_one(repo_root, config, data, trained, tmp_path):
    checkpoint = trained / f'epoch_{EPOCHS}.pth'
    one, two = (_test(repo_root, config, data, checkpoint, tmp_path, processes) for processes in (1, 2))
    assert one['coco/AP'] > 0.2, 'the dots are easy: training on two processes has to learn them'
    assert one['coco/Phi'] == pytest.approx((one['coco/AP'] + one['coco/AR']) / 2)
    assert one == pytest.approx(two)


def test_resume_goes_on_where_training_stopped(repo_root, config, data, trained, tmp_path):
    """Resumed in the middle, a run trains the other epochs and ends with the same weights."""
    work_dir = tmp_path / 'resumed'
    arguments = (config, '--work-dir', work_dir, '--resume', trained / f'epoch_{STOP}.pth', *_options(data))
    _run(repo_root, 'train', *arguments, processes=2)
    whole, resumed = (load_checkpoint_file(folder / f'epoch_{EPOCHS}.pth') for folder in (trained, work_dir))
    saved = {path.name for path in work_dir.glob('epoch_*.pth')}
    assert saved == {f'epoch_{epoch}.pth' for epoch in (STOP + STOP // 2, EPOCHS)}
    for key in ('epoch', 'iter'):
        assert whole['meta'][key] == resumed['meta'][key]
    assert resumed['param_schedulers'] == whole['param_schedulers']
    for state in ('state_dict', 'optimizer'):
        torch.testing.assert_close(resumed[state], whole[state], rtol=0, atol=0)
    records = [record for record in read_scalars(work_dir) if 'loss' in record]
    assert {record['epoch'] for record in records} == set(range(STOP + 1, EPOCHS + 1))


def test_pictures_of_predictions_and_tensorboard(repo_root, config, data, trained, tmp_path):
    arguments = (config, trained / f'epoch_{EPOCHS}.pth', '--work-dir', tmp_path, '--show-dir', 'pictures')
    backend = {'visualizer.vis_backends.0.type': 'TensorboardVisBackend'}
    _run(repo_root, 'test', *arguments, *_options(data, **backend))
    assert len(list(tmp_path.rglob('pictures/*.png'))) == 7
    assert list(tmp_path.rglob('events.out.tfevents.*'))


@pytest.mark.parametrize(
    ('script', 'arguments', 'option', 'message'),
    [
        ('train', ['nowhere.py'], None, "'nowhere.py' is neither a config file nor the name of a model"),
        ('test', ['{config}', 'nowhere.pth'], None, 'checkpoint nowhere.pth does not exist'),
        (
            'test',
            ['{config}', '{checkpoint}'],
            'model.head.deconv_out_channels=(64,64)',
            'is not of this model',
        ),
        ('train', ['{config}'], 'model.backbone.num_stages=7', 'num_stages'),
        ('train', ['{config}'], 'train_dataloader.dataset.ann_file=nobody.json', 'nobody.json'),
        ('train', ['{config}'], 'model.head.decoder.input_size=(90,128)', 'not a multiple of 16'),
    ],
)
def test_bad_input_is_one_line(
    repo_root, config, data, trained, tmp_path, fresh, script, arguments, option, message
):
    checkpoint = trained / f'epoch_{EPOCHS}.pth'
    arguments = [argument.format(config=config, checkpoint=checkpoint) for argument in arguments]
    options = [*_options(data), option] if option else []
    script = repo_root / 'tools' / f'{script}.py'
    result = fresh(tmp_path).run(str(script), *arguments, '--work-dir', tmp_path, *options, check=False)
    assert result.returncode == 1
    assert message in result.output.splitlines()[-1]
