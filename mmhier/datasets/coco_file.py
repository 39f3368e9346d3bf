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
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmhier import safe_files
from mmhier.datasets.coco_entries import repair_categories, repair_identities, repair_images
from mmhier.datasets.coco_people import misplaced, repair_boxes, repair_keypoints
from mmhier.datasets.coco_values import CocoFile, Names, Repairs

Key = tuple[str, int, int]

_waiting: dict[Key, CocoFile] = {}  # read, and not taken yet by the one who needs the content


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


def read_large_json(path: str | os.PathLike) -> Any:
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
        file = repair_coco(read_large_json(path), path, repairs)
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
    images = repair_images(file, repairs)
    if content.get('annotations') is None:
        content.pop('annotations', None)
    file.annotated = 'annotations' in content
    annotations = content.get('annotations', [])
    if not isinstance(annotations, list):
        raise ValueError(f'{path}: annotations is {type(annotations).__name__}, expected a list')
    repair_identities(file, images, repairs)
    names = Names(annotations)
    repair_categories(file, names, repairs)
    labelled = repair_keypoints(file, names, repairs)
    repair_boxes(file, names, images, labelled, repairs)
    file.misplaced = misplaced(file, names, labelled)
    return file
