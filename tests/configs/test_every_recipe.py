"""Every config starts as its first line says: ``python tools/train.py CONFIG``, nothing imported before.

Data, bodies and weights are stand-ins at the paths that configs name (:mod:`mmhier.testing.recipe_files`).
Options make runs short; models, pipelines, hooks, samplers, optimizers and evaluators are the config's.

* All configs: training and testing are built, up to where weights are needed; one process per group.
* One config of each group, with one block per stage: a step, and after ``--resume`` another step and a
  validation. With Swin ``tools/test.py`` as well, and meshes resume on two processes.
* Marked slow: all configs and all of that, as deep as they are, but for encoders of size L and
  H, for students and for variants of ViTPose; and all of students of tokens and of mesh models, and of whole
  bodies, of which synthetic ones stand in for the mix and the benchmarks.
"""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.network import free_port
from mmhier.testing.recipe_files import TARS, link_all_tars, touch_weights, weights_path, write_release
from mmhier.visualization.curves import read_scalars

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(__file__).with_name('build_recipes.py')
# Everything in configs/ that is no base of others and no pre-training: name -> path as first lines give it.
# For those of many data sets and for evaluation only see test_many_data_sets.py.
CONFIGS = {
    path.stem: str(path.relative_to(ROOT))
    for path in sorted((ROOT / 'configs').rglob('*.py'))
    if not {'_base_', 'pretrain', 'multi', 'eval'} & {*path.parts}
}
SYNTHETIC = ('_synth', '_varied', '_finetune', '_longer')  # how recipes for synthetic people end
SIZES = ('micro', 't', 's', 'b2', 'b', 'l', 'h')
# What surrounds the command in a first line: the size of the batch, what has to be installed ...
FIRST_LINE = re.compile(r'# python tools/train\.py (\S+)(?: +\([^()]+\))?')
MADE = (
    '# mmhier synth data/synth --train 20000 --val 500 --seed 0',
    '# mmhier synth data/varied --train 16000 --val 500 --seed 20',
    '# mmhier synth data/whole --train 4000 --val 300 --seed 0 --whole-body --image-size 384x384',
    '# make quickstart',
    '# make quickstart-full',
)
# The first tar of each set, of thousands.
TAR_OPTIONS = {
    f'train_dataloader.dataset.datasets.{number}.shards': f'{name}/000000.tar'
    for number, name in enumerate(TARS)
}
SHORT = {
    **{f'{loader}_dataloader.batch_size': 2 for loader in ('train', 'val', 'test')},
    'default_hooks.checkpoint.interval': 1,
    'default_hooks.logger.interval': 1,
    'train_cfg.val_begin': 2,
    'train_cfg.val_interval': 1,
}
NO_WORKERS = {
    f'{loader}_dataloader.{key}': value
    for loader in ('train', 'val', 'test')
    for key, value in (('num_workers', 0), ('persistent_workers', False))
}


def is_distilled(name):
    return CONFIGS[name].startswith('configs/distill/')


def is_whole_body(name):
    return CONFIGS[name].startswith('configs/wholebody/')


def is_mesh(name):
    return 'hmr2_' in name.partition('_from_')[0]


def group_of(name):
    """Family, kind of decoder and recipe; of students what they learn."""
    if is_distilled(name):
        kind = 'mesh' if is_mesh(name) else 'token' if name.endswith(('token', 'both')) else 'pose'
        return f'distilled_{kind}'
    if CONFIGS[name].startswith('configs/ablation/'):
        return 'ablation'
    family, *middle, recipe = name.removesuffix('_fsdp').replace('_longer', '_varied').split('_')
    return '_'.join([family, *(['simple'] if 'simple' in middle else []), recipe])


def by_size(name):
    size = name.split('_')[1]
    place = SIZES.index(size) if size in SIZES else len(SIZES)
    return place, '_s3_' not in name, name.endswith('_longer'), name


GROUPS = {group: [n for n in CONFIGS if group_of(n) == group] for group in sorted(map(group_of, CONFIGS))}
SMALLEST = [min(names, key=by_size) for names in GROUPS.values()]
# What others of the same shape stand for by default; fine-tuning is what the quickstart's test does.
SLOW = {'ablation', 'distilled_pose', 'distilled_token', 'distilled_mesh', 'swinpose_finetune'}
SLOW |= {'swinhmr2_finetune', 'swinhmr2_varied', *(group_of(n) for n in CONFIGS if is_whole_body(n))}


# Whose largest models take a minute to draw their weights.
LARGE = {'vitpose_coco', 'vitpose_simple_coco'}


