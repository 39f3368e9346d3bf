"""Configs of many data sets and for evaluation start as their first lines say, in fresh processes.

Data and weights are stand-ins at the paths that configs name. Encoders have one block per stage, all else is
the config's. One recipe is trained and evaluated by default; all others are marked slow.
"""

import json
import math
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmhier.cli.main import main
from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.testing.pose_sets import write_pose_sets
from mmhier.testing.recipe_files import environment, write_release
from mmhier.visualization.curves import read_scalars

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = {
    path.stem: path.relative_to(ROOT)
    for folder in ('multi', 'eval')
    for path in sorted((ROOT / 'configs' / folder).glob('*.py'))
}
TRAINED = [
    name for name, path in CONFIGS.items() if path.parent.name == 'multi' and not name.endswith('_released')
]
TESTED = [name for name in CONFIGS if name not in TRAINED]
DEFAULT = 'vitpose_s_seven'
SHORT = ['default_hooks.logger.interval=1', 'train_cfg.max_epochs=1', 'train_cfg.val_begin=1']
SHORT += ['train_cfg.val_interval=1', 'default_hooks.checkpoint.interval=1']
SHORT += [
    f'{loader}_dataloader.{key}={value}'
    for loader in ('train', 'val', 'test')
    for key, value in (('num_workers', 0), ('persistent_workers', False), ('batch_size', 4))
]


@pytest.fixture(scope='module')
def pose_sets(workshop, tmp_path_factory):
    """All data sets, and the configs with shallow encoders."""
    folder = tmp_path_factory.mktemp('pose_sets')
    shutil.copytree(ROOT / 'configs', folder / 'configs')
    (folder / 'tools').symlink_to(ROOT / 'tools')
    for path in CONFIGS.values():
        (folder / path).write_text(workshop.with_one_block_per_stage(ROOT / path))
    cfg = Config.fromfile(ROOT / 'configs' / '_base_' / 'datasets' / 'many_256x192.py')
    for sets in (cfg.train_sets, cfg.val_sets):
        write_pose_sets(folder, sets, cfg.keypoints)
    variables = workshop.environment | dict(TORCH_HOME=environment(folder)['TORCH_HOME'])
    yield SimpleNamespace(folder=folder, run=workshop.processes.elsewhere(folder, variables).run)
    shutil.rmtree(folder)


def model_of(settings):
    init_default_scope('mmpose')
    settings.backbone.init_cfg = None
    return MODELS.build(settings)


def train(name, pose_sets):
    """As the first line says; a validation of all data sets, and their table of a test."""
    settings = Config.fromfile(pose_sets.folder / CONFIGS[name])
    backbone = settings.model.backbone
    backbone.pop('experts', None)
    write_release(pose_sets.folder, backbone)
    done = pose_sets.run('tools/train.py', CONFIGS[name], '--cfg-options', *SHORT)
    work_dir = pose_sets.folder / 'work_dirs' / name
    names = settings.data_sets
    assert '| Data set ' in done.output and all(f'| {one} ' in done.output for one in names)
    records = read_scalars(work_dir)
    losses = [record for record in records if 'loss' in record]
    assert len(losses) == math.ceil(2 * len(names) / 4)
    assert all(math.isfinite(record['loss']) and record['loss'] > 0 for record in losses)
    assert {key.split('.')[0] for record in losses for key in record if key.endswith('.loss_kpt')} == set(
        names
    )
    state = load_checkpoint_file(work_dir / 'epoch_1.pth')['state_dict']
    assert {key.split('.')[2] for key in state if key.startswith('head.')} == set(names)
    scores = [record for record in records if 'coco/AP' in record]
    assert len(scores) == 1 and math.isfinite(scores[0]['coco/AP'])
    return work_dir / 'epoch_1.pth'


def evaluate(name, pose_sets, checkpoint):
    """As the first line says."""
    out = f'{name}.json'
    options = [one for one in SHORT if one.startswith('test_')]
    pose_sets.run('tools/test.py', CONFIGS[name], checkpoint, '--out', out, '--cfg-options', *options)
    scores = json.loads((pose_sets.folder / out).read_text())
    assert scores and all(math.isfinite(value) for value in scores.values())
    return scores


@pytest.mark.parametrize('name', CONFIGS)
def test_first_lines_are_the_commands(name):
    lines = (ROOT / CONFIGS[name]).read_text().splitlines()
    assert 'run by us' in ' '.join(lines[:3])
    if name in TRAINED:
        assert re.fullmatch(rf'# python tools/train\.py {CONFIGS[name]}   \(\d+ per GPU x 8\)', lines[0])
    elif name.endswith('_released'):
        size = re.fullmatch(
            r'# mmhier convert vitpose\+_\w+\.pth (plus_\w\.pth) --whole-model --dataset all', lines[0]
        )
        assert lines[1] == f'# python tools/test.py {CONFIGS[name]} {size[1]}'
    else:
        assert lines[0] == f'# python tools/test.py {CONFIGS[name]} CHECKPOINT'


@pytest.mark.parametrize(
    'name', [pytest.param(name, marks=() if name == DEFAULT else pytest.mark.slow) for name in TRAINED]
)
def test_recipe_trains_and_validates(name, pose_sets):
    train(name, pose_sets)


@pytest.mark.slow
@pytest.mark.parametrize('name', TESTED)
def test_weights_are_evaluated(name, pose_sets):
    settings = Config.fromfile(pose_sets.folder / CONFIGS[name])
    torch.manual_seed(0)
    torch.save(dict(state_dict=model_of(settings.model).state_dict()), pose_sets.folder / 'random.pth')
    scores = evaluate(name, pose_sets, 'random.pth')
    if name.endswith('_released'):
        assert {key.split('/')[0] for key in scores} == set(settings.data_sets)
        rows = json.loads((pose_sets.folder / 'work_dirs' / name / 'pose_table.json').read_text())
        assert {row['dataset']: row['samples'] for row in rows} == dict.fromkeys(settings.data_sets, 2)


@pytest.mark.slow
def test_a_decoder_is_taken_out_of_a_run_and_evaluated(pose_sets):
    """From training to the score of one data set, by the printed commands."""
    checkpoint = train('swinpose_t_s3_seven', pose_sets)
    weights = pose_sets.folder / 'mpii.pth'
    main(['convert', str(checkpoint), str(weights), '--whole-model', '--dataset', 'mpii'])
    alone = evaluate('swinpose_t_s3_mpii', pose_sets, weights)
    together = evaluate('swinpose_t_s3_seven', pose_sets, checkpoint)
    assert alone['PCK'] == pytest.approx(together['mpii/PCK'])
