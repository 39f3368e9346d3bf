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
| j14_regressor      | (14, V)     | optional: LSP's joints from posed vertices of SMPL-X |
| tips_regressor     | (10, V)     | optional: finger tips from posed vertices |
| face_regressor     | (51, V)     | optional: brows, nose, eyelids and lips from posed vertices |
| exprdirs           | (V, 3, E)   | optional: expression components, metres per unit of ``expression`` |
| hand_means         | (2, 45)     | optional: mean poses of left and right hand, axis-angle |
| hand_components    | (2, 45, 45) | optional: principal components of hand poses, one a row |
| contour_vertices   | (79, 17, 3) | optional: corners of triangles with the face's outline (see below) |
| contour_weights    | (79, 17, 3) | optional: barycentric coordinates in them |
| left_hand_vertices, right_hand_vertices, face_vertices | (N) | optional: vertices of parts |
| render_vertices    | (R,)        | optional: vertices kept by a lighter mesh for drawing |
| render_faces       | (F', 3)     | optional: its triangles, indices into ``render_vertices`` |
| metadata           | ()          | optional: JSON text (name, licence, source, units, axes) |

The rows of the regressors are named in :mod:`mmhier.body_models.joint_sets`. What is a face's outline depends
on where it looks: the rows of its tables belong to turns of the neck about the vertical axis, by 0, 1 ... 39
degrees to the body's right, then by 1, 2 ... 39 to its left. Published files of SMPL-X have other names for
some of this (:mod:`mmhier.body_models.smplx_file`).

Convention: metres, y up, the body faces +z with its left side at +x; right-handed.
Only plain arrays are read; a file that holds pickled objects is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from mmhier.atomic import new_file
from mmhier.body_models.smplx_file import PUBLISHED, from_published
from mmhier.safe_files import parse_json, read_npz

JOINT_NAMES = (
    'pelvis', 'left_hip', 'right_hip', 'spine1', 'left_knee', 'right_knee', 'spine2', 'left_ankle',
    'right_ankle', 'spine3', 'left_foot', 'right_foot', 'neck', 'left_collar', 'right_collar', 'head',
    'left_shoulder', 'right_shoulder', 'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist',
    'left_hand', 'right_hand',
)  # fmt: skip
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21)
_FINGERS = ('index', 'middle', 'pinky', 'ring', 'thumb')
_LEFT_FINGER_JOINTS = tuple(f'left_{finger}{number}' for finger in _FINGERS for number in (1, 2, 3))
SMPLX_JOINT_NAMES = (
    *JOINT_NAMES[:22], 'jaw', 'left_eyeball', 'right_eyeball', *_LEFT_FINGER_JOINTS,
    *(name.replace('left', 'right') for name in _LEFT_FINGER_JOINTS),
)  # fmt: skip
SMPLX_PARENTS = (
    *PARENTS[:22], 15, 15, 15,
    *(wrist if step == 0 else first + 3 * finger + step - 1
      for wrist, first in ((20, 25), (21, 40)) for finger in range(5) for step in range(3)),
)  # fmt: skip
COCO17_NAMES = (
    'nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder', 'right_shoulder',
    'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist', 'left_hip', 'right_hip', 'left_knee',
    'right_knee', 'left_ankle', 'right_ankle',
)  # fmt: skip
ROOT_PARENT = np.uint32(4294967295)
# Group of landmarks -> number of rows of its regressor.
LANDMARK_GROUPS = {'surface': 11, 'j19': 19, 'h36m': 17, 'j14': 14, 'tips': 10, 'face': 51}
PARTS = ('left_hand', 'right_hand', 'face')
NUM_HAND_NUMBERS = 45  # 15 joints of a hand, axis-angle
CONTOUR_SHAPE = (79, 17, 3)

_REQUIRED = ('v_template', 'shapedirs', 'weights', 'J_regressor', 'kintree_table', 'f')
_OPTIONAL = {
    'posedirs': (np.float32, 3),
    'coco17_regressor': (np.float32, 2),
    'render_vertices': (np.int64, 1),
    'render_faces': (np.int64, 2),
    'exprdirs': (np.float32, 3),
    'hand_means': (np.float32, 2),
    'hand_components': (np.float32, 3),
    'contour_vertices': (np.int64, 3),
    'contour_weights': (np.float32, 3),
}
FIELDS = (
    *_REQUIRED, *_OPTIONAL, *(f'{group}_regressor' for group in LANDMARK_GROUPS),
    *(f'{part}_vertices' for part in PARTS), 'metadata', *PUBLISHED
)  # fmt: skip


