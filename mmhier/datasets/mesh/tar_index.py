"""An index beside each tar of 4D-Humans: random access, and annotations that are read without unpickling.

Built once per tar, in a folder ``.mmhier_index`` beside it (or elsewhere), three files per tar:

* ``NAME.people.npy``: per person where the image is, number in the image, problem, confidences of the 2-D
  joints, size of the box and fitting error: what filters decide on.
* ``NAME.annotations.npy``: per person all annotations, records of the layout ``smpl``; 1.6 KB each.
* ``NAME.json``: written last. It makes the index valid: length and checksum of the tar's ends, number of
  people, problems found, digest of the code that made it.

Every file is written under another name and renamed. A build that is interrupted goes on with the tars that
have no valid index; a tar that changes is indexed again, and so is each when this code changes.
"""

import json
import os
import re
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmhier.atomic import new_file
from mmhier.datasets.mesh.annotation import PROBLEMS, count_problems
from mmhier.datasets.mesh.shard import list_samples, read_people
from mmhier.digest import code_digest
from mmhier.mesh_sample import SMPL_LAYOUT
from mmhier.safe_files import check_file, read_json

FOLDER = '.mmhier_index'
# Bytes at both ends of a tar that its fingerprint covers.
ENDS = 1 << 16


class ShardIndex(NamedTuple):
    """The index of a tar.

    Attributes:
        tar: The tar.
        people: (N,) records: ``key``, ``suffix``, ``offset``, ``size`` of the image, ``person``, ``problem``,
            ``confidence`` (K,), ``scale`` (2,), ``fitting_error``.
        annotations: File of (N,) records of the layout ``smpl``.
        damage: What is wrong with the tar, or None.
    """

    tar: Path
    people: np.ndarray
    annotations: Path
    damage: str | None


def expand_shards(patterns: str | Sequence[str], root: str = '') -> list[Path]:
    """List tars by patterns like ``h36m-train/{000000..000312}.tar`` or ``mine/*.tar``, sorted as named.

    Braces name files that have to exist (whether they do is checked by :func:`open_index`); wildcards
    name those that do.

    Raises:
        ValueError: If a wildcard matches nothing.
    """
    shards = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        for name in expand_braces(os.path.expandvars(os.path.expanduser(pattern))):
            path = Path(root, name)
            if any(letter in name for letter in '*?['):
                anchor = Path(path.anchor)
                found = sorted(anchor.glob(str(path.relative_to(anchor))))
                if not found:
                    raise ValueError(f'no tar matches {path}; check the pattern and data_root')
                shards += found
            else:
                shards.append(path)
    return shards


def expand_braces(pattern: str) -> list[str]:
    """``{08..10}`` -> 08, 09, 10, filled up with zeros as the longer end is; several braces multiply."""
    match = re.search(r'\{(\d+)\.\.(\d+)\}', pattern)
    if match is None:
        return [pattern]
    width = max(len(match[1]), len(match[2]))
    if match[1][0] != '0' and match[2][0] != '0':
        width = 0
    head, tail = pattern[: match.start()], expand_braces(pattern[match.end() :])
    numbers = range(int(match[1]), int(match[2]) + 1)
    return [f'{head}{number:0{width}d}{rest}' for number in numbers for rest in tail]


def build_indexes(
    shards: Sequence[Path], index_dir: str | None = None, num_workers: int = 0
) -> list[ShardIndex]:
    """Open the index of each tar, building those that are missing or out of date.

    Args:
        shards: The tars.
        index_dir: Folder for the indexes; by default one beside each tar.
        num_workers: Processes that build; 0 builds in this one.

    Returns:
        One per tar, also where it is missing or damaged: then ``damage`` says so.
    """
    found = [open_index(shard, index_dir) for shard in shards]
    todo = [number for number, index in enumerate(found) if index is None]
    if num_workers and len(todo) > 1:
        with ProcessPoolExecutor(num_workers) as pool:
            list(pool.map(build_index, [shards[number] for number in todo], [index_dir] * len(todo)))
    for number in todo:
        found[number] = open_index(shards[number], index_dir) or build_index(shards[number], index_dir)
    return found


