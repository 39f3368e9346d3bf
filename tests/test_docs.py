"""The pages of docs/: the site builds, commands are understood, what is named exists."""

import argparse
import csv
import json
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmhier.cli import main as cli
from mmhier.cli.main import main
from mmhier.engine.preflight import check_run
from mmhier.testing.pages import blocks, printed_commands

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(path for path in (ROOT / 'docs').glob('*.md'))
# What a reader makes begins so.
READERS_OWN = 'my_'


class Parsed(Exception):
    """Options were understood; nothing is run."""


def commands() -> list[list[str]]:
    lines = [line for page in [*PAGES, ROOT / 'README.md'] for line in printed_commands(page)]
    return [shlex.split(line) for line in lines if line.startswith(('mmhier ', 'python '))]


@pytest.fixture
def parse_only(monkeypatch):
    """Let every parser stop after it has understood its arguments."""
    parse_args = argparse.ArgumentParser.parse_args

    def stop(self, args=None, namespace=None):
        parse_args(self, args, namespace)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, 'parse_args', stop)


def test_commands_have_the_options_they_are_shown_with(parse_only, monkeypatch):
    shown = [words for words in commands() if not words[1].startswith(READERS_OWN)]
    assert len(shown) > 25
    for words in shown:
        try:
            if words[0] == 'mmhier':
                main(words[1:])
            else:
                assert words[1].startswith('tools/'), words
                monkeypatch.setattr(sys, 'argv', words[1:])
                monkeypatch.syspath_prepend(ROOT / Path(words[1]).parent)  # as Python does for a script
                runpy.run_path(str(ROOT / words[1]), run_name='__main__')
        except Parsed:
            continue
        except SystemExit:
            pytest.fail(f'not understood: {shlex.join(words)}')
        pytest.fail(f'nothing was parsed: {shlex.join(words)}')


def test_wrong_options_are_noticed(parse_only):
    with pytest.raises(SystemExit):
        main(['models', '--nonsense'])


def test_paths_that_are_named_exist():
    path = re.compile(r'\b(?:configs|tools|mmhier|docs|notebooks|requirements|tests)/[\w/.*-]*\w\.\w+')
    named = {(page.name, name) for page in PAGES for name in path.findall(page.read_text())}
    assert len(named) > 30
    for page, name in named:
        if not Path(name).name.startswith(READERS_OWN):
            assert list(ROOT.glob(name)), f'{page} names {name}'


def test_config_names_that_are_given_to_commands_exist():
    from mmhier.cli.model_files import ACTIONS
    from mmhier.zoo.names import find_configs, resolve_config
    from mmhier.zoo.registry import find_entry

    count = 0
    for words in commands():
        if words[1:2] == ['models'] and words[2:3] and words[2] in ACTIONS:
            assert all(find_entry(name) for name in words[3:] if not name.startswith('-'))
            continue
        if '--model' in words:
            name = words[words.index('--model') + 1]
        elif words[:2] in (['mmhier', 'models'], ['mmhier', 'benchmark']):
            for name in words[2:]:
                if name.startswith('-'):
                    break
                assert find_configs([name])
                count += 1
            continue
        else:
            continue
        if not Path(name).name.startswith(READERS_OWN):
            assert resolve_config(name).is_file()
        count += 1
    assert count > 6


def test_every_command_and_package_is_described():
    names = {path.parent.name for path in (ROOT / 'mmhier').glob('*/__init__.py')}
    described = {path.stem for path in (ROOT / 'docs' / 'api').glob('*.md')} - {'index'}
    assert described == names
    nav = (ROOT / 'mkdocs.yml').read_text()
    index = (ROOT / 'docs' / 'api' / 'index.md').read_text()
    for name in names:
        assert f'api/{name}.md' in nav and f'({name}.md)' in index


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.stem)
def test_python_blocks_compile(page):
    for block in blocks(page, 'python'):
        compile(block.text, f'{page.name} {block.title}', 'exec')


