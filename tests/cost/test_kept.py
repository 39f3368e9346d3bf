"""Costs are counted once, and again as soon as anything changes that they follow from."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mmhier.cost import kept, macs
from mmhier.cost.kept import Cost, find_cost, kept_cost, reported
from mmhier.zoo.names import find_configs, resolve_config

COST = Cost('a', (96, 128), 1, 2, 3, 4, 70.5, None, 'paper', False)


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """Names of the models that are counted, in a home of its own."""
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    names = []

    def count(path):
        names.append(path.stem)
        return replace(COST, name=path.stem, params=len(names))

    monkeypatch.setattr(macs, 'cost_of', count)
    return names


@pytest.fixture
def configs(tmp_path):
    folder = tmp_path / 'configs'
    folder.mkdir()
    (folder / 'base.py').write_text('width = 3\n')
    (folder / 'leaf.py').write_text("_base_ = './base.py'\nmodel = dict(width={{_base_.width}})\n")
    (folder / 'other.py').write_text("_base_ = ['base.py']\nmodel = dict(width=_base_.width)\n")
    return folder


def test_a_cost_is_counted_once(counted, configs):
    assert kept_cost(configs / 'leaf.py') is None
    first = find_cost(configs / 'leaf.py')
    assert find_cost(configs / 'leaf.py') == kept_cost(configs / 'leaf.py') == first
    find_cost(configs / 'other.py')
    assert find_cost(configs / 'leaf.py') == first and counted == ['leaf', 'other']


@pytest.mark.parametrize('change', ['leaf', 'base', 'name', 'code', 'library'])
def test_a_cost_is_counted_again_after_a_change(counted, configs, monkeypatch, change):
    leaf = configs / 'leaf.py'
    find_cost(leaf)
    kept._state.cache_clear()
    if change in ('leaf', 'base'):
        with (configs / f'{change}.py').open('a') as file:
            file.write('depth = 4\n')
    elif change == 'name':
        leaf = leaf.rename(configs / 'renamed.py')
    elif change == 'code':
        monkeypatch.setattr(kept, 'code_digest', lambda module: 'newer')
    else:
        monkeypatch.setattr(kept.metadata, 'version', lambda name: '99')
    find_cost(leaf)
    kept._state.cache_clear()
    assert len(counted) == 2


@pytest.mark.parametrize(
    'line',
    [
        'import os',
        'from sizes import width',
        "custom_imports = dict(imports=['mine'])",
        "size = {{'$SIZE:3'}}",
        "size = '{{$SIZE:3}}'",
        '_base_ = bases()',
        "_base_ = 'absent.py'",
        "_base_ = 'nobody::a.py'",
        'with read_base():\n    from .base import width',
        'a =',
    ],
)
def test_what_says_more_than_its_text_is_counted_every_time(counted, configs, line):
    (configs / 'leaf.py').write_text(f'{line}\n')
    find_cost(configs / 'leaf.py')
    find_cost(configs / 'leaf.py')
    assert counted == ['leaf', 'leaf']


@pytest.mark.parametrize('content', ['', '[]', '{"KEY": 3}', '{"KEY": {"name": "a"}}', '\xff'])
def test_a_damaged_file_is_written_anew(counted, configs, content):
    leaf = configs / 'leaf.py'
    first = find_cost(leaf)
    kept._file().write_text(content.replace('KEY', kept._key(leaf)), encoding='latin-1')
    assert find_cost(leaf) == replace(first, params=2) == kept_cost(leaf)


def test_a_home_that_cannot_be_written_is_no_error(counted, configs, tmp_path):
    (tmp_path / 'home').write_text('a file')
    assert find_cost(configs / 'leaf.py').name == 'leaf'
    assert kept_cost(configs / 'leaf.py') is None


def test_every_config_of_ours_can_be_kept():
    keys = [kept._key(path) for path in find_configs(['*'])]
    assert None not in keys and len(set(keys)) == len(keys) > 70
    stock = [kept._key(path) for path in find_configs(['mmpose::*'])]
    assert stock.count(None) < len(stock) / 10


def test_what_is_kept_is_what_was_counted(tmp_path, monkeypatch):
    """Real numbers, read again by a process that loads neither torch nor MMEngine."""
    monkeypatch.setenv('HOME', str(tmp_path))
    path = resolve_config('swinpose_micro_s3')
    cost = find_cost(path)
    assert cost == kept_cost(path) == macs.cost_of(path)
    program = (
        'import sys\nfrom mmhier.cli.main import main\nassert main(["models", "swinpose_micro_s3"]) == 0\n'
        'assert not {"torch", "mmengine", "mmpose"} & sys.modules.keys()'
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, '-c', program], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0 and f'{cost.macs / 1e9:.2f}' in done.stdout and not done.stderr, done.stderr


def test_reported_score_is_read_from_the_head_of_a_config(tmp_path):
    path = tmp_path / 'a.py'
    path.write_text('# COCO val: 74.6 AP (paper, arXiv 1). Not run by us yet.\nx = 1\n')
    assert reported(path, 'AP') == (74.6, 'paper, arXiv 1')
    assert reported(path, 'PA-MPJPE on Human3.6M') == (None, '')
    path.write_text('# Not run by us yet.\ny = "75.0 AP (made up)"\n')
    assert reported(path, 'AP') == (None, '')
