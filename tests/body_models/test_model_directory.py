"""Body models by name: which file, and how long a shared one is kept."""

import numpy as np

from mmhier.body_models import model_directory
from mmhier.body_models.model_directory import body_file, shared_body_model


def test_a_shared_body_is_loaded_again_when_its_files_change(tmp_path, monkeypatch):
    loaded = []

    def load(*key):
        loaded.append(key)
        return object()

    monkeypatch.setattr(model_directory, 'load_body_model', load)
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(tmp_path / 'one'))
    (tmp_path / 'one').mkdir()
    body_file('male').write_bytes(b'1')
    first = shared_body_model('male', 'smpl24', 10)
    assert shared_body_model('male', 'smpl24', 10) is first
    body_file('male').write_bytes(b'12')  # installed again
    second = shared_body_model('male', 'smpl24', 10)
    np.savez(model_directory.installed_path('j19'))  # a regressor was installed
    third = shared_body_model('male', 'smpl24', 10)
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(tmp_path / 'two'))
    fourth = shared_body_model('male', 'smpl24', 10)
    assert len({id(body) for body in (first, second, third, fourth)}) == len(loaded) == 4
    assert body_file(tmp_path / 'some.npz') == tmp_path / 'some.npz'
