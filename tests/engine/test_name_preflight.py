"""Misspelt names are found before anything is built, wherever they stand, and stock configs are taken."""

import copy
from importlib.util import find_spec
from pathlib import Path

import mmpose
import pytest
from mmengine.config import Config

from mmhier.engine.name_preflight import check_names

LOADERS = ('train_dataloader', 'val_dataloader')
STOCK = Path(mmpose.__file__).parent / '.mim' / 'configs'
# Its _base_ is a file that MMPose does not ship; and one that gives PackPoseInputs what it does not take.
UNREADABLE, BROKEN = 'edpose_res50_8xb2-50e_coco-800x1333.py', 'yoloxpose_tiny_4xb64-300e_coco-416.py'


@pytest.fixture(scope='module')
def cfg(repo_root):
    return Config.fromfile(repo_root / 'configs/hpe/swinpose_micro_s3_synth.py')


def _changed(cfg, changes):
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict(changes)
    return cfg


def test_ours_are_taken(cfg):
    check_names(cfg, LOADERS)
    check_names(cfg, ('test_dataloader',))


@pytest.mark.parametrize(
    ('place', 'name', 'meant'),
    [
        ('model.type', 'TopDownPoseEstimator', 'TopdownPoseEstimator'),
        ('model.backbone.type', 'TruncatedSwim', 'TruncatedSwin'),
        ('model.neck.type', 'ResolutionNek', 'ResolutionNeck'),
        ('model.head.type', 'HeatMapHead', 'HeatmapHead'),
        ('model.head.loss.type', 'KeypointMSELos', 'KeypointMSELoss'),
        ('model.head.decoder.type', 'UDPHeatMap', 'UDPHeatmap'),
        ('model.data_preprocessor.type', 'PosePreprocessor', 'PoseDataPreprocessor'),
        ('train_dataloader.dataset.type', 'CocoDatset', 'CocoDataset'),
        ('train_dataloader.dataset.pipeline.0.type', 'LoadImag', 'LoadImage'),
        ('train_dataloader.dataset.pipeline.5.encoder.type', 'UDPHeatmp', 'UDPHeatmap'),
        ('train_dataloader.sampler.type', 'DefaultSamplr', 'DefaultSampler'),
        ('val_evaluator.type', 'CocoMetrik', 'CocoMetric'),
        ('optim_wrapper.optimizer.type', 'AdmW', 'AdamW'),
        ('optim_wrapper.type', 'OptimWraper', 'OptimWrapper'),
        ('optim_wrapper.constructor', 'LayerIdDecayConstruktor', 'LayerIdDecayConstructor'),
        ('param_scheduler.0.type', 'LinearRL', 'LinearLR'),
        ('default_hooks.checkpoint.type', 'CheckpointHok', 'CheckpointHook'),
        ('visualizer.type', 'PoseLocalVisualizr', 'PoseLocalVisualizer'),
    ],
)
def test_a_misspelt_type(cfg, place, name, meant):
    with pytest.raises(
        ValueError, match=rf"{place}='{name}': there is no such name; did you mean.* {meant}\b"
    ):
        check_names(_changed(cfg, {place: name}), LOADERS)


def test_a_hook_and_a_list_of_evaluators(cfg):
    with pytest.raises(ValueError, match="custom_hooks.0.type='EMAHok'.*EMAHook"):
        check_names(_changed(cfg, dict(custom_hooks=[dict(type='EMAHok')])), LOADERS)
    other = copy.deepcopy(cfg)
    other.val_evaluator = [dict(other.val_evaluator), dict(type='PCKAcuracy')]
    with pytest.raises(ValueError, match="val_evaluator.1.type='PCKAcuracy'.*PCKAccuracy"):
        check_names(other, LOADERS)
    check_names(other, ('train_dataloader',))


def test_a_class_of_one_s_own_needs_an_import(cfg):
    with pytest.raises(
        ValueError, match='MyNet.*registered by a module that the config imports: custom_imports'
    ):
        check_names(_changed(cfg, {'model.backbone.type': 'MyNet'}), LOADERS)
    with pytest.raises(ValueError, match='there is no package nowhere here. Install it'):
        check_names(_changed(cfg, {'model.backbone.type': 'nowhere.Net'}), LOADERS)
    with pytest.raises(ValueError, match="CocoMetric': there is one, but not among models"):
        check_names(_changed(cfg, {'model.backbone.type': 'CocoMetric'}), LOADERS)


