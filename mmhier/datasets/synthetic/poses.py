"""Random body poses inside anatomical joint limits.

A pose mixes key poses for the legs, each arm and the torso, adds noise that is correlated between the two
sides, and is clipped to the limits. Angles are Euler angles in degrees, stated for the left side; the right
side is the mirror image (y and z angles change sign).

Convention:
    SMPL's T-pose frame: x to the body's left, y up, z forward, right-handed. A joint rotation is
    ``Rz @ Ry @ Rx`` for all joints except the elbows, where the hinge comes first: ``Ry @ Rz @ Rx``.
    x is the twist of an arm, and flexion for spine, hip, knee and ankle; y swings an arm forward (negative)
    and turns the head or spine; z lowers (negative) or lifts an arm and spreads a leg (positive).
"""

from typing import NamedTuple

import numpy as np

from mmhier.body_models.smpl_file import JOINT_NAMES
from mmhier.geometry.array_rotations import euler_to_matrix, matrix_to_axis_angle

# (low, high) in degrees about x, y and z. The middle angle of each order stays within +-88 degrees, so a
# rotation matrix determines its angles.
JOINT_LIMITS = {
    'hip': ((-120, 25), (-40, 50), (-15, 55)),
    'knee': ((0, 145), (-8, 8), (-5, 5)),
    'ankle': ((-25, 45), (-15, 15), (-15, 15)),
    'foot': ((-35, 20), (-3, 3), (-3, 3)),
    'spine1': ((-12, 30), (-15, 15), (-14, 14)),
    'spine2': ((-10, 25), (-15, 15), (-12, 12)),
    'spine3': ((-8, 20), (-15, 15), (-10, 10)),
    'neck': ((-25, 30), (-35, 35), (-20, 20)),
    'head': ((-20, 22), (-35, 35), (-15, 15)),
    'collar': ((-5, 5), (-18, 15), (-10, 22)),
    'shoulder': ((-90, 70), (-88, 40), (-84, 80)),
    'elbow': ((-70, 60), (-145, 0), (-5, 5)),
    'wrist': ((-15, 15), (-25, 25), (-55, 50)),
    'hand': ((-3, 3), (-8, 8), (-60, 8)),
}

# (joint, axis) -> degrees. What is not named is zero.
ARMS = {
    'down': {('shoulder', 'z'): -76, ('elbow', 'y'): -12},
    'relaxed': {('shoulder', 'z'): -68, ('shoulder', 'y'): -10, ('elbow', 'y'): -35},
    'swing_forward': {('shoulder', 'z'): -72, ('shoulder', 'y'): -35, ('elbow', 'y'): -50},
    'swing_back': {('shoulder', 'z'): -70, ('shoulder', 'y'): 35, ('elbow', 'y'): -40},
    'forward': {('shoulder', 'z'): -22, ('shoulder', 'y'): -74, ('elbow', 'y'): -18, ('collar', 'y'): -10},
    'reach_low': {('shoulder', 'z'): -55, ('shoulder', 'y'): -62, ('elbow', 'y'): -12, ('collar', 'y'): -12},
    'side': {('shoulder', 'z'): -5, ('elbow', 'y'): -15},
    'up': {('shoulder', 'z'): 68, ('shoulder', 'y'): -15, ('elbow', 'y'): -18, ('collar', 'z'): 15},
    'wave': {('shoulder', 'z'): 12, ('shoulder', 'x'): -78, ('elbow', 'y'): -80, ('collar', 'z'): 8},
    'hip': {('shoulder', 'z'): -48, ('shoulder', 'x'): 55, ('shoulder', 'y'): 15, ('elbow', 'y'): -95},
    'chest': {('shoulder', 'z'): -62, ('shoulder', 'y'): -35, ('shoulder', 'x'): 10, ('elbow', 'y'): -115},
    'phone': {('shoulder', 'z'): -58, ('shoulder', 'y'): -40, ('shoulder', 'x'): -45, ('elbow', 'y'): -138},
    'head': {('shoulder', 'z'): 38, ('shoulder', 'x'): -80, ('elbow', 'y'): -128, ('collar', 'z'): 14},
    'carry': {('shoulder', 'z'): -74, ('shoulder', 'y'): -20, ('elbow', 'y'): -88},
}

