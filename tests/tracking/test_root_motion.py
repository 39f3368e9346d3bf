"""The path of a root is found through noise, and not changed where there is none."""

import numpy as np
import pytest

from mmhier.tracking.root_motion import ROOTS, root_motion

TIMES = np.arange(120) / 30


def straight(speed=(1.0, 0.0, 0.3)):
    return np.array([-1.5, 0.4, 4.0]) + TIMES[:, None] * np.array(speed)


def noisy(path, share=0.03, seed=0):
    rng = np.random.default_rng(seed)
    return path * np.exp(rng.normal(0, share, (len(path), 1)))


def test_what_is_straight_stays():
    path = straight()
    np.testing.assert_allclose(root_motion(path, TIMES).places, path, atol=1e-6)


def test_noise_of_the_depth_goes_the_line_of_sight_stays():
    path = straight()
    seen = noisy(path)
    found = root_motion(seen, TIMES).places
    assert np.abs(np.diff(seen[:, 2])).max() > 0.3
    assert np.abs(found[:, 2] / path[:, 2] - 1).max() < 0.02
    assert np.linalg.norm(np.diff(found - path, axis=0), axis=1).max() < 0.01
    sight = found[:, :2] / found[:, 2:] - path[:, :2] / path[:, 2:]
    assert np.abs(sight).max() < 0.005  # 5 pixels of 1000


def test_one_wrong_depth_changes_nothing():
    path = straight()
    rng = np.random.default_rng(1)
    good = noisy(path, 0.01, 1)
    bad = good.copy()
    where = rng.choice(len(path), 6, replace=False)
    bad[where] *= 1.4
    first, second = (root_motion(places, TIMES).places for places in (good, bad))
    assert np.abs(first - second).max() < 0.05


def test_feet_that_stand_say_how_far_somebody_walks():
    """Depths are noise; the root passes over feet that stand for half a second each, in turn."""
    path = straight((0.0, 0.0, -1.0)) + [1.5, 0, 2]
    steps = np.floor(TIMES[:, None] + [0, 0.5])
    phase = (TIMES[:, None] + [0, 0.5]) % 1
    swing = np.clip((phase - 0.6) / 0.4, 0, 1)
    along = path[0, 2] - (steps + swing - [0, 0.5] + 0.3)
    feet = np.stack([np.broadcast_to([[0.1, -0.1]], along.shape), np.full(along.shape, 1.3), along], -1)
    offsets = feet - path[:, None]
    seen = noisy(path, 0.03)
    held, free = root_motion(seen, TIMES, offsets), root_motion(seen, TIMES)
    steps_of = lambda motion: np.abs(np.diff(motion.places - path, axis=0)).max()  # noqa: E731
    assert steps_of(held) < 0.5 * steps_of(free)
    assert {foot for foot, _ in held.stands} == {0, 1} and len(held.stands) >= 7
    for foot, when in held.stands:
        assert swing[when[1:-1], foot].max() < 0.3
    assert free.stands == []


def test_feet_that_never_stand_change_nothing():
    """A camera that pans: everything moves through the picture at 2 metres per second."""
    path = straight((2.0, 0.0, 0.0))
    seen = noisy(path, 0.02)
    feet = np.broadcast_to([[0.1, 0.8, 0.0], [-0.1, 0.8, 0.0]], (120, 2, 3))
    with_feet = root_motion(seen, TIMES, feet)
    assert with_feet.stands == []
    np.testing.assert_array_equal(with_feet.places, root_motion(seen, TIMES).places)


def test_choices_of_the_root():
    path = straight()
    fixed = root_motion(path, TIMES, root='fixed').places
    np.testing.assert_allclose(fixed, np.tile(np.median(path, axis=0), (120, 1)))
    image = root_motion(path, TIMES, root='image').places
    np.testing.assert_allclose(image[:, 2], np.median(path[:, 2]))
    np.testing.assert_allclose(image[:, :2] / image[:, 2:], path[:, :2] / path[:, 2:], atol=1e-6)
    with pytest.raises(ValueError, match="root='still': expected one of fixed, image, metric"):
        root_motion(path, TIMES, root='still')


@pytest.mark.parametrize('count', [0, 1, 2])
def test_few_frames_are_left_as_they_are(count):
    places = straight()[:count]
    for root in ROOTS:
        found = root_motion(places, TIMES[:count], np.zeros((count, 2, 3)), root)
        assert found.places.shape == (count, 3) and found.stands == []
    np.testing.assert_array_equal(root_motion(places, TIMES[:count]).places, places)


def test_who_is_behind_the_camera_stays():
    places = straight() - [0, 0, 5]
    np.testing.assert_array_equal(root_motion(places, TIMES).places, places)


def test_gaps_and_uneven_times():
    """Somebody is away for three seconds and comes back elsewhere: neither pulls the other."""
    times = np.concatenate([TIMES[:40], 3 + TIMES[40:80], 3 + TIMES[80:] + np.arange(40) / 50])
    path = np.array([0.0, 0.2, 4.0]) + np.where(times > 3, 2.0, 0.0)[:, None] * [1, 0, 1]
    found = root_motion(noisy(path, 0.01), times).places
    assert np.abs(found / np.where(path == 0, 1, path) - np.sign(path)).max() < 0.01
    one_by_one = root_motion(noisy(path, 0.01)[:40], times[:40]).places
    np.testing.assert_allclose(found[:40], one_by_one, atol=0.01)
