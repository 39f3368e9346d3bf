"""A sharded training is the one of whole models, and its checkpoints are theirs."""

import multiprocessing
import os
from functools import partial

import pytest
import torch
import torch.distributed as dist
from mmengine.config import Config, ConfigDict
from mmengine.model import BaseModel
from torch import nn

from mmhier.checkpoint_parts import PARTS, part_path, remove_what_no_checkpoint_names
from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.engine.sharding import check_sharding
from mmhier.models.backbones.vit import ViT
from mmhier.testing.toy_run import NoisyNumbers, state, train

STEPS = dict(by_epoch=False, max_iters=6, val_interval=3)
HOOKS = dict(
    checkpoint=dict(
        type='CheckpointHook', interval=1, by_epoch=False, save_best='score', rule='greater', max_keep_ckpts=4
    )
)
SHARDED = dict(type='FullyShardedModel', blocks='Block')
WHOLE = dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)


class MicroViT(BaseModel):
    """Regresses the first number of a sample from a pattern made of all; drops paths."""

    def __init__(self, with_cp=False):
        super().__init__()
        torch.manual_seed(1)
        self.backbone = ViT(**ViT.small, with_cp=with_cp, drop_path_rate=0.5)
        self.norm = nn.BatchNorm1d(16)  # running statistics are each process's own
        self.head = nn.Linear(16, 3)  # three rows for two processes

    def init_weights(self):
        torch.manual_seed(1)
        super().init_weights()

    def forward(self, inputs, mode='tensor'):
        numbers = torch.stack(inputs)
        pattern = torch.linspace(-1, 1, 64 * 48).view(64, 48)
        images = torch.sin(numbers[:, :3, None, None] * pattern + numbers[:, 3:, None, None])
        y = self.head(self.norm(self.backbone(images)[-1].mean((2, 3))))
        if mode == 'predict':
            return [dict(y=value) for value in y]
        return dict(loss=(y - numbers[:, :1]).square().mean())


def options(wrapper, **changes):
    val = dict(batch_size=1, num_workers=0, dataset=NoisyNumbers(3))  # the second process has one less
    return dict(
        model=MicroViT(),
        launcher='pytorch',
        cfg=dict(model_wrapper_cfg=ConfigDict(wrapper)),
        # With a smaller eps Adam makes steps of a gradient that is mere rounding: that of the keys' bias.
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01, eps=1e-3), clip_grad=dict(max_norm=1.0)),
        default_hooks=HOOKS,
        val_dataloader=dict(val, sampler=dict(type='DefaultSampler', shuffle=False, round_up=False)),
        **changes,
    )


def run(folder):
    """What two processes train, one thing after the other."""
    train(folder / 'ddp', STEPS, **options(WHOLE))
    train(folder / 'sharded', STEPS, **options(SHARDED))
    resume = dict(load_from=str(folder / 'sharded' / 'iter_3.pth'), resume=True)
    train(folder / 'resumed', STEPS, **options(SHARDED, **resume))
    train(folder / 'whole_again', STEPS, **options(WHOLE, **resume))


def run_more(folder, runs):
    """The same, of other settings."""
    resume = dict(load_from=str(runs / 'ddp' / 'iter_3.pth'), resume=True)
    train(folder / 'from_whole', STEPS, **options(SHARDED | dict(reshard_after_forward=False), **resume))
    checkpointed = options(SHARDED)
    checkpointed['model'] = MicroViT(with_cp=True)
    train(folder / 'with_cp', STEPS, **checkpointed)
    counts = dict(optim_wrapper__accumulative_counts=2)
    train(folder / 'accumulated', STEPS, **options(SHARDED), **counts)
    resume['load_from'] = str(folder / 'accumulated' / 'iter_3.pth')
    train(folder / 'accumulated_resumed', STEPS, **options(SHARDED, **resume), **counts)


def in_processes(function, *arguments, count=2):
    """Fork processes with a process group; their exit statuses."""
    context = multiprocessing.get_context('fork')
    processes = [
        context.Process(target=_process, args=(function, arguments, rank, count)) for rank in range(count)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
    return [process.exitcode for process in processes]


def _process(function, arguments, rank, count):
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count))
    dist.init_process_group('gloo', f'file://{arguments[0]}/store', rank=rank, world_size=count)
    function(*arguments)
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp('runs')
    assert in_processes(run, folder) == [0, 0]
    return folder


