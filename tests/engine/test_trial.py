"""One sample and one step are tried before training: what does not fit is named, nothing is changed."""

import copy
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmpose.registry import MODELS

from mmhier.engine.trial import check_one_prediction, check_one_step
from mmhier.testing import write_dot_people


@pytest.fixture(scope='module')
def cfg(repo_root, tmp_path_factory):
    folder = tmp_path_factory.mktemp('dots')
    for split in ('train', 'val'):
        write_dot_people(folder, split, 4)
    cfg = Config.fromfile(repo_root / 'configs/hpe/swinpose_micro_s3_synth.py')
    loader = dict(batch_size=2, num_workers=0, persistent_workers=False)
    for split in ('train', 'val'):
        cfg[f'{split}_dataloader'].update(loader)
        cfg[f'{split}_dataloader'].dataset.data_root = f'{folder}/'
    cfg.model.backbone.arch.depths = [1, 1, 1, 1]
    return cfg


def _runner(cfg):
    init_default_scope('mmpose')
    train, val = (
        Runner.build_dataloader(copy.deepcopy(cfg[f'{split}_dataloader'])) for split in ('train', 'val')
    )
    model = MODELS.build(copy.deepcopy(cfg.model))
    return SimpleNamespace(model=model, train_dataloader=train, val_loop=SimpleNamespace(dataloader=val))


def _check(cfg, **changes):
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict(changes)
    check_one_step(_runner(cfg), cfg)


def test_nothing_is_changed(cfg):
    runner = _runner(cfg)
    runner.model.train()
    weights = copy.deepcopy(runner.model.state_dict())
    numbers = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    check_one_step(runner, cfg)
    assert runner.model.training and runner.model.backbone.training
    assert all(torch.equal(value, weights[name]) for name, value in runner.model.state_dict().items())
    assert all(parameter.grad is None for parameter in runner.model.parameters())
    assert random.getstate() == numbers[0] and torch.equal(torch.get_rng_state(), numbers[2])
    assert (np.random.get_state()[1] == numbers[1]).all()  # noqa: NPY002


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'model.neck.in_channels': 96},
            r'model.neck.in_channels is 96, but model.backbone \(TruncatedSwin\) gives 128 channels: set',
        ),
        ({'model.neck.in_stride': 32}, r'model.neck.in_stride is 32, but .* a map at 1/16 of the image: set'),
        (
            {'model.head.in_channels': 96},
            'model.head.in_channels is 96, but model.neck gives 128 channels: set .*=128',
        ),
        (
            {'model.neck': None, 'model.head.in_channels': 64},
            r'model.head.in_channels is 64, but model.backbone \(TruncatedSwin\) gives 128 channels',
        ),
        (
            {'model.head.deconv_out_channels': (64,), 'model.head.deconv_kernel_sizes': (4,)},
            r'model.head gives heatmaps of 12 x 16 \(w, h\) .*heatmap_size is \(24, 32\)',
        ),
        (
            {'model.head.loss': [dict(type='KeypointMSELoss')]},
            'cannot learn from the first sample.*TypeError',
        ),
        (
            {
                'optim_wrapper.constructor': 'LayerDecayOptimWrapperConstructor',
                'optim_wrapper.paramwise_cfg': dict(num_layers=12, layer_decay_rate=0.8),
            },
            'knows layers called backbone.layers.N only, and TruncatedSwin .*LayerIdDecayConstructor',
        ),
    ],
)
def test_parts_of_a_model_that_do_not_fit(cfg, changes, message):
    with pytest.raises(ValueError, match=message):
        _check(cfg, **changes)


def test_a_stock_backbone_that_says_nothing_of_itself(cfg):
    backbone = dict(_delete_=True, type='ResNet', depth=18)
    with pytest.raises(ValueError, match=r"constructor='LayerIdDecayConstructor' needs a .*ResNet"):
        _check(cfg, **{'model.backbone': backbone})
    stock = copy.deepcopy(cfg)
    stock.optim_wrapper.constructor = None
    stock.model.backbone = dict(type='ResNet', depth=18)
    stock.model.neck = None
    with pytest.raises(
        ValueError, match='model.head.in_channels is 128, but the part before gives 512 channels'
    ):
        _check(stock)
    stock.model.head.in_channels = 512
    with pytest.raises(ValueError, match=r'model.head gives heatmaps of 12 x 16'):
        _check(stock)
    stock.model.head.update(deconv_out_channels=(64, 64, 64), deconv_kernel_sizes=(4, 4, 4))
    _check(stock)


@pytest.mark.parametrize(
    ('left_out', 'message'),
    [
        (
            'LoadCheckedImage',
            r"pipeline.\d \(RandomFlip\) needs 'img'|pipeline.\d \(TopdownAffine\) needs 'img'",
        ),
        (
            'GetBBoxCenterScale',
            r"pipeline.\d \(\w+\) needs 'bbox_(scale|center)', which no step before it gives",
        ),
        ('TopdownAffine', r'gives images of 100 x 120 pixels .*input_size is \(96, 128\): a TopdownAffine'),
        (
            'GenerateTarget',
            r'cannot learn from the first sample .*Does its pipeline make targets \(GenerateTarget',
        ),
        (
            'PackPoseInputs',
            r"ends without inputs and data_samples.*its last step is dict\(type='PackPoseInputs'",
        ),
    ],
)
def test_a_step_of_the_pipeline_is_missing(cfg, left_out, message):
    steps = [step for step in cfg.train_dataloader.dataset.pipeline if step['type'] != left_out]
    assert len(steps) == len(cfg.train_dataloader.dataset.pipeline) - 1
    with pytest.raises(ValueError, match=message):
        _check(cfg, **{'train_dataloader.dataset.pipeline': steps})


def test_what_validation_would_stumble_over(cfg):
    steps = [dict(type='LoadCheckedImage'), dict(type='PackPoseInputs')]
    with pytest.raises(
        ValueError, match='cannot predict the first sample of val_dataloader: .*TopdownAffine'
    ):
        _check(cfg, **{'val_dataloader.dataset.pipeline': steps})
    with pytest.raises(ValueError, match='cannot predict the first sample of val_dataloader: IndexError'):
        _check(cfg, **{'model.test_cfg.output_keypoint_indices': [0, 40]})


def test_what_testing_would_stumble_over(cfg):
    runner = _runner(cfg)
    runner.test_loop = runner.val_loop
    numbers = torch.get_rng_state()
    check_one_prediction(runner)
    assert torch.equal(torch.get_rng_state(), numbers)
    cfg = copy.deepcopy(cfg)
    cfg.model.test_cfg.output_keypoint_indices = [0, 40]
    runner.model = MODELS.build(cfg.model)
    with pytest.raises(ValueError, match='cannot predict the first sample of test_dataloader: IndexError'):
        check_one_prediction(runner)
    runner.test_loop = None
    check_one_prediction(runner)  # the runner says that there is nothing to test
