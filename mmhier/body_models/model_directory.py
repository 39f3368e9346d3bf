"""The folder of installed body models, and loading one by name.

| name                        | what                                     | file |
|-----------------------------|------------------------------------------|------|
| open                        | the licence-free body, built when asked  | open_body_*.npz |
| open-wholebody              | the same with fingers, jaw, eyes         | open_wholebody_*.npz |
| neutral, male, female       | SMPL, installed by the user              | smpl_{name}.npz |
| smplx_{neutral,male,female} | SMPL-X, installed by the user            | {name}.npz |
| (with their topology)       | regressors, installed by the user        | smpl_regressor_{j19,h36m,j14}.npz |
| (with SMPL-X)               | vertices of parts, installed by the user | smplx_vertices_{hands,face}.npz |

The folder is ``$MMHIER_BODY_MODELS``, or ``body_models`` in :mod:`mmhier.user_cache`.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from mmhier.body_models import smplx_file
from mmhier.body_models.joint_regressor import VERTEX_NUMBERS, vertex_regressor
from mmhier.body_models.joint_sets import GROUP_NAMES, JointSet
from mmhier.body_models.model_files import (
    GENDERS,
    KINDS,
    PART_SIZES,
    REGRESSOR_VERTICES,
    FoundBody,
    FoundParts,
    FoundRegressor,
)
from mmhier.body_models.open_body import cache_directory, load_open_body, open_body_path
from mmhier.body_models.open_wholebody import load_open_wholebody, open_wholebody_path
from mmhier.body_models.skinned_body import LICENCES
from mmhier.body_models.smpl import SMPL
from mmhier.body_models.smpl_file import (
    LANDMARK_GROUPS,
    ROOT_PARENT,
    SMPLX_JOINT_NAMES,
    BodyModelData,
    body_from_arrays,
    read_smpl_npz,
    write_npz,
)
from mmhier.body_models.smpl_pickle import read_smpl_pickle
from mmhier.body_models.smplx import SMPLX
from mmhier.ops.remember import outside_modes, remember
from mmhier.safe_files import read_bytes, read_npz

SITE = 'https://smpl.is.tue.mpg.de'
SITES = {'smpl': SITE, 'smplx': 'https://smpl-x.is.tue.mpg.de'}
DOWNLOADS = {'smpl': 'SMPL for Python', 'smplx': 'SMPL-X v1.1 (NPZ+PKL)'}
# Name of an installed model -> its kind and gender.
INSTALLED = {gender: ('smpl', gender) for gender in GENDERS} | {
    f'smplx_{gender}': ('smplx', gender) for gender in GENDERS
}
# Bodies that are built when asked: name -> where from, and where to.
BUILT = {
    'open': (load_open_body, open_body_path),
    'open-wholebody': (load_open_wholebody, open_wholebody_path),
}
NAMES = (*BUILT, *INSTALLED)
# File with vertices of parts -> the parts.
PARTS = {'hands': ('left_hand', 'right_hand'), 'face': ('face',)}


def load_body_model(
    name: str | Path = 'open',
    joints: JointSet | str | None = None,
    num_betas: int | None = None,
    update_hips: bool = False,
    **whole_body: int | bool,
) -> SMPL | SMPLX:
    """Load a body model as a layer.

    Args:
        name: 'open' or 'open-wholebody', 'neutral', 'male' or 'female' (SMPL), 'smplx_neutral', 'smplx_male'
            or 'smplx_female', or a file (.npz or .pkl) in the format of either.
        joints: the set of joints that the layer returns, see :mod:`mmhier.body_models.joint_sets`. Default:
            'smpl24' of SMPL, 'smplx144' of SMPL-X and the open whole body.
        num_betas: number of shape components to use. Default: all of the file.
        update_hips: see :class:`mmhier.body_models.joint_regressor.JointRegressor`.
        **whole_body: ``num_expressions``, ``hand_components``, ``add_hand_means`` of
            :class:`mmhier.body_models.smplx.SMPLX`.

    Returns:
        The layer, float32 on the CPU.

    Raises:
        FileNotFoundError: if the model is not installed; the message says where to get it.
        ValueError: if there is no such name or joint set, a file is damaged, or settings of SMPL-X are given
            for another body.
    """
    with outside_modes():
        model = load_body_data(name)
        settings = dict(num_betas=num_betas, update_hips=update_hips)
        if joints is not None:
            settings['joints'] = joints
        if model.joint_names == SMPLX_JOINT_NAMES:
            return SMPLX(model, **settings, **whole_body)
        if whole_body:
            raise ValueError(f'{", ".join(whole_body)}: only SMPL-X has hands and a face, not "{name}".')
        return SMPL(model, **settings)


def shared_body_model(name: str | Path, joints: JointSet | str, num_betas: int | None = None) -> SMPL:
    """:func:`load_body_model`, once for as long as its files stay what they are."""
    files = (body_file(name), *(installed_path(group) for group in REGRESSOR_VERTICES))
    states = tuple((str(path), _state(path)) for path in files)
    return _shared_body_model(name, joints, num_betas, states)


@remember(4)
def _shared_body_model(name: str | Path, joints: JointSet | str, num_betas: int | None, _: tuple) -> SMPL:
    return load_body_model(name, joints, num_betas)


def _state(path: Path) -> tuple[int, int] | None:
    """What changes when a file does."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


