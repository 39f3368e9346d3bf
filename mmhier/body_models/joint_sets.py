"""Joint sets by name: which points of a body, in which order, with their mirror images and their tree.

A set lists its joints by name; code asks ``joint_set.index('left_knee')`` and never counts. Where each joint
comes from is a *landmark*, ``group.name``. Groups:

| group   | rows | computed from       | on SMPL                          | on the open body |
|---------|------|---------------------|----------------------------------|------------------|
| smpl    | 24   | the posed skeleton  | the model's own joints           | the same |
| surface | 11   | the posed vertices  | vertex numbers (smplx, BODY-25)  | built from the mesh |
| j19     | 19   | the posed vertices  | ``SMPL_to_J19.pkl`` (HMR2.0)     | built from the mesh |
| h36m    | 17   | the posed vertices  | ``J_regressor_h36m.npy`` (SPIN)  | built from the mesh |

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
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from mmhier.body_models.smpl_file import COCO17_NAMES, JOINT_NAMES, PARENTS

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

GROUP_NAMES = {'smpl': JOINT_NAMES, 'surface': SURFACE_NAMES, 'j19': J19_NAMES, 'h36m': H36M17_NAMES}

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
        return {landmark.partition('.')[0] for landmark in self.landmarks} - {'smpl'}

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
    """A joint set from joint -> landmark and child -> parent."""
    tree = tree | {mirror_name(child): mirror_name(parent) for child, parent in tree.items()}
    names = tuple(source)
    parents = tuple(names.index(tree[joint]) if joint in tree else -1 for joint in names)
    return JointSet(name, names, tuple(source.values()), parents)


def _openpose_landmark(name: str) -> str:
    if name in SURFACE_NAMES:
        return f'surface.{name}'
    return 'smpl.pelvis' if name == 'mid_hip' else f'smpl.{name}'


def _make_all() -> dict[str, JointSet]:
    smpl_tree = {name: JOINT_NAMES[parent] for name, parent in zip(JOINT_NAMES, PARENTS) if parent >= 0}
    openpose = {name: _openpose_landmark(name) for name in OPENPOSE25_NAMES}
    extra = {name: f'j19.{name}' for name in J19_NAMES}
    lsp = {name: f'j19.{name}_lsp' for name in LSP14_NAMES}
    eval14 = {name: f'j19.{name}_lsp' for name in HMR2_EVAL14_NAMES} | {'head': 'j19.head_h36m'}
    both_trees = _OPENPOSE25_TREE | _EXTRA19_TREE | {'pelvis_mpii': 'mid_hip'}
    sets = [
        _make('smpl24', {name: f'smpl.{name}' for name in JOINT_NAMES}, smpl_tree),
        _make('openpose25', openpose, _OPENPOSE25_TREE),
        _make('extra19', extra, _EXTRA19_TREE),
        _make('hmr44', openpose | extra, both_trees),
        _make('coco17', {name: _openpose_landmark(name) for name in COCO17_NAMES}, _COCO17_TREE),
        _make('h36m17', {name: f'h36m.{name}' for name in H36M17_NAMES}, _H36M17_TREE),
        _make('lsp14', lsp, _LSP14_TREE),
        _make('hmr2_eval14', eval14, _LSP14_TREE),
    ]
    return {entry.name: entry for entry in sets}


JOINT_SETS = _make_all()
