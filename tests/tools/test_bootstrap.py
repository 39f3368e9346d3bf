"""Set-up: what is missing is one readable line, and an interrupted or finished set-up is recognised."""

import importlib.util
import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest


@pytest.fixture
def bootstrap(repo_root, tmp_path, monkeypatch):
    """The script, working in a copy of the repository's metadata; pip and venv are recorded, not run."""
    spec = importlib.util.spec_from_file_location('bootstrap', repo_root / 'tools' / 'bootstrap.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (tmp_path / 'requirements').mkdir()
    shutil.copy(repo_root / 'requirements' / 'lock.txt', tmp_path / 'requirements')
    shutil.copy(repo_root / 'setup.py', tmp_path)
    monkeypatch.setattr(module, 'ROOT', tmp_path)
    monkeypatch.setattr(module, 'VENV', tmp_path / '.venv')
    monkeypatch.setattr(module, 'LOCK', tmp_path / 'requirements' / 'lock.txt')
    monkeypatch.setattr(module, 'STAMP', tmp_path / '.venv' / 'stamp')
    monkeypatch.setattr(module, 'PYTHON', tmp_path / '.venv' / 'bin' / 'python')
    module.commands = []

    def create(self, folder):
        (folder / 'bin').mkdir(parents=True)
        (folder / 'bin' / 'python').symlink_to(sys.executable)

    def run(command, **_):
        module.commands.append(command[1:])
        return SimpleNamespace(returncode=0, stderr='')

    monkeypatch.setattr(module.venv.EnvBuilder, 'create', create)
    monkeypatch.setattr(module.subprocess, 'run', run)
    return module


def _pip_commands(bootstrap):
    return [command for command in bootstrap.commands if command[:2] == ['-m', 'pip']]


def test_installs_torch_first_then_the_rest_without_resolution(bootstrap):
    assert bootstrap.main() == 0
    first, second, third = _pip_commands(bootstrap)
    assert any(argument.startswith('torch==') for argument in first) and '--no-deps' not in first
    assert '--no-deps' in second and '-r' in second
    assert '--no-deps' in third and '-e' in third


def test_a_finished_environment_is_left_alone_until_requirements_change(bootstrap):
    assert bootstrap.main() == 0
    count = len(_pip_commands(bootstrap))
    assert bootstrap.main() == 0
    assert len(_pip_commands(bootstrap)) == count
    bootstrap.LOCK.write_text(bootstrap.LOCK.read_text() + '# changed\n')
    assert bootstrap.main() == 0
    assert len(_pip_commands(bootstrap)) == 2 * count


@pytest.mark.parametrize(
    ('stderr', 'message'),
    [
        ('ERROR: Could not find a version\nConnection refused', 'network'),
        ('OSError: [Errno 28] No space left on device', 'disk is full'),
        ('ERROR: No matching distribution found for torch==0', 'No matching distribution'),
    ],
)
def test_failing_pip_is_one_line_and_leaves_no_stamp(bootstrap, monkeypatch, capsys, stderr, message):
    def run(command, **_):
        return SimpleNamespace(returncode=int(command[1:3] == ['-m', 'pip']), stderr=stderr)

    monkeypatch.setattr(bootstrap.subprocess, 'run', run)
    assert bootstrap.main() == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1 and message in lines[0] and 'pip-error.log' in lines[0]
    assert not bootstrap.STAMP.exists()


def test_unsupported_python_and_full_disk_are_named(bootstrap, monkeypatch, capsys):
    monkeypatch.setattr(bootstrap, 'MIN_PYTHON', (3, 99))
    assert bootstrap.main() == 1
    monkeypatch.setattr(bootstrap, 'MIN_PYTHON', (3, 10))
    monkeypatch.setattr(bootstrap.shutil, 'disk_usage', lambda _: SimpleNamespace(free=1e9))
    assert bootstrap.main() == 1
    python, disk = capsys.readouterr().err.strip().splitlines()
    assert 'is not supported' in python and '1.0 GB of free disk' in disk
    assert not bootstrap.commands


def test_no_python_at_all_is_one_line(repo_root):
    result = subprocess.run(
        ['make', 'env', 'PYTHON=/nowhere/python3'], cwd=repo_root, capture_output=True, text=True
    )
    assert result.returncode != 0
    assert 'no Python found' in result.stderr.splitlines()[0]


@pytest.mark.parametrize('name', ['dist_train', 'dist_test', 'slurm_train', 'slurm_test'])
def test_scripts_without_arguments_say_how_to_use_them(repo_root, name):
    result = subprocess.run(['bash', f'tools/{name}.sh'], cwd=repo_root, capture_output=True, text=True)
    assert result.returncode == 2
    assert result.stderr.startswith(f'usage: tools/{name}.sh')
