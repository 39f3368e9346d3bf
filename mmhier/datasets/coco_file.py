"""The one place where annotation files in COCO's keypoint format are read and checked.

Whoever needs such a file gets it from here: the check before a run, MMPose's data sets and its evaluator. So
all of them see the same people. What has one meaning only is repaired and said, one line for each kind of
fault with the number of entries and the first; everything else is a ``ValueError`` with file, entry, value
and remedy. With the truth as prediction the AP of every file that is accepted is 1.

| repaired | by |
|---|---|
| ids of annotations missing, repeated or no whole numbers | their places, from 1 |
| whole numbers written as text or as 3.0 | the number |
| images and annotations listed twice with the same content, be their ids different | one of them |
| no categories; one category listed and another one used | the one category |
| ``keypoints`` missing or empty, coordinates of unlabelled keypoints not finite | zeros |
| ``keypoints`` as a list of triples | the flat list |
| ``num_keypoints`` that does not fit ``keypoints`` | the number of labelled keypoints |
| ``area`` missing, below one pixel, or larger than the picture | 0.53 of the box |
| ``iscrowd`` missing, backslashes in ``file_name`` | 0; slashes |
"""

import gc
import logging
import math
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mmhier import safe_files

logger = logging.getLogger('mmhier')

# Area of a person as a fraction of their box, where the data set has no areas (CrowdPose, AIC).
AREA_OF_BOX = 0.53

KEYPOINT_FIELDS = ('keypoints', 'foot_kpts', 'face_kpts', 'lefthand_kpts', 'righthand_kpts')

_CROWD = {None: 0, 0: 0, 1: 1, '0': 0, '1': 1}  # 0 and 1 stand for False, True, 0.0 and 1.0, too
_ID_LIMIT = 2**63
_CHUNK = 8192  # people whose numbers are looked at in one array
_BEYOND = 1.02  # a box may be larger than the picture by this factor and 2 pixels
_FARTHEST = 1e6  # pixels; no coordinate of a keypoint is beyond
_LARGEST = 1e10  # pixels; COCO's evaluation leaves out people that are larger
_COMPARED = 2000  # people whose keypoints are compared with their boxes, evenly chosen
_AROUND = 0.1  # keypoints may be outside of their box by this part of its sides

Key = tuple[str, int, int]


@dataclass
class CocoFile:
    """A file that has been read.

    Attributes:
        path: Of the file.
        content: Its content, repaired.
        annotated: Whether it has ``annotations``, be they none; COCO's test sets have not.
        numbers: Length of ``keypoints`` -> name of the first person that has it.
        people: How many are labelled, have a box and are no crowd.
        boxless: Names of labelled people without a box that covers a part of the picture.
        misplaced: How many people have their keypoints outside of their box, if that is the half or more.
    """

    path: str
    content: dict[str, Any]
    annotated: bool = True
    numbers: dict[int, str] = field(default_factory=dict)
    people: int = 0
    boxless: list[str] = field(default_factory=list)
    misplaced: str = ''


class Repairs:
    """What has been repaired in a file: kind -> number of entries and the first."""

    def __init__(self, path: str):
        self.path = path
        self._found: dict[str, list] = {}

    def note(self, kind: str, first: str, count: int = 1) -> None:
        """Count a repair."""
        self._found.setdefault(kind, [0, first])[0] += count

    def lines(self) -> list[str]:
        """One line for each kind."""
        return [
            f'{self.path}: {kind} ({count}, first: {first})' for kind, (count, first) in self._found.items()
        ]

    def say(self) -> None:
        """Log the lines that this process has not logged before."""
        for line in self.lines():
            if line not in _said:
                _said.add(line)
                logger.warning(line)


_waiting: dict[Key, CocoFile] = {}  # read, and not taken yet by the one who needs the content
_said: set[str] = set()


def check_coco(path: str | os.PathLike) -> CocoFile:
    """Read and check a file, and keep its content until :func:`take_coco` asks for it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no annotation file, or an entry is wrong in more than one way.
    """
    key = _key(path)
    if key not in _waiting:
        _waiting[key] = _read(os.fspath(path))
    return _waiting[key]


def take_coco(path: str | os.PathLike) -> dict[str, Any]:
    """The repaired content of a file, to keep and to change; errors as in :func:`check_coco`."""
    key = _key(path)
    file = _waiting.pop(key, None) or _read(os.fspath(path))
    return file.content


