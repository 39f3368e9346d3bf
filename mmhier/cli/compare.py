"""``mmhier compare``: what each stage of an encoder is worth, by training.

Several models, or one encoder cut after several stages, are trained on the same data for as long, with the
same seeds, and scored after their last epoch on the same held-out data: no checkpoint is chosen by its score.
Each training is a command that a user could type. The folder holds

* ``configs/NAME.py``: what is trained, whole, with the budget and all options in it;
* ``NAME/seed_S/``: its training, and ``score.json``;
* ``table.csv``, ``scores.csv`` (a row per training) and ``tradeoff.png``.

What is done is not done again; what was stopped goes on where it was.
"""

import argparse
import re
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmhier.cli.numbers import not_negative, positive
from mmhier.cli.out import check_out_folder
from mmhier.cli.steps import run_step
from mmhier.cli.test import write_json
from mmhier.safe_files import read_json, read_text
from mmhier.tables import markdown, replace_between, write_csv, write_text

if TYPE_CHECKING:
    from mmengine.config import Config

    from mmhier.cost.kept import Cost
    from mmhier.cost.latency import Timing

# What has to be the same, or scores say nothing about the models.
BUDGET = (
    'train_cfg',
    'train_dataloader.batch_size',
    'train_dataloader.dataset.data_root',
    'train_dataloader.dataset.ann_file',
    'val_dataloader.dataset.data_root',
    'val_dataloader.dataset.ann_file',
    'default_hooks.checkpoint.save_best',
)
# Where --write puts the table in a text.
MARKS = ('<!-- comparison, made by `mmhier compare --write` -->', '<!-- end of comparison -->')
AXES = dict(gmacs='GMACs', ms='ms per image', params='million parameters')
_COUNT = re.compile(r'_s\d+(?=_|$)')


class Result(NamedTuple):
    """What is known of a model: its cost, its time for one image, and its score by seed."""

    cost: 'Cost'
    timing: 'Timing'
    scores: list[float]

    @property
    def mean(self) -> float:
        """Of the scores."""
        return statistics.mean(self.scores)

    @property
    def deviation(self) -> float:
        """Of one score from the mean, estimated; 0 of a single one."""
        return statistics.stdev(self.scores) if len(self.scores) > 1 else 0.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    from mmengine.config import DictAction

    parser.add_argument(
        'names', nargs='+', metavar='NAME', help='models, * and ? stand for others: mmhier models lists them'
    )
    parser.add_argument(
        '--stages', type=positive, nargs='+', metavar='N', help='compare each model cut after these stages'
    )
    parser.add_argument(
        '--epochs', type=positive, metavar='N', help='train this long, the schedule shrinks (default: as is)'
    )
    parser.add_argument(
        '--seeds', type=not_negative, nargs='+', default=[0, 1, 2], metavar='S', help='default: 0 1 2'
    )
    parser.add_argument('--runs', type=positive, default=50, help='timed runs of each (default: 50)')
    parser.add_argument(
        '--axis', choices=list(AXES), default='gmacs', help='of the picture (default: %(default)s)'
    )
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/compare'), metavar='FOLDER', help='default: %(default)s'
    )
    parser.add_argument(
        '--write', type=Path, metavar='FILE', help='put the table between its marks in a text file'
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, help='override config values of all')


def run(args: argparse.Namespace) -> int:
    """Train what is not trained yet; print the table."""
    from mmhier.cost.kept import FORMULA, find_cost
    from mmhier.zoo.names import find_configs

    check_out_folder(args.out, '--out')
    if args.write:
        replace_between(read_text(args.write), MARKS, '', str(args.write))  # it has to have the marks
    if len(set(args.seeds)) < len(args.seeds):
        raise ValueError(f'--seeds {" ".join(map(str, args.seeds))}: each once')
    described = {}
    for path in find_configs(args.names):
        for name, cfg in variants(path, args):
            if name in described:
                raise ValueError(f'two models are called {name}: rename the config of one of them')
            described[name] = cfg
    metric = check_budget(described)
    paths = {name: write_config(args.out / 'configs' / f'{name}.py', cfg) for name, cfg in described.items()}
    costs = {name: find_cost(path) for name, path in paths.items()}  # what cannot be built is said now
    scores: dict[str, list[float]] = {name: [] for name in paths}
    for seed in args.seeds:  # by seed: what has been stopped has compared something
        for name, path in paths.items():
            scores[name].append(train(path, args.out / name / f'seed_{seed}', seed, metric))
    timings = time_models(list(paths.values()), args.runs)
    results = [Result(costs[name], timing, scores[name]) for name, timing in zip(paths, timings, strict=True)]
    report(results, metric, next(iter(described.values())), args)
    print(FORMULA)
    return 0


