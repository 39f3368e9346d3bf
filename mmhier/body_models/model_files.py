"""Recognises the files of body models that users bring, by what is in them.

| file                               | from                          | recognised by |
|------------------------------------|-------------------------------|---------------|
| SMPL .pkl (v1.0, v1.1), .npz       | https://smpl.is.tue.mpg.de    | its arrays and their shapes |
| SMPL-X .npz, .pkl (v1.0, v1.1)     | https://smpl-x.is.tue.mpg.de  | its arrays and their shapes |
| MANO_SMPLX_vertex_ids.pkl          | the same                      | two lists of 778 vertices |
| SMPL-X__FLAME_vertex_ids.npy       | the same                      | one list of 5023 vertices |
| SMPL_to_J19.pkl                    | data of HMR2.0                | one array (19, 6890) |
| J_regressor_h36m.npy               | data of SPIN                  | one array (17, 6890) |
| SMPLX_to_J14.pkl                   | data of ExPose                | one array (14, 10475) |
| a ZIP of such files, as downloaded |                               | its members |

Nothing in a file is executed (:mod:`mmhier.body_models.smpl_pickle`), and no size that a file claims is
believed before the data is there.
"""

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from mmhier.body_models import smplx_file
from mmhier.body_models.joint_regressor import NUM_SMPL_VERTICES, REGRESSOR_FILES
from mmhier.body_models.smpl_file import (
    LANDMARK_GROUPS,
    PARENTS,
    SMPLX_PARENTS,
    BodyModelData,
    body_from_arrays,
)
from mmhier.body_models.smpl_pickle import SMPL_KEYS
from mmhier.safe_files import Archive, npy_header, open_zip, parse_npy, read_bytes
from mmhier.safe_pickle import Array, StandIn, read_pickle, to_array

GENDERS = ('neutral', 'male', 'female')
NUM_SMPL_FACES = 13776
MAX_BYTES = 2 << 30
GENDER_MARKS = {
    'neutral': r'neutral|(?<![a-z])n(?![a-z])',
    'male': r'(?<!fe)male|(?<![a-z])m(?![a-z])',
    'female': r'female|(?<![a-z])f(?![a-z])',
}
ENDINGS = ('.pkl', '.npz', '.npy')

# Number of joints -> the model of SMPL's family that has it.
FAMILY = {5: 'FLAME', 16: 'MANO', 24: 'SMPL', 52: 'SMPL-H', 55: 'SMPL-X'}
# Number of shape components -> version of the published files; the same for SMPL and SMPL-X.
VERSIONS = {10: '1.0', 300: '1.1'}
# Group -> vertices of the topology that its file is for.
REGRESSOR_VERTICES = {
    'j19': NUM_SMPL_VERTICES,
    'h36m': NUM_SMPL_VERTICES,
    'j14': smplx_file.NUM_VERTICES,
}
# Vertices of SMPL-X that are also those of MANO (a hand) and of FLAME (the head).
PART_SIZES = {'left_hand': 778, 'right_hand': 778, 'face': 5023}


@dataclass(frozen=True)
class Kind:
    """A model whose files are read: its name, and what tells it from others."""

    name: str
    num_vertices: int
    num_faces: int
    parents: tuple[int, ...]


KINDS = {
    'smpl': Kind('SMPL', NUM_SMPL_VERTICES, NUM_SMPL_FACES, PARENTS),
    'smplx': Kind('SMPL-X', smplx_file.NUM_VERTICES, smplx_file.NUM_FACES, SMPLX_PARENTS),
}


@dataclass(frozen=True)
class FoundBody:
    """A body model.

    Attributes:
        source: the file, and the member of a ZIP.
        kind: one of :data:`KINDS`.
        gender: one of :data:`GENDERS`, or None where neither content nor name tells.
        version: '1.0', '1.1' or 'unknown', from the number of shape components.
        model: its arrays.
    """

    source: str
    kind: str
    gender: str | None
    version: str
    model: BodyModelData


