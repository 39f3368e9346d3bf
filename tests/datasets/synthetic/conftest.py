import pytest


@pytest.fixture(scope='session')
def kit(body_folder):
    from mmhier.body_models.open_body import load_open_body, open_body_path
    from mmhier.datasets.synthetic.people import BodyKit

    return BodyKit(load_open_body(body_folder / open_body_path().name))
