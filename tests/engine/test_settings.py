"""An option either changes what is built or is an error; both ways of reading agree where there is none."""

import subprocess
import sys

import pytest
from mmengine.config import Config

from mmhier.engine.preflight import check_config
from mmhier.engine.settings import load_settings

LEAF = 'configs/hpe/swinpose_s_s3_coco.py'


@pytest.fixture
def leaf(repo_root):
    return str(repo_root / LEAF)


def test_without_options_it_is_the_file(leaf):
    assert load_settings(leaf, None).to_dict() == Config.fromfile(leaf).to_dict()


def test_what_is_made_from_a_variable_follows(leaf):
    cfg = load_settings(leaf, {'data_root': 'elsewhere/'})
    assert cfg.train_dataloader.dataset.data_root == 'elsewhere/'
    assert cfg.test_dataloader.dataset.bbox_file.startswith('elsewhere/person_detection_results/')
    assert cfg.val_evaluator.ann_file == 'elsewhere/annotations/person_keypoints_val2017.json'
    assert 'data/coco' not in str(cfg.to_dict())


def test_a_codec_is_changed_everywhere_also_in_files_that_inherit_it(leaf):
    options = {'codec.input_size': (288, 384), 'codec.heatmap_size': (72, 96), 'codec.sigma': 3}
    cfg = load_settings(leaf, options)
    (encoder,) = [t['encoder'] for t in cfg.train_dataloader.dataset.pipeline if 'encoder' in t]
    assert encoder == cfg.model.head.decoder == cfg.codec
    assert (encoder.input_size, encoder.sigma) == ((288, 384), 3)
    sizes = [t['input_size'] for t in cfg.test_dataloader.dataset.pipeline if 'input_size' in t]
    assert sizes == [(288, 384)]


def test_an_option_wins_over_what_follows(leaf):
    cfg = load_settings(leaf, {'data_root': 'a/', 'val_dataloader.dataset.data_root': 'b/'})
    roots = [cfg[f'{name}_dataloader'].dataset.data_root for name in ('train', 'val', 'test')]
    assert roots == ['a/', 'b/', 'b/'], 'test_dataloader is made from val_dataloader'


@pytest.mark.parametrize(
    ('option', 'meant'),
    [
        ('dataroot', 'data_root'),
        ('optim_wrapper.clip_grads', 'clip_grad'),
        ('optim_wrapper.optimizer.learning_rate', 'lr'),
        ('optim_wrapper.paramwise_cfg.layer_decay', 'layer_decay_rate'),
        ('train_cfg.max_epoch', 'max_epochs'),
        ('train_dataloader.batchsize', 'batch_size'),
        ('train_dataloader.dataset.annfile', 'ann_file'),
        ('train_dataloader.dataset.data_prefix.imgs', 'img'),
        ('model.backbone.num_stage', 'num_stages'),
        ('model.head.loss.use_target_weights', 'use_target_weight'),
        ('model.test_cfg.flip_tests', 'flip_test'),
        ('default_hooks.checkpont.interval', 'checkpoint'),
        ('default_hooks.checkpoint.save_lst', 'save_last'),
        ('default_hooks.logger.intervals', 'interval'),
        ('env_cfg.cudnn_bench', 'cudnn_benchmark'),
        ('randomness.sed', 'seed'),
        ('auto_scale_lr.base_batchsize', 'base_batch_size'),
        ('val_evaluator.annfile', 'ann_file'),
    ],
)
def test_a_misspelt_key_is_an_error_with_what_was_meant(leaf, option, meant):
    with pytest.raises(ValueError, match=rf'{option}.*has no.*\b{meant}\b'):
        load_settings(leaf, {option: 1})


@pytest.mark.parametrize(
    'options',
    [
        {'train_dataloader.prefetch_factor': 4},
        {'optim_wrapper.accumulative_counts': 2},
        {'optim_wrapper.type': 'AmpOptimWrapper', 'optim_wrapper.dtype': 'bfloat16'},
        {'optim_wrapper.optimizer.type': 'SGD', 'optim_wrapper.optimizer.momentum': 0.9},
        {'default_hooks.ema': dict(type='EMAHook')},
        {'default_hooks.checkpoint.save_last': False},
        {'visualizer.vis_backends.0.type': 'TensorboardVisBackend'},
        {'find_unused_parameters': True},
        {'model.backbone.init_cfg': None},
        {'model.test_cfg.output_heatmaps': True},
        {'train_dataloader.dataset.indices': 8},
        {'experiment_name': 'second'},
        {'data_root': 'data/coco/'},
    ],
)
def test_keys_that_are_read_are_taken(leaf, options):
    cfg = load_settings(leaf, options)
    for name, value in options.items():
        place = cfg
        for key in name.split('.'):
            place = place[int(key) if key.isdigit() else key]
        assert place == value


def test_a_variable_that_nothing_is_made_from(tmp_path):
    file = tmp_path / 'config.py'
    file.write_text("data_root = 'a/'\nroot = data_root\nwork_dir = 'x'\n")
    with pytest.raises(ValueError, match='data_root.*nothing is made from'):
        load_settings(str(file), {'data_root': 'b/'})


def test_a_file_whose_variables_cannot_be_followed(tmp_path):
    file = tmp_path / 'config.yaml'
    file.write_text('root: a/\nload_from: a/x.pth\n')
    with pytest.raises(ValueError, match='root.*set what should change itself'):
        load_settings(str(file), {'root': 'b/'})
    assert load_settings(str(file), {'load_from': 'y.pth'}).load_from == 'y.pth'


def test_place_that_is_not_there(leaf):
    with pytest.raises(ValueError, match=r'param_scheduler\.5\.end.*do not fit'):
        load_settings(leaf, {'param_scheduler.5.end': 3})


def test_decoder_and_targets_of_two_codecs(leaf, monkeypatch):
    monkeypatch.setattr('mmhier.engine.preflight._check_paths', lambda *arguments: None)
    monkeypatch.setattr('mmhier.engine.preflight.check_data', lambda *arguments: None)
    monkeypatch.setattr('mmhier.engine.preflight._check_initial_weights', lambda backbone: None)
    loaders = ('train_dataloader', 'val_dataloader')
    check_config(load_settings(leaf, {'codec.sigma': 3}), loaders)
    with pytest.raises(ValueError, match=r'pipeline\.6\.encoder has sigma=2.*decoder sigma=3'):
        check_config(load_settings(leaf, {'model.head.decoder.sigma': 3}), loaders)
    with pytest.raises(ValueError, match=r'encoder is a UDPHeatmap.*decoder a MSRAHeatmap'):
        check_config(load_settings(leaf, {'model.head.decoder.type': 'MSRAHeatmap'}), loaders)
    other = {'val_dataloader.dataset.pipeline.2.input_size': (288, 384)}
    with pytest.raises(ValueError, match=r'val_dataloader.*\(288, 384\).*decoder \(192, 256\)'):
        check_config(load_settings(leaf, other), loaders)
    check_config(load_settings(leaf, {'model.head.decoder.blur_kernel_size': 7}), loaders)


def test_the_command_says_it(repo_root):
    command = [sys.executable, 'tools/train.py', LEAF, '--cfg-options', 'train_cfg.max_epoch=1']
    result = subprocess.run(command, cwd=repo_root, capture_output=True, text=True)
    assert result.returncode == 1
    assert "train_cfg has no 'max_epoch'; did you mean max_epochs" in result.stderr
    assert 'Traceback' not in result.stderr