@dataclass(frozen=True)
class BodyModelData:
    """Arrays of a SMPL-format body model; see the table of this module for shapes and units.

    ``regressors`` maps a group of :data:`LANDMARK_GROUPS` to its (K, V) regressor, if the file has it;
    ``parts`` maps those of :data:`PARTS` to their vertices, if the file has them or they are installed.
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
    exprdirs: np.ndarray | None = None
    hand_means: np.ndarray | None = None
    hand_components: np.ndarray | None = None
    contour_vertices: np.ndarray | None = None
    contour_weights: np.ndarray | None = None
    regressors: dict[str, np.ndarray] = field(default_factory=dict)
    parts: dict[str, np.ndarray] = field(default_factory=dict)
    metadata: dict = field(default_factory=dict)

    @property
    def num_joints(self) -> int:
        """Number of joints J."""
        return len(self.parents)

    @property
    def num_betas(self) -> int:
        """Number of shape components B."""
        return self.shapedirs.shape[-1]

    @property
    def num_expressions(self) -> int:
        """Number of expression components E."""
        return 0 if self.exprdirs is None else self.exprdirs.shape[-1]

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the J joints: those of the file, of SMPL's or SMPL-X's tree, or ``joint_00`` and so on."""
        names = tuple(map(str, self.metadata.get('joint_names', ())))
        if len(set(names)) == self.num_joints == len(names):
            return names
        tree = tuple(self.parents.tolist())
        known = {PARENTS: JOINT_NAMES, SMPLX_PARENTS: SMPLX_JOINT_NAMES}
        return known.get(tree) or tuple(f'joint_{number:02d}' for number in range(self.num_joints))

    @cached_property
    def joint_template(self) -> np.ndarray:
        """(J, 3) rest joints of the template."""
        return np.einsum('jv,vc->jc', self.J_regressor.astype(np.float64), self.v_template).astype(np.float32)

    @cached_property
    def joint_shapedirs(self) -> np.ndarray:
        """(J, 3, B) change of the rest joints per unit of ``betas``."""
        return self._joint_directions(self.shapedirs)

    @cached_property
    def joint_exprdirs(self) -> np.ndarray:
        """(J, 3, E) change of the rest joints per unit of ``expression``; (J, 3, 0) without any."""
        if self.exprdirs is None:
            return np.zeros((self.num_joints, 3, 0), np.float32)
        return self._joint_directions(self.exprdirs)

    def _joint_directions(self, directions: np.ndarray) -> np.ndarray:
        used = np.flatnonzero(self.J_regressor.any(axis=0))
        regressor = self.J_regressor[:, used].astype(np.float64)
        return np.einsum('jv,vcb->jcb', regressor, directions[used]).astype(np.float32)


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
        arrays = read_npz(path, FIELDS)
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
        arrays: name -> array, as in the table of this module or as published; other names are ignored.
        source: where they come from, for messages.

    Returns:
        The model, float32 and int64.

    Raises:
        ValueError: if an array is missing, not numeric, not finite, or of another shape than the others say.
    """
    arrays = from_published(arrays, source)
    metadata = _metadata(arrays, source)

    def get(name: str, dtype: type, ndim: int) -> np.ndarray:
        return _checked(arrays, name, dtype, ndim, source)

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
        parts={part: get(f'{part}_vertices', np.int64, 1) for part in PARTS if f'{part}_vertices' in arrays},
        metadata=metadata,
        **{
            name: get(name, *spec)
            for name, spec in _OPTIONAL.items()
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
    optional = {
        'exprdirs': (num_vertices, 3, data.num_expressions),
        'hand_means': (2, NUM_HAND_NUMBERS),
        'hand_components': (2, NUM_HAND_NUMBERS, NUM_HAND_NUMBERS),
        'contour_vertices': CONTOUR_SHAPE,
        'contour_weights': CONTOUR_SHAPE,
    }
    for name, wanted in optional.items():
        if (array := getattr(data, name)) is not None:
            expected[name] = (array.shape, wanted)
    for name, (shape, wanted) in expected.items():
        if shape != wanted:
            raise ValueError(f'{source}: "{name}" has shape {shape}, expected {wanted}.')
    if (data.contour_vertices is None) != (data.contour_weights is None):
        raise ValueError(f'{source}: "contour_vertices" and "contour_weights" come together, one is missing.')
    corners_of = {'f': data.faces, 'contour_vertices': data.contour_vertices}
    corners_of |= {f'{part}_vertices': vertices for part, vertices in data.parts.items()}
    for name, corners in corners_of.items():
        if corners is not None and corners.size and not 0 <= corners.min() <= corners.max() < num_vertices:
            raise ValueError(f'{source}: "{name}" refers to vertices outside 0..{num_vertices - 1}.')
    if any(not 0 <= parent < joint for joint, parent in enumerate(data.parents[1:], start=1)):
        raise ValueError(
            f'{source}: "kintree_table" must list every parent before its children, got {data.parents}.'
        )
