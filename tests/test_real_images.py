"""Real photographs: memorising four COCO images proves targets, losses, decoding and evaluation together."""

import json
import subprocess
import sys

import pytest

CONFIG = """
_base_ = '{parent}'

data_root = '{root}/'
codec = dict(type='UDPHeatmap', input_size={input_wh}, heatmap_size={heatmap_wh}, sigma=2)
pipeline = [
    dict(type='LoadCheckedImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size'], use_udp=True),
]
data = dict(data_root=data_root, ann_file='test_coco.json', data_prefix=dict(img=''))
loader = dict(num_workers=0, persistent_workers=False)
train_pipeline = [*pipeline, dict(type='GenerateTarget', encoder=codec), dict(type='PackPoseInputs')]
val_pipeline = [*pipeline, dict(type='PackPoseInputs')]
train_dataloader = dict(batch_size=6, dataset=dict(pipeline=train_pipeline, **data), **loader)
val_dataloader = dict(batch_size=12, dataset=dict(pipeline=val_pipeline, bbox_file=None, **data), **loader)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'test_coco.json')
test_evaluator = val_evaluator

backbone = dict(_delete_=True, type='TruncatedSwin', arch={arch}, num_stages=3, drop_path_rate=0.0)
model = dict(backbone=backbone, {neck_and_head} test_cfg=dict(flip_test=False))
train_cfg = dict(max_epochs={epochs}, val_interval={epochs})
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.0), paramwise_cfg=dict(layer_decay_rate=1.0))
param_scheduler = [
    dict(type='LinearLR', begin=0, end=10, start_factor=0.01, by_epoch=False),
    dict(type='CosineAnnealingLR', begin=0, end={epochs}, by_epoch=True, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(interval={epochs}), logger=dict(interval=1000))
randomness = dict(seed=0)
"""
SMALL = dict(
    input_wh=(96, 128),
    heatmap_wh=(24, 32),
    epochs=80,
    arch='dict(embed_dims=32, depths=[1, 1, 2], num_heads=[1, 2, 4], window_size=4)',
    neck_and_head='neck=dict(in_channels=128, out_channels=128), '
    'head=dict(in_channels=128, deconv_out_channels=(64, 64), decoder=codec),',
)
TINY = dict(input_wh=(192, 256), heatmap_wh=(48, 64), epochs=100, arch="'tiny'", neck_and_head='')


def _memorise(repo_root, sample_data, folder, settings):
    """Train on the four images, test through tools/test.py; return metrics and the prediction file."""
    config = folder / 'memorise.py'
    parent = repo_root / 'configs' / 'hpe' / 'swinpose_t_s3_coco.py'
    config.write_text(CONFIG.format(parent=parent, root=sample_data / 'coco', **settings))
    train = [sys.executable, repo_root / 'tools' / 'train.py', config, '--work-dir', folder / 'work']
    subprocess.run(train, check=True, cwd=repo_root, capture_output=True)
    checkpoint = folder / 'work' / f'epoch_{settings["epochs"]}.pth'
    test = [
        sys.executable,
        repo_root / 'tools' / 'test.py',
        config,
        checkpoint,
        '--out',
        folder / 'metrics.json',
    ]
    options = ['--cfg-options', f'test_evaluator.outfile_prefix={folder}/results']
    subprocess.run(
        [*test, '--work-dir', folder / 'test', *options], check=True, cwd=repo_root, capture_output=True
    )
    return json.loads((folder / 'metrics.json').read_text()), folder / 'results.keypoints.json'


def _stats(evaluator_module, coco_module, annotation_file, result_file):
    """COCO statistics as the package named computes them."""
    truth = coco_module.COCO(str(annotation_file))
    evaluator = evaluator_module.COCOeval(truth, truth.loadRes(str(result_file)), 'keypoints')
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return list(evaluator.stats[:10])


@pytest.mark.parametrize(
    'settings', [SMALL, pytest.param(TINY, marks=pytest.mark.slow)], ids=['small', 'tiny']
)
def test_four_coco_images_are_memorised(repo_root, sample_data, tmp_path, settings):
    metrics, result_file = _memorise(repo_root, sample_data, tmp_path, settings)
    assert metrics['coco/AP'] >= 0.9
    from pycocotools import coco, cocoeval

    stats = _stats(cocoeval, coco, sample_data / 'coco' / 'test_coco.json', result_file)
    ours = [metrics[f'coco/{key}'] for key in ('AP', 'AP .5', 'AP .75', 'AP (M)', 'AP (L)', 'AR')]
    assert ours == pytest.approx(stats[:6], abs=1e-6)
    try:
        from xtcocotools import coco, cocoeval
    except ImportError:
        return  # has no wheel for this Python, or one built for another numpy
    if 'mmhier' in coco.__file__:
        return  # mmhier's stand-in for it, which is what has been tested above
    assert ours == pytest.approx(
        _stats(cocoeval, coco, sample_data / 'coco' / 'test_coco.json', result_file)[:6]
    )
