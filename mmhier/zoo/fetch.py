"""Weights by name: the file, fetched if it is not here, checked before it is used.

One process fetches and the others wait for it, so that data loaders and the ranks of a training make one
download. Nothing is asked without a terminal, and nothing is fetched while ``MMHIER_OFFLINE`` or
``HF_HUB_OFFLINE`` is 1.
"""

import contextlib
import errno
import sys
from collections.abc import Iterator
from pathlib import Path

from mmhier.download import Expected, addresses, download
from mmhier.folder_lock import wait_for
from mmhier.network import DownloadError, offline
from mmhier.user_cache import HOME_VARIABLE
from mmhier.zoo import cache
from mmhier.zoo.archive_member import extract_member
from mmhier.zoo.registry import COMMERCE, Source, Weights, find_entry


class LicenceError(ValueError):
    """A licence has to be accepted first."""


def fetch(name: str, accept_licence: bool = False) -> Path:
    """Return the file of a name, downloaded if need be.

    Args:
        name: Of an entry, see ``mmhier models``.
        accept_licence: The user accepts the licence, where that is asked for.

    Raises:
        ValueError: If there is no such name.
        LicenceError: If its licence has to be accepted first.
        OSError: If it cannot be had; the text says what was tried and where to put the file by hand.
    """
    return fetch_entry(find_entry(name), accept_licence)


def fetch_entry(entry: Weights, accept_licence: bool = False) -> Path:
    """The same for an entry; see :func:`fetch`."""
    if path := cache.find(entry):
        return path
    if not _archive_by_hand(entry):
        _check_reachable(entry)
        accept_licence = _consent(entry, accept_licence)
    with _alone(entry):
        # Another process may have fetched it meanwhile.
        if cache.path_of(entry).is_file() and not cache.problem_of(entry, cache.path_of(entry)):
            return cache.path_of(entry)
        if archive := _archive_by_hand(entry):
            path, source = archive
            _tell(f'{entry.name}: taken from {path}')
            return _unpacked(entry, source, path, f'put there by hand ({path})', accept_licence)
        again = 'again: ' if cache.path_of(entry).is_file() else ''
        doubt = f'; uncertain: {entry.uncertain}' if entry.uncertain else ''
        _tell(f'{entry.name}: fetching {again}{entry.size}; {licence_line(entry)}{doubt}')
        return _downloaded(entry, accept_licence)


def licence_line(entry: Weights) -> str:
    """What is known of the licences of an entry, in one line."""
    remark = f' (non-commercial: {COMMERCE[entry.non_commercial]})' if entry.non_commercial != 'no' else ''
    licence = entry.licence
    return f'licence of the weights: {licence.weights}; trained on: {licence.data}{remark}; {entry.page}'


def by_hand(entry: Weights) -> str:
    """How to get a file without this program."""
    sources = [source for source in entry.sources if source.file]
    archive = sources[0] if sources and sources[0].member else None
    path = cache.path_of(entry)
    wanted = f'the file ({entry.expected}) as {path}'
    if archive:
        known = f' (SHA-256 {archive.sha256})' if archive.sha256 else ''
        wanted = f'the archive as {path.with_name(archive.file)}{known}, or its member {archive.member} '
        wanted += f'({entry.expected}) as {path}'
    places = ' or '.join(filter(None, [*(source.url for source in sources), entry.page]))
    return f'To do it by hand, get it from {places} and put {wanted}'


def _check_reachable(entry: Weights) -> None:
    """Make sure that the file may and can be fetched."""
    if variable := offline():
        raise DownloadError(
            f'{entry.name} is not on this machine, and {variable} forbids to download it. {by_hand(entry)}'
        )
    if entry.login or not any(source.url for source in entry.sources):
        reason = 'its publisher wants a login' if entry.login else entry.note or 'there is no address for it'
        raise DownloadError(f'{entry.name} cannot be downloaded by a program: {reason}. {by_hand(entry)}')


