"""The One-Euro filter on arrays and on rotations (Casiez, Roussel and Vogel, CHI 2012).

A low-pass filter whose cutoff frequency rises with the speed of the signal: what is still does not tremble,
what moves does not lag. Nothing here looks ahead, so it works on live video. Times are seconds and may be
irregular.
"""

import math

import numpy as np

from mmhier.geometry.quaternions import (
    matrix_to_quaternion,
    quaternion_to_matrix,
    turn_between,
    turn_by,
)

# Of TrendFilter: how the first value is trusted, and farther off than so many deviations a value is cut.
_FIRST_FPS, _FIRST_SPEED, _OUTLIER = 30.0, 0.15, 2.5


class OneEuroFilter:
    """Smooths an array over time, each element on its own.

    A number that is not finite is a gap: it is returned as it is, and after it the filter continues with what
    it knew, or starts anew if the gap was longer than ``max_gap_s``.

    Args:
        min_cutoff: Cutoff frequency of a still signal in Hz; lower is smoother.
        beta: Hz of cutoff that each unit of speed adds; higher lags less. Speed is counted in ``scale`` units
            per second.
        derivative_cutoff: Cutoff frequency of the speed in Hz.
        max_gap_s: Longest gap in seconds that is bridged.
    """

    def __init__(
        self,
        min_cutoff: float = 1.0,
        beta: float = 5.0,
        derivative_cutoff: float = 1.0,
        max_gap_s: float = 0.5,
    ):
        _check_parameters(min_cutoff, beta, derivative_cutoff, max_gap_s)
        self.min_cutoff = min_cutoff
        self.beta = beta
        self.derivative_cutoff = derivative_cutoff
        self.max_gap_s = max_gap_s
        self._now = -math.inf
        self._time: np.ndarray | None = None

    def __call__(self, values: np.ndarray, time_s: float, scale: float = 1.0) -> np.ndarray:
        """Filter the next values.

        Args:
            values: Array of any shape, always the same.
            time_s: Seconds, later than in the call before.
            scale: Size of a unit of speed in the unit of the values, such as the height of the person in
                pixels: the same settings then suit people near and far.

        Returns:
            float64 array of that shape.

        Raises:
            ValueError: If the shape changes, or time does not advance.
        """
        values = np.asarray(values, dtype=np.float64)
        if self._time is None:
            self._time = np.full(values.shape, -np.inf)
            self._raw, self._smooth, self._speed = (np.zeros(values.shape) for _ in range(3))
        if values.shape != self._time.shape:
            raise ValueError(f'values have the shape {values.shape}, before it was {self._time.shape}')
        self._now = _advance(self._now, time_s)

        known = np.isfinite(values)
        bridged = known & (time_s - self._time <= self.max_gap_s)
        period = np.where(bridged, time_s - self._time, 1.0)
        signal = np.where(known, values, 0.0)
        rate = _weight(period, self.derivative_cutoff)
        speed = self._speed + rate * ((signal - self._raw) / (period * scale) - self._speed)
        weight = _weight(period, self.min_cutoff + self.beta * np.abs(speed))
        smooth = self._smooth + weight * (signal - self._smooth)

        self._speed = np.where(bridged, speed, np.where(known, 0.0, self._speed))
        self._smooth = np.where(bridged, smooth, np.where(known, signal, self._smooth))
        self._raw = np.where(known, signal, self._raw)
        self._time = np.where(known, time_s, self._time)
        return np.where(known, self._smooth, values)