def test_data_of_your_own_as_described(tmp_path, monkeypatch):
    """The scripts and configs of training.md, on synthetic people as the page says."""
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmpose.registry import DATASETS, METRICS

    init_default_scope('mmpose')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'configs').mkdir()
    for name in ('hpe', 'hmr', '_base_'):
        (tmp_path / 'configs' / name).symlink_to(ROOT / 'configs' / name)
    people = ['--train', '3', '--val', '2', '--seed', '7', '--scenes', 'simple', '--workers', '1']
    assert main(['synth', 'data/own', *people]) == 0
    found = blocks(ROOT / 'docs' / 'training.md', 'python')
    titled = {block.title: block.text for block in found if block.title}
    exec(titled.pop('my_npz.py'), {})
    exec(titled.pop('my_five.py'), {})
    assert [*titled] == ['my_pose.py', 'my_points.py', 'my_mesh.py']
    for name, block in titled.items():
        path = tmp_path / 'configs' / name
        path.write_text(block)
        cfg = Config.fromfile(path)
        for loader, count in (('train_dataloader', 3), ('val_dataloader', 2), ('test_dataloader', 2)):
            dataset = DATASETS.build(cfg[loader].dataset)
            assert len(dataset) == count
            assert dataset[0]['inputs'].shape[0] == 3
        METRICS.build(cfg.val_evaluator)
        if name != 'my_mesh.py':
            check_run(cfg, ('train_dataloader', 'val_dataloader'))
            assert dataset.metainfo['num_keypoints'] == dict(my_pose=17, my_points=5)[path.stem]
    own = cfg.model.mocap
    assert len(DATASETS.build(own)) == 3


def test_an_encoder_of_your_own_as_described(tmp_path, monkeypatch):
    """The class and the config of extending.md, in a folder of their own, take a step of training."""
    from mmengine.config import Config
    from mmengine.dataset import pseudo_collate
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import init_default_scope
    from mmpose.registry import DATASETS, MODELS

    from mmhier.testing.coco import write_dot_people

    init_default_scope('mmpose')
    (tmp_path / 'configs').mkdir()
    for name in ('hpe', '_base_'):
        (tmp_path / 'configs' / name).symlink_to(ROOT / 'configs' / name)
    for block in blocks(ROOT / 'docs' / 'extending.md', 'python'):
        if block.title:
            folder = tmp_path if block.title == 'my_encoder.py' else tmp_path / 'configs'
            (folder / block.title).write_text(block.text)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        cfg = Config.fromfile(tmp_path / 'configs' / 'my_encoder_pose.py')
        torch.manual_seed(0)
        model = MODELS.build(cfg.model)
        model.init_weights()
        assert type(model.backbone).__module__ == 'my_encoder'
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
        settings = cfg.train_dataloader.dataset
        ann_file = write_dot_people(tmp_path, 'train', 2)
        settings.update(
            data_root='', ann_file=str(ann_file), data_prefix=dict(img=f'{tmp_path}/images/train/')
        )
        people = DATASETS.build(settings)
        before = {key: value.detach().clone() for key, value in model.named_parameters()}
        model.train()
        losses = model.train_step(pseudo_collate([people[0], people[1]]), optimizer)
        assert losses['loss_kpt'].isfinite() and losses['loss_kpt'] > 0
        moved = [key for key, value in model.named_parameters() if not torch.equal(value, before[key])]
        assert len(moved) > 0.8 * len(before) and any(key.startswith('backbone.') for key in moved)
    finally:
        MODELS.module_dict.pop('MyEncoder', None)
        sys.modules.pop('my_encoder', None)


