"""Where the files of the registry are on this machine, and whether they are what they should be.

They are looked for in the package itself (``shipped``), in the folders of ``$MMHIER_MODELS`` (several with
``:`` between them, nothing is written there), then in ``models/`` of the cache, then among the checkpoints
of ``torch.hub``, of which only those count whose hash the registry knows. The cache is that of
:mod:`mmhier.user_cache`. Each file has a folder of its own: ``models/NAME/FILE``, and beside it the receipt
``FILE.json``: where it came from, its licence, its SHA-256, and the size and time by which a change is seen.

A file is hashed before it is used for the first time, and again whenever it differs from its receipt.
"""

import contextlib
import json
import logging
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mmhier.atomic import new_file
from mmhier.folder_lock import FolderLock
from mmhier.network import offline
from mmhier.parts import Problem
from mmhier.safe_files import file_sha256, read_json
from mmhier.user_cache import home
from mmhier.zoo.registry import SHIPPED, Source, Weights, read_registry

logger = logging.getLogger('mmhier')

FOLDERS_VARIABLE = 'MMHIER_MODELS'

# (file, size, time of change) -> hash: of files beside which no receipt can be written.
_hashed: dict[tuple[str, int, int], str] = {}


@dataclass(frozen=True)
class Receipt:
    """What is remembered of a file.

    Attributes:
        name: Of its entry.
        origin: The address it came from, or 'put there by hand'.
        bytes: Its size.
        mtime_ns: When it was changed last.
        sha256: Its hash then.
        licence: What was printed of its licence.
        accepted: Whether the user accepted that.
    """

    name: str
    origin: str
    bytes: int
    mtime_ns: int
    sha256: str
    licence: str
    accepted: bool = False


def folder_of(entry: Weights) -> Path:
    """The folder that an entry has in the cache."""
    return home() / 'models' / entry.name


def path_of(entry: Weights) -> Path:
    """Where the file of an entry is in the cache, or will be."""
    return folder_of(entry) / entry.file


def shared_folders() -> list[Path]:
    """Folders that are looked at first."""
    given = os.environ.get(FOLDERS_VARIABLE, '').split(os.pathsep)
    return [Path(folder).expanduser() for folder in given if folder]


def torch_folder() -> Path:
    """Where ``torch.hub`` keeps checkpoints."""
    cache = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(os.environ.get('TORCH_HOME') or Path(cache) / 'torch').expanduser() / 'hub' / 'checkpoints'


def find(entry: Weights) -> Path | None:
    """Find the file of an entry that is whole and the right one; others are told of in a warning."""
    for path in present(entry):
        try:
            problem = problem_of(entry, path)
        except (OSError, ValueError) as error:
            problem = f'cannot be read ({error})'
        if problem is None:
            return path
        logger.warning('%s is not used: it %s', path, problem)
    return _in_torch_hub(entry)


def present(entry: Weights) -> list[Path]:
    """Files of an entry in the cache and the shared folders, right or not."""
    return [path for path in _places(entry) if os.path.isfile(path)]  # False where nobody may look


def find_archive(entry: Weights, source: Source) -> Path | None:
    """Find the archive of a source where a user may have put it."""
    paths = (path.with_name(source.file) for path in _places(entry))
    return next((path for path in paths if os.path.isfile(path)), None)


def _places(entry: Weights) -> list[Path]:
    shared = [place for folder in shared_folders() for place in (folder / entry.name, folder)]
    return [SHIPPED / entry.file, *(folder / entry.file for folder in shared), path_of(entry)]


def page_instead(entry: Weights, path: Path) -> str | None:
    """The end of a sentence on a file that is a page or a message; a hash tells where one is known."""
    if entry.known_hash:
        return None
    with path.open('rb') as file:
        begin = file.read(64)
    is_text = begin.lstrip(b'\xef\xbb\xbf \t\r\n')[:1] in (b'<', b'{')
    if entry.format == 'safetensors':  # the length of a header, and the header
        is_text = begin[8:9] != b'{'
    if not is_text:
        return None
    return f'is no {entry.format} file but a page or a text, it begins with {begin[:20]!r}'


def _in_torch_hub(entry: Weights) -> Path | None:
    """The file among those of torch.hub, which are others' and may be of any content."""
    for source in entry.sources:
        path = torch_folder() / source.file
        if source.member is None and entry.known_hash and os.path.isfile(path):
            with contextlib.suppress(OSError, ValueError):
                if not problem_of(entry, path):
                    return path
    return None


