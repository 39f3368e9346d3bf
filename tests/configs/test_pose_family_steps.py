"""Every pose config builds, takes a training step and a test step, and can be scored."""

import gc

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpose.registry import DATASETS, METRICS, MODELS

from mmhier.testing.coco import write_dot_people
from mmhier.zoo.names import find_configs

PEOPLE = 2
ALL = [path.stem for path in find_configs(['*_coco', '*_synth'], task='hpe')]
# Steps of size S differ by depth only; test_every_recipe.py runs the smallest of each kind from the shell.
SMALL = [name for name in ALL if name.split('_')[1] in ('micro', 't', 'b2') or name == 'vitpose_s_coco']
LARGE = [name for name in ALL if name not in SMALL]


@pytest.fixture(scope='module')
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp('people')
    return write_dot_people(folder, 'val', PEOPLE), folder


def data_set(cfg, people, split):
    settings = cfg[f'{split}_dataloader'].dataset
    settings.update(data_root='', ann_file=str(people[0]), data_prefix=dict(img=f'{people[1]}/images/val/'))
    settings.pop('bbox_file', None)
    return DATASETS.build(settings)


def take_steps(name, people):
    init_default_scope('mmpose')
    torch.manual_seed(0)
    (path,) = find_configs([name])
    cfg = Config.fromfile(path)
    cfg.model.backbone.pop('init_cfg', None)
    model = MODELS.build(cfg.model)
    model.init_weights()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}

    train = data_set(cfg, people, 'train')
    model.train()
    losses = model.train_step(pseudo_collate([train[0], train[1]]), optimizer)
    assert losses['loss_kpt'].isfinite() and losses['loss_kpt'] > 0
    moments = {key: optimizer.optimizer.state[value]['exp_avg'] for key, value in model.named_parameters()}
    assert all(moment.isfinite().all() for moment in moments.values())
    # stochastic depth may drop a block for both images, and a gradient may be too small for float32
    moved = [key for key, value in model.named_parameters() if not torch.equal(value, before[key])]
    assert len(moved) > 0.8 * len(before)
    del before, optimizer, moments

    test = data_set(cfg, people, 'test')
    metric = METRICS.build(dict(cfg.test_evaluator, ann_file=str(people[0])))
    metric.dataset_meta = test.metainfo
    model.eval()
    with torch.no_grad():
        samples = model.test_step(pseudo_collate([test[index] for index in range(len(test))]))
    assert len(samples) == PEOPLE
    assert samples[0].pred_instances.keypoints.shape == (1, 17, 2)
    metric.process({}, [sample.to_dict() for sample in samples])
    assert 0 <= metric.evaluate(PEOPLE)['coco/AP'] <= 1


@pytest.mark.parametrize('name', SMALL)
def test_small_model(name, people):
    take_steps(name, people)


@pytest.mark.slow
@pytest.mark.parametrize('name', LARGE)
def test_large_model(name, people):
    gc.collect()
    take_steps(name, people)


def test_nothing_is_left_out():
    assert len(SMALL) + len(LARGE) == len(ALL) >= 35 and len(LARGE) >= 15