def open_index(shard: Path, index_dir: str | None = None) -> ShardIndex | None:
    """Open a valid index; None if there is none. That of a missing tar is empty."""
    if not shard.is_file():
        return ShardIndex(shard, _people([]), Path(), 'it is missing; 0 whole samples')
    people, annotations, summary = _files(shard, index_dir)
    try:
        described = read_json(summary)
        if described['code'] != code_digest(__name__) or described['fingerprint'] != fingerprint(shard):
            return None
        check_file(people), check_file(annotations)
        records = np.load(people, mmap_mode='r' if described['people'] else None, allow_pickle=False)
        right_size = annotations.stat().st_size == described['annotation_bytes']
    except (OSError, ValueError, KeyError, TypeError, EOFError, MemoryError):
        return None
    if not right_size or len(records) != described['people']:
        return None
    return ShardIndex(shard, records, annotations, described['damage'])


def build_index(shard: Path, index_dir: str | None = None) -> ShardIndex:
    """Read a whole tar's headers and annotations and write its index.

    Raises:
        OSError: If the folder cannot be written.
    """
    samples, damage = list_samples(shard)
    rows, annotations, unreadable = [], [], []
    with shard.open('rb') as file:
        for sample in samples:
            try:
                content = os.pread(file.fileno(), sample.annotation.size, sample.annotation.offset)
                people = read_people(content, f'{shard}:{sample.key}.data.pyd')
            except ValueError as error:
                unreadable.append(str(error))
                continue
            for number, (record, problem) in enumerate(people):
                rows.append((sample, number, problem, record))
                annotations.append(record)
    if unreadable:
        text = f'annotations of {len(unreadable)} samples cannot be read ({unreadable[0]})'
        damage = f'{text}; {damage}' if damage else text
    records = _people(rows)
    people_file, annotation_file, summary_file = _files(shard, index_dir)
    try:
        people_file.parent.mkdir(parents=True, exist_ok=True)
        _replace(people_file, lambda file: np.save(file, records, allow_pickle=False))
        array = np.array(annotations, SMPL_LAYOUT.dtype).reshape(-1)
        _replace(annotation_file, lambda file: np.save(file, array, allow_pickle=False))
        described: dict[str, Any] = dict(
            code=code_digest(__name__),
            tar=shard.name,
            fingerprint=fingerprint(shard),
            samples=len(samples),
            people=len(records),
            problems=count_problems(records['problem']),
            annotation_bytes=annotation_file.stat().st_size,
            damage=damage,
        )
        text = json.dumps(described, indent=1) + '\n'
        _replace(summary_file, lambda file: file.write(text.encode()))
    except OSError as error:
        raise OSError(
            f'the index of {shard} cannot be written to {people_file.parent} ({error}); set index_dir to a '
            'folder that can'
        ) from error
    return ShardIndex(shard, records, annotation_file, damage)


def fingerprint(shard: Path) -> str:
    """Length and checksum of both ends of a file: survives copying, notices another or a cut file."""
    size = shard.stat().st_size
    with shard.open('rb') as file:
        checksum = zlib.crc32(file.read(ENDS))
        file.seek(max(0, size - ENDS))
        checksum = zlib.crc32(file.read(ENDS), checksum)
    return f'{size}-{checksum:08x}'


def _people(rows: list[tuple]) -> np.ndarray:
    """Records of people from (sample, number in the image, problem, annotation)."""
    longest = max((len(row[0].key.encode()) for row in rows), default=1)
    dtype = [
        ('key', f'S{longest}'), ('suffix', 'S4'), ('offset', '<i8'), ('size', '<i8'), ('person', '<i4'),
        ('problem', 'u1'), ('confidence', '<f4', len(SMPL_LAYOUT.joints)), ('scale', '<f4', 2),
        ('fitting_error', '<f4'),
    ]  # fmt: skip
    people = np.zeros(len(rows), dtype)
    for person, (sample, number, problem, record) in zip(people, rows, strict=True):
        assert problem < len(PROBLEMS)
        person['key'], person['suffix'] = sample.key.encode(), sample.suffix.encode()
        person['offset'], person['size'] = sample.image
        person['person'], person['problem'] = number, problem
        person['confidence'] = record['keypoints_2d'][:, 2]
        person['scale'], person['fitting_error'] = record['scale'], record['fitting_error']
    return people


def _files(shard: Path, index_dir: str | None) -> tuple[Path, Path, Path]:
    """People, annotations and summary of a tar."""
    if index_dir is None:
        folder, name = shard.parent / FOLDER, shard.name
    else:  # tars of several folders share names
        folder, name = Path(index_dir), f'{shard.parent.name}-{zlib.crc32(str(shard.parent).encode()):08x}'
        name = f'{name}-{shard.name}'
    return folder / f'{name}.people.npy', folder / f'{name}.annotations.npy', folder / f'{name}.json'


def _replace(path: Path, write: Any) -> None:
    with new_file(path) as temporary, temporary.open('wb') as file:
        write(file)
