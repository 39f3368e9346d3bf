"""Testing on EMDB: the three lines that the config recommends, from original files to scores."""

import cv2
import numpy as np
import pytest
import torch
from mmengine import Config
from mmpose.registry import DATASETS, METRICS

from mmhier.body_models.model_directory import load_body_model
from mmhier.datasets.mesh.benchmark_bodies import read_emdb
from mmhier.testing.benchmark_files import (
    FRAMES,
    dump_python2,
    random_motion,
    sequence_of_emdb,
    write_small_body,
)

CONFIG = 'configs/_base_/datasets/hmr_emdb.py'


@pytest.fixture
def config(repo_root, tmp_path):
    """The recommended lines, with whole paths."""
    lines = [line[4:] for line in (repo_root / CONFIG).read_text().splitlines() if line.startswith('#   ')]
    text = '\n'.join(line for line in lines if ' = ' in line)
    text = text.replace("'swinhmr2", f"'{repo_root}/configs/hmr/swinhmr2")
    text = text.replace("'../_base_", f"'{repo_root}/configs/_base_")
    (tmp_path / 'config.py').write_text(text)
    return Config.fromfile(tmp_path / 'config.py')


def test_from_files_to_scores(config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    genders = ('neutral', 'male', 'female')
    bodies = {g: write_small_body(tmp_path / f'{g}.npz', seed) for seed, g in enumerate(genders)}
    folder = tmp_path / 'data' / 'EMDB' / 'P1' / '02_a'
    (folder / 'images').mkdir(parents=True)
    rng = np.random.default_rng(0)
    for frame in range(FRAMES):
        cv2.imwrite(str(folder / 'images' / f'{frame:05d}.jpg'), np.zeros((480, 640, 3), np.uint8))
    boxes = np.tile([50.0, 60, 150, 260], (FRAMES, 1))
    kp2d = rng.uniform(50, 250, (FRAMES, 24, 2))
    sequence = sequence_of_emdb('P1_02_a', random_motion(rng), 'female', kp2d, boxes)
    (folder / 'P1_02_a_data.pkl').write_bytes(dump_python2(sequence))
    (tmp_path / 'data' / 'hmr2_evaluation_data').mkdir()
    for name in ('dataset', 'joints'):
        people = read_emdb(tmp_path / 'data' / 'EMDB', lambda g: load_body_model(bodies[g], 'hmr44'), name)
        people.write(tmp_path / 'data' / 'hmr2_evaluation_data' / f'emdb_1_{name}_boxes.npz')

    dataset = DATASETS.build(config.test_dataloader.dataset)
    assert len(dataset) == 2 * FRAMES
    names = {gender: str(path) for gender, path in bodies.items()}
    metrics = [
        METRICS.build(dict(config.test_evaluator, body_model=names[gender], bodies=names))
        for gender in ('female', 'neutral')
    ]
    body = load_body_model(bodies['female'], 'hmr44')
    for item in dataset:
        sample = item['data_samples'].to_dict()
        labels = {name: torch.from_numpy(value) for name, value in sample['gt_instance_labels'].items()}
        assert labels['has_body_pose'] == 1 and labels['has_betas'] == 0
        pose = dict(global_orient=labels['global_orient'], body_pose=labels['body_pose'])
        betas = torch.from_numpy(sequence['smpl']['betas'])[None].float()
        out = body(betas, **pose)
        sample['pred_instances'] = dict(pose, betas=betas, vertices=out.vertices, keypoints_3d=out.joints)
        for metric in metrics:
            metric.process({}, [sample])
    right, wrong = (metric.evaluate(len(dataset)) for metric in metrics)
    for name in ('dataset', 'joints'):
        for score in ('MPJPE', 'PA-MPJPE', 'PVE'):
            assert right[f'mesh/emdb_1_{name}_boxes/{score}'] < 0.01
        for score in ('MPJPE', 'PA-MPJPE'):  # the same numbers, taken for those of another body
            assert wrong[f'mesh/emdb_1_{name}_boxes/{score}'] > 10
