import runpy
from pathlib import Path

import pytest

from mmhier.testing.fresh_processes import FreshProcesses

_body = runpy.run_path(str(Path(__file__).parents[1] / 'body_models' / 'conftest.py'))

smpl_arrays, as_published, make_body = _body['smpl_arrays'], _body['as_published'], _body['make_body']
chumpy, pickle_smpl = _body['chumpy'], _body['pickle_smpl']


@pytest.fixture(scope='session')
def _server(tmp_path_factory):
    with FreshProcesses(tmp_path_factory.mktemp('fresh'), {'OMP_NUM_THREADS': '2'}) as processes:
        yield processes


@pytest.fixture
def fresh(_server):
    """Processes that run scripts in a folder, with variables beside those of this one."""
    return lambda folder, **variables: _server.elsewhere(folder, {'OMP_NUM_THREADS': '2'} | variables)