def _consent(entry: Weights, accepted: bool) -> bool:
    """Whether the user accepted the licence; asks on a terminal.

    Raises:
        LicenceError: If it has to be accepted and was not.
    """
    if accepted or not entry.needs_consent:
        return accepted
    if sys.stdin and sys.stdin.isatty() and sys.stderr.isatty():
        _tell(f'{entry.name}: {licence_line(entry)}')
        _tell('Do you accept this? [y/N] ', end='')
        if sys.stdin.readline().strip().lower() in ('y', 'yes'):
            return True
    raise LicenceError(
        f'{entry.name} has a licence that has to be accepted first. {licence_line(entry)}. If you accept it: '
        f'mmhier models download {entry.name} --accept-licence'
    )


@contextlib.contextmanager
def _alone(entry: Weights) -> Iterator[None]:
    """Hold the entry's folder; wait for a process that does."""
    folder = cache.folder_of(entry)
    try:
        lock = wait_for(folder, lambda: _tell(f'{entry.name}: waiting for another process that fetches it'))
    except NotADirectoryError:
        raise
    except OSError as error:
        raise DownloadError(
            f'{entry.name} is not on this machine, and {folder} cannot be written to ({error.strerror}): '
            f'set {HOME_VARIABLE} to a folder of yours, or have it put there. {by_hand(entry)}'
        ) from error
    try:
        yield
    finally:
        lock.release()


def _downloaded(entry: Weights, accepted: bool) -> Path:
    """Fetch the file from the first source that has it."""
    failures = []
    for source in entry.sources:
        if source.url is None:
            continue
        try:
            return _from_source(entry, source, accepted)
        except (DownloadError, ValueError) as error:
            failures.append(str(error))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise OSError(
                    error.errno,
                    f'{error.strerror}. {entry.name} has {entry.size}; make room, or set '
                    f'{HOME_VARIABLE} to a folder with room',
                    error.filename,
                ) from error
            raise
    raise DownloadError(f'{entry.name} could not be downloaded. {"; ".join(failures)}. {by_hand(entry)}')


def _from_source(entry: Weights, source: Source, accepted: bool) -> Path:
    path = cache.path_of(entry)
    if source.member is None:
        part = path.with_name(f'{path.name}.part')
        expected = Expected(entry.bytes, lambda file: _wrong(entry.known_hash, file), bool(entry.known_hash))
        url = download(addresses([source.url]), part, expected, entry.name)
        if page := cache.page_instead(entry, part):
            part.unlink()
            raise ValueError(f'{url}: what came {page}')
        sha256 = cache.sha256_of(part)
        part.replace(path)
        cache.write_receipt(entry, path, url, sha256, accepted)
        return path
    archive = path.with_name(f'{source.file}.part')
    expected = Expected(source.bytes, lambda file: _wrong(source.sha256, file), bool(source.sha256))
    url = download(addresses([source.url]), archive, expected, entry.name)
    try:
        return _unpacked(entry, source, archive, url, accepted)
    except ValueError as error:
        raise ValueError(f'{url}: {error}') from error
    finally:
        archive.unlink()


def _wrong(sha256: str | None, path: Path) -> str | None:
    """What is wrong with what was downloaded, as the end of a sentence."""
    found = cache.sha256_of(path, again=True)
    return None if found.startswith(sha256 or '') else f'has the SHA-256 {found} instead of {sha256}'


def _unpacked(entry: Weights, source: Source, archive: Path, origin: str, accepted: bool) -> Path:
    """Take the file out of an archive."""
    path = cache.path_of(entry)
    extracted = path.with_name(f'{path.name}.new')
    try:
        extract_member(archive, source.member, extracted, entry.bytes)
        if problem := _wrong(entry.known_hash, extracted):
            raise ValueError(f'{source.member} in {archive.name} {problem}')
        sha256 = cache.sha256_of(extracted)
        extracted.replace(path)
    finally:
        extracted.unlink(missing_ok=True)
    cache.write_receipt(entry, path, origin, sha256, accepted)
    return path


def _archive_by_hand(entry: Weights) -> tuple[Path, Source] | None:
    """An archive that the user has put where it is looked for."""
    for source in entry.sources:
        if source.member and (path := cache.find_archive(entry, source)):
            return path, source
    return None


def _tell(text: str, end: str = '\n') -> None:
    print(text, end=end, file=sys.stderr, flush=True)
