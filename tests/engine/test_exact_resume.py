"""A resumed run ends as one that was not interrupted: weights, optimizer and schedulers, bit for bit."""

import pytest
import torch
from mmhier.testing.toy_run import NoisyNumbers, state, train

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
        end = resume(whole, tmp_path / f'{step}', cfg, f'iter_{step}.pth', f'iter_{iterations}.pth', **options)
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
    resume(tmp_path / 'whole', tmp_path / 'resumed', cfg, f'iter_{last - 2}.pth', f'iter_{last}.pth', **options)
    assert NoisyNumbers.loaded == 2 * 2


def test_another_batch_size_goes_on_after_the_same_samples(tmp_path):
    options = dict(default_hooks=dict(checkpoint=SAVE_STEPS), val_cfg=None, val_dataloader=None)
    options |= dict(val_evaluator=None)
    train(tmp_path / 'whole', EPOCHS, **options)
    NoisyNumbers.loaded = 0
    options['train_dataloader'] = loader(batch_size=5)
    runner = train(tmp_path / 'b', EPOCHS, load_from=str(tmp_path / 'whole/iter_11.pth'), resume=True, **options)
    assert NoisyNumbers.loaded == 10  # the first two are in the same batch as those to come
    assert runner.iter == 11 + 2
