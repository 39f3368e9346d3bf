"""The numbers of people in an annotation file: keypoints, boxes, areas and crowds, in pixels of the picture.

Keypoints come first, since the rest matters of labelled people only. Whether keypoints lie in their boxes is
looked at for some thousand people, everything else for all.
"""

import math
from collections import Counter

import numpy as np

from mmhier.datasets.coco_values import CocoFile, Names, Repairs, maybe_float, short, tables
from mmhier.geometry.boxes import AREA_OF_BOX

KEYPOINT_FIELDS = ('keypoints', 'foot_kpts', 'face_kpts', 'lefthand_kpts', 'righthand_kpts')

_CROWD = {None: 0, 0: 0, 1: 1, '0': 0, '1': 1}  # 0 and 1 stand for False, True, 0.0 and 1.0, too
_BEYOND = 1.02  # a box may be larger than the picture by this factor and 2 pixels
_FARTHEST = 1e6  # pixels; no coordinate of a keypoint is beyond
_LARGEST = 1e10  # pixels; COCO's evaluation leaves out people that are larger
_COMPARED = 2000  # people whose keypoints are compared with their boxes, evenly chosen
_AROUND = 0.1  # keypoints may be outside of their box by this part of its sides


def repair_keypoints(file: CocoFile, names: Names, repairs: Repairs) -> np.ndarray:
    """Check keypoints and count them.

    Returns:
        (N,) number of labelled keypoints of each annotation; -1 where there is no field ``keypoints``.
    """
    annotations = file.content.get('annotations', [])
    labelled = np.full(len(annotations), -1)
    bodies = _fill_keypoints(file, names, repairs)
    for name in KEYPOINT_FIELDS:
        present = [index for index, one in enumerate(annotations) if one.get(name)]
        present = bodies if name == 'keypoints' else present
        for indices, table in tables(file, names, present, name, repairs):
            counts = _check_keypoints(file, names, indices, table, name, repairs)
            if name == 'keypoints':
                labelled[indices] = counts
    present = np.flatnonzero(labelled >= 0)
    for index, count in zip(present.tolist(), labelled[present].tolist(), strict=True):
        annotation = annotations[index]
        given = annotation.get('num_keypoints')
        if given is not None and (given == 0) != (count == 0):
            repairs.note(
                'num_keypoints that does not fit keypoints was counted again',
                f'{names[index]}: {given!r}, not {count}',
            )
        annotation['num_keypoints'] = count
    _check_fractions(file, present)
    return labelled


def _fill_keypoints(file: CocoFile, names: Names, repairs: Repairs) -> list[int]:
    """Flatten ``keypoints``, fill in those that are missing, and refuse those of another length.

    Returns:
        Places of annotations whose keypoints are x, y and visibility. Those of some data sets are something
        else (UBody's are pairs), for their own class to read; others find their number wrong.
    """
    annotations = file.content.get('annotations', [])
    lengths = Counter[tuple[int | None, int]]()  # of category and number of values
    for index, annotation in enumerate(annotations):
        row = annotation.get('keypoints')
        if not row:
            continue
        if not isinstance(row, list):
            raise ValueError(
                f'{file.path}: {names[index]} has the keypoints {short(row)}, expected a list of numbers'
            )
        if isinstance(row[0], list) and all(isinstance(part, list) and len(part) == 3 for part in row):
            row = annotation['keypoints'] = [value for part in row for value in part]
            repairs.note('keypoints as lists of x, y, visibility were made flat', names[index])
        lengths[annotation.get('category_id'), len(row)] += 1
        if len(row) not in file.numbers:
            file.numbers[len(row)] = names[index]
    usual = {category: count for (category, count), _ in reversed(lengths.most_common())}
    odd = len(usual) < len(lengths)
    for index, annotation in enumerate(annotations):
        row, count = annotation.get('keypoints'), usual.get(annotation.get('category_id'))
        if not row and count:
            annotation['keypoints'] = [0] * count
            repairs.note('annotations without keypoints count as not labelled', names[index])
        elif odd and row and len(row) != count:
            raise ValueError(
                f'{file.path}: {names[index]} has {len(row)} numbers in keypoints, most others {count}: x, y '
                'and visibility of every keypoint are expected, zeros for those that are not labelled'
            )
    return [
        index
        for index, annotation in enumerate(annotations)
        if (row := annotation.get('keypoints')) and len(row) % 3 == 0 and not isinstance(row[0], list)
    ]


