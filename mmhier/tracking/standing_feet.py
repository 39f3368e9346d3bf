"""Feet that stand are held where they are: legs are bent a little, nothing else changes.

Of a network each frame has an error of its own, and along a smooth path of the root the feet show it: they
slide by some centimetres while they stand, and tremble. First the direction of a foot that stands is smoothed
over a longer time than anything that moves. Then the ankle of each leg is moved by what is missing, with two
joints: the knee bends until the leg is as long as it has to be, the hip turns the leg towards the place. The
foot keeps its direction in space. Between two spells of standing the shift goes over from one to the other.
Where a leg is too short for its place, the root comes nearer, smoothly.

Letters: T frames, J joints of the body, root first.

Convention:
    As in :mod:`mmhier.tracking.root_motion`. A knee bends about the x axis of its thigh, forwards, as that of
    SMPL's skeleton does.
"""

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter1d

from mmhier.geometry.array_rotations import axis_angle_to_matrix, shortest_rotation
from mmhier.geometry.quaternions import continuous_quaternions, matrix_to_quaternion, quaternion_to_matrix

LEGS = tuple(
    tuple(f'{side}_{part}' for part in ('hip', 'knee', 'ankle', 'foot')) for side in ('left', 'right')
)

# Metres; who has to be moved farther does not stand.
FARTHEST = 0.3
# A speed that is averaged shows the ends of a spell late: frames beside it, so many seconds from it at most,
# are held as well while the foot is so many metres from its place at most.
_EDGE_S, _EDGE = 0.05, 0.1
# Share of the straight leg that a leg reaches at most: knees that lock flicker.
_REACH = 0.999
# Seconds over which the direction of a foot that stands is smoothed, and at most this share of the spell.
# Feet roll off in a third of a step, so little is smoothed of one; towards the ends of a spell it goes over
# to the direction that is seen.
_STEADY_S, _STEADY_SHARE = 0.5, 0.1
# How the root comes nearer: seconds over which it is smoothed, and in how many steps.
_NEARER_S, _NEARER_STEPS = 0.1, 4


def points_of_feet(joints: np.ndarray, joint_names: Sequence[str]) -> np.ndarray:
    """(T, 2, 3) the middle of ankle and ball of each foot, of joints (T, J, 3); without legs (T, 0, 3)."""
    if not has_legs(joint_names):
        return joints[:, :0]
    pairs = [[joint_names.index(name) for name in leg[2:]] for leg in LEGS]
    return joints[:, pairs].mean(axis=2)


def has_legs(joint_names: Sequence[str]) -> bool:
    """Whether a skeleton has the joints of :data:`LEGS`."""
    return all(name in joint_names for leg in LEGS for name in leg)


def steady_feet(
    rotations: np.ndarray,
    turned: np.ndarray,
    joint_names: Sequence[str],
    stands: Sequence[tuple[int, np.ndarray]],
    times_s: np.ndarray,
) -> np.ndarray:
    """Turn feet that stand such that they do not tremble.

    Args:
        rotations: (T, J, 3, 3) relative to the parent joint.
        turned: (T, J, 3, 3) the same, body to camera.
        joint_names: (J,).
        stands: Spells of standing: the foot, 0 left or 1 right, and the frames (n,).
        times_s: (T,) increasing.

    Returns:
        Rotations (T, J, 3, 3), of which those of ankles are changed.
    """
    rotations = np.array(rotations, np.float64)
    for foot, when in stands:
        knee, ankle = (joint_names.index(name) for name in LEGS[foot][1:3])
        seen = continuous_quaternions(matrix_to_quaternion(turned[when, ankle]))
        period = float(np.median(np.diff(times_s[when])))
        deviation = min(_STEADY_S / period, _STEADY_SHARE * len(when))
        steady = gaussian_filter1d(seen, deviation, axis=0, mode='nearest')
        frames = np.arange(len(when))
        # The clip begins or ends with some spells, and nothing is to go over to there.
        begins = frames if when[0] > 0 else np.full(len(when), np.inf)
        ends = frames[::-1] if when[-1] < len(rotations) - 1 else np.full(len(when), np.inf)
        share = np.minimum(1.0, np.minimum(begins, ends) / deviation)[:, None]
        target = quaternion_to_matrix(share * steady + (1 - share) * seen)
        rotations[when, ankle] = _inverse(turned[when, knee]) @ target
    return rotations


