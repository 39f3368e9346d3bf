"""Model files of SMPL-X with random content: names, types and shapes of the published ones, no licence."""

from pathlib import Path

import numpy as np

from mmhier.body_models.smpl_file import LANDMARK_GROUPS, ROOT_PARENT, SMPLX_PARENTS
from mmhier.body_models.smplx_file import NUM_FACES, NUM_VERTICES, VERSIONS

NUM_JOINTS = len(SMPLX_PARENTS)


def random_smplx(
    seed: int = 0,
    version: str = '1.0',
    num_vertices: int = NUM_VERTICES,
    num_faces: int = NUM_FACES,
) -> dict[str, np.ndarray]:
    """Arrays of a SMPL-X file.

    Args:
        seed: Of the content.
        version: '1.0' (20 components of shape and expression) or '1.1' (400).
        num_vertices: Other than the published number for small bodies, which get regressors for the points
            that are vertices by number.
        num_faces: The same.

    Returns:
        name -> array, as published; positions within a metre.
    """
    rng = np.random.default_rng(seed)
    num_components = next(count for count, (name, _) in VERSIONS.items() if name == version)

    def normal(scale: float, *shape: int) -> np.ndarray:
        return np.float32(scale) * rng.standard_normal(shape, np.float32)

    rows = np.arange(num_vertices)
    weights = np.zeros((num_vertices, NUM_JOINTS), np.float32)
    for _ in range(4):
        weights[rows, rng.integers(0, NUM_JOINTS, num_vertices)] += rng.random(num_vertices, np.float32)
    regressor = np.zeros((NUM_JOINTS, num_vertices), np.float32)
    for row in regressor:
        row[rng.choice(num_vertices, min(num_vertices, 30), replace=False)] = rng.random(
            min(num_vertices, 30)
        )
    kintree = np.stack([[ROOT_PARENT, *SMPLX_PARENTS[1:]], np.arange(NUM_JOINTS)]).astype(np.uint32)
    arrays = {
        'v_template': normal(0.3, num_vertices, 3),
        'shapedirs': normal(0.005, num_vertices, 3, num_components),
        'posedirs': normal(0.002, num_vertices, 3, 9 * (NUM_JOINTS - 1)),
        'weights': weights / weights.sum(axis=1, keepdims=True),
        'J_regressor': regressor / regressor.sum(axis=1, keepdims=True),
        'kintree_table': kintree,
        'f': rng.integers(0, num_vertices, (num_faces, 3)).astype(np.uint32),
        'hands_meanl': normal(0.3, 45),
        'hands_meanr': normal(0.3, 45),
        'hands_componentsl': normal(0.2, 45, 45),
        'hands_componentsr': normal(0.2, 45, 45),
        'lmk_faces_idx': rng.integers(0, num_faces, 51),
        'lmk_bary_coords': rng.dirichlet(np.ones(3), 51),
        'dynamic_lmk_faces_idx': rng.integers(0, num_faces, (79, 17)),
        'dynamic_lmk_bary_coords': rng.dirichlet(np.ones(3), (79, 17)),
        # What nobody reads, but is there; the second one is a pickle.
        'vt': np.zeros((4, 2)),
        'joint2num': np.array({'Pelvis': 0}, object),
    }
    if num_vertices != NUM_VERTICES:
        for group in ('surface', 'tips'):
            chosen = rng.choice(num_vertices, LANDMARK_GROUPS[group], replace=False)
            arrays[f'{group}_regressor'] = np.eye(num_vertices, dtype=np.float32)[chosen]
    return arrays


def write_smplx_npz(path: Path, **settings: int | str) -> dict[str, np.ndarray]:
    """Write such a file; return its arrays. ``settings`` as of :func:`random_smplx`."""
    arrays = random_smplx(**settings)
    np.savez(path, **arrays)
    return arrays
