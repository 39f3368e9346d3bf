import importlib.util

import pytest


@pytest.fixture(scope='session')
def kit(tmp_path_factory):
    """The open body of this session, ready for scenes."""
    if importlib.util.find_spec('anny') is None:
        pytest.skip('the open body needs the package anny')
    from mmhier.body_models.open_body import load_open_body, open_body_path
    from mmhier.datasets.synthetic.people import BodyKit

    return BodyKit(load_open_body(tmp_path_factory.getbasetemp() / 'body_models' / open_body_path().name))