@pytest.mark.parametrize(
    ('place', 'message'),
    [
        (
            'model.backbone.num_stage',
            r"model.backbone \(TruncatedSwin\) has no 'num_stage'; did you mean num_stages",
        ),
        (
            'model.head.in_chanels',
            r"model.head \(HeatmapHead\) has no 'in_chanels'; did you mean in_channels",
        ),
        ('train_dataloader.dataset.pipeline.1.paddings', "has no 'paddings'; did you mean padding"),
        ('optim_wrapper.optimizer.weight_decays', 'did you mean weight_decay'),
        ('train_dataloader.batchsize', "train_dataloader has no 'batchsize'; did you mean batch_size"),
        ('optim_wrapper.clip_grad.maxnorm', 'clip_grad has no .maxnorm.; did you mean max_norm'),
        ('train_cfg.max_epoch', 'train_cfg.*did you mean max_epochs'),
        ('val_evaluator.annfile', 'did you mean ann_file'),
    ],
)
def test_a_misspelt_key(cfg, place, message):
    with pytest.raises(ValueError, match=message):
        check_names(_changed(cfg, {place: 1}), LOADERS)


def test_a_misspelt_setting_is_no_variable_of_one_s_own(cfg):
    for name, meant in dict(train_dataloder='train_dataloader', optim_wraper='optim_wrapper').items():
        with pytest.raises(
            ValueError, match=f'the config sets {name}, which nothing reads; did you mean {meant}'
        ):
            check_names(_changed(cfg, {name: dict(x=1)}), LOADERS)
    check_names(_changed(cfg, dict(my_pipeline=[], train_data=dict(x=1))), LOADERS)


def test_what_others_may_read_is_a_warning(cfg, caplog):
    check_names(_changed(cfg, {'model.test_cfg.fliptest': True}), LOADERS)
    assert "model.test_cfg has no 'fliptest'; did you mean flip_test" in caplog.text


def test_what_is_built_has_a_type_and_its_arguments(cfg):
    other = copy.deepcopy(cfg)
    del other.model.backbone['type']
    with pytest.raises(ValueError, match='model.backbone has no type, only .*arch'):
        check_names(other, LOADERS)
    other = copy.deepcopy(cfg)
    del other.model.head['in_channels']
    with pytest.raises(ValueError, match=r'model.head \(HeatmapHead\) lacks in_channels'):
        check_names(other, LOADERS)
    with pytest.raises(ValueError, match="model.head.decoder is 'codec', expected a dictionary with a type"):
        check_names(_changed(cfg, {'model.head.decoder': 'codec'}), LOADERS)
    other = copy.deepcopy(cfg)
    other.default_hooks = [dict(type='LoggerHook')]
    with pytest.raises(ValueError, match='default_hooks is a list, expected a dictionary'):
        check_names(other, ())
    with pytest.raises(ValueError, match="default_scope is missing.*add default_scope = 'mmpose'"):
        check_names(_changed(cfg, dict(default_scope=None)), LOADERS)


@pytest.mark.parametrize(
    'name',
    [
        'body_2d_keypoint/topdown_heatmap/coco/td-hm_hrformer-small_8xb32-210e_coco-256x192.py',
        'body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_coarsedropout-8xb64-210e_coco-256x192.py',
        'body_2d_keypoint/cid/coco/cid_hrnet-w32_8xb20-140e_coco-512x512.py',
        'body_3d_keypoint/video_pose_lift/h36m/video-pose-lift_tcn-27frm-supv_8xb128-160e_h36m.py',
    ],
)
def test_some_of_mmpose_are_taken(name):
    cfg = Config.fromfile(STOCK / name)
    check_names(cfg, LOADERS)
    check_names(cfg, ('test_dataloader',))


@pytest.mark.slow
def test_all_of_mmpose_are_taken():
    """But for those that need a package which is not installed: then it is named."""
    checked, absent = 0, set()
    for path in sorted(STOCK.rglob('*.py')):
        if '_base_' in path.parts or path.name == UNREADABLE:
            continue
        cfg = Config.fromfile(path)
        for loaders in (LOADERS, ('test_dataloader',)):
            try:
                check_names(cfg, loaders)
            except ValueError as error:
                if path.name == BROKEN and 'extra_mapping_labels' in str(error):
                    continue
                assert 'there is no package ' in str(error), f'{path}: {error}'
                absent.add(str(error).partition('there is no package ')[2].split()[0])
        checked += 1
    assert checked == 407
    assert absent == {name for name in ('mmdet', 'mmcls') if find_spec(name) is None}
