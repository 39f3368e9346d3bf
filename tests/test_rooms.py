"""The rooms of the package: each thing has one place, and its test the same one."""

import ast
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
    'mmhier.trust', 'mmhier.cost.table', 'mmhier.datasets.mesh_sample', 'mmhier.convert.cli',
    'mmhier.datasets.synthetic.cli', 'mmhier.datasets.synthetic.rasterizer',
    'mmhier.body_models.setup_command',
)  # fmt: skip
# Tests of what several modules do together.
TOGETHER = {
    'deploy/test_precision.py', 'models/pose_estimators/test_whole_body_estimator.py',
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


def test_tests_that_are_named_are_there(repo_root):
    """In scripts, pages and docstrings."""
    named = {}
    for folder in ('tools', 'docs', 'mmhier', 'configs'):
        for path in (repo_root / folder).rglob('*'):
            if path.suffix in ('.py', '.md'):
                for name in re.findall(r'(?<![\w/])tests/[\w/]+\.py', path.read_text(encoding='utf-8')):
                    named[name] = path
    for path in (repo_root / 'README.md', repo_root / 'CONTRIBUTING.md'):
        named |= dict.fromkeys(
            re.findall(r'(?<![\w/])tests/[\w/]+\.py', path.read_text(encoding='utf-8')), path
        )
    assert len(named) > 5
    for name, path in named.items():
        assert (repo_root / name).is_file(), f'{path} names {name}'


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


# Room -> the rooms that it may import; an arrow that is not here is one too many. Modules beside the rooms
# (atomic, safe_files, version ...) are below all of them.
ARROWS = {
    'geometry': '',
    'ops': '',
    'rasterizer': '',
    'body_models': 'geometry ops',
    'scene_files': 'body_models geometry rasterizer',
    'visualization': 'rasterizer',
    'media': '',
    'tracking': 'geometry',
    'detection': 'compat geometry zoo',
    'datasets': 'body_models geometry media rasterizer scene_files',
    'compat': 'geometry',
    'convert': 'compat',
    'models': 'body_models convert geometry ops',
    'distillation': 'inference models ops zoo',
    'evaluation': 'body_models datasets geometry',
    'engine': 'body_models compat datasets evaluation models zoo',
    'cost': 'zoo',
    'deploy': 'body_models compat cost models ops',
    'zoo': 'compat convert',  # released weights get our names
    'results': 'body_models media scene_files tracking visualization',
    'inference': 'body_models datasets deploy detection engine geometry media results tracking zoo',
    'labelling': 'detection inference media results zoo',
    'web': 'inference media results zoo',
    'apis': 'body_models deploy inference results',
    'cli': 'body_models compat convert cost datasets deploy detection engine geometry inference labelling '
    'media ops rasterizer results visualization web zoo',
    'testing': 'body_models compat datasets engine geometry inference media models results',
}
# Rooms and modules that know nothing of the OpenMMLab stack, so that they can be used and tested alone.
ALONE = ('geometry', 'ops', 'body_models', 'evaluation/functional', 'tracking', 'scene_files', 'results')
STACK = {'mmengine', 'mmcv', 'mmpose', 'mmdet', 'mmpretrain'}


def imports_of(path):
    """Full names of the modules, or of things in them, that a file imports anywhere in it."""
    package = Path(mmhier.__file__).parents[1]
    here = path.relative_to(package).with_suffix('').parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = here[: len(here) - node.level + 1] if node.level else ()
            module = '.'.join([*start, *filter(None, [node.module])])
            yield from (f'{module}.{name.name}' for name in node.names)


def test_arrows_between_rooms():
    """Also imports inside of functions are arrows: they say who knows whom."""
    root = Path(mmhier.__file__).parent
    rooms = {path.name for path in root.iterdir() if (path / '__init__.py').is_file()}
    assert rooms == set(ARROWS)
    found = {}
    for path in sorted(root.rglob('*.py')):
        here = path.relative_to(root).parts[0]
        for name in imports_of(path):
            words = name.split('.')
            if words[0] == 'mmhier' and len(words) > 1 and words[1] in rooms - {here}:
                found.setdefault(here, {}).setdefault(words[1], f'{path.relative_to(root)} imports {name}')
    assert sum(map(len, found.values())) > 50
    for here, others in found.items():
        if here in ('__init__.py', '__main__.py'):
            continue
        allowed = ARROWS[here].split() if here in rooms else ['body_models', 'geometry']
        for room, where in others.items():
            assert room in allowed, f'{where}: no arrow leads from {here} to {room}'


def test_arrows_make_no_circle():
    below = {room: set(others.split()) for room, others in ARROWS.items()}
    while below:
        lowest = [room for room, others in below.items() if not others & set(below)]
        assert lowest, f'a circle among {", ".join(below)}'
        for room in lowest:
            del below[room]


@pytest.mark.parametrize('room', ALONE)
def test_rooms_that_stand_alone(room):
    paths = list((Path(mmhier.__file__).parent / room).rglob('*.py'))
    assert paths
    for path in paths:
        known = {name.partition('.')[0] for name in imports_of(path)}
        assert not known & STACK, f'{path.name} of {room} imports {known & STACK}'


# What has one home: a word that begins a definition, and where such definitions may stand.
HOMES = {
    r'class \w+\(pickle\._?Unpickler\)': {'safe_pickle.py'},
    r'def _?(?:axis_angle|matrix|quaternion|rotation_6d|euler)_to_\w+': {
        'geometry/rotations.py', 'geometry/array_rotations.py', 'geometry/quaternions.py'
    },
    r'\bRodrigues\(|spatial\.transform|import transform as|getRotationMatrix': {'geometry/quaternions.py'},
    r'def \w*checked_faces': {'rasterizer/frame_buffer.py'},
    r'def \w*pose_joints': {'datasets/mesh/writer.py'},
    r'def \w*free_port|getsockname\(': {'network.py'},
    r'hashlib\.sha256\(\)': {'safe_files.py'},  # of a file; that of a text is one line anywhere
    r'\bCXX\b.*or .c\+\+': {'built_library.py'},
    r'def _?\w*iou\(|def \w*keypoint_similarity': {
        'geometry/similarity.py', 'compat/shims/torchvision_boxes.py'  # which stands in for another package
    },
}  # fmt: skip


@pytest.mark.parametrize('words', HOMES)
def test_one_home_each(words):
    root = Path(mmhier.__file__).parent
    found = {
        path.relative_to(root).as_posix()
        for path in root.rglob('*.py')
        if re.search(words, path.read_text(encoding='utf-8'))
    }
    assert found == HOMES[words]


def rotation_tables(tree):
    """Lines with a 3 x 3 table, or three rows of a list, in which one thing that is not a number stands with
    both signs: a turn about an axis, or the matrix of a cross product, whatever its terms are called."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.List | ast.Tuple) or len(node.elts) != 3:
            continue
        rows = [row.args[0] if isinstance(row, ast.Call) and row.args else row for row in node.elts]
        if all(isinstance(row, ast.List | ast.Tuple) and len(row.elts) == 3 for row in rows):
            terms = {ast.unparse(term) for row in rows for term in row.elts}
            if any(f'-{term}' in terms for term in terms if not re.fullmatch(r'[-\d.e]+', term)):
                yield node.lineno


def test_matrices_of_rotations_are_written_out_in_geometry_only():
    examples = (
        'np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])',
        'torch.stack([torch.stack([cos(a), -sin(a), o]), torch.stack([sin(a), o, o]), f([o, o, i])])',
    )
    assert all(list(rotation_tables(ast.parse(example))) for example in examples)
    assert not list(rotation_tables(ast.parse('np.array([[f, 0, x], [0, f, y], [0, 0, -1]])')))
    root = Path(mmhier.__file__).parent
    found = {
        path.relative_to(root).as_posix(): lines
        for path in sorted(root.rglob('*.py'))
        if (lines := list(rotation_tables(ast.parse(path.read_text(encoding='utf-8')))))
    }
    assert {name.partition('/')[0] for name in found} == {'geometry'}, found
