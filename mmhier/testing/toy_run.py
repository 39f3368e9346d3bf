"""A run that takes a moment and uses every source of random numbers, for tests of resuming."""

import os
import random
import uuid
from pathlib import Path

import numpy as np
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel
from torch import nn
from torch.utils.data import Dataset

from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.engine.runner import ExactRunner


class QuickRunner(ExactRunner):
    """Does not look for compilers, which takes seconds."""

    def _log_env(self, env_cfg):
        pass


class NoisyNumbers(Dataset):
    """A sample is its index and noise of three generators; ``loaded`` counts in this process."""

    loaded = 0

    def __init__(self, size=10):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        type(self).loaded += 1
        noise = [random.random(), np.random.rand(), torch.rand(()).item()]  # noqa: NPY002
        return dict(inputs=torch.tensor([float(index), *noise]))


class NoisyNet(BaseModel):
    """Its steps draw from all three generators; it has running statistics."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))

    def forward(self, inputs, mode='tensor'):
        """Compute the loss of (4,) inputs, or predict."""
        y = self.layers(self.norm(torch.stack(inputs)))
        if mode == 'predict':
            return [dict(y=value) for value in y]
        noise = random.random() + np.random.rand() + torch.rand(())  # noqa: NPY002
        return dict(loss=(y - noise).square().mean())


class Validations(BaseMetric):
    """Notes the steps after which it was asked for the score, which rises and falls."""

    scores = (2.0, 3.0, 1.0)
    runner = None

    def __init__(self, file):
        super().__init__()
        self.file = Path(file)

    def process(self, data_batch, data_samples):
        """Count."""
        self.results.append(len(data_samples))

    def compute_metrics(self, results):
        """Take the next score."""
        step = self.runner.iter
        with self.file.open('a') as file:
            file.write(f'{step}\n')
        return dict(score=self.scores[step % len(self.scores)])


def build(work_dir, train_cfg, **options):
    """Make a runner; ``options`` replace parts of its configuration, nested by ``__``."""
    loader = dict(
        batch_size=2,
        num_workers=0,
        drop_last=True,
        dataset=NoisyNumbers(),
        sampler=dict(type='DefaultSampler'),
    )
    torch.manual_seed(0)
    metric = Validations(Path(work_dir) / 'validations.txt')
    settings = dict(
        model=NoisyNet(),
        work_dir=str(work_dir),
        train_dataloader=dict(loader, sampler=dict(type='DefaultSampler', shuffle=True)),
        train_cfg=train_cfg,
        val_dataloader=dict(
            loader, dataset=NoisyNumbers(2), sampler=dict(type='DefaultSampler', shuffle=False)
        ),
        val_cfg=dict(),
        val_evaluator=Evaluator(metric),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.01)),
        param_scheduler=[dict(type='LinearLR', begin=0, end=7, start_factor=0.1, by_epoch=False)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=[dict(type='SyncBuffersHook')],
        randomness=dict(seed=3),
        experiment_name=uuid.uuid4().hex,
        log_level='WARNING',
    )
    for name, value in options.items():
        *parents, last = name.split('__')
        target = settings
        for parent in parents:
            target = target[parent]
        target[last] = value
    metric.runner = runner = QuickRunner(**settings)
    return runner


def train(work_dir, train_cfg, **options):
    """Train, from a state of the generators that no run knows."""
    os.makedirs(work_dir, exist_ok=True)
    runner = build(work_dir, train_cfg, **options)
    torch.seed()
    np.random.seed()  # noqa: NPY002
    random.seed()
    runner.train()
    return runner


def state(path):
    """What has to be equal, bit for bit."""
    checkpoint = load_checkpoint_file(path)
    hub = checkpoint['message_hub']['runtime_info']
    flat = {}
    _flatten(
        '',
        {key: checkpoint.get(key) for key in ('state_dict', 'optimizer', 'param_schedulers', 'place')},
        flat,
    )
    scores = {key: hub[key] for key in hub if key.startswith(('best_score', 'last_validated'))}
    return flat | scores | {key: checkpoint['meta'][key] for key in ('epoch', 'iter')}


def _flatten(name, value, into):
    if isinstance(value, dict | list | tuple):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            _flatten(f'{name}.{key}', item, into)
    else:
        into[name] = value.numpy().tobytes() if torch.is_tensor(value) else value
