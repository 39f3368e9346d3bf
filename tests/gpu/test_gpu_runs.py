"""Commands as a user types them, on a GPU: training, resuming, evaluation, inference."""

import json
import math

import cv2
import numpy as np
import pytest
import torch

from mmhier.apis import Inferencer
from mmhier.network import free_port
from mmhier.visualization.curves import read_scalars

pytestmark = pytest.mark.gpu

SHORT = [
    '--cfg-options', 'model.backbone.init_cfg=None', 'default_hooks.logger.interval=1',
    'default_hooks.checkpoint.interval=1', 'train_cfg.val_interval=1', 'train_cfg.val_begin=2',
    *(f'{loader}_dataloader.batch_size=2' for loader in ('train', 'val', 'test')),
    *(f'{loader}_dataloader.num_workers=1' for loader in ('train', 'val', 'test')),
]  # fmt: skip
POSE, MESH = 'configs/hpe/swinpose_t_s2_coco.py', 'configs/hmr/vmhmr2_t_s2_mixed.py'
FIRST_TARS = [
    f'train_dataloader.dataset.datasets.{number}.shards={name}/000000.tar'
    for number, name in enumerate(
        ['h36m-train', 'mpii-train', 'coco-train-2014-pruned', 'coco-train-2014-vitpose-pruned',
         'mpi-inf-train-pruned', 'ava-train-midframes-1fps-vitpose', 'aic-train-vitpose',
         'insta-train-vitpose-replicate']
    )
]  # fmt: skip


def losses(work_dir):
    return [record['loss'] for record in read_scalars(work_dir) if 'loss' in record]


@pytest.mark.parametrize('launcher', ['none', 'pytorch'])
def test_pose_training_goes_on_and_is_evaluated(workshop, launcher):
    """``--amp``; under the launcher with NCCL and one process."""
    work_dir = workshop.folder / f'pose_{launcher}'
    place = dict(RANK='0', LOCAL_RANK='0', WORLD_SIZE='1', MASTER_ADDR='localhost')
    more = place | dict(MASTER_PORT=str(free_port())) if launcher == 'pytorch' else {}
    command = ['tools/train.py', POSE, '--work-dir', work_dir, '--amp', '--launcher', launcher]
    workshop.run(*command, *SHORT, 'train_cfg.max_epochs=1', **more)
    workshop.run(*command, '--resume', *SHORT, 'train_cfg.max_epochs=2', **more)
    assert len(losses(work_dir)) == 4 and all(math.isfinite(loss) for loss in losses(work_dir))
    scores = work_dir / 'scores.json'
    workshop.run('tools/test.py', POSE, work_dir / 'epoch_2.pth', '--out', scores, *SHORT)
    assert {'coco/AP', 'coco/AR', 'coco/Phi'} <= set(json.loads(scores.read_text()))


def test_mesh_training_goes_on_with_its_adversary(workshop):
    work_dir = workshop.folder / 'mesh'
    command = ['tools/train.py', MESH, '--work-dir', work_dir]
    workshop.run(*command, *SHORT, *FIRST_TARS, 'train_cfg.max_iters=1')
    workshop.run(*command, '--resume', *SHORT, *FIRST_TARS, 'train_cfg.max_iters=2')
    assert len(losses(work_dir)) == 2 and all(math.isfinite(loss) for loss in losses(work_dir))
    assert any(key.startswith('mesh/') for record in read_scalars(work_dir) for key in record)


@pytest.mark.parametrize('config', [POSE, MESH])
def test_results_are_those_of_a_cpu(workshop, monkeypatch, config):
    monkeypatch.setenv('MMHIER_BODY_MODELS', workshop.environment['MMHIER_BODY_MODELS'])
    monkeypatch.chdir(workshop.folder)
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8), (9, 9), 0)
    boxes = np.array([[10, 10, 150, 220], [120, 20, 300, 230]])
    found = {}
    for device in ('cpu', 'cuda', 'auto'):
        torch.manual_seed(0)
        inferencer = Inferencer(config, 'random', device)
        (result,) = inferencer(image, boxes)
        found[device] = result.people
    assert inferencer.estimator.device.type == 'cuda'
    assert len(found['cpu']) == 2
    for device in ('cuda', 'auto'):
        for person, other in zip(found[device], found['cpu'], strict=True):
            np.testing.assert_allclose(person.keypoint_scores, other.keypoint_scores, atol=1e-4)
            # Random heatmaps have many peaks of almost the same height, of which either may win.
            distance = np.linalg.norm(person.keypoints - other.keypoints, axis=1)
            assert np.median(distance) < 0.05


def test_doctor_sees_the_gpu(workshop):
    assert torch.cuda.get_device_name() in workshop.run('-m', 'mmhier', 'doctor')