def _check_keypoints(
    file: CocoFile, names: Names, indices: list[int], table: np.ndarray, name: str, repairs: Repairs
) -> np.ndarray:
    """Number (N,) of labelled keypoints in rows (N, 3 K)."""
    if table.shape[1] % 3:
        raise ValueError(
            f'{file.path}: {names[indices[0]]} has {table.shape[1]} numbers in {name}, no multiple of 3'
        )
    points = table.reshape(len(table), -1, 3)
    visible = points[..., 2]
    for row, column in np.argwhere(~((visible >= 0) & (visible <= 2)))[:1].tolist():
        raise ValueError(
            f'{file.path}: {names[indices[row]]} has the visibility {visible[row, column]:g} in {name} '
            f'(number {column + 1}), expected a finite number: 0 (not labelled), 1 (hidden) or 2 (visible)'
        )
    for row, column in np.argwhere((visible > 0) & _is_far(points))[:1].tolist():
        raise ValueError(
            f'{file.path}: {names[indices[row]]} has the coordinates {points[row, column, :2].tolist()} in '
            f'{name} (number {column + 1}), no pixels of a picture; give it visibility 0 or its place'
        )
    for row, column in np.argwhere((visible > 0) & (points[..., :2] == 0).all(2)).tolist():
        repairs.note(
            "labelled keypoints are at (0, 0); if that stands for 'not labelled', write visibility 0",
            f'{names[indices[row]]}, number {column + 1}',
        )
    for row, column in np.argwhere(~np.isfinite(points).all(2)).tolist():
        where = f'{names[indices[row]]}, number {column + 1}'
        if visible[row, column] > 0:
            raise ValueError(
                f'{file.path}: {names[indices[row]]} has a coordinate in {name} that is not a finite number '
                f'(number {column + 1}: {points[row, column].tolist()}); give it visibility 0 or coordinates'
            )
        file.content['annotations'][indices[row]][name][3 * column : 3 * column + 2] = [0, 0]
        repairs.note('coordinates of unlabelled keypoints that are not finite were read as 0', where)
    return (visible > 0).sum(1)


def _is_far(points: np.ndarray) -> np.ndarray:
    return np.isfinite(points).all(2) & (np.abs(points) > _FARTHEST).any(2)


def _check_fractions(file: CocoFile, labelled: np.ndarray) -> None:
    """Refuse a file whose coordinates are fractions of the picture."""
    annotations = file.content.get('annotations', [])
    people = [
        annotations[index]['keypoints']
        for index in labelled[:1000].tolist()
        if annotations[index]['num_keypoints']
    ]
    places = np.array([value for row in people for value in row[0::3] + row[1::3]], float)
    if len(places) and places.max() <= 1 and (places % 1).any():
        raise ValueError(
            f'{file.path}: no coordinate in keypoints is above 1 (first: {short(people[0])}): they seem to '
            'be fractions of the picture. Multiply them by its width and height'
        )


