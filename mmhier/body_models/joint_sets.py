"""Joint sets by name: which points of a body, in which order, with their mirror images and their tree.

A set lists its joints by name; code asks ``joint_set.index('left_knee')`` and never counts. Where each joint
comes from is a *landmark*, ``group.name``. Groups:

| group    | rows  | computed from        | on SMPL                         | on SMPL-X            |
|----------|-------|----------------------|---------------------------------|----------------------|
| skeleton | 24/55 | the posed skeleton   | the model's own joints          | the same             |
| surface  | 11    | the posed vertices   | vertex numbers (smplx, BODY-25) | vertex numbers       |
| j19      | 19    | the posed vertices   | ``SMPL_to_J19.pkl`` (HMR2.0)    |                      |
| h36m     | 17    | the posed vertices   | ``J_regressor_h36m.npy`` (SPIN) |                      |
| j14      | 14    | the posed vertices   |                                 | ``SMPLX_to_J14.pkl`` |
| tips     | 10    | the posed vertices   |                                 | vertex numbers       |
| face     | 51    | the posed vertices   |                                 | in its file          |
| contour  | 17    | and the neck's turn  |                                 | in its file          |

The open body has SMPL's groups, built from its mesh.

Sets:

| set         | joints | what it is |
|-------------|--------|------------|
| smpl24      | 24 | the skeleton of SMPL |
| openpose25  | 25 | OpenPose BODY-25 |
| extra19     | 19 | the extra joints of HMR2.0, with the data set that defines each in the name |
| hmr44       | 44 | openpose25 followed by extra19: what HMR2.0 predicts and its data sets store |
| coco17      | 17 | COCO keypoints, those of openpose25 with the same names |
| h36m17      | 17 | Human3.6M, in the order of that data set (right leg before left) |
| lsp14       | 14 | Leeds Sports Pose, the first 14 of extra19 |
| hmr2_eval14 | 14 | lsp14 with Human3.6M's head instead of the head top: HMR2.0's MPJPE |
| smplx55     | 55 | the skeleton of SMPL-X |
| smplx144    | 144 | all that the package smplx gives: smplx55, surface, tips, face, contour |
| smplx137    | 137 | what SMPLer-X supervises: smplx25, hands40, face72 |
| smplx65     | 65 | smplx25, hands40: what SMPLer-X's network predicts as points |
| smplx53     | 53 | joints whose rotations SMPLer-X predicts: 22 of the body, 2 x 15 of the hands, the jaw |
| smplx25     | 25 | SMPLer-X's body |
| hands40     | 40 | SMPLer-X's hands: thumb to little finger, palm to tip, left before right |
| face72      | 72 | SMPLer-X's face: jaw, head, eyes, face, contour |
| smplx_j14   | 14 | lsp14 with a head, of SMPL-X |
| wholebody133 | 133 | COCO-WholeBody |
| openpose137 | 137 | OpenPose: openpose25, 2 x 21 of the hands, 70 of the face |
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from mmhier.body_models.smpl_file import (
    COCO17_NAMES,
    JOINT_NAMES,
    PARENTS,
    SMPLX_JOINT_NAMES,
    SMPLX_PARENTS,
)

LIMBS_RIGHT_TO_LEFT = (
    'right_ankle', 'right_knee', 'right_hip', 'left_hip', 'left_knee', 'left_ankle',
    'right_wrist', 'right_elbow', 'right_shoulder', 'left_shoulder', 'left_elbow', 'left_wrist',
)  # fmt: skip
# Row -> vertex of SMPL's topology (6890 vertices): BODY-25 points without a joint, as in the package smplx.
SURFACE_VERTICES = {
    'nose': 332, 'right_eye': 6260, 'left_eye': 2800, 'right_ear': 4071, 'left_ear': 583,
    'left_big_toe': 3216, 'left_small_toe': 3226, 'left_heel': 3387,
    'right_big_toe': 6617, 'right_small_toe': 6624, 'right_heel': 6787,
}  # fmt: skip
SURFACE_NAMES = tuple(SURFACE_VERTICES)
# The same points on SMPL-X's topology (10475 vertices), in the order of that package, and its finger tips.
SMPLX_SURFACE_VERTICES = {
    'nose': 9120, 'right_eye': 9929, 'left_eye': 9448, 'right_ear': 616, 'left_ear': 6,
    'left_big_toe': 5770, 'left_small_toe': 5780, 'left_heel': 8846,
    'right_big_toe': 8463, 'right_small_toe': 8474, 'right_heel': 8635,
}  # fmt: skip
FINGERS = ('thumb', 'index', 'middle', 'ring', 'pinky')
SMPLX_TIP_VERTICES = dict(
    zip(
        (f'{side}_{finger}4' for side in ('left', 'right') for finger in FINGERS),
        (5361, 4933, 5058, 5169, 5286, 8079, 7669, 7794, 7905, 8022),
        strict=True,
    )
)
TIP_NAMES = tuple(SMPLX_TIP_VERTICES)
J19_NAMES = (
    *(f'{name}_lsp' for name in LIMBS_RIGHT_TO_LEFT),
    'neck_lsp', 'head_top_lsp', 'pelvis_mpii', 'thorax_mpii', 'spine_h36m', 'jaw_h36m', 'head_h36m',
)  # fmt: skip
H36M17_NAMES = (
    'pelvis', 'right_hip', 'right_knee', 'right_ankle', 'left_hip', 'left_knee', 'left_ankle', 'spine',
    'thorax', 'jaw', 'head', 'left_shoulder', 'left_elbow', 'left_wrist',
    'right_shoulder', 'right_elbow', 'right_wrist',
)  # fmt: skip
OPENPOSE25_NAMES = (
    'nose', 'neck', 'right_shoulder', 'right_elbow', 'right_wrist', 'left_shoulder', 'left_elbow',
    'left_wrist', 'mid_hip', 'right_hip', 'right_knee', 'right_ankle', 'left_hip', 'left_knee', 'left_ankle',
    'right_eye', 'left_eye', 'right_ear', 'left_ear', 'left_big_toe', 'left_small_toe', 'left_heel',
    'right_big_toe', 'right_small_toe', 'right_heel',
)  # fmt: skip
LSP14_NAMES = (*LIMBS_RIGHT_TO_LEFT, 'neck', 'head_top')
HMR2_EVAL14_NAMES = (*LIMBS_RIGHT_TO_LEFT, 'neck', 'head')

HANDS40_NAMES = tuple(
    f'{side}_{finger}{number}' for side in ('left', 'right') for finger in FINGERS for number in (1, 2, 3, 4)
)
SMPLX25_NAMES = (
    'pelvis', 'left_hip', 'right_hip', 'left_knee', 'right_knee', 'left_ankle', 'right_ankle', 'neck',
    'left_shoulder', 'right_shoulder', 'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist',
    'left_big_toe', 'left_small_toe', 'left_heel', 'right_big_toe', 'right_small_toe', 'right_heel',
    'left_ear', 'right_ear', 'left_eye', 'right_eye', 'nose',
)  # fmt: skip


def _right_to_left(*names: str) -> tuple[str, ...]:
    """The right side's names, then their mirror images from the middle outwards."""
    return (*(f'right_{name}' for name in names), *(f'left_{name}' for name in reversed(names)))


