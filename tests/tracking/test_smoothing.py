"""The One-Euro filter: equal to its paper, quiet when still, quick when moving, no flips of rotations."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from mmhier.tracking import (
    OneEuroFilter,
    RotationFilter,
    TrackSmoother,
    TrendFilter,
    smooth_rotations,
    smooth_rotations_both_ways,
)

FPS = 30.0


def one_euro(values, times, min_cutoff, beta, derivative_cutoff):
    """Algorithm 1 of the paper, one number at a time."""

    def alpha(period, cutoff):
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau / period)

    results = [values[0]]
    speed = 0.0
    for before, value, earlier, now in zip(values, values[1:], times, times[1:]):
        period = now - earlier
        a = alpha(period, derivative_cutoff)
        speed = a * (value - before) / period + (1 - a) * speed
        a = alpha(period, min_cutoff + beta * abs(speed))
        results.append(a * value + (1 - a) * results[-1])
    return results


def turn(axis, degrees):
    return Rotation.from_rotvec(np.radians(degrees) * np.asarray(axis) / np.linalg.norm(axis)).as_matrix()


def angles(first, second):
    """Degrees between rotations."""
    relative = (
        Rotation.from_matrix(first.reshape(-1, 3, 3)) * Rotation.from_matrix(second.reshape(-1, 3, 3)).inv()
    )
    return np.degrees(relative.magnitude())


def test_equals_the_paper_with_irregular_times():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.01, 0.1, 50))
    values = np.cumsum(rng.normal(0, 1, (50, 3, 2)), axis=0)
    smooth = OneEuroFilter(min_cutoff=0.7, beta=0.3, derivative_cutoff=1.2)
    found = np.stack([smooth(value, time) for value, time in zip(values, times)])
    for index in np.ndindex(3, 2):
        expected = one_euro(values[(slice(None), *index)].tolist(), times.tolist(), 0.7, 0.3, 1.2)
        np.testing.assert_allclose(found[(slice(None), *index)], expected, rtol=1e-12)


def test_still_keypoints_tremble_six_times_less():
    """Noise of 2 pixels on a person of 400, 30 frames per second, default settings."""
    noise = np.random.default_rng(0).normal(0, 2, (300, 17, 2))
    smooth = OneEuroFilter()
    found = np.stack([smooth(values, t / FPS, scale=400.0) for t, values in enumerate(noise)])[60:]
    assert np.diff(noise[60:], axis=0).std() / np.diff(found, axis=0).std() > 6
    assert noise[60:].std() / found.std() > 2.8


def test_a_step_is_followed_within_three_frames():
    """A quarter of the person's height at once: 90 % after three frames; without beta it takes thirteen."""

    def frames_until(share, smooth):
        found = [smooth(np.array(100.0 * (t >= 10)), t / FPS, scale=400.0) for t in range(60)]
        return next(t for t in range(60) if found[t] >= 100 * share) - 10 + 1

    assert frames_until(0.9, OneEuroFilter()) <= 3
    assert frames_until(0.9, OneEuroFilter(beta=0.0)) == 13


def test_scale_makes_people_near_and_far_alike():
    values = np.cumsum(np.random.default_rng(0).normal(0, 5, 40))
    near, far = OneEuroFilter(), OneEuroFilter()
    for t, value in enumerate(values):
        assert np.isclose(near(4 * value, t / FPS, scale=400.0), 4 * far(value, t / FPS, scale=100.0))


def test_gaps_of_single_keypoints():
    """One of two keypoints is lost: the other does not notice. A short gap is bridged, a long one is not."""
    values = np.random.default_rng(0).normal(0, 2, (90, 2)) + 50
    for gap, restarts in [(10, False), (20, True)]:
        with_gap = values.copy()
        with_gap[30 : 30 + gap, 1] = np.nan
        whole, broken = OneEuroFilter(max_gap_s=0.5), OneEuroFilter(max_gap_s=0.5)
        expected = np.stack([whole(row, t / FPS) for t, row in enumerate(values)])
        found = np.stack([broken(row, t / FPS) for t, row in enumerate(with_gap)])
        assert np.array_equal(found[:, 0], expected[:, 0])
        assert np.isnan(found[30 : 30 + gap, 1]).all() and np.isfinite(found[30 + gap :, 1]).all()
        assert (found[30 + gap, 1] == values[30 + gap, 1]) == restarts


