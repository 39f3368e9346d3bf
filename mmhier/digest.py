"""What a piece of code is, in twelve letters: the part of a cache's key that changes when the code does."""

import ast
import hashlib
import importlib.util
from functools import lru_cache
from pathlib import Path

_PACKAGE = __name__.partition('.')[0]


@lru_cache
def code_digest(module: str) -> str:
    """Digest of a module of this package and of all of the package that it imports, directly or not.

    Comments, docstrings and layout do not count. Nothing is imported.

    Args:
        module: Its dotted name.

    Returns:
        12 hexadecimal digits.
    """
    done: dict[str, str] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        if name not in done:
            path = _source(name)
            tree = ast.parse(path.read_text(encoding='utf-8'), str(path))
            todo += _imports(tree)
            done[name] = ast.unparse(_without_docstrings(tree))
    text = '\0'.join(f'{name}\0{done[name]}' for name in sorted(done))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _source(name: str) -> Path:
    """The file of a module, found without importing the packages that hold it."""
    package = importlib.util.find_spec(_PACKAGE)
    path = Path(package.origin).parents[1].joinpath(*name.split('.'))
    for source in (path.with_suffix('.py'), path / '__init__.py'):
        if source.is_file():
            return source
    raise ModuleNotFoundError(f'{name} has no source file')


def _imports(tree: ast.Module) -> list[str]:
    """Modules of this package that a module names in its imports, also inside of functions."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            # `from package import name`: the name may be a module, or something that the package defines
            found.append(node.module)
            found += [f'{node.module}.{alias.name}' for alias in node.names]
    return [name for name in found if name.startswith(f'{_PACKAGE}.') and _is_module(name)]


def _is_module(name: str) -> bool:
    try:
        return bool(_source(name))
    except ModuleNotFoundError:
        return False


def _without_docstrings(tree: ast.Module) -> ast.Module:
    documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(tree):
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
