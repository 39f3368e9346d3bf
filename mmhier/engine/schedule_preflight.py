"""Look at how a config trains: what is missing, a rate that learns nothing, a score that nobody gives."""

import logging
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from numbers import Real
from typing import Any

from mmengine.config import Config, ConfigDict
from mmpose.evaluation.metrics import CocoMetric
from mmpose.registry import METRICS

from mmhier.engine.many_preflight import METRIC
from mmhier.evaluation.metrics import CocoPhiMetric

logger = logging.getLogger('mmhier')

# What one loop needs, all or none.
_GROUPS = {
    'train_dataloader': ('train_dataloader', 'train_cfg', 'optim_wrapper'),
    'val_dataloader': ('val_dataloader', 'val_cfg', 'val_evaluator'),
    'test_dataloader': ('test_dataloader', 'test_cfg', 'test_evaluator'),
}
_COCO_SCORES = ('AP', 'AP .5', 'AP .75', 'AP (M)', 'AP (L)', 'AR', 'AR .5', 'AR .75', 'AR (M)', 'AR (L)')
_CROWD_SCORES = ('AP', 'AP .5', 'AP .75', 'AR', 'AR .5', 'AR .75', 'AP(E)', 'AP(M)', 'AP(H)')

# Rates from which on no training that anybody has published goes well: with steps of a size of their own, as
# those of Adam, and with steps as long as the gradient (large batches, as LARS has them, take up to 30).
_HIGHEST_ADAPTIVE, _HIGHEST = 1.0, 100.0
_HIGHEST_FACTOR = 1000


def check_schedule(cfg: Config, loaders: tuple[str, ...]) -> None:
    """Check what a run does, beside its data and its model.

    Args:
        cfg: The whole config.
        loaders: The data loaders about to be used.

    Raises:
        ValueError: If something is missing, of another kind, or would make no step.
    """
    for loader in loaders:
        _check_group(cfg, _GROUPS[loader])
        _check_loader(cfg.get(loader), loader)
    if 'train_dataloader' not in loaders or not cfg.get('train_dataloader'):
        return
    _check_loop(cfg.train_cfg)
    for field, wrapper in _wrappers(cfg.optim_wrapper, 'optim_wrapper'):
        _check_rate(wrapper['optimizer'], f'{field}.optimizer')
        _check_multipliers(wrapper, field)
    _check_score(cfg)
    if not cfg.get('load_from') and not cfg.get('resume') and not _is_pretrained(cfg.get('model')):
        logger.warning(
            'training starts from random weights: model.backbone has no init_cfg, and load_from is not set. '
            'init_cfg=dict(type="Pretrained", checkpoint=FILE) of model.backbone names trained ones'
        )


def _check_group(cfg: Config, names: tuple[str, ...]) -> None:
    given = [name for name in names if cfg.get(name) is not None]
    missing = [name for name in names if name not in given]
    if given and missing:
        raise ValueError(
            f'{" and ".join(missing)} {"is" if len(missing) == 1 else "are"} missing or None, but '
            f'{" and ".join(given)} {"is" if len(given) == 1 else "are"} set: they go together, set all or '
            'none (--no-validate leaves out evaluation)'
        )


def _check_loader(loader: ConfigDict | None, name: str) -> None:
    if not isinstance(loader, Mapping):
        return
    for key, least in (('batch_size', 1), ('num_workers', 0)):
        if key in loader and not (_is_whole(loader[key]) and loader[key] >= least):
            raise ValueError(f'{name}.{key} is {loader[key]!r}, expected a whole number from {least}')
    if loader.get('persistent_workers') and not loader.get('num_workers'):
        raise ValueError(
            f'{name}.persistent_workers is True, but {name}.num_workers is 0: set persistent_workers=False, '
            'or num_workers to 1 or more'
        )


def _check_loop(loop: ConfigDict) -> None:
    for key in ('max_epochs', 'max_iters'):
        length = loop.get(key, 1)
        if not (isinstance(length, int | float) and length >= 1 and length == int(length)):
            raise ValueError(
                f'train_cfg.{key} is {length!r}, expected a whole number from 1 on: a run of none trains '
                'nothing. tools/test.py evaluates without training'
            )
    for key, least in (('val_interval', 1), ('val_begin', 0)):
        if key in loop and not (_is_whole(loop[key]) and loop[key] >= least):
            raise ValueError(f'train_cfg.{key} is {loop[key]!r}, expected a whole number from {least}')


