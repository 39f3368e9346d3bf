"""What ``mmhier infer`` takes where no model, weights or detector are named, and the line that says so."""

import argparse
from pathlib import Path

from mmhier.deploy.engines import check_engine
from mmhier.detection.loading import check_detector
from mmhier.zoo import cache
from mmhier.zoo.choice import (
    AUTO,
    DEFAULT_DETECTOR,
    DEFAULT_MODELS,
    RANDOM,
    check_weights,
    default_weights,
    find_weights,
    released,
)
from mmhier.zoo.fetch import licence_line
from mmhier.zoo.names import resolve_config
from mmhier.zoo.registry import Weights, find_entry


def choose(args: argparse.Namespace) -> str:
    """Fill in ``args.model``, unless an exported file says it; return the line that tells what was chosen.

    Raises:
        ValueError: If it cannot be chosen, or what the choice needs is missing.
    """
    parts = []
    named = f'--model {args.model}' if args.model else f'--engine {args.engine}'
    free = not args.model and not Path(args.engine).suffix
    if args.task and not free:
        raise ValueError(f'--task {args.task} chooses a model, and {named} names one: leave one out')
    check_engine(args.engine, args.precision)
    if args.model:  # refused now, not after the line
        config = resolve_config(args.model)
        if not Path(args.engine).suffix:
            check_weights(config, args.weights)
    if args.detector is not None:
        check_detector(args.detector)
    if free:
        args.model = _model(args)
        parts.append(_describe_model(args))
    if args.boxes is None and args.detector is None:
        parts.append(f'detector {DEFAULT_DETECTOR} ({_licence(find_entry(DEFAULT_DETECTOR))})')
    return f'mmhier: {"; ".join(parts)}. Others: --model, --weights, --detector' if parts else ''


def _model(args: argparse.Namespace) -> str:
    """The model of released weights that are named, or that of the task."""
    if args.weights and args.weights != AUTO:
        if args.weights == RANDOM:
            raise ValueError(f'--model is missing: {RANDOM} weights fill any (`mmhier models` lists them)')
        entry = released(args.weights)
        if entry is None or not entry.configs:
            raise ValueError(
                f'--model is missing: the model that {args.weights} is of (`mmhier models` lists them)'
            )
        return entry.configs[0]
    task = args.task or 'pose'
    if task == 'mesh':
        _check_mesh(resolve_config(DEFAULT_MODELS[task]))
    return DEFAULT_MODELS[task]


def _check_mesh(config: Path) -> None:
    """Say all that is missing for the default mesh model at once, before gigabytes are fetched."""
    from mmhier.body_models.model_directory import SITE, body_file

    entry, missing = default_weights(config), []
    try:
        find_weights(config)
    except FileNotFoundError:
        if not cache.present(entry):
            missing.append(
                f'its weights ({entry.size}; {licence_line(entry)}): mmhier models download {entry.name} '
                '--accept-licence'
            )
    if not body_file('neutral').is_file():
        missing.append(f'SMPL, from {SITE} after registration: mmhier body-model setup FILE')
    if missing:
        raise ValueError(
            f'--task mesh takes {config.stem}, which needs {"; and ".join(missing)}. The licence-free body '
            '"open" needs neither: --model swinhmr2_micro_s3_varied is a small model of it that comes with '
            'mmhier and knows synthetic people only'
        )


def _describe_model(args: argparse.Namespace) -> str:
    config = resolve_config(args.model)
    weights = check_weights(config, args.weights)
    entry = released(weights)
    return f'model {config.stem}, weights {f"{entry.name} ({_licence(entry)})" if entry else weights}'


def _licence(entry: Weights) -> str:
    return f'{entry.licence.weights}; trained on {entry.licence.data}'