def repair_boxes(
    file: CocoFile, names: Names, images: dict[int, dict], labelled: np.ndarray, repairs: Repairs
) -> None:
    """Check boxes, and areas with them."""
    annotations = file.content.get('annotations', [])
    for annotation in annotations:
        if not annotation.get('bbox'):
            annotation['bbox'] = [0, 0, 0, 0]
    leaving, corners, first = 0, True, ''
    for indices, boxes in tables(file, names, list(range(len(annotations))), 'bbox', repairs, 4):
        bad = np.flatnonzero(~np.isfinite(boxes).all(1))
        if len(bad):
            index = indices[bad[0]]
            raise ValueError(
                f'{file.path}: {names[index]} has the bbox {annotations[index]["bbox"]}, not finite numbers: '
                'x, y, width and height in pixels are expected'
            )
        owners = [images[annotations[index]['image_id']] for index in indices]
        sizes = np.array([(one.get('width', np.inf), one.get('height', np.inf)) for one in owners], float)
        low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
        covered = np.minimum(high, sizes - 1) - np.maximum(low, 0)
        limits = np.minimum(sizes.prod(1), _LARGEST)
        _repair_areas(annotations, names, indices, boxes, limits, labelled[indices] > 0, repairs)
        crowd = np.array([_crowd(file.path, annotations[index], names[index]) for index in indices], bool)
        person = (labelled[indices] > 0) & ~crowd
        usable = (covered > 0).all(1)
        file.people += int((person & usable).sum())
        file.boxless += [
            f'{names[indices[row]]}: {annotations[indices[row]]["bbox"]}'
            for row in np.flatnonzero(person & ~usable)
        ]
        beyond = (high > _BEYOND * sizes + 2).any(1)
        fits = (boxes[:, 2:] > low).all(1) & (boxes[:, 2:] <= sizes + 1).all(1)
        corners = corners and bool(fits[person].all())
        leaving += int((person & beyond).sum())
        first = first or next((names[indices[row]] for row in np.flatnonzero(person & beyond)), '')
    people = file.people + len(file.boxless)
    if corners and people and leaving >= 0.1 * people and leaving:
        raise ValueError(
            f'{file.path}: {leaving} of {people} boxes leave their picture (first: {first}), and all would '
            'lie inside as x1, y1, x2, y2. bbox is x, y, width, height: write [x1, y1, x2 - x1, y2 - y1]'
        )


def misplaced(file: CocoFile, names: Names, labelled: np.ndarray) -> str:
    """Whether keypoints and boxes of most people are of other places."""
    annotations = file.content.get('annotations', [])
    people = [
        index
        for index in np.flatnonzero(labelled > 0).tolist()
        if min(annotations[index]['bbox'][2:]) > 0 and not annotations[index]['iscrowd']
    ]
    people = people[:: max(1, -(-len(people) // _COMPARED))]
    outside = []
    for index in people:
        points = np.array(annotations[index]['keypoints'], float).reshape(-1, 3)
        points = points[points[:, 2] > 0, :2]
        corner, size = np.array(annotations[index]['bbox'], float).reshape(2, 2)
        inside = ((points >= corner - _AROUND * size) & (points <= corner + (1 + _AROUND) * size)).all(1)
        if inside.mean() < 0.5:
            outside.append(index)
    if not outside or len(outside) < 0.5 * len(people):
        return ''
    first = f'{names[outside[0]]}, {annotations[outside[0]]["bbox"]}'
    return (
        f'{len(outside)} of {len(people)} people have most of their keypoints outside of their bbox (first: '
        f'{first})'
    )


def _repair_areas(
    annotations: list[dict],
    names: Names,
    indices: list[int],
    boxes: np.ndarray,
    limits: np.ndarray,
    labelled: np.ndarray,
    repairs: Repairs,
) -> None:
    """Take areas that are none from the boxes; what is not labelled needs no more than a number."""
    areas = (AREA_OF_BOX * np.clip(boxes[:, 2:], 0, None).prod(1)).tolist()
    for index, area, limit, counts in zip(indices, areas, limits.tolist(), labelled.tolist(), strict=True):
        annotation = annotations[index]
        given = annotation.get('area')
        if type(given) not in (int, float):
            given = annotation['area'] = maybe_float(given)
        if not (1 if counts else 0) <= given <= (limit if counts else math.inf) or math.isinf(given):
            annotation['area'] = area
            if counts and area >= 1:
                kind = (
                    'area is missing, below one pixel or larger than the picture; '
                    f'{AREA_OF_BOX} of the box was taken'
                )
                repairs.note(kind, names[index])


def _crowd(path: str, annotation: dict, name: str) -> int:
    value = annotation.get('iscrowd')
    try:
        annotation['iscrowd'] = _CROWD[value]
    except (KeyError, TypeError):
        raise ValueError(f'{path}: {name} has the iscrowd {short(value)}, expected 0 or 1') from None
    return annotation['iscrowd']
