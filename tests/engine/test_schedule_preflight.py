"""How a config trains is looked at before anything is built."""

import pytest
from mmengine.config import Config

from mmhier.engine.schedule_preflight import check_schedule

LOADERS = ('train_dataloader', 'val_dataloader')


@pytest.fixture
def cfg():
    return Config(
        dict(
            model=dict(backbone=dict(type='X', init_cfg=dict(type='Pretrained', checkpoint='x.pth'))),
            train_dataloader=dict(batch_size=4, num_workers=1, persistent_workers=True),
            train_cfg=dict(max_epochs=1, val_interval=1),
            optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
            val_dataloader=dict(batch_size=4),
            val_cfg=dict(),
            val_evaluator=dict(type='CocoMetric'),
            default_hooks=dict(checkpoint=dict(save_best='coco/AP')),
        )
    )


def test_a_whole_one_is_taken_without_a_word(cfg, caplog):
    check_schedule(cfg, LOADERS)
    assert not caplog.text


@pytest.mark.parametrize(
    'key', ['train_dataloader', 'train_cfg', 'optim_wrapper', 'val_evaluator', 'val_cfg']
)
def test_what_goes_together(cfg, key):
    cfg[key] = None
    with pytest.raises(ValueError, match=f'^{key} is missing or None, but .* are set: they go together'):
        check_schedule(cfg, LOADERS)
    check_schedule(Config(dict(model=cfg.model)), LOADERS)


@pytest.mark.parametrize(
    ('name', 'value'), [('max_epochs', 0), ('max_epochs', -3), ('max_epochs', 1.5), ('max_iters', 0)]
)
def test_a_run_that_would_train_nothing(cfg, name, value):
    cfg.train_cfg = {name: value}
    with pytest.raises(ValueError, match=rf'train_cfg.{name} is {value}, expected a whole number from 1 on'):
        check_schedule(cfg, LOADERS)
    check_schedule(cfg, ())  # evaluation
    cfg.train_cfg = {name: 1}
    check_schedule(cfg, LOADERS)


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        ('train_dataloader.batch_size', 0, 'batch_size is 0, expected a whole number from 1'),
        ('val_dataloader.batch_size', 1.5, 'val_dataloader.batch_size is 1.5'),
        ('train_dataloader.num_workers', -1, 'num_workers is -1, expected a whole number from 0'),
        (
            'train_dataloader.num_workers',
            0,
            'persistent_workers is True, but train_dataloader.num_workers is 0',
        ),
        ('train_cfg.max_epochs', None, 'train_cfg.max_epochs is None, expected'),
        ('train_cfg.val_interval', 0, 'train_cfg.val_interval is 0, expected a whole number from 1'),
        (
            'optim_wrapper.optimizer.lr',
            '1e-3',
            "optim_wrapper.optimizer.lr is '1e-3', expected a number from 0",
        ),
        ('optim_wrapper.optimizer.lr', -1, 'lr is -1, expected a number from 0'),
        ('optim_wrapper.optimizer.lr', 0, 'lr is 0: nothing would be learnt'),
        ('optim_wrapper.optimizer.lr', 1e9, 'optimizer.lr is 1000000000.0, with which weights grow without'),
        ('optim_wrapper.optimizer.lr', 1, 'lr is 1, .* usual for AdamW is 1e-4 to 1e-3'),
        ('optim_wrapper.optimizer', dict(type='SGD', lr=100), 'lr is 100, .* usual for SGD is 1e-3 to 1'),
        ('optim_wrapper.optimizer', dict(type='SGD', lr=1, momentum=1), 'momentum is 1, .* is 0.9'),
        ('optim_wrapper.optimizer.weight_decay', 50, 'weight_decay is 50, with which'),
        (
            'optim_wrapper.paramwise_cfg',
            dict(custom_keys=dict(head=dict(lr_mult=1e9))),
            'custom_keys.head.lr_mult is 1000000000.0, expected a factor from 0 to 1000',
        ),
        ('optim_wrapper.clip_grad', dict(max_norm=0), 'clip_grad.max_norm is 0: nothing would be learnt'),
        ('default_hooks.checkpoint.save_best', 'coco/APP', "save_best is 'coco/APP', which .*but coco/AP, "),
        (
            'default_hooks.checkpoint.save_best',
            'PCK',
            "save_best is 'PCK', which val_evaluator does not give",
        ),
        ('val_evaluator.type', 'PCKAccuracy', "save_best is 'coco/AP', which .*but scores without a prefix"),
    ],
)
def test_values_that_do_not_fit(cfg, key, value, message):
    cfg.merge_from_dict({key: value})
    with pytest.raises(ValueError, match=message):
        check_schedule(cfg, LOADERS)


@pytest.mark.parametrize('best', ['auto', 'coco/AR', ['coco/AP', 'coco/AP .5'], None])
def test_scores_that_are_given(cfg, best):
    cfg.default_hooks.checkpoint.save_best = best
    check_schedule(cfg, LOADERS)


def test_rates_that_some_train_with(cfg):
    cfg.optim_wrapper.optimizer = dict(type='SGD', lr=30, momentum=0.99, weight_decay=0)
    cfg.optim_wrapper.paramwise_cfg = dict(bias_lr_mult=2, custom_keys=dict(head=dict(lr_mult=10)))
    cfg.optim_wrapper.clip_grad = dict(max_norm=0.1)
    check_schedule(cfg, LOADERS)
    cfg.optim_wrapper.optimizer = dict(type='DAdaptAdam', lr=1.0)  # finds its own
    check_schedule(cfg, LOADERS)


def test_two_optimizers(cfg):
    cfg.optim_wrapper = dict(
        generator=dict(optimizer=dict(lr=1e-3)), discriminator=dict(optimizer=dict(lr='fast'))
    )
    with pytest.raises(ValueError, match='optim_wrapper.discriminator.optimizer.lr is .fast.'):
        check_schedule(cfg, LOADERS)


def test_random_weights_are_said_once(cfg, caplog):
    cfg.model.backbone.init_cfg = None
    check_schedule(cfg, LOADERS)
    assert caplog.text.count('training starts from random weights: model.backbone has no init_cfg') == 1
    caplog.clear()
    cfg.resume = True
    check_schedule(cfg, LOADERS)
    cfg.resume, cfg.load_from = False, 'https://somewhere/x.pth'
    check_schedule(cfg, LOADERS)
    cfg.load_from = None
    cfg.model.backbone = dict(type='TruncatedBackbone', backbone=dict(type='timm', pretrained=True))
    check_schedule(cfg, LOADERS)
    assert not caplog.text