# The 68 points of iBUG, as in COCO-WholeBody and OpenPose: the outline, then the rest. Numbers grow towards
# the middle; an eye's go from its outer corner over the top.
CONTOUR_NAMES = (
    *(f'right_contour{number}' for number in range(1, 9)), 'contour_middle',
    *(f'left_contour{number}' for number in range(8, 0, -1)),
)  # fmt: skip
FACE51_NAMES = (
    *_right_to_left('brow1', 'brow2', 'brow3', 'brow4', 'brow5'),
    'nose_bridge1', 'nose_bridge2', 'nose_bridge3', 'nose_bridge4',
    'right_nostril1', 'right_nostril2', 'nose_base', 'left_nostril2', 'left_nostril1',
    *(f'right_eyelid{number}' for number in (1, 2, 3, 4, 5, 6)),
    *(f'left_eyelid{number}' for number in (4, 3, 2, 1, 6, 5)),
    'right_lip1', 'right_lip2', 'right_lip3', 'lip_top', 'left_lip3', 'left_lip2', 'left_lip1',
    'left_lip5', 'left_lip4', 'lip_bottom', 'right_lip4', 'right_lip5',
    'right_inner_lip1', 'right_inner_lip2', 'inner_lip_top', 'left_inner_lip2', 'left_inner_lip1',
    'left_inner_lip3', 'inner_lip_bottom', 'right_inner_lip3',
)  # fmt: skip
# Group -> names of its rows; those of the skeleton are the body model's.
GROUP_NAMES = {
    'surface': SURFACE_NAMES, 'j19': J19_NAMES, 'h36m': H36M17_NAMES, 'j14': HMR2_EVAL14_NAMES,
    'tips': TIP_NAMES, 'face': FACE51_NAMES, 'contour': CONTOUR_NAMES,
}  # fmt: skip

