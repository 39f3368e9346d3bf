"""People keep their numbers, and smoothing makes them tremble less without losing them."""

import copy
import itertools

import numpy as np
import pytest

from mmhier.inference.people_over_time import PeopleOverTime
from mmhier.media import Frame, Source
from mmhier.results.frame_result import Person

IMAGE = np.zeros((4, 4, 3), np.uint8)


def frame(number, sequence='clip.mp4', fps=25):
    time = None if fps is None else number / fps
    return Frame(IMAGE, Source(sequence, 'video', sequence, fps), number, time)


def people(number, noise=0.0, rng=None):
    found = []
    for left in (0, 300):
        box = np.array([left + number, 10, left + number + 50, 110], np.float32)
        grid = np.stack(np.meshgrid([5, 25, 45], [10, 40, 70, 100]), -1).reshape(-1, 2)
        keypoints = box[:2] + grid + (0 if rng is None else rng.normal(0, noise, grid.shape))
        found.append(Person(box, keypoints.astype(np.float32), np.ones(len(grid), np.float32), 0.9))
    return found


def test_numbers_stay_whatever_the_order():
    over_time = PeopleOverTime(smooth=False)
    for number in range(6):
        over_time.begin(frame(number))
        found = people(number)[:: 1 if number % 2 else -1]
        over_time.follow(frame(number), found, None)
        ids = {round(float(person.bbox[0]) - number): person.track_id for person in found}
        assert ids == {0: 2, 300: 1}
        assert over_time.number == number


def test_a_new_video_begins_anew():
    over_time = PeopleOverTime(smooth=True)
    for sequence in ('a.mp4', 'b.mp4'):
        for number in range(3):
            over_time.begin(frame(number, sequence))
            found = people(number)
            over_time.follow(frame(number, sequence), found, None)
            assert [person.track_id for person in found] == [1, 2] and over_time.number == number


def test_a_video_that_is_read_again_begins_anew():
    over_time = PeopleOverTime(smooth=True)
    numbers, times = [], []
    for number in (0, 1, 2, 0, 1, 2):
        over_time.begin(frame(number))
        found = people(number)[:: 1 if len(times) < 3 else -1]
        over_time.follow(frame(number), found, None)
        numbers.append(over_time.number)
        times.append(over_time._now)
        assert [person.track_id for person in found] == [1, 2]
    assert numbers == [0, 1, 2, 0, 1, 2] and times == [0, 0.04, 0.08] * 2


def test_pictures_of_a_folder_are_one_sequence():
    over_time = PeopleOverTime(smooth=False)
    for number in range(3):
        picture = Frame(IMAGE, Source(f'p/{number}.jpg', 'image', 'p'), 0)
        over_time.begin(picture)
        found = people(number)
        over_time.follow(picture, found, None)
        assert [person.track_id for person in found] == [1, 2] and over_time.number == number


def test_people_are_followed_between_detections():
    over_time = PeopleOverTime(smooth=False)
    for number in range(12):
        over_time.begin(frame(number))
        if number % 4 == 0 or number < 2:
            over_time.follow(frame(number), people(number), None)
            continue
        boxes, ids = over_time.predict()
        assert sorted(ids) == [1, 2]
        found = people(number)
        places = np.array([found[number - 1].bbox for number in ids])
        assert np.abs(boxes - places).max() < 15
        over_time.follow(frame(number), [found[number - 1] for number in ids], ids)


@pytest.mark.parametrize('fps', [25, None])
def test_smooth_keypoints_tremble_less(fps):
    rng, over_time = np.random.default_rng(0), PeopleOverTime(smooth=True)
    raw, smooth = [], []
    for number in range(60):
        found = people(0, 2.0, rng)
        raw.append(found[0].keypoints.copy())
        over_time.begin(frame(number, fps=fps))
        over_time.follow(frame(number, fps=fps), found, None)
        smooth.append(found[0].keypoints)
    truth = people(0)[0].keypoints
    error = [np.abs(np.array(track[20:]) - truth).mean() for track in (raw, smooth)]
    assert error[1] < 0.6 * error[0]
    assert smooth[0].dtype == np.float32


def test_smooth_bodies_are_bodies(mesh_results):
    over_time = PeopleOverTime(smooth=True)
    for number in range(10):
        result = mesh_results[number % 4]
        person = copy.copy(result.people[0])
        person.mesh = copy.copy(person.mesh)
        person.bbox = np.array([10, 10, 60, 90], np.float32)
        over_time.begin(frame(number))
        over_time.follow(frame(number), [person], None)
        mesh = person.mesh
        rotations = np.concatenate([mesh.global_orient, mesh.body_pose]).astype(np.float64)
        np.testing.assert_allclose(
            rotations @ rotations.transpose(0, 2, 1), np.eye(3)[None].repeat(24, 0), atol=1e-5
        )
        np.testing.assert_allclose(mesh.joints_3d, mesh.joints(), atol=1e-6)
    assert np.abs(mesh.body_pose - mesh_results[1].people[0].mesh.body_pose).max() > 1e-6


def test_nobody():
    over_time = PeopleOverTime(smooth=True)
    for number in range(3):
        over_time.begin(frame(number))
        over_time.follow(frame(number), [], None)


def test_people_are_expected_where_the_frames_own_times_say():
    """At 400 pixels per second: frames every 1/30 s, then one after 1/10 s on which no detector looks."""
    over_time = PeopleOverTime(smooth=False)
    times = [*(np.arange(12) / 30), 11 / 30 + 0.1]
    source = Source('clip.mp4', 'video', 'clip.mp4', 120 / 7)
    for number, seconds in enumerate(times[:-1]):
        now = Frame(IMAGE, source, number, seconds)
        over_time.begin(now)
        over_time.follow(now, people(400 * seconds), None)
    over_time.begin(Frame(IMAGE, source, 12, times[-1]))
    boxes, _ = over_time.predict()
    np.testing.assert_allclose(np.sort(boxes[:, 0]), [400 * times[-1], 300 + 400 * times[-1]], atol=8)


@pytest.mark.parametrize('fps', [25, 30000 / 1001, 60])
def test_times_of_a_constant_rate_are_whole_frames(fps):
    from mmhier.inference.people_over_time import _frames_between

    source = Source('clip.mkv', 'video', 'clip.mkv', fps)
    frames = [Frame(IMAGE, source, number, round(number / fps, 3)) for number in range(500)]
    passed = {_frames_between(*pair) for pair in itertools.pairwise(frames)}
    assert passed == {1.0} and _frames_between(frames[3], frames[7]) == 4