def test_a_mesh_data_set_of_your_own_as_described(tmp_path, monkeypatch):
    """The class and the config of mesh_data_set.md give what the table of fields says."""
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmpose.registry import DATASETS, METRICS

    from mmhier.mesh_sample import SMPL_LAYOUT

    init_default_scope('mmpose')
    monkeypatch.chdir(tmp_path)
    for name in ('hmr', '_base_'):
        (tmp_path / 'configs').mkdir(exist_ok=True)
        (tmp_path / 'configs' / name).symlink_to(ROOT / 'configs' / name)
    for block in blocks(ROOT / 'docs' / 'mesh_data_set.md', 'python'):
        (tmp_path / ('' if block.title == 'my_people.py' else 'configs') / block.title).write_text(block.text)
    (tmp_path / 'data/mine/images').mkdir(parents=True)
    cv2.imwrite('data/mine/images/a.png', np.full((120, 160, 3), 90, np.uint8))
    person = dict(file='a.png', box=[40, 20, 60, 90], joints=dict(left_wrist=[50.0, 60.0]))
    for split in ('train', 'val'):
        Path(f'data/mine/{split}.json').write_text(json.dumps([person, dict(person, joints={})]))
    monkeypatch.syspath_prepend(tmp_path)
    try:
        cfg = Config.fromfile('configs/my_people_mesh.py')
        for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
            people = DATASETS.build(cfg[loader].dataset)
            assert len(people) == 2 and type(people).__module__ == 'my_people'
            sample = people[0]['data_samples']
            expected = dict(
                gt_instance_labels=SMPL_LAYOUT.label_shapes, gt_instances=SMPL_LAYOUT.instance_shapes
            )
            for fields, shapes in expected.items():
                assert {key: tuple(value.shape[1:]) for key, value in sample.get(fields).items()} == shapes
            known = sample.gt_instances.keypoints_confidence[0]
            assert np.flatnonzero(known).tolist() == [SMPL_LAYOUT.joints.index('left_wrist')]
            np.testing.assert_allclose(sample.gt_instances.keypoints[0][known > 0], [[50, 60]])
            assert not sample.gt_instance_labels.has_body_pose.any()
        METRICS.build(cfg.val_evaluator)
    finally:
        DATASETS.module_dict.pop('MyPeople', None)
        sys.modules.pop('my_people', None)


def _program(title):
    (program,) = [
        block for block in blocks(ROOT / 'docs' / 'deployment.md', 'python') if block.title == title
    ]
    return program.text


def test_program_of_your_own_crops_and_returns_as_the_inferencer(tmp_path, monkeypatch):
    """The program of deployment.md with a network that finds the centre of a spot."""
    onnxruntime = pytest.importorskip('onnxruntime')
    width, height = 96, 128

    class Spot:
        def __init__(self, path):
            assert path == 'pose.onnx'

        def run(self, names, feeds):
            (batch,) = feeds.values()
            assert batch.shape == (1, 3, height, width) and batch.dtype == np.uint8
            mass = batch[0, 0].astype(float)  # red
            assert batch[0, 1:].max() == 0
            rows, columns = np.indices(mass.shape)
            pixel = np.array([(columns * mass).sum(), (rows * mass).sum()]) / mass.sum()
            found = dict(keypoints=pixel, scores=np.ones(1))
            return [found[name][None] for name in names]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(onnxruntime, 'InferenceSession', Spot)
    facts = dict(input=dict(size_wh=[width, height]), outputs=['keypoints', 'scores'])
    Path('pose.onnx.json').write_text(json.dumps(facts))
    names = {}
    exec(_program('my_program.py'), names)
    spot = np.array([131.0, 77.0])
    rows, columns = np.indices((200, 300))
    image = np.zeros((200, 300, 3), np.uint8)
    image[..., 2] = 255 * np.exp(-((columns - spot[0]) ** 2 + (rows - spot[1]) ** 2) / 50)
    keypoint, score = names['find_keypoints'](image, [40.0, 30.0, 150.0, 190.0])
    assert np.abs(keypoint - spot).max() < 0.05 and score == 1