def body_file(name: str | Path) -> Path:
    """Where the file of a body model is, or should be."""
    if name in BUILT:
        return BUILT[name][1]()
    return installed_path(str(name)) if name in INSTALLED else Path(name)


def load_body_data(name: str | Path = 'open') -> BodyModelData:
    """Load the arrays of a body model, with the regressors that are installed for it.

    Args:
        name: see :func:`load_body_model`.

    Raises:
        FileNotFoundError: if the model is not installed; the message says where to get it.
        ValueError: if there is no such name, or a file is damaged.
    """
    if name in BUILT:
        return BUILT[name][0]()
    if name in INSTALLED:
        path, (kind, gender) = body_file(name), INSTALLED[name]
        if not path.is_file():
            raise FileNotFoundError(
                f'{KINDS[kind].name} {gender} is not installed ({path}). Register at {SITES[kind]}, download '
                f'"{DOWNLOADS[kind]}", then run `mmhier body-model setup FILE_OR_ZIP`. The licence-free body '
                '"open" needs nothing.'
            )
        return _with_installed(read_smpl_npz(path))
    path = Path(name)
    if path.suffix not in ('.npz', '.pkl'):
        raise ValueError(f'There is no body model "{name}": {", ".join(NAMES)}, or an .npz or .pkl file.')
    if path.suffix == '.npz':
        return _with_installed(read_smpl_npz(path))
    if not path.is_file():
        raise FileNotFoundError(f'No body model file at {path}.')
    return _with_installed(body_from_arrays(read_smpl_pickle(read_bytes(path), str(path)), path))


def installed_path(name: str) -> Path:
    """Where a body model, a regressor ('j19', 'h36m', 'j14') or a file of :data:`PARTS` is installed."""
    if name in GENDERS:
        stem = f'smpl_{name}'
    elif name in INSTALLED:
        stem = name
    else:
        stem = f'smplx_vertices_{name}' if name in PARTS else f'smpl_regressor_{name}'
    return cache_directory() / f'{stem}.npz'


