"""The rooms of the package: each thing has one place, and its test the same one."""

import re
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

import mmhier

# Where things were before they had rooms of their own.
GONE = (
    *(f'mmhier.apis.{name}' for name in (
        'app app_gate benchmark boxes cli crops doctor estimators export infer inferencer model_zoo models '
        'motions networks people_over_time quickstart result_files result_writer results test train'
    ).split()),
    'mmhier.trust', 'mmhier.convert.cli', 'mmhier.datasets.synthetic.cli', 'mmhier.body_models.setup_command',
)  # fmt: skip
# Tests of what several modules do together.
TOGETHER = {
    'cli/test_kill_and_resume.py', 'cli/test_train_and_test.py', 'cli/test_train_and_test_meshes.py',
    'compat/test_stock_mmpose.py', 'engine/test_exact_resume.py', 'engine/test_kills.py',
    'models/test_backbone_properties.py', 'ops/selective_scan/test_shapes.py',
}  # fmt: skip


@pytest.mark.parametrize('name', GONE)
def test_old_paths_are_gone(name):
    path = Path(mmhier.__file__).parents[1].joinpath(*name.split('.'))
    assert not path.exists() and not path.with_suffix('.py').exists()


def test_nothing_names_an_old_path(repo_root):
    listed = subprocess.run(['git', 'ls-files'], cwd=repo_root, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip('not a clone')
    dotted = '|'.join(map(re.escape, GONE))
    old = re.compile(rf'(?<![\w.])({dotted})(?!\w)|mmhier/apis/(?!__init__)\w|mmhier\.apis import [a-z_]+\n')
    read = 0
    for name in listed.stdout.splitlines():
        path = repo_root / name
        if path.suffix in ('.py', '.md', '.ipynb', '.toml', '.yml', '.sh', '.txt', '') and path.is_file():
            if name in ('tests/test_rooms.py', 'CHANGELOG.md'):
                continue
            read += 1
            found = old.search(path.read_text(encoding='utf-8', errors='replace'))
            assert found is None, f'{name} names {found.group()}'
    assert read > 300


def test_tests_mirror_the_package(repo_root):
    """``tests/ROOM/test_NAME.py`` tests ``mmhier/ROOM/NAME.py``, or the room itself."""
    package, tests = repo_root / 'mmhier', repo_root / 'tests'
    strays, seen = set(), 0
    for path in sorted(tests.rglob('test_*.py')):
        room = path.parent.relative_to(tests)
        if room.parts and (package / room).is_dir():
            seen += 1
            module = package / room / path.name.removeprefix('test_')
            if not module.is_file() and room.name != module.stem:
                strays.add(path.relative_to(tests).as_posix())
    assert strays == TOGETHER
    assert seen > 100


def test_the_package_says_that_it_is_typed():
    assert (files('mmhier') / 'py.typed').is_file()