@pytest.mark.slow
def test_programs_of_your_own_need_neither_mmhier_nor_torch_and_agree(tmp_path, monkeypatch, capsys):
    """As printed, with a small model: the one for OpenVINO gives what that for onnxruntime gives."""
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    pytest.importorskip('openvino')
    monkeypatch.chdir(tmp_path)
    small = np.random.default_rng(0).integers(0, 256, (8, 6, 3), np.uint8)
    Path('crops').mkdir()
    for path in ('photo.jpg', 'crops/photo.jpg'):
        cv2.imwrite(path, cv2.resize(small, (120, 160), interpolation=cv2.INTER_CUBIC))
    export = ['export', 'swinpose_micro_s3_synth', '--dynamic-batch', '--decode', '--input', 'rgb-uint8']
    export += ['--crops', 'crops', '--num-crops', '1', '--bound', '1000']
    for name in ('pose.xml', 'pose.onnx'):
        torch.manual_seed(0)
        assert main([*export[:2], 'random', *export[2:], '--out', name]) == 0
    programs = dict(openvino=_program('my_openvino.py'), onnxruntime=_program('my_program.py'))
    programs['onnxruntime'] += """
keypoints, scores = find_keypoints(cv2.imread('photo.jpg'), (0, 0, 120, 160))
for name, (x, y), score in zip(facts['keypoint_names'], keypoints, scores):
    print(f'{name}: {x:.1f}, {y:.1f} ({score:.2f})')
"""
    found = {}
    for name, text in programs.items():
        Path('program.py').write_text(
            f"import sys\nsys.modules['torch'] = sys.modules['mmhier'] = None\n{text}"
        )
        done = subprocess.run([sys.executable, 'program.py'], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = re.findall(r'^(\w+): (-?[\d.]+), (-?[\d.]+) \(', done.stdout, re.MULTILINE)
        assert len(lines) == 17 and lines[0][0] == 'nose'
        found[name] = np.array([[float(x), float(y)] for _, x, y in lines])
    assert np.ptp(found['openvino'], axis=0).min() > 5, 'a network that looks'
    assert np.abs(found['openvino'] - found['onnxruntime']).max() < 0.3


def test_help_is_filled_in():
    pages = runpy.run_path(str(ROOT / 'docs' / 'hooks' / 'pages.py'))
    text = pages['on_page_markdown']('<!-- help of all commands -->')
    assert '<!--' not in text
    for name in cli.COMMANDS:
        assert f'usage: mmhier {name}' in text


def test_site_builds_without_warnings(tmp_path):
    pytest.importorskip('material')
    pytest.importorskip('mkdocstrings')
    command = [sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    html = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob('*.html')}
    assert 'id="mmhier.inference.inferencer.Inferencer"' in html['api/inference.html']
    for name, text in html.items():
        outside = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="?(https?://[^" >]*)', text)
        assert not outside, f'{name} loads {outside}'
        assert not re.search(r':(?:class|func|mod|meth):', text), f'{name} shows a role as it is'


