"""Stable ids for people in a video: a Kalman filter per person and an assignment per frame.

As in ByteTrack (Zhang et al., ECCV 2022), boxes with a high score are assigned first and those with a low
score only to people who are still without one: a half-hidden person keeps the id, and a shadow starts none.
With keypoints, similarity is the mean of box IoU and object keypoint similarity, which tells apart people
whose boxes coincide. There is no randomness: the same input gives the same ids.

Boxes are x1 y1 x2 y2 in pixels, keypoints x y in pixels; time is counted in frames, and parts of them where
their rate varies.
"""

import numpy as np

from mmhier.geometry.boxes import check_boxes, check_scores
from mmhier.geometry.similarity import box_iou, default_sigmas, object_keypoint_similarity
from mmhier.tracking import kalman
from mmhier.tracking.association import check_keypoints, match

NO_ID = -1

# Lowest IoU of a box with that of somebody who is not where expected, when last seen.
LAST_SEEN_IOU = 0.4


class Tracker:
    """Follows people from frame to frame.

    Each frame is either a call of :meth:`update`, with detections, or one of :meth:`predict`, without; after
    the latter, :meth:`correct` may say where those people were found. A person has an id after ``min_hits``
    detections, in the first frame and before :meth:`predict` after one, and keeps it until unseen for more
    than ``max_age`` frames. Ids count up from 1 and are not used twice.

    Args:
        high_score: Boxes from here on are assigned first, and only they begin a new person.
        low_score: Boxes below are ignored.
        min_similarity: Lowest similarity of a person to a box of high score.
        min_low_similarity: Lowest similarity of a person to a box of low score.
        min_hits: Detections in consecutive detector frames until a person has an id.
        max_age: Frames for which an unseen person is remembered.
        gate: Largest squared Mahalanobis distance of a box to where the filter expects it, of four degrees of
            freedom; the default is exceeded by one measurement in ten thousand.
        sigmas: (K,), spread of each keypoint (see ``object_keypoint_similarity``); by default COCO's for 17.
        keypoint_threshold: Keypoints with a lower score are not compared.

    Raises:
        ValueError: If a number is outside its range.
    """

    def __init__(
        self,
        high_score: float = 0.5,
        low_score: float = 0.1,
        min_similarity: float = 0.2,
        min_low_similarity: float = 0.5,
        min_hits: int = 2,
        max_age: int = 30,
        gate: float = 23.5,
        sigmas: np.ndarray | None = None,
        keypoint_threshold: float = 0.3,
    ):
        if not low_score <= high_score:
            raise ValueError(f'low_score={low_score} must not exceed high_score={high_score}')
        if min_hits < 1 or max_age < 0:
            raise ValueError(f'min_hits={min_hits} must be at least 1 and max_age={max_age} at least 0')
        self.high_score = high_score
        self.low_score = low_score
        self.min_similarity = min_similarity
        self.min_low_similarity = min_low_similarity
        self.min_hits = min_hits
        self.max_age = max_age
        self.gate = gate
        self.sigmas = sigmas
        self.keypoint_threshold = keypoint_threshold
        self.reset()

    def reset(self) -> None:
        """Forget everybody, as before a new video; ids start again from 1."""
        self._state = kalman.initiate(np.zeros((0, 4)))
        self._ids = np.zeros(0, dtype=np.int64)  # NO_ID until confirmed
        self._hits = np.zeros(0, dtype=np.int64)
        self._age = np.zeros(0)  # frames since last seen
        self._seen = np.zeros(0, dtype=bool)  # in the latest frame that could tell
        self._last_boxes = np.zeros((0, 4))  # when last seen
        self._keypoints: np.ndarray | None = None  # (M, K, 2) relative to the box, NaN where not seen
        self._next_id = 1
        self._first = True

    def update(
        self,
        boxes: np.ndarray,
        scores: np.ndarray,
        keypoints: np.ndarray | None = None,
        keypoint_scores: np.ndarray | None = None,
        frames: float = 1,
    ) -> np.ndarray:
        """Take in the detections of the next frame.

        Args:
            boxes: (N, 4).
            scores: (N,).
            keypoints: (N, K, 2); by default only boxes are compared.
            keypoint_scores: (N, K); by default all keypoints are seen.
            frames: Frames since the last call, more than one if some were skipped, less if they come fast.

        Returns:
            (N,) int64, the id of each detection; -1 where it has none (yet).

        Raises:
            ValueError: If a box has no area, a number is not finite, or shapes do not match.
        """
        boxes = check_boxes(boxes)
        scores = check_scores(scores, len(boxes))
        keypoints = self._visible(keypoints, keypoint_scores, len(boxes))
        self._advance(frames)
        similarity = self._similarity(boxes, keypoints)

        owner = np.full(len(boxes), -1)  # row of each detection
        confirmed = self._ids != NO_ID
        high, low = scores >= self.high_score, (scores >= self.low_score) & (scores < self.high_score)
        seen_before = self._seen.copy()
        self._seen[:] = False
        self._assign(similarity, confirmed, high, self.min_similarity, owner)
        self._assign(similarity, confirmed & seen_before, low, self.min_low_similarity, owner)
        self._assign(box_iou(self._last_boxes, boxes), confirmed, high, LAST_SEEN_IOU, owner)
        self._assign(similarity, ~confirmed, high, self.min_similarity, owner)

        found = owner >= 0
        self._take_in(owner[found], boxes[found], keypoints[found] if keypoints is not None else None)
        self._hits[owner[found]] += 1
        self._begin(boxes, keypoints, high & ~found, owner)
        rows = owner[owner >= 0]
        self._number(rows if self._first else rows[self._hits[rows] >= self.min_hits])
        ids = np.where(owner >= 0, self._ids[owner] if len(self._ids) else NO_ID, NO_ID)
        self._forget()
        self._first = False
        return ids

    def predict(self, frames: float = 1) -> tuple[np.ndarray, np.ndarray]:
        """Advance to a frame in which no detector runs.

        Args:
            frames: Frames since the last call.

        Returns:
            Boxes (M, 4) float32 and ids (M,) int64 of the people who were seen last time. Those without an id
            get one, so that nobody vanishes until the next detection.
        """
        self._advance(frames)
        self._forget()
        self._number(np.flatnonzero(self._seen))
        return self._state.boxes[self._seen].astype(np.float32), self._ids[self._seen].copy()

    def correct(
        self,
        ids: np.ndarray,
        boxes: np.ndarray,
        valid: np.ndarray | None = None,
        keypoints: np.ndarray | None = None,
        keypoint_scores: np.ndarray | None = None,
    ) -> None:
        """Say where the people of :meth:`predict` were found, as with :func:`boxes_from_keypoints`.

        People who are not mentioned, or not found, leave :meth:`predict` until a detection brings them back.

        Args:
            ids: (M,).
            boxes: (M, 4).
            valid: (M,) bool, who was found; by default everybody.
            keypoints: (M, K, 2).
            keypoint_scores: (M, K).

        Raises:
            ValueError: If an id is unknown or twice, a box has no area, or shapes do not match.
        """
        ids = np.asarray(ids, dtype=np.int64).reshape(-1)
        valid = np.ones(len(ids), bool) if valid is None else np.asarray(valid, dtype=bool)
        boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
        if not len(ids) == len(boxes) == len(valid):
            raise ValueError(f'{len(ids)} ids, {len(boxes)} boxes and {len(valid)} flags do not match')
        boxes = check_boxes(boxes[valid])
        keypoints = self._visible(keypoints, keypoint_scores, len(ids))
        row_of = {track_id: row for row, track_id in enumerate(self._ids.tolist()) if track_id != NO_ID}
        unknown = [track_id for track_id in ids.tolist() if track_id not in row_of]
        if unknown or len(set(ids.tolist())) != len(ids):
            raise ValueError(f'ids={ids.tolist()} must be different ids that predict() returned')
        self._seen[:] = False
        rows = np.array([row_of[track_id] for track_id in ids[valid].tolist()], dtype=np.int64)
        self._take_in(rows, boxes, None if keypoints is None else keypoints[valid])

    def _advance(self, frames: float) -> None:
        if not frames > 0:
            raise ValueError(f'frames={frames} must be above 0')
        self._state = kalman.predict(
            kalman.hold_size(self._state, ~self._seen), min(frames, self.max_age + 1)
        )
        self._age += frames

    def _visible(
        self, keypoints: np.ndarray | None, scores: np.ndarray | None, count: int
    ) -> np.ndarray | None:
        """Checked keypoints (count, K, 2), NaN where not seen; None if there are none, or nobody."""
        if keypoints is None:
            return None
        keypoints, scores = check_keypoints(keypoints, scores, count)
        return np.where((scores >= self.keypoint_threshold)[..., None], keypoints, np.nan) if count else None

    def _similarity(self, boxes: np.ndarray, keypoints: np.ndarray | None) -> np.ndarray:
        """(M, N) similarity of people and detections, -inf outside the gate."""
        expected = self._state.boxes
        similarity = box_iou(expected, boxes)
        similarity[kalman.squared_distances(self._state, boxes) > self.gate] = -np.inf
        if keypoints is not None and self._keypoints is not None:
            if keypoints.shape[1] != self._keypoints.shape[1]:
                raise ValueError(
                    f'people have {keypoints.shape[1]} keypoints now, {self._keypoints.shape[1]} before'
                )
            sigmas = default_sigmas(keypoints.shape[1]) if self.sigmas is None else np.asarray(self.sigmas)
            if sigmas.shape != keypoints.shape[1:2]:
                raise ValueError(f'{len(sigmas)} sigmas and {keypoints.shape[1]} keypoints do not match')
            sides = expected[:, 2:] - expected[:, :2]
            moved = expected[:, None, :2] + self._keypoints * sides[:, None]
            rows, columns = np.nonzero(similarity > 0)  # whose boxes do not meet are not compared further
            iou = similarity[rows, columns]
            oks = object_keypoint_similarity(
                moved[rows], keypoints[columns], sides.prod(axis=1)[rows], sigmas
            )
            similarity[rows, columns] = np.where(np.isnan(oks), iou, (iou + oks) / 2)
        return similarity

    def _assign(
        self, similarity: np.ndarray, rows: np.ndarray, columns: np.ndarray, minimum: float, owner: np.ndarray
    ) -> None:
        """Match the chosen people, (M,) bool, who are not seen yet to the chosen detections, (N,) bool."""
        rows = np.flatnonzero(rows & ~self._seen)
        columns = np.flatnonzero(columns & (owner < 0))
        chosen_rows, chosen_columns = match(similarity[np.ix_(rows, columns)], minimum)
        owner[columns[chosen_columns]] = rows[chosen_rows]
        self._seen[rows[chosen_rows]] = True

    def _take_in(self, rows: np.ndarray, boxes: np.ndarray, keypoints: np.ndarray | None) -> None:
        """Correct the filters of the given rows."""
        self._state = kalman.replace_rows(self._state, rows, kalman.correct(self._state[rows], boxes))
        self._age[rows] = 0
        self._seen[rows] = True
        self._last_boxes[rows] = boxes
        if keypoints is not None:
            if self._keypoints is None:
                self._keypoints = np.full((len(self._state), keypoints.shape[1], 2), np.nan)
            self._keypoints[rows] = _relative(keypoints, boxes)

    def _begin(
        self, boxes: np.ndarray, keypoints: np.ndarray | None, new: np.ndarray, owner: np.ndarray
    ) -> None:
        """Begin a person for each chosen detection, (N,) bool, and note its row in ``owner``."""
        count = int(new.sum())
        owner[new] = len(self._state) + np.arange(count)
        self._state = kalman.concatenate(self._state, kalman.initiate(boxes[new]))
        self._ids = np.append(self._ids, np.full(count, NO_ID))
        self._hits = np.append(self._hits, np.ones(count, dtype=np.int64))
        self._age = np.append(self._age, np.zeros(count))
        self._seen = np.append(self._seen, np.ones(count, dtype=bool))
        self._last_boxes = np.concatenate([self._last_boxes, boxes[new]])
        if keypoints is not None and self._keypoints is not None:
            self._keypoints = np.concatenate([self._keypoints, _relative(keypoints[new], boxes[new])])
        elif self._keypoints is not None:
            nothing = np.full((count, *self._keypoints.shape[1:]), np.nan)
            self._keypoints = np.concatenate([self._keypoints, nothing])

    def _number(self, rows: np.ndarray) -> None:
        """Give ids to those of the rows that have none, in this order."""
        for row in rows.tolist():
            if self._ids[row] == NO_ID:
                self._ids[row] = self._next_id
                self._next_id += 1

    def _forget(self) -> None:
        """Drop people unseen for too long, and those without an id who were not seen again."""
        keep = (self._age <= self.max_age) & (self._seen | (self._ids != NO_ID))
        self._state, self._ids, self._hits = self._state[keep], self._ids[keep], self._hits[keep]
        self._age, self._seen, self._last_boxes = self._age[keep], self._seen[keep], self._last_boxes[keep]
        if self._keypoints is not None:
            self._keypoints = self._keypoints[keep]


def _relative(keypoints: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Keypoints (N, K, 2) in units of their boxes (N, 4), 0 to 1 inside."""
    return (keypoints - boxes[:, None, :2]) / (boxes[:, None, 2:] - boxes[:, None, :2])
