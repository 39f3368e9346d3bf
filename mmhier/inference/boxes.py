"""Boxes of people that the user has, as a :class:`mmhier.detection.Detector`.

| given | boxes of |
|-------|----------|
| results.json, results.jsonl of ``mmhier infer`` | the frames in it |
| another JSON file, or a function                | see :mod:`mmhier.detection.loading` |
| array (N, 4), or (N, 5) with scores             | every frame |

Boxes are left, top, right, bottom in pixels; N people.
"""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmhier.detection import Detector, load_detector
from mmhier.detection.detector import FunctionDetector, NotMentionedError, count_low_scores, select
from mmhier.detection.image_names import ImageNames
from mmhier.results.files import read_results
from mmhier.results.frame_result import SCHEMA
from mmhier.safe_files import open_file


def load_boxes(given: str | Path | Callable | np.ndarray | list, score_threshold: float = 0.0) -> Detector:
    """Make a detector of known boxes.

    Args:
        given: See the top of this file.
        score_threshold: Boxes with a lower score are dropped; those without a score have 1.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else.
    """
    if callable(given):
        return load_detector(given, score_threshold)
    if isinstance(given, str | Path):
        path = Path(given)
        if path.is_file() and _is_results(path):
            return _ResultBoxes(path, score_threshold)
        return load_detector(path, score_threshold)
    try:
        table = np.asarray(given, np.float32)
    except (TypeError, ValueError):
        raise ValueError(
            'boxes must be a file, a function, or an array (N, 4) or (N, 5): left, top, right, bottom, '
            f'score; got {str(given)[:80]}'
        ) from None
    if table.size and (table.ndim != 2 or table.shape[1] not in (4, 5)):
        raise ValueError(
            f'boxes must be (N, 4) or (N, 5), left, top, right, bottom, score; got {table.shape}'
        )
    table = table.reshape(-1, table.shape[-1] if table.size else 4)
    scores = table[:, 4] if table.shape[1] == 5 else np.ones(len(table))
    return FunctionDetector(lambda image: (table[:, :4], scores), score_threshold)


class _ResultBoxes:
    """Boxes of an earlier run; attributes as those of :class:`mmhier.detection.box_file.BoxFile`."""

    def __init__(self, path: Path, score_threshold: float):
        self.path = str(path)
        self.left_out: Counter[str] = Counter()
        self.used = self.count = 0
        self._threshold = score_threshold
        self._found: dict[str, dict[int, list[list[float]]]] = {}
        self._hw: dict[str, tuple[int, int]] = {}
        for result in read_results(path):
            rows = [[*person.bbox.tolist(), person.bbox_score] for person in result.people]
            self._found.setdefault(result.source, {})[result.frame_index] = rows
            self._hw[result.source] = result.image_hw
            self.count += len(rows)
        self._names = ImageNames(self._found)

    def __call__(self, image: np.ndarray, source: str = '', frame_index: int = 0):
        """See :class:`mmhier.detection.Detector`.

        Raises:
            NotMentionedError: If there are no results of the image.
            ValueError: If they are of one of another size.
        """
        self.check_size(source, (image.shape[1], image.shape[0]))
        name = self._find(source)
        rows = np.array(self._found[name].get(frame_index, []), np.float32).reshape(-1, 5)
        boxes, scores = select(rows[:, :4], rows[:, 4], self._threshold)
        count_low_scores(self.left_out, rows[:, 4], self._threshold)
        self.used += len(boxes)
        return boxes, scores

    def check_mentioned(self, source: str) -> None:
        """As that of :class:`mmhier.detection.box_file.BoxFile`."""
        self._find(source)

    def check_size(self, source: str, size_wh: tuple[int, int]) -> None:
        """As that of :class:`mmhier.detection.box_file.BoxFile`."""
        name = self._find(source)
        height, width = self._hw[name]
        if (width, height) != size_wh:
            raise ValueError(
                f'{self.path}: {name} has {width} x {height} pixels there, {source} has {size_wh[0]} x '
                f'{size_wh[1]}: the boxes are of another image; find them again on this one'
            )

    def _find(self, source: str) -> str:
        """The name that an image has in the file."""
        try:
            name = source if source in self._found else self._names.find(source)  # moved since, perhaps
        except ValueError as error:
            raise ValueError(f'{self.path}: {error}') from None
        if name is None:
            raise NotMentionedError(f'{self.path} has no results of {source}, but of {self.describe()}')
        return name

    def describe(self) -> str:
        """What the boxes are of, for messages."""
        return ', '.join([*self._found][:3]) or 'nothing'


def _is_results(path: Path) -> bool:
    with open_file(path) as file:
        start = file.read(4096)
    return re.search(rb'"schema"\s*:\s*"%s"' % re.escape(SCHEMA).encode(), start) is not None