def test_opposite_quaternions_change_nothing():
    """The same turn, given by quaternions of random sign, is smoothed to the same rotations."""
    rng = np.random.default_rng(0)
    clean = Rotation.from_rotvec(np.outer(np.arange(60) * 0.05, [0.2, 1.0, 0.1]))
    signs = rng.choice([-1, 1], (60, 1))
    flipped = Rotation.from_quat(clean.as_quat() * signs)
    times = np.arange(60) / FPS
    first, second = (smooth_rotations(turns.as_matrix(), times) for turns in (clean, flipped))
    assert (signs < 0).sum() > 20 and np.allclose(first, second, atol=1e-12)


def test_no_jump_where_a_turn_passes_180_degrees():
    """Two turns around z at 180 degrees per second: the result stays close behind and turns steadily."""
    turns = np.stack([turn([0.0, 0.0, 1.0], 6.0 * t) for t in range(120)])
    found = smooth_rotations(turns, np.arange(120) / FPS)
    assert angles(found, turns).max() < 14
    steps = angles(found[1:], found[:-1])
    assert steps.max() < 8 and np.allclose(steps[60:], 6, atol=0.1)
    flips = np.sign(Rotation.from_matrix(turns).as_rotvec()[:, 2])
    assert (np.diff(flips) != 0).sum() >= 3  # axis-angle does jump


@pytest.mark.parametrize('degrees', [179.0, 180.0, 181.0])
def test_a_step_of_half_a_turn_takes_the_short_way_and_arrives(degrees):
    turns = np.stack([turn([1.0, 0.0, 0.0], 0.0 if t < 10 else degrees) for t in range(60)])
    found = smooth_rotations(turns, np.arange(60) / FPS)
    left = angles(found, turns)[10:]
    assert (np.diff(left) <= 1e-6).all() and left[0] < 180 and left[10] < 1
    np.testing.assert_allclose(found @ found.swapaxes(1, 2), np.tile(np.eye(3), (60, 1, 1)), atol=1e-9)


def test_noise_near_half_a_turn_is_smoothed_as_anywhere():
    """3 degrees of noise on each axis around 0 and around 180 degrees: the same reduction, fivefold."""
    rng = np.random.default_rng(0)
    noise = (
        Rotation.from_rotvec(rng.normal(0, np.radians(3), (200 * 24, 3))).as_matrix().reshape(200, 24, 3, 3)
    )
    for center in (np.eye(3), turn([0.3, 1.0, -0.2], 180.0)):
        turns = noise @ center
        found = smooth_rotations(turns, np.arange(200) / FPS)
        before, after = (angles(x[61:], x[60:-1]).mean() for x in (turns, found))
        assert before / after > 5


def test_single_axis_rotation_equals_the_array_filter():
    """Around one axis, the angle is filtered as a number."""
    degrees = np.cumsum(np.random.default_rng(0).normal(0, 4, 40))
    array = OneEuroFilter(min_cutoff=0.8, beta=0.4)
    expected = [float(array(np.radians(value), t / FPS)) for t, value in enumerate(degrees)]
    turns = np.stack([turn([0.0, 1.0, 0.0], value) for value in degrees])
    found = smooth_rotations(turns, np.arange(40) / FPS, min_cutoff=0.8, beta=0.4)
    np.testing.assert_allclose(Rotation.from_matrix(found).as_rotvec()[:, 1], expected, atol=1e-9)


def test_rotation_gaps():
    rng = np.random.default_rng(0)
    turns = Rotation.from_rotvec(rng.normal(0, 0.05, (60 * 2, 3))).as_matrix().reshape(60, 2, 3, 3)
    for gap, restarts in [(5, False), (20, True)]:
        broken = turns.copy()
        broken[20 : 20 + gap, 1] = np.nan
        expected, found = (smooth_rotations(x, np.arange(60) / FPS) for x in (turns, broken))
        np.testing.assert_allclose(found[:, 0], expected[:, 0], atol=1e-12)
        assert np.isnan(found[20 : 20 + gap, 1]).all() and np.isfinite(found[20 + gap :]).all()
        assert np.allclose(found[20 + gap, 1], turns[20 + gap, 1], atol=1e-9) == restarts
    empty = RotationFilter()
    assert np.isnan(empty(np.full((2, 3, 3), np.nan), 0.0)).all()


