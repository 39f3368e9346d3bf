"""A resumed run ends as one that was not interrupted: weights, optimizer and schedulers, bit for bit."""

import pytest
import torch
from mmengine.hooks import CheckpointHook, Hook

from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.engine.checkpoint_hook import OBSOLETE, gather_rank_states, restore_rank_state
from mmhier.engine.loops import VALIDATED
from mmhier.testing.toy_run import NoisyNet, NoisyNumbers, state, train

EPOCHS = dict(by_epoch=True, max_epochs=3)
STEPS = dict(by_epoch=False, max_iters=13, val_interval=4)
SAVE_STEPS = dict(type='CheckpointHook', interval=1, by_epoch=False)
WORKERS = dict(num_workers=2, persistent_workers=True)


def loader(**changes):
    base = dict(
        batch_size=2, num_workers=0, drop_last=True, dataset=NoisyNumbers(),
        sampler=dict(type='DefaultSampler', shuffle=True),
    )  # fmt: skip
    return {**base, **changes}


def resume(folder, work_dir, cfg, step, last, **options):
    """End of a run that goes on from a checkpoint of another one."""
    train(work_dir, cfg, load_from=str(folder / step), resume=True, **options)
    return state(work_dir / last)


@pytest.mark.parametrize(
    ('cfg', 'steps', 'options'),
    [
        (EPOCHS, (1, 5, 8), dict()),
        (EPOCHS, (3, 10), dict(train_dataloader=loader(**WORKERS))),
        (EPOCHS, (5,), dict(train_dataloader=loader(num_workers=1, drop_last=False, batch_size=4))),
        (EPOCHS, (7,), dict(randomness=dict(seed=None))),
        (EPOCHS, (7,), dict(randomness=dict(seed=None, diff_rank_seed=True))),
        (EPOCHS, (7,), dict(train_dataloader=loader(sampler=torch.utils.data.RandomSampler(range(10))))),
        (EPOCHS, (1, 5, 7), dict(optim_wrapper__accumulative_counts=4)),
        (STEPS, (3, 4, 7), dict()),
        (STEPS, (7,), dict(train_dataloader=loader(**WORKERS))),
        (STEPS, (7,), dict(train_dataloader=loader(sampler=dict(type='InfiniteSampler')))),
        (STEPS, (7,), dict(train_dataloader=loader(sampler=dict(type='InfiniteSampler'), **WORKERS))),
    ],
)
def test_end_is_that_of_an_unbroken_run(tmp_path, cfg, steps, options):
    whole = tmp_path / 'whole'
    options = dict(default_hooks=dict(checkpoint=SAVE_STEPS), **options)
    iterations = train(whole, cfg, **options).iter
    for step in steps:
        end = resume(
            whole, tmp_path / f'{step}', cfg, f'iter_{step}.pth', f'iter_{iterations}.pth', **options
        )
        assert end == state(whole / f'iter_{iterations}.pth')


def test_epochs_end_the_same(tmp_path):
    train(tmp_path / 'whole', EPOCHS)
    end = resume(tmp_path / 'whole', tmp_path / 'resumed', EPOCHS, 'epoch_2.pth', 'epoch_3.pth')
    assert end == state(tmp_path / 'whole' / 'epoch_3.pth')


@pytest.mark.parametrize('cfg', [EPOCHS, STEPS])
def test_number_of_workers_changes_nothing(tmp_path, cfg):
    ends = []
    for workers in (0, 1, 2):
        options = dict(train_dataloader=loader(num_workers=workers, persistent_workers=workers == 2))
        runner = train(tmp_path / f'{workers}', cfg, default_hooks=dict(checkpoint=SAVE_STEPS), **options)
        ends.append(state(tmp_path / f'{workers}' / f'iter_{runner.iter}.pth'))
    assert ends[0] == ends[1] == ends[2]


def test_seeds_epochs_and_samples_have_random_numbers_of_their_own(tmp_path):
    seen = []

    class Recorder(NoisyNumbers):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            seen.append((index, *item['inputs'][1:].tolist()))
            return item

    for seed in (3, 4):
        options = dict(train_dataloader=loader(dataset=Recorder()), val_cfg=None, val_dataloader=None)
        train(tmp_path, EPOCHS, **options, val_evaluator=None, randomness=dict(seed=seed))
    assert len(seen) == 2 * 3 * 10
    for generator in (1, 2, 3):
        assert len({sample[generator] for sample in seen}) == len(seen)
    assert len({sample[0] for sample in seen}) == 10


@pytest.mark.parametrize('cfg', [EPOCHS, STEPS])
def test_what_was_seen_is_not_loaded_again(tmp_path, cfg):
    options = dict(default_hooks=dict(checkpoint=SAVE_STEPS), val_cfg=None, val_dataloader=None)
    options |= dict(val_evaluator=None)
    last = train(tmp_path / 'whole', cfg, **options).iter
    NoisyNumbers.loaded = 0
    resume(
        tmp_path / 'whole', tmp_path / 'resumed', cfg, f'iter_{last - 2}.pth', f'iter_{last}.pth', **options
    )
    assert NoisyNumbers.loaded == 2 * 2


def test_another_batch_size_goes_on_after_the_same_samples(tmp_path):
    options = dict(default_hooks=dict(checkpoint=SAVE_STEPS), val_cfg=None, val_dataloader=None)
    options |= dict(val_evaluator=None)
    train(tmp_path / 'whole', EPOCHS, **options)
    NoisyNumbers.loaded = 0
    options['train_dataloader'] = loader(batch_size=5)
    runner = train(
        tmp_path / 'b', EPOCHS, load_from=str(tmp_path / 'whole/iter_11.pth'), resume=True, **options
    )
    assert NoisyNumbers.loaded == 10  # the first two are in the same batch as those to come
    assert runner.iter == 11 + 2