# Joint -> parent, for the left side (the right side mirrors it); a joint that is not named is a root.
_LEFT_LIMBS = {
    'left_knee': 'left_hip', 'left_ankle': 'left_knee', 'left_elbow': 'left_shoulder',
    'left_wrist': 'left_elbow',
}  # fmt: skip
_OPENPOSE25_TREE = _LEFT_LIMBS | {
    'left_hip': 'mid_hip', 'neck': 'mid_hip', 'left_shoulder': 'neck', 'nose': 'neck', 'left_eye': 'nose',
    'left_ear': 'left_eye', 'left_heel': 'left_ankle', 'left_big_toe': 'left_ankle',
    'left_small_toe': 'left_big_toe',
}  # fmt: skip
_EXTRA19_TREE = {f'{child}_lsp': f'{parent}_lsp' for child, parent in _LEFT_LIMBS.items()} | {
    'left_hip_lsp': 'pelvis_mpii', 'spine_h36m': 'pelvis_mpii', 'thorax_mpii': 'spine_h36m',
    'left_shoulder_lsp': 'thorax_mpii', 'neck_lsp': 'thorax_mpii', 'head_top_lsp': 'neck_lsp',
    'jaw_h36m': 'neck_lsp', 'head_h36m': 'jaw_h36m',
}  # fmt: skip
_COCO17_TREE = _LEFT_LIMBS | {
    'left_eye': 'nose', 'left_ear': 'left_eye', 'left_shoulder': 'nose', 'left_hip': 'left_shoulder',
}  # fmt: skip
_H36M17_TREE = _LEFT_LIMBS | {
    'left_hip': 'pelvis', 'spine': 'pelvis', 'thorax': 'spine', 'jaw': 'thorax', 'head': 'jaw',
    'left_shoulder': 'thorax',
}  # fmt: skip
_FACE_TREE = {
    'nose': 'head', 'left_eye': 'nose', 'left_ear': 'left_eye', 'nose_bridge1': 'nose',
    **{f'nose_bridge{number}': f'nose_bridge{number - 1}' for number in (2, 3, 4)},
    'nose_base': 'nose_bridge4', 'left_nostril2': 'nose_base', 'left_nostril1': 'left_nostril2',
    'left_brow5': 'nose_bridge1',
    **{f'left_brow{number}': f'left_brow{number + 1}' for number in (1, 2, 3, 4)},
    'left_eyelid4': 'nose_bridge1',
    **{f'left_eyelid{number}': f'left_eyelid{number + 1}' for number in (1, 2, 3)},
    'left_eyelid5': 'left_eyelid4', 'left_eyelid6': 'left_eyelid5',
    'lip_top': 'nose_base', 'left_lip3': 'lip_top', 'left_lip2': 'left_lip3', 'left_lip1': 'left_lip2',
    'left_lip5': 'left_lip1', 'left_lip4': 'left_lip5', 'inner_lip_top': 'lip_top',
    'left_inner_lip2': 'inner_lip_top', 'left_inner_lip1': 'left_inner_lip2',
    'left_inner_lip3': 'left_inner_lip1', 'inner_lip_bottom': 'inner_lip_top',
    'lip_bottom': 'inner_lip_bottom', 'contour_middle': 'lip_bottom', 'left_contour8': 'contour_middle',
    **{f'left_contour{number}': f'left_contour{number + 1}' for number in range(1, 8)},
}  # fmt: skip
_SMPLX_TREE = (
    {
        name: SMPLX_JOINT_NAMES[parent]
        for name, parent in zip(SMPLX_JOINT_NAMES, SMPLX_PARENTS)
        if parent >= 0 and not name.startswith('right_')
    }
    | {f'left_{finger}4': f'left_{finger}3' for finger in FINGERS}
    | {'left_heel': 'left_ankle', 'left_big_toe': 'left_foot', 'left_small_toe': 'left_big_toe'}
    | _FACE_TREE
)
# Sets that name the hand's root apart from the body's wrist.
_HAND21_TREE = {'left_hand_root': 'left_wrist'} | {f'left_{finger}1': 'left_hand_root' for finger in FINGERS}
_LSP14_TREE = _LEFT_LIMBS | {'left_hip': 'neck', 'left_shoulder': 'neck', 'head_top': 'neck', 'head': 'neck'}