# Legs come as (one leg, other leg); the sides are swapped half of the time.
LEGS = {
    'stand': ({('hip', 'z'): 4}, {('hip', 'z'): 4}),
    'contrapposto': (
        {('hip', 'z'): 3},
        {('hip', 'z'): 9, ('hip', 'x'): -14, ('knee', 'x'): 22, ('hip', 'y'): 15},
    ),
    'wide': ({('hip', 'z'): 24}, {('hip', 'z'): 24}),
    'stride': (
        {('hip', 'x'): -30, ('knee', 'x'): 8, ('ankle', 'x'): -5},
        {('hip', 'x'): 18, ('knee', 'x'): 22, ('ankle', 'x'): 15, ('foot', 'x'): -20},
    ),
    'run': (
        {('hip', 'x'): -62, ('knee', 'x'): 78, ('ankle', 'x'): 5},
        {('hip', 'x'): 18, ('knee', 'x'): 48, ('ankle', 'x'): 30},
    ),
    'sit': (
        {('hip', 'x'): -84, ('knee', 'x'): 84, ('hip', 'z'): 6, ('hip', 'y'): 8},
        {('hip', 'x'): -86, ('knee', 'x'): 78, ('hip', 'z'): 6, ('hip', 'y'): 8},
    ),
    'sit_floor': (
        {('hip', 'x'): -95, ('knee', 'x'): 25, ('hip', 'y'): 10},
        {('hip', 'x'): -112, ('knee', 'x'): 100, ('hip', 'y'): 8},
    ),
    'squat': (
        {('hip', 'x'): -102, ('knee', 'x'): 118, ('ankle', 'x'): -20, ('hip', 'y'): 22},
        {('hip', 'x'): -102, ('knee', 'x'): 118, ('ankle', 'x'): -20, ('hip', 'y'): 22},
    ),
    'kneel': (
        {('hip', 'x'): -86, ('knee', 'x'): 88},
        {('hip', 'x'): 4, ('knee', 'x'): 92, ('ankle', 'x'): 20, ('foot', 'x'): -25},
    ),
    'lunge': (
        {('hip', 'x'): -66, ('knee', 'x'): 70},
        {('hip', 'x'): 20, ('knee', 'x'): 18, ('foot', 'x'): -30},
    ),
    'knee_up': ({('hip', 'x'): -82, ('knee', 'x'): 88, ('ankle', 'x'): 15}, {}),
    'kick': ({('hip', 'x'): -65, ('knee', 'x'): 12, ('ankle', 'x'): 20}, {('knee', 'x'): 10}),
    'side_lift': ({('hip', 'z'): 45}, {('hip', 'z'): 2}),
    'jump': (
        {('hip', 'x'): -35, ('knee', 'x'): 68, ('ankle', 'x'): 30, ('hip', 'z'): 10},
        {('hip', 'x'): -20, ('knee', 'x'): 60, ('ankle', 'x'): 30, ('hip', 'z'): 10},
    ),
}
LEG_CHANCES = {
    'stand': 0.2, 'contrapposto': 0.13, 'wide': 0.06, 'stride': 0.16, 'run': 0.1, 'sit': 0.09,
    'sit_floor': 0.03, 'squat': 0.04, 'kneel': 0.04, 'lunge': 0.04, 'knee_up': 0.03, 'kick': 0.03,
    'side_lift': 0.02, 'jump': 0.03,
}  # fmt: skip

# Spine angles are given once and shared by the three spine joints; pitch and roll turn the whole body.
TORSOS = {
    'upright': {},
    'lean': {('spine', 'x'): 9, 'pitch': 8},
    'bend': {('spine', 'x'): 19, 'pitch': 30, ('neck', 'x'): -12},
    'arch': {('spine', 'x'): -7, 'pitch': -4},
    'twist': {('spine', 'y'): 11, ('neck', 'y'): 12},
    'side': {('spine', 'z'): 9},
}
TORSO_CHANCES = {'upright': 0.5, 'lean': 0.16, 'bend': 0.08, 'arch': 0.06, 'twist': 0.12, 'side': 0.08}
NOISE = 0.055


class Pose(NamedTuple):
    """A sampled pose.

    Attributes:
        angles: (24, 3) Euler angles about x, y, z in degrees (row 0, the root, is zero).
        rotations: (24, 3, 3) local rotations; row 0 turns the upright body into its pitch and roll.
        legs: name of the leg key pose.
    """

    angles: np.ndarray
    rotations: np.ndarray
    legs: str

    @property
    def body_pose(self) -> np.ndarray:
        """(69,) axis-angle of joints 1..23, radians, as in SMPL."""
        return matrix_to_axis_angle(self.rotations[1:]).reshape(-1)


def limits_of(joint: str) -> np.ndarray:
    """(3, 2) low and high angles in degrees of a SMPL joint, mirrored for right joints."""
    side, _, part = joint.rpartition('_')
    low_high = np.asarray(JOINT_LIMITS[part or joint], np.float64)
    if side == 'right':
        low_high[1:] = -low_high[1:, ::-1]
    return low_high


def local_rotations(angles: np.ndarray) -> np.ndarray:
    """Local rotations (24, 3, 3) from Euler angles (24, 3) in degrees; see the convention of this module."""
    radians = np.radians(angles)
    rotations = euler_to_matrix(radians, 'zyx')
    rotations[ELBOWS] = euler_to_matrix(radians[ELBOWS], 'yzx')
    return rotations