def marked(group, value, slow=SLOW):
    return pytest.param(value, marks=pytest.mark.slow if group in slow else ())


def initial_weights(name):
    """``init_cfg.checkpoint`` of the encoder, or None."""
    init_cfg = Config.fromfile(ROOT / CONFIGS[name]).model.backbone.get('init_cfg')
    return init_cfg and init_cfg.checkpoint


def teacher(name):
    """Config of the teacher, or None."""
    settings = Config.fromfile(ROOT / CONFIGS[name]).model.get('teacher')
    return settings and settings.config


def needed_weights(name):
    """All that is read before the first step."""
    init_cfg = Config.fromfile(ROOT / CONFIGS[name]).model.backbone.get('init_cfg') or {}
    found = [init_cfg.get('checkpoint'), init_cfg.get('knowledge_token'), begins_with(name)]
    return [*filter(None, found), *([f'pretrained/{teacher(name)}.pth'] if teacher(name) else [])]


def is_iter_based(name):
    return Config.fromfile(ROOT / CONFIGS[name]).train_cfg.get('type') == 'IterBasedTrainLoop'


def options(name, workers=False, **more):
    """What makes runs short; ``workers`` keeps the processes that load data."""
    mixed = name.removesuffix('_fsdp').endswith('_mixed') or (is_distilled(name) and is_mesh(name))
    given = SHORT | ({} if workers else NO_WORKERS) | (TAR_OPTIONS if mixed else {}) | more
    if name.endswith('_longer'):  # two data sets of one step's people
        given |= {'train_dataloader.batch_size': 4}
    if name.endswith('_mix32'):
        given |= {'model.body_model': 'open-wholebody'}
    if teacher(name):  # that of the workshop
        given |= {'model.teacher.config': CONFIGS[teacher(name)]}
    return ['--cfg-options', *(f'{key}={value}' for key, value in given.items())]


def steps(name, count):
    """The option that ends training after so many steps."""
    return {'train_cfg.max_iters' if is_iter_based(name) else 'train_cfg.max_epochs': count}


@pytest.fixture
def prepare(request):
    """Put data and initial weights of a config in their places; a pose model that it needs is trained."""

    def put(name, workshop):
        if is_whole_body(name):
            request.getfixturevalue('whole_people')
        elif name.endswith(SYNTHETIC):
            request.getfixturevalue('synthetic_people')
        if teacher(name):
            write_weights(workshop, teacher(name))
        if begin := begins_with(name):
            write_weights(workshop, begin.split('/')[1], begin)
        init_cfg = Config.fromfile(ROOT / CONFIGS[name]).model.backbone.get('init_cfg') or {}
        if token := init_cfg.get('knowledge_token'):
            of_token = token.split('/')[1]
            put(of_token, workshop)
            train_a_step(workshop, of_token)
            (workshop.folder / 'work_dirs' / of_token / 'epoch_1.pth').rename(workshop.folder / token)
        checkpoint = initial_weights(name)
        if checkpoint is None:
            return
        path = weights_path(workshop.folder, checkpoint)
        if path.is_file() and path.stat().st_size:
            return
        words = Path(checkpoint.rpartition('://')[2]).with_suffix('').parts
        pose = next((word for word in words if word in CONFIGS), None)
        if pose is None:
            write_release(workshop.folder, Config.fromfile(workshop.folder / CONFIGS[name]).model.backbone)
            return
        put(pose, workshop)
        work_dir = workshop.folder / 'prepared'
        train_a_step(workshop, pose, '--work-dir', work_dir)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(work_dir / 'epoch_1.pth', path)
        shutil.rmtree(work_dir)

    return put


def begins_with(name):
    """Checkpoint of another recipe that this one goes on from, or None."""
    begin = Config.fromfile(ROOT / CONFIGS[name]).get('load_from') or ''
    return begin if begin.startswith('work_dirs/') else None


def write_weights(workshop, name, path=None):
    """Random weights of a config of the workshop, where they are looked for."""
    path = workshop.folder / (path or f'pretrained/{name}.pth')
    if path.is_file() and path.stat().st_size:
        return
    init_default_scope('mmpose')
    settings = Config.fromfile(workshop.folder / CONFIGS[name]).model
    settings.backbone.init_cfg = None
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(dict(state_dict=MODELS.build(settings).state_dict()), path)


def train_a_step(workshop, name, *more, workers=False):
    """Run the command of the first line."""
    workshop.run('tools/train.py', CONFIGS[name], *more, *options(name, workers, **steps(name, 1)))


