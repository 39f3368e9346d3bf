"""A run that is killed at any moment of saving loses nothing and leaves nothing behind."""

import multiprocessing
import os
import signal
import sys

import pytest
import torch
from mmengine.fileio import LocalBackend

from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.engine.runner import newest_checkpoint
from mmhier.testing.toy_run import state, train

EPOCHS = dict(by_epoch=True, max_epochs=3)
HOOKS = dict(
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1, save_best='score', rule='greater')
)
KILLS = 20


def _run(work_dir, kill_at, counter):
    """Train; end by SIGKILL before, or in the middle of, the given one of the changes to checkpoint files."""
    torch.set_num_threads(1)

    def change():
        counter.value += 1
        if counter.value == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(event, arguments):
        if event in ('open', 'os.rename', 'os.remove') and isinstance(arguments[0], str | os.PathLike):
            path = os.fspath(arguments[0])
            if path == str(work_dir) or path.endswith(('.pth', 'last_checkpoint')):
                change()

    def put_slowly(self, content, path):
        with open(path, 'wb') as file:
            file.write(content[: len(content) // 2])
            file.flush()
            change()
            file.write(content[len(content) // 2 :])

    if counter is not None:
        LocalBackend.put = put_slowly
        sys.addaudithook(audit)
    with open(os.devnull, 'w') as sys.stdout:
        train(work_dir, EPOCHS, default_hooks=HOOKS, resume=True)


def run(work_dir, kill_at=None):
    """Train in a process of its own; return how it ended and the number of changes."""
    context = multiprocessing.get_context('fork')
    counter = None if kill_at is None else context.Value('i', 0, lock=False)
    process = context.Process(target=_run, args=(work_dir, kill_at, counter))
    process.start()
    process.join()
    return process.exitcode, counter and counter.value


def files(work_dir):
    return {path.name for path in work_dir.iterdir() if path.is_file() and path.suffix != '.py'}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('whole')
    train(folder, EPOCHS, default_hooks=HOOKS)  # here, so that the other processes find everything imported
    return folder


@pytest.fixture(scope='module')
def changes(whole, tmp_path_factory):
    """How often a run changes a checkpoint file."""
    return run(tmp_path_factory.mktemp('counted'), 0)[1]


def check(whole, work_dir, kill_at):
    assert run(work_dir, kill_at)[0] == -signal.SIGKILL
    if newest_checkpoint(str(work_dir), print) is None:
        assert not list(work_dir.glob('[!.]*.pth'))
    assert run(work_dir)[0] == 0
    assert files(work_dir) == files(whole)
    assert state(work_dir / 'epoch_3.pth') == state(whole / 'epoch_3.pth')
    best = [load_checkpoint_file(folder / 'best_score_epoch_2.pth') for folder in (work_dir, whole)]
    assert str(best[0]['state_dict']) == str(best[1]['state_dict'])
    validations = (work_dir / 'validations.txt').read_text().split()
    assert len(validations) <= 4 and set(validations) == {'5', '10', '15'}


def test_an_unbroken_run_keeps_the_last_and_the_best(whole):
    assert files(whole) == {'last_checkpoint', 'epoch_3.pth', 'best_score_epoch_2.pth', 'validations.txt'}
    assert (whole / 'last_checkpoint').read_text() == str(whole / 'epoch_3.pth')
    assert (whole / 'validations.txt').read_text().split() == ['5', '10', '15']


@pytest.mark.parametrize('part', range(KILLS))
def test_nothing_is_lost(whole, changes, tmp_path, part):
    assert changes > KILLS
    check(whole, tmp_path, 1 + part * (changes - 1) // (KILLS - 1))


@pytest.mark.slow
def test_nothing_is_lost_at_any_change(whole, changes, tmp_path):
    for kill_at in range(1, changes + 1):
        check(whole, tmp_path / f'{kill_at}', kill_at)
