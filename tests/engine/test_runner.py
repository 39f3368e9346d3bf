"""What a run is resumed from, and which configs get loops and hooks of ours."""

import os
from pathlib import Path

import pytest
import torch
from mmengine.hooks import CheckpointHook
from mmengine.runner import EpochBasedTrainLoop

from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.engine.checkpoint_hook import ExactCheckpointHook
from mmhier.engine.loops import EpochLoop, IterLoop
from mmhier.engine.runner import newest_checkpoint
from mmhier.testing.toy_run import build, train

BEST = dict(checkpoint=dict(type='CheckpointHook', interval=1, save_best='score', rule='greater'))
WHOLE = dict(meta=dict(iter=1), state_dict={}, message_hub={}, optimizer={})


@pytest.fixture
def folder(tmp_path):
    """Three checkpoints, of which the last is named, and weights that are none."""
    for age, name in enumerate(['epoch_9', 'epoch_10', 'epoch_11']):
        torch.save(WHOLE, tmp_path / f'{name}.pth')
        os.utime(tmp_path / f'{name}.pth', (1000 + age, 1000 + age))
    torch.save(dict(state_dict={}), tmp_path / 'encoder.pth')
    torch.save(WHOLE, tmp_path / 'best_AP_epoch_10.pth')
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_11.pth'))
    return tmp_path


def newest(folder):
    said = []
    path = newest_checkpoint(str(folder), said.append)
    return path and Path(path).name, ' '.join(said)


def test_the_named_checkpoint_is_taken(folder):
    assert newest(folder) == ('epoch_11.pth', '')
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_9.pth'))
    assert newest(folder) == ('epoch_9.pth', '')


def test_a_folder_may_be_moved(folder):
    (folder / 'last_checkpoint').write_text('elsewhere/epoch_10.pth')
    name, said = newest(folder)
    assert name == 'epoch_10.pth' and 'elsewhere/epoch_10.pth does not exist' in said


@pytest.mark.parametrize('record', ['garbage', bytes(20).decode(), '.', 'x' * 5000])
def test_a_damaged_record_leads_to_no_other_run(folder, tmp_path_factory, monkeypatch, record):
    """A name without a folder says nothing about where the process happens to be."""
    here = tmp_path_factory.mktemp('other_run')
    torch.save(WHOLE, here / 'epoch_99.pth')
    monkeypatch.chdir(here)
    (folder / 'last_checkpoint').write_text(record)
    assert newest(folder)[0] == 'epoch_11.pth'


@pytest.mark.parametrize('length', [0, 10, 500])
def test_a_damaged_one_is_passed_over_and_named(folder, length):
    damaged = folder / 'epoch_11.pth'
    damaged.write_bytes(damaged.read_bytes()[:length])
    name, said = newest(folder)
    assert name == 'epoch_10.pth'
    assert str(damaged) in said and f'Resuming from {folder / "epoch_10.pth"}' in said


def test_weights_alone_are_nothing_to_go_on_from(tmp_path):
    train(tmp_path / 'run', dict(by_epoch=True, max_epochs=1), default_hooks=BEST)
    best = tmp_path / 'run' / 'best_score_epoch_1.pth'
    with pytest.raises(ValueError, match=f'{best} holds no optimizer.*load_from={best}'):
        train(
            tmp_path / 'more',
            dict(by_epoch=True, max_epochs=2),
            default_hooks=BEST,
            resume=True,
            load_from=str(best),
        )


def test_who_saves_no_optimizer_goes_on_without(tmp_path):
    hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1, save_optimizer=False))
    train(tmp_path, dict(by_epoch=True, max_epochs=1), default_hooks=hooks)
    runner = train(tmp_path, dict(by_epoch=True, max_epochs=2), default_hooks=hooks, resume=True)
    assert runner.epoch == 2
    assert (tmp_path / 'validations.txt').read_text().split() == ['5', '10']


@pytest.mark.parametrize('record', [None, ''])
def test_without_a_name_the_newest_is_taken(folder, record):
    (folder / 'last_checkpoint').unlink()
    if record is not None:
        (folder / 'last_checkpoint').write_text(record)
    assert newest(folder)[0] == 'epoch_11.pth'


