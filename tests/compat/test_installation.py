"""What is installed beside mmhier's requirements is what they say, and can be installed anywhere."""

import sys

import pytest

from mmhier.compat import installation

RUNTIME = ('mmcv', 'mmengine', 'torch')


def lines_of(path) -> list[str]:
    lines = path.read_text().splitlines()
    return [line.partition(';')[0].strip() for line in lines if line and not line.startswith('#')]


def test_it_agrees_with_the_requirements(repo_root):
    runtime = lines_of(repo_root / 'requirements' / 'runtime.txt')
    for name in RUNTIME:
        assert set(installation.INSTALL[name]) <= set(runtime), name
    lock = lines_of(repo_root / 'requirements' / 'lock.txt')
    assert installation.INSTALL['mmpose'] == ('--no-deps', next(x for x in lock if x.startswith('mmpose==')))
    assert not any(line.startswith('mmpose') for line in runtime)


def test_advice():
    assert installation.advice('mmpose.models') == 'Run: mmhier doctor --fix'
    assert installation.advice('mmpretrain') == 'Run: mmhier doctor --fix mmpretrain'
    assert installation.advice('numpy') is None and installation.advice('') is None


def test_pip_uv_or_neither(monkeypatch):
    assert installation.pip_command(('a',)) == [sys.executable, '-m', 'pip', 'install', 'a']
    monkeypatch.setattr(installation, 'version_of', lambda name: None)
    monkeypatch.setattr(installation, 'which', lambda name: '/bin/uv')
    assert installation.pip_command(('a',)) == ['/bin/uv', 'pip', 'install', '--python', sys.executable, 'a']
    monkeypatch.setattr(installation, 'which', lambda name: None)
    with pytest.raises(ImportError, match='has no pip: python -m ensurepip'):
        installation.pip_command(('a',))
