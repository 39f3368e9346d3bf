"""What there is to label, cut into shards: which input belongs to which shard is settled once, in a file.

``plan.json`` in the folder of the results holds the settings of the run and the inputs of each shard. A run
that goes on reads it, so that the same inputs are in the same shards, whoever does them. A shard is done when
its files are there; each is put in its place as a whole (:mod:`mmhier.labelling.storage`). So every input
is in the results once, whatever was killed in between.

| input             | shard |
|-------------------|-------|
| pictures          | ``shard_size`` of them, in order |
| a video           | one of its own |
| a tar of pictures | one of its own |
"""

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmhier.file_endings import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from mmhier.labelling.storage import is_address, join, list_names, names_in, put, read_content, suffix_of
from mmhier.safe_files import parse_json, read_text

SCHEMA, VERSION = 'mmhier.plan', 1
NAME = 'plan.json'
TAR, LIST = '.tar', '.txt'
_ENDINGS = IMAGE_SUFFIXES | VIDEO_SUFFIXES | {TAR}


@dataclass(frozen=True)
class Shard:
    """Inputs whose results share their files.

    Attributes:
        number: From 0.
        inputs: Paths and addresses of pictures, videos and tars.
    """

    number: int
    inputs: tuple[str, ...]

    @property
    def stem(self) -> str:
        """What its files are called, without their endings."""
        return f'results_{self.number:06d}'


@dataclass(frozen=True)
class Plan:
    """All shards.

    Attributes:
        shards: In order.
        todo: Those that are not done.
        new: Inputs that are not in the plan, since they came after it was made.
    """

    shards: tuple[Shard, ...]
    todo: tuple[Shard, ...]
    new: int = 0


def find_inputs(given: Sequence[str], left_out: Counter[str]) -> list[str]:
    """Pictures, videos and tars that inputs stand for, each once.

    Args:
        given: Paths and addresses of files, folders, patterns and lists: ``.txt``, a path or an address per
            line; a path is relative to the list.
        left_out: Counts what is in folders and not read, by reason.

    Returns:
        Names, in order. Of several inputs, what is missing is among them, to be counted when it is read;
        whether lines of a list exist is not looked at.

    Raises:
        FileNotFoundError: If the only input is missing, or nothing is of use.
        ValueError: If a list is no text.
    """
    found: dict[str, None] = {}
    for name in given:
        try:
            names, several = list_names(name)
        except FileNotFoundError:
            if len(given) == 1:
                raise
            names, several = [name], False
        if several:
            useless = Counter(suffix_of(one) for one in names if suffix_of(one) not in _ENDINGS)
            for ending, count in useless.items():
                left_out[f'files that are no pictures, videos or tars ({ending or "no ending"})'] += count
            names = [one for one in names if suffix_of(one) in _ENDINGS]
        elif suffix_of(name) == LIST:
            names = _listed(name)
        for one in names:
            if one in found:
                left_out['inputs that are named twice'] += 1
            found[one] = None
    if not found:
        raise FileNotFoundError(f'{", ".join(given)}: no pictures, videos or tars are there')
    return [*found]


def cut(inputs: Iterable[str], shard_size: int) -> tuple[Shard, ...]:
    """Cut inputs into shards, see the top of this file."""
    groups, pictures = [], []
    for name in inputs:
        if suffix_of(name) in VIDEO_SUFFIXES | {TAR}:
            groups.append((name,))
            continue
        pictures.append(name)
        if len(pictures) == shard_size:
            groups.append(tuple(pictures))
            pictures = []
    if pictures:
        groups.append(tuple(pictures))
    return tuple(Shard(number, group) for number, group in enumerate(groups))


def make_plan(folder: str, inputs: Sequence[str], settings: dict[str, Any], formats: Sequence[str]) -> Plan:
    """Make a plan, or go on with the one that is there.

    Args:
        folder: Of the results; path or address.
        inputs: What there is, see :func:`find_inputs`.
        settings: What the results depend on, as JSON has it; ``shard_size`` is among them.
        formats: Endings of the files of a shard.

    Raises:
        ValueError: If the plan that is there is damaged, or has other settings.
        FileExistsError: If there are results without a plan.
        OSError: If it cannot be written.
    """
    place = join(folder, NAME)
    content, there = read_content(place), names_in(folder)
    if content is not None:
        shards = _read(place, content, settings)
    else:
        shards = cut(inputs, settings['shard_size'])
        strays = sorted(name for name in there if name.startswith('results'))
        if strays:
            raise FileExistsError(
                f'{folder} holds results without a {NAME}, such as {strays[0]}: name another folder with '
                '--out'
            )
        _write(place, settings, shards)
    known = {name for shard in shards for name in shard.inputs}
    todo = tuple(shard for shard in shards if not is_done(shard, there, formats))
    return Plan(shards, todo, sum(name not in known for name in inputs))


def is_done(shard: Shard, there: set[str], formats: Sequence[str]) -> bool:
    """Whether all files of a shard are among the names in the folder of the results."""
    return all(f'{shard.stem}.{ending}' in there for ending in formats)


def _listed(name: str) -> list[str]:
    if is_address(name):
        text = (read_content(name) or b'').decode(errors='surrogateescape')
    else:
        text = read_text(name, errors='surrogateescape')
    lines = [line.strip() for line in text.splitlines()]
    folder = name.rpartition('/')[0] if is_address(name) else str(Path(name).parent)
    absolute = [is_address(line) or Path(line).is_absolute() for line in lines]
    return [line if whole else join(folder, line) for line, whole in zip(lines, absolute) if line]


def _write(place: str, settings: dict[str, Any], shards: Sequence[Shard]) -> None:
    document = dict(schema=SCHEMA, version=VERSION, settings=settings)
    document['shards'] = [shard.inputs for shard in shards]
    with tempfile.TemporaryDirectory(prefix='mmhier-') as made:
        path = Path(made, NAME)
        path.write_text(json.dumps(document, indent=0), encoding='ascii')
        put(path, place)


def _read(place: str, content: bytes, settings: dict[str, Any]) -> tuple[Shard, ...]:
    document = parse_json(content, place)
    try:
        if (document['schema'], document['version']) != (SCHEMA, VERSION):
            raise TypeError(f'schema {document["schema"]!r}, version {document["version"]!r}')
        before, groups = dict(document['settings']), document['shards']
        shards = tuple(Shard(number, tuple(map(str, group))) for number, group in enumerate(groups))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f'{place} is no plan of mmhier infer --on, or a damaged one ({error!r}): name another folder '
            'with --out'
        ) from None
    changed = [
        f'{name} was {before.get(name)!r} and is {settings.get(name)!r}'
        for name in {**before, **settings}
        if before.get(name) != settings.get(name)
    ]
    if changed:
        raise ValueError(
            f'{place} is the plan of a run with other settings: {"; ".join(changed)}. Go on with the same '
            'ones, or name another folder with --out'
        )
    return shards
