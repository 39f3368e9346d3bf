"""Weights that fit pass; any difference is told by name."""

from types import SimpleNamespace

import pytest
from torch import nn

from mmhier.engine.checkpoint_match import CheckpointMatchHook, describe_mismatch


def _weights(width=3):
    return nn.Sequential(nn.Linear(2, width), nn.Linear(width, 1)).state_dict()


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_equal_weights_fit(prefix):
    assert describe_mismatch(_weights(), {prefix + name: value for name, value in _weights().items()}) == ''


def test_every_kind_of_difference_is_named():
    model, weights = _weights(), _weights(width=4)
    weights['2.weight'] = weights.pop('1.bias')
    text = describe_mismatch(model, weights)
    assert '1 missing (1.bias)' in text and '1 unknown (2.weight)' in text
    assert '0.weight is (4, 2) instead of (3, 2)' in text


def test_long_lists_are_cut():
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(5))).state_dict()
    assert describe_mismatch(model, {}).startswith('10 missing') and 'and 6 more' in describe_mismatch(
        model, {}
    )


def test_the_discriminator_is_needed_by_training_alone():
    model = nn.ModuleDict(dict(backbone=nn.Linear(2, 2), discriminator=nn.Linear(2, 1)))
    runner = SimpleNamespace(model=model, _load_from='model.pth')
    without = {name: value for name, value in model.state_dict().items() if 'discriminator' not in name}
    CheckpointMatchHook(testing=True).after_load_checkpoint(runner, dict(state_dict=without))
    with pytest.raises(ValueError, match=r'2 missing \(discriminator'):
        CheckpointMatchHook().after_load_checkpoint(runner, dict(state_dict=without))
    half = {**without, 'discriminator.bias': model['discriminator'].bias.detach()}
    with pytest.raises(ValueError, match=r'1 missing \(discriminator\.weight'):
        CheckpointMatchHook(testing=True).after_load_checkpoint(runner, half)


def load_for_fine_tuning(weights):
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    runner = SimpleNamespace(model=model, _load_from='weights.pth', _resume=False)
    CheckpointMatchHook(fine_tuning=True).after_load_checkpoint(runner, dict(state_dict=weights))


@pytest.mark.parametrize('prefix', ['backbone.', 'model.'])
def test_fine_tuning_does_not_begin_with_random_weights(prefix):
    weights = {prefix + name: value for name, value in _weights().items()}
    with pytest.raises(ValueError, match=r'nothing of weights.pth fits.*4 missing.*4 unknown'):
        load_for_fine_tuning(weights)
    with pytest.raises(ValueError, match=r'nothing of weights.pth fits'):
        load_for_fine_tuning({})


def test_fine_tuning_takes_what_fits():
    load_for_fine_tuning(_weights(width=4))
    load_for_fine_tuning({'module.0.weight': _weights()['0.weight']})
