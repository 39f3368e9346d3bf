"""A training that is killed and resumed as a user does it ends as one that was not, bit for bit."""

import json
import os
import signal
import socket
import subprocess
import sys

import pytest
import torch

from mmhier.cli.main import main
from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.datasets.synthetic.generator import generate
from mmhier.testing import write_dot_people

KILLER = """
import os
import signal

from mmengine.fileio import LocalBackend
from mmengine.hooks import Hook
from mmpose.registry import HOOKS

@HOOKS.register_module()
class Killer(Hook):
    priority = 'LOWEST'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        first_attempt = os.environ.get('TORCHELASTIC_RESTART_COUNT', '0') == '0'
        mine = os.environ.get('KILL_RANK', runner.rank) in (runner.rank, str(runner.rank))
        if runner.iter + 1 == int(os.environ.get('KILL_AFTER_STEP', 0)) and first_attempt and mine:
            os.kill(os.getpid(), getattr(signal, os.environ.get('SIGNAL', 'SIGKILL')))

    def before_val(self, runner):
        if runner.iter == int(os.environ.get('KILL_BEFORE_VALIDATION', 0)):
            os.kill(os.getpid(), signal.SIGKILL)

def put(self, content, path, original=LocalBackend.put):
    if os.environ.get('KILL_WHILE_WRITING', 'nothing') in os.fspath(path):
        with open(path, 'wb') as file:
            file.write(content[:len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    original(self, content, path)

LocalBackend.put = put
"""
# 12 samples, 4 per step over all processes: 3 steps per epoch.
COMMON = """
custom_imports = dict(imports=['mmhier', 'killer'])
custom_hooks = [dict(type='SyncBuffersHook'), {draw_hook} dict(type='Killer')]
randomness = dict(seed=0)
model = dict(backbone=dict(arch=dict(depths=[1, 1, 1, 1]), drop_path_rate=0.5, init_cfg=None))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(data_root='{data}/'))
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=2, max_keep_ckpts=1), logger=dict(interval=1))
"""
POSE = """
_base_ = '{root}/configs/hpe/swinpose_micro_s3_synth.py'
val_evaluator = dict(ann_file='{data}/annotations/person_keypoints_val.json')
train_dataloader = dict(batch_size={batch_size}, num_workers=1, dataset=dict(data_root='{data}/'))
"""
MESH = """
_base_ = '{root}/configs/hmr/swinhmr2_micro_s3_synth.py'
model['mocap'] = dict(ann_file='{data}/annotations/smpl_train.npz')
"""
MESH_EPOCHS = """
train_dataloader = dict(batch_size={batch_size}, num_workers=1, dataset=dict(data_root='{data}/'))
"""
# Drawn by weight, with the pipeline of the base.
MESH_STEPS = """
train_dataloader = dict(
    batch_size={batch_size},
    num_workers=1,
    sampler=dict(_delete_=True, type='DrawSampler'),
    dataset=dict(
        _delete_=True,
        type='MixedDataset',
        datasets=[
            dict(
                type='SyntheticMeshDataset',
                data_root='{data}/',
                split='train',
                pipeline=_base_.train_pipeline,
            )
        ],
    ),
)
"""
EPOCHS = "train_cfg = dict(max_epochs=3, val_interval=1)\nparam_scheduler = [dict(type='LinearLR', end=9)]\n"
STEPS = (
    "train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=9, val_interval=4)\n"
    "param_scheduler = [dict(type='LinearLR', begin=0, end=9, by_epoch=False)]\n"
)
RECIPES = dict(
    pose_epochs=POSE + EPOCHS,
    pose_steps=POSE + STEPS,
    mesh_epochs=MESH + MESH_EPOCHS + EPOCHS,
    mesh_steps=MESH + MESH_STEPS + STEPS,
)


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """Folders of data by kind of model."""
    pose, mesh = (tmp_path_factory.mktemp(name) for name in ('pose', 'mesh'))
    for split, images, seed in (('train', 12, 0), ('val', 3, 1)):
        write_dot_people(pose, split, images, seed)
    generate(mesh, 12, 3, seed=1, image_size_wh=(160, 128), scenes='simple', workers=2, progress=False)
    return dict(pose=pose, mesh=mesh)


@pytest.fixture
def train(repo_root, data, tmp_path):
    """Writes a config and returns a function that trains with it."""

    def prepare(recipe, processes=1, restarts=0, more=''):
        kind = recipe.split('_')[0]
        draw_hook = "dict(type='ResumeDrawsHook')," if recipe == 'mesh_steps' else ''
        text = COMMON + RECIPES[recipe] + more
        values = dict(root=repo_root, data=data[kind], draw_hook=draw_hook, batch_size=4 // processes)
        for name, value in values.items():
            text = text.replace('{' + name + '}', str(value))
        (tmp_path / 'recipe.py').write_text(text)
        (tmp_path / 'killer.py').write_text(KILLER)

        def run(work_dir, status=None, **kill):
            arguments = [str(tmp_path / 'recipe.py'), '--work-dir', str(tmp_path / work_dir), '--resume']
            command = [sys.executable, str(repo_root / 'tools' / 'train.py')]
            if processes > 1:
                with socket.socket() as probe:
                    probe.bind(('127.0.0.1', 0))
                    port = probe.getsockname()[1]
                launcher = ['-m', 'torch.distributed.run', f'--nproc_per_node={processes}']
                command[1:1] = [*launcher, f'--master_port={port}', f'--max_restarts={restarts}']
                arguments += ['--launcher', 'pytorch']
            path = os.pathsep.join([str(tmp_path), str(repo_root)])
            environment = dict(os.environ, PYTHONPATH=path, OMP_NUM_THREADS='1')
            environment |= {name: str(value) for name, value in kill.items()}
            result = subprocess.run(
                [*command, *arguments],
                env=environment,
                capture_output=True,
                text=True,
                timeout=500,
                cwd=tmp_path,
            )
            failed = -signal.SIGKILL if processes == 1 else 1
            expected = (failed if kill else 0) if status is None else status
            assert result.returncode == expected, result.stdout[-2000:] + result.stderr[-3000:]
            return result.stdout + result.stderr

        return run

    return prepare


def same_end(tmp_path, name='iter_9.pth'):
    """Compare the last checkpoints of the two runs."""
    ends = [load_checkpoint_file(tmp_path / folder / name) for folder in ('whole', 'killed')]
    for end in ends:
        assert end['meta']['iter'] == 9
        end['meta'] = end['message_hub'] = end['place'] = None  # ResumeDrawsHook has a place of its own
    assert equal(*ends)
    assert ends[0]['state_dict'] and ends[0]['optimizer']
    names = [{path.name for path in (tmp_path / folder).glob('*.pth')} for folder in ('whole', 'killed')]
    assert names[0] == names[1] and len(names[0]) == 2


def equal(one, other):
    if torch.is_tensor(one):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal, one, other))
    return one == other


