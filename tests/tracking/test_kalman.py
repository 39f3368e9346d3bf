"""The box filter: equal to the text book's matrices, and right by hand."""

import runpy
from dataclasses import fields, replace
from pathlib import Path

import numpy as np

from mmhier.tracking import kalman

REFERENCE = runpy.run_path(str(Path(__file__).parents[1] / 'reference' / 'box_filter.py'))


def make_boxes(rng, count):
    corner, size = rng.uniform(0, 500, (count, 2)), rng.uniform(20, 300, (count, 2))
    return np.concatenate([corner, corner + size], axis=1)


def test_equals_plain_reference():
    rng = np.random.default_rng(0)
    boxes = make_boxes(rng, 5)
    state = kalman.initiate(boxes)
    references = [REFERENCE['start'](measured) for measured in kalman.to_center_size(boxes)]
    for step in range(12):
        state = kalman.predict(state)
        references = [REFERENCE['predict'](*reference) for reference in references]
        boxes = boxes + rng.normal(0, 3, boxes.shape)
        measured = kalman.to_center_size(boxes)
        distances = kalman.squared_distances(state, boxes)
        expected = [[REFERENCE['squared_distance'](*one, row) for row in measured] for one in references]
        np.testing.assert_allclose(distances, expected, rtol=1e-9)
        if step % 3 != 2:  # every third frame nothing is measured
            state = kalman.correct(state, boxes)
            references = [REFERENCE['correct'](*one, row) for one, row in zip(references, measured)]
        means = np.stack([mean for mean, _ in references])
        covariances = np.stack([covariance for _, covariance in references])
        np.testing.assert_allclose(state.position, means[:, :4], rtol=1e-9)
        np.testing.assert_allclose(state.velocity, means[:, 4:], rtol=1e-9, atol=1e-9)
        diagonal, index = covariances.diagonal(axis1=1, axis2=2), np.arange(4)
        np.testing.assert_allclose(state.position_variance, diagonal[:, :4], rtol=1e-9)
        np.testing.assert_allclose(state.velocity_variance, diagonal[:, 4:], rtol=1e-9)
        np.testing.assert_allclose(state.covariance, covariances[:, index, index + 4], rtol=1e-9)


def test_first_correction_by_hand():
    """Side 100: variances 10^2 and 6.25^2; a frame later 10^2 + 6.25^2 + 5^2; measured with 5^2."""
    state = kalman.predict(kalman.initiate(np.array([[0.0, 0.0, 100.0, 100.0]])))
    prior = 100 + 39.0625 + 25
    assert np.allclose(state.position_variance, prior)
    moved = kalman.correct(state, np.array([[10.0, 0.0, 110.0, 100.0]]))
    assert np.allclose(moved.position, [[50 + 10 * prior / (prior + 25), 50, 100, 100]])
    assert np.allclose(moved.velocity, [[10 * 39.0625 / (prior + 25), 0, 0, 0]])


def test_learns_a_steady_velocity():
    state = kalman.initiate(np.array([[0.0, 0.0, 50.0, 100.0]]))
    for frame in range(1, 60):
        state = kalman.predict(state)
        state = kalman.correct(state, np.array([[4.0 * frame, -frame, 50 + 4.0 * frame, 100 - frame]]))
    assert np.allclose(state.velocity, [[4, -1, 0, 0]], atol=0.01)
    later = kalman.predict(state, frames=10)
    assert np.allclose(later.position[0, :2], state.position[0, :2] + [40, -10], atol=0.1)


def test_parts_of_a_frame():
    """By hand: position + t v; variances as of white noise of the given rate; whole frames are as before."""
    box = np.array([[0.0, 0.0, 50.0, 100.0]])
    state = kalman.initiate(box)
    state = replace(state, velocity=np.array([[8.0, -4.0, 2.0, 0.0]]), covariance=np.full((1, 4), 0.5))
    half = kalman.predict(state, 0.5)
    np.testing.assert_allclose(half.position, [[29.0, 48.0, 51.0, 100.0]])
    expected = state.position_variance + 0.5 + 0.25 * state.velocity_variance + 0.5 * (100 / 20) ** 2
    np.testing.assert_allclose(half.position_variance, expected)
    np.testing.assert_allclose(half.covariance, 0.5 + 0.5 * state.velocity_variance)
    np.testing.assert_allclose(half.velocity_variance, state.velocity_variance + 0.5 * (100 / 80) ** 2)
    once_and_a_half = kalman.predict(kalman.predict(state), 0.5)
    for field in fields(state):
        both = getattr(kalman.predict(state, 1.5), field.name), getattr(once_and_a_half, field.name)
        np.testing.assert_array_equal(*both)


def test_boxes_round_trip_and_never_collapse():
    boxes = make_boxes(np.random.default_rng(1), 7)
    assert np.allclose(kalman.initiate(boxes).boxes, boxes)
    state = kalman.initiate(np.array([[0.0, 0.0, 10.0, 10.0]]))
    shrinking = kalman.BoxState(*[np.array([[5.0, 5.0, -3.0, 0.2]])] * 5)
    assert np.allclose(shrinking.boxes, [[4.5, 4.5, 5.5, 5.5]])
    held = kalman.hold_size(
        kalman.BoxState(state.position, np.full((1, 4), 2.0), *[state.position] * 3), [True]
    )
    assert np.allclose(held.velocity, [[2, 2, 0, 0]])
