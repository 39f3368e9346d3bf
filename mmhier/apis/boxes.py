"""Boxes of people that the user has: from a file, a dictionary, an array or a function.

Boxes are left, top, right, bottom in pixels; N people.

| given                                             | boxes of |
|---------------------------------------------------|----------|
| 'whole'                                           | every frame: the whole image is one person |
| array or list (N, 4) or (N, 5), with scores       | every frame |
| {name: boxes}, a dictionary or a JSON file        | images, by path, file name or stem |
| {name: {frame number: boxes}} or {name: [boxes of frame 0, boxes of frame 1, ...]} | videos |
| results.json or results.jsonl of ``mmhier infer`` | the frames in it |
| COCO annotations                                  | images, by ``file_name`` |
| COCO results, ``[{image_id, bbox, score}, ...]``  | images, by the number in their names |
| function of a :class:`mmhier.media.Frame`         | what it returns, (N, 4) or (N, 5) |

Of COCO files category 1, people, is used, and boxes there are left, top, width, height.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmhier.media.frames import Frame

Boxes = tuple[np.ndarray, np.ndarray]
BoxSource = Callable[[Frame], Boxes]

_PERSON = 1


def box_source(given: Any, min_score: float = 0.0) -> BoxSource:
    """Make a function that returns boxes (N, 4) and scores (N,) of a frame, float32.

    Args:
        given: See the top of this file.
        min_score: Boxes with a lower score are left out.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its content is of no kind that is listed there. When the function is called: if there
            is nothing about a frame.
    """
    lookup = _lookup(given)

    def find(frame: Frame) -> Boxes:
        boxes, scores = split_scores(lookup(frame), f'boxes of {frame.source.name}')
        kept = scores >= min_score
        return boxes[kept], scores[kept]

    return find


def usable(boxes: np.ndarray) -> np.ndarray:
    """Which boxes (N, 4) are finite and have an area: (N,) bool."""
    return np.isfinite(boxes).all(axis=1) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1)


def split_scores(rows: Any, name: str) -> Boxes:
    """Boxes (N, 4) and scores (N,), 1 where there are none, of rows of four or five numbers.

    Raises:
        ValueError: If they are something else.
    """
    try:
        table = np.asarray(rows, np.float32)
    except (TypeError, ValueError):
        table = np.zeros(1)
    if not table.size:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    if table.ndim != 2 or table.shape[1] not in (4, 5):
        raise ValueError(f'{name}: expected rows of left, top, right, bottom and perhaps a score, pixels')
    scores = table[:, 4] if table.shape[1] == 5 else np.ones(len(table), np.float32)
    return table[:, :4], scores


def _lookup(given: Any) -> Callable[[Frame], Any]:
    if isinstance(given, str) and given == 'whole':
        return _whole_image
    if callable(given):
        return given
    if isinstance(given, dict):
        return _from_names(given, 'the boxes')
    if isinstance(given, str | Path):
        return _from_file(Path(given))
    fixed = np.concatenate([part.reshape(len(part), -1) for part in split_scores(given, 'boxes')], axis=1)
    return lambda frame: fixed


def _whole_image(frame: Frame) -> np.ndarray:
    height, width = frame.image.shape[:2]
    return np.array([[0, 0, width, height]], np.float32)


def _from_file(path: Path) -> Callable[[Frame], Any]:
    if not path.is_file():
        raise FileNotFoundError(f'box file {path} does not exist')
    if path.suffix == '.jsonl':
        return _from_results(path)
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except ValueError as error:
        raise ValueError(f'box file {path} is not JSON: {error}') from None
    if isinstance(content, list):
        return _from_coco_results(content, path)
    if not isinstance(content, dict):
        raise ValueError(f'box file {path} holds neither a dictionary nor COCO results')
    if content.get('schema'):
        return _from_results(path)
    if 'annotations' in content and 'images' in content:
        return _from_coco_annotations(content)
    return _from_names(content, str(path))


def _from_results(path: Path) -> Callable[[Frame], Any]:
    from mmhier.apis.result_files import read_results

    found: dict[str, dict[str, Any]] = {}
    for result in read_results(path):
        rows = [[*person.bbox.tolist(), person.bbox_score] for person in result.people]
        found.setdefault(result.source, {})[str(result.frame_index)] = rows
    return _from_names(found, str(path))


def _from_coco_annotations(content: dict[str, list[dict]]) -> Callable[[Frame], Any]:
    names = {image['id']: image['file_name'] for image in content['images']}
    found: dict[str, list] = {name: [] for name in names.values()}
    for annotation in content['annotations']:
        if annotation.get('category_id', _PERSON) == _PERSON and not annotation.get('iscrowd'):
            found[names[annotation['image_id']]].append(_corners(annotation['bbox']))
    return _from_names(found, 'the annotation file')


def _from_coco_results(content: list[dict], path: Path) -> Callable[[Frame], Any]:
    found: dict[int, list] = {}
    try:
        for entry in content:
            if entry.get('category_id', _PERSON) == _PERSON:
                row = [*_corners(entry['bbox']), entry.get('score', 1.0)]
                found.setdefault(int(entry['image_id']), []).append(row)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f'box file {path} is no list of COCO results: {error!r}') from None

    def find(frame: Frame) -> list:
        digits = ''.join(c if c.isdigit() else ' ' for c in Path(frame.source.name).stem).split()
        if frame.source.kind != 'image' or not digits:
            raise ValueError(
                f'{path} names images by number, and {frame.source.name} has none in its name; give boxes as '
                '{"file": [[left, top, right, bottom, score], ...]}'
            )
        return found.get(int(digits[-1]), [])  # nobody was detected

    return find


def _from_names(table: dict[str, Any], origin: str) -> Callable[[Frame], Any]:
    def find(frame: Frame) -> Any:
        path = Path(frame.source.name)
        for name in (str(path), path.name, path.stem):
            if name in table:
                return _of_frame(table[name], frame)
        raise ValueError(f'{origin}: nothing about {path.name}, neither as {path} nor by its file name')

    return find


def _of_frame(entry: Any, frame: Frame) -> Any:
    if isinstance(entry, dict):
        return entry.get(str(frame.index), entry.get(frame.index, []))
    is_nested = bool(entry) and any(isinstance(row, list | tuple) and _is_table(row) for row in entry)
    if frame.source.kind == 'video' and (is_nested or any(len(row) == 0 for row in entry)):
        return entry[frame.index] if frame.index < len(entry) else []
    return entry


def _is_table(row: Any) -> bool:
    return bool(row) and isinstance(row[0], list | tuple)


def _corners(bbox: list[float]) -> list[float]:
    left, top, width, height = bbox
    return [left, top, left + width, top + height]
