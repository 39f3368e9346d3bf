"""A wheel in an empty environment, far from any clone, comes to its first picture by the pages' lines."""

import hashlib
import json
import os
import runpy
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmhier.testing.file_server import FileServer, Served
from mmhier.zoo.registry import SHIPPED, find_entry

TESTS = Path(__file__).parent
INSTALL = ('pip install {wheel}[synth]', 'mmhier doctor --fix --yes')
FIRST = 'mmhier infer photo.jpg'
DETECTOR, WEIGHTS = 'yolox-s', 'vitpose-plus-small'


@pytest.fixture(scope='module')
def wheel(repo_root, tmp_path_factory):
    """A wheel built from a copy of what the build reads, so that the clone stays as it is."""
    copy, out = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    for name in ('mmhier', 'configs', 'requirements'):
        shutil.copytree(repo_root / name, copy / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(repo_root / name, copy)
    command = [sys.executable, '-m', 'pip', 'wheel', str(copy), '-q', '--no-deps', '--no-build-isolation']
    subprocess.run([*command, '-w', str(out)], check=True, timeout=600)
    (path,) = out.glob('*.whl')
    return path


@pytest.fixture(scope='module')
def shell(tmp_path_factory):
    """Runs a line as a user does who has activated a new environment; the last lines are in the message."""
    folder = tmp_path_factory.mktemp('far_away')
    venv.EnvBuilder(with_pip=True).create(folder / 'env')
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(('MMHIER', 'PYTHON', 'HF_'))
    }
    kept['PATH'] = f'{folder / "env" / "bin"}{os.pathsep}{kept["PATH"]}'
    kept['MMHIER_HOME'] = str(folder / 'home')

    def run(line: str, status: int = 0, **variables: str) -> str:
        done = subprocess.run(
            line.split(), cwd=folder, env=kept | variables, capture_output=True, text=True, timeout=3000,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        assert done.returncode == status, f'{line}\n{(done.stdout + done.stderr)[-3000:]}'
        return done.stdout + done.stderr

    run.folder = folder
    return run


def released_files(folder: Path, repo_root: Path) -> dict[str, bytes]:
    """The files of the default detector and weights in their formats: it finds two boxes, they are random."""
    made = runpy.run_path(str(TESTS / 'detection' / 'test_onnx_detector.py'))
    choice = runpy.run_path(str(TESTS / 'zoo' / 'test_choice.py'))
    init_default_scope('mmpose')
    settings = Config.fromfile(repo_root / 'configs/hpe/vitpose_s_coco.py').model
    settings.backbone.init_cfg = None
    torch.manual_seed(0)
    state = choice['released_state'](MODELS.build(settings), 'huggingface+')
    detector = made['save'](folder / 'detector.onnx', {'output': made['grid_output'](made['GRID'])})
    return {DETECTOR: detector.read_bytes(), WEIGHTS: choice['as_file'](state, 'safetensors')}


def publish(files: dict[str, bytes], registry: Path, server: FileServer) -> None:
    """Serve files where a mirror has those of the registry, which gets their sizes and hashes."""
    entries = json.loads(registry.read_text())
    for name, content in files.items():
        entries[name] |= dict(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        address = entries[name]['sources'][0]['url'].partition('://')[2]
        server.files[f'/{address}'] = Served(content)
    registry.write_text(json.dumps(entries))


@pytest.mark.slow  # fetches gigabytes of PyTorch: minutes, or much longer, and 6 GB of disk
def test_first_picture(wheel, shell, repo_root, tmp_path):
    pytest.importorskip('onnx')
    try:
        shell('pip download --no-deps -q six')
    except AssertionError as error:
        pytest.skip(f'no package index answers: {str(error).strip().splitlines()[-1]}')
    shell(INSTALL[0].format(wheel=wheel))
    assert 'Run: mmhier doctor --fix' in shell(FIRST.replace('infer', 'infer --weights random'), status=1)
    assert '--no-deps mmpose==' in shell('mmhier doctor --fix', status=2)
    assert 'Everything required works.' in shell(INSTALL[1])
    place = Path(shell('python -c print(__import__("mmhier").__file__)').splitlines()[-1]).parent
    assert place.is_relative_to(shell.folder)
    shell('mmhier demo --no-show', MMHIER_OFFLINE='1')
    assert cv2.imread(str(shell.folder / 'mmhier_demo' / 'demo.jpg')).std() > 10
    cv2.imwrite(str(shell.folder / 'photo.jpg'), np.full((32, 64, 3), 90, np.uint8))
    with FileServer() as server:
        publish(released_files(tmp_path, repo_root), place / 'zoo' / 'weights.json', server)
        said = shell(FIRST, MMHIER_MIRROR=server.address)
    assert '1 frames, 2 people' in said and f'weights {WEIGHTS}' in said and f'detector {DETECTOR}' in said
    assert cv2.imread(str(shell.folder / 'work_dirs/infer/photo_overlay.jpg')).shape == (32, 64, 3)
    assert '1 frames, 2 people' in shell(FIRST, MMHIER_OFFLINE='1')  # from the cache


def test_the_wheel_has_what_is_not_code(wheel, repo_root):
    names = subprocess.run(
        [sys.executable, '-m', 'zipfile', '-l', str(wheel)], capture_output=True, text=True, check=True
    ).stdout
    configs = [path.relative_to(repo_root).as_posix() for path in (repo_root / 'configs').rglob('*.py')]
    assert len(configs) > 60
    shipped = [f'zoo/shipped/{path.name}' for path in SHIPPED.iterdir()]
    assert len(shipped) == 6
    wanted = [*configs, *shipped, 'zoo/weights.json', 'rasterizer/kernel.cpp', 'py.typed']
    assert [name for name in wanted if f'mmhier/{name} ' not in names] == []
    assert find_entry(DETECTOR) and find_entry(WEIGHTS)


def test_the_lines_are_those_of_the_pages(repo_root):
    pages = [repo_root / 'docs' / name for name in ('quickstart.md', 'inference.md')]
    printed = '\n'.join(path.read_text() for path in pages)
    assert INSTALL[1].removesuffix(' --yes') in printed and 'mmhier demo' in printed
    assert FIRST in printed
