"""The script that makes npz files of benchmarks: counts are printed, errors are one line, files are whole."""

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from mmhier.datasets.mesh import MeshNpzDataset
from mmhier.testing.benchmark_files import (
    FRAMES,
    dump_python2,
    random_motion,
    sequence_of_3dpw,
    sequence_of_emdb,
    write_coco_people,
    write_small_body,
)

SCRIPT = 'tools/prepare/benchmark_to_npz.py'
PERSON = dict(keypoints=np.arange(51).reshape(17, 3) + 1, bbox=[1, 2, 30, 40])


@pytest.fixture
def run(repo_root, tmp_path, monkeypatch, capsys):
    """The script's ``main``, working in an empty folder: exit status, standard output, standard error."""
    spec = importlib.util.spec_from_file_location('benchmark_to_npz', repo_root / SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)

    def start(*arguments):
        status = module.main(list(map(str, arguments)))
        return SimpleNamespace(returncode=status, **capsys.readouterr()._asdict())

    return start


def test_as_a_program(repo_root, tmp_path):
    command = [sys.executable, repo_root / SCRIPT, 'coco', 'gone.json']
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, '')
    assert result.stderr == 'coco: gone.json does not exist\n'


def test_coco_into_the_default_folder(run, tmp_path):
    source = write_coco_people(tmp_path / 'a.json', [PERSON, PERSON | dict(bbox=[1, 2, 0, 0])])
    result = run('coco', source)
    assert result.returncode == 0, result.err
    assert '2 people read, 1 kept, 1 left out (1: box narrower than a pixel)' in result.out
    assert 'HMR2.0 does not say how its coco_val.npz chooses people' in result.out
    folder = tmp_path / 'data' / 'hmr2_evaluation_data'
    assert [path.name for path in folder.iterdir()] == ['coco_val.npz']
    assert len(MeshNpzDataset('coco', 'coco_val.npz', '', str(folder), test_mode=True)) == 1


def test_bodies_of_given_files(run, tmp_path):
    rng = np.random.default_rng(0)
    motion = random_motion(rng)
    found = rng.uniform(50, 90, (FRAMES, 3, 18))
    (tmp_path / 'test').mkdir()
    sequence = sequence_of_3dpw('a', [motion], ['f'], [found])
    (tmp_path / 'test' / 'a.pkl').write_bytes(dump_python2(sequence))
    kp2d = rng.uniform(50, 90, (FRAMES, 24, 2))
    (tmp_path / 'P0' / '00_a').mkdir(parents=True)
    sequence = sequence_of_emdb('P0_00_a', motion, 'female', kp2d, rng.uniform(0, 5, (FRAMES, 4)).cumsum(1))
    (tmp_path / 'P0' / '00_a' / 'P0_00_a_data.pkl').write_bytes(dump_python2(sequence))
    body = write_small_body(tmp_path / 'female.npz', 0)
    for arguments in (('3dpw', 'test'), ('emdb', '.', '--boxes', 'joints', '--padding', '1.5')):
        result = run(*arguments, '--female', body, '--out', 'out/x.npz')
        assert result.returncode == 0, result.err
        assert f'{FRAMES} people read, {FRAMES} kept, 0 left out' in result.out
        assert f'{FRAMES} people, boxes enlarged by 1' in result.out
    dataset = MeshNpzDataset('x', 'out/x.npz', '', str(tmp_path), test_mode=True)
    size = kp2d[0].max(0) - kp2d[0].min(0)
    np.testing.assert_allclose(dataset.get_data_info(0)['scale'], 1.5 * size, rtol=1e-5)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (('coco', 'gone.json'), 'coco: gone.json does not exist'),
        (('posetrack', 'gone'), 'posetrack: gone holds no .json files'),
        (('lsp-extended', '.'), 'lsp-extended: joints.mat does not exist'),
        (('3dpw', '.'), '3dpw: . holds no .pkl files'),
        (('emdb', '.', '--boxes', 'joints'), 'emdb: . holds no P*/SEQUENCE/*_data.pkl files'),
    ],
)
def test_errors_are_one_line(run, tmp_path, arguments, message):
    result = run(*arguments)
    assert result.returncode == 1
    assert result.err.startswith(message)
    assert result.err.count('\n') == 1
    assert not list(tmp_path.iterdir())


def test_missing_body_model_says_where_to_get_it(run, tmp_path, monkeypatch):
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(tmp_path))
    motion = random_motion(np.random.default_rng(0))
    sequence = sequence_of_3dpw('a', [motion], ['m'], [np.ones((FRAMES, 3, 18)) * np.arange(18)])
    (tmp_path / 'a.pkl').write_bytes(dump_python2(sequence))
    result = run('3dpw', '.')
    assert result.returncode == 1
    assert 'SMPL male is not installed' in result.err
    assert 'mmhier body-model setup' in result.err