def sample_pose(rng: np.random.Generator, lying_chance: float = 0.03) -> Pose:
    """Draw a pose."""
    angles = np.zeros((len(JOINT_NAMES), 3))
    legs = _choose(rng, LEG_CHANCES)
    _add_legs(rng, angles, legs)
    _add_arms(rng, angles, legs)
    torso = TORSOS[_choose(rng, TORSO_CHANCES)]
    amount, sign = rng.uniform(0.4, 1.15), rng.choice([-1.0, 1.0])
    for key, value in torso.items():
        if isinstance(key, tuple):
            names = ('spine1', 'spine2', 'spine3') if key[0] == 'spine' else (key[0],)
            for name in names:
                angles[JOINT_NAMES.index(name), 'xyz'.index(key[1])] += (
                    value * amount * (1.0 if key[1] == 'x' else sign)
                )
    looking = rng.normal(0.0, [8.0, 16.0, 5.0])
    angles[JOINT_NAMES.index('neck')] += 0.5 * looking
    angles[JOINT_NAMES.index('head')] += 0.5 * looking
    angles += _noise(rng)
    angles[1:] = np.clip(angles[1:], LIMITS[1:, :, 0], LIMITS[1:, :, 1])
    rotations = local_rotations(angles)
    pitch = torso.get('pitch', 0.0) * amount + rng.normal(0.0, 3.0)
    roll = rng.normal(0.0, 2.0)
    if rng.random() < lying_chance:
        pitch, roll = rng.choice([-90.0, 90.0]) + rng.normal(0.0, 8.0), rng.normal(0.0, 15.0)
    upright = np.zeros((len(JOINT_NAMES), 3))
    upright[0] = pitch, 0.0, roll
    rotations[0] = local_rotations(upright)[0]
    return Pose(angles, rotations, legs)


def _choose(rng: np.random.Generator, chances: dict[str, float]) -> str:
    names = list(chances)
    weights = np.asarray([chances[name] for name in names])
    return names[rng.choice(len(names), p=weights / weights.sum())]


def _put(angles: np.ndarray, side: str, key_pose: dict, amount: float) -> None:
    """Add a key pose of one side, mirrored for the right."""
    for (part, axis), value in key_pose.items():
        mirrored = -value if side == 'right' and axis != 'x' else value
        angles[JOINT_NAMES.index(f'{side}_{part}'), 'xyz'.index(axis)] += amount * mirrored


def _add_legs(rng: np.random.Generator, angles: np.ndarray, name: str) -> None:
    sides = ('left', 'right') if rng.random() < 0.5 else ('right', 'left')
    amount = min(rng.normal(0.9, 0.2), 1.15)
    for side, key_pose in zip(sides, LEGS[name]):
        _put(angles, side, key_pose, amount)


def _add_arms(rng: np.random.Generator, angles: np.ndarray, legs: str) -> None:
    if legs in ('stride', 'run') and rng.random() < 0.7:
        # Walking: the arm opposite to the forward leg swings forward.
        left_leg_forward = (
            angles[JOINT_NAMES.index('left_hip'), 0] < angles[JOINT_NAMES.index('right_hip'), 0]
        )
        names = ('swing_back', 'swing_forward') if left_leg_forward else ('swing_forward', 'swing_back')
        elbow = rng.uniform(-45, 0) if legs == 'run' else 0.0
    else:
        first = list(ARMS)[rng.integers(len(ARMS))]
        second = first if rng.random() < 0.4 else list(ARMS)[rng.integers(len(ARMS))]
        names, elbow = (first, second), 0.0
        if rng.random() < 0.25:
            names = ('down', 'down') if rng.random() < 0.5 else ('relaxed', 'relaxed')
    for side, name in zip(('left', 'right'), names):
        # Towards another key pose by a random share, for the poses in between.
        share = rng.beta(1.0, 3.0)
        _put(angles, side, ARMS[name], 1.0 - share)
        _put(angles, side, ARMS[list(ARMS)[rng.integers(len(ARMS))]], share)
        _put(angles, side, {('elbow', 'y'): elbow}, 1.0)
        _put(angles, side, {('hand', 'z'): rng.uniform(-45, 0)}, 1.0)


def _noise(rng: np.random.Generator) -> np.ndarray:
    """Gaussian noise in proportion to each joint's range, half of it shared by the two sides."""
    spread = NOISE * (LIMITS[:, :, 1] - LIMITS[:, :, 0])
    own, shared = rng.normal(size=(2, *spread.shape))
    for left, right in PAIRS:
        shared[right] = shared[left] * [1.0, -1.0, -1.0]
    return spread * (own + shared) / np.sqrt(2.0)


ELBOWS = [JOINT_NAMES.index('left_elbow'), JOINT_NAMES.index('right_elbow')]
PAIRS = [
    (i, JOINT_NAMES.index('right_' + name[5:]))
    for i, name in enumerate(JOINT_NAMES)
    if name.startswith('left_')
]
LIMITS = np.stack([np.zeros((3, 2)), *(limits_of(name) for name in JOINT_NAMES[1:])])
