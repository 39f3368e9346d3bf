"""Ids of synthetic people who walk, cross, hide, enter and leave."""

import time

import numpy as np
import pytest

from mmhier.tracking import Tracker, boxes_from_keypoints

SIZE = np.array([60.0, 160.0])
SCORE = 0.9

# A standing person in units of the box, COCO's order, facing the camera.
POSE = np.array(
    [[0.5, 0.08], [0.55, 0.06], [0.45, 0.06], [0.6, 0.08], [0.4, 0.08], [0.75, 0.2], [0.25, 0.2]]
    + [[0.85, 0.35], [0.15, 0.35], [0.9, 0.5], [0.1, 0.5], [0.65, 0.5], [0.35, 0.5]]
    + [[0.65, 0.72], [0.35, 0.72], [0.65, 0.95], [0.35, 0.95]]
)


def box_at(center, size=SIZE):
    center = np.asarray(center, dtype=float)
    return np.concatenate([center - size / 2, center + size / 2])


def run(tracker, frames, **kwargs):
    """Ids per frame of lists of boxes, all of a high score."""
    return [tracker.update(boxes, np.full(len(boxes), SCORE), **kwargs).tolist() for boxes in frames]


def crossing(frames=60, rows_apart=30.0, noise=0.0, seed=0):
    """Two people who walk past each other, 6 pixels per frame, one slightly lower in the image."""
    rng = np.random.default_rng(seed)
    centers = [[[100 + 6 * t, 200], [100 + 6 * (frames - t), 200 + rows_apart]] for t in range(frames)]
    return [np.stack([box_at(center) for center in pair]) + rng.normal(0, noise, (2, 4)) for pair in centers]


def test_first_frame_counts_from_one_and_later_people_need_hits():
    tracker = Tracker(min_hits=2)
    here, there = box_at([100, 100]), box_at([500, 100])
    ids = run(tracker, [[here], [here, there], [here, there], [here, there]])
    assert ids == [[1], [1, -1], [1, 2], [1, 2]]


def test_flicker_has_no_id():
    tracker = Tracker(min_hits=3)
    here, ghost = box_at([100, 100]), box_at([500, 100])
    ids = run(tracker, [[here], [here, ghost], [here, ghost], [here], [here, ghost], [here, ghost]])
    assert [frame[1:] for frame in ids] == [[], [-1], [-1], [], [-1], [-1]]
    assert run(tracker, [[here, ghost]]) == [[1, 2]]  # no number was spent on the flicker


def test_crossing_people_keep_their_ids():
    assert run(Tracker(), crossing()) == [[1, 2]] * 60


def test_ids_are_stable_under_noise():
    """Corners off by 4 pixels (a fifteenth of the width): no id changes in 20 clips of 60 frames."""
    changes = 0
    for seed in range(20):
        ids = run(Tracker(), crossing(noise=4.0, rows_apart=60.0, seed=seed))
        changes += sum(frame != ids[0] for frame in ids)
    assert changes == 0


def test_order_of_detections_does_not_matter():
    frames = crossing()
    swapped = [boxes[::-1] if t % 2 else boxes for t, boxes in enumerate(frames)]
    ids = run(Tracker(), swapped)
    assert all(frame == ([2, 1] if t % 2 else [1, 2]) for t, frame in enumerate(ids))


@pytest.mark.parametrize('gap, kept', [(10, True), (30, True), (31, False)])
def test_occlusion_gap(gap, kept):
    """A walker is hidden for some frames: known again up to ``max_age``, a new person after it."""
    walk = [[box_at([100 + 4 * t, 200])] for t in range(20 + gap + 20)]
    hidden = walk[:20] + [[]] * gap + walk[20 + gap :]
    ids = run(Tracker(max_age=30), hidden)
    after = ids[20 + gap :]
    assert ids[:20] == [[1]] * 20 and ids[20 : 20 + gap] == [[]] * gap
    assert after == [[1]] * 20 if kept else after == [[-1]] + [[2]] * 19


def test_low_scores_continue_a_person_and_begin_none():
    tracker = Tracker(high_score=0.5, low_score=0.1)
    here, shadow = box_at([100, 100]), box_at([400, 100])
    assert tracker.update([here], [0.9]).tolist() == [1]
    for _ in range(5):
        assert tracker.update([here, shadow], [0.3, 0.3]).tolist() == [1, -1]
    assert tracker.update([here], [0.05]).tolist() == [-1]


def test_high_score_comes_first():
    """Of two boxes on a person the one of high score wins, even if the other fits better."""
    tracker = Tracker()
    here = box_at([100, 100])
    tracker.update([here], [0.9])
    assert tracker.update([here, here + 6], [0.3, 0.9]).tolist() == [-1, 1]


