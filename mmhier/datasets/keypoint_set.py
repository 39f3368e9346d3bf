"""Whether a description of keypoints (MMPose's ``metainfo``) agrees with itself.

MMPose looks keypoints up by name when it reads one: a swap on one side only turns into wrong labels in every
mirrored picture, a wrong number of sigmas into an error in the first validation.
"""

import difflib
import logging
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import mmpose
from mmengine.config import Config

from mmhier.datasets.coco_values import short

logger = logging.getLogger('mmhier')

_FIELDS = ('dataset_name', 'keypoint_info', 'skeleton_info', 'joint_weights', 'sigmas')
_TYPES = ('', 'upper', 'lower')
_OWN = Path(mmpose.__file__).parent / '.mim' / 'configs' / '_base_' / 'datasets'

_said: set[str] = set()


def read_keypoint_set(metainfo: Mapping[str, Any], where: str) -> tuple[dict[str, Any], str]:
    """The description itself, of a file if ``metainfo`` names one.

    Args:
        metainfo: Of a data set.
        where: Names it in messages.

    Returns:
        The description, and the name of its file, or else ``where``.

    Raises:
        FileNotFoundError: If there is no such file, here and among MMPose's own.
        ValueError: If it does not describe keypoints.
    """
    if 'from_file' not in metainfo:
        return dict(metainfo), where
    path = Path(metainfo['from_file'])
    if not path.is_file():
        path = _OWN / path.name
    if not path.is_file():
        raise FileNotFoundError(f'{metainfo["from_file"]} does not exist ({where}.from_file)')
    description = _from_file(str(path), path.stat().st_mtime_ns)
    if not isinstance(description, dict):
        raise ValueError(f'{path} does not describe keypoints: it has no mapping dataset_info')
    return description, str(path)


@lru_cache(maxsize=64)
def _from_file(path: str, mtime_ns: int) -> Any:
    return Config.fromfile(path).get('dataset_info')


def check_keypoint_set(metainfo: Mapping[str, Any], where: str) -> list[str]:
    """Check a description of keypoints; what is wrong in one of MMPose's own files is only logged.

    Args:
        metainfo: Of a data set.
        where: Names it in messages.

    Returns:
        Names of the keypoints.

    Raises:
        FileNotFoundError: If it names a file that does not exist.
        ValueError: If it contradicts itself.
    """
    info, where = read_keypoint_set(metainfo, where)
    if missing := [name for name in _FIELDS if name not in info]:
        raise ValueError(f'{where} has no {", ".join(missing)}')
    _check_kinds(info, where)
    names = _check_keypoints(info['keypoint_info'], where)
    checks = (
        lambda: _check_swaps(info['keypoint_info'], names, where),
        lambda: _check_skeleton(info['skeleton_info'], names, where),
        lambda: _check_numbers(info['sigmas'], 'sigmas', names, where),
        lambda: _check_numbers(info['joint_weights'], 'joint_weights', names, where),
    )
    for check in checks:
        try:
            check()
        except ValueError as error:
            if not Path(where).is_relative_to(_OWN):
                raise
            if str(error) not in _said:
                _said.add(str(error))
                logger.warning('%s. It is a file of MMPose: copy it, correct the copy, and name that', error)
    return names


def words_of(name: str) -> tuple[str, ...]:
    """The words of a name in alphabetical order: the same of left_eye, LeftEye, L-Eye and eye_l."""
    spaced = re.sub('(?<=[a-zA-Z])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])', ' ', name).lower()
    words = [dict(l='left', r='right').get(word, word) for word in re.findall('[a-z]+|[0-9]+', spaced)]
    return tuple(sorted(part for word in words for part in re.split('^(left|right)(?=.)', word) if part))


