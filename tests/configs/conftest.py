"""Folders in which every recipe runs as its first line says, and fresh processes to run it in."""

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmpose.registry import MODELS

from mmhier.testing.fresh_processes import FreshProcesses
from mmhier.testing.recipe_files import (
    environment,
    stand_in_for_whole_bodies,
    write_recipe_files,
    write_synthetic_people,
    write_whole_people,
)


@pytest.fixture(scope='package')
def workshop(tmp_path_factory, repo_root):
    """Configs, tools, stand-ins for data and bodies: ``folder``, and ``run`` of :class:`FreshProcesses`."""
    folder = tmp_path_factory.mktemp('workshop')
    shutil.copytree(repo_root / 'configs', folder / 'configs')
    (folder / 'tools').symlink_to(repo_root / 'tools')
    write_recipe_files(folder)
    stand_in_for_whole_bodies(folder)
    variables = environment(folder) | dict(
        PYTHONPATH=os.pathsep.join([str(repo_root), os.environ.get('PYTHONPATH', '')]), OMP_NUM_THREADS='1'
    )
    with FreshProcesses(folder, variables) as processes:
        yield SimpleNamespace(folder=folder, processes=processes, run=processes.run, environment=variables)
    shutil.rmtree(folder)  # gigabytes of weights


@pytest.fixture(scope='package')
def shallow_workshop(workshop, tmp_path_factory):
    """The same data; encoders have one block per stage, all else in the configs is as it is."""
    folder = tmp_path_factory.mktemp('shallow')
    shutil.copytree(workshop.folder / 'configs', folder / 'configs')
    for name in ('tools', 'data'):
        (folder / name).symlink_to(workshop.folder / name)
    paths = list((folder / 'configs').glob('[ahw]*/*.py'))
    texts = [with_one_block_per_stage(path) for path in paths]  # of all, before any base is another
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    variables = workshop.environment | dict(TORCH_HOME=environment(folder)['TORCH_HOME'])
    run = workshop.processes.elsewhere(folder, variables).run
    yield SimpleNamespace(folder=folder, run=run, environment=variables)
    shutil.rmtree(folder)


def with_one_block_per_stage(path):
    """The text of a config with a shallower encoder of the same widths."""
    encoder = MODELS.get(Config.fromfile(path).model.backbone.type)
    archs = getattr(sys.modules[encoder.__module__], 'ARCHS', {})
    text = path.read_text()

    def shallow(match):
        arch = dict(archs[match[1]])
        arch |= dict(depths=(1,) * len(arch['depths'])) if 'depths' in arch else dict(num_layers=1)
        return f'arch=dict({", ".join(f"{key}={value!r}" for key, value in arch.items())})'

    text = re.sub(r"arch='(\w+)'", shallow, text, count=1)  # a second one is the decoder's
    text = text.replace("name='convnext_tiny'", "name='convnext_tiny', depths=(1, 1, 1, 1)")
    return text.replace('num_layers=[3, 4, 6, 3]', 'num_layers=[1, 1, 1, 1]')


@pytest.fixture(scope='package')
def whole_people(workshop) -> Path:
    """``data/whole`` in the workshop."""
    if importlib.util.find_spec('anny') is None:
        pytest.skip('the open body needs the package anny')
    write_whole_people(workshop.folder)
    return workshop.folder / 'data' / 'whole'


@pytest.fixture(scope='package')
def synthetic_people(workshop) -> Path:
    """``data/synth`` in the workshop."""
    if importlib.util.find_spec('anny') is None:
        pytest.skip('the open body needs the package anny')
    write_synthetic_people(workshop.folder)
    return workshop.folder / 'data' / 'synth'
