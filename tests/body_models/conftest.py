import importlib.util

import pytest


@pytest.fixture(scope='session')
def open_body_path(tmp_path_factory):
    """An open body built in this session; tests of synthetic people use the same file."""
    if importlib.util.find_spec('anny') is None:
        pytest.skip('the open body needs the package anny')
    from mmhier.body_models.open_body import load_open_body

    path = tmp_path_factory.getbasetemp() / 'body_models' / 'open_body_v1.npz'
    load_open_body(path)
    return path


@pytest.fixture(scope='session')
def open_body(open_body_path):
    from mmhier.body_models.smpl_file import read_smpl_npz

    return read_smpl_npz(open_body_path)