def checkpoint_of(name, count):
    return f'{"iter" if is_iter_based(name) else "epoch"}_{count}.pth'


def check_trained(name, work_dir, count, scored):
    """Every step was taken once, losses and scores are numbers, and the checkpoints are there."""
    assert [path.name for path in work_dir.glob('[ei]*_[0-9]*.pth')] == [checkpoint_of(name, count)]
    assert load_checkpoint_file(work_dir / checkpoint_of(name, count))['meta']['iter'] == count
    records = read_scalars(work_dir)
    losses = [record for record in records if 'loss' in record]
    assert [record['step'] for record in losses] == list(range(1, count + 1))
    assert all(math.isfinite(record['loss']) and record['loss'] > 0 for record in losses)
    assert all(record.get('loss_body_pose', 1) > 0 for record in losses), 'the annotated poses are trusted'
    key = Config.fromfile(ROOT / CONFIGS[name]).default_hooks.checkpoint.save_best
    scores = [(record['step'], math.isfinite(record[key])) for record in records if key in record]
    assert scores == ([(count, True)] if scored else [])
    best = [path.name for path in work_dir.glob('best_*.pth')]
    assert len(best) == len(scores) and all(file.startswith(f'best_{key.replace("/", "_")}') for file in best)


def check_tested(name, work_dir):
    scores = json.loads((work_dir / 'scores.json').read_text())
    evaluator = Config.fromfile(ROOT / CONFIGS[name]).test_evaluator
    assert all(math.isfinite(value) for value in scores.values())
    if evaluator.type == 'CocoPhiMetric':
        assert {'coco/AP', 'coco/AR', 'coco/Phi'} <= set(scores)
        return
    table = work_dir / f'{"whole_body" if is_whole_body(name) else "mesh"}_table.json'
    rows = [row for row in json.loads(table.read_text()) if row['dataset'] != 'all']
    assert {row['dataset'] for row in rows} == ({'synth'} if is_whole_body(name) else set(evaluator.datasets))
    assert all(row['samples'] == 2 and row['skipped'] == 0 for row in rows)