class RotationFilter:
    """The One-Euro filter on rotations: along the shortest arc, at a speed in radians per second.

    A quaternion and its opposite are the same rotation, so a change of sign changes nothing; nor is there a
    jump where an axis-angle vector passes half a turn. Gaps are as in :class:`OneEuroFilter`; a rotation with
    a number that is not finite is one.

    Args:
        min_cutoff: Cutoff frequency of a still joint in Hz.
        beta: Hz of cutoff for each radian per second.
        derivative_cutoff: Cutoff frequency of the angular velocity in Hz.
        max_gap_s: Longest gap in seconds that is bridged.
    """

    def __init__(
        self,
        min_cutoff: float = 1.0,
        beta: float = 1.0,
        derivative_cutoff: float = 1.0,
        max_gap_s: float = 0.5,
    ):
        _check_parameters(min_cutoff, beta, derivative_cutoff, max_gap_s)
        self.min_cutoff = min_cutoff
        self.beta = beta
        self.derivative_cutoff = derivative_cutoff
        self.max_gap_s = max_gap_s
        self._now = -math.inf
        self._time: np.ndarray | None = None

    def __call__(self, rotations: np.ndarray, time_s: float) -> np.ndarray:
        """Filter the next rotations.

        Args:
            rotations: (..., 3, 3) matrices; the shape is always the same.
            time_s: Seconds, later than in the call before.

        Returns:
            float64 array of that shape.

        Raises:
            ValueError: If the shape is wrong or changes, or time does not advance.
        """
        rotations = np.asarray(rotations, dtype=np.float64)
        if rotations.shape[-2:] != (3, 3):
            raise ValueError(f'rotations must be (..., 3, 3) matrices, got the shape {rotations.shape}')
        flat = rotations.reshape(-1, 3, 3)
        if self._time is None:
            self._shape = rotations.shape
            self._time = np.full(len(flat), -np.inf)
            self._raw, self._smooth = (np.tile([0.0, 0.0, 0.0, 1.0], (len(flat), 1)) for _ in range(2))
            self._velocity = np.zeros((len(flat), 3))
        if rotations.shape != self._shape:
            raise ValueError(f'rotations have the shape {rotations.shape}, before it was {self._shape}')
        self._now = _advance(self._now, time_s)

        known = np.isfinite(flat).all(axis=(1, 2))
        result = flat.copy()
        if not known.any():
            return result.reshape(rotations.shape)
        new = matrix_to_quaternion(flat[known])
        elapsed = time_s - self._time[known]
        bridged = (elapsed <= self.max_gap_s)[:, None]
        period = np.where(bridged, elapsed[:, None], 1.0)
        smooth = self._smooth[known]

        # Both arcs are in the frame of the parent, where a steady turn has a steady velocity.
        turned = turn_between(self._raw[known], new) / period
        rate = _weight(period, self.derivative_cutoff)
        velocity = np.where(bridged, self._velocity[known] + rate * (turned - self._velocity[known]), 0.0)
        speed = np.linalg.norm(velocity, axis=1, keepdims=True)
        weight = np.where(bridged, _weight(period, self.min_cutoff + self.beta * speed), 1.0)
        smooth = turn_by(smooth, weight * turn_between(smooth, new))

        self._time[known] = time_s
        self._velocity[known] = velocity
        self._raw[known] = new
        self._smooth[known] = smooth
        result[known] = quaternion_to_matrix(smooth)
        return result.reshape(rotations.shape)


class TrendFilter:
    """A Kalman filter on one number that changes steadily: unlike a low-pass filter it does not lag behind.

    Made for the logarithm of a depth, whose error is large beside what changes from frame to frame. Gaps are
    as in :class:`OneEuroFilter`.

    Args:
        error: Density of the error of the values: what is left of it after averaging for a second.
        acceleration: Density of the changes of speed, per second ** 1.5.
        max_gap_s: Longest gap in seconds that is bridged.
    """

    def __init__(self, error: float = 0.02, acceleration: float = 0.08, max_gap_s: float = 0.5):
        self.error = error
        self.acceleration = acceleration
        self.max_gap_s = max_gap_s
        self._now = self._time = -math.inf

    def __call__(self, value: float, time_s: float) -> float:
        """Filter the next value.

        Raises:
            ValueError: If time does not advance.
        """
        self._now = _advance(self._now, time_s)
        if not math.isfinite(value):
            return value
        period = time_s - self._time
        self._time = time_s
        if period > self.max_gap_s:
            self._state = np.array([value, 0.0])
            # The first speed may be anything up to that of somebody who runs.
            self._spread = np.diag([self.error**2 * _FIRST_FPS, _FIRST_SPEED**2])
            return value
        step = np.array([[1.0, period], [0.0, 1.0]])
        push = np.array([[period**3 / 3, period**2 / 2], [period**2 / 2, period]])
        state = step @ self._state
        spread = step @ self._spread @ step.T + self.acceleration**2 * push
        variance = spread[0, 0] + self.error**2 / period
        limit = _OUTLIER * math.sqrt(variance)
        gain = spread[:, 0] / variance
        self._state = state + gain * float(np.clip(value - state[0], -limit, limit))
        self._spread = spread - np.outer(gain, spread[0])
        return float(self._state[0])


