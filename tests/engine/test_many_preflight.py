"""Data sets, decoders, experts and metrics go together, or one error says what lacks its counterpart."""

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmhier.engine.data_preflight import check_data
from mmhier.engine.many_preflight import heads_of, parts_of
from mmhier.engine.name_preflight import check_names
from mmhier.engine.schedule_preflight import check_schedule
from mmhier.testing.pose_sets import write_pose_sets

LOADERS = ('train_dataloader', 'val_dataloader')


@pytest.fixture
def cfg(repo_root):
    init_default_scope('mmpose')
    return Config.fromfile(repo_root / 'configs' / 'multi' / 'vitpose_plus_s.py')


def parts(cfg):
    return [part for loader in LOADERS for part in parts_of(cfg, loader)]


def test_each_data_set_has_its_decoder_and_metric(cfg):
    found = parts(cfg)
    names = ['coco', 'aic', 'mpii', 'ap10k', 'apt36k', 'wholebody']
    assert [part.name for part in found] == 2 * names
    assert [part.head.out_channels for part in found[:6]] == [17, 14, 16, 17, 17, 133]
    assert found[8].evaluator.type == 'MpiiPCKAccuracy'
    assert found[7].field == 'val_dataloader.dataset.datasets.aic'
    check_names(cfg, LOADERS)
    check_schedule(cfg, LOADERS)


def test_an_ordinary_config_is_one_part(repo_root):
    cfg = Config.fromfile(repo_root / 'configs' / 'hpe' / 'vitpose_s_coco.py')
    (part,) = parts_of(cfg, 'train_dataloader')
    assert part.name is None and part.head is cfg.model.head and part.dataset is cfg.train_dataloader.dataset
    assert heads_of(cfg.model) == {None: cfg.model.head}


def test_what_has_no_counterpart_is_named(cfg):
    lacking = cfg.model.head.heads.pop('aic')
    with pytest.raises(
        ValueError, match=r'datasets has aic, for which model\.head\.heads has no decoder: .*coco, mpii'
    ):
        parts(cfg)
    cfg.model.head.heads.update(aic=lacking, lsp=lacking)
    with pytest.raises(ValueError, match=r'heads has lsp, for which train_dataloader.* has no data set'):
        parts(cfg)
    del cfg.model.head.heads['lsp']
    cfg.model.backbone.experts = ['coco', 'aic', 'mpii', 'ap10k', 'apt36k']
    with pytest.raises(
        ValueError, match=r'heads has wholebody, for which model\.backbone\.experts has no expert'
    ):
        parts(cfg)
    del cfg.model.backbone['experts']
    metric = cfg.val_evaluator.judges.pop('mpii')
    with pytest.raises(ValueError, match=r'has mpii, for which val_evaluator\.judges has no metric'):
        parts(cfg)
    cfg.val_evaluator.judges.mpii = metric
    del cfg.val_dataloader.dataset.datasets['mpii']
    with pytest.raises(ValueError, match=r'judges has mpii, for which val_dataloader.* has no data set'):
        parts(cfg)
    del cfg.val_evaluator.judges['mpii']
    assert len(parts(cfg)) == 6 + 5, 'a data set may be left out of an evaluation'
    cfg.train_dataloader.dataset = cfg.train_dataloader.dataset.datasets.coco
    with pytest.raises(
        ValueError, match="type='ManyDatasets' and model.head.type='DataSetHeads' go together"
    ):
        parts(cfg)


def test_unequal_numbers_of_keypoints_are_named(cfg, tmp_path):
    """Of the description of a data set and its decoder, before a file is read or a network built."""
    cfg.train_dataloader.dataset.datasets.pop('mpii')
    cfg.model.head.heads.pop('mpii')
    cfg.model.backbone.pop('experts')
    write_pose_sets(tmp_path, cfg.train_dataloader.dataset.datasets, cfg.keypoints)
    for described in cfg.train_dataloader.dataset.datasets.values():
        described.data_root = str(tmp_path / described.data_root)
    check_data(cfg, 'train_dataloader')
    cfg.model.head.heads.aic.out_channels = 17
    with pytest.raises(
        ValueError, match=r'heads\.aic\.out_channels is 17, but train_.*datasets\.aic has 14 keypoints'
    ):
        check_data(cfg, 'train_dataloader')


def test_slips_are_found_in_every_decoder_and_metric(cfg):
    cfg.model.head.heads.aic.out_chanels = 14
    with pytest.raises(
        ValueError, match=r"model\.head\.heads\.aic \(HeatmapHead\) has no 'out_chanels'.*out_channels"
    ):
        check_names(cfg, LOADERS)
    del cfg.model.head.heads.aic['out_chanels']
    cfg.val_evaluator.judges.aic.type = 'CocoMetrik'
    with pytest.raises(ValueError, match=r"val_evaluator\.judges\.aic\.type='CocoMetrik'.*CocoMetric"):
        check_names(cfg, LOADERS)
    cfg.val_evaluator.judges.aic.type = 'CocoMetric'
    cfg.train_dataloader.dataset.datasets.aic.type = 'AicDataest'
    with pytest.raises(ValueError, match=r"datasets\.aic\.type='AicDataest'.*AicDataset"):
        check_names(cfg, LOADERS)
