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
| render_vertices    | (R,)        | optional: vertices kept by a lighter mesh for drawing |
| render_faces       | (F', 3)     | optional: its triangles, indices into ``render_vertices`` |
| metadata           | ()          | optional: JSON text (name, licence, source, units, axes) |

Convention: metres, y up, the body faces +z with its left side at +x; right-handed.
Only plain arrays are read; a file that holds pickled objects is refused.
"""

import json
import zipfile
import zlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

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


@dataclass(frozen=True)
class BodyModelData:
    """Arrays of a SMPL-format body model; see the table of this module for shapes and units."""

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
    if not zipfile.is_zipfile(path):
        raise ValueError(f'{path} is not a complete .npz file; delete it or fetch it again.')
    try:
        with np.load(path, allow_pickle=False) as file:
            return _from_arrays(file, path)
    except (zipfile.BadZipFile, EOFError, OSError, zlib.error) as error:
        raise ValueError(f'{path} is damaged ({error}); delete it or fetch it again.') from error


def _from_arrays(file: np.lib.npyio.NpzFile, path: Path) -> BodyModelData:
    def get(name: str, dtype: type, ndim: int) -> np.ndarray:
        if name not in file.files:
            raise ValueError(
                f'{path} is not a SMPL-format model: key "{name}" is missing (it has {file.files}).'
            )
        try:
            array = file[name]
        except ValueError as error:
            raise ValueError(f'{path}: "{name}" cannot be read as a plain array ({error}).') from error
        if array.ndim != ndim or not np.isfinite(array).all():
            raise ValueError(f'{path}: "{name}" of shape {array.shape} must be {ndim}-d and finite.')
        return np.ascontiguousarray(array, dtype)

    metadata = json.loads(str(file['metadata'])) if 'metadata' in file.files else {}
    template = get('v_template', np.float32, 2)
    parents = get('kintree_table', np.int64, 2)[0].copy()
    parents[0] = -1
    optional = {
        'coco17_regressor': (np.float32, 2),
        'render_vertices': (np.int64, 1),
        'render_faces': (np.int64, 2),
    }
    data = BodyModelData(
        v_template=template,
        shapedirs=get('shapedirs', np.float32, 3),
        weights=get('weights', np.float32, 2),
        J_regressor=get('J_regressor', np.float32, 2),
        parents=parents,
        faces=get('f', np.int64, 2),
        posedirs=None
        if metadata.get('posedirs') == 'zero' or 'posedirs' not in file.files
        else get('posedirs', np.float32, 3),
        metadata=metadata,
        **{name: get(name, *spec) for name, spec in optional.items() if name in file.files},
    )
    num_vertices, num_joints = len(template), len(parents)
    expected = {
        'v_template': (data.v_template.shape, (num_vertices, 3)),
        'shapedirs': (data.shapedirs.shape[:2], (num_vertices, 3)),
        'weights': (data.weights.shape, (num_vertices, num_joints)),
        'J_regressor': (data.J_regressor.shape, (num_joints, num_vertices)),
        'f': (data.faces.shape[1:], (3,)),
    }
    for name, (shape, wanted) in expected.items():
        if shape != wanted:
            raise ValueError(f'{path}: "{name}" has shape {shape}, expected {wanted}.')
    if data.faces.size and not 0 <= data.faces.min() <= data.faces.max() < num_vertices:
        raise ValueError(f'{path}: "f" refers to vertices outside 0..{num_vertices - 1}.')
    if any(not 0 <= parent < joint for joint, parent in enumerate(parents[1:], start=1)):
        raise ValueError(
            f'{path}: "kintree_table" must list every parent before its children, got {parents}.'
        )
    return data
