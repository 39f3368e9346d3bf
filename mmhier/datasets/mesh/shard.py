"""Reads one tar of 4D-Humans (webdataset layout) without executing anything in it.

A sample is an image (``KEY.jpg``, ``.jpeg`` or ``.png``) and ``KEY.data.pyd``, a pickled list with one
dictionary per person: ``keypoints_2d`` (44, 3), ``keypoints_3d`` (44, 4), ``center`` (2,), ``scale`` (2,) in
units of 200 pixels, ``body_pose`` (72,) whose first three numbers are the orientation of the body, ``betas``
(10,), ``has_body_pose``, ``has_betas`` and ``extra_info``, whose ``fitting_loss`` may hold a
``reprojection_loss``. Masks (``KEY.detection.npz``) are not read: no loss uses them.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmhier.datasets.mesh.annotation import check_annotation
from mmhier.safe_files import open_file
from mmhier.safe_pickle import Array, StandIn, read_pickle, to_array
from mmhier.tar_file import tar_members

IMAGE_SUFFIXES = ('jpg', 'jpeg', 'png')
ANNOTATION_SUFFIX = 'data.pyd'
# The unit of ``scale`` in these files, pixels.
SCALE_UNIT = 200.0

FIELDS = ('keypoints_2d', 'keypoints_3d', 'center', 'betas', 'has_body_pose', 'has_betas')


class Member(NamedTuple):
    """A file in a tar: where its bytes are."""

    offset: int
    size: int


class Sample(NamedTuple):
    """An image and what is known about the people in it.

    Attributes:
        key: Name of both members without their suffixes.
        suffix: Of the image.
        image: Where the image is.
        annotation: Where the people are.
    """

    key: str
    suffix: str
    image: Member
    annotation: Member


def list_samples(path: Path) -> tuple[list[Sample], str | None]:
    """List what a tar contains, reading its headers only.

    Args:
        path: The tar.

    Returns:
        The samples that are whole, in the order of the file, and what is wrong with the rest, or None.
    """
    groups: dict[str, dict[str, Member]] = {}
    problem = None
    try:
        with open_file(path) as file:
            for info in tar_members(file):
                key, suffix = split_name(info.name)
                groups.setdefault(key, {})[suffix] = Member(info.offset_data, info.size)
    except ValueError as error:
        problem = str(error)
    samples = []
    incomplete = 0
    for key, members in groups.items():
        suffix = next((suffix for suffix in IMAGE_SUFFIXES if suffix in members), None)
        if suffix is None or ANNOTATION_SUFFIX not in members:
            incomplete += 1
            continue
        samples.append(Sample(key, suffix, members[suffix], members[ANNOTATION_SUFFIX]))
    if problem is None and incomplete:
        problem = f'{incomplete} samples lack an image or {ANNOTATION_SUFFIX}'
    if problem is None and not samples:
        problem = 'it is empty'
    return samples, problem and f'{problem}; {len(samples)} whole samples'


def split_name(name: str) -> tuple[str, str]:
    """Split a member's name into key and suffix at the first dot of the last part, as webdataset does."""
    folder, slash, last = name.rpartition('/')
    stem, _, suffix = last.partition('.')
    return folder + slash + stem, suffix.lower()


def read_people(content: bytes, source: str) -> list[tuple[np.ndarray, int]]:
    """Read ``data.pyd``.

    Args:
        content: The member.
        source: Where it comes from, for messages.

    Returns:
        Per person the record and problem of :func:`~mmhier.datasets.mesh.annotation.check_annotation`.

    Raises:
        ValueError: If it is damaged, refers to anything but arrays, or is no list of dictionaries.
    """
    people = read_pickle(content, source)
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise ValueError(f'{source} holds no list of people (dictionaries)')
    return [check_annotation(person_fields(person)) for person in people]


def person_fields(person: dict[str, Any]) -> dict[str, np.ndarray]:
    """The fields of a person under our names and in our units; what is no array is left out."""
    fields = {name: array for name in FIELDS if (array := _number(person.get(name))) is not None}
    if (scale := _number(person.get('scale'))) is not None:
        scale = scale.ravel() * SCALE_UNIT
        fields['scale'] = np.broadcast_to(scale, (2,)) if scale.size == 1 else scale
    if (pose := _number(person.get('body_pose'))) is not None:
        fields['global_orient'], fields['body_pose'] = pose.ravel()[:3], pose.ravel()[3:]
    extra = person.get('extra_info')
    losses = _item(extra.get('fitting_loss')) if isinstance(extra, dict) else None
    if isinstance(losses, dict) and (error := _number(losses.get('reprojection_loss'))) is not None:
        fields['fitting_error'] = error
    return fields


def _number(value: Any) -> np.ndarray | None:
    """What a pickle recorded of an array or a number, or None."""
    if isinstance(value, bool | int | float):
        return np.array(value, np.float64)
    try:
        if isinstance(value, list | tuple):
            rows = [to_array(row, 'row') if isinstance(row, StandIn) else row for row in value]
            return np.array(rows, float)
        return to_array(value, 'value') if isinstance(value, StandIn) else None
    except (ValueError, TypeError):
        return None


def _item(value: Any) -> Any:
    """The object in a recorded array of one object; any other value as it is."""
    if type(value) is Array and value.state is not None and isinstance(value.state[-1], list):
        return value.state[-1][0] if len(value.state[-1]) == 1 else None
    return value
