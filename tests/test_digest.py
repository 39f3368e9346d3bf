"""The digest of code that caches are keyed by: it follows imports, and layout does not count."""

import sys

import pytest

from mmhier import digest


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules, one of which nobody imports; returns a function that edits a module."""
    folder = tmp_path / 'pack'
    folder.mkdir()
    sources = {
        '__init__': '',
        'top': 'from pack.constants import SIZE\n\n\ndef area():\n    return SIZE**2\n',
        'constants': '"""Sizes."""\n\nSIZE = 3  # metres\n',
        'other': 'SIZE = 4\n',
    }

    def write(name, source):
        (folder / f'{name}.py').write_text(source)
        digest.code_digest.cache_clear()

    for name, source in sources.items():
        write(name, source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(digest, '_PACKAGE', 'pack')
    yield write
    for name in [name for name in sys.modules if name.partition('.')[0] == 'pack']:
        del sys.modules[name]
    digest.code_digest.cache_clear()


@pytest.mark.parametrize(
    ('module', 'source', 'same'),
    [
        ('constants', 'SIZE = 3.5\n', False),
        ('top', 'from pack.constants import SIZE\n\n\ndef area():\n    return SIZE**3\n', False),
        ('top', 'def area():\n    from pack.other import SIZE\n\n    return SIZE**2\n', False),
        ('constants', '"""All sizes."""\nSIZE = 3\n', True),
        ('top', '# Areas\nfrom pack.constants import SIZE\ndef area():\n  "x"\n  return SIZE ** 2', True),
        ('other', 'SIZE = 5\n', True),
    ],
)  # fmt: skip
def test_changes_with_the_code_and_nothing_else(package, module, source, same):
    before = digest.code_digest('pack.top')
    package(module, source)
    assert (digest.code_digest('pack.top') == before) is same


def test_a_function_of_docstring_alone_is_code(package):
    package('top', 'def nothing():\n    """Do nothing."""\n')
    assert len(digest.code_digest('pack.top')) == 12


def test_no_such_module(package):
    with pytest.raises(ModuleNotFoundError, match='pack.nothing'):
        digest.code_digest('pack.nothing')


def test_body_rests_on_its_regressors():
    """The case that this is for: other regressors of joints, and a body from before is read."""
    digest.code_digest.cache_clear()
    read = []
    source = digest._source
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digest, '_source', lambda name: read.append(name) or source(name))
        digest.code_digest('mmhier.body_models.open_body')
    digest.code_digest.cache_clear()
    assert {'mmhier.body_models.open_landmarks', 'mmhier.body_models.joint_sets'} <= set(read)