def read_json(path: str | os.PathLike) -> Any:
    """Read a JSON file in any of Unicode's encodings; errors as of :func:`mmhier.safe_files.read_json`."""
    with _without_collecting():
        return safe_files.read_json(path)


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Look for no garbage among millions of new objects, which takes longer than reading them."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _key(path: str | os.PathLike) -> Key:
    state = os.stat(path)
    return os.path.realpath(path), state.st_mtime_ns, state.st_size


def _read(path: str) -> CocoFile:
    repairs = Repairs(path)
    with _without_collecting():
        file = repair_coco(read_json(path), path, repairs)
    repairs.say()
    return file


def repair_coco(content: Any, path: str, repairs: Repairs) -> CocoFile:
    """Check the content of an annotation file and repair it in place; see :func:`check_coco`."""
    if not isinstance(content, dict) or not isinstance(content.get('images'), list):
        kind = (
            f'a mapping of {sorted(map(str, content))[:6]}'
            if isinstance(content, dict)
            else type(content).__name__
        )
        raise ValueError(
            f'{path} holds {kind}, expected COCO annotations: a mapping of images, annotations and '
            'categories, each a list'
        )
    file = CocoFile(path, content)
    images = _repair_images(file, repairs)
    if content.get('annotations') is None:
        content.pop('annotations', None)
    file.annotated = 'annotations' in content
    annotations = content.get('annotations', [])
    if not isinstance(annotations, list):
        raise ValueError(f'{path}: annotations is {type(annotations).__name__}, expected a list')
    _repair_identities(file, images, repairs)
    names = _Names(annotations)
    _repair_categories(file, names, repairs)
    labelled = _repair_keypoints(file, names, repairs)
    _repair_boxes(file, names, images, labelled, repairs)
    file.misplaced = _misplaced(file, names, labelled)
    return file


class _Names:
    """How an annotation is called in messages."""

    def __init__(self, annotations: list[dict]):
        self._annotations = annotations

    def __getitem__(self, index: int) -> str:
        return f'annotation {self._annotations[index].get("id")!r} (entry {index + 1})'


# ---------------------------------------------------------------- images, ids and categories


def _repair_images(file: CocoFile, repairs: Repairs) -> dict[int, dict]:
    """Image id -> image."""
    path, images = file.path, file.content['images']
    if not images:
        raise ValueError(f'{path} holds no image: its list of images is empty')
    found: dict[int, dict] = {}
    for index, image in enumerate(images):
        if not isinstance(image, dict):
            raise ValueError(f'{path}: images[{index}] is {short(image)}, expected a mapping')
        number = image.get('id')
        if type(number) is not int or abs(number) >= _ID_LIMIT:
            number = image['id'] = _identity(number, f'{path}: images[{index}] has the id', repairs)
        name = image.get('file_name')
        if name is not None and (not isinstance(name, str) or not name):
            raise ValueError(f'{path}: image {number} has the file_name {short(name)}, expected a path')
        if name and '\\' in name:
            image['file_name'] = name.replace('\\', '/')
            repairs.note('backslashes in file_name were read as slashes', f'image {number}, {name}')
        for side in ('width', 'height'):
            value = image.get(side)
            if value is None:
                image.pop(side, None)
            elif type(value) is not int or value <= 0:
                image[side] = _pixels(value, f'{path}: image {number} has the {side}', repairs)
        if number in found:
            _check_repeated(found[number], image, file.path)
            repairs.note('images listed twice were read once', f'image {number}')
        else:
            found[number] = image
    if len(found) < len(images):
        file.content['images'] = list(found.values())
    return found


def _check_repeated(first: dict, second: dict, path: str) -> None:
    for key in ('file_name', 'width', 'height'):
        if first.get(key) != second.get(key):
            raise ValueError(
                f'{path}: two images have the id {first["id"]}, with {key} {first.get(key)!r} and '
                f'{second.get(key)!r}: nobody can tell whose annotations are whose. Give each its own id'
            )


