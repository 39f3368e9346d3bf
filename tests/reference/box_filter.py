"""Constant velocity with whole 8 x 8 matrices, one box at a time: the text book's Kalman filter.

State: centre x, centre y, width, height and their velocities per frame.
"""

import numpy as np

MOTION = np.eye(8) + np.eye(8, k=4)
OBSERVATION = np.eye(4, 8)


def start(measured):
    """Mean (8,) and covariance (8, 8) after one measurement (4,)."""
    size = max(measured[2], measured[3])
    deviations = [2 * size / 20] * 4 + [5 * size / 80] * 4
    return np.concatenate([measured, np.zeros(4)]), np.diag(np.square(deviations))


def predict(mean, covariance):
    """A frame later."""
    size = max(mean[2], mean[3])
    noise = np.diag(np.square([size / 20] * 4 + [size / 80] * 4))
    return MOTION @ mean, MOTION @ covariance @ MOTION.T + noise


def correct(mean, covariance, measured):
    """After another measurement (4,)."""
    innovation, total = _innovation(mean, covariance, measured)
    gain = covariance @ OBSERVATION.T @ np.linalg.inv(total)
    return mean + gain @ innovation, covariance - gain @ total @ gain.T


def squared_distance(mean, covariance, measured):
    """Mahalanobis, squared."""
    innovation, total = _innovation(mean, covariance, measured)
    return innovation @ np.linalg.inv(total) @ innovation


def _innovation(mean, covariance, measured):
    size = max(mean[2], mean[3])
    total = OBSERVATION @ covariance @ OBSERVATION.T + np.eye(4) * (size / 20) ** 2
    return measured - OBSERVATION @ mean, total
