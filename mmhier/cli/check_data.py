"""``mmhier check-data``: which of a config's data sets are there, how many people they have, how many of use.

Every data set is opened for itself, so that one that is missing keeps nobody from hearing of the others. Data
sets that need an index build it here, which a run would do at its start.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmhier.tables import markdown
from mmhier.user_errors import USER_ERRORS

HEADER = ('Data set', 'People', 'Used', 'Draws', 'Pictures missing', 'Remarks')
LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
NUM_PICTURES = 20


class Report(NamedTuple):
    """What is known of a data set.

    Attributes:
        name: How it is called.
        people: How many it has; None: it cannot be opened.
        used: How many of them are used.
        missing: How many of ``tried`` pictures are not there.
        tried: Pictures that were looked for.
        remark: Why people are not used, or what is missing.
    """

    name: str
    people: int | None
    used: int
    missing: int
    tried: int
    remark: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the subcommand."""
    from mmengine.config import DictAction

    parser.add_argument('config', help='config file with data loaders, or name of a model, see mmhier models')
    parser.add_argument(
        '--loader', choices=LOADERS, help='look at the data sets of this one only (default: of all of them)'
    )
    parser.add_argument(
        '--pictures',
        type=int,
        default=NUM_PICTURES,
        metavar='N',
        help='look for N pictures of each data set, spread over all (default: %(default)s)',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='override')


def run(args: argparse.Namespace) -> int:
    """Print a table; 1 if a data set cannot be used, or pictures are missing."""
    from mmengine.registry import init_default_scope

    from mmhier.engine.settings import load_settings
    from mmhier.zoo.names import resolve_config

    path = args.config if Path(args.config).is_file() else resolve_config(args.config)
    cfg = load_settings(str(path), args.cfg_options)
    init_default_scope('mmpose')
    found = [
        (epoch, shares, dataset)
        for loader in ([args.loader] if args.loader else LOADERS)
        if cfg.get(loader)
        for epoch, shares, dataset in data_sets(cfg[loader]['dataset'])
    ]
    if not found:
        raise ValueError(f'{args.config} has no data sets in {args.loader or ", ".join(LOADERS)}')
    reports, lines, seen = [], [], set()
    for epoch, count, dataset in found:
        key = repr({name: value for name, value in dataset.items() if name != 'pipeline'})
        if key in seen:
            continue
        seen.add(key)
        report = look_at(dataset, args.pictures)
        reports.append(report)
        draws = f'{epoch // count:,}' if epoch else ''
        lines.append(_line(report, draws))
        print(f'{report.name}: {report.remark or "complete"}', flush=True)
    print(markdown(HEADER, lines))
    usable = sum(report.people is not None for report in reports)
    people = sum(report.used for report in reports)
    print(f'{usable} of {len(reports)} data sets can be used, with {people:,} people')
    return int(usable < len(reports) or any(report.missing for report in reports))


def data_sets(config: Mapping[str, Any]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Draws of an epoch and data sets of a balanced mix (0 and 1 of another), and each config in it."""
    if 'datasets' not in config:
        yield 0, 1, dict(config)
        return
    is_balanced = config.get('weights') == 'balanced' and config.get('epoch_size')
    epoch, count = (config['epoch_size'], len(config['datasets'])) if is_balanced else (0, 1)
    for child in config['datasets']:
        for _, _, dataset in data_sets(dict(config.get('common') or {}) | dict(child)):
            yield epoch, count, dataset


def look_at(config: Mapping[str, Any], pictures: int = NUM_PICTURES) -> Report:
    """Open a data set and look for some of its pictures."""
    from mmpose.registry import DATASETS

    name = str(config.get('name') or config.get('type'))
    fields = {key: value for key, value in config.items() if key not in ('pipeline', 'test_mode')}
    try:
        dataset = DATASETS.build(fields)
        count = len(dataset)
        tried = [round(number * (count - 1) / max(pictures - 1, 1)) for number in range(min(pictures, count))]
        missing = sum(_is_missing(dataset, index) for index in sorted(set(tried)))
    except USER_ERRORS as error:
        return Report(name, None, 0, 0, 0, str(error))
    problems = getattr(dataset, 'problems', {})
    remark = '; '.join(f'{number:,}: {problem}' for problem, number in problems.items())
    people = getattr(dataset, 'num_annotated', count)
    return Report(name, people, count, missing, len(set(tried)), remark)


def _is_missing(dataset: Any, index: int) -> bool:
    """Whether the picture of a person is not there; those inside of archives and databases count as there."""
    if not hasattr(dataset, 'get_data_info'):
        return False
    path = dataset.get_data_info(index).get('img_path')
    return path is not None and ':' not in str(path) and not Path(path).is_file()


def _line(report: Report, draws: str) -> tuple[str, ...]:
    if report.people is None:
        return report.name, '', '', draws, '', 'cannot be used'
    missing = f'{report.missing} of {report.tried}' if report.tried else ''
    remark = 'some are left out' if report.remark else ''
    return report.name, f'{report.people:,}', f'{report.used:,}', draws, missing, remark