def hold_feet(
    rotations: np.ndarray,
    turned: np.ndarray,
    joints: np.ndarray,
    joint_names: Sequence[str],
    places: np.ndarray,
    stands: Sequence[tuple[int, np.ndarray]],
    times_s: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Bend legs so that feet stay where they stand.

    Args:
        rotations: (T, J, 3, 3) relative to the parent joint.
        turned: (T, J, 3, 3) the same, body to camera.
        joints: (T, J, 3) from the root, axes of the camera, metres.
        joint_names: (J,).
        places: (T, 3) of the root.
        stands: Spells of standing: the foot, 0 left or 1 right, and the frames (n,).
        times_s: (T,) increasing.

    Returns:
        Rotations (T, J, 3, 3) float64 relative to the parent joint, and places (T, 3) of the root.
    """
    held = np.array(rotations, np.float64)
    if not has_legs(joint_names) or not stands:
        return held, places
    feet = places[:, None] + points_of_feet(joints, joint_names)
    legs = [joints[:, [joint_names.index(name) for name in leg[:3]]] for leg in LEGS]
    shifts = [
        _shifts(feet[:, foot], [when for point, when in stands if point == foot], times_s) for foot in (0, 1)
    ]
    nearer = _nearer(legs, shifts, times_s)
    for leg, places_of_leg, shift in zip(LEGS, legs, shifts):
        if shift is not None:
            hip, knee, ankle, _ = (joint_names.index(name) for name in leg)
            upper, lower = _bend(turned[:, hip], places_of_leg, shift - nearer)
            thigh = upper @ turned[:, hip]
            shin = lower @ turned[:, knee]
            held[:, hip] = rotations[:, hip] @ _inverse(turned[:, hip]) @ thigh
            held[:, knee] = _inverse(thigh) @ shin
            held[:, ankle] = _inverse(shin) @ turned[:, ankle]
    return held, places + nearer


def _nearer(
    legs: Sequence[np.ndarray], shifts: Sequence[np.ndarray | None], times_s: np.ndarray
) -> np.ndarray:
    """(T, 3) by which the root has to come nearer for legs to reach; legs are places (T, 3, 3)."""
    nearer = np.zeros((len(times_s), 3))
    deviation = _NEARER_S / float(np.median(np.diff(times_s)))
    for _ in range(_NEARER_STEPS):
        pulls = [np.zeros_like(nearer)]
        for leg, shift in zip(legs, shifts):
            if shift is not None:
                wanted = leg[:, 2] + shift - nearer - leg[:, 0]
                longest = _REACH * (_length(leg[:, 1] - leg[:, 0]) + _length(leg[:, 2] - leg[:, 1]))
                pulls.append(wanted * np.maximum(0, 1 - longest / np.maximum(_length(wanted), 1e-9)))
        largest = max(pulls, key=lambda pull: float(_length(pull).max()))
        nearer += gaussian_filter1d(largest, deviation, axis=0, mode='nearest')
    return nearer


def _shifts(feet: np.ndarray, spells: Sequence[np.ndarray], times_s: np.ndarray) -> np.ndarray | None:
    """(T, 3) by which a foot (T, 3) has to be moved; None if it never stands."""
    spells = [_with_edges(feet, when, spells, times_s) for when in spells]
    spells = [(when, shift) for when, shift in spells if np.abs(shift).max() <= FARTHEST]
    if not spells:
        return None
    shifts = np.zeros_like(feet)
    (first, shift), *_ = spells
    shifts[: first[0]] = shift[0]
    for (when, shift), (after, next_shift) in zip(spells, [*spells[1:], (None, None)]):
        shifts[when] = shift
        end = len(feet) if after is None else after[0]
        between = np.arange(when[-1] + 1, end)
        if after is None:
            shifts[between] = shift[-1]
            continue
        share = (times_s[between] - times_s[when[-1]]) / (times_s[end] - times_s[when[-1]])
        share = (share**2 * (3 - 2 * share))[:, None]
        shifts[between] = (1 - share) * shift[-1] + share * next_shift[0]
    return shifts


def _with_edges(
    feet: np.ndarray, when: np.ndarray, spells: Sequence[np.ndarray], times_s: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Frames (n,) of a spell with those beside it that belong to it, and shifts (n, 3) to its place."""
    shifts = np.median(feet[when], axis=0) - feet
    before = max((other[-1] for other in spells if other[-1] < when[0]), default=-1)
    after = min((other[0] for other in spells if other[0] > when[-1]), default=len(feet))
    frames = np.arange(len(feet))
    beside = (times_s >= times_s[when[0]] - _EDGE_S) & (times_s <= times_s[when[-1]] + _EDGE_S)
    beside &= (2 * frames > before + when[0]) & (2 * frames < after + when[-1])  # nearer to it than to others
    loose = frames[~(beside & (_length(shifts)[:, 0] <= _EDGE)) & ~np.isin(frames, when)]
    first = max(loose[loose < when[0]], default=-1) + 1
    end = min(loose[loose > when[-1]], default=len(feet))
    return frames[first:end], shifts[first:end]


def _bend(hip: np.ndarray, leg: np.ndarray, shift: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turns (T, 3, 3) of thigh and shin in space that move the ankle.

    Args:
        hip: (T, 3, 3) of the thigh, body to camera.
        leg: (T, 3, 3) places of hip, knee and ankle.
        shift: (T, 3) of the ankle.
    """
    thigh, shin = leg[:, 1] - leg[:, 0], leg[:, 2] - leg[:, 1]
    wanted = leg[:, 2] + shift - leg[:, 0]
    longest = _length(thigh) + _length(shin)
    distance = np.minimum(_length(wanted), _REACH * longest)
    hinge = hip[:, :, 0]
    along = _dot(shin, hinge) * hinge
    across, sideways = shin - along, np.cross(hinge, shin)
    fixed = thigh + along
    # |fixed + across cos + sideways sin| = distance; the straight leg is at the angle of (cosine, sine).
    cosine, sine = 2 * _dot(fixed, across), 2 * _dot(fixed, sideways)
    right = distance**2 - _dot(fixed, fixed) - _dot(across, across)
    bent = np.arccos(np.clip(right / np.hypot(cosine, sine), -1, 1))
    knee = axis_angle_to_matrix((np.arctan2(sine, cosine) + bent) * hinge)
    bent_leg = thigh + (knee @ shin[..., None])[..., 0]
    aimed = axis_angle_to_matrix(shortest_rotation(bent_leg, wanted))
    return aimed, aimed @ knee


def _dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(T, 1) of vectors (T, 3)."""
    return (first * second).sum(axis=1, keepdims=True)


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vectors, axis=1, keepdims=True)


def _inverse(rotations: np.ndarray) -> np.ndarray:
    return rotations.swapaxes(-1, -2)
