"""An option either changes what is built or is an error; both ways of reading agree where there is none."""

import re
import subprocess
import sys
from pathlib import Path

import mmpose
import pytest
from mmengine.config import Config
from torch import nn

from mmhier.engine import settings
from mmhier.engine.preflight import check_config
from mmhier.engine.settings import check_custom_keys, load_settings

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
        ('default_hooks.weather.interval', 'checkpoint'),
        ('default_hooks.checkpoint.save_lst', 'save_last'),
        ('default_hooks.logger.intervals', 'interval'),
        ('env_cfg.cudnn_bench', 'cudnn_benchmark'),
        ('randomness.sed', 'seed'),
        ('env_cfg.dist_cfg.backnd', 'backend'),
        ('optim_wrapper.clip_grad.max_nrom', 'max_norm'),
        ('optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mutl', 'lr_mult'),
        ('optim_wrapper.generator.optimizer.lr', 'optimizer'),
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
        {'default_hooks.ema.type': 'EMAHook', 'default_hooks.ema.momentum': 0.001},
        {'default_hooks.ema.type': 'EMAHook', 'default_hooks.ema.priority': 49},
        {'optim_wrapper.paramwise_cfg.custom_keys.norm.lr_mult': 0.1},
        {'optim_wrapper.optimizer.type': 'Adam'},
        {'optim_wrapper.optimizer.lr': 1},
        {'default_hooks.visualization': None},
        {'val_evaluator': [dict(type='CocoMetric')]},
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
    monkeypatch.setattr('mmhier.engine.preflight.check_initial_weights', lambda model: None)
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


HRNET = 'body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py'
RTMPOSE = 'body_2d_keypoint/rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192.py'
STOCK = Path(mmpose.__file__).parent / '.mim' / 'configs'


@pytest.mark.parametrize(
    ('config', 'option', 'meant'),
    [
        (HRNET, 'model.backbone.extra.stage2.num_module', 'num_modules'),
        (HRNET, 'model.backbone.extra.stage5.num_modules', 'stage4'),
        (RTMPOSE, 'model.head.gau_cfg.drop_pth', 'drop_path'),
        (RTMPOSE, 'custom_hooks.0.momentumm', 'momentum'),
    ],
)
def test_a_key_that_looks_like_another_is_misspelt_wherever_its_reader_is(config, option, meant):
    with pytest.raises(ValueError, match=rf'{option}.*did you mean.*\b{meant}\b'):
        load_settings(str(STOCK / config), {option: 1})


@pytest.mark.parametrize(
    ('config', 'options'),
    [
        (HRNET, {'model.backbone.extra.upsample.mode': 'nearest'}),
        (RTMPOSE, {'custom_hooks.0.gamma': 1000, 'custom_hooks.0.interval': 2}),  # of the average
    ],
)
def test_keys_of_mmpose_configs_that_are_read_are_taken(config, options):
    load_settings(str(STOCK / config), options)


@pytest.mark.parametrize(
    ('option', 'value', 'text'),
    [
        ('model', 3, r'model is a dictionary; set its keys, as model\.'),
        ('model.head', 'dict(x=1)', 'model.head is a dictionary'),
        ('train_dataloader.dataset', 'x', 'train_dataloader.dataset is a dictionary'),
        ('train_dataloader', 'x', 'train_dataloader is a dictionary'),
        ('train_dataloader.dataset.pipeline.2', 'x', 'pipeline.2 is a dictionary'),
        ('train_dataloader.dataset.pipeline', ['x'], r'a list of dictionaries; set theirs, as .*pipeline\.0'),
        ('optim_wrapper.optimizer.lr', 'fast', "lr='fast': expected a number"),
        ('optim_wrapper.optimizer.lr', [0, 1], r'lr=\[0, 1\]: expected a number'),
        ('train_dataloader.batch_size', 'x', "batch_size='x': expected a number"),
        ('codec.input_size', 96, r'codec.input_size=96: expected 2 values, such as \(192, 256\)'),
        ('model.backbone.type', 'TruncatedSwim', "no 'TruncatedSwim'; did you mean TruncatedSwin"),
        ('optim_wrapper.optimizer.type', 'AdamV', "no 'AdamV'; did you mean .*Adam"),
        ('train_cfg.max_iters', 10, 'train_cfg has max_iters, but with by_epoch=True it takes max_epochs'),
    ],
)
def test_a_value_of_another_kind_is_an_error_before_anything_is_built(leaf, option, value, text):
    with pytest.raises(ValueError, match=text) as error:
        load_settings(leaf, {option: value})
    assert '\n' not in str(error.value)