@dataclass(frozen=True)
class FoundRegressor:
    """A joint regressor: ``matrix`` (K, V) float32 of a group of :data:`REGRESSOR_VERTICES`."""

    source: str
    group: str
    matrix: np.ndarray


@dataclass(frozen=True)
class FoundParts:
    """Vertices of SMPL-X that belong to a part: names as in :data:`PART_SIZES`, int64."""

    source: str
    parts: dict[str, np.ndarray]


Found = FoundBody | FoundRegressor | FoundParts


def read_members(path: str | Path) -> Iterator[tuple[str, bytes]]:
    """The file itself, or the model files in a ZIP.

    Args:
        path: a file.

    Yields:
        Name for messages and content.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is empty, too large, or a damaged ZIP.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'No file {path}.')
    if not 0 < path.stat().st_size <= MAX_BYTES:
        raise ValueError(f'{path} has {path.stat().st_size} bytes: not a body model.')
    if not zipfile.is_zipfile(path):
        yield str(path), read_bytes(path)
        return
    with open_zip(path) as archive:
        if all(name.endswith('.npy') for name in archive.names) and path.suffix != '.zip':
            yield str(path), read_bytes(path)
            return
        for member in archive.names:
            name = PurePosixPath(member)
            if name.suffix.lower() not in ENDINGS or name.name.startswith('._'):
                continue
            if archive.size(member) > MAX_BYTES:
                raise ValueError(f'{path}: {name} claims {archive.size(member)} bytes: not a body model.')
            yield f'{path}: {name}', archive.read(member)


def recognise(content: bytes, source: str) -> Found:
    """Find out what a file holds.

    Args:
        content: the whole file.
        source: its name, for messages; its last part may tell the gender.

    Returns:
        The body, regressor or parts, checked.

    Raises:
        ValueError: if it is damaged or something else.
    """
    if content.startswith(b'\x93NUMPY'):
        value = _as_array(_read_npy(content, source), source)
        is_list = value.ndim == 1 and value.dtype.kind in 'iu'
        return _parts({'face': value}, source) if is_list else _regressor(value, source)
    if content.startswith(b'PK'):
        return _body(_read_npz(content, source), source)
    values = read_pickle(content, source)
    if isinstance(values, dict):
        hands = {'left_hand', 'right_hand'}
        return _parts(values, source) if values.keys() == hands else _body(values, source)
    return _regressor(_as_array(values, source), source)


def gender_in_name(name: str) -> str | None:
    """``female`` for SMPL_FEMALE.pkl and basicModel_f_lbs_10_207_0_v1.0.0.pkl, and so on; None if unclear."""
    stem = PurePosixPath(name.replace('\\', '/')).name.lower()
    found = [gender for gender, mark in GENDER_MARKS.items() if re.search(mark, stem)]
    return found[0] if len(found) == 1 else None


def _body(values: dict[str, Any], source: str) -> FoundBody:
    missing = [key for key in SMPL_KEYS if key not in values]
    if missing:
        known = ', '.join(sorted(str(key)[:40] for key in values)[:20])
        raise ValueError(f'{source} is not a SMPL model: it has no "{missing[0]}" (it has: {known}).')
    known = (*SMPL_KEYS, *smplx_file.PUBLISHED)
    arrays = {key: _as_array(values[key], f'{source}: "{key}"') for key in known if key in values}
    model = body_from_arrays(arrays, source)
    size = (model.num_joints, len(model.v_template), len(model.faces), tuple(model.parents))
    for key, kind in KINDS.items():
        if size == (len(kind.parents), kind.num_vertices, kind.num_faces, kind.parents):
            if key == 'smplx' and model.exprdirs is None:
                raise ValueError(f'{source} has the body of SMPL-X but not its hands ("hands_meanl").')
            return FoundBody(
                source, key, _gender(values, source), VERSIONS.get(model.num_betas, 'unknown'), model
            )
    family = FAMILY.get(model.num_joints, 'another model')
    if family not in [kind.name for kind in KINDS.values()]:
        raise ValueError(
            f'{source} has {model.num_joints} joints: it is {family}, expected SMPL with 24 or SMPL-X with '
            '55.'
        )
    kind = next(kind for kind in KINDS.values() if kind.name == family)
    raise ValueError(
        f'{source} has {size[1]} vertices, {size[2]} faces and joint tree {model.parents.tolist()}: '
        f'expected those of {family} ({kind.num_vertices}, {kind.num_faces}).'
    )


def _gender(values: dict[str, Any], source: str) -> str | None:
    told = values.get('gender')
    if isinstance(told, np.ndarray) and told.dtype.kind in 'US' and told.size == 1:
        told = told.item()
    told = told.decode('latin1') if isinstance(told, bytes) else told
    if isinstance(told, str) and told.lower() in GENDERS:
        return told.lower()
    return gender_in_name(source)


def _regressor(matrix: np.ndarray, source: str) -> FoundRegressor:
    for group, num_vertices in REGRESSOR_VERTICES.items():
        rows = LANDMARK_GROUPS[group]
        if matrix.shape == (rows, num_vertices):
            sums = matrix.sum(axis=1) if np.isfinite(matrix).all() else np.zeros(rows)
            if not ((sums > 0.5) & (sums < 1.5)).all():
                raise ValueError(f'{source}: the rows of a joint regressor sum to about 1, these do not.')
            return FoundRegressor(source, group, np.ascontiguousarray(matrix, np.float32))
    known = ', '.join(
        f'{REGRESSOR_FILES[group].split(".")[0]} ({LANDMARK_GROUPS[group]}, {num_vertices})'
        for group, num_vertices in REGRESSOR_VERTICES.items()
    )
    raise ValueError(f'{source} holds an array {matrix.shape}: none of {known}.')


def _parts(values: dict[str, Any], source: str) -> FoundParts:
    parts = {name: _as_array(value, f'{source}: "{name}"') for name, value in values.items()}
    for name, vertices in parts.items():
        if vertices.shape != (PART_SIZES[name],) or vertices.dtype.kind not in 'iu':
            raise ValueError(
                f'{source} holds {vertices.dtype} {vertices.shape}: vertices of the {name.replace("_", " ")} '
                f'are {PART_SIZES[name]} whole numbers.'
            )
        if not 0 <= vertices.min() <= vertices.max() < smplx_file.NUM_VERTICES:
            raise ValueError(
                f'{source}: vertices of the {name.replace("_", " ")} from {vertices.min()} to '
                f'{vertices.max()}, SMPL-X has {smplx_file.NUM_VERTICES}.'
            )
    return FoundParts(source, {name: vertices.astype(np.int64) for name, vertices in parts.items()})


def _as_array(value: Any, what: str) -> np.ndarray:
    if isinstance(value, np.ndarray):
        return value
    return to_array(value, what)


def _read_npz(content: bytes, source: str) -> dict[str, Any]:
    archive, values = Archive(io.BytesIO(content), source), {}
    for member in archive.names:
        key = member.removesuffix('.npy')
        if key in (*SMPL_KEYS, *smplx_file.PUBLISHED, 'gender') and archive.size(member) <= MAX_BYTES:
            values[key] = _read_npy(archive.read(member), f'{source}: "{key}"')
    return values


def _read_npy(content: bytes, source: str) -> np.ndarray | StandIn:
    """An array of the .npy format; one object in an object array is read like a pickle."""
    *_, dtype, start = npy_header(content, source)
    if not dtype.hasobject:
        return parse_npy(content, source)
    wrapped = read_pickle(content[start:], source)
    items = wrapped.state[-1] if type(wrapped) is Array and type(wrapped.state) is tuple else None
    if not (isinstance(items, list) and len(items) == 1):
        raise ValueError(f'{source} holds Python objects, which are not read.')
    return items[0]
