"""A run that is resumed goes on with the sample after the last, without loading those before it."""

import functools

import numpy as np
import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn

from mmhier.datasets.mesh import MeshTarDataset
from mmhier.engine.runner import ExactRunner
from mmhier.testing.mesh_data import shard_members, write_tar

PIPELINE = [
    dict(type='RandomMeshBox'),
    dict(type='LoadMeshImage'),
    dict(type='MeshAffine'),
    dict(type='RandomChannelScale'),
    dict(type='PackMeshInputs'),
]


class Recorder(BaseModel):
    """Remembers what it is trained on."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen = []

    def forward(self, inputs, data_samples, mode):
        self.seen += [
            (sample.sample_key, image.float().sum().item())
            for sample, image in zip(data_samples, inputs, strict=True)
        ]
        return dict(loss=self.weight**2)


def train_with(root, work_dir, iterations, seed, batch_size=2, resume=False, num_workers=0, kind=Runner):
    """Train; return the names and the sums of the crops that the model has seen."""
    dataset = dict(
        type='mmpose.MeshTarDataset', name='x', shards='*.tar', data_root=str(root), pipeline=PIPELINE
    )  # fmt: skip
    model = Recorder()
    runner = kind(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=batch_size,
            num_workers=num_workers,
            persistent_workers=num_workers > 0,
            dataset=dict(type='mmpose.MixedDataset', datasets=[dataset]),
            sampler=dict(type='mmpose.DrawSampler'),
        ),
        train_cfg=dict(by_epoch=False, max_iters=iterations),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        custom_hooks=[dict(type='mmpose.ResumeDrawsHook')],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, by_epoch=False)),
        randomness=dict(seed=seed),
        default_scope='mmpose',
        resume=resume,
        experiment_name=f'resume{np.random.default_rng().integers(1 << 40)}',
    )
    runner.train()
    return model.seen


@pytest.fixture
def root(tmp_path):
    write_tar(tmp_path / 'data' / '0.tar', shard_members(np.random.default_rng(0), 7))
    return tmp_path / 'data'


@pytest.mark.parametrize('kind', [Runner, ExactRunner])
@pytest.mark.parametrize('second_batch_size', [2, 3])
def test_resumed_run_goes_on_where_it_stopped(root, tmp_path, monkeypatch, second_batch_size, kind):
    train = functools.partial(train_with, kind=kind)
    whole = train(root, tmp_path / 'a', 9, seed=3, batch_size=2)
    first = train(root, tmp_path / 'b', 3, seed=3, batch_size=2)
    reads = []
    real = MeshTarDataset.get_data_info
    monkeypatch.setattr(
        MeshTarDataset, 'get_data_info', lambda self, index: reads.append(index) or real(self, index)
    )
    # another seed in the config: that of the checkpoint counts
    second = train(root, tmp_path / 'b', 5, seed=8, batch_size=second_batch_size, resume=True)
    assert len(second) == len(reads) == 2 * second_batch_size
    assert first + second == whole[: len(first) + len(second)]
    third = train(root, tmp_path / 'b', 6, seed=8, batch_size=second_batch_size, resume=True)
    assert first + second + third == whole[: len(first) + len(second) + len(third)]


def test_workers_that_read_ahead_change_nothing(root, tmp_path):
    whole = train_with(root, tmp_path / 'a', 6, seed=3)
    parts = train_with(root, tmp_path / 'b', 2, seed=3, num_workers=2)
    parts += train_with(root, tmp_path / 'b', 6, seed=3, num_workers=2, resume=True)
    assert parts == whole