class Killed(BaseException):
    """In the place of a signal, which would end the tests."""


class KillBeforeValidation(Hook):
    """Ends a run that is about to be validated after so many steps."""

    priority = 'VERY_HIGH'

    def __init__(self, step):
        self.step = step

    def before_val(self, runner):
        if runner.iter == self.step:
            raise Killed


BEST = dict(type='CheckpointHook', interval=1, save_best='score', rule='greater', max_keep_ckpts=1)


def test_notes_are_no_scores(tmp_path):
    """MMEngine logs what is named after a phase among the scores of this phase."""
    runner = train(tmp_path, dict(EPOCHS, max_epochs=1), default_hooks=dict(checkpoint=BEST))
    notes = runner.message_hub.runtime_info
    assert VALIDATED in notes and OBSOLETE in notes
    assert [name for name in notes if name.startswith(('train', 'val', 'test'))] == []


@pytest.mark.parametrize(
    ('cfg', 'hook', 'validations'),
    [
        (EPOCHS, BEST, ('5', '10', '15')),
        (EPOCHS, dict(BEST, by_epoch=False), ('5', '10', '15')),
        (dict(EPOCHS, val_interval=2), BEST, ('10', '15')),
        (dict(EPOCHS, val_begin=3), BEST, ('15',)),
        (STEPS, dict(BEST, by_epoch=False), ('4', '8', '12', '13')),
        (dict(STEPS, dynamic_intervals=[(8, 2)]), dict(BEST, by_epoch=False), ('4', '8', '10', '12', '13')),
    ],
)
def test_a_validation_that_is_due_comes_first_and_once(tmp_path, cfg, hook, validations):
    hooks = dict(checkpoint=hook)
    last = train(tmp_path / 'whole', cfg, default_hooks=hooks).iter
    done = tmp_path / 'killed' / 'validations.txt'
    for count, step in enumerate(validations):
        with pytest.raises(Killed):
            train(
                tmp_path / 'killed',
                cfg,
                default_hooks=hooks,
                resume=True,
                custom_hooks=[KillBeforeValidation(int(step))],
            )
        assert count == 0 or tuple(done.read_text().split()) == validations[:count]
    for _ in range(2):  # the second time everything has been done
        train(tmp_path / 'killed', cfg, default_hooks=hooks, resume=True)
        assert tuple(done.read_text().split()) == validations
    names = [{path.name for path in (tmp_path / name).glob('*.pth')} for name in ('whole', 'killed')]
    assert names[0] == names[1] and len(names[0]) == 2
    name = f'iter_{last}.pth' if not hook.get('by_epoch', True) else 'epoch_3.pth'
    assert state(tmp_path / 'whole' / name) == state(tmp_path / 'killed' / name)


def test_a_checkpoint_of_the_stock_runner_is_gone_on_from(tmp_path):
    """It does not say where the run is in its data; the numbers of epochs and steps do."""
    hooks = dict(checkpoint=SAVE_STEPS)
    train(tmp_path / 'whole', EPOCHS, default_hooks=hooks)
    checkpoint = load_checkpoint_file(tmp_path / 'whole' / 'iter_7.pth')
    del checkpoint['place']
    torch.save(checkpoint, tmp_path / 'whole' / 'iter_7.pth')
    end = resume(tmp_path / 'whole', tmp_path / 'b', EPOCHS, 'iter_7.pth', 'iter_15.pth', default_hooks=hooks)
    assert end == state(tmp_path / 'whole' / 'iter_15.pth')


class OwnHook(CheckpointHook):
    """Knows nothing of places."""


@pytest.mark.parametrize('cfg', [STEPS, EPOCHS])
def test_a_hook_of_one_s_own_resumes_as_under_the_stock_runner(tmp_path, cfg):
    """Steps: what was seen is loaded again. Epochs: at their ends."""
    steps = cfg is STEPS
    hooks = dict(checkpoint=dict(type=OwnHook, interval=1, by_epoch=not steps))
    train(tmp_path / 'whole', cfg, default_hooks=hooks)
    names = ('iter_7.pth', 'iter_13.pth') if steps else ('epoch_2.pth', 'epoch_3.pth')
    end = resume(tmp_path / 'whole', tmp_path / 'b', cfg, *names, default_hooks=hooks)
    assert end == state(tmp_path / 'whole' / names[1])


def test_fine_tuning_starts_at_the_beginning(tmp_path):
    hooks = dict(checkpoint=SAVE_STEPS)
    train(tmp_path / 'first', EPOCHS, default_hooks=hooks)
    NoisyNumbers.loaded = 0
    options = dict(val_cfg=None, val_dataloader=None, val_evaluator=None, default_hooks=hooks)
    runner = train(tmp_path / 'second', EPOCHS, load_from=str(tmp_path / 'first' / 'iter_7.pth'), **options)
    assert NoisyNumbers.loaded == 30 and runner.iter == 15


def test_what_is_each_process_s_own_comes_back():
    model = NoisyNet()
    assert gather_rank_states(model) is None
    model(list(torch.randn(4, 4)))['loss'].backward()
    (rank,) = gather_rank_states(model)
    model.norm.running_mean += 1
    rank['buffers'] = {'norm.running_mean': torch.tensor([1.0, 2, 3, 4])}
    other = NoisyNet()
    restore_rank_state(other, rank)
    assert other.norm.running_mean.tolist() == [1, 2, 3, 4]
    for (name, one), two in zip(model.named_parameters(), other.parameters(), strict=True):
        assert torch.equal(one.grad, two.grad), name