def install_body(found: FoundBody, gender: str, num_betas: int, num_expressions: int = 0) -> Path:
    """Write a body into the folder; return the file.

    Args:
        found: the body.
        gender: one of 'neutral', 'male', 'female'.
        num_betas: how many shape components to keep.
        num_expressions: how many expression components to keep.
    """
    model = found.model
    kept = min(num_betas, model.num_betas)
    metadata = {
        'name': f'{KINDS[found.kind].name} {gender} {found.version}',
        'gender': gender,
        'version': found.version,
        'licence': LICENCES[len(model.v_template)],
        'source': Path(found.source.split(': ')[-1]).name,
        'units': 'metres',
    }
    kintree = np.stack([model.parents, np.arange(model.num_joints)])
    path = installed_path(next(name for name, key in INSTALLED.items() if key == (found.kind, gender)))
    arrays = {
        'v_template': model.v_template,
        'shapedirs': model.shapedirs[..., :kept],
        'weights': model.weights,
        'J_regressor': model.J_regressor,
        'kintree_table': np.where(kintree < 0, ROOT_PARENT, kintree).astype(np.uint32),
        'f': model.faces.astype(np.uint32),
        'metadata': np.asarray(json.dumps(metadata)),
    }
    optional = {
        'posedirs': model.posedirs,
        'exprdirs': None if model.exprdirs is None else model.exprdirs[..., :num_expressions],
        'hand_means': model.hand_means,
        'hand_components': model.hand_components,
        'contour_vertices': model.contour_vertices,
        'contour_weights': model.contour_weights,
        'face_regressor': model.regressors.get('face'),
    }
    arrays |= {name: array for name, array in optional.items() if array is not None}
    write_npz(path, arrays)
    return path


def install_regressor(found: FoundRegressor) -> Path:
    """Write a joint regressor into the folder; return the file."""
    path = installed_path(found.group)
    write_npz(path, {'regressor': found.matrix})
    return path


def install_parts(found: FoundParts) -> list[Path]:
    """Write vertices of parts into the folder; return the files."""
    paths = []
    for name, parts in PARTS.items():
        if set(parts) <= found.parts.keys():
            paths.append(installed_path(name))
            write_npz(paths[-1], {part: found.parts[part] for part in parts})
    return paths


def _with_installed(model: BodyModelData) -> BodyModelData:
    """Add what is installed for the model's topology; other bodies keep what their files hold."""
    num_vertices = len(model.v_template)
    regressors = {
        group: vertex_regressor(group, count) for group, count in VERTEX_NUMBERS if count == num_vertices
    }
    for group, count in REGRESSOR_VERTICES.items():
        path = installed_path(group)
        if count == num_vertices and path.is_file():
            (matrix,) = _read_installed(path, {'regressor': (LANDMARK_GROUPS[group], count)})
            regressors[group] = _left_is_left(matrix, GROUP_NAMES[group], model, path)
    parts = {}
    for name, members in PARTS.items():
        path = installed_path(name)
        if num_vertices == smplx_file.NUM_VERTICES and path.is_file():
            shapes = {part: (PART_SIZES[part],) for part in members}
            parts |= dict(zip(members, _read_installed(path, shapes), strict=True))
    return replace(model, regressors=regressors | model.regressors, parts=parts | model.parts)


def _read_installed(path: Path, shapes: dict[str, tuple[int, ...]]) -> list[np.ndarray]:
    """Arrays of a file that this module has written."""
    try:
        arrays = read_npz(path, tuple(shapes))
        found = [arrays[name] for name in shapes]
    except (KeyError, ValueError) as error:
        raise ValueError(f'{path} is damaged ({error}); run `mmhier body-model setup` again.') from error
    for array, shape in zip(found, shapes.values(), strict=True):
        if array.shape != shape:
            raise ValueError(f'{path} holds an array {array.shape}; run `mmhier body-model setup` again.')
    return found


def _left_is_left(matrix: np.ndarray, names: tuple[str, ...], model: BodyModelData, path: Path) -> np.ndarray:
    """Order the rows by where they are on the body: of two H36M files in use one begins with the left leg.

    Raises:
        ValueError: if a joint of one side lies on the other and that is not the difference.
    """
    sides = (matrix @ model.v_template)[:, 0]
    wanted = np.array([name.startswith('left_') * 1 - name.startswith('right_') * 1 for name in names])
    if (sides * wanted >= 0).all():
        return matrix
    if len(names) == LANDMARK_GROUPS['h36m']:
        order = [0, 4, 5, 6, 1, 2, 3, *range(7, 17)]
        if (sides[order] * wanted >= 0).all():
            return matrix[order]
    raise ValueError(
        f'{path}: its left joints do not lie on the left (+x) of the body; install another file.'
    )
