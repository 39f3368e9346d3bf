"""A cache of its own for every test, a server, and entries for what it serves."""

import hashlib

import pytest

from mmhier.testing.file_server import FileServer
from mmhier.user_cache import HOME_VARIABLE
from mmhier.zoo import download
from mmhier.zoo.cache import FOLDERS_VARIABLE, OFFLINE_VARIABLES
from mmhier.zoo.registry import Licence, Source, Weights, read_registry

PROXIES = ('http_proxy', 'https_proxy', 'all_proxy', 'no_proxy')
LICENCE = Licence('MIT', 'CC BY 4.0', 'own pictures')


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty cache, and an environment that says nothing about downloads; tries follow at once."""
    names = (
        *OFFLINE_VARIABLES,
        FOLDERS_VARIABLE,
        'MMHIER_MIRROR',
        'HF_ENDPOINT',
        'REQUESTS_CA_BUNDLE',
        *PROXIES,
    )
    for name in (*names, *(name.upper() for name in PROXIES)):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / 'home'))
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    monkeypatch.setattr(download, 'BACK_OFF_S', 0.0)
    return tmp_path / 'home'


@pytest.fixture
def server():
    with FileServer() as server:
        yield server


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
