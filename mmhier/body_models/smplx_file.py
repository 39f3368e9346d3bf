"""What the published files of SMPL-X hold beside SMPL's arrays, turned into the arrays of this package.

Pavlakos et al., Expressive Body Capture: 3D Hands, Face, and Body from a Single Image, CVPR 2019.
SMPLX_{NEUTRAL,MALE,FEMALE}.{npz,pkl}, versions 1.0 and 1.1, have these names (V = 10475 vertices):

| published                          | shape         | here |
|------------------------------------|---------------|------|
| shapedirs                          | (V, 3, 20)    | 1.0: 10 components of shape, then 10 of expression |
| shapedirs                          | (V, 3, 400)   | 1.1: 300 components of shape, then 100 of expression |
| hands_mean{l,r}                    | (45,)         | hand_means |
| hands_components{l,r}              | (45, 45)      | hand_components |
| lmk_faces_idx, lmk_bary_coords     | (51), (51, 3) | face_regressor |
| dynamic_lmk_{faces_idx,bary_coords}| (79, 17), (79, 17, 3) | contour_vertices, contour_weights |

Other names in them (texture coordinates, names of parts) are not read.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

NUM_VERTICES = 10475
NUM_FACES = 20908
# Components in "shapedirs" -> version of the files, and how many of them are of the shape.
VERSIONS = {20: ('1.0', 10), 400: ('1.1', 300)}
PUBLISHED = (
    'hands_meanl', 'hands_meanr', 'hands_componentsl', 'hands_componentsr', 'lmk_faces_idx',
    'lmk_bary_coords', 'dynamic_lmk_faces_idx', 'dynamic_lmk_bary_coords',
)  # fmt: skip


def from_published(arrays: Mapping[str, np.ndarray], source: str | Path) -> dict[str, np.ndarray]:
    """Give the arrays of a published file of SMPL-X the names and shapes that this package uses.

    Args:
        arrays: name -> array; those of another model are returned as they are.
        source: where they come from, for messages.

    Returns:
        name -> array, as in :mod:`mmhier.body_models.smpl_file`.

    Raises:
        ValueError: if an array is missing or of another shape than SMPL-X's.
    """
    if 'hands_meanl' not in arrays:
        return dict(arrays)
    if missing := [name for name in PUBLISHED if name not in arrays]:
        raise ValueError(f'{source} is not a model file of SMPL-X: key "{missing[0]}" is missing.')
    faces, shapedirs = np.asarray(arrays.get('f')), np.asarray(arrays.get('shapedirs'))
    num_components = shapedirs.shape[-1] if shapedirs.ndim == 3 else 0
    if num_components not in VERSIONS:
        raise ValueError(
            f'{source}: "shapedirs" of shape {shapedirs.shape}: SMPL-X has {" or ".join(map(str, VERSIONS))} '
            'components of shape and expression.'
        )
    num_shape = VERSIONS[num_components][1]
    corners, weights = _corners(arrays, 'lmk_faces_idx', 'lmk_bary_coords', (51,), faces, source)
    regressor = np.zeros((51, len(shapedirs)), np.float32)
    np.add.at(regressor, (np.arange(51)[:, None], corners), weights)
    contour, contour_weights = _corners(
        arrays, 'dynamic_lmk_faces_idx', 'dynamic_lmk_bary_coords', (79, 17), faces, source
    )
    ours = {name: array for name, array in arrays.items() if name not in PUBLISHED}
    return ours | {
        'shapedirs': shapedirs[..., :num_shape],
        'exprdirs': shapedirs[..., num_shape:],
        'hand_means': _both_hands(arrays, 'hands_mean', (45,), source),
        'hand_components': _both_hands(arrays, 'hands_components', (45, 45), source),
        'face_regressor': regressor,
        'contour_vertices': contour,
        'contour_weights': contour_weights,
    }


def _both_hands(arrays: Mapping, stem: str, shape: tuple[int, ...], source: str | Path) -> np.ndarray:
    """Left and right hand's array in one."""
    sides = [np.asarray(arrays[stem + side]) for side in 'lr']
    for side, array in zip('lr', sides, strict=True):
        if array.shape != shape or array.dtype.kind not in 'fiu':
            raise ValueError(f'{source}: "{stem}{side}" has shape {array.shape}, expected {shape}.')
    return np.stack(sides)


def _corners(
    arrays: Mapping, index: str, weight: str, shape: tuple[int, ...], faces: np.ndarray, source: str | Path
) -> tuple[np.ndarray, np.ndarray]:
    """Corners (..., 3) of the triangles that points lie in, and barycentric coordinates (..., 3)."""
    triangles, weights = np.asarray(arrays[index]), np.asarray(arrays[weight])
    for name, array, wanted in ((index, triangles, shape), (weight, weights, (*shape, 3))):
        if array.shape != wanted or array.dtype.kind not in 'fiu':
            raise ValueError(f'{source}: "{name}" has shape {array.shape}, expected {wanted}.')
    if faces.ndim != 2 or not 0 <= triangles.min() <= triangles.max() < len(faces):
        raise ValueError(f'{source}: "{index}" refers to triangles that are not in "f".')
    return faces[triangles.astype(np.int64)].astype(np.int64), weights.astype(np.float32)
