"""Model files in SMPL's .npz format, read into one dataclass.

Letters: V vertices, F faces, J joints (24 for SMPL), R vertices of the render mesh.

| key                | shape       | meaning |
|--------------------|-------------|---------|
| v_template         | (V, 3)      | T-pose template, metres |
| shapedirs          | (V, 3, B)   | shape components, metres per unit of ``betas`` |
| posedirs           | (V, 3, 207) | pose correctives, optional (absent or all zero: none) |
| weights            | (V, J)      | skinning weights, rows sum to one |
| J_regressor        | (J, V)      | rest joints from shaped vertices, rows sum to one |
| kintree_table      | (2, J)      | row 0: parents (4294967295 for the root), row 1: joint numbers |
| f                  | (F, 3)      | triangles, counter-clockwise seen from outside |
| coco17_regressor   | (17, V + J) | optional: COCO keypoints from posed vertices followed by posed joints |
| surface_regressor  | (11, V)     | optional: face and foot points of OpenPose from posed vertices |
| j19_regressor      | (19, V)     | optional: the 19 extra joints of HMR2.0 from posed vertices |
| h36m_regressor     | (17, V)     | optional: the joints of Human3.6M from posed vertices |
| render_vertices    | (R,)        | optional: vertices kept by a lighter mesh for drawing |
| render_faces       | (F', 3)     | optional: its triangles, indices into ``render_vertices`` |
| metadata           | ()          | optional: JSON text (name, licence, source, units, axes) |

The rows of the regressors are named in :mod:`mmhier.body_models.joint_sets`.

Convention: metres, y up, the body faces +z with its left side at +x; right-handed.
Only plain arrays are read; a file that holds pickled objects is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from mmhier.atomic import new_file
from mmhier.safe_files import parse_json, read_npz

JOINT_NAMES = (
    'pelvis', 'left_hip', 'right_hip', 'spine1', 'left_knee', 'right_knee', 'spine2', 'left_ankle',
    'right_ankle', 'spine3', 'left_foot', 'right_foot', 'neck', 'left_collar', 'right_collar', 'head',
    'left_shoulder', 'right_shoulder', 'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist',
    'left_hand', 'right_hand',
)  # fmt: skip
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
COCO17_NAMES = (
    'nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder', 'right_shoulder',
    'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist', 'left_hip', 'right_hip', 'left_knee',
    'right_knee', 'left_ankle', 'right_ankle',
)  # fmt: skip
ROOT_PARENT = np.uint32(4294967295)
# Group of landmarks -> number of rows of its regressor.
LANDMARK_GROUPS = {'surface': 11, 'j19': 19, 'h36m': 17}


@dataclass(frozen=True)
class BodyModelData:
    """Arrays of a SMPL-format body model; see the table of this module for shapes and units.

    ``regressors`` maps a group of :data:`LANDMARK_GROUPS` to its (K, V) regressor, if the file has it.
    """

    v_template: np.ndarray
    shapedirs: np.ndarray
    weights: np.ndarray
    J_regressor: np.ndarray
    parents: np.ndarray
    faces: np.ndarray
    posedirs: np.ndarray | None = None
    coco17_regressor: np.ndarray | None = None
    render_vertices: np.ndarray | None = None
    render_faces: np.ndarray | None = None
    regressors: dict[str, np.ndarray] = field(default_factory=dict)
    metadata: dict = field(default_factory=dict)

    @property
    def num_joints(self) -> int:
        """Number of joints J."""
        return len(self.parents)

    @property
    def num_betas(self) -> int:
        """Number of shape components B."""
        return self.shapedirs.shape[-1]

    @cached_property
    def joint_template(self) -> np.ndarray:
        """(J, 3) rest joints of the template."""
        return np.einsum('jv,vc->jc', self.J_regressor.astype(np.float64), self.v_template).astype(np.float32)

    @cached_property
    def joint_shapedirs(self) -> np.ndarray:
        """(J, 3, B) change of the rest joints per unit of ``betas``."""
        used = np.flatnonzero(self.J_regressor.any(axis=0))
        regressor = self.J_regressor[:, used].astype(np.float64)
        return np.einsum('jv,vcb->jcb', regressor, self.shapedirs[used]).astype(np.float32)


def read_smpl_npz(path: str | Path) -> BodyModelData:
    """Read a body model stored in SMPL's .npz format.

    Args:
        path: the file.

    Returns:
        Its arrays, float32 and int64, checked for consistent shapes.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, holds pickled objects, or misses a key.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'No body model file at {path}.')
    try:
        arrays = read_npz(path)
    except ValueError as error:
        raise ValueError(f'{error}; delete it or fetch it again.') from error
    return body_from_arrays(arrays, path)


