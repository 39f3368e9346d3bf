"""A process that is killed is started again by torchrun; a signal lets a run save before it ends."""

import multiprocessing
import os
import signal

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from mmhier.engine import stop_signals
from mmhier.engine.launch import finish_distributed, prepare_distributed
from mmhier.engine.stop_signals import STATUS, RunStopped, StopSignals, under_torchrun
from mmhier.testing.toy_run import QuickRunner, state, train

STEPS = dict(by_epoch=False, max_iters=8, val_interval=4)
EPOCHS = dict(by_epoch=True, max_epochs=3)
SAVE = dict(checkpoint=dict(type='CheckpointHook', interval=3, by_epoch=False))
SAVE_EPOCHS = dict(checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1))
WHOLE = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)


class AfterStep(Hook):
    """Signals this process after a step, and notes all steps."""

    priority = 'VERY_HIGH'

    def __init__(self, step, number, notes):
        self.step, self.number, self.notes = step, number, notes

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        with open(f'{self.notes}_{os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)}', 'a') as file:
            file.write(f'{runner.iter + 1} ')
        if runner.iter + 1 == self.step:
            os.kill(os.getpid(), self.number)


def options(folder, step=None, number=signal.SIGKILL):
    """Of a run of two processes, of which the second gets a signal after a step."""
    rank = os.environ['RANK']
    hook = AfterStep(step if rank == '1' else None, number, folder.with_name(f'{folder.name}_{rank}'))
    return dict(
        launcher='pytorch',
        cfg=dict(model_wrapper_cfg=ConfigDict(WHOLE)),
        custom_hooks=[dict(type='SyncBuffersHook'), hook],
        default_hooks=SAVE,
        resume=True,
    )


def elastic(folder, kill_after):
    """What torchrun starts, and starts again."""
    torch.set_num_threads(1)
    prepare_distributed(Config(dict(launcher='pytorch')))
    first = os.environ['TORCHELASTIC_RESTART_COUNT'] == '0'
    train(folder, STEPS, **options(folder, kill_after if first else None))
    finish_distributed()


def launch(*arguments):
    config = LaunchConfig(
        1, 1, 2, rdzv_backend='c10d', rdzv_endpoint='localhost:0', run_id=arguments[0].name, max_restarts=1,
        start_method='fork',
    )  # fmt: skip
    elastic_launch(config, elastic)(*arguments)


def in_process(function, *arguments):
    """The exit status of a forked process."""
    process = multiprocessing.get_context('fork').Process(target=function, args=arguments)
    process.start()
    process.join(300)
    return process.exitcode


def steps_of(folder, attempt):
    """Steps that the first process has taken."""
    path = folder.with_name(f'{folder.name}_0_{attempt}')
    return [int(step) for step in path.read_text().split()] if path.exists() else []


@pytest.mark.slow
def test_a_killed_process_is_started_again_and_all_go_on(tmp_path):
    """Both from the last checkpoint, and to the same end; so does torchrun --max-restarts=1."""
    for name, kill_after in (('whole', None), ('killed', 5)):
        assert in_process(launch, tmp_path / name, kill_after) == 0
    assert steps_of(tmp_path / 'whole', 0) == list(range(1, 9)) and not steps_of(tmp_path / 'whole', 1)
    assert steps_of(tmp_path / 'killed', 0)[:4] == [1, 2, 3, 4]
    assert steps_of(tmp_path / 'killed', 1) == [4, 5, 6, 7, 8]
    assert state(tmp_path / 'whole' / 'iter_8.pth') == state(tmp_path / 'killed' / 'iter_8.pth')


@pytest.mark.parametrize(
    ('cfg', 'hooks', 'number'),
    [(STEPS, SAVE, signal.SIGUSR1), (EPOCHS, SAVE_EPOCHS, signal.SIGTERM)],
)
def test_a_signal_saves_and_ends(tmp_path, monkeypatch, cfg, hooks, number):
    last = 'iter_8.pth' if cfg is STEPS else 'epoch_3.pth'
    train(tmp_path / 'whole', cfg, default_hooks=hooks)
    before = signal.getsignal(number)
    hook = AfterStep(7, number, tmp_path / 'notes')
    with StopSignals() as monitor, pytest.raises(RunStopped) as stopped:
        monkeypatch.setattr(QuickRunner, 'stop_signals', monitor)
        train(tmp_path / 'stopped', cfg, default_hooks=hooks, custom_hooks=[hook])
    assert signal.getsignal(number) == before
    assert stopped.value.code == STATUS
    assert stopped.value.path == str(tmp_path / 'stopped' / 'stopped.pth')
    assert state(stopped.value.path)['iter'] == 7
    monkeypatch.setattr(QuickRunner, 'stop_signals', None)
    train(tmp_path / 'stopped', cfg, default_hooks=hooks, resume=True)
    assert state(tmp_path / 'whole' / last) == state(tmp_path / 'stopped' / last)
    names = [{path.name for path in (tmp_path / name).glob('*.pth')} for name in ('whole', 'stopped')]
    assert names[0] == names[1]  # what was saved in between is gone


def stopped_on_two(rank, folder, number):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE='2')
    torch.set_num_threads(1)
    dist.init_process_group('gloo', f'file://{folder}/store', rank=rank, world_size=2)
    stop_signals.EVERY = 4
    try:
        with StopSignals() as QuickRunner.stop_signals:
            train(folder / 'run', STEPS, **options(folder / 'run', 2, number))
    except RunStopped as stopped:
        finish_distributed()
        os._exit(stopped.code)


def test_all_processes_stop_after_the_same_step(tmp_path):
    context = multiprocessing.get_context('fork')
    processes = [
        context.Process(target=stopped_on_two, args=(rank, tmp_path, signal.SIGUSR1)) for rank in range(2)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    assert [process.exitcode for process in processes] == [STATUS] * 2
    assert steps_of(tmp_path / 'run', 0) == [1, 2, 3, 4]
    assert state(tmp_path / 'run' / 'stopped.pth')['iter'] == 4


def test_under_torchrun_signals_are_torchrun_s(monkeypatch):
    monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'any')
    assert under_torchrun()
    before = [signal.getsignal(number) for number in stop_signals.SIGNALS]
    with StopSignals():
        assert [signal.getsignal(number) for number in stop_signals.SIGNALS] == before


def test_the_second_signal_is_not_taken():
    with StopSignals() as monitor:
        assert not monitor.is_due(1)
        handlers = [signal.getsignal(number) for number in stop_signals.SIGNALS]
        os.kill(os.getpid(), signal.SIGUSR1)
        assert monitor.is_due(1)
        assert all(signal.getsignal(n) != h for n, h in zip(stop_signals.SIGNALS, handlers, strict=True))
