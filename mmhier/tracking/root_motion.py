"""Where somebody was over a clip: the path of the root from noisy frames, estimated from all of them at once.

A body is placed frame by frame by the size and place it has in the picture. The place is good to a few
pixels; the size errs by some percent, and a percent of 5 m is 5 cm, anew on each frame. The path is the one
that fits best, by least squares, to

1. the line of sight of each frame, in metres across it,
2. the depth of each frame, as a share of it (an error of the logarithm), with little weight for outliers,
3. an acceleration that is small,
4. feet that stand: while a foot is found to stand, it stays where it is.

All weights are densities: an error that stays alike for a while is not averaged away by more frames per
second, so a frame counts by its duration. Whether a foot stands is decided by its speed along the path found
so far, and the path is found anew, a few times. A foot that never stands, because the camera pans, somebody
skates or the picture ends above it, says nothing.

The camera is taken to stand still; with a camera that moves it is the path relative to it.

Letters: T frames on which the person was seen, F points of the feet, S spells of standing.

Convention:
    Camera frame: x right, y down, z forward, metres. Times are seconds.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix, csc_matrix
from scipy.sparse.linalg import splu

ROOTS = ('fixed', 'image', 'metric')

# Densities of the errors: what is left of them after averaging for a second.
DEPTH_ERROR = 0.015  # of the logarithm of the depth
ACROSS_ERROR = 0.015  # metres
CONTACT_ERROR = 0.006  # metres
ACCELERATION = 0.7  # metres per second ** 1.5, of a push that is new on each frame

# A foot stands while it is slower than this, metres per second, for at least so many seconds; how many
# seconds its speed is averaged over.
STANDING_SPEED, SHORTEST_STAND, SPEED_WINDOW = 0.7, 0.12, 0.2
# Depths that are farther off than so many deviations lose weight.
_OUTLIER = 2.0
_LEAST_DEVIATION = 0.005
_ROUNDS = 5
# After a longer time unseen, seconds, nothing connects one frame with the next.
_GAP = 1.0


class RootMotion(NamedTuple):
    """Where somebody was.

    Attributes:
        places: (T, 3) float64 of the root.
        stands: Spells in which a point of the feet stands: its number, and the frames (n,).
    """

    places: np.ndarray
    stands: list[tuple[int, np.ndarray]]


def root_motion(
    places: np.ndarray, times_s: np.ndarray, feet: np.ndarray | None = None, root: str = 'metric'
) -> RootMotion:
    """Estimate the path of somebody's root.

    Args:
        places: (T, 3) of the root, from each frame alone. Somebody behind the camera stays as they are.
        times_s: (T,) increasing.
        feet: (T, F, 3) from the root to points of the feet, axes of the camera; None: feet are not used.
        root: 'metric': the path. 'image': the path as it is seen, moved to the median of its depths.
            'fixed': the median place.

    Raises:
        ValueError: If there is no such choice.
    """
    if root not in ROOTS:
        raise ValueError(f'root={root!r}: expected one of {", ".join(ROOTS)}')
    places = np.asarray(places, np.float64)
    if root == 'fixed' and len(places):
        return RootMotion(np.broadcast_to(np.median(places, axis=0), places.shape).copy(), [])
    stands = []
    if len(places) > 2 and (places[:, 2] > 0).all():
        places, stands = _Path(places, np.asarray(times_s, np.float64), feet).solve()
    if root == 'image' and len(places):
        return RootMotion(places * (np.median(places[:, 2]) / places[:, 2:]), [])
    return RootMotion(places, stands)


class _Path:
    """The least-squares problem of :func:`root_motion`."""

    def __init__(self, places: np.ndarray, times_s: np.ndarray, feet: np.ndarray | None):
        self.count = len(places)
        self.times = times_s
        self.feet = np.zeros((self.count, 0, 3)) if feet is None else np.asarray(feet, np.float64)
        self.depths = places[:, 2]
        self.sight = places[:, :2] / places[:, 2:]
        self.steps = np.diff(times_s)
        usual = float(np.median(self.steps))
        # How long each frame is shown, the last one as long as usual.
        self.durations = np.minimum(np.append(self.steps, usual), 2 * usual)

    def solve(self) -> RootMotion:
        """Places, and which feet stand when."""
        trust, stands = np.ones(self.count), []
        for _ in range(_ROUNDS):
            path = self._fit(trust, stands)
            off = np.log(np.maximum(path[:, 2], 1e-3) / self.depths)
            deviation = max(1.48 * float(np.median(np.abs(off))), _LEAST_DEVIATION)
            trust = 1 / (1 + (off / (_OUTLIER * deviation)) ** 2)
            stands = self._stands(path)
        return RootMotion(self._fit(trust, stands), stands)

    def _fit(self, trust: np.ndarray, stands: list[tuple[int, np.ndarray]]) -> np.ndarray:
        """The path, given how far each depth is trusted and the spells of standing: point and frames."""
        rows = _Rows(3 * (self.count + len(stands)))
        frames, weights = np.arange(self.count), np.sqrt(self.durations)
        along = weights * np.sqrt(trust) / (DEPTH_ERROR * self.depths)
        rows.add([(3 * frames + 2, along)], along * self.depths)
        for axis in range(2):
            across = weights / ACROSS_ERROR
            rows.add([(3 * frames + axis, across), (3 * frames + 2, -across * self.sight[:, axis])], 0)
        joined = np.flatnonzero((self.steps[1:] <= _GAP) & (self.steps[:-1] <= _GAP))
        before, after = self.steps[joined], self.steps[joined + 1]
        push = 1 / (ACCELERATION * np.sqrt((before + after) / 2))
        for axis in range(3):
            terms = (-push / before - push / after, push / before, push / after)
            columns = [3 * (joined + shift) + axis for shift in (1, 0, 2)]
            rows.add(list(zip(columns, terms)), 0)
        for number, (point, when) in enumerate(stands):
            held = weights[when] / CONTACT_ERROR
            place = 3 * (self.count + number)
            for axis in range(3):
                foot = self.feet[when, point, axis]
                rows.add([(3 * when + axis, held), (np.full(len(when), place + axis), -held)], -held * foot)
        return rows.solve()[: 3 * self.count].reshape(-1, 3)

    def _stands(self, path: np.ndarray) -> list[tuple[int, np.ndarray]]:
        """Spells in which a point of the feet stands: its number, and the frames (n,)."""
        found = []
        for point in range(self.feet.shape[1]):
            slow = self._speeds(path + self.feet[:, point]) < STANDING_SPEED
            edges = np.flatnonzero(np.diff(np.concatenate([[0], slow.astype(np.int8), [0]])))
            for first, end in edges.reshape(-1, 2):
                if end - first > 2 and self.times[end - 1] - self.times[first] >= SHORTEST_STAND:
                    found.append((point, np.arange(first, end)))
        return found

    def _speeds(self, points: np.ndarray) -> np.ndarray:
        """Metres per second (T,) along the best straight line through the points (T, 3) around each frame."""
        frames = np.arange(self.count)
        first = np.searchsorted(self.times, self.times - SPEED_WINDOW / 2 - 1e-9)
        end = np.searchsorted(self.times, self.times + SPEED_WINDOW / 2 + 1e-9)
        first, end = np.maximum(np.minimum(first, frames - 1), 0), np.maximum(end, frames + 2)
        end = np.minimum(end, self.count)
        times = self.times - self.times[0]
        columns = np.column_stack([np.ones(self.count), times, times**2, points, times[:, None] * points])
        totals = np.concatenate([np.zeros((1, columns.shape[1])), np.cumsum(columns, axis=0)])
        count, time, square, *rest = (totals[end] - totals[first]).T
        place, both = np.array(rest[:3]), np.array(rest[3:])
        slopes = (both - time * place / count) / (square - time**2 / count)
        return np.linalg.norm(slopes, axis=0)


class _Rows:
    """Equations of a sparse least-squares problem."""

    def __init__(self, unknowns: int):
        self._unknowns = unknowns
        self._count = 0
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._right: list[np.ndarray] = []

    def add(self, terms: list[tuple[np.ndarray, np.ndarray]], right: np.ndarray | float) -> None:
        """Add n equations: the sum of columns (n,) times factors (n,) is the right side."""
        size = len(terms[0][0])
        rows = np.arange(self._count, self._count + size)
        self._parts += [(rows, columns, np.broadcast_to(factors, size)) for columns, factors in terms]
        self._right.append(np.broadcast_to(np.asarray(right, np.float64), size))
        self._count += size

    def solve(self) -> np.ndarray:
        rows, columns, factors = (np.concatenate(part) for part in zip(*self._parts))
        matrix = coo_matrix((factors, (rows, columns)), (self._count, self._unknowns)).tocsr()
        normal = csc_matrix(matrix.T @ matrix)
        return splu(normal).solve(matrix.T @ np.concatenate(self._right))