def test_a_single_optimizer_beside_two_is_an_error(repo_root):
    file = str(repo_root / 'configs/hmr/swinhmr2_micro_s3_synth.py')
    with pytest.raises(ValueError, match="optim_wrapper has no 'optimizer'.*generator"):
        load_settings(file, {'optim_wrapper.optimizer.lr': 1})
    cfg = load_settings(
        file, {'optim_wrapper.generator.optimizer.lr': 1, 'optim_wrapper.clip_grad.max_norm': 1}
    )
    assert cfg.optim_wrapper.generator.optimizer.lr == 1


def test_every_variable_names_its_own_followers(tmp_path, monkeypatch):
    file = tmp_path / 'config.py'
    file.write_text("data_root = 'a/'\nepochs = 3\nunused = 1\nwork_dir = data_root + 'w'\n"
                    "train_cfg = dict(max_epochs=epochs)\nload_from = 'a/x.pth'\n")  # fmt: skip
    lines = []
    monkeypatch.setattr(settings, 'print_log', lambda line, **more: lines.append(line))
    load_settings(str(file), {'data_root': 'b/', 'epochs': 5})
    (root,) = [line for line in lines if 'data_root also sets' in line]
    (epochs,) = [line for line in lines if 'epochs also sets' in line]
    assert root.endswith('data_root also sets work_dir')
    assert epochs.endswith('epochs also sets train_cfg.max_epochs')
    assert any('data_root does not set load_from, which still begins with a/' in line for line in lines)
    with pytest.raises(ValueError, match='unused.*nothing is made from'):
        load_settings(str(file), {'data_root': 'b/', 'unused': 2})


def test_modules_named_by_an_option_are_imported(leaf, tmp_path, monkeypatch):
    (tmp_path / 'module_of_an_option.py').write_text('')
    monkeypatch.syspath_prepend(tmp_path)
    load_settings(leaf, {'custom_imports.imports': ['mmhier', 'module_of_an_option']})
    assert 'module_of_an_option' in sys.modules
    (tmp_path / 'module_of_another.py').write_text('')
    file = tmp_path / 'config.yaml'
    file.write_text('custom_imports:\n  imports: [mmhier]\n')
    load_settings(str(file), {'custom_imports.imports': ['mmhier', 'module_of_another']})
    assert 'module_of_another' in sys.modules


def test_a_pattern_of_custom_keys_has_to_be_in_the_name_of_a_parameter():
    model = nn.ModuleDict(dict(backbone=nn.Linear(1, 1), head=nn.Linear(1, 1)))
    name = 'optim_wrapper.paramwise_cfg.custom_keys.{}.lr_mult'
    check_custom_keys(model, {name.format('backbone'): 0.1, 'work_dir': 'x'})
    check_custom_keys(model, None)
    with pytest.raises(ValueError, match="no parameter .* 'bakcbone' in its name; did you mean backbone"):
        check_custom_keys(model, {name.format('bakcbone'): 0.1})