def test_people_do_not_mix_and_the_gone_are_dropped():
    smoother = TrackSmoother(max_gap_s=0.5)
    alone = OneEuroFilter()
    for t in range(20):
        value = np.array([10.0 + t])
        found = smoother.values(1, 'keypoints', value, t / FPS)
        smoother.values(2, 'keypoints', -value, t / FPS)
        smoother.rotations(1, 'body_pose', np.eye(3), t / FPS)
        assert found == alone(value, t / FPS)
    assert len(smoother) == 3
    smoother.values(2, 'keypoints', np.zeros(1), 2.0)
    assert len(smoother) == 1
    assert smoother.values(1, 'keypoints', np.array([500.0]), 2.1) == 500.0


def test_bad_input_is_named():
    smooth, turns = OneEuroFilter(), RotationFilter()
    smooth(np.zeros(3), 1.0)
    turns(np.zeros((2, 3, 3)) + np.eye(3), 1.0)
    with pytest.raises(ValueError, match='later'):
        smooth(np.zeros(3), 1.0)
    with pytest.raises(ValueError, match='nan'):
        smooth(np.zeros(3), math.nan)
    with pytest.raises(ValueError, match=r'shape \(4,\), before it was \(3,\)'):
        smooth(np.zeros(4), 2.0)
    with pytest.raises(ValueError, match='later'):
        turns(np.zeros((2, 3, 3)) + np.eye(3), 0.5)
    with pytest.raises(ValueError, match=r'matrices, got the shape \(4,\)'):
        turns(np.zeros(4), 2.0)
    with pytest.raises(ValueError, match='before it was'):
        turns(np.eye(3), 2.0)
    with pytest.raises(ValueError, match='min_cutoff=0'):
        OneEuroFilter(min_cutoff=0)
    with pytest.raises(ValueError, match='do not match'):
        smooth_rotations(np.zeros((2, 3, 3)), np.zeros(3))


def test_both_ways_does_not_lag():
    times = np.arange(90) / FPS
    angles = 0.6 * np.sin(2 * np.pi * times)
    noise = np.random.default_rng(0).normal(0, 0.03, (90, 3))
    noisy = Rotation.from_rotvec(noise + angles[:, None] * [1.0, 0, 0]).as_matrix()[:, None]
    clean = Rotation.from_rotvec(angles[:, None] * [1.0, 0, 0])
    wrong = [
        (Rotation.from_matrix(found[20:70, 0]) * clean[20:70].inv()).magnitude().mean()
        for found in (smooth_rotations(noisy, times), smooth_rotations_both_ways(noisy, times))
    ]
    assert wrong[1] < 0.6 * wrong[0]


def test_a_trend_is_followed_without_a_lag_and_through_noise():
    rng = np.random.default_rng(0)
    truth = 1.4 + 0.3 * np.arange(120) / FPS
    noisy = truth + rng.normal(0, 0.03, 120)
    noisy[60] += 0.5
    smooth = TrendFilter()
    found = np.array([smooth(value, number / FPS) for number, value in enumerate(noisy)])
    assert np.abs(found - truth)[30:].max() < 0.04 and abs((found - truth)[30:].mean()) < 0.01
    assert np.abs(np.diff(found - truth))[15:].max() < 0.03 < np.abs(np.diff(noisy)).mean()


def test_a_trend_with_gaps():
    smooth = TrendFilter(max_gap_s=0.5)
    for number in range(30):
        smooth(1.0, number / 30)
    assert np.isnan(smooth(np.nan, 1.0))
    assert smooth(1.0, 1.1) == pytest.approx(1.0)
    assert smooth(3.0, 2.0) == 3.0  # after a longer gap it begins anew
    with pytest.raises(ValueError, match='must be later'):
        smooth(3.0, 2.0)
