"""What ``--cfg-options`` asks for is what is built, or an error: no setting does nothing without a word.

MMEngine merges options into the finished config. A misspelt key is then one more entry that nobody reads,
and a variable that the config file has copied into other settings (``data_root``, ``codec``) changes alone.
Here a variable is changed where it is defined, so its copies follow, and a new key must be one that its
reader knows.
"""

import difflib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.registry import Registry
from mmengine.runner import Runner

from mmhier.compat.config_variables import read_config

# Top-level settings beside the arguments of Runner that MMEngine, MMPose or mmhier read.
_TOP_LEVEL = {
    'activation_checkpointing', 'compile', 'custom_imports', 'efficient_conv_bn_eval',
    'find_unused_parameters', 'model_wrapper_cfg', 'runner_type', 'sync_bn',
}  # fmt: skip
# Dictionaries without a type, by the end of their path: the keys that their readers know.
_READ = {
    'auto_scale_lr': {'enable', 'base_batch_size'},
    'custom_imports': {'imports', 'allow_failed_imports'},
    'data_prefix': {'img', 'img_path', 'depth'},
    'env_cfg': {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    'mp_cfg': {'mp_start_method', 'opencv_num_threads'},
    'randomness': {'seed', 'deterministic', 'diff_rank_seed'},
    'test_cfg': {'fp16'},
    'val_cfg': {'fp16'},
    'train_cfg': {'by_epoch', 'max_epochs', 'max_iters', 'val_begin', 'val_interval', 'dynamic_intervals'},
    'model.test_cfg': {
        'align_corners', 'blur_kernel_size', 'flip_mode', 'flip_test', 'input_size', 'max_instances',
        'max_num_people', 'multiscale_test', 'nms_dist_thr', 'nms_joints_thr', 'output_heatmaps',
        'output_keypoint_indices', 'restore_heatmap_size', 'score_threshold', 'shift_coords', 'shift_heatmap',
    },
    'paramwise_cfg': {
        'bias_decay_mult', 'bias_lr_mult', 'bypass_duplicate', 'custom_keys', 'dcn_offset_lr_mult',
        'dwconv_decay_mult', 'flat_decay_mult', 'layer_decay_rate', 'norm_decay_mult', 'num_layers',
    },
}  # fmt: skip
_LOADER = {'sampler', 'batch_sampler', 'dataset', 'collate_fn', 'worker_init_fn', 'num_batch_per_epoch'}
# What a dictionary without a type builds.
_DEFAULT_TYPES = dict(
    optim_wrapper='OptimWrapper',
    generator='OptimWrapper',
    discriminator='OptimWrapper',
    log_processor='LogProcessor',
)
# Keys that builders take out before they call the class.
_BUILDER = {
    'type', '_scope_', '_delete_', 'init_cfg', 'constructor', 'paramwise_cfg', 'priority', 'name',
    'optimizer', 'generator', 'discriminator',
}  # fmt: skip


def load_settings(path: str, options: Mapping[str, Any] | None) -> Config:
    """Read a config file with ``--cfg-options``.

    Args:
        path: The file.
        options: Dotted names -> values.

    Returns:
        The config; what has been made from a variable that an option names is made from the new value.

    Raises:
        ValueError: If nothing reads an option, with the name that was probably meant.
    """
    options = dict(options or {})
    before = Config.fromfile(path)
    if not options:
        return before
    cfg = read_config(path, options)
    followed = cfg.to_dict()
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, IndexError) as error:
        reason = str(error.args[0]).partition(' [')[0][:200]
        raise ValueError(f'--cfg-options {list(options)} do not fit {path}: {reason}') from error
    for name, value in options.items():
        for full in _leaves(name, value):
            _check_known(cfg, before, full.split('.'))
    _check_read(before.to_dict(), followed, cfg.to_dict(), options)
    return cfg


def _leaves(name: str, value: Any) -> Iterator[str]:
    """Names of all values that an option sets; a dictionary with a type is checked by what it builds."""
    if isinstance(value, Mapping) and value and 'type' not in value:
        for key, child in value.items():
            yield from _leaves(f'{name}.{key}', child)
    else:
        yield name