@pytest.fixture(scope='module')
def more_runs(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp('more_runs')
    assert in_processes(run_more, folder, runs) == [0, 0]
    return folder


def read(folder, step=6):
    checkpoint = load_checkpoint_file(folder / f'iter_{step}.pth')
    return checkpoint['state_dict'], checkpoint['optimizer']['state']


def compare(one, other):
    """Largest difference; keys are the same."""
    if isinstance(one, dict | tuple):
        assert len(one) == len(other)
        return max(compare(one[key], other[key]) for key in (one if isinstance(one, dict) else (0, 1)))
    assert one.shape == other.shape
    return (one.double() - other.double()).abs().max().item()


def test_it_is_the_training_of_whole_models(runs):
    """Steps magnify rounding: 4e-7 after 3 of them, 7e-6 after 6."""
    whole = [read(runs / 'ddp', step) for step in (3, 6)]
    assert compare(read(runs / 'sharded', 3), whole[0]) < 1e-6
    assert compare(read(runs / 'sharded'), whole[1]) < 2e-5
    assert compare(read(runs / 'whole_again'), whole[1]) < 2e-5
    assert compare(*whole) > 1e-3  # it learns


@pytest.mark.slow
def test_other_settings_change_nothing(runs, more_runs):
    assert compare(read(more_runs / 'from_whole'), read(runs / 'ddp')) < 1e-6  # after 3 steps
    assert compare(read(more_runs / 'with_cp'), read(runs / 'sharded')) == 0


def test_a_resumed_run_ends_the_same(runs):
    assert state(runs / 'sharded' / 'iter_6.pth') == state(runs / 'resumed' / 'iter_6.pth')


@pytest.mark.slow
def test_gradients_that_accumulate_are_resumed(more_runs):
    one, other = (state(more_runs / n / 'iter_6.pth') for n in ('accumulated', 'accumulated_resumed'))
    assert one == other


def test_every_process_writes_its_rows(runs):
    checkpoint = load_checkpoint_file(runs / 'sharded' / 'iter_6.pth', whole=False)
    assert 'state_dict' not in checkpoint and 'optimizer' not in checkpoint
    parts = [load_checkpoint_file(path) for path in sorted((runs / 'sharded' / 'iter_6.parts').iterdir())]
    assert len(parts) == 2
    heads = [part['state_dict']['head.weight'] for part in parts]
    assert [len(head['rows']) for head in heads] == [2, 1]
    assert [head['shape'] for head in heads] == [[3, 16]] * 2


def test_old_ones_go_with_their_parts_and_the_best_is_one_file(runs):
    names = {path.name for path in (runs / 'sharded').iterdir() if path.suffix in ('.pth', '.parts')}
    steps = {f'iter_{step}.{ending}' for step in (3, 4, 5, 6) for ending in ('pth', 'parts')}
    assert names == steps | {'best_score_iter_3.pth'}
    best = load_checkpoint_file(runs / 'sharded' / 'best_score_iter_3.pth', whole=False)
    step = load_checkpoint_file(runs / 'sharded' / 'iter_3.pth')
    assert compare(best['state_dict'], step['state_dict']) == 0


def test_parts_that_are_missing_are_named(runs, tmp_path):
    path = tmp_path / 'moved.pth'
    path.write_bytes((runs / 'sharded' / 'iter_6.pth').read_bytes())
    with pytest.raises(FileNotFoundError, match='of 2 processes, and 2 of its parts.*moved.parts'):
        load_checkpoint_file(path)


@pytest.mark.parametrize('named', [3, dict(count=2, token='../../x'), dict(count=0, token='0' * 16), {}])
def test_names_of_parts_are_not_believed(tmp_path, named):
    torch.save({PARTS: named}, tmp_path / 'a.pth')
    with pytest.raises(ValueError, match='a.pth is damaged: .* names no parts'):
        load_checkpoint_file(tmp_path / 'a.pth')


def test_parts_that_do_not_fit_are_refused(tmp_path):
    token = '0123456789abcdef'
    torch.save({PARTS: dict(count=2, token=token)}, tmp_path / 'a.pth')
    (tmp_path / 'a.parts').mkdir()
    rows = torch.ones(2, 3)
    for shape, words in (([4, 3], None), ([5, 3], r'rows make \(4, 3\), expected \(5, 3\)')):
        for number in range(2):
            torch.save(
                dict(state_dict=dict(w=dict(shape=shape, rows=rows))),
                part_path(tmp_path / 'a.pth', token, number),
            )
        if words is None:
            assert load_checkpoint_file(tmp_path / 'a.pth')['state_dict']['w'].shape == (4, 3)
            continue
        with pytest.raises(ValueError, match=words):
            load_checkpoint_file(tmp_path / 'a.pth')
    torch.save(dict(state_dict=dict()), part_path(tmp_path / 'a.pth', token, 1))
    with pytest.raises(ValueError, match="a.pth do not fit each other: 'w'"):
        load_checkpoint_file(tmp_path / 'a.pth')


def test_what_a_killed_run_left_behind_is_deleted(tmp_path):
    token, other = '0123456789abcdef', 'f' * 16
    torch.save({PARTS: dict(count=1, token=token)}, tmp_path / 'a.pth')
    for name in ('a', 'b'):
        (tmp_path / f'{name}.parts').mkdir()
        for part in (f'{token}_0', f'{other}_0', f'.77.88.{token}_0'):
            torch.save({}, tmp_path / f'{name}.parts' / f'{part}.pth')
    (tmp_path / 'b.parts' / 'mine.txt').touch()
    remove_what_no_checkpoint_names(tmp_path, partial(load_checkpoint_file, whole=False))
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob('*.parts/*'))
    assert left == [f'a.parts/{token}_0.pth', 'b.parts/mine.txt']


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (dict(optim_wrapper=dict(type='AmpOptimWrapper')), 'dtype=bfloat16'),
        (dict(compile=True), 'compile'),
        (dict(custom_hooks=[dict(type='EMAHook')]), 'EMAHook'),
        (dict(default_hooks=dict(checkpoint=dict(type='OwnHook'))), 'Take CheckpointHook'),
        (
            dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', backend_args=dict(backend='s3')))),
            'backend_args',
        ),
        (dict(model_wrapper_cfg=dict(SHARDED, blocks=[])), 'blocks is empty'),
        (dict(work_dir='s3://bucket/run'), 'work_dir .* a folder that all of them see'),
    ],
)
def test_what_does_not_go_with_it_is_refused(changes, words):
    good = dict(model_wrapper_cfg=SHARDED, default_hooks=HOOKS)
    check_sharding(Config(good))
    with pytest.raises(ValueError, match=words):
        check_sharding(Config(good | changes))
    if 'model_wrapper_cfg' not in changes:
        check_sharding(Config(dict(changes)))  # all of it is right without


def test_blocks_that_are_not_there_are_named():
    from mmhier.engine.sharding import FullyShardedModel

    with pytest.raises(ValueError, match=r"\['Blok'\].*Block.*ViT"):
        FullyShardedModel('Blok').shard(MicroViT())