def write_npz(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed .npz in one step: an interrupted run leaves no half a file."""
    with new_file(path) as temporary, temporary.open('wb') as file:
        np.savez_compressed(file, **arrays)


def body_from_arrays(arrays: Mapping[str, np.ndarray], source: str | Path) -> BodyModelData:
    """Check the arrays of a SMPL-format model.

    Args:
        arrays: name -> array, as in the table of this module; other names are ignored.
        source: where they come from, for messages.

    Returns:
        The model, float32 and int64.

    Raises:
        ValueError: if an array is missing, not numeric, not finite, or of another shape than the others say.
    """
    metadata = _metadata(arrays, source)

    def get(name: str, dtype: type, ndim: int) -> np.ndarray:
        return _checked(arrays, name, dtype, ndim, source)

    optional = {
        'posedirs': (np.float32, 3),
        'coco17_regressor': (np.float32, 2),
        'render_vertices': (np.int64, 1),
        'render_faces': (np.int64, 2),
    }
    parents = get('kintree_table', np.int64, 2)[:1].flatten()
    parents[:1] = -1
    data = BodyModelData(
        v_template=get('v_template', np.float32, 2),
        shapedirs=get('shapedirs', np.float32, 3),
        weights=get('weights', np.float32, 2),
        J_regressor=get('J_regressor', np.float32, 2),
        parents=parents,
        faces=get('f', np.int64, 2),
        regressors={
            group: get(f'{group}_regressor', np.float32, 2)
            for group in LANDMARK_GROUPS
            if f'{group}_regressor' in arrays
        },
        metadata=metadata,
        **{
            name: get(name, *spec)
            for name, spec in optional.items()
            if name in arrays and not (name == 'posedirs' and metadata.get('posedirs') == 'zero')
        },
    )
    _check_shapes(data, source)
    return data


def _metadata(arrays: Mapping[str, np.ndarray], source: str | Path) -> dict:
    if 'metadata' not in arrays:
        return {}
    metadata = parse_json(str(arrays['metadata']), f'{source}: "metadata"')
    if not isinstance(metadata, dict):
        raise ValueError(f'{source}: "metadata" is not a JSON object but {type(metadata).__name__}.')
    return metadata


def _checked(
    arrays: Mapping[str, np.ndarray], name: str, dtype: type, ndim: int, source: str | Path
) -> np.ndarray:
    if name not in arrays:
        raise ValueError(
            f'{source} is not a SMPL-format model: key "{name}" is missing (it has {sorted(arrays)}).'
        )
    array = arrays[name]
    if array.dtype.kind not in 'fiub' or array.ndim != ndim or not np.isfinite(array).all():
        raise ValueError(
            f'{source}: "{name}" of shape {array.shape} and type {array.dtype} must be {ndim}-d, numeric and '
            'finite.'
        )
    return np.ascontiguousarray(array, dtype)


def _check_shapes(data: BodyModelData, source: str | Path) -> None:
    num_vertices, num_joints = len(data.v_template), len(data.parents)
    if not (num_vertices and num_joints):
        raise ValueError(f'{source}: a body of {num_vertices} vertices and {num_joints} joints.')
    expected = {
        'v_template': (data.v_template.shape, (num_vertices, 3)),
        'shapedirs': (data.shapedirs.shape[:2], (num_vertices, 3)),
        'weights': (data.weights.shape, (num_vertices, num_joints)),
        'J_regressor': (data.J_regressor.shape, (num_joints, num_vertices)),
        'f': (data.faces.shape[1:], (3,)),
    }
    if data.posedirs is not None:
        expected['posedirs'] = (data.posedirs.shape, (num_vertices, 3, 9 * (num_joints - 1)))
    for group, regressor in data.regressors.items():
        expected[f'{group}_regressor'] = (regressor.shape, (LANDMARK_GROUPS[group], num_vertices))
    for name, (shape, wanted) in expected.items():
        if shape != wanted:
            raise ValueError(f'{source}: "{name}" has shape {shape}, expected {wanted}.')
    if data.faces.size and not 0 <= data.faces.min() <= data.faces.max() < num_vertices:
        raise ValueError(f'{source}: "f" refers to vertices outside 0..{num_vertices - 1}.')
    if any(not 0 <= parent < joint for joint, parent in enumerate(data.parents[1:], start=1)):
        raise ValueError(
            f'{source}: "kintree_table" must list every parent before its children, got {data.parents}.'
        )
