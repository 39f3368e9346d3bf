"""A cache of its own for every test, and entries for what a server has."""

import hashlib

import pytest

from mmhier.user_cache import HOME_VARIABLE
from mmhier.zoo.cache import FOLDERS_VARIABLE
from mmhier.zoo.registry import Licence, Source, Weights, read_registry

LICENCE = Licence('MIT', 'CC BY 4.0', 'own pictures')


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, downloads):
    """An empty cache, and downloads from where the test says only."""
    monkeypatch.delenv(FOLDERS_VARIABLE, raising=False)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / 'home'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    return tmp_path / 'home'


@pytest.fixture
def make_entry(monkeypatch):
    """Make an entry of a file, and put it into the registry for as long as the test takes."""

    def make(name='net', content=None, sources=(), **others) -> Weights:
        known = {}
        if content is not None:
            known = dict(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        sources = tuple(Source(one) if isinstance(one, str) else one for one in sources)
        settings = dict(kind='init', file='net.bin', format='pth', licence=LICENCE, non_commercial='no')
        settings |= dict(page='https://example.org/net', sources=sources) | known | others
        monkeypatch.setitem(read_registry(), name, Weights(name, **settings))
        return read_registry()[name]

    return make