def test_gain_of_the_detector_stride_is_what_was_measured():
    """The table is docs/benchmarks/detector_stride.csv."""
    text = (ROOT / 'docs' / 'inference.md').read_text()
    with (ROOT / 'docs' / 'benchmarks' / 'detector_stride.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [row['stride'] for row in rows] == ['1', '2', '4']
    for row in rows:
        cells = [row['stride'], row['frame_ms'], row['per_second'], f'{row["gain"]}x', row['box_iou']]
        assert f'| {" | ".join(cells)} |' in text
        assert row['least_oks'] == '1.000'  # no keypoint fell out of a crop
        assert float(row['gain']) == pytest.approx(
            float(rows[0]['frame_ms']) / float(row['frame_ms']), abs=0.006
        )


def test_errors_of_walks_are_those_that_were_measured():
    """The tables of "Over time" are the largest values of docs/benchmarks/walk_motion.csv."""
    text = (ROOT / 'docs' / 'inference.md').read_text()
    with (ROOT / 'docs' / 'benchmarks' / 'walk_motion.csv').open() as file:
        rows = list(csv.DictReader(file))
    seeds = {row['seed'] for row in rows}
    assert len(seeds) >= 12 and f'over {len(seeds)} seeds' in ' '.join(text.split())

    def largest(column, lens, way):
        return max(float(row[column]) for row in rows if (row['lens'], row['way']) == (lens, way))

    def count(column, lens):
        found = [row for row in rows if (row['lens'], row['way']) == (lens, 'animation')]
        assert len(found) == 6 * len(seeds)
        return sum(int(row[column]) for row in found)

    ways, lenses = ('alone', 'smooth', 'animation'), ('known', '35 degrees', '78 degrees')
    settled = f'{largest("settled_step_cm", "known", "smooth"):.1f} cm, after half a second'
    step = [f'{largest("step_cm", "known", way):.1f} cm' for way in ways]
    lines = {
        'depth, of the distance': [f'{largest("depth_percent", "known", way):.1f} %' for way in ways],
        'step from frame to frame': [step[0], settled, step[2]],
        'slide of a foot that stands': [f'{largest("slide_cm", "known", way):.1f} cm' for way in ways],
        'depth, of the true distance': [f'{largest("depth_percent", x, "animation"):.0f} %' for x in lenses],
        'step': [f'{largest("step_cm", lens, "animation"):.1f} cm' for lens in lenses],
        'slide': [f'{largest("slide_cm", lens, "animation"):.1f} cm' for lens in lenses],
        'spells that slide by more than 3 cm': [
            f'{count("spells_above_3cm", lens)} of {count("spells", lens)}' for lens in lenses
        ],
    }
    far = [float(r['depth_percent']) > 5 for r in rows if (r['lens'], r['way']) == ('known', 'animation')]
    assert f'{sum(far)} of {len(far)} animated clips' in ' '.join(text.split())
    for name, cells in lines.items():
        assert f'| {name} | {" | ".join(cells)} |' in text, (name, cells)


def test_figures_of_the_gpu():
    """What docs/benchmarks/README.md says of a GPU is in its CSV."""
    with (ROOT / 'docs' / 'benchmarks' / 'gpu.csv').open() as file:
        rows = list(csv.DictReader(file))
    text = (ROOT / 'docs' / 'benchmarks' / 'README.md').read_text()
    text = ' '.join(text[text.index('## On a GPU') : text.index('## Drawing')].split())
    assert rows[0]['subject'] in text

    def ratios(**wanted):
        found = [float(row['ratio']) for row in rows if row['ratio'] and wanted.items() <= row.items()]
        return min(found), max(found)

    def ms(subject, precision, batch, **wanted):
        wanted |= dict(subject=subject, precision=precision, batch=batch, engine='mmhier')
        (row,) = (row for row in rows if wanted.items() <= row.items())
        return float(row['ms'])

    least, most = ratios(section='scan', mode='infer')
    assert f'{least:.1f} to {most:.0f} times as fast' in text
    assert '{:.0f} to {:.0f} times, in an eighth'.format(*ratios(section='scan', mode='train')) in text
    assert '{:.2f} to {:.2f}x for 64'.format(*ratios(section='encoders', mode='infer', batch='64')) in text
    assert 'a training step 0.94 to 1.20x' in text
    assert ratios(section='encoders', mode='train') == (0.94, 1.20)
    hmr2, gmf = (ms(name, 'tf32', '48') for name in ('hmr2_s', 'gmfhmr2_s_s3'))
    assert f'HMR2.0-S {hmr2:.0f} ms, GMFHMR2.0-S-S3 {gmf:.0f} ms in TF32' in text
    assert f'1,024 bodies take {ms("SMPL layer", "fp32", "1024", mode="infer"):.1f} ms' in text