@pytest.mark.parametrize(
    ('option', 'value', 'expected'),
    [
        ('model.head.out_channels', 17.0, 'a whole number, such as 17'),
        ('model.head.out_channels', True, 'a whole number'),
        ('model.backbone.num_stages', 'three', 'a whole number, such as 3'),
        ('codec.sigma', 'wide', 'a number, such as 2'),
        ('default_hooks.logger.interval', 'often', 'a whole number'),
        ('resume', 'yes', 'True or False'),
        ('load_from', 5, 'text'),
        ('train_dataloader.batch_size', 2.5, 'a whole number'),
        ('train_dataloader.persistent_workers', 'no', 'True or False'),
        ('train_dataloader.dataset.data_prefix.img', 5, "text, such as 'train2017/'"),
        ('model.test_cfg.flip_test', 'never', 'True or False'),
        ('env_cfg.cudnn_benchmark', 'x', 'True or False'),
        ('env_cfg.dist_cfg.backend', 3, 'text'),
        ('randomness.seed', 'x', 'a whole number'),
        ('randomness.seed', 1.5, 'a whole number'),
        ('randomness', dict(seed='x'), 'a whole number'),
        ('optim_wrapper.clip_grad.max_norm', 'x', 'a number'),
        ('optim_wrapper.paramwise_cfg.num_layers', 3.5, 'a whole number'),
        ('optim_wrapper.paramwise_cfg.custom_keys.norm.lr_mult', 'x', 'a number'),
        ('auto_scale_lr.base_batch_size', 'x', 'a whole number'),
    ],
)
def test_a_value_that_its_reader_cannot_take(leaf, option, value, expected):
    with pytest.raises(ValueError, match=rf'{option}.*: expected {expected}') as error:
        load_settings(leaf, {option: value})
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(
    ('option', 'value'),
    [
        ('codec.sigma', 2.5),
        ('model.test_cfg.flip_test', 1),
        ('model.backbone.drop_path_rate', 0),
        ('default_hooks.checkpoint.save_best', 'coco/AR'),
        ('default_hooks.checkpoint.priority', 'LOW'),
        ('optim_wrapper.clip_grad.max_norm', 1),
        ('optim_wrapper.clip_grad.norm_type', 'inf'),
        ('train_dataloader.batch_size', 2),
        ('model.backbone.out_indices', [1, 2]),
        ('load_from', None),
    ],
)
def test_a_value_of_another_kind_that_its_reader_takes(leaf, option, value):
    load_settings(leaf, {option: value})


def test_a_kind_that_the_file_itself_has_is_taken(tmp_path):
    file = tmp_path / 'config.py'
    head = "dict(type='HeatmapHead', in_channels=8, out_channels=17.0, loss_cfg=dict(weight=1))"
    file.write_text(f'model = dict(head={head})\n')
    assert load_settings(str(file), {'model.head.out_channels': 18.0}).model.head.out_channels == 18.0
    load_settings(str(file), {'model.head.loss_cfg.weight': 0.5})
    with pytest.raises(ValueError, match='loss_cfg.weight=.half.: expected a number, such as 1'):
        load_settings(str(file), {'model.head.loss_cfg.weight': 'half'})
    with pytest.raises(ValueError, match='expected a whole number'):
        load_settings(str(file), {'model.head.in_channels': 9.0})


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('model = dict(', r'bad.py, line 1 cannot be read: SyntaxError'),
        ('x = 1 / 0', 'bad.py cannot be read: ZeroDivisionError'),
        ("_base_ = 'good.py'\nschedule = dict(x=1)", 'bad.py cannot be read: TypeError: schedule='),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, text, message):
    (tmp_path / 'good.py').write_text('schedule = [1]\n')
    (tmp_path / 'bad.py').write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        load_settings(str(tmp_path / 'bad.py'), None)
    assert '\n' not in str(error.value)


def test_a_module_that_is_not_there_is_named(tmp_path):
    (tmp_path / 'a.py').write_text(
        "custom_imports = dict(imports=['no_such_module'], allow_failed_imports=False)"
    )
    with pytest.raises(ImportError, match=r'a.py: .*no_such_module .custom_imports') as error:
        load_settings(str(tmp_path / 'a.py'), None)
    assert '\n' not in str(error.value)


@pytest.fixture
def child(repo_root, tmp_path):
    """Writes a config file on top of the micro config."""

    def write(text, base=repo_root / 'configs/hpe/swinpose_micro_s3_synth.py', name='child.py'):
        file = tmp_path / name
        file.write_text(f"_base_ = ['{base}']\n{text}\n" if name.endswith('.py') else text.format(base=base))
        return str(file)

    return write


CODEC = "codec = dict(type='UDPHeatmap', input_size=(128, 96), heatmap_size=(32, 24), sigma=1.5)"


