"""Extreme crops: boxes around parts of a person, so that a model learns to do without the rest.

Of a person whose whole body is annotated a part is chosen among nine, of one who is annotated from the waist
upwards among five; others keep their box. The box goes around the annotated joints of the part, enlarged by
1.2 and by a factor of the part. Parts and chances are those of HMR2.0 ("aggressive"); the idea is from EFT
(Joo et al., 3DV 2021).
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mmhier.body_models.joint_sets import LIMBS_RIGHT_TO_LEFT, JointSet, mirror_name
from mmhier.mesh_sample import SMPL_LAYOUT

# Around the joints, before the factor of the part.
MARGIN = 1.2
# A box with a side below this is refused, pixels.
MIN_SIDE = 4.0

_FACE = (
    'nose', 'right_eye', 'left_eye', 'right_ear', 'left_ear', 'head_top_lsp', 'jaw_h36m', 'head_h36m',
)  # fmt: skip
_NECK_TO_SHOULDERS = ('neck', 'neck_lsp', 'right_shoulder', 'left_shoulder')
_HIPS = ('right_hip', 'left_hip', 'right_hip_lsp', 'left_hip_lsp', 'mid_hip', 'pelvis_mpii')
_RIGHT_ARM = tuple(
    f'right_{part}{source}' for part in ('shoulder', 'elbow', 'wrist') for source in ('', '_lsp')
)
_RIGHT_LEG = (
    *(f'right_{part}{source}' for part in ('hip', 'knee', 'ankle') for source in ('', '_lsp')),
    'right_big_toe', 'right_small_toe', 'right_heel',
)  # fmt: skip
_LEFT_ARM, _LEFT_LEG = (tuple(map(mirror_name, part)) for part in (_RIGHT_ARM, _RIGHT_LEG))
_HEAD = (*_FACE, *_NECK_TO_SHOULDERS)
_LSP_SHOULDERS = ('right_shoulder_lsp', 'left_shoulder_lsp')
_TORSO = (*_NECK_TO_SHOULDERS, *_LSP_SHOULDERS, *_HIPS, 'thorax_mpii', 'spine_h36m')

# Part -> (its joints, factor).
PARTS = {
    'above the knees': ((*_HEAD, *_TORSO, *_RIGHT_ARM, *_LEFT_ARM), 1.1),
    'shoulders': ((*_HEAD, *_LSP_SHOULDERS), 1.2),
    'head': (_HEAD, 1.3),
    'torso': (_TORSO, 1.1),
    'right arm': (_RIGHT_ARM, 1.1),
    'left arm': (_LEFT_ARM, 1.1),
    'legs': ((*_RIGHT_LEG, *_LEFT_LEG, 'mid_hip', 'pelvis_mpii'), 1.1),
    'right leg': (_RIGHT_LEG, 1.1),
    'left leg': (_LEFT_LEG, 1.1),
}
# (Upper end of the chance, part).
WHOLE_BODY = (
    (0.2, 'above the knees'), (0.3, 'shoulders'), (0.4, 'head'), (0.5, 'torso'), (0.6, 'right arm'),
    (0.7, 'left arm'), (0.8, 'legs'), (0.9, 'right leg'), (1.0, 'left leg'),
)  # fmt: skip
UPPER_BODY = ((0.2, 'shoulders'), (0.4, 'head'), (0.6, 'torso'), (0.8, 'right arm'), (1.0, 'left arm'))

_LIMBS = [name for name in LIMBS_RIGHT_TO_LEFT if 'hip' not in name]
_TOP = (*_FACE, 'neck', 'neck_lsp', 'right_shoulder_lsp', 'left_shoulder_lsp')


class _Numbers(NamedTuple):
    """Numbers of joints of a set that has some of these names."""

    limbs: list[list[int]]  # of each joint of the limbs, one or two
    lower: list[int]
    top: list[int]
    parts: dict[str, list[int]]


@lru_cache
def _numbers(joints: JointSet) -> _Numbers:
    def those(names: tuple[str, ...]) -> list[int]:
        return [number for number, name in enumerate(joints.names) if name in names]

    return _Numbers(
        limbs=[those((name, f'{name}_lsp')) for name in _LIMBS],
        lower=[n for n, name in enumerate(joints.names) if 'knee' in name or 'ankle' in name],
        top=those(_TOP),
        parts={part: those(names) for part, (names, _) in PARTS.items()},
    )


def choose_part(keypoints: np.ndarray, chance: float, joints: JointSet = SMPL_LAYOUT.joints) -> str | None:
    """Choose the part that a crop is to show.

    Args:
        keypoints: (K, 3) pixels and confidence.
        chance: From 0 to 1.
        joints: Their joint set.

    Returns:
        One of :data:`PARTS`; None for a person of whom too little is annotated.
    """
    known = keypoints[:, 2] > 0
    numbers = _numbers(joints)
    if all(known[limb].any() for limb in numbers.limbs):
        table = WHOLE_BODY
    elif not known[numbers.lower].any() and known[numbers.top].sum() >= 2:
        table = UPPER_BODY
    else:
        return None
    return next((part for end, part in table if chance < end), table[-1][1])


def part_box(
    keypoints: np.ndarray, part: str, joints: JointSet = SMPL_LAYOUT.joints
) -> tuple[np.ndarray, float] | None:
    """Box around a part.

    Args:
        keypoints: (K, 3) pixels and confidence.
        part: One of :data:`PARTS`.
        joints: Their joint set.

    Returns:
        Centre (2,) and side of a square, or None if too little of the part is annotated or it is tiny.
    """
    chosen = keypoints[_numbers(joints).parts[part]]
    if chosen[:, 2].sum() <= 1:
        return None
    points = chosen[chosen[:, 2] > 0, :2]
    low, high = points.min(0), points.max(0)
    side = float((high - low).max() * MARGIN * PARTS[part][1])
    return None if side < MIN_SIDE else ((low + high) / 2, side)
