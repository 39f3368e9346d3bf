"""The families that are there are those that the modules of the room hold."""

import ast
from pathlib import Path

import mmhier.convert
from mmhier.convert import FAMILIES


def test_no_family_is_left_out():
    """Read from the source: every ``NAME = Family(...)`` of a module ``name.py``."""
    written = set()
    for path in Path(mmhier.convert.__file__).parent.glob('*.py'):
        for node in ast.parse(path.read_text(encoding='utf-8')).body:
            calls = isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
            if calls and ast.unparse(node.value.func) == 'Family':
                written.add((path.stem, node.targets[0].id))
    assert written - {(stem, stem.upper()) for stem, _ in written} == {('hmr2', 'HMR2_HEAD')}  # no encoder
    assert {family.name for family in FAMILIES} == {'Swin', 'GroupMixFormer', 'VMamba', 'ViT'}
    assert len(FAMILIES) == len(written) - 1