def variants(path: Path, args: argparse.Namespace) -> list[tuple[str, 'Config']]:
    """Names and configs to compare of one config: itself, or a truncation for each of ``--stages``.

    Raises:
        ValueError: If an option does not fit it, or its encoder cannot be cut there.
    """
    from mmhier.engine.settings import load_settings

    if not args.stages:
        return [(path.stem, shorten(load_settings(str(path), args.cfg_options), path, args.epochs))]
    found = []
    for stages in dict.fromkeys(args.stages):
        cfg = load_settings(str(path), args.cfg_options)
        cut(cfg, path, stages)
        part = f'_s{stages}'
        name = _COUNT.sub(part, path.stem, 1) if _COUNT.search(path.stem) else path.stem + part
        found.append((name, shorten(cfg, path, args.epochs)))
    return found


def cut(cfg: 'Config', path: Path, stages: int) -> None:
    """Keep the first stages of the encoder, and fit the neck to them.

    Raises:
        ValueError: If encoder or neck are no truncated encoder and no :class:`ResolutionNeck`, or there are
            not as many stages.
    """
    import copy

    import torch
    from mmengine.registry import init_default_scope
    from mmpose.registry import MODELS

    init_default_scope('mmpose')
    model = cfg.get('model') or {}
    backbone, neck = model.get('backbone') or {}, model.get('neck') or {}
    if 'num_stages' not in backbone or neck.get('type') != 'ResolutionNeck':
        raise ValueError(
            f'{path}: --stages needs a model.backbone with num_stages and model.neck.type=ResolutionNeck'
        )
    backbone.num_stages = stages
    backbone.pop('out_indices', None)
    with torch.device('meta'):
        try:
            encoder = MODELS.build({**copy.deepcopy(backbone), 'init_cfg': None})
        except ValueError as error:
            raise ValueError(f'{path}, --stages {stages}: {error}') from error
    neck.in_channels, neck.in_stride = encoder.feature_info[-1]


def shorten(cfg: 'Config', path: Path, epochs: int | None) -> 'Config':
    """Set the number of epochs, shrink the schedule by epochs with it, and score after the last one only.

    Raises:
        ValueError: If the config does not train by epochs, and another number of them is asked for.
    """
    loop = cfg.get('train_cfg') or {}
    planned = loop.get('max_epochs')
    if planned is None:
        if epochs:
            raise ValueError(
                f'{path} trains by iterations: set --cfg-options train_cfg.max_iters=N in place of --epochs'
            )
        loop.val_interval = loop.get('max_iters')
        return cfg
    epochs = epochs or planned
    for schedule in cfg.get('param_scheduler') or []:
        if not schedule.get('by_epoch', True):
            continue
        for key in ('begin', 'end', 'T_max', 'step_size'):
            if schedule.get(key):
                schedule[key] = max(1, round(schedule[key] * epochs / planned))
        if 'milestones' in schedule:
            schedule.milestones = [round(step * epochs / planned) for step in schedule.milestones]
    loop.max_epochs = loop.val_interval = epochs
    return cfg


def check_budget(described: dict[str, 'Config']) -> str:
    """Check that all learn from the same for as long, and are scored alike; return the score's name.

    Raises:
        ValueError: If they do not; with key and values.
    """
    (first, reference), *others = described.items()
    for key in BUDGET:
        expected = _at(reference, key)
        for name, cfg in others:
            if (value := _at(cfg, key)) != expected:
                raise ValueError(
                    f'{first} has {key}={expected!r}, {name} {value!r}: what is compared needs one budget. '
                    'Compare configs of one recipe, or set it for all with --epochs or --cfg-options'
                )
    metric = _at(reference, 'default_hooks.checkpoint.save_best')
    if not isinstance(metric, str) or '/' not in metric:
        raise ValueError(
            f'{first} does not name its score: set default_hooks.checkpoint.save_best, such as coco/AP, got '
            f'{metric!r}'
        )
    return metric


def write_config(path: Path, cfg: 'Config') -> Path:
    """Write a whole config, unless it is there.

    Raises:
        FileExistsError: If another one is there.
    """
    text = '# Written by mmhier compare: the whole config, with its budget and all options.\n'
    text += cfg.pretty_text
    if path.is_file() and read_text(path) != text:
        raise FileExistsError(
            f'{path} was compared with other settings: choose another folder with --out, or delete '
            f'{path} and {path.parents[1] / path.stem} to train it anew'
        )
    if not path.is_file():
        write_text(path, text)
    return path