def _check_kinds(info: Mapping[str, Any], where: str) -> None:
    """Check that everything is of the kind that MMPose reads."""
    for field in ('keypoint_info', 'skeleton_info'):
        entries = info[field]
        if not isinstance(entries, Mapping) or not all(isinstance(one, Mapping) for one in entries.values()):
            raise ValueError(
                f'{where}: {field} is {short(entries)}, expected a mapping of numbers to mappings'
            )
        for number, entry in entries.items():
            colour = entry.get('color', [0, 0, 0])
            if not isinstance(colour, list | tuple) or len(colour) != 3:
                raise ValueError(
                    f'{where}: {field} {number} has the color {colour!r}, expected red, green and blue'
                )
    for number, entry in info['keypoint_info'].items():
        if not isinstance(entry.get('swap', ''), str):
            raise ValueError(
                f"{where}: keypoint {number} has the swap {entry['swap']!r}, expected the name of one, or ''"
            )
    for number, line in info['skeleton_info'].items():
        if not isinstance(line.get('link'), list | tuple):
            raise ValueError(
                f'{where}: line {number} of skeleton_info has the link {line.get("link")!r}, expected the '
                'names of two keypoints'
            )
    for field in ('sigmas', 'joint_weights'):
        if isinstance(info[field], str) or not isinstance(info[field], Iterable):
            raise ValueError(f'{where}: {field} is {info[field]!r}, expected a list of numbers')


def _check_keypoints(info: Mapping[int, Mapping], where: str) -> list[str]:
    if list(info) != list(range(len(info))):
        raise ValueError(
            f'{where}: the keys of keypoint_info are {list(info)}, expected 0 to {len(info) - 1} in '
            'this order'
        )
    names = [entry.get('name') for entry in info.values()]
    for number, entry in info.items():
        name, kind = entry.get('name'), entry.get('type', '')
        if not isinstance(name, str) or not name:
            raise ValueError(f'{where}: keypoint {number} has the name {name!r}, expected text')
        if kind not in _TYPES:
            raise ValueError(f"{where}: {name} is of the type {kind!r}, expected 'upper', 'lower' or ''")
    name, count = Counter(names).most_common(1)[0] if names else ('', 1)
    if count > 1:
        numbers = [number for number, other in enumerate(names) if other == name]
        raise ValueError(f'{where}: keypoints {numbers} have the same name, {name!r}')
    if not names:
        raise ValueError(f'{where}: keypoint_info is empty')
    return names


def _check_swaps(info: Mapping[int, Mapping], names: list[str], where: str) -> None:
    swaps = {entry['name']: entry.get('swap', '') for entry in info.values()}
    words = {name: words_of(name) for name in swaps}
    spelt = {parts: name for name, parts in words.items()}
    for name, other in swaps.items():
        if other and other not in swaps:
            raise ValueError(f'{where}: the swap of {name} is {other!r}{_unknown(other, names)}')
        back = swaps.get(other, '')
        if other and other != name and back != name:
            raise ValueError(
                f'{where}: the swap of {name} is {other}, but that of {other} is {back!r}: each names the '
                'other, or mirrored pictures get wrong labels'
            )
    sides = dict(left='right', right='left')
    for name, other in swaps.items():
        twin = spelt.get(tuple(sorted(sides.get(word, word) for word in words[name])), name)
        if twin != name and other != twin:
            raise ValueError(
                f'{where}: the swap of {name} is {other!r}, not {twin}: mirrored pictures would get wrong '
                'labels. Each names the other'
            )


def _check_skeleton(info: Mapping[int, Mapping], names: list[str], where: str) -> None:
    for number, line in info.items():
        ends = list(line['link'])
        for end in ends:
            if end not in names:
                raise ValueError(f'{where}: line {number} of skeleton_info is {ends}{_unknown(end, names)}')
        if len(ends) != 2 or ends[0] == ends[1]:
            raise ValueError(f'{where}: line {number} of skeleton_info is {ends}, expected two keypoints')


def _check_numbers(values: Iterable[float], field: str, names: list[str], where: str) -> None:
    values = list(values)
    if field == 'sigmas' and not values:
        return  # of a data set that is not evaluated by OKS
    if len(values) != len(names):
        raise ValueError(
            f'{where} has {len(values)} {field} for {len(names)} keypoints; each needs its own, in the order '
            'of keypoint_info'
        )
    for name, value in zip(names, values, strict=True):
        number = isinstance(value, int | float) and math.isfinite(value)
        if not number or value < 0 or (field == 'sigmas' and not 0 < value <= 1):
            least = 'above 0, and not above 1' if field == 'sigmas' else 'not below 0'
            raise ValueError(f'{where}: {field} of {name} is {value!r}, expected a finite number {least}')


def _unknown(name: object, names: list[str]) -> str:
    similar = difflib.get_close_matches(str(name), names, 1)
    hint = f'; did you mean {similar[0]!r}?' if similar else f'; there are {", ".join(names[:6])} ...'
    return f', and {name!r} is no keypoint{hint}'
