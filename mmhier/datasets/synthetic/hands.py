"""Random hands, jaws, eyes and expressions for synthetic people with whole bodies, inside anatomical limits.

A hand mixes two key poses (grasp, point, fist, spread, rest ...), adds noise and is clipped to the limits.
Angles are degrees of flexion, spread and twist of each joint, stated for the left hand; the right hand is
the mirror image.

Convention:
    Hands of the rest pose of :mod:`mmhier.body_models.open_wholebody`: fingers of the left hand along +x,
    palm down. A joint's rotation is ``spread @ flexion @ twist``; flexion bends towards the palm, spread
    moves towards the thumb, twist turns about the finger. Jaw and eyes have Euler angles as the head has
    (:mod:`.poses`): x opens the jaw and looks down, y looks to the left.
"""

import numpy as np

from mmhier.body_models.smpl_file import SMPLX_JOINT_NAMES
from mmhier.datasets.synthetic.poses import Pose
from mmhier.geometry.array_rotations import axis_angle_to_matrix, euler_to_matrix

NUM_BODY = 22  # joints that SMPL and SMPL-X share
FINGERS = ('index', 'middle', 'pinky', 'ring', 'thumb')

# (low, high) in degrees of flexion, spread and twist.
HAND_LIMITS = {
    'finger1': ((-20, 92), (-20, 20), (-5, 5)),
    'finger2': ((-3, 108), (-2, 2), (-2, 2)),
    'finger3': ((-6, 78), (-2, 2), (-2, 2)),
    'thumb1': ((-18, 32), (-28, 22), (-15, 35)),
    'thumb2': ((-12, 55), (-5, 5), (-5, 5)),
    'thumb3': ((-18, 80), (-3, 3), (-3, 3)),
}
# Axes of flexion, spread and twist.
FINGER_AXES = np.array([[0.0, 0.0, -1.0], [0.0, -1.0, 0.0], [1.0, 0.0, 0.0]])
# The thumb points forward, down and outwards, its nail forward.
THUMB_AXES = np.array([[0.59, 0.81, 0.0], [-0.43, 0.31, 0.85], [0.69, -0.5, 0.53]])
THUMB_AXES /= np.linalg.norm(THUMB_AXES, axis=1, keepdims=True)
# (low, high) in degrees about x, y, z.
FACE_LIMITS = {
    'jaw': ((0, 24), (-5, 5), (-2, 2)),
    'left_eyeball': ((-18, 18), (-28, 28), (0, 0)),
    'right_eyeball': ((-18, 18), (-28, 28), (0, 0)),
}

_FIST = (78, 96, 55)
# Name -> finger -> flexion of its three joints; the thumb has spread and twist of its first joint, too.
HAND_POSES: dict[str, dict[str, tuple[float, ...]]] = {
    'rest': dict(
        index=(16, 20, 10), middle=(22, 22, 12), ring=(26, 24, 13), pinky=(28, 24, 14), thumb=(4, 8, 8),
    ),
    'flat': {},
    'spread': dict(
        index=(-4, 2, 2), middle=(-2, 2, 2), ring=(-3, 2, 2), pinky=(-6, 2, 2), thumb=(-14, -4, -6),
    ),
    'grasp': dict(
        index=(42, 50, 30), middle=(48, 54, 32), ring=(52, 54, 32), pinky=(52, 50, 30),
        thumb=(12, 16, 22, -10, 22),
    ),
    'fist': dict(index=_FIST, middle=_FIST, ring=_FIST, pinky=_FIST, thumb=(22, 34, 48, -14, 12)),
    'point': dict(index=(4, 6, 4), middle=_FIST, ring=_FIST, pinky=_FIST, thumb=(20, 30, 44, -12, 12)),
    'pinch': dict(
        index=(48, 44, 26), middle=(36, 34, 20), ring=(30, 30, 18), pinky=(24, 26, 16),
        thumb=(16, 14, 16, -16, 28),
    ),
    'thumb_up': dict(index=_FIST, middle=_FIST, ring=_FIST, pinky=_FIST, thumb=(-16, -8, -12, 14)),
    'victory': dict(index=(0, 4, 3), middle=(0, 4, 3), ring=_FIST, pinky=_FIST, thumb=(24, 34, 44, -14, 18)),
}  # fmt: skip
# Degrees that the first joints spread.
SPREADS = {
    'spread': dict(index=14, middle=4, ring=-7, pinky=-17),
    'victory': dict(index=12, middle=-8),
}
HAND_CHANCES = {
    'rest': 0.22, 'flat': 0.07, 'spread': 0.15, 'grasp': 0.18, 'fist': 0.13, 'point': 0.13, 'pinch': 0.04,
    'thumb_up': 0.04, 'victory': 0.04,
}  # fmt: skip
# Standard deviations in degrees.
HAND_NOISE = np.array([5.0, 2.5, 1.5])
OPEN_JAW_CHANCE, EXPRESSION_SPREAD = 0.45, 0.7