def test_nothing_there_is_a_beginning(tmp_path):
    assert newest(tmp_path) == (None, '')
    torch.save(dict(state_dict={}), tmp_path / 'encoder.pth')
    assert newest(tmp_path) == (None, '')


def test_a_run_that_may_go_on_begins_from_its_weights(tmp_path):
    """``--resume`` with ``load_from``: from that the first time, then from its own checkpoint."""
    once = dict(by_epoch=True, max_epochs=1)
    train(tmp_path / 'first', once)
    begin = str(tmp_path / 'first' / 'epoch_1.pth')
    settings = dict(resume='auto', load_from=begin)
    runner = build(tmp_path / 'second', once, **settings)
    runner.load_or_resume()
    weights = load_checkpoint_file(begin)['state_dict']
    assert all(torch.equal(value, weights[name]) for name, value in runner.model.state_dict().items())
    assert runner.epoch == 0
    train(tmp_path / 'second', once, **settings)
    runner = build(tmp_path / 'second', dict(once, max_epochs=2), **settings)
    runner.load_or_resume()
    own = load_checkpoint_file(tmp_path / 'second' / 'epoch_1.pth')['state_dict']
    assert all(torch.equal(value, own[name]) for name, value in runner.model.state_dict().items())
    assert runner.epoch == 1 and any((own[name] != value).any() for name, value in weights.items())


def test_a_run_whose_checkpoints_are_gone_does_not_begin_anew(tmp_path):
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_3.pth'))
    with pytest.raises(ValueError, match='epoch_3.pth does not exist.*--resume FILE'):
        newest(tmp_path)


@pytest.mark.parametrize(
    ('cfg', 'loop'),
    [
        (dict(by_epoch=True, max_epochs=1), EpochLoop),
        (dict(by_epoch=False, max_iters=1), IterLoop),
        (dict(type='EpochBasedTrainLoop', max_epochs=1), EpochLoop),
        (dict(type='IterBasedTrainLoop', max_iters=1), IterLoop),
        (dict(type='mmengine.IterBasedTrainLoop', max_iters=1), IterLoop),
        (dict(type=EpochBasedTrainLoop, max_epochs=1), EpochLoop),
    ],
)
def test_stock_loops_are_replaced(tmp_path, cfg, loop):
    assert type(build(tmp_path, cfg).train_loop) is loop


@pytest.mark.parametrize('kind', ['CheckpointHook', 'mmengine.CheckpointHook', CheckpointHook])
def test_the_stock_hook_is_replaced(tmp_path, kind):
    runner = build(
        tmp_path, dict(by_epoch=True, max_epochs=1), default_hooks=dict(checkpoint=dict(type=kind))
    )
    kinds = [type(hook) for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    assert kinds == [ExactCheckpointHook]


def test_own_kinds_stay(tmp_path):
    class OwnHook(CheckpointHook):
        pass

    class OwnLoop(EpochBasedTrainLoop):
        pass

    cfg = dict(type=OwnLoop, max_epochs=1)
    runner = build(tmp_path, cfg, default_hooks=dict(checkpoint=dict(type=OwnHook)))
    assert type(runner.train_loop) is OwnLoop
    assert OwnHook in [type(hook) for hook in runner.hooks]
    runner.train()
    assert (tmp_path / 'epoch_1.pth').is_file()


def test_a_best_checkpoint_that_is_gone_is_said(tmp_path, caplog):
    cfg = dict(by_epoch=True, max_epochs=1)
    train(tmp_path, cfg, default_hooks=BEST)
    (best,) = tmp_path.glob('best_*.pth')
    best.unlink()
    runner = build(tmp_path, dict(cfg, max_epochs=2), default_hooks=BEST, resume=True)
    said = []
    runner.logger.warning = said.append
    runner.train()
    (line,) = [line for line in said if best.name in line]
    assert 'is not there any more' in line and 'score' in line


def test_a_run_that_diverged_goes_back_to_where_it_had_not(folder):
    torch.save(dict(WHOLE, state_dict=dict(a=torch.tensor([torch.nan]))), folder / 'epoch_11.pth')
    name, said = newest(folder)
    assert name == 'epoch_10.pth'
    assert 'epoch_11.pth' in said and 'state_dict.a holds NaN' in said
