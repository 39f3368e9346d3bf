"""Whether a description of keypoints (MMPose's ``metainfo``) agrees with itself.

MMPose looks keypoints up by name when it reads one: a swap on one side only turns into wrong labels in every
mirrored picture, a wrong number of sigmas into an error in the first validation.
"""

import difflib
import logging
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import mmpose
from mmengine.config import Config

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
    swaps = {entry['name']: entry.get('swap') or '' for entry in info.values()}
    for name, other in swaps.items():
        if other and other not in swaps:
            raise ValueError(f'{where}: the swap of {name} is {other!r}{_unknown(other, names)}')
        back = swaps.get(other, '')
        if other and other != name and back != name:
            raise ValueError(
                f'{where}: the swap of {name} is {other}, but that of {other} is {back!r}: each names the '
                'other, or mirrored pictures get wrong labels'
            )
        twin = name.replace('left', 'right')
        if not other and twin != name and swaps.get(twin) == '':
            raise ValueError(
                f'{where}: {name} and {twin} have no swap: mirrored pictures would get wrong labels. '
                'Each names the other'
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
        if not number or value < 0 or (value == 0 and field == 'sigmas'):
            least = 'above 0' if field == 'sigmas' else 'not below 0'
            raise ValueError(f'{where}: {field} of {name} is {value!r}, expected a finite number {least}')


def _unknown(name: object, names: list[str]) -> str:
    similar = difflib.get_close_matches(str(name), names, 1)
    hint = f'; did you mean {similar[0]!r}?' if similar else f'; there are {", ".join(names[:6])} ...'
    return f', and {name!r} is no keypoint{hint}'
