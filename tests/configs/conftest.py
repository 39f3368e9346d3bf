"""A folder in which every recipe runs as its first line says, and fresh processes to run it in."""

import importlib.util
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmhier.testing.fresh_processes import FreshProcesses
from mmhier.testing.recipe_files import environment, write_recipe_files, write_synthetic_people


@pytest.fixture(scope='package')
def workshop(tmp_path_factory, repo_root):
    """Configs, tools, stand-ins for data and bodies: ``folder``, and ``run`` of :class:`FreshProcesses`."""
    folder = tmp_path_factory.mktemp('workshop')
    shutil.copytree(repo_root / 'configs', folder / 'configs')
    (folder / 'tools').symlink_to(repo_root / 'tools')
    write_recipe_files(folder)
    variables = environment(folder) | dict(
        PYTHONPATH=os.pathsep.join([str(repo_root), os.environ.get('PYTHONPATH', '')]), OMP_NUM_THREADS='1'
    )
    with FreshProcesses(folder, variables) as processes:
        yield SimpleNamespace(folder=folder, run=processes.run, environment=variables)
    shutil.rmtree(folder)  # gigabytes of weights


@pytest.fixture(scope='package')
def synthetic_people(workshop) -> Path:
    """``data/synth`` in the workshop."""
    if importlib.util.find_spec('anny') is None:
        pytest.skip('the open body needs the package anny')
    write_synthetic_people(workshop.folder)
    return workshop.folder / 'data' / 'synth'