def train(path: Path, folder: Path, seed: int, metric: str) -> float:
    """Train, unless that has been done, and return the score after the last epoch."""
    from mmhier.visualization.curves import read_scalars

    kept = folder / 'score.json'
    if not kept.is_file():
        words = ['train', str(path), '--work-dir', str(folder), '--resume']
        run_step([*words, '--cfg-options', f'randomness.seed={seed}'])
        found = [record[metric] for record in read_scalars(folder) if metric in record]
        if not found:
            raise ValueError(f'{folder} holds no {metric}: the evaluator of {path} does not give it')
        write_json({metric: found[-1], 'seed': seed}, str(kept))
    return float(read_json(kept)[metric])


def time_models(paths: list[Path], runs: int) -> list['Timing']:
    """Time from crop to the head's outputs for one image on the CPU, all models in turns."""
    import torch

    from mmhier.cost.latency import time_in_turns
    from mmhier.cost.macs import build_model
    from mmhier.deploy.engines import make_engine

    calls = []
    for path in paths:
        model, (width, height) = build_model(path)
        images = torch.randn(1, 3, height, width)
        engine = make_engine('eager', model, images)
        calls.append(lambda engine=engine, images=images: engine(images))
    return time_in_turns(calls, runs)


def report(results: list[Result], metric: str, cfg: 'Config', args: argparse.Namespace) -> None:
    """Print and write table, scores and picture."""
    from mmhier.visualization.tradeoff import Point, draw_tradeoff

    header = (
        'Config',
        metric,
        '+-',
        'Seeds',
        'Model, M',
        'Encoder, M',
        'Model, GMAC',
        'Median, ms',
        'p95, ms',
    )
    rows = [_row(result) for result in results]
    write_csv(args.out / 'table.csv', header, rows)
    by_seed = [
        (result.cost.name, str(seed), f'{score:.4f}')
        for result in results
        for seed, score in zip(args.seeds, result.scores, strict=True)
    ]
    write_csv(args.out / 'scores.csv', ('Config', 'Seed', metric), by_seed)
    places = dict(gmacs=lambda r: r.cost.macs / 1e9, ms=lambda r: 1e3 * r.timing.median)
    place = places.get(args.axis, lambda r: r.cost.params / 1e6)
    points = [
        Point(r.cost.name, place(r), r.mean, r.cost.params / 1e6, r.deviation if len(r.scores) > 1 else None)
        for r in results
    ]
    budget = _budget(cfg, args.seeds)
    score = f'{metric}, mean and standard deviation of {len(args.seeds)} seeds'
    draw_tradeoff(args.out / 'tradeoff.png', points, AXES[args.axis], score, budget)
    table = f'{markdown(header, rows)}\n\n{budget}.'
    print(f'\n{table}')
    if args.write:
        write_text(args.write, replace_between(read_text(args.write), MARKS, table, str(args.write)))
    print(
        "+-: standard deviation between seeds. ms: one image from crop to the head's outputs, CPU, eager, "
        f'median of {args.runs} runs, all models in turns. {args.out}/: table.csv, scores.csv, tradeoff.png'
    )


def _row(result: Result) -> tuple[str, ...]:
    cost, timing = result.cost, result.timing
    return (
        f'`{cost.name}`', f'{result.mean:.3f}', f'{result.deviation:.3f}', str(len(result.scores)),
        f'{cost.params / 1e6:.2f}', f'{cost.encoder_params / 1e6:.2f}', f'{cost.macs / 1e9:.3f}',
        f'{1e3 * timing.median:.1f}', f'{1e3 * timing.p95:.1f}',
    )  # fmt: skip


def _budget(cfg: 'Config', seeds: list[int]) -> str:
    loop, data = cfg.train_cfg, cfg.train_dataloader
    length = f'{loop.max_epochs} epochs' if 'max_epochs' in loop else f'{loop.max_iters} iterations'
    people = data.dataset.get('data_root') or data.dataset.type
    return (
        f'Budget: {length} of {people} in batches of {data.batch_size}, seeds {" ".join(map(str, seeds))}; '
        'score after the last step'
    )


def _at(cfg: Any, key: str) -> Any:
    for word in key.split('.'):
        cfg = cfg.get(word) if hasattr(cfg, 'get') else None
    return cfg
