import importlib.util

import pytest


@pytest.fixture(scope='session')
def body_folder(tmp_path_factory):
    """Folder with the open body of this session, which tests of body models use as well."""
    if importlib.util.find_spec('anny') is None:
        pytest.skip('the open body needs the package anny')
    from mmhier.body_models.open_body import load_open_body, open_body_path

    folder = tmp_path_factory.getbasetemp() / 'body_models'
    load_open_body(folder / open_body_path().name)
    return folder


@pytest.fixture(scope='session')
def kit(body_folder):
    """The open body, ready for scenes."""
    from mmhier.body_models.open_body import load_open_body, open_body_path
    from mmhier.datasets.synthetic.people import BodyKit

    return BodyKit(load_open_body(body_folder / open_body_path().name))
