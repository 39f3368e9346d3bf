"""Paths and sizes are checked before anything is built."""

import copy
import json

import pytest
from mmengine.config import Config

from mmhier.engine import preflight
from mmhier.engine.preflight import check_config

LOADERS = ('train_dataloader',)


@pytest.fixture
def cfg(tmp_path):
    (tmp_path / 'images').mkdir()
    (tmp_path / 'people.json').write_text(json.dumps({}))
    dataset = dict(data_root=f'{tmp_path}/', ann_file='people.json', data_prefix=dict(img='images/'))
    return Config(
        dict(
            train_dataloader=dict(dataset=dataset),
            model=dict(
                neck=dict(type='ResolutionNeck'),
                head=dict(
                    deconv_out_channels=(8, 8), decoder=dict(input_size=(192, 256), heatmap_size=(48, 64))
                ),
            ),
        )
    )


def test_good_config_passes(cfg):
    check_config(cfg, LOADERS)


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('ann_file', 'nobody.json'),
        ('bbox_file', '/nowhere/boxes.json'),
        ('data_prefix', dict(img='nothing/')),
    ],
)
def test_missing_path_names_path_field_and_remedy(cfg, key, value):
    cfg.train_dataloader.dataset[key] = value
    with pytest.raises(FileNotFoundError) as error:
        check_config(cfg, LOADERS)
    message = str(error.value)
    assert (value['img'] if isinstance(value, dict) else value) in message
    assert f'train_dataloader.dataset.{key}' in message and '--cfg-options' in message


@pytest.mark.parametrize(
    'optim_wrapper',
    [
        dict(type='AmpOptimWrapper', optimizer=dict(type='SGD')),
        dict(constructor='AdversarialConstructor', generator=dict(type='AmpOptimWrapper'), discriminator={}),
    ],
)
def test_mixed_precision_needs_a_gpu(cfg, monkeypatch, optim_wrapper):
    cfg.optim_wrapper = optim_wrapper
    monkeypatch.setattr(preflight, 'get_device', lambda: 'cuda')
    check_config(cfg, LOADERS)
    monkeypatch.setattr(preflight, 'get_device', lambda: 'cpu')
    with pytest.raises(ValueError, match='mixed precision .*--amp.* needs a GPU'):
        check_config(cfg, LOADERS)
    check_config(cfg, ())  # evaluation


@pytest.mark.parametrize('wrapper', [dict(dataset=None), dict(datasets=[None])])
def test_wrapped_data_sets_are_checked(cfg, wrapper):
    broken = copy.deepcopy(cfg.train_dataloader.dataset)
    broken.ann_file = 'nobody.json'
    key, value = next(iter(wrapper.items()))
    cfg.train_dataloader.dataset = {'type': 'Wrapper', key: [broken] if isinstance(value, list) else broken}
    with pytest.raises(FileNotFoundError, match=rf'dataset\.{key}(\.0)?\.ann_file'):
        check_config(cfg, LOADERS)


def test_only_the_loaders_in_use_are_checked(cfg):
    cfg.val_dataloader = dict(dataset=dict(ann_file='/nowhere.json'))
    check_config(cfg, LOADERS)
    with pytest.raises(FileNotFoundError):
        check_config(cfg, (*LOADERS, 'val_dataloader'))


@pytest.mark.parametrize(
    ('input_wh', 'heatmap_wh', 'message'),
    [((192, 250), (48, 64), 'not a multiple of 16'), ((192, 256), (64, 48), r'gives \(48, 64\)')],
)
def test_sizes_that_do_not_fit(cfg, input_wh, heatmap_wh, message):
    cfg.model.head.decoder = dict(input_size=input_wh, heatmap_size=heatmap_wh)
    with pytest.raises(ValueError, match=message):
        check_config(cfg, LOADERS)


@pytest.mark.parametrize('sigma', [-1, 0, (6.0, -6.93)])
def test_a_sigma_that_makes_no_peak(cfg, sigma):
    cfg.model.head.decoder.sigma = sigma
    with pytest.raises(ValueError, match='codec.sigma is .*, expected a number of heatmap pixels above 0'):
        check_config(cfg, LOADERS)


def test_missing_initial_weights_name_the_remedy(cfg, tmp_path):
    cfg.model.backbone = dict(type='X', init_cfg=dict(type='Pretrained', checkpoint='pretrained/nobody.pth'))
    with pytest.raises(FileNotFoundError, match=r'pretrained/nobody\.pth.*init_cfg=None starts from random'):
        check_config(cfg, LOADERS)
    check_config(cfg, ('test_dataloader',))  # a checkpoint replaces them
    cfg.model.backbone.init_cfg.checkpoint = str(tmp_path / 'people.json')
    check_config(cfg, LOADERS)
    cfg.model.backbone.init_cfg = [dict(type='TruncNormal', layer='Linear')]
    check_config(cfg, LOADERS)


def _mesh_config(**model):
    model = dict(type='TopdownMeshEstimator', mocap=dict(ann_file='nobody.npz'), **model)
    return Config(dict(model=model, optim_wrapper=dict(constructor='AdversarialConstructor')))


def test_a_missing_body_model_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(tmp_path))
    with pytest.raises(FileNotFoundError, match='SMPL neutral is not installed.*mmhier body-model setup'):
        check_config(_mesh_config(body_model='neutral'), ('test_dataloader',))


def test_the_prior_of_a_mesh_model():
    check_config(_mesh_config(), ('test_dataloader',))
    with pytest.raises(FileNotFoundError, match='nobody.npz does not exist .model.mocap.ann_file'):
        check_config(_mesh_config(), ('train_dataloader',))
    cfg = _mesh_config()
    cfg.optim_wrapper = dict(type='OptimWrapper')
    with pytest.raises(ValueError, match='needs two optimizers'):
        check_config(cfg, ('train_dataloader',))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'neck.in_channels': 96}, r'neck.in_channels is 96, but model.backbone \(TruncatedSwin\) gives 128'),
        ({'neck.in_stride': 32}, r'neck.in_stride is 32, but .* a map at 1/16 of the image: set'),
        ({'head.in_channels': 96}, r'head.in_channels is 96, but model.neck gives 128 channels: set'),
        ({'neck': None, 'head.in_channels': 64}, r'head.in_channels is 64, but model.backbone .* gives 128'),
    ],
)
def test_channels_are_checked_before_anything_is_built(repo_root, changes, message):
    cfg = Config.fromfile(repo_root / 'configs/hpe/swinpose_micro_s3_synth.py')
    cfg.merge_from_dict({f'model.{key}': value for key, value in changes.items()})
    with pytest.raises(ValueError, match=f'model.{message}'):
        check_config(cfg, ())


@pytest.mark.parametrize('backbone', [dict(type='ResNet', depth=18), dict(type='TruncatedSwin', arch='none')])
def test_a_backbone_that_says_nothing_of_its_channels_is_left_to_the_run(repo_root, backbone):
    cfg = Config.fromfile(repo_root / 'configs/hpe/swinpose_micro_s3_synth.py')
    cfg.model.backbone = backbone
    check_config(cfg, ())


def test_the_channels_of_every_family_fit(repo_root):
    for file in sorted((repo_root / 'configs').glob('h*/*_synth.py')):
        model = Config.fromfile(file).model
        backbone = preflight._without_weights(model.backbone)
        assert next(backbone.parameters()).is_meta
        preflight.check_channels(backbone, model)