def run_recipe(name, workshop, prepare, whole):
    """A step, a resume and a validation.

    ``whole``: with the workers of the config, two processes for meshes, and tools/test.py.
    """
    prepare(name, workshop)
    work_dir = workshop.folder / 'work_dirs' / name
    shutil.rmtree(work_dir, ignore_errors=True)  # its weights may have been asked for
    try:
        train_a_step(workshop, name, workers=whole)
        check_trained(name, work_dir, 1, scored=False)
        processes = 2 if whole and is_mesh(name) else 1
        more = {'train_dataloader.batch_size': 2 // processes, **steps(name, 2)}
        launcher = ['--launcher', 'pytorch'] if processes > 1 else []
        arguments = [CONFIGS[name], '--resume', *launcher, *options(name, whole, **more)]
        workshop.run('tools/train.py', *arguments, processes=processes)
        check_trained(name, work_dir, 2, scored=True)
        if not whole:
            return
        arguments = [CONFIGS[name], work_dir / checkpoint_of(name, 2), '--out', work_dir / 'scores.json']
        workshop.run('tools/test.py', *arguments, *options(name, whole))
        check_tested(name, work_dir)
    finally:
        shutil.rmtree(work_dir, ignore_errors=True)


def test_every_config_belongs_to_a_group():
    assert len(CONFIGS) >= 79 and len(GROUPS) >= 19
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(CONFIGS)


@pytest.mark.parametrize('name', CONFIGS)
def test_first_lines_are_the_commands(name):
    """That of this file, after what it needs; and the pose model that it starts from is one of ours."""
    lines = (ROOT / CONFIGS[name]).read_text().splitlines()
    (place,) = [number for number, line in enumerate(lines[:3]) if FIRST_LINE.fullmatch(line)]
    assert FIRST_LINE.fullmatch(lines[place])[1] == CONFIGS[name]
    before = [line.partition('  ')[0] for line in lines[:place]]
    assert len(before) < 2 and set(before) <= set(MADE)
    assert bool(before) == name.endswith(SYNTHETIC)
    checkpoint = initial_weights(name)
    if checkpoint and checkpoint.startswith('work_dirs/'):
        _, pose, file = checkpoint.split('/')
        assert file == f'epoch_{Config.fromfile(ROOT / CONFIGS[pose]).train_cfg.max_epochs}.pth'


@pytest.mark.parametrize('group', [marked(group, group, SLOW | LARGE) for group in GROUPS])
def test_all_of_a_group_are_built(group, workshop, request):
    names = GROUPS[group]
    if is_whole_body(names[0]):
        request.getfixturevalue('whole_people')
    elif group.endswith(SYNTHETIC):
        request.getfixturevalue('synthetic_people')
    touch_weights(workshop.folder, [path for name in names for path in needed_weights(name)])
    changes = [change for change in options(names[0])[1:] if not change.startswith('model.teacher')]
    output = workshop.run(str(BUILD), *(CONFIGS[name] for name in names), *changes).output
    built = re.findall(r'^BUILT (\w+) (\w+)$', output, re.MULTILINE)
    assert built == [(command, name) for name in names for command in ('train', 'test')]


@pytest.mark.parametrize('name', [marked(group_of(name), name) for name in SMALLEST])
def test_recipe_trains_resumes_and_is_tested(name, shallow_workshop, prepare):
    run_recipe(name, shallow_workshop, prepare, whole=name.startswith('swin'))


@pytest.mark.slow
@pytest.mark.parametrize('name', CONFIGS)
def test_every_config_trains_resumes_and_is_tested(name, workshop, shallow_workshop, prepare):
    large = name.split('_')[1] in ('l', 'h') or is_distilled(name) or group_of(name) == 'ablation'
    run_recipe(name, shallow_workshop if large else workshop, prepare, whole=True)


def test_meshes_are_trained_on_two_processes_from_a_shell(shallow_workshop, prepare):
    """The launcher of the documentation, with every import of its own; a step and a validation."""
    name, workshop = 'swinhmr2_t_s3_mixed', shallow_workshop
    prepare(name, workshop)
    work_dir = workshop.folder / 'work_dirs' / 'two'
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ['PATH']])
    command = ['bash', 'tools/dist_train.sh', CONFIGS[name], '2', '--work-dir', str(work_dir)]
    done = subprocess.run(
        [*command, *options(name, True, **steps(name, 1), **{'train_cfg.val_begin': 1})],
        cwd=workshop.folder,
        env=workshop.environment | dict(PORT=str(free_port()), PATH=path),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    check_trained(name, work_dir, 1, scored=True)


def test_emdb_by_the_lines_of_its_file(workshop, monkeypatch):
    """A config of three lines tests a model of the mix."""
    name = 'swinhmr2_t_s3_mixed'
    init_default_scope('mmpose')
    monkeypatch.setenv('MMHIER_BODY_MODELS', workshop.environment['MMHIER_BODY_MODELS'])
    text = (ROOT / 'configs' / '_base_' / 'datasets' / 'hmr_emdb.py').read_text()
    lines = [line[4:] for line in text.splitlines() if re.match('#   .* = ', line)]
    assert len(lines) == 3
    config = workshop.folder / 'configs' / 'hmr' / 'on_emdb.py'
    config.write_text('\n'.join(lines).replace('swinhmr2_s_s3_mixed', name))
    model = Config.fromfile(config).model
    model.backbone.init_cfg = None
    checkpoint = workshop.folder / 'emdb.pth'
    torch.save(dict(state_dict=MODELS.build(model).state_dict()), checkpoint)
    workshop.run('tools/test.py', 'configs/hmr/on_emdb.py', checkpoint, '--out', 'emdb.json')
    scores = json.loads((workshop.folder / 'emdb.json').read_text())
    for boxes in ('dataset', 'joints'):
        for score in ('MPJPE', 'PA-MPJPE', 'PVE'):
            assert math.isfinite(scores[f'mesh/emdb_1_{boxes}_boxes/{score}'])
    rows = json.loads((workshop.folder / 'work_dirs' / 'on_emdb' / 'smpl_body_table.json').read_text())
    assert {row['samples'] for row in rows if row['dataset'] != 'all'} == {2}


@pytest.mark.slow
def test_the_whole_mix_is_read(workshop, prepare):
    """All tars that the config names, nothing overridden but the length of the run."""
    name = 'swinhmr2_t_s3_mixed'
    prepare(name, workshop)
    tars = link_all_tars(workshop.folder)
    assert len(tars) == 4241
    arguments = [f'{key}={value}' for key, value in (SHORT | steps(name, 1)).items()]
    try:
        done = workshop.run('tools/train.py', CONFIGS[name], '--cfg-options', *arguments, timeout=1200)
        check_trained(name, workshop.folder / 'work_dirs' / name, 1, scored=False)
    finally:
        for tar in tars:
            tar.unlink()
    assert 'insta: 7316 of 7316 people are used' in done.output