@pytest.mark.parametrize(
    ('text', 'place', 'remedy'),
    [
        (
            "data_root = 'data/own/'",
            r"train_dataloader\.dataset\.data_root is still 'data/synth/'.* \(as are \d+ more\)",
            'data_root=',
        ),
        (CODEC, r'dataset\.pipeline\.\d\.input_size .*is still \(96, 128\)', r'codec\.KEY='),
        ('max_epochs = 5', r'max_epochs is still 16.* \(as are \d more\)', 'max_epochs='),
        (
            "val_ann_file = 'own.json'",
            "is still 'annotations/person_keypoints_val.json'",
            'val_ann_file=',
        ),
    ],
)
def test_a_variable_set_after_the_base_has_used_it(child, text, place, remedy):
    expected = rf'{text.partition(" ")[0]} is set in .*child\.py.*{place}.*--cfg-options {remedy}'
    with pytest.raises(ValueError, match=expected):
        load_settings(child(text), None)
    with pytest.raises(ValueError, match=expected):
        load_settings(child('', child(text), 'grandchild.py'), {'randomness.seed': 1})


def test_a_pipeline_set_after_the_base_has_used_it(child, monkeypatch):
    """Published configs of MMPose do that, and set a codec which only such pipelines are made from."""
    said = []
    monkeypatch.setattr(settings, 'print_log', lambda message, **_: said.append(message))
    file = child(f"{CODEC}\nval_pipeline = [dict(type='TopdownAffine', input_size=codec['input_size'])]")
    assert load_settings(file, None).to_dict() == Config.fromfile(file).to_dict()
    (warning,) = said
    assert re.match(r'val_pipeline is set in .*child\.py, but val_dataloader\.dataset\.pipeline is', warning)


def test_a_variable_that_a_file_in_yaml_sets_after_the_base_has_used_it(child):
    with pytest.raises(ValueError, match=r"data_root is set in .*child\.yaml.*'data/synth/'"):
        load_settings(child('_base_: {base}\ndata_root: data/own/\n', name='child.yaml'), None)


def test_the_remedies_of_a_variable_set_too_late(child):
    cfg = load_settings(child("data_root = 'data/own/'"), {'data_root': 'data/own/'})
    assert 'data/synth' not in str(cfg.to_dict())
    options = {f'{name}_dataloader.dataset.data_root': 'data/own/' for name in ('train', 'val', 'test')}
    options |= {f'{name}_evaluator.ann_file': 'val.json' for name in ('val', 'test')}
    cfg = load_settings(child("data_root = 'data/own/'"), options)
    assert cfg.train_dataloader.dataset.data_root == 'data/own/'
    sets_all = '\n'.join(
        f"{name}_dataloader = dict(dataset=dict(data_root='{name}/'))\n"
        f"{name}_evaluator = dict(ann_file='{name}.json')"
        for name in ('val', 'test')
    )
    text = f"data_root = 'own/'\ntrain_dataloader = dict(dataset=dict(data_root='train/'))\n{sets_all}"
    cfg = load_settings(child(text), None)
    assert (cfg.data_root, cfg.train_dataloader.dataset.data_root) == ('own/', 'train/')


@pytest.mark.parametrize(
    'text',
    [
        "data_root = 'own/'\ntrain_dataloader = dict(dataset=dict(data_root=data_root))",
        "data_root = 'own/'\nsets = dict(data_root=data_root)\ntrain_dataloader = dict(dataset=sets)",
        "data_root = 'data/synth/'",
        "other = 'own/'",
    ],
)
def test_a_variable_that_is_used_or_the_same_is_taken(child, text):
    assert load_settings(child(text), None).to_dict() == Config.fromfile(child(text)).to_dict()


def test_no_config_sets_a_variable_too_late(repo_root):
    for file in sorted((repo_root / 'configs').glob('h*/*.py')):
        load_settings(str(file), None)


def test_a_checkpoint_is_enough_to_name_initial_weights(repo_root):
    """Where a config has no init_cfg, too: the form that the pages recommend without a network."""
    file = str(repo_root / 'configs/hpe/swinpose_micro_s3_synth.py')
    cfg = load_settings(file, {'model.backbone.init_cfg.checkpoint': 'a.pth'})
    assert cfg.model.backbone.init_cfg == dict(type='Pretrained', checkpoint='a.pth')