def _repair_identities(file: CocoFile, images: dict[int, dict], repairs: Repairs) -> None:
    """Give every annotation an image that exists and an id of its own."""
    path, annotations = file.path, file.content.get('annotations', [])
    names, seen = _Names(annotations), dict[int, int]()
    repeated, problem = set(), ''
    people: dict[tuple, int] = {}  # image and box -> index of the first
    for index, annotation in enumerate(annotations):
        if not isinstance(annotation, dict):
            raise ValueError(f'{path}: annotations[{index}] is {short(annotation)}, expected a mapping')
        number = annotation.get('image_id')
        if type(number) is not int:
            where = f'{path}: {names[index]} has the image_id'
            number = annotation['image_id'] = _identity(number, where, repairs)
        if number not in images:
            unknown = sum(
                maybe_int(one.get('image_id')) not in images for one in annotations if isinstance(one, dict)
            )
            raise ValueError(
                f'{path}: {names[index]} is of image {number}, which is not in the list of images (so are '
                f'{unknown} of {len(annotations)} annotations). Add the images or take these annotations '
                'out, and see whether ids of images count from 0 in one place and from 1 in the other'
            )
        identity = annotation.get('id')
        if type(identity) is not int or abs(identity) >= _ID_LIMIT:
            problem = problem or f'entry {index + 1} has the id {short(identity)}'
        elif identity in seen:
            if annotations[seen[identity]] == annotation:
                repeated.add(index)
                repairs.note('annotations listed twice were read once', f'id {identity}, entry {index + 1}')
            else:
                problem = problem or f'entries {seen[identity] + 1} and {index + 1} have the id {identity}'
        else:
            seen[identity] = index
        box = annotation.get('bbox')
        if index not in repeated and annotation.get('keypoints') and _is_plain(box):
            first = people.setdefault((number, *box), index)
            if first != index and _is_same_person(annotations[first], annotation):
                repeated.add(index)
                repairs.note('people listed twice were read once', f'{names[index]}, image {number}')
    if repeated:
        annotations[:] = [one for index, one in enumerate(annotations) if index not in repeated]
    if problem:
        for place, annotation in enumerate(annotations, start=1):
            annotation['id'] = place
        repairs.note(
            'ids of annotations are not unique whole numbers; they were numbered by place',
            problem,
            len(annotations),
        )


def _is_plain(box: Any) -> bool:
    return isinstance(box, list) and all(type(value) in (int, float, str) for value in box)


def _is_same_person(one: dict, other: dict) -> bool:
    fields = 'keypoints', 'category_id', 'iscrowd'
    return all(one.get(name) == other.get(name) for name in fields) and any(one['keypoints'])


def _repair_categories(file: CocoFile, names: _Names, repairs: Repairs) -> None:
    """List every category in use; only those of annotations with keypoints count."""
    path, content = file.path, file.content
    annotations = content.get('annotations', [])
    listed = content.get('categories')
    if listed is not None and (
        not isinstance(listed, list) or not all(isinstance(one, dict) and 'id' in one for one in listed)
    ):
        raise ValueError(
            f'{path}: categories is {short(listed)}, expected a list of mappings with id and name'
        )
    for one in listed or ():
        if type(one['id']) is not int:
            one['id'] = _identity(one['id'], f'{path}: category {one.get("name")!r} has the id', repairs)
    known = {one['id']: one for one in reversed(listed or ())}
    if len(known) < len(listed or ()):
        if any(known[one['id']] != one for one in listed):
            double = Counter(one['id'] for one in listed).most_common(1)[0][0]
            raise ValueError(f'{path}: two categories have the id {double}; give every category its own')
        repairs.note('categories listed twice were read once', str(listed[0]['id']))
        content['categories'] = listed = list(known.values())
    used: dict[int | None, int] = {}  # by people with keypoints -> index of the first
    for index, annotation in enumerate(annotations):
        category = annotation.get('category_id')
        if category is not None and type(category) is not int:
            where = f'{path}: {names[index]} has the category_id'
            category = annotation['category_id'] = _identity(category, where, repairs)
        if category not in used and (category not in known) and annotation.get('keypoints'):
            used[category] = index
    if not listed:
        people = set(used) - {None}
        if len(people) > 1:
            first, second = sorted(people)[:2]
            raise ValueError(
                f'{path} lists no categories, and its people are of several: {names[used[first]]} is of '
                f'{first}, {names[used[second]]} of {second}. Add categories, such as [{{"id": {first}, '
                '"name": "person"}]'
            )
        person = people.pop() if people else 1
        content['categories'] = [dict(id=person, name='person')]
        if annotations:
            repairs.note(
                f'no categories are listed; {person} was taken for person', names[0], len(annotations)
            )
        if None not in used:
            return
    elif not used:
        return
    else:
        person = listed[0]['id']
        several = len(listed) > 1 or len(used) > 1
        mixed = any(one.get('category_id') in known for one in annotations if one.get('keypoints'))
        stray = next(iter(used))
        if several or (mixed and stray is not None):
            raise ValueError(
                f'{path}: {names[used[stray]]} has the category_id {stray}, categories are '
                f'{sorted(known)}: nobody can tell who is meant. Correct the number or list the category'
            )
    for index, annotation in enumerate(annotations):
        if annotation.get('category_id') in used:
            repairs.note(f'category_id that is not listed was read as {person}', names[index])
            annotation['category_id'] = person


