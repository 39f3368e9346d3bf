"""What the scripts of tools/ import from mmhier is there, also where it is imported late."""

import ast
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / 'tools'


@pytest.mark.parametrize('path', sorted(TOOLS.rglob('*.py')), ids=lambda path: path.name)
def test_imported_names_exist(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom) or not (node.module or '').startswith('mmhier'):
            continue
        module = import_module(node.module)
        absent = [
            name.name
            for name in node.names
            if not hasattr(module, name.name) and not find_spec(f'{node.module}.{name.name}')
        ]
        assert not absent, f'{path.name}: {node.module} has no {", ".join(absent)}'
