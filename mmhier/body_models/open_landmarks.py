"""Landmarks of the open body: regressors of the groups ``surface``, ``j19`` and ``h36m`` from its own mesh.

Every row is a convex combination of vertices, so that a landmark stays inside the body and follows it. Limb
joints are rings of vertices whose mean is the skeleton's joint for every shape and stays there when the joint
is turned. Points without a bone are placed where the data set that defines them has them, as far as its
documentation says:

| landmark                 | made of |
|--------------------------|---------|
| toes, heel               | the foremost vertices of the first and the fifth toe, the hindmost of the foot |
| neck_lsp                 | half-way between the joints neck and head |
| head_top_lsp             | the top of the head |
| pelvis_mpii, h36m pelvis | the middle of the hips |
| thorax_mpii, h36m thorax | the middle of the shoulders, half-way to the joint neck |
| spine_h36m               | the joint spine2 |
| jaw_h36m                 | half-way between nose and joint head |
| head_h36m                | half-way between the ears' middle and the top of the head |

These are not the landmarks of SMPL's regressors to the millimetre: numbers measured with them compare models
on the open body with each other, not with published ones.

Letters: V vertices, K shape components, C candidate vertices.
"""

import numpy as np

from mmhier.body_models.joint_sets import H36M17_NAMES, J19_NAMES, SURFACE_NAMES, mirror_name
from mmhier.body_models.smpl_file import COCO17_NAMES, JOINT_NAMES, PARENTS
from mmhier.geometry.array_rotations import axis_angle_to_matrix

PATCH = 20  # vertices that share a landmark on the skin
RING_CANDIDATES = 300
RING_SHARE = 0.9  # of a vertex's weight that is on the joint and its parent
RING_TURNS = 12  # rotations under which a ring keeps its centre


def landmark_regressors(
    vertex_modes: np.ndarray,
    weights: np.ndarray,
    joint_regressor: np.ndarray,
    coco_regressor: np.ndarray,
    mirror: np.ndarray,
    left_toes: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Build the three regressors.

    Args:
        vertex_modes: (V, 1 + K, 3) rest vertices and shape components, metres.
        weights: (V, 24) skinning weights.
        joint_regressor: (24, V).
        coco_regressor: (17, V + 24); its face points are used.
        mirror: (V,) the mirror image of each vertex.
        left_toes: vertices of 'left_big_toe' and of 'left_small_toe'.

    Returns:
        Group -> (rows, V), rows convex.
    """
    template = vertex_modes[:, 0]
    joints = dict(zip(JOINT_NAMES, joint_regressor))
    for name in ('left_hip', 'left_knee', 'left_ankle', 'left_shoulder', 'left_elbow', 'left_wrist'):
        joint_modes = np.einsum('v,vkc->kc', joints[name], vertex_modes)
        joint = JOINT_NAMES.index(name)
        joints[name] = ring(vertex_modes - joint_modes, weights[:, joint], weights[:, PARENTS[joint]])
        joints[mirror_name(name)] = _mirrored(joints[name], mirror)
    surface = _surface(template, weights, coco_regressor, mirror, left_toes)
    crown = _patch(template, np.flatnonzero(weights[:, JOINT_NAMES.index('head')] > 0.9), [0.0, 1.0, 0.0])
    crown = _mean(crown, _mirrored(crown, mirror))
    shoulders = _mean(joints['left_shoulder'], joints['right_shoulder'])
    points = joints | {
        'neck': _mean(joints['neck'], joints['head']),
        'head_top': crown,
        'pelvis': _mean(joints['left_hip'], joints['right_hip']),
        'thorax': _mean(shoulders, joints['neck']),
        'spine': joints['spine2'],
        'jaw': _mean(surface['nose'], joints['head']),
        'head': _mean(_mean(surface['left_ear'], surface['right_ear']), crown),
    }
    return {
        'surface': np.stack([surface[name] for name in SURFACE_NAMES]),
        'j19': np.stack([points[name.rpartition('_')[0]] for name in J19_NAMES]),
        'h36m': np.stack([points[name] for name in H36M17_NAMES]),
    }


def fit_weights(modes: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Convex weights of C vertices under which their mean meets a target in several bodies at once.

    Args:
        modes: (C, M, 3) positions, or shape components, of the vertices.
        target: (M, 3).

    Returns:
        (C,), few of them not zero.
    """
    from scipy.optimize import nnls

    matrix = modes.reshape(len(modes), -1).T
    total = np.full((1, len(modes)), 10.0)
    solution, _ = nnls(np.concatenate([matrix, total]), np.concatenate([target.ravel(), [10.0]]))
    return solution / solution.sum()


def ring(relative: np.ndarray, share: np.ndarray, parent_share: np.ndarray) -> np.ndarray:
    """(V,) convex weights of a ring of vertices around a joint.

    Args:
        relative: (V, 1 + K, 3) vertices and shape components relative to those of the joint.
        share: (V,) how much a vertex follows the joint.
        parent_share: (V,) how much it follows the joint's parent; vertices that follow others are left out.
    """
    only = np.flatnonzero(share + parent_share > RING_SHARE)
    near = only[np.argsort(np.linalg.norm(relative[only, 0], axis=1), kind='stable')[:RING_CANDIDATES]]
    turns = axis_angle_to_matrix(np.random.default_rng(0).normal(0.0, 0.7, (RING_TURNS, 3)))
    rest = relative[near, 0]
    turned = np.einsum('rij,vj->vri', turns, rest)
    posed = rest[:, None] + share[near, None, None] * (turned - rest[:, None])
    centred = np.concatenate([relative[near, 1:], posed], axis=1)
    row = np.zeros(len(relative))
    row[near] = fit_weights(centred, np.zeros(centred.shape[1:]))
    return row


def _surface(
    template: np.ndarray,
    weights: np.ndarray,
    coco_regressor: np.ndarray,
    mirror: np.ndarray,
    left_toes: dict[str, np.ndarray],
) -> dict[str, np.ndarray]:
    rows = dict(zip(COCO17_NAMES, coco_regressor[:, : len(template)]))
    for name, vertices in left_toes.items():
        rows[name] = _patch(template, vertices, [0.0, 0.0, 1.0])
    foot = np.flatnonzero(weights[:, JOINT_NAMES.index('left_ankle')] > 0.9)
    sole = foot[template[foot, 1] < template[foot, 1].min() + 0.04]
    rows['left_heel'] = _patch(template, sole, [0.0, 0.0, -1.0])
    for name in (*left_toes, 'left_heel'):
        rows[mirror_name(name)] = _mirrored(rows[name], mirror)
    return rows


def _patch(template: np.ndarray, candidates: np.ndarray, direction: list[float]) -> np.ndarray:
    """(V,) equal weights on the candidates that lie furthest in a direction."""
    order = np.argsort(-(template[candidates] @ np.asarray(direction)), kind='stable')[:PATCH]
    row = np.zeros(len(template))
    row[candidates[order]] = 1.0 / len(order)
    return row


def _mirrored(row: np.ndarray, mirror: np.ndarray) -> np.ndarray:
    mirrored = np.zeros_like(row)
    np.add.at(mirrored, mirror, row)
    return mirrored


def _mean(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return 0.5 * (first + second)
