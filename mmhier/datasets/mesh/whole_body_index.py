"""People of a file, unpacked once: any number of processes then reads them by number without holding them.

Three files in a folder ``.mmhier_index`` beside the annotations (or elsewhere):

* ``NAME.people``: (N,) records of ``WHOLE_BODY_DTYPE``, 4.7 KB each, one after the other.
* ``NAME.images.npy``: (N,) records of the image's path and the number of the person's problem.
* ``NAME.json``: written last. It makes the index valid: digests of the files and of the code, number of
  people, problems found.

Both large files are mapped into memory, not read, so the workers of a machine share what is in its cache.
Every file is written under another name and renamed. Of several processes one builds, the others wait for it.
"""

import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mmhier.atomic import new_file, remove_leftovers
from mmhier.datasets.mesh.annotation import count_problems
from mmhier.datasets.mesh.human_data_file import People
from mmhier.datasets.mesh.tar_index import FOLDER, fingerprint
from mmhier.datasets.mesh.whole_body_annotation import WHOLE_BODY_DTYPE
from mmhier.digest import code_digest
from mmhier.folder_lock import wait_for
from mmhier.safe_files import check_file, file_sha256, read_json


class Source(NamedTuple):
    """Annotations and how they are read.

    Attributes:
        files: All of them; the first one names the index.
        read: Gives the people, some at a time.
        module: The module of ``read``: when its code changes, the index is built again.
        key: What else the people depend on.
    """

    files: Sequence[Path]
    read: Callable[[], Iterator[People]]
    module: str
    key: str = ''


class WholeBodyIndex:
    """The index of a source. It can be handed to other processes, which map the files themselves.

    Args:
        people: File of records.
        images: File of images and problems.
    """

    def __init__(self, people: Path, images: Path):
        self._paths = people, images
        self._mapped: tuple[np.ndarray, np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {'_paths': self._paths, '_mapped': None}

    def __len__(self) -> int:
        return len(self.table)

    @property
    def records(self) -> np.ndarray:
        """(N,) of ``WHOLE_BODY_DTYPE``, mapped into memory."""
        return self._map()[0]

    @property
    def table(self) -> np.ndarray:
        """(N,) records ``image`` and ``problem``, mapped into memory."""
        return self._map()[1]

    def _map(self) -> tuple[np.ndarray, np.ndarray]:
        if self._mapped is None:
            people, images = self._paths
            table = np.load(images, mmap_mode='r', allow_pickle=False)
            self._mapped = np.memmap(people, WHOLE_BODY_DTYPE, 'r'), table
        return self._mapped


def open_index(source: Source, index_dir: str | None = None) -> WholeBodyIndex:
    """Open the index of a source; build it if there is none, or it is out of date.

    Args:
        source: What it is of.
        index_dir: Folder for indexes; by default one beside the first file.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file cannot be used.
        OSError: If the folder cannot be written.
    """
    path = _path(source, index_dir)
    about = _about(source)
    if (found := _open(path, about)) is not None:
        return found
    try:
        lock = wait_for(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from error
    try:
        if (found := _open(path, about)) is None:  # nobody has built it meanwhile
            remove_leftovers(path.parent, re.escape(path.name) + r'\.\w+(\.npy)?')
            _build(path, about, source)
            found = _open(path, about)
    finally:
        lock.release()
    assert found is not None
    return found


def _path(source: Source, index_dir: str | None) -> Path:
    """Where the index lies, without ending."""
    first = Path(source.files[0])
    key = zlib.crc32(f'{source.module} {source.key} {list(map(str, source.files[1:]))}'.encode())
    if index_dir is None:
        return first.parent / FOLDER / f'{first.name}-{key:08x}'
    place = zlib.crc32(str(first.absolute().parent).encode())  # files of several folders share names
    return Path(index_dir) / f'{first.name}-{place:08x}-{key:08x}'


def _about(source: Source) -> dict[str, Any]:
    """What the people of a source depend on. An npz ends with the checksums of all that it holds."""
    digests = []
    for path in map(check_file, source.files):
        digests.append(fingerprint(path) if path.suffix == '.npz' else file_sha256(path))
    codes = [code_digest(module) for module in (__name__, source.module)]
    return dict(
        files=[Path(path).name for path in source.files], digests=digests, codes=codes, key=source.key
    )


def _open(path: Path, about: dict[str, Any]) -> WholeBodyIndex | None:
    """A valid index, or None."""
    summary, people, images = _files(path)
    try:
        described = read_json(summary)
        if any(described[name] != value for name, value in about.items()):
            return None
        check_file(people), check_file(images)
        table = np.load(images, mmap_mode='r', allow_pickle=False)
        sizes = (described['people'], described['people'] * WHOLE_BODY_DTYPE.itemsize)
        if sizes != (len(table), people.stat().st_size) or table.dtype.names != ('image', 'problem'):
            return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, MemoryError):
        return None
    return WholeBodyIndex(people, images)


def _build(path: Path, about: dict[str, Any], source: Source) -> None:
    summary, people, images = _files(path)
    names, problems = [], []
    try:
        with new_file(people) as temporary, temporary.open('wb') as file:
            for some in source.read():
                file.write(some.records.tobytes())
                names += [name.encode() for name in some.images]
                problems.append(some.problems)
        if not names:
            raise ValueError(f'{source.files[0]} holds nobody')
        table = np.zeros(len(names), [('image', f'S{max(map(len, names))}'), ('problem', 'u1')])
        table['image'], table['problem'] = names, np.concatenate(problems)
        with new_file(images) as temporary, temporary.open('wb') as file:
            np.save(file, table, allow_pickle=False)
        described = about | dict(people=len(names), problems=count_problems(table['problem']))
        with new_file(summary) as temporary:
            temporary.write_text(json.dumps(described, indent=1) + '\n')
    except OSError as error:
        raise _unwritable(path, error) from error


def _files(path: Path) -> tuple[Path, Path, Path]:
    """Summary, people and images."""
    summary, people, images = (path.with_name(path.name + end) for end in ('.json', '.people', '.images.npy'))
    return summary, people, images


def _unwritable(path: Path, error: OSError) -> OSError:
    return OSError(
        f'the index {path} cannot be written ({error}); set index_dir to a folder that can, with room for '
        f'{WHOLE_BODY_DTYPE.itemsize / 1000:.1f} KB for each person'
    )