def _wrappers(wrapper: Mapping, field: str) -> Iterator[tuple[str, Mapping]]:
    """Dictionaries with an optimizer."""
    if isinstance(wrapper.get('optimizer'), Mapping):
        yield field, wrapper
    for key, value in wrapper.items():
        if key != 'optimizer' and isinstance(value, Mapping):
            yield from _wrappers(value, f'{field}.{key}')


def _check_rate(optimizer: Mapping, field: str) -> None:
    for key in ('lr', 'weight_decay', 'momentum'):
        value = optimizer.get(key)
        if value is not None and (not isinstance(value, Real) or isinstance(value, bool) or not value >= 0):
            raise ValueError(f'{field}.{key} is {value!r}, expected a number from 0')
    if optimizer.get('lr') == 0:
        raise ValueError(f'{field}.lr is 0: nothing would be learnt')
    kind = optimizer.get('type')
    adaptive = isinstance(kind, str) and 'Adam' in kind and not kind.startswith('DAdapt')  # whose rate is 1
    for key, most, usual in (
        ('lr', _HIGHEST_ADAPTIVE if adaptive else _HIGHEST, '1e-4 to 1e-3' if adaptive else '1e-3 to 1'),
        ('weight_decay', 1, '0 to 0.1'),
        ('momentum', 1, '0.9'),
    ):
        value = optimizer.get(key)
        if value is not None and value >= most:
            raise ValueError(
                f'{field}.{key} is {value!r}, with which weights grow without bound: usual for '
                f'{kind or "an optimizer"} is {usual}'
            )


def _check_multipliers(wrapper: Mapping, field: str) -> None:
    """Check that no part of the model learns at a rate that the whole could not have."""
    settings = wrapper.get('paramwise_cfg') or {}
    keys = settings.get('custom_keys') or {}
    found = {f'{field}.paramwise_cfg.bias_lr_mult': settings.get('bias_lr_mult')} | {
        f'{field}.paramwise_cfg.custom_keys.{key}.lr_mult': one.get('lr_mult')
        for key, one in keys.items()
        if isinstance(one, Mapping)
    }
    for name, factor in found.items():
        if isinstance(factor, Real) and not 0 <= factor <= _HIGHEST_FACTOR:
            raise ValueError(f'{name} is {factor!r}, expected a factor from 0 to {_HIGHEST_FACTOR}')
    clip = (wrapper.get('clip_grad') or {}).get('max_norm')
    if isinstance(clip, Real) and not clip > 0:
        raise ValueError(f'{field}.clip_grad.max_norm is {clip!r}: nothing would be learnt')


def _check_score(cfg: Config) -> None:
    """Check that the score by which the best checkpoint is kept is one that an evaluator gives."""
    hook = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    best = hook.get('save_best')
    evaluators = cfg.get('val_evaluator')
    if not best or best == 'auto' or not evaluators or not cfg.get('val_dataloader'):
        return
    scores: list[str] = []
    for evaluator in evaluators if isinstance(evaluators, list | tuple) else [evaluators]:
        parts = {evaluator.get('prefix'): evaluator}
        if evaluator.get('type') == METRIC:
            parts = evaluator.get('judges') or {}
        for name, part in parts.items():
            kind = part.get('type')
            kind = METRICS.get(kind) if isinstance(kind, str) else kind
            if not isinstance(kind, type):
                return
            prefix = name or getattr(kind, 'default_prefix', None)
            scores += [f'{prefix}/{score}' if prefix else score for score in _scores_of(kind, part)]
    for one in best if isinstance(best, list | tuple) else [best]:
        if not any(fnmatchcase(one, score) and ('/' in score or '/' not in one) for score in scores):
            raise ValueError(
                f'default_hooks.checkpoint.save_best is {one!r}, which val_evaluator does not give (but '
                f"{', '.join(scores).replace('*', 'scores without a prefix')}): name one of these, or 'auto'"
            )


def _scores_of(kind: type, evaluator: Mapping) -> tuple[str, ...]:
    """Names of what a metric gives, * where it has not said."""
    if kind not in (CocoMetric, CocoPhiMetric):
        return ('*',)
    scores = _CROWD_SCORES if evaluator.get('iou_type') == 'keypoints_crowd' else _COCO_SCORES
    return (*scores, 'Phi') if kind is CocoPhiMetric else scores


def _is_pretrained(model: Any) -> bool:
    """Whether any part of a model starts from a file."""
    if isinstance(model, list | tuple):
        return any(map(_is_pretrained, model))
    if not isinstance(model, Mapping):
        return False
    if model.get('type') == 'Pretrained' or model.get('pretrained'):
        return True
    return any(map(_is_pretrained, model.values()))


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