def _check_known(cfg: Config, before: Config, keys: list[str]) -> None:
    """Check that the first key of an option that the file does not have is one that is read there.

    Raises:
        ValueError: If it is not.
    """
    place, old = cfg._cfg_dict, before._cfg_dict
    for depth, key in enumerate(keys):
        if isinstance(place, list | tuple):
            known = old is not None and key.isdigit() and int(key) < len(old)
            old = old[int(key)] if known else None
            place = place[int(key)]
            continue
        if not isinstance(place, Mapping):
            return
        if not (isinstance(old, Mapping) and key in old):
            allowed = _known_keys(place, keys[:depth], before)
            if allowed is not None and key not in allowed:
                _refuse(keys, depth, allowed | set(old if isinstance(old, Mapping) else ()))
            if keys[:depth] == ['default_hooks'] and 'type' not in (place[key] or {'type': None}):
                _refuse(keys, depth, set(old or ()))
            old = None
        else:
            old = old[key]
        place = place.get(key)


def _refuse(keys: list[str], depth: int, allowed: set[str]) -> None:
    parent = '.'.join(keys[:depth]) or 'the config'
    close = difflib.get_close_matches(keys[depth], allowed, 3, 0.6)
    hint = f'did you mean {" or ".join(close)}?' if close else f'it takes {", ".join(sorted(allowed))}'
    raise ValueError(f'--cfg-options {".".join(keys)}: {parent} has no {keys[depth]!r}; {hint}')


def _known_keys(place: Mapping, path: list[str], before: Config) -> set[str] | None:
    """Keys that are read of a dictionary at ``path``; None where anything may be."""
    if not path:
        return set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | _TOP_LEVEL | set(before)
    if kind := place.get('type', _DEFAULT_TYPES.get(path[-1])):
        return _parameters(kind)
    if path[-1].endswith('_dataloader'):
        from torch.utils.data import DataLoader

        return set(inspect.signature(DataLoader.__init__).parameters) - {'self'} | _LOADER
    for end in ('.'.join(path[-2:]), path[-1]):
        if end in _READ:
            return _READ[end]
    return None


def _parameters(kind: Any) -> set[str] | None:
    """Arguments of a registered class and those that it passes on to its parents; None if it tells not."""
    found = _find(kind) if isinstance(kind, str) else kind
    if not inspect.isclass(found):
        return None
    names: set[str] = set()
    for parent in found.__mro__:
        if '__init__' not in vars(parent):
            continue
        parameters = inspect.signature(parent.__init__).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            return names - {'self'} | _BUILDER
    # What a hook does not know it would hand to functions that do not know it either.
    return names - {'self'} | _BUILDER if issubclass(found, Hook) else None


def _find(name: str) -> Any:
    from mmpose import registry

    for candidate in vars(registry).values():
        if isinstance(candidate, Registry) and (found := candidate.get(name)) is not None:
            return found
    return None


def _check_read(before: Mapping, followed: Mapping, merged: Mapping, options: Mapping[str, Any]) -> None:
    """Check that a variable which no part of a run reads has changed something that is read; say what.

    Args:
        before: The file.
        followed: The file with options put in where variables are defined.
        merged: That with all options merged into it.
        options: The options.

    Raises:
        ValueError: If it has not.
    """
    read = set(inspect.signature(Runner.__init__).parameters) | _TOP_LEVEL
    followers = [path for path in _changes(before, followed, '') if path.partition('.')[0] in read]
    for name in options:
        variable = name.partition('.')[0]
        if variable in read or before.get(variable) == merged.get(variable):
            continue
        if not followers:
            raise ValueError(
                f'--cfg-options {name}: {variable} is a variable of the config file that nothing is made '
                'from, or the file is not of the kind whose variables can be followed (Python, _base_): set '
                'what should change itself'
            )
        more = f' and {len(followers) - 3} more' if len(followers) > 3 else ''
        print_log(f'{name} also sets {", ".join(followers[:3])}{more}', logger='current')


def _changes(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _changes(old.get(key), new.get(key), f'{path}.{key}' if path else key)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _changes(*pair, f'{path}.{index}')
    elif old != new:
        yield path
