"""What the tests need that run on a GPU; they skip where PyTorch sees none."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from mmhier.testing.recipe_files import environment, write_recipe_files


@pytest.fixture(autouse=True)
def _gpu(monkeypatch):
    """Without TF32, so that results can be compared with those of a CPU."""
    if not torch.cuda.is_available():
        pytest.skip('PyTorch sees no GPU')
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    torch.cuda.empty_cache()


@pytest.fixture(scope='session')
def workshop(tmp_path_factory, repo_root):
    """A folder with stand-ins for data and bodies where ``run`` runs ``python SCRIPT ARGUMENTS``."""
    folder = tmp_path_factory.mktemp('gpu_workshop')
    for name in ('configs', 'tools'):
        (folder / name).symlink_to(repo_root / name)
    write_recipe_files(folder, people=4)
    variables = os.environ | environment(folder)
    variables['PYTHONPATH'] = os.pathsep.join([str(repo_root), os.environ.get('PYTHONPATH', '')])

    def run(*command, **more):
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=folder,
            env=variables | more,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout + done.stderr

    return SimpleNamespace(folder=folder, run=run, environment=variables)