# ---------------------------------------------------------------- numbers of people


def _repair_keypoints(file: CocoFile, names: _Names, repairs: Repairs) -> np.ndarray:
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
        for indices, table in _tables(file, names, present, name, repairs):
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


def _fill_keypoints(file: CocoFile, names: _Names, repairs: Repairs) -> list[int]:
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
    file: CocoFile, names: _Names, indices: list[int], table: np.ndarray, name: str, repairs: Repairs
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


def _repair_boxes(
    file: CocoFile, names: _Names, images: dict[int, dict], labelled: np.ndarray, repairs: Repairs
) -> None:
    """Check boxes, and areas with them."""
    annotations = file.content.get('annotations', [])
    for annotation in annotations:
        if not annotation.get('bbox'):
            annotation['bbox'] = [0, 0, 0, 0]
    leaving, corners, first = 0, True, ''
    for indices, boxes in _tables(file, names, list(range(len(annotations))), 'bbox', repairs, 4):
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
        usable = (covered > 0).all(1) & (boxes[:, 2:] > 0).all(1)
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


def _misplaced(file: CocoFile, names: _Names, labelled: np.ndarray) -> str:
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
    names: _Names,
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


# ---------------------------------------------------------------- values


def _tables(
    file: CocoFile, names: _Names, present: list[int], name: str, repairs: Repairs, length: int | None = None
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Rows of a field as arrays (n, length) of float64, with the places of their annotations."""
    annotations = file.content.get('annotations', [])
    for start in range(0, len(present), _CHUNK):
        groups: dict[int, list[int]] = {}
        for index in present[start : start + _CHUNK]:
            row = annotations[index][name]
            if not isinstance(row, list) or (length and len(row) != length):
                expected = f'a list of {length} numbers' if length else 'a list of numbers'
                raise ValueError(
                    f'{file.path}: {names[index]} has the {name} {short(row)}, expected {expected}'
                )
            groups.setdefault(len(row), []).append(index)
        for indices in groups.values():
            table = _plain_table([annotations[index][name] for index in indices])
            if table is None:
                for index in indices:
                    _repair_numbers(file, annotations[index], name, names[index], repairs)
                table = np.array([annotations[index][name] for index in indices], float)
            yield indices, table


def _plain_table(rows: list[list]) -> np.ndarray | None:
    """Rows of the same length as an array, if all they hold is numbers."""
    try:
        table = np.array(rows)
    except ValueError:  # a list within one of them
        return None
    return table.astype(float) if table.ndim == 2 and table.dtype.kind in 'iuf' else None


def _repair_numbers(file: CocoFile, annotation: dict, name: str, who: str, repairs: Repairs) -> None:
    """Make numbers of text and of null in a row; null becomes NaN."""
    row = annotation[name]
    if all(type(value) in (int, float) and abs(value) < 1e300 for value in row):
        return
    numbers = [maybe_float(value) for value in row]
    for before, after in zip(row, numbers, strict=True):
        if (
            before is not None
            and math.isnan(after)
            and not (isinstance(before, float) and math.isnan(before))
        ):
            raise ValueError(f'{file.path}: {who} has {short(before)} in {name}, expected a number')
        if isinstance(before, str):
            repairs.note(f'numbers of {name} written as text were read as numbers', f'{who}: {before!r}')
    annotation[name] = numbers


def _identity(value: Any, where: str, repairs: Repairs) -> int:
    """The whole number that an id means."""
    number = maybe_int(value)
    if number is None or abs(number) >= _ID_LIMIT:
        raise ValueError(
            f'{where} {short(value)}, expected a whole number; number them, wherever they are named'
        )
    repairs.note('ids were read as whole numbers', f'{value!r}')
    return number


def _pixels(value: Any, where: str, repairs: Repairs) -> int:
    number = maybe_int(value)
    if number is None or number <= 0:
        raise ValueError(
            f'{where} {short(value)}, expected a number of pixels; leave it out or give the right one'
        )
    repairs.note('widths and heights were read as whole numbers', f'{value!r}')
    return number


def maybe_int(value: Any) -> int | None:
    """The whole number that is meant by an int, a float or text; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and len(value) > 20:
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if isinstance(value, str) or number == value else None


def maybe_float(value: Any) -> float:
    """The number that is meant by a number or text; NaN if it is none."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return math.nan
    return math.nan


def short(value: Any) -> str:
    """A value in a message."""
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:77]}...'