def hand_limits() -> np.ndarray:
    """(15, 3, 2) low and high angles in degrees, of the joints of a hand in SMPL-X's order."""
    kinds = [('thumb' if finger == 'thumb' else 'finger') for finger in FINGERS]
    return np.array([HAND_LIMITS[f'{kind}{joint}'] for kind in kinds for joint in (1, 2, 3)], float)


def key_pose(name: str) -> np.ndarray:
    """(15, 3) flexion, spread and twist in degrees of a key pose."""
    angles = np.zeros((len(FINGERS), 3, 3))
    for finger, (*flexion,) in HAND_POSES[name].items():
        row = angles[FINGERS.index(finger)]
        row[:, 0] = flexion[:3]
        row[0, 1 : len(flexion) - 2] = flexion[3:]
    for finger, spread in SPREADS.get(name, {}).items():
        angles[FINGERS.index(finger), 0, 1] = spread
    return angles.reshape(-1, 3)


def sample_hand(rng: np.random.Generator) -> tuple[str, np.ndarray]:
    """Name of the key pose that it is most, and (15, 3) angles in degrees of flexion, spread and twist."""
    names = list(HAND_CHANCES)
    first, second = rng.choice(len(names), size=2, p=list(HAND_CHANCES.values()))
    share = 0.5 * rng.beta(1.0, 4.0)
    angles = (1.0 - share) * key_pose(names[first]) + share * key_pose(names[second])
    angles = angles * min(rng.normal(0.95, 0.1), 1.1) + rng.normal(0.0, HAND_NOISE, angles.shape)
    limits = hand_limits()
    return names[first], np.clip(angles, limits[..., 0], limits[..., 1])


def hand_rotations(angles: np.ndarray, side: str) -> np.ndarray:
    """(15, 3, 3) local rotations of the 'left' or 'right' hand from angles (15, 3) in degrees."""
    axes = np.repeat(np.stack([FINGER_AXES] * 4 + [THUMB_AXES]), 3, axis=0)
    flexion, spread, twist = axis_angle_to_matrix(axes * np.radians(angles)[..., None]).transpose(1, 0, 2, 3)
    rotations = spread @ flexion @ twist
    if side == 'right':
        rotations = rotations * np.outer([-1.0, 1.0, 1.0], [-1.0, 1.0, 1.0])
    return rotations


def with_hands_and_face(rng: np.random.Generator, pose: Pose) -> Pose:
    """Replace the last two joints of a body's pose by jaw, eyes and fingers: 55 joints."""
    angles = np.zeros((len(SMPLX_JOINT_NAMES), 3))
    angles[:NUM_BODY] = pose.angles[:NUM_BODY]
    jaw = rng.gamma(2.0, 4.5) if rng.random() < OPEN_JAW_CHANCE else abs(rng.normal(0.0, 0.7))
    face = np.zeros((3, 3))
    face[0] = jaw, *rng.normal(0.0, [1.2, 0.5])
    face[1:] = rng.normal(0.0, [5.0, 10.0, 0.0])
    face[2, 1] += rng.normal(0.0, 1.0)
    limits = np.array([FACE_LIMITS[name] for name in SMPLX_JOINT_NAMES[NUM_BODY : NUM_BODY + 3]], float)
    angles[NUM_BODY : NUM_BODY + 3] = np.clip(face, limits[..., 0], limits[..., 1])
    hands = []
    for side, start in (('left', 25), ('right', 40)):
        _, bent = sample_hand(rng)
        angles[start : start + 15] = bent
        hands.append(hand_rotations(bent, side))
    parts = euler_to_matrix(np.radians(angles[NUM_BODY : NUM_BODY + 3]), 'zyx')
    return Pose(angles, np.concatenate([pose.rotations[:NUM_BODY], parts, *hands]), pose.legs)


def sample_expression(rng: np.random.Generator, num_expressions: int) -> np.ndarray:
    """(E,) components of the expression."""
    return np.clip(rng.normal(0.0, EXPRESSION_SPREAD, num_expressions), -2.0, 2.0)
