"""A Kalman filter of boxes that move with constant velocity, for many boxes at once (numpy only).

The centre's coordinates, the width and the height are independent of each other: each has a position and a
velocity, hence a symmetric 2 x 2 covariance. Together that is the eight-dimensional filter of SORT (Bewley et
al., 2016) and DeepSORT (Wojke et al., 2017), without its zeros. Standard deviations grow with the person:
the weights are DeepSORT's, times the box's longer side. Time is counted in frames.
"""

from dataclasses import dataclass, fields, replace

import numpy as np

# Standard deviations per pixel of the longer side: of a measured or guessed position, and of a velocity.
POSITION_WEIGHT = 1 / 20
VELOCITY_WEIGHT = 1 / 80

# Of a new box, of which only one measurement is known, in multiples of the above.
INITIAL_POSITION_FACTOR = 2.0
INITIAL_VELOCITY_FACTOR = 5.0

SMALLEST_SIDE = 1.0


@dataclass(frozen=True)
class BoxState:
    """What is known of M boxes: arrays (M, 4) float64 in the order centre x, centre y, width, height.

    Attributes:
        position: Pixels.
        velocity: Pixels per frame.
        position_variance: Of the position.
        covariance: Between position and velocity.
        velocity_variance: Of the velocity.
    """

    position: np.ndarray
    velocity: np.ndarray
    position_variance: np.ndarray
    covariance: np.ndarray
    velocity_variance: np.ndarray

    def __len__(self) -> int:
        return len(self.position)

    def __getitem__(self, index: np.ndarray) -> 'BoxState':
        return BoxState(*(getattr(self, field.name)[index] for field in fields(self)))

    @property
    def boxes(self) -> np.ndarray:
        """(M, 4) float64, x1 y1 x2 y2 in pixels; no side is shorter than a pixel."""
        half = np.maximum(self.position[:, 2:], SMALLEST_SIDE) / 2
        return np.concatenate([self.position[:, :2] - half, self.position[:, :2] + half], axis=1)


def initiate(boxes: np.ndarray) -> BoxState:
    """Begin with one measurement of each box, (M, 4) x1 y1 x2 y2 in pixels."""
    position = to_center_size(boxes)
    scale = _scale(position)
    zeros = np.zeros_like(position)
    return BoxState(
        position,
        zeros,
        zeros + (INITIAL_POSITION_FACTOR * POSITION_WEIGHT * scale) ** 2,
        zeros,
        zeros + (INITIAL_VELOCITY_FACTOR * VELOCITY_WEIGHT * scale) ** 2,
    )


def predict(state: BoxState, frames: float = 1) -> BoxState:
    """Advance all boxes by a number of frames, which may be part of one."""
    while frames > 0:
        step = min(frames, 1)
        frames -= step
        scale = _scale(state.position)
        state = BoxState(
            state.position + step * state.velocity,
            state.velocity,
            state.position_variance
            + 2 * step * state.covariance
            + step**2 * state.velocity_variance
            + step * (POSITION_WEIGHT * scale) ** 2,
            state.covariance + step * state.velocity_variance,
            state.velocity_variance + step * (VELOCITY_WEIGHT * scale) ** 2,
        )
    return state


def correct(state: BoxState, boxes: np.ndarray) -> BoxState:
    """Take in one measurement of every box, (M, 4) x1 y1 x2 y2 in pixels."""
    innovation = to_center_size(boxes) - state.position
    total = state.position_variance + _measurement_variance(state)
    gain, velocity_gain = state.position_variance / total, state.covariance / total
    return BoxState(
        state.position + gain * innovation,
        state.velocity + velocity_gain * innovation,
        (1 - gain) * state.position_variance,
        (1 - gain) * state.covariance,
        state.velocity_variance - velocity_gain * state.covariance,
    )


def squared_distances(state: BoxState, boxes: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distances of measurements to the boxes.

    Args:
        state: M boxes.
        boxes: (N, 4) x1 y1 x2 y2 in pixels.

    Returns:
        (M, N), of four degrees of freedom.
    """
    innovation = to_center_size(boxes)[None] - state.position[:, None]
    total = state.position_variance + _measurement_variance(state)
    return (innovation**2 / total[:, None]).sum(axis=2)


def hold_size(state: BoxState, which: np.ndarray) -> BoxState:
    """Stop the growth of the chosen boxes, (M,) bool: nobody shrinks to nothing behind a tree."""
    velocity = state.velocity.copy()
    velocity[which, 2:] = 0
    return replace(state, velocity=velocity)


def replace_rows(state: BoxState, rows: np.ndarray, new: BoxState) -> BoxState:
    """Put ``new`` in the given rows."""
    arrays = []
    for field in fields(state):
        array = getattr(state, field.name).copy()
        array[rows] = getattr(new, field.name)
        arrays.append(array)
    return BoxState(*arrays)


def concatenate(first: BoxState, second: BoxState) -> BoxState:
    """The boxes of both, in this order."""
    return BoxState(
        *(
            np.concatenate([getattr(first, field.name), getattr(second, field.name)])
            for field in fields(first)
        )
    )


def to_center_size(boxes: np.ndarray) -> np.ndarray:
    """Map (N, 4) x1 y1 x2 y2 to centre x, centre y, width, height."""
    boxes = np.asarray(boxes, dtype=np.float64)
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)


def _scale(position: np.ndarray) -> np.ndarray:
    return np.maximum(position[:, 2:].max(axis=1, keepdims=True), SMALLEST_SIDE)


def _measurement_variance(state: BoxState) -> np.ndarray:
    return (POSITION_WEIGHT * _scale(state.position)) ** 2
