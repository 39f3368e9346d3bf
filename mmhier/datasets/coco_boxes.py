"""Boxes of a detector for an evaluation (``bbox_file``), brought into agreement with the annotation file.

A list of COCO results: ``image_id``, ``category_id``, ``bbox`` (x, y, width, height in pixels) and ``score``.
Boxes of other things than people, without area, or beside the picture are left out, counted and said;
nothing that could mean two things is used.
"""

import math
import os
from typing import Any

import numpy as np

from mmhier.datasets.coco_file import read_large_json
from mmhier.datasets.coco_values import Repairs, maybe_float, maybe_int, short

_BEYOND = 1.02  # a box may be larger than the picture by this factor and 2 pixels


def read_boxes(path: str | os.PathLike, annotations: dict[str, Any]) -> tuple[list[dict], bool]:
    """Read and check a file of boxes.

    Args:
        path: The file.
        annotations: Content of the annotation file, from :func:`mmhier.datasets.coco_file.take_coco`.

    Returns:
        Boxes with ``image_id``, ``category_id``, ``bbox`` of four and ``score``; and whether MMPose's own
        reader would use the same.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds something else, no box of a person, or a box of which the meaning is unclear.
    """
    path = os.fspath(path)
    content = read_large_json(path)
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        raise ValueError(
            f'{path} holds {short(content)}, expected a list of COCO results, each with image_id, '
            'category_id, bbox and score'
        )
    repairs = Repairs(path)
    images = {image['id']: image for image in annotations['images']}
    rows = [_row(one, index, images, path, repairs) for index, one in enumerate(content)]
    kept = _people(rows, annotations, path, repairs)
    kept = _inside(kept, images, path, repairs)
    if not kept:
        raise ValueError(f'{path}: none of its {len(rows)} boxes is that of a person in the pictures')
    repairs.say()
    boxes = [row for row, _ in kept]
    stock = [one for one in content if one.get('category_id') == 1]
    same = len(stock) == len(boxes) and all(
        row['category_id'] == 1
        and all(row[name] == one[name] for name in ('image_id', 'score'))
        and row['bbox'] == one['bbox'][:4]
        for one, row in zip(stock, boxes, strict=True)
    )
    return boxes, same


def _row(one: dict, index: int, images: dict[int, dict], path: str, repairs: Repairs) -> tuple[dict, int]:
    """A checked box, and its place in the file."""
    where = f'{path}: box {index + 1} of the list'
    missing = [name for name in ('image_id', 'bbox', 'score') if one.get(name) is None]
    if missing:
        raise ValueError(f'{where} has no {", ".join(missing)}')
    image = maybe_int(one['image_id'])
    if image not in images:
        raise ValueError(
            f'{where} is of image {short(one["image_id"])}, which the annotation file does not list; boxes '
            'and annotations have to be of the same pictures, with the same ids'
        )
    box = one['bbox']
    numbers = [maybe_float(value) for value in box[:4]] if isinstance(box, list) else []
    score = maybe_float(one['score'])
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise ValueError(f'{where} has the bbox {short(box)}, expected x, y, width and height in pixels')
    if not math.isfinite(score):
        raise ValueError(f'{where} has the score {short(one["score"])}, expected a finite number')
    if (
        isinstance(one['image_id'], str)
        or isinstance(one['score'], str)
        or any(isinstance(v, str) for v in box)
    ):
        repairs.note('numbers written as text were read as numbers', f'box {index + 1}')
    return dict(image_id=image, category_id=one.get('category_id'), bbox=numbers, score=score), index


def _people(
    rows: list[tuple[dict, int]], annotations: dict[str, Any], path: str, repairs: Repairs
) -> list[tuple[dict, int]]:
    """Boxes of people, with the category that the annotation file has for them."""
    listed = annotations.get('categories') or [dict(id=1, name='person')]
    names = {str(one.get('name', '')).lower(): one['id'] for one in listed}
    people = [names['person']] if 'person' in names else [one['id'] for one in listed]
    person = people[0]
    numbers = {}
    for row, index in rows:
        given = row['category_id']
        if isinstance(given, list | dict):
            raise ValueError(f'{path}: box {index + 1} of the list has the category_id {short(given)}')
        if given not in numbers:
            number = maybe_int(given)
            numbers[given] = person if given is None else names.get(str(given).lower(), number)
    if not set(numbers.values()) & set(people):
        if len(numbers) != 1 or len(people) != 1:
            raise ValueError(
                f'{path}: none of its {len(rows)} boxes is of a person: their category_id are '
                f'{sorted(map(str, numbers))[:6]}, that of a person is {people} in the annotation file'
            )
        given = next(iter(numbers))
        repairs.note(f'the only category_id {given!r} was read as {person}, person', 'box 1', len(rows))
        numbers = {given: person}
    kept = []
    for row, index in rows:
        number = numbers[row['category_id']]
        if number in people:
            kept.append((dict(row, category_id=number), index))
        else:
            kind = f'boxes of other things than people (category_id {row["category_id"]!r}) are left out'
            repairs.note(kind, f'box {index + 1}')
    return kept


def _inside(
    rows: list[tuple[dict, int]], images: dict[int, dict], path: str, repairs: Repairs
) -> list[tuple[dict, int]]:
    """Boxes that cover a part of their picture."""
    boxes = np.array([row['bbox'] for row, _ in rows], float).reshape(-1, 4)
    if len(boxes) and np.abs(boxes).max() <= 1 and (boxes % 1).any():
        raise ValueError(
            f'{path}: its boxes, such as {rows[0][0]["bbox"]}, look like fractions of the picture: multiply '
            'them by its width and height'
        )
    owners = [images[row['image_id']] for row, _ in rows]
    sizes = np.array([(one.get('width', np.inf), one.get('height', np.inf)) for one in owners], float)
    sizes = sizes.reshape(-1, 2)
    low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    beyond = (high > _BEYOND * sizes + 2).any(1)
    corners = (boxes[:, 2:] > low).all() and (boxes[:, 2:] <= _BEYOND * sizes + 2).all()
    if corners and beyond.sum() >= max(0.1 * len(rows), 1):
        row, index = rows[int(np.flatnonzero(beyond)[0])]
        raise ValueError(
            f'{path}: {int(beyond.sum())} of {len(rows)} boxes leave their picture (first: box {index + 1}, '
            f'{row["bbox"]}), and all would lie inside as x1, y1, x2, y2. bbox is x, y, width, height: write '
            '[x1, y1, x2 - x1, y2 - y1]'
        )
    covers = ((np.minimum(high, sizes) - np.maximum(low, 0)) > 0).all(1)
    for place in np.flatnonzero(~covers).tolist():
        row, index = rows[place]
        repairs.note(
            'boxes without area or beside their picture are left out', f'box {index + 1}, {row["bbox"]}'
        )
    return [row for row, covered in zip(rows, covers.tolist(), strict=True) if covered]
