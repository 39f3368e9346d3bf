"""From people one by one, as annotation files of their own formats have them, to blocks of records."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmhier.datasets.mesh.annotation import PROBLEMS
from mmhier.datasets.mesh.human_data_file import BLOCK, People
from mmhier.datasets.mesh.whole_body_annotation import (
    FLAGS,
    JOINTS,
    WHOLE_BODY_SHAPES,
    check_whole_bodies,
)
from mmhier.safe_files import read_json

LEFT_OUT = PROBLEMS.index('left out by the rules of its data set')


class Person(NamedTuple):
    """One person.

    Attributes:
        image: Path of the image relative to the folder of images.
        fields: Those of ``WHOLE_BODY_SHAPES`` that are known, without flags.
        is_left_out: Whether the data set's rules say so.
    """

    image: str
    fields: Mapping[str, Any]
    is_left_out: bool = False


def blocks(people: Iterable[Person], source: str, block: int = BLOCK) -> Iterator[People]:
    """Check people, some at a time.

    Raises:
        ValueError: If a field has another shape than it should.
    """
    some: list[Person] = []
    for person in people:
        some.append(person)
        if len(some) == block:
            yield _checked(some, source)
            some = []
    if some:
        yield _checked(some, source)


def _checked(people: list[Person], source: str) -> People:
    shapes = {name: shape for name, shape in WHOLE_BODY_SHAPES.items() if name not in FLAGS}
    columns = {name: np.zeros((len(people), *shape), np.float32) for name, shape in shapes.items()}
    flags = {flag: np.zeros(len(people)) for flag in FLAGS}
    for row, person in enumerate(people):
        for name, value in person.fields.items():
            value = np.asarray(value, np.float32)
            if value.size != columns[name][row].size:
                raise ValueError(
                    f'{source}: "{name}" of a person in {person.image} has {value.size} numbers, expected '
                    f'{columns[name][row].size}'
                )
            columns[name][row] = value.reshape(shapes[name])
        for flag, names in FLAGS.items():
            flags[flag][row] = all(name in person.fields for name in names)
    records, problems = check_whole_bodies(len(people), columns | flags)
    left_out = np.array([person.is_left_out for person in people])
    records[left_out], problems[left_out] = 0, LEFT_OUT
    return People(records, problems, [person.image for person in people])


def read_coco(path: str | Path) -> tuple[list[dict], dict[int, dict]]:
    """Annotations and images by number of a COCO file.

    Raises:
        ValueError: If it is none, or an annotation is of an image that is not there.
    """
    content = read_json(path)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(key), list) for key in ('images', 'annotations')
    ):
        raise ValueError(f'{path} has no lists "images" and "annotations": it is no COCO file')
    with named(path):
        images = {image['id']: image for image in content['images']}
        annotations = content['annotations']
        lost = [annotation['id'] for annotation in annotations if annotation['image_id'] not in images]
    if lost:
        raise ValueError(f'{path}: annotation {lost[0]} is of an image that is not in the file')
    return annotations, images


@contextmanager
def named(path: str | Path, what: object = '') -> Iterator[None]:
    """Inside of it a key that is missing, or a value of another kind, becomes an error of the file."""
    source = f'{path}: {what}' if what else str(path)
    try:
        yield
    except KeyError as error:
        raise ValueError(f'{source} has no {error}') from error
    except (TypeError, IndexError, AttributeError, OverflowError) as error:
        raise ValueError(f'{source} is not as it should be ({error})') from error
    except ValueError as error:
        raise (error if str(path) in str(error) else ValueError(f'{source}: {error}')) from error


def tight(box: Any) -> dict[str, np.ndarray]:
    """``center`` and ``scale`` of a box, left, top, width, height."""
    left, top, width, height = np.asarray(box, np.float32).reshape(4)
    return dict(center=np.array([left + width / 2, top + height / 2]), scale=np.array([width, height]))


def part_boxes(boxes: Mapping[str, Any]) -> np.ndarray:
    """Boxes (3, 5) of parts from left, top, width, height; those that are None are not annotated."""
    placed = np.zeros((3, 5), np.float32)
    for row, part in enumerate(('left_hand', 'right_hand', 'face')):
        if boxes.get(part) is not None:
            left, top, width, height = np.asarray(boxes[part], np.float32).reshape(4)
            placed[row] = left, top, left + width, top + height, 1
    return placed


def by_name(names: Iterable[str], points: np.ndarray) -> np.ndarray:
    """Points (K, D) of our set from those of another one (n, D) with the same names; zeros for the rest."""
    placed = np.zeros((len(JOINTS), points.shape[1]), np.float32)
    for name, point in zip(names, points, strict=True):
        if name in JOINTS.names:
            placed[JOINTS.index(name)] = point
    return placed
