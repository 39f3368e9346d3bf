"""``mmhier models download|path|verify|remove NAME``, and the table of what has been released."""

import argparse
import errno
import sys

from mmhier.tables import markdown
from mmhier.zoo import cache
from mmhier.zoo.fetch import by_hand, fetch_entry
from mmhier.zoo.registry import COMMERCE, Weights, entries_for, find_entry, read_registry

COLUMNS = ('Weights', 'For', 'Score reported', 'Licence of the weights', 'Non-commercial', 'Size', 'Here')
DESCRIPTION = (
    'With list, download, path, verify or remove before names of released weights and detectors: say what is '
    'known of them (all, by default), fetch them, say where they are, hash them again (all that are here, by '
    'default), delete them from the cache.'
)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declare what the actions need."""
    parser.description = f'{parser.description} {DESCRIPTION}'
    parser.add_argument(
        '--accept-licence',
        action='store_true',
        help='with download: accept the licence, of weights that are not for commerce or have none stated',
    )


def run_action(action: str, names: list[str], accept_licence: bool) -> int:
    """Carry out an action; return the exit status."""
    if not names and action not in ('list', 'verify'):
        raise ValueError(f'mmhier models {action} NAME ...: which weights? `mmhier models` lists them')
    entries = [find_entry(name) for name in names]
    if action == 'download':
        return _download(entries, accept_licence)
    return ACTIONS[action](entries)


def _download(entries: list[Weights], accept_licence: bool) -> int:
    """Fetch all that can be had; the status is 1, and the last lines say what could not."""
    failures = []
    for entry in entries:
        try:
            print(fetch_entry(entry, accept_licence))
        except (OSError, ValueError) as error:
            if len(entries) == 1 or getattr(error, 'errno', None) in (errno.ENOSPC, errno.EDQUOT):
                raise
            failures.append(str(error))
    for failure in failures:
        print(f'mmhier models download: {failure}', file=sys.stderr)
    return 1 if failures else 0


def _list(entries: list[Weights]) -> int:
    """The table of some, or all, and below it what is uncertain, and where each comes from."""
    entries = entries or list(read_registry().values())
    print(markdown(COLUMNS, [_row(entry) for entry in entries]))
    for entry in entries:
        checked = entry.checked if isinstance(entry.checked, str) else entry.checked['date']
        uncertain = f'; uncertain: {entry.uncertain}' if entry.uncertain else ''
        print(f'{entry.name}: trained on {entry.licence.data}; {entry.page}; checked: {checked}{uncertain}')
    return 0


def _path(entries: list[Weights]) -> int:
    for entry in entries:
        path = cache.find(entry)
        if path is None:
            fetched = any(source.url for source in entry.sources) and not entry.login
            how = f': mmhier models download {entry.name}' if fetched else ''
            raise FileNotFoundError(f'{entry.name} is not on this machine{how}. {by_hand(entry)}')
        print(path)
    return 0


def _verify(entries: list[Weights]) -> int:
    """Hash files again; the status is 1 if one is damaged, or of those asked for one is not there."""
    asked, status = bool(entries), 0
    if not asked and not any(cache.present(entry) for entry in read_registry().values()):
        print(f'There are no files to verify in {cache.home() / "models"}')
    for entry in entries or read_registry().values():
        paths = cache.present(entry)
        if asked and not paths:
            print(f'{entry.name}: not on this machine')
            status = 1
        for path in paths:
            try:
                problem = cache.problem_of(entry, path, again=True)
            except (OSError, ValueError) as error:
                problem = f'cannot be read ({error})'
            if problem:
                status = 1
                problem += '; it is fetched again when it is used' if path == cache.path_of(entry) else ''
                print(f'{entry.name}: {path} {problem}')
                continue
            known = 'as published' if entry.sha256 else f'{cache.sha256_of(path)} is not known'
            print(f'{entry.name}: {path} is whole (SHA-256 {known})')
    return status


def _remove(entries: list[Weights]) -> int:
    for entry in entries:
        size = cache.remove(entry)
        print(f'{entry.name}: {size:,} bytes deleted' if size else f'{entry.name}: nothing was in the cache')
        if left := cache.present(entry):
            print(f'{entry.name}: {left[0]} is not in the cache and stays', file=sys.stderr)
    return 0


ACTIONS = {'list': _list, 'download': None, 'path': _path, 'verify': _verify, 'remove': _remove}


def weights_table(configs: list[str]) -> str:
    """What has been released for some configs; all, and the detectors, without any."""
    entries = list(read_registry().values())
    if configs:
        wanted = {entry.name for config in configs for entry in entries_for(config)}
        entries = [entry for entry in entries if entry.name in wanted]
    return markdown(COLUMNS, [_row(entry) for entry in entries]) if entries else ''


def _row(entry: Weights) -> tuple[str, ...]:
    score = f'{entry.score.value:g} {entry.score.metric}' if entry.score else ''
    size = entry.size.replace('of unknown size', '?').replace(' bytes', ' B').replace('about ', '~')
    purpose = ', '.join(entry.configs) if entry.kind != 'detector' else 'detector'
    here = 'yes' if cache.present(entry) else ''
    return (
        f'`{entry.name}`',
        purpose,
        score,
        entry.licence.weights,
        COMMERCE[entry.non_commercial],
        size,
        here,
    )