class TrackSmoother:
    """One filter per person and quantity, made when first used and dropped when the person is gone.

    Args:
        min_cutoff: Of both filters, in Hz.
        beta: Of :class:`OneEuroFilter`.
        rotation_beta: Of :class:`RotationFilter`.
        max_gap_s: Longest gap in seconds that is bridged; filters unused for longer are dropped.
    """

    def __init__(
        self,
        min_cutoff: float = 1.0,
        beta: float = 5.0,
        rotation_beta: float = 1.0,
        max_gap_s: float = 0.5,
    ):
        _check_parameters(min_cutoff, beta, 1.0, max_gap_s)
        self.min_cutoff = min_cutoff
        self.beta = beta
        self.rotation_beta = rotation_beta
        self.max_gap_s = max_gap_s
        self._filters: dict[tuple[int, str], OneEuroFilter | RotationFilter | TrendFilter] = {}
        self._used: dict[tuple[int, str], float] = {}

    def __len__(self) -> int:
        return len(self._filters)

    def values(
        self, track_id: int, name: str, values: np.ndarray, time_s: float, scale: float = 1.0
    ) -> np.ndarray:
        """Smooth a quantity of a person, such as keypoints; see :class:`OneEuroFilter`."""
        key = self._key(track_id, name, time_s)
        if key not in self._filters:
            self._filters[key] = OneEuroFilter(self.min_cutoff, self.beta, max_gap_s=self.max_gap_s)
        return self._filters[key](values, time_s, scale)

    def rotations(self, track_id: int, name: str, rotations: np.ndarray, time_s: float) -> np.ndarray:
        """Smooth rotations of a person, (..., 3, 3); see :class:`RotationFilter`."""
        key = self._key(track_id, name, time_s)
        if key not in self._filters:
            self._filters[key] = RotationFilter(self.min_cutoff, self.rotation_beta, max_gap_s=self.max_gap_s)
        return self._filters[key](rotations, time_s)

    def trend(self, track_id: int, name: str, value: float, time_s: float) -> float:
        """Smooth a number of a person that changes steadily; see :class:`TrendFilter`."""
        key = self._key(track_id, name, time_s)
        if key not in self._filters:
            self._filters[key] = TrendFilter(max_gap_s=self.max_gap_s)
        return self._filters[key](value, time_s)

    def _key(self, track_id: int, name: str, time_s: float) -> tuple[int, str]:
        key = (int(track_id), name)
        for other in [other for other, used in self._used.items() if time_s - used > self.max_gap_s]:
            del self._used[other], self._filters[other]
        self._used[key] = time_s
        return key


def smooth_rotations(
    rotations: np.ndarray, times_s: np.ndarray, min_cutoff: float = 1.0, beta: float = 1.0
) -> np.ndarray:
    """Filter a whole sequence of rotations.

    Args:
        rotations: (T, ..., 3, 3).
        times_s: (T,) seconds, ascending.
        min_cutoff: See :class:`RotationFilter`.
        beta: See :class:`RotationFilter`.

    Returns:
        (T, ..., 3, 3) float64.
    """
    if len(rotations) != len(times_s):
        raise ValueError(f'{len(rotations)} rotations and {len(times_s)} times do not match')
    smooth = RotationFilter(min_cutoff, beta)
    results = [smooth(rotation, float(time)) for rotation, time in zip(rotations, times_s)]
    return np.stack(results) if results else np.asarray(rotations, dtype=np.float64)


def smooth_rotations_both_ways(rotations: np.ndarray, times_s: np.ndarray) -> np.ndarray:
    """Filter a whole sequence of rotations without a lag: half-way between forwards and backwards.

    Args:
        rotations: (T, ..., 3, 3), finite.
        times_s: (T,) seconds, ascending.

    Returns:
        (T, ..., 3, 3) float64.
    """
    times = np.asarray(times_s, dtype=np.float64)
    first = smooth_rotations(rotations, times)
    second = smooth_rotations(rotations[::-1], -times[::-1])[::-1]
    start, end = (matrix_to_quaternion(way.reshape(-1, 3, 3)) for way in (first, second))
    half = turn_by(start, turn_between(start, end) / 2)
    return quaternion_to_matrix(half).reshape(first.shape)


def _weight(period: np.ndarray, cutoff: np.ndarray | float) -> np.ndarray:
    """Weight of the new value in a first-order low-pass filter: period in s, cutoff in Hz."""
    angle = 2 * np.pi * cutoff * period
    return angle / (angle + 1)


def _advance(now: float, time_s: float) -> float:
    if not (math.isfinite(time_s) and time_s > now):
        raise ValueError(f'time_s={time_s} must be later than the time before, {now}')
    return float(time_s)


def _check_parameters(min_cutoff: float, beta: float, derivative_cutoff: float, max_gap_s: float) -> None:
    if not (min_cutoff > 0 and derivative_cutoff > 0 and beta >= 0 and max_gap_s > 0):
        raise ValueError(
            f'min_cutoff={min_cutoff}, derivative_cutoff={derivative_cutoff} and max_gap_s={max_gap_s} must '
            f'be positive, beta={beta} must not be negative'
        )
