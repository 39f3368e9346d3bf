"""A stock MMPose config with our backbone runs, and resumes, under MMPose's own ``tools/train.py``."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import mmpose
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = Path(mmpose.__file__).parent / '.mim' / 'tools' / 'train.py'

# What a user adds to the stock config (custom_imports and the backbone, with the head to match), then what
# makes it small: four images, two iterations, no workers.
CONFIG = """
_base_ = ['mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_swin-t-p4-w7_8xb32-210e_coco-256x192.py']
custom_imports = dict(imports=['mmhier'])
model = dict(
    backbone=dict(_delete_=True, type='TruncatedSwin', arch='small', num_stages=3),
    head=dict(in_channels=384, deconv_out_channels=(256, 256), deconv_kernel_sizes=(4, 4)),
    test_cfg=dict(flip_test=False))

data = dict(data_root='', ann_file='annotations.json', data_prefix=dict(img='images/'))
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=data)
val_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(bbox_file=None, **data))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='annotations.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(logger=dict(interval=1))
"""


@pytest.fixture
def tiny_coco(tmp_path) -> Path:
    """Four noise images with one person each, in COCO's format."""
    rng = np.random.default_rng(0)
    (tmp_path / 'images').mkdir()
    data = {'images': [], 'annotations': [], 'categories': [{'id': 1, 'name': 'person'}]}
    for index in range(1, 5):
        cv2.imwrite(str(tmp_path / 'images' / f'{index}.jpg'), rng.integers(0, 255, (96, 80, 3), np.uint8))
        data['images'].append({'id': index, 'file_name': f'{index}.jpg', 'width': 80, 'height': 96})
        points = np.column_stack([rng.integers(10, 70, 17), rng.integers(10, 86, 17), np.full(17, 2)])
        person = {'id': index, 'image_id': index, 'category_id': 1, 'bbox': [5, 5, 70, 86], 'area': 6020}
        person |= {'iscrowd': 0, 'num_keypoints': 17, 'keypoints': points.ravel().tolist()}
        data['annotations'].append(person)
    (tmp_path / 'annotations.json').write_text(json.dumps(data))
    (tmp_path / 'config.py').write_text(CONFIG)
    return tmp_path


def train(folder: Path, *options: str) -> str:
    """Run MMPose's script in ``folder``; return its output."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', SCRIPT, 'config.py', '--work-dir', 'work', *options],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_trains(tiny_coco):
    out = train(tiny_coco, '--cfg-options', 'default_hooks.checkpoint.save_optimizer=False')
    assert 'Epoch(train) [1][2/2]' in out and 'coco/AP' in out
    weights = torch.load(tiny_coco / 'work' / 'epoch_1.pth', weights_only=False)['state_dict']
    assert weights['head.final_layer.weight'].isfinite().all()
    assert sum(name.startswith('backbone.stages.2.blocks') for name in weights) > 18
    assert not any('stages.3' in name for name in weights)


@pytest.mark.slow
def test_resumes(tiny_coco):
    train(tiny_coco, '--cfg-options', 'model.backbone.arch=tiny')
    longer = ['train_cfg.max_epochs=2', 'model.backbone.arch=tiny']
    out = train(tiny_coco, '--resume', '--cfg-options', *longer)
    assert 'resumed epoch: 1, iter: 2' in out and 'Epoch(train) [2][2/2]' in out
    first, second = (
        torch.load(tiny_coco / 'work' / f'epoch_{epoch}.pth', weights_only=False) for epoch in (1, 2)
    )
    assert second['meta']['iter'] == 4
    moved = [
        name
        for name, value in second['state_dict'].items()
        if not torch.equal(value, first['state_dict'][name])
    ]
    assert len(moved) > 30