@dataclass(frozen=True)
class JointSet:
    """An ordered set of named joints.

    Attributes:
        name: how the set is called.
        names: (K,) joints, each named once; ``left_`` and ``right_`` mark mirror images.
        landmarks: (K,) where each joint comes from, ``group.name``.
        parents: (K,) number of each joint's parent, -1 for roots.
    """

    name: str
    names: tuple[str, ...]
    landmarks: tuple[str, ...]
    parents: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def flip(self) -> tuple[int, ...]:
        """(K,) permutation: joint k of a mirrored person is the mirror image of joint ``flip[k]``."""
        return tuple(self.index(mirror_name(name)) for name in self.names)

    @property
    def groups(self) -> set[str]:
        """Groups of landmarks that need a regressor."""
        return {landmark.partition('.')[0] for landmark in self.landmarks} - {'skeleton'}

    def index(self, name: str) -> int:
        """Number of a joint.

        Raises:
            ValueError: if the set has no such joint.
        """
        if name not in self.names:
            raise ValueError(
                f'The joint set {self.name} has no joint "{name}"; it has: {", ".join(self.names)}.'
            )
        return self.names.index(name)

    def indices(self, names: Iterable[str]) -> list[int]:
        """Numbers of several joints."""
        return [self.index(name) for name in names]


def mirror_name(name: str) -> str:
    """``left_knee`` for ``right_knee`` and the other way round; names without a side stay."""
    side, _, rest = name.partition('_')
    return {'left': f'right_{rest}', 'right': f'left_{rest}'}.get(side, name)


def joint_set(name: str) -> JointSet:
    """Return the joint set of that name.

    Raises:
        ValueError: if there is none.
    """
    if name not in JOINT_SETS:
        raise ValueError(f'There is no joint set "{name}"; there are: {", ".join(JOINT_SETS)}.')
    return JOINT_SETS[name]


def _make(name: str, source: dict[str, str], tree: dict[str, str]) -> JointSet:
    """A joint set from joint -> landmark and child -> parent; parents that it has not are left out."""
    tree = tree | {mirror_name(child): mirror_name(parent) for child, parent in tree.items()}
    names = tuple(source)
    parents = []
    for joint in names:
        parent = tree.get(joint)
        while parent is not None and parent not in source:
            parent = tree.get(parent)
        parents.append(-1 if parent is None else names.index(parent))
    return JointSet(name, names, tuple(source.values()), tuple(parents))


def _landmark(name: str) -> str:
    """Where a joint comes from whose name tells it; the skeleton is the last to have it."""
    if name == 'mid_hip':
        return 'skeleton.pelvis'
    for group in ('surface', 'tips', 'face', 'contour'):
        if name in GROUP_NAMES[group]:
            return f'{group}.{name}'
    return f'skeleton.{name}'


def _landmarks(*names: str) -> dict[str, str]:
    return {name: _landmark(name) for name in names}