def problem_of(entry: Weights, path: Path, again: bool = False) -> str | None:
    """What is wrong with a file, as the end of a sentence; None if nothing is.

    Args:
        entry: What it should be.
        path: The file.
        again: Hash it even if it has not changed since that was done.

    Raises:
        OSError: If it cannot be read.
        ValueError: The same.
    """
    stat = path.stat()
    if stat.st_size != (entry.bytes or stat.st_size) or not stat.st_size:
        return f'has {stat.st_size:,} bytes instead of {entry.bytes or 1:,}: it is damaged or another file'
    if page := page_instead(entry, path):
        return page
    receipt = read_receipt(path)
    unchanged = receipt and (receipt.bytes, receipt.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    if unchanged and not again and entry.fits(receipt.sha256):
        return None
    sha256 = sha256_of(path, again)
    if not entry.fits(sha256) or (receipt and receipt.sha256 != sha256):
        _forget_time(path, receipt)
    if not entry.fits(sha256):
        return f'has the SHA-256 {sha256} instead of {entry.known_hash}: it is damaged or another file'
    if receipt and receipt.sha256 != sha256:
        return (
            f'has the SHA-256 {sha256}, and had {receipt.sha256} when it came: it is damaged, or was '
            f'replaced (then delete {receipt_path(path)})'
        )
    if not unchanged and path == path_of(entry):
        origin = receipt.origin if receipt else 'put there by hand'
        with contextlib.suppress(OSError):  # it may be read-only
            write_receipt(entry, path, origin, sha256, bool(receipt and receipt.accepted))
    return None


def _forget_time(path: Path, receipt: Receipt | None) -> None:
    """Have a file that is damaged hashed whenever it is to be used, whatever its time says."""
    if receipt and receipt.mtime_ns:
        with contextlib.suppress(OSError):
            _write(replace(receipt, mtime_ns=0), path)


def sha256_of(path: Path, again: bool = False) -> str:
    """SHA-256 of a file; of one that has not changed, what it was, unless it is asked for ``again``."""
    stat = path.stat()
    key = (str(path), stat.st_size, stat.st_mtime_ns)
    if again or key not in _hashed:
        _hashed[key] = file_sha256(path)
    return _hashed[key]


def receipt_path(path: Path) -> Path:
    """Where the receipt of a file is."""
    return path.with_name(f'{path.name}.json')


def read_receipt(path: Path) -> Receipt | None:
    """The receipt of a file; None if there is none, or a damaged one."""
    try:
        return Receipt(**read_json(receipt_path(path)))
    except (OSError, ValueError, TypeError):
        return None


def write_receipt(entry: Weights, path: Path, origin: str, sha256: str, accepted: bool) -> None:
    """Write the receipt of a file."""
    stat = path.stat()
    licence = f'{entry.licence.weights}; code: {entry.licence.code}; data: {entry.licence.data}; {entry.page}'
    _write(Receipt(entry.name, origin, stat.st_size, stat.st_mtime_ns, sha256, licence, accepted), path)


def _write(receipt: Receipt, path: Path) -> None:
    with new_file(receipt_path(path)) as part:
        part.write_text(json.dumps(asdict(receipt), indent=1) + '\n', encoding='utf-8')


def remove(entry: Weights) -> int:
    """Delete what the cache holds of an entry, unfinished downloads too; return how many bytes that was.

    Raises:
        FileExistsError: If another process is downloading it.
    """
    folder = folder_of(entry)
    if not folder.is_dir():
        return 0
    lock = FolderLock(folder)
    try:
        size = size_of(folder)
        shutil.rmtree(folder)
    finally:
        lock.release()
    return size


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder and those in it."""
    return sum(path.lstat().st_size for path in folder.rglob('*') if path.is_file())


def describe() -> str:
    """The cache in one line: where, how much, and whether the network may be used."""
    folder = home() / 'models'
    here = [name for name, entry in read_registry().items() if path_of(entry).is_file()]
    size = size_of(folder) if folder.is_dir() else 0
    files = f'{len(here)} file{"" if len(here) == 1 else "s"}, {size / 1e6:,.1f} MB'
    shared = ''.join(f'; looked at first: {place}' for place in shared_folders())
    state = f'OFFLINE ({offline()} is set)' if offline() else 'downloads on first use'
    return f'{folder}: {files}{shared}; {state}'


def check() -> str:
    """The same, for ``mmhier doctor``.

    Raises:
        Problem: If a new file could not be kept.
    """
    folder = next(path for path in (home() / 'models').parents if path.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise Problem(f'{describe()}; {folder} cannot be written to')
    return describe()