def test_entering_and_leaving():
    tracker = Tracker(max_age=5)
    a, b, c = (box_at([x, 100]) for x in (100, 400, 700))
    run(tracker, [[a, b]] * 5)
    assert run(tracker, [[b, c]] * 2) == [[2, -1], [2, 3]]
    run(tracker, [[b, c]] * 5)
    assert run(tracker, [[a, b, c]] * 2) == [[-1, 2, 3], [4, 2, 3]]  # a came back too late


def test_who_turns_back_while_hidden_is_found_where_last_seen():
    walk = [[box_at([100 + 8 * t, 200])] for t in range(20)]
    assert run(Tracker(), walk + [[]] * 15 + walk[-3:]) == [[1]] * 20 + [[]] * 15 + [[1]] * 3


def test_gate_stops_a_jump():
    """A box that overlaps but grew fourfold within a frame is somebody else, unless the gate is wide."""
    small, large = box_at([100, 100], np.array([60.0, 60.0])), box_at([100, 100], np.array([130.0, 130.0]))
    assert run(Tracker(min_similarity=0.1), [[small]] * 20 + [[large]])[-1] == [-1]
    assert run(Tracker(min_similarity=0.1, gate=1e9), [[small]] * 20 + [[large]])[-1] == [1]


def overlap_clip(seed, frames=80):
    """Two people whose boxes coincide in the middle, one with the arms up: pixels' noise of 3 on all."""
    rng = np.random.default_rng(seed)
    arms_up = POSE.copy()
    arms_up[7:11, 1] = [0.1, 0.1, -0.05, -0.05]
    poses = np.stack([POSE, arms_up])
    for t in range(frames):
        # They meet, stop for 20 frames at the same place and go back where they came from.
        distance = 6.0 * max(0, abs(t - frames / 2) - 10)
        boxes = np.stack([box_at([400 - distance, 200]), box_at([400 + distance, 200])])
        keypoints = boxes[:, None, :2] + poses * SIZE + rng.normal(0, 3, (2, 17, 2))
        order = rng.permutation(2)
        yield order, (boxes + rng.normal(0, 3, (2, 4)))[order], keypoints[order]


def swaps(use_keypoints):
    """Clips of 20 after which the two have exchanged their ids."""
    count = 0
    for seed in range(20):
        tracker, ids = Tracker(), []
        for order, boxes, keypoints in overlap_clip(seed):
            found = tracker.update(boxes, np.full(2, SCORE), keypoints if use_keypoints else None)
            ids.append(found[np.argsort(order)].tolist())
        count += ids[-1] != ids[0]
    return count


def test_keypoints_tell_apart_people_whose_boxes_coincide():
    assert swaps(use_keypoints=True) == 0
    assert swaps(use_keypoints=False) >= 5


def stride_errors(corrected):
    """Pixels between the centres of predicted and true boxes; a detector sees every fifth frame."""
    tracker, errors = Tracker(min_hits=1), []
    for t in range(60):
        true = box_at([100 + 4 * min(t, 60 - t), 200])
        if t % 5 == 0:
            assert tracker.update([true], [SCORE]).tolist() == [1]
            continue
        boxes, ids = tracker.predict()
        assert ids.tolist() == [1] and boxes.shape == (1, 4) and boxes.dtype == np.float32
        errors.append(abs(boxes[0, [0, 2]].mean() - true[[0, 2]].mean()))
        if corrected:
            points = (true[:2] + POSE * SIZE)[None]
            tracker.correct(ids, *boxes_from_keypoints(points, np.ones((1, 17))), keypoints=points)
    assert len(errors) == 48
    return np.array(errors)


def test_stride_with_boxes_from_keypoints():
    """Somebody turns around between two detections: the keypoints tell at once, the detector later."""
    corrected, alone = stride_errors(True), stride_errors(False)
    assert np.median(corrected) < 0.5 and corrected.max() < 12
    assert alone.max() > 25


def test_newcomers_do_not_vanish_between_detections():
    tracker, a, b = Tracker(min_hits=3), box_at([100, 100]), box_at([400, 100])
    assert run(tracker, [[a], [a, b]]) == [[1], [1, -1]]
    boxes, ids = tracker.predict()
    assert ids.tolist() == [1, 2] and np.allclose(boxes[1], b, atol=1)
    assert run(tracker, [[b, a]]) == [[2, 1]]


