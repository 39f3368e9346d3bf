"""Look for misspelt names in a config before anything is built: of types, of their arguments, of settings.

MMEngine answers a misspelt type with a traceback of four levels, a misspelt argument with Python's, and a
misspelt setting not at all: ``train_dataloder`` is one more variable of the file.
"""

import difflib
import inspect
import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

from mmengine.config import Config
from mmengine.registry import Registry

from mmhier.compat.installation import advice
from mmhier.engine.config_keys import find, known_keys, meant, names_in, registries
from mmhier.engine.many_preflight import HEADS, heads_of

logger = logging.getLogger('mmhier')

# Settings that every run reads beside its data loaders and evaluators.
_ALWAYS = ('model', 'default_hooks', 'custom_hooks', 'visualizer', 'log_processor', 'env_cfg', 'randomness')
_TRAINING = ('train_cfg', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr', 'model_wrapper_cfg')
# What is built at a place, by the end of its path (# is a place in a list): its registry in mmpose.registry.
_HOMES = {
    'model': 'MODELS',
    'model.backbone': 'MODELS',
    'model.neck': 'MODELS',
    'model.head': 'MODELS',
    'model.data_preprocessor': 'MODELS',
    'model.head.decoder': 'KEYPOINT_CODECS',
    'model.head.loss': 'MODELS',
    'pipeline.#': 'TRANSFORMS',
    'dataset.dataset': 'DATASETS',
    'datasets.#': 'DATASETS',
    'val_evaluator': 'METRICS',
    'test_evaluator': 'METRICS',
    'val_evaluator.#': 'METRICS',
    'test_evaluator.#': 'METRICS',
    'optim_wrapper.optimizer': 'OPTIMIZERS',
    'param_scheduler': 'PARAM_SCHEDULERS',
    'param_scheduler.#': 'PARAM_SCHEDULERS',
    'custom_hooks.#': 'HOOKS',
    'visualizer': 'VISUALIZERS',
} | {
    f'{split}_dataloader.{name}': home
    for split in ('train', 'val', 'test')
    for name, home in dict(dataset='DATASETS', sampler='DATA_SAMPLERS').items()
}  # fmt: skip
# Places of which all arguments without a default are in the config.
_WHOLE = {'MODELS', 'KEYPOINT_CODECS', 'TRANSFORMS'}
# Dictionaries without a type whose keys have no other readers.
_SETTINGS = ('train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg', 'val_cfg', 'test_cfg')
# Arguments that are taken out before the class is called.
_OF_BUILDERS = {'convert_to_iter_based', 'requires_grad'}
_NO_LISTS = {'default_hooks', 'model', 'optim_wrapper', *_SETTINGS}
# So similar to a setting that nobody would call a variable of his own that; to a type; to a key.
_SETTING_ALIKE, _TYPE_ALIKE, _KEY_ALIKE = 0.88, 0.85, 0.8
_OWN = 'custom_imports = dict(imports=["my_module"], allow_failed_imports=False)'


def check_names(cfg: Config, loaders: tuple[str, ...]) -> None:
    """Check the names of everything that a run builds.

    Args:
        cfg: The whole config.
        loaders: The data loaders about to be used, e.g. ``('train_dataloader', 'val_dataloader')``.

    Raises:
        ValueError: If a name is not known, with the one that was probably meant; if something that is built
            has no type, or lacks an argument; if ``default_scope`` is missing.
    """
    _check_settings(cfg)
    read = [*_ALWAYS, *(_TRAINING if 'train_dataloader' in loaders else ())]
    for loader in loaders:
        split = loader.partition('_')[0]
        read += [loader, f'{split}_evaluator', f'{split}_cfg']
    for name in dict.fromkeys(read):
        if cfg.get(name) is not None:
            _check(cfg[name], [name])
    _check_scope(cfg)


def _check_settings(cfg: Config) -> None:
    """Refuse a variable that looks like a setting with a slip in it."""
    known = known_keys({}, [])
    for name, value in cfg.items():
        near = difflib.get_close_matches(name, known, 1, _SETTING_ALIKE)
        if name not in known and near and isinstance(value, Mapping | list):
            raise ValueError(f'the config sets {name}, which nothing reads; did you mean {near[0]}?')


def _check_scope(cfg: Config) -> None:
    """MMEngine's own registries are asked where no scope is named, and they know no models of MMPose."""
    kind = (cfg.get('model') or {}).get('type')
    if cfg.get('default_scope') is None and isinstance(kind, str) and '.' not in kind:
        home = _registry('MODELS').parent
        if home is not None and home.get(kind) is None:
            raise ValueError(
                f"default_scope is missing, so model.type={kind!r} is looked for among MMEngine's models: "
                "add default_scope = 'mmpose', or _base_ = ['configs/_base_/default_runtime.py']"
            )


def _check(place: Any, path: list[str]) -> None:
    if isinstance(place, list | tuple):
        if '.'.join(path) in _NO_LISTS:
            raise ValueError(f'{path[-1]} is a list, expected a dictionary: {path[-1]} = dict(...)')
        for number, child in enumerate(place):
            _check(child, [*path, str(number)])
        return
    where, home = '.'.join(path), _home(path)
    if path[:-1] == ['default_hooks']:
        home = 'HOOKS'
    if not isinstance(place, Mapping):
        if isinstance(place, str | int | float) and (home or path == ['default_hooks']):
            raise ValueError(f'{where} is {place!r}, expected a dictionary with a type: dict(type=...)')
        return
    if home is not None and 'type' not in place:
        raise ValueError(
            f'{where} has no type, only {", ".join(map(str, place)) or "an empty dictionary"}: type="NAME" '
            'says what is built (with _delete_=True nothing is left of the _base_)'
        )
    if '_scope_' not in place:  # of another library, by its own rules
        _check_type(place, where, home)
        _check_keys(place, path, where, home)
        if path == ['optim_wrapper'] and isinstance(place.get('constructor'), str):
            _check_type(dict(type=place['constructor']), f'{where}.constructor', 'OPTIM_WRAPPER_CONSTRUCTORS')
    for key, child in place.items():
        if key == 'metainfo':  # types of keypoints are other ones
            continue
        if path == ['model'] and key == 'head' and _is_many(child):
            _check_type(child, 'model.head', 'MODELS')
            _check_keys(child, ['model', 'head'], 'model.head', 'MODELS')
            for name, head in heads_of(place).items():
                _check(head, ['model', 'head', 'heads', str(name)])
            continue
        if isinstance(child, Mapping | list | tuple) or _home([*path, str(key)]):
            _check(child, [*path, str(key)])


def _home(path: list[str]) -> str | None:
    """Registry of what is built at a place."""
    if path[:3] == ['model', 'head', 'heads']:  # each is one decoder
        path = ['model', 'head', *path[4:]]
    if len(path) > 1 and not path[-1].isdecimal():
        if path[-2] == 'datasets' and path[0].endswith('_dataloader'):
            return 'DATASETS'
        if path[-2] == 'judges' and path[0].endswith('_evaluator'):
            return 'METRICS'
    parts = ['#' if part.isdecimal() else part for part in path]
    ends = ('.'.join(parts), '.'.join(parts[-2:]) if len(parts) > 1 else '')
    return next((_HOMES[end] for end in ends if end in _HOMES), None)


def _is_many(head: Any) -> bool:
    return isinstance(head, Mapping) and head.get('type') == HEADS


def _registry(name: str) -> Registry:
    from mmpose import registry

    return getattr(registry, name)


def _check_type(place: Mapping, where: str, home: str | None) -> None:
    kind = place.get('type')
    if not isinstance(kind, str):
        return
    where = where if where.endswith('.constructor') else f'{where}.type'
    scope = kind.partition('.')[0] if '.' in kind else None
    if scope is not None:
        if find_spec(scope) is None:
            raise ValueError(
                f'{where}={kind!r}: there is no package {scope} here. '
                f'{advice(scope) or f"Install it (pip install {scope})"}, or correct the name'
            )
        if home != 'MODELS':
            return
    if find(kind) is not None:
        if home and home != 'OPTIMIZERS' and scope is None and _registry(home).get(kind) is None:
            raise ValueError(f'{where}={kind!r}: there is one, but not among {home.lower()}')
        return
    names = {name for one in ([_registry(home)] if home else registries()) for name in names_in(one)}
    by_case = {name.lower(): name for name in sorted(names)}
    near = difflib.get_close_matches(kind.lower(), by_case, 2, 0.75 if home else _TYPE_ALIKE)
    if home or near:  # elsewhere it may be a name of another library, as of albumentations
        hint = f'did you mean {" or ".join(by_case[name] for name in near)}? A class' if near else 'a class'
        raise ValueError(
            f'{where}={kind!r}: there is no such name; {hint} of your own is registered by a module that '
            f'the config imports: {_OWN}'
        )


def _check_keys(place: Mapping, path: list[str], where: str, home: str | None) -> None:
    allowed = known_keys(place, path)
    if allowed is None:
        return
    kind = place.get('type')
    name = kind if isinstance(kind, str | None) else kind.__name__
    for key in (str(key) for key in place if key not in allowed | _OF_BUILDERS):
        text = f'{where}{f" ({name})" if name else ""} has no {key!r}{meant(key, allowed)}'
        if home or where in _SETTINGS or path[-1] == 'clip_grad':
            raise ValueError(text)
        # Others may read more of it.
        if difflib.get_close_matches(key, allowed, 1, _KEY_ALIKE) and (
            where == 'model.test_cfg' or path[-1] not in _SETTINGS
        ):
            logger.warning('%s', text)
    missing = _missing(place) if home in _WHOLE else ()
    if missing:
        raise ValueError(f'{where} ({name}) lacks {", ".join(missing)}')


def _missing(place: Mapping) -> list[str]:
    """Arguments of a class that have no default and no value."""
    kind = place.get('type')
    found = find(kind) if isinstance(kind, str) else kind
    if not inspect.isclass(found):
        return []
    parameters = list(inspect.signature(found.__init__).parameters.values())[1:]
    return [
        one.name
        for one in parameters
        if one.default is one.empty
        and one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)
        and one.name not in place
    ]
