"""The folder of installed body models, and loading one by name.

| name                      | what                                    | file |
|---------------------------|-----------------------------------------|------|
| open                      | the licence-free body, built when asked | open_body_*.npz |
| neutral, male, female     | SMPL, installed by the user             | smpl_{name}.npz |
| (with the three of SMPL)  | regressors, installed by the user       | smpl_regressor_{j19,h36m}.npz |

The folder is ``$MMHIER_BODY_MODELS``, or ``body_models`` in :mod:`mmhier.user_cache`.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from mmhier.body_models.joint_regressor import NUM_SMPL_VERTICES, surface_regressor
from mmhier.body_models.joint_sets import H36M17_NAMES, J19_NAMES, JointSet
from mmhier.body_models.model_files import GENDERS, FoundBody, FoundRegressor
from mmhier.body_models.open_body import cache_directory, load_open_body, open_body_path
from mmhier.body_models.smpl import SMPL, SMPL_LICENCE
from mmhier.body_models.smpl_file import (
    LANDMARK_GROUPS,
    ROOT_PARENT,
    BodyModelData,
    body_from_arrays,
    read_smpl_npz,
    write_npz,
)
from mmhier.body_models.smpl_pickle import read_smpl_pickle
from mmhier.ops.remember import outside_modes, remember
from mmhier.safe_files import read_bytes, read_npz

SITE = 'https://smpl.is.tue.mpg.de'
NAMES = ('open', *GENDERS)
REGRESSORS = {'j19': J19_NAMES, 'h36m': H36M17_NAMES}


def load_body_model(
    name: str | Path = 'open',
    joints: JointSet | str = 'smpl24',
    num_betas: int | None = None,
    update_hips: bool = False,
) -> SMPL:
    """Load a body model as a layer.

    Args:
        name: 'open', 'neutral', 'male' or 'female', or a file (.npz or .pkl) in SMPL's format.
        joints: the set of joints that the layer returns, see :mod:`mmhier.body_models.joint_sets`.
        num_betas: number of shape components to use. Default: all of the file.
        update_hips: see :class:`mmhier.body_models.joint_regressor.JointRegressor`.

    Returns:
        The layer, float32 on the CPU.

    Raises:
        FileNotFoundError: if the model is not installed; the message says where to get it.
        ValueError: if there is no such name or joint set, or a file is damaged.
    """
    with outside_modes():
        return SMPL(load_body_data(name), joints, num_betas, update_hips)


def shared_body_model(name: str | Path, joints: JointSet | str, num_betas: int | None = None) -> SMPL:
    """:func:`load_body_model`, once for as long as its files stay what they are."""
    files = (body_file(name), *(installed_path(group) for group in REGRESSORS))
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
    if name == 'open':
        return open_body_path()
    return installed_path(str(name)) if name in GENDERS else Path(name)


def load_body_data(name: str | Path = 'open') -> BodyModelData:
    """Load the arrays of a body model, with the regressors that are installed for it.

    Args:
        name: see :func:`load_body_model`.

    Raises:
        FileNotFoundError: if the model is not installed; the message says where to get it.
        ValueError: if there is no such name, or a file is damaged.
    """
    if name == 'open':
        return load_open_body()
    if name in GENDERS:
        path = body_file(name)
        if not path.is_file():
            raise FileNotFoundError(
                f'SMPL {name} is not installed ({path}). Register at {SITE}, download "SMPL for Python", '
                'then run `mmhier body-model setup FILE_OR_ZIP`. The licence-free body "open" needs nothing.'
            )
        return _with_regressors(read_smpl_npz(path))
    path = Path(name)
    if path.suffix not in ('.npz', '.pkl'):
        raise ValueError(f'There is no body model "{name}": {", ".join(NAMES)}, or an .npz or .pkl file.')
    if path.suffix == '.npz':
        return _with_regressors(read_smpl_npz(path))
    if not path.is_file():
        raise FileNotFoundError(f'No body model file at {path}.')
    return _with_regressors(body_from_arrays(read_smpl_pickle(read_bytes(path), str(path)), path))


def installed_path(name: str) -> Path:
    """Where the file of a SMPL gender, or of a regressor ('j19', 'h36m'), is installed."""
    stem = f'smpl_{name}' if name in GENDERS else f'smpl_regressor_{name}'
    return cache_directory() / f'{stem}.npz'


def install_body(found: FoundBody, gender: str, num_betas: int) -> Path:
    """Write a SMPL body into the folder; return the file.

    Args:
        found: the body.
        gender: one of 'neutral', 'male', 'female'.
        num_betas: how many shape components to keep.
    """
    model = found.model
    kept = min(num_betas, model.num_betas)
    metadata = {
        'name': f'SMPL {gender} {found.version}',
        'gender': gender,
        'version': found.version,
        'licence': SMPL_LICENCE,
        'source': Path(found.source.split(': ')[-1]).name,
        'units': 'metres',
    }
    kintree = np.stack([model.parents, np.arange(model.num_joints)])
    path = installed_path(gender)
    arrays = {
        'v_template': model.v_template,
        'shapedirs': model.shapedirs[..., :kept],
        'weights': model.weights,
        'J_regressor': model.J_regressor,
        'kintree_table': np.where(kintree < 0, ROOT_PARENT, kintree).astype(np.uint32),
        'f': model.faces.astype(np.uint32),
        'metadata': np.asarray(json.dumps(metadata)),
    }
    if model.posedirs is not None:
        arrays['posedirs'] = model.posedirs
    write_npz(path, arrays)
    return path


def install_regressor(found: FoundRegressor) -> Path:
    """Write a joint regressor into the folder; return the file."""
    path = installed_path(found.group)
    write_npz(path, {'regressor': found.matrix})
    return path


def _with_regressors(model: BodyModelData) -> BodyModelData:
    """Add what is installed for SMPL's topology; other bodies keep what their files hold."""
    if len(model.v_template) != NUM_SMPL_VERTICES:
        return model
    regressors = {'surface': surface_regressor()}
    for group, names in REGRESSORS.items():
        path = installed_path(group)
        if path.is_file():
            regressors[group] = _left_is_left(_read_regressor(path, group), names, model, path)
    return replace(model, regressors=regressors | model.regressors)


def _read_regressor(path: Path, group: str) -> np.ndarray:
    try:
        matrix = read_npz(path, ('regressor',))['regressor']
    except (KeyError, ValueError) as error:
        raise ValueError(f'{path} is damaged ({error}); run `mmhier body-model setup` again.') from error
    if matrix.shape != (LANDMARK_GROUPS[group], NUM_SMPL_VERTICES):
        raise ValueError(f'{path} holds an array {matrix.shape}; run `mmhier body-model setup` again.')
    return matrix


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
