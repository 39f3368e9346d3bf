"""The optimizer constructor: rates by hand, and agreement with MMPose's constructor on a ViT."""

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmpose.registry import MODELS
from torch import nn

from mmhier.engine.layer_decay import LayerIdDecayConstructor


class _Backbone(nn.Module):
    """Three blocks named in a way that no prefix rule would guess."""

    num_layers = 3

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(2, 2)
        self.blocks = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
        self.norm = nn.LayerNorm(2)
        self.bias_table = nn.Parameter(torch.zeros(4, 2))

    def no_weight_decay(self) -> set[str]:
        return {'bias_table'}

    def layer_id(self, name: str) -> int:
        if name.startswith('blocks.'):
            return int(name.split('.')[1]) + 1
        return {'embed': 0, 'norm': 4, 'bias_table': 1}[name.split('.')[0]]


class _Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = _Backbone()
        self.head = nn.Linear(2, 2)


def _wrapper_cfg(**paramwise):
    return ConfigDict(
        optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1),
        constructor='mmpose.LayerIdDecayConstructor',
        paramwise_cfg=paramwise,
    )


def _settings(model, wrapper):
    """Map every parameter's name to its (lr, weight decay)."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return {
        names[id(parameter)]: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
        for parameter in group['params']
    }


def test_rates_by_hand():
    model = _Model()
    custom_keys = dict(head=dict(lr_mult=2.0))
    found = _settings(
        model, build_optim_wrapper(model, _wrapper_cfg(layer_decay_rate=0.5, custom_keys=custom_keys))
    )
    assert len(found) == len(list(model.parameters()))
    expected = {
        'backbone.embed.weight': (0.5**4, 0.1),
        'backbone.embed.bias': (0.5**4, 0.0),
        'backbone.blocks.0.weight': (0.5**3, 0.1),
        'backbone.blocks.2.weight': (0.5, 0.1),
        'backbone.norm.weight': (1.0, 0.0),
        'backbone.bias_table': (0.5**3, 0.0),
        'head.weight': (2.0, 0.1),
        'head.bias': (2.0, 0.0),
    }
    for name, (lr, decay) in expected.items():
        assert found[name] == pytest.approx((lr, decay)), name


def test_each_part_is_asked_what_does_not_decay():
    model = _Model()
    model.head.no_weight_decay = lambda: {'weight'}
    found = _settings(model, build_optim_wrapper(model, _wrapper_cfg(layer_decay_rate=0.5)))
    assert {name for name, (_, decay) in found.items() if decay == 0 and not name.endswith('.bias')} == {
        'backbone.norm.weight', 'backbone.bias_table', 'head.weight',
    }  # fmt: skip


# What schedules listed before each part was asked: a parameter with one of these in its name does not decay.
WITHOUT_DECAY = ('relative_position_bias_table', 'pos_embed', 'A_logs', 'dt_projs_bias')
# One of each family, by its folder.
FAMILIES = (
    'hpe/swinpose_t_s2_coco', 'hpe/gmfpose_t_s3_coco', 'hpe/vmpose_t_s2_coco', 'hpe/vitpose_s_coco',
    'hpe/convnextpose_t_s3_coco', 'hpe/pvtv2pose_b2_s3_coco', 'hpe/swinpose_micro_s3_synth',
    'hmr/hmr2_s_synth', 'hmr/gmfhmr2_t_s3_synth', 'hmr/vmhmr2_t_s3_synth', 'hmr/swinhmr2_micro_s3_synth',
)  # fmt: skip


@pytest.mark.parametrize('name', FAMILIES)
def test_what_decays_is_what_the_schedules_listed(repo_root, name):
    """Learning rate and decay of every parameter, in every family, worked out from its name."""
    cfg = Config.fromfile(repo_root / 'configs' / f'{name}.py')
    if cfg.model.backbone.type == 'TruncatedBackbone':
        pytest.importorskip('timm')
    settings = cfg.optim_wrapper.get('generator', cfg.optim_wrapper)
    rate, optimizer = settings.paramwise_cfg.layer_decay_rate, settings.optimizer
    model = nn.Module()
    cfg.model.backbone.pop('init_cfg', None)
    with torch.device('meta'):
        model.backbone = MODELS.build(cfg.model.backbone, default_args=dict(_scope_='mmpose'))
        model.head = MODELS.build(cfg.model.head, default_args=dict(_scope_='mmpose'))
    groups = []
    LayerIdDecayConstructor(settings, settings.paramwise_cfg).add_params(groups, model)
    found = {id(p): (group['lr'], group['weight_decay']) for group in groups for p in group['params']}
    assert len(found) == len(list(model.parameters()))
    depth, listed = model.backbone.num_layers, 0
    for key, parameter in model.named_parameters():
        part, _, rest = key.partition('.')
        layer = model.backbone.layer_id(rest) if part == 'backbone' else depth + 1
        named = any(word in key for word in WITHOUT_DECAY)
        listed += named
        decays = not (named or parameter.ndim == 1 or key.endswith('.bias'))
        expected = optimizer.lr * rate ** (depth + 1 - layer), optimizer.weight_decay * decays
        assert found[id(parameter)] == pytest.approx(expected), key
    assert listed or name.partition('/')[2].startswith(('gmf', 'convnext', 'pvt'))


def test_rate_one_is_plain_adamw():
    model = _Model()
    rates = {
        lr
        for lr, _ in _settings(model, build_optim_wrapper(model, _wrapper_cfg(layer_decay_rate=1.0))).values()
    }
    assert rates == {1.0}


def test_frozen_parameters_are_left_out():
    model = _Model()
    model.backbone.embed.requires_grad_(False)
    found = _settings(model, build_optim_wrapper(model, _wrapper_cfg(layer_decay_rate=0.5)))
    assert not any(name.startswith('backbone.embed') for name in found)
    assert 'head.weight' in found


@pytest.mark.parametrize(
    ('paramwise', 'message'),
    [
        (dict(layer_decay_rate=0), r'\(0, 1\]'),
        (dict(layer_decay_rate=None), r'\(0, 1\]'),
        (dict(layer_decay_rate=0.8, num_layers=12), 'num_layers'),
    ],
)
def test_bad_arguments(paramwise, message):
    with pytest.raises(ValueError, match=message):
        LayerIdDecayConstructor(_wrapper_cfg(), paramwise)


def test_backbone_without_layers_is_named():
    model = _Model()
    model.backbone = nn.Linear(2, 2)
    with pytest.raises(ValueError, match='Linear'):
        build_optim_wrapper(model, _wrapper_cfg(layer_decay_rate=0.8))