def test_kill_while_a_checkpoint_is_written(train, tmp_path):
    run = train('pose_epochs')
    run('whole')
    run('killed', KILL_WHILE_WRITING='.iter_8.pth')
    kept = {path.name for path in (tmp_path / 'killed').glob('*iter*.pth')}
    assert {'iter_6.pth'} < kept
    said = run('killed')
    assert 'resumed epoch: 2, iter: 6' in said
    assert 'which a killed run did not finish' in said
    same_end(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('processes', [1, 2])
@pytest.mark.parametrize('recipe', RECIPES)
def test_kills_in_an_epoch_and_before_a_validation(train, tmp_path, recipe, processes):
    run = train(recipe, processes)
    run('whole')
    run('killed', KILL_AFTER_STEP=5)
    assert {path.name for path in (tmp_path / 'killed').glob('iter*.pth')} == {'iter_4.pth'}
    run('killed', KILL_BEFORE_VALIDATION=8 if recipe.endswith('steps') else 9)
    run('killed')
    same_end(tmp_path)
    done = (tmp_path / 'killed' / 'iter_9.pth').stat()
    run('killed')
    assert (tmp_path / 'killed' / 'iter_9.pth').stat().st_ino == done.st_ino, 'nothing was left to do'


SHARDED = "model_wrapper_cfg = dict(type='FullyShardedModel', blocks='SwinBlock')\n"
# Otherwise Adam makes whole steps of gradients that are mere rounding, as of the keys' bias.
LARGE_EPS = dict(
    pose_steps='optim_wrapper = dict(optimizer=dict(eps=1e-2))\n',
    mesh_steps='optim_wrapper = dict(generator=dict(optimizer=dict(eps=1e-2)))\n',
)


@pytest.mark.slow
@pytest.mark.parametrize('more', ['', SHARDED])
@pytest.mark.parametrize('recipe', ['pose_epochs', 'mesh_steps'])
def test_torchrun_starts_a_killed_process_again(train, tmp_path, recipe, more):
    run = train(recipe, processes=2, restarts=1, more=more)
    run('whole')
    said = run('killed', status=0, KILL_AFTER_STEP=5, KILL_RANK=1)
    assert 'iter_4.pth' in said  # what both go on from
    same_end(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('number', ['SIGUSR1', 'SIGTERM'])
def test_a_signal_lets_a_command_save_and_end(train, tmp_path, number):
    run = train('pose_epochs')
    run('whole')
    said = run('killed', status=75, KILL_AFTER_STEP=5, SIGNAL=number)
    assert 'stopped.pth; --resume goes on from there' in said
    run('killed')
    same_end(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('recipe', ['pose_steps', 'mesh_steps'])
def test_a_sharded_training_ends_as_a_whole_one(train, data, tmp_path, monkeypatch, recipe):
    """Of our own models by the command: with two optimizers, a discriminator and the body; up to rounding."""
    more = LARGE_EPS[recipe]
    train(recipe, processes=2, more=more)('whole')
    train(recipe, processes=2, more=more + SHARDED)('sharded')
    whole, sharded = (load_checkpoint_file(tmp_path / f / 'iter_9.pth') for f in ('whole', 'sharded'))
    assert whole['state_dict'].keys() == sharded['state_dict'].keys()
    for name, value in whole['state_dict'].items():
        torch.testing.assert_close(sharded['state_dict'][name], value, rtol=1e-4, atol=1e-5, msg=name)
    # Its checkpoint, and the one file that is made of it, are read like any other.
    one = tmp_path / 'one.pth'
    assert main(['convert', str(tmp_path / 'sharded' / 'iter_9.pth'), str(one), '--whole-model']) == 0
    assert equal(load_checkpoint_file(one)['state_dict'], dict(sharded['state_dict']))
    monkeypatch.syspath_prepend(str(tmp_path))  # of the hook
    folder = data[recipe.split('_')[0]]
    options = [f'test_dataloader.dataset.data_root={folder}/']
    if recipe.startswith('pose'):
        options.append(f'test_evaluator.ann_file={folder}/annotations/person_keypoints_val.json')
    scores = []
    for checkpoint in (one, tmp_path / 'sharded' / 'iter_9.pth'):
        out = tmp_path / 'scores.json'
        command = ['test', str(tmp_path / 'recipe.py'), str(checkpoint), '--out', str(out)]
        assert main([*command, '--work-dir', str(tmp_path / 'test'), '--cfg-options', *options]) == 0
        scores.append(json.loads(out.read_text()))
    assert scores[0] and scores[0] == scores[1]
