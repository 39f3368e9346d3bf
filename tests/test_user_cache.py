"""One folder for all that is kept; parts of it may lie elsewhere."""

from pathlib import Path

import pytest

from mmhier.body_models.open_body import cache_directory
from mmhier.rasterizer import native
from mmhier.user_cache import HOME_VARIABLE, PARTS, home, part
from mmhier.zoo import cache

VARIABLES = (HOME_VARIABLE, 'XDG_CACHE_HOME', *PARTS.values())


@pytest.fixture(autouse=True)
def _unset(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_where_the_folder_is(monkeypatch, tmp_path):
    assert home() == Path.home() / '.cache/mmhier'
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    assert home() == tmp_path / 'xdg/mmhier'
    monkeypatch.setenv(HOME_VARIABLE, '~/somewhere')
    assert home() == Path.home() / 'somewhere'
    monkeypatch.setenv(HOME_VARIABLE, '')
    assert home() == tmp_path / 'xdg/mmhier'


def test_all_parts_follow(monkeypatch, tmp_path):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    assert cache_directory() == part('body_models') == tmp_path / 'body_models'
    assert part('models') == tmp_path / 'models' and cache.home() == tmp_path
    if native.library() is not None:  # there is a compiler
        assert native.library_path().parent == tmp_path / 'native'


@pytest.mark.parametrize('name', PARTS)
def test_a_part_elsewhere(monkeypatch, tmp_path, name):
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    monkeypatch.setenv(PARTS[name], '~/elsewhere')
    assert part(name) == Path.home() / 'elsewhere'
    assert all(part(other) == tmp_path / other for other in PARTS if other != name)


def test_the_pages_name_them_all(repo_root):
    page = (repo_root / 'docs/command_line.md').read_text(encoding='utf-8')
    assert all(f'`{name}`' in page for name in (HOME_VARIABLE, *PARTS.values()))
