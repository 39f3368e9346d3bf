"""Boxes of people that the user has, as a :class:`mmhier.detection.Detector`.

| given | boxes of |
|-------|----------|
| results.json, results.jsonl of ``mmhier infer`` | the frames in it |
| another JSON file, or a function                | see :mod:`mmhier.detection.loading` |
| array (N, 4), or (N, 5) with scores             | every frame |

Boxes are left, top, right, bottom in pixels; N people.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmhier.apis.result_files import read_results
from mmhier.apis.results import SCHEMA
from mmhier.detection import Detector, load_detector
from mmhier.detection.detector import FunctionDetector, select
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
    """Boxes of an earlier run."""

    def __init__(self, path: Path, score_threshold: float):
        self._path = path
        self._threshold = score_threshold
        self._found: dict[str, dict[int, list[list[float]]]] = {}
        for result in read_results(path):
            rows = [[*person.bbox.tolist(), person.bbox_score] for person in result.people]
            self._found.setdefault(result.source, {})[result.frame_index] = rows
        self._by_name: dict[str, list[str]] = {}
        for source in self._found:
            self._by_name.setdefault(Path(source).name, []).append(source)

    def __call__(self, image: np.ndarray, source: str = '', frame_index: int = 0):
        """See :class:`mmhier.detection.Detector`."""
        if source not in self._found:  # moved since, perhaps
            name = Path(source).name
            known = self._by_name.get(name, [])
            if len(known) != 1:
                several = f', but of several files of that name: {", ".join(known[:3])}' if known else ''
                raise ValueError(f'{self._path} has no results of {source or name}{several}')
            source = known[0]
        rows = np.array(self._found[source].get(frame_index, []), np.float32).reshape(-1, 5)
        return select(rows[:, :4], rows[:, 4], self._threshold)


def _is_results(path: Path) -> bool:
    with open_file(path) as file:
        start = file.read(200)
    return json.dumps(SCHEMA).encode() in start
