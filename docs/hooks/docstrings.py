"""Griffe extension: what mmhier's docstrings say in reStructuredText, said in Markdown.

Roles such as ``:class:`Motion``` become links where the thing is documented, else code; ``::`` before an
indented block becomes a colon; tables drawn with ``=`` become blocks of text. Names that a package imports
from its modules are left to the modules, so that nothing is documented twice.
"""

import re
from collections.abc import Iterator

import griffe

ROLE = re.compile(r':(?:class|func|meth|mod|data|attr|obj):`~?([^`]+)`')
TABLE = re.compile(
    r'(?P<edge>^[ ]*=+(?: +=+)+[ ]*\n)(?:.*\n)+?(?P=edge)(?:.*\n)+?(?:[ ]*=+(?: +=+)+[ ]*$)', re.MULTILINE
)


class MarkdownDocstrings(griffe.Extension):
    """Rewrites the docstrings of a package once it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **_) -> None:
        """Rewrite all docstrings of a package."""
        if pkg.path != 'mmhier':
            return
        objects = {obj.path: obj for obj in _objects(pkg)}
        for obj in objects.values():
            if obj.docstring is not None:
                obj.docstring.value = _rewrite(obj, objects)
        for obj in objects.values():
            for name in [name for name, member in obj.members.items() if member.is_alias]:
                obj.del_member(name)


def _objects(obj: griffe.Object) -> Iterator[griffe.Object]:
    """An object and all that it defines."""
    yield obj
    for member in obj.members.values():
        if not member.is_alias:
            yield from _objects(member)


def _rewrite(obj: griffe.Object, objects: dict[str, griffe.Object]) -> str:
    text = ROLE.sub(lambda match: _link(match.group(1), obj, objects), obj.docstring.value)
    text = re.sub(r'::$', ':', text, flags=re.MULTILINE)
    return TABLE.sub(lambda match: _block(match.group(0)), text)


def _link(name: str, obj: griffe.Object, objects: dict[str, griffe.Object]) -> str:
    """A link to the object of that name as seen from ``obj``; code if there is none."""
    path = _find(name, obj, objects)
    text = name.removeprefix('.')
    if path is None:
        return f'`{text}`'
    return f'<autoref identifier="{path}" optional><code>{text}</code></autoref>'


def _find(name: str, obj: griffe.Object, objects: dict[str, griffe.Object]) -> str | None:
    if name.startswith('.'):
        return next((path for path in objects if path.endswith(name)), None)
    scope: griffe.Object | None = obj
    while scope is not None:
        for path in (f'{scope.path}.{name}', name):
            if path in objects:
                return path
        scope = scope.parent
    owner, _, member = name.rpartition('.')
    alias = objects[owner].members.get(member) if owner in objects else None
    return alias.target_path if alias is not None and alias.is_alias else None


def _block(table: str) -> str:
    indent = ' ' * (len(table) - len(table.lstrip(' ')))
    return f'{indent}```text\n{table}\n{indent}```'