def _hand21(side: str) -> dict[str, str]:
    """Root and fingers of a hand, as COCO-WholeBody and OpenPose have them."""
    fingers = [name for name in HANDS40_NAMES if name.startswith(side)]
    return {f'{side}_hand_root': f'skeleton.{side}_wrist'} | _landmarks(*fingers)


def _make_all() -> dict[str, JointSet]:
    smpl_tree = {name: JOINT_NAMES[parent] for name, parent in zip(JOINT_NAMES, PARENTS) if parent >= 0}
    openpose = _landmarks(*OPENPOSE25_NAMES)
    extra = {name: f'j19.{name}' for name in J19_NAMES}
    lsp = {name: f'j19.{name}_lsp' for name in LSP14_NAMES}
    eval14 = {name: f'j19.{name}_lsp' for name in HMR2_EVAL14_NAMES} | {'head': 'j19.head_h36m'}
    both_trees = _OPENPOSE25_TREE | _EXTRA19_TREE | {'pelvis_mpii': 'mid_hip'}
    face68 = _landmarks(*CONTOUR_NAMES, *FACE51_NAMES)
    both_hands = _hand21('left') | _hand21('right')
    feet = _landmarks(*SURFACE_NAMES[5:])
    pupils = {f'{side}_pupil': f'surface.{side}_eye' for side in ('right', 'left')}
    body25, hands40 = _landmarks(*SMPLX25_NAMES), _landmarks(*HANDS40_NAMES)
    # SMPLer-X has points on the eyeballs twice.
    eyes = {f'{side}_eyeball': f'surface.{side}_eye' for side in ('left', 'right')}
    face72 = _landmarks('jaw', 'head') | eyes | _landmarks(*FACE51_NAMES, *CONTOUR_NAMES)
    smplx55 = {name: f'skeleton.{name}' for name in SMPLX_JOINT_NAMES}
    points = (*SURFACE_NAMES, *TIP_NAMES, *FACE51_NAMES, *CONTOUR_NAMES)
    rotations = (*SMPLX_JOINT_NAMES[:22], *SMPLX_JOINT_NAMES[25:], 'jaw')
    wholebody_tree = _SMPLX_TREE | _HAND21_TREE | _OPENPOSE25_TREE | _COCO17_TREE
    openpose_tree = _SMPLX_TREE | _HAND21_TREE | {'left_pupil': 'left_eye'} | _OPENPOSE25_TREE
    sets = [
        _make('smpl24', {name: f'skeleton.{name}' for name in JOINT_NAMES}, smpl_tree),
        _make('openpose25', openpose, _OPENPOSE25_TREE),
        _make('extra19', extra, _EXTRA19_TREE),
        _make('hmr44', openpose | extra, both_trees),
        _make('coco17', _landmarks(*COCO17_NAMES), _COCO17_TREE),
        _make('h36m17', {name: f'h36m.{name}' for name in H36M17_NAMES}, _H36M17_TREE),
        _make('lsp14', lsp, _LSP14_TREE),
        _make('hmr2_eval14', eval14, _LSP14_TREE),
        _make('smplx55', smplx55, _SMPLX_TREE),
        _make('smplx144', smplx55 | _landmarks(*points), _SMPLX_TREE),
        _make('smplx137', body25 | hands40 | face72, _SMPLX_TREE),
        _make('smplx65', body25 | hands40, _SMPLX_TREE),
        _make('smplx53', {name: smplx55[name] for name in rotations}, _SMPLX_TREE),
        _make('smplx25', body25, _SMPLX_TREE),
        _make('hands40', hands40, _SMPLX_TREE),
        _make('face72', face72, _SMPLX_TREE),
        _make('smplx_j14', {name: f'j14.{name}' for name in HMR2_EVAL14_NAMES}, _LSP14_TREE),
        _make('wholebody133', _landmarks(*COCO17_NAMES) | feet | face68 | both_hands, wholebody_tree),
        _make('openpose137', openpose | both_hands | face68 | pupils, openpose_tree),
    ]
    return {entry.name: entry for entry in sets}


JOINT_SETS = _make_all()