def test_who_is_not_found_is_not_predicted_until_detected():
    tracker = Tracker()
    a, b = box_at([100, 100]), box_at([400, 100])
    tracker.update([a, b], [SCORE] * 2)
    boxes, ids = tracker.predict()
    assert ids.tolist() == [1, 2]
    tracker.correct(ids, np.stack([boxes[0], np.full(4, np.nan)]), valid=[True, False])
    assert tracker.predict()[1].tolist() == [1]
    assert tracker.update([b, a], [SCORE] * 2).tolist() == [2, 1]


def test_predict_moves_on_and_skipped_frames_count():
    walk = [[box_at([100 + 4 * t, 200])] for t in range(30)]
    tracker, other = Tracker(), Tracker()
    run(tracker, walk)
    run(other, walk)
    for _ in range(3):
        boxes, _ = tracker.predict()
    skipped, _ = other.predict(frames=3)
    assert np.allclose(boxes, skipped) and np.allclose(boxes, box_at([100 + 4 * 32, 200]), atol=2)


def test_nobody():
    tracker = Tracker()
    for boxes in ([], np.zeros((0, 4))):
        ids = tracker.update(boxes, [], keypoints=np.zeros((0, 17, 2)), keypoint_scores=np.zeros((0, 17)))
        assert ids.shape == (0,)
    boxes, ids = tracker.predict()
    assert boxes.shape == (0, 4) and ids.shape == (0,)
    tracker.correct(ids, boxes)
    person = (box_at([100, 100])[:2] + POSE * SIZE)[None]
    run(tracker, [[box_at([100, 100])]], keypoints=person)
    assert tracker.update([], [], keypoints=[]).shape == (0,)
    assert run(tracker, [[box_at([100, 100])]] * 2, keypoints=person) == [[-1], [1]]


def test_keypoints_may_come_and_go():
    here = box_at([100, 100])
    person = (here[:2] + POSE * SIZE)[None]
    tracker = Tracker()
    assert (
        run(tracker, [[here]]) == run(tracker, [[here]], keypoints=person) == run(tracker, [[here]]) == [[1]]
    )
    there = box_at([600, 100])
    assert run(tracker, [[here, there]] * 2) == [[1, -1], [1, 2]]
    with pytest.raises(ValueError, match='3 keypoints now, 17 before'):
        run(tracker, [[here]], keypoints=person[:, :3])


def test_reset_and_determinism():
    tracker = Tracker()
    first = run(tracker, crossing(noise=3.0))
    tracker.reset()
    assert run(tracker, crossing(noise=3.0)) == first == run(Tracker(), crossing(noise=3.0))


def test_two_hundred_people_in_time():
    """200 people who walk at random: no id changes, and a frame takes less than a tenth of a second."""
    rng = np.random.default_rng(0)
    columns, rows = np.meshgrid(np.arange(20) * 120.0, np.arange(10) * 260.0)
    centers = np.stack([columns.ravel(), rows.ravel()], axis=1) + 200
    velocity = rng.normal(0, 1, centers.shape)
    tracker, seconds = Tracker(), []
    for t in range(30):
        boxes = np.stack(
            [box_at(center) for center in centers + velocity * t + rng.normal(0, 2, centers.shape)]
        )
        points = boxes[:, None, :2] + POSE * SIZE
        begin = time.perf_counter()
        ids = tracker.update(boxes, np.full(200, SCORE), points)
        seconds.append(time.perf_counter() - begin)
        assert ids.tolist() == list(range(1, 201))
    assert np.median(seconds) < 0.1, np.median(seconds)


def test_bad_input_is_named():
    tracker = Tracker()
    box = box_at([100, 100])
    with pytest.raises(ValueError, match=r'boxes\[0\]'):
        tracker.update([[0, 0, np.nan, 5]], [1.0])
    with pytest.raises(ValueError, match=r'scores must be \(1,\)'):
        tracker.update([box], [0.5, 0.5])
    with pytest.raises(ValueError, match=r'scores\[0\] = nan'):
        tracker.update([box], [np.nan])
    with pytest.raises(ValueError, match='keypoints must be'):
        tracker.update([box], [0.5], keypoints=np.zeros((2, 17, 2)))
    with pytest.raises(ValueError, match='frames=0'):
        tracker.update([box], [0.5], frames=0)
    with pytest.raises(ValueError, match='must be different ids'):
        tracker.correct([7], [box])
    with pytest.raises(ValueError, match='low_score'):
        Tracker(high_score=0.1, low_score=0.5)
    with pytest.raises(ValueError, match='min_hits=0'):
        Tracker(min_hits=0)
    assert tracker.update([box], [0.9]).tolist() == [1]  # refused frames left nothing behind
