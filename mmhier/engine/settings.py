"""What ``--cfg-options`` asks for is what is built, or an error: no setting does nothing without a word.

MMEngine merges options into the finished config. A misspelt key is then one more entry that nobody reads,
and a variable that the config file has copied into other settings (``data_root``, ``codec``) changes alone.
Here a variable is changed where it is defined, so its copies follow, and a new key must be one that its
reader knows. A variable that a config file sets again, after its base has made something of the old value,
changes alone as well, and is an error.
"""

import difflib
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from torch import nn

from mmhier.compat.config_variables import read_config, unread_variables
from mmhier.engine.config_keys import (
    DEFAULT_TYPES,
    READ,
    find,
    known_keys,
    meant,
    names_in,
    registries,
)
from mmhier.engine.setting_kinds import check_kind
from mmhier.engine.unread_names import elsewhere, read_names, say_unread
from mmhier.user_errors import USER_ERRORS

# A key that nobody is known to read is taken for a misspelt one if it is as similar as this to one there.
_ALIKE = 0.8
# Dictionaries whose keys are names that a user chooses.
_NAMES = {'custom_keys', 'datasets'}
# Parts of a config in which a number is not replaced by anything else.
_OF_NUMBERS = {'optimizer', 'param_scheduler', 'train_cfg'}
# And those in which several numbers are not replaced by one.
_OF_SIZES = {'optimizer', 'codec', 'decoder', 'encoder', 'pipeline'}


def load_settings(path: str, options: Mapping[str, Any] | None) -> Config:
    """Read a config file with ``--cfg-options``.

    Args:
        path: The file.
        options: Dotted names -> values.

    Returns:
        The config; what has been made from a variable that an option names is made from the new value.

    Raises:
        ValueError: If nothing reads an option, with the name that was probably meant, or a file sets a
            variable of its base too late.
    """
    options = dict(options or {})
    before = _read(path)
    say_unread(path, before)
    if not options:
        _check_set_in_time(path, before, options)
        return before
    for name, value in options.items():
        _check_shape(before, name, value)
    cfg = read_config(path, options)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError, IndexError) as error:
        reason = str(error.args[0]).partition(' [')[0][:200]
        raise ValueError(f'--cfg-options {list(options)} do not fit {path}: {reason}') from error
    for name in options:
        if name.endswith('.init_cfg.checkpoint'):  # all that a user says where the config has no init_cfg
            _at(cfg, name.split('.')[:-1]).setdefault('type', 'Pretrained')
    if any(name.partition('.')[0] == 'custom_imports' for name in options):
        import_modules_from_strings(**cfg.custom_imports)
    for name, value in options.items():
        for full in _leaves(name, value):
            _check_known(cfg, before, full.split('.'))
            _check_type(cfg, before, full.split('.'))
            _check_kind(cfg, before, full)
    _check_loop(cfg)
    _check_read(path, before.to_dict(), cfg.to_dict(), options)
    _check_set_in_time(path, cfg, options)
    return cfg


def check_custom_keys(model: nn.Module, options: Mapping[str, Any] | None) -> None:
    """Check that every pattern of ``custom_keys`` among the options is in the name of a parameter.

    Raises:
        ValueError: If one is not, and so would change no learning rate and no decay.
    """
    names = [name for name, _ in model.named_parameters()]
    for option, value in (options or {}).items():
        for full in _leaves(option, value):
            _, _, rest = full.partition('.custom_keys.')
            pattern = rest.partition('.')[0]
            if rest and not any(pattern in name for name in names):
                parts = {part for name in names for part in name.split('.')}
                raise ValueError(
                    f'--cfg-options {full}: no parameter of the model has {pattern!r} in its name'
                    + meant(pattern, parts)
                )


def _read(path: str) -> Config:
    """Read a config file, which is a program: whatever it raises is of the user's making."""
    try:
        return Config.fromfile(path)
    except ImportError as error:
        reason = str(error.__cause__ or error).partition('\n')[0]
        raise ImportError(
            f'{path}: {reason} (custom_imports, or an import of the file); modules of your own are found in '
            'the folder that you are in with PYTHONPATH=.'
        ) from error
    except USER_ERRORS:
        raise
    except Exception as error:
        line = getattr(error, 'lineno', None)
        place = f', line {line}' if line and not isinstance(error, AttributeError) else ''
        raise ValueError(
            f'{path}{place} cannot be read: {type(error).__name__}: {" ".join(str(error).split())[:300]}'
        ) from error


def _check_shape(before: Config, name: str, value: Any) -> None:
    """Check that numbers stay numbers, and dictionaries that something is built from are no plain values.

    Raises:
        ValueError: If they are not.
    """
    keys, old = name.split('.'), _at(before, name.split('.'))
    last = keys[-1]
    counted = len(keys) == 1 or keys[-2].endswith('_dataloader') or {*keys[:-1]} & _OF_NUMBERS
    if counted and type(old) in (int, float) and isinstance(value, str | list | tuple):
        raise ValueError(f'--cfg-options {name}={value!r}: expected a number, such as {old!r}')
    if {*keys[:-1]} & _OF_SIZES and isinstance(old, list | tuple) and isinstance(value, int | float | str):
        raise ValueError(f'--cfg-options {name}={value!r}: expected {len(old)} values, such as {old!r}')
    entries = value if isinstance(value, list | tuple) else [value]
    if value is None or callable(value) or all(isinstance(one, Mapping) for one in entries):
        return
    built = isinstance(old, Mapping) and ('type' in old or last.endswith('_dataloader') or last in READ)
    if built:
        key = next(iter(old))
        raise ValueError(
            f'--cfg-options {name}={value!r}: {name} is a dictionary; set its keys, as {name}.{key}'
        )
    if isinstance(old, list | tuple) and any(isinstance(one, Mapping) for one in old):
        raise ValueError(
            f'--cfg-options {name}={value!r}: {name} is a list of dictionaries; set theirs, as {name}.0.'
            f'{next(iter(old[0]), "type") if isinstance(old[0], Mapping) else "type"}'
        )


def _check_type(cfg: Config, before: Config, keys: list[str]) -> None:
    """Check that a type put in the place of a registered one is registered, too.

    Raises:
        ValueError: If it is not.
    """
    if keys[-1] != 'type':
        return
    old, new = (_at(config, keys[:-1]) for config in (before, cfg))
    if not isinstance(old, Mapping) or not isinstance(new, Mapping) or '_scope_' in new:
        return
    kind, former = new['type'], old.get('type')
    if not isinstance(kind, str) or '.' in kind or not isinstance(former, str) or find(kind) is not None:
        return
    homes = [registry for registry in registries() if registry.get(former) is not None]
    if homes:
        names = {name for home in homes for name in names_in(home)}
        raise ValueError(f'--cfg-options {".".join(keys)}: there is no {kind!r}{meant(kind, names)}')


def _check_kind(cfg: Config, before: Config, name: str) -> None:
    """Check that a value is of a kind that its reader takes; errors as of :func:`check_kind`."""
    *path, key = name.split('.')
    place = _at(cfg, path)
    if not isinstance(place, Mapping) or key not in place:
        return
    kind: Any = place.get('type') or DEFAULT_TYPES.get(path[-1]) if path else Runner
    built = find(kind) if isinstance(kind, str) else kind
    if kind is None or built is not None:
        check_kind(name, place[key], _at(before, [*path, key]), built)


def _at(cfg: Config, keys: list[str]) -> Any:
    """What is at a place of a config; None if there is no such place."""
    place: Any = cfg._cfg_dict
    for key in keys:
        if isinstance(place, Mapping):
            place = place.get(key)
        elif isinstance(place, list | tuple) and key.isdigit() and int(key) < len(place):
            place = place[int(key)]
        else:
            return None
    return place


def _check_loop(cfg: Config) -> None:
    """Check that the training loop counts either epochs or iterations.

    Raises:
        ValueError: If keys of both are given.
    """
    loop = cfg.get('train_cfg') or {}
    by_epoch = loop.get('by_epoch', True)
    wrong = 'max_iters' if by_epoch else 'max_epochs'
    if 'type' not in loop and wrong in loop:
        right = 'max_epochs' if by_epoch else 'max_iters'
        raise ValueError(
            f'train_cfg has {wrong}, but with by_epoch={by_epoch} it takes {right}; a config file with '
            f'train_cfg = dict(_delete_=True, by_epoch={not by_epoch}, {wrong}=...) counts the other way'
        )


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
            allowed = known_keys(place, keys[:depth])
            if not depth:
                allowed |= set(before)
            if allowed is None and isinstance(old, Mapping) and keys[depth - 1] not in _NAMES:
                if difflib.get_close_matches(key, old, 1, _ALIKE):
                    _refuse(keys, depth, set(old))
            elif allowed is not None and key not in allowed:
                _refuse(keys, depth, allowed | set(old if isinstance(old, Mapping) else ()))
            if keys[:depth] == ['default_hooks'] and 'type' not in (place[key] or {'type': None}):
                _refuse(keys, depth, set(old or ()))
            old = None
        else:
            old = old[key]
        place = place.get(key)


def _refuse(keys: list[str], depth: int, allowed: set[str]) -> None:
    parent = '.'.join(keys[:depth]) or 'the config'
    hint = (not depth and elsewhere(keys[0])) or meant(keys[depth], allowed)
    raise ValueError(f'--cfg-options {".".join(keys)}: {parent} has no {keys[depth]!r}{hint}')


def _check_read(path: str, before: Mapping, merged: Mapping, options: Mapping[str, Any]) -> None:
    """Check that a variable which no part of a run reads has changed something that is read; say what.

    Args:
        path: The file.
        before: Its content.
        merged: Its content with all options.
        options: The options.

    Raises:
        ValueError: If it has not.
    """
    read = read_names()
    by_variable: dict[str, dict[str, Any]] = {}
    for name, value in options.items():
        variable = name.partition('.')[0]
        if variable not in read and before.get(variable) != merged.get(variable):
            by_variable.setdefault(variable, {})[name] = value
    for variable, own in by_variable.items():
        followed = read_config(path, own).to_dict()
        followers = [place for place in _changes(before, followed, '') if place.partition('.')[0] in read]
        names = ', '.join(own)
        if not followers:
            raise ValueError(
                f'--cfg-options {names}: {variable} is a variable of the config file that nothing is made '
                'from, or the file is not of the kind whose variables can be followed (Python, _base_): set '
                'what should change itself'
            )
        more = f' and {len(followers) - 3} more' if len(followers) > 3 else ''
        print_log(f'{names} also sets {", ".join(followers[:3])}{more}', logger='current')
        _warn_of_copies(variable, before[variable], merged, read)


def _check_set_in_time(path: str, cfg: Config, options: Mapping[str, Any]) -> None:
    """Check that no part of a run is still made of what a variable was in a base of the file that sets it.

    Args:
        path: The file.
        cfg: Its content with all options.
        options: The options.

    Raises:
        ValueError: If one is, and the file that sets the variable does not use it. Of a pipeline it is a
            warning.
    """
    read, merged = read_names(), cfg.to_dict()
    for variable, file in unread_variables(path, read).items():
        if variable not in merged:
            continue
        followed = read_config(path, {variable: merged[variable], **options})
        followed.merge_from_dict(dict(options))
        changes = _changes(merged, followed.to_dict(), '')
        # Of a size that has changed the whole is named, not each number.
        places = list(dict.fromkeys(re.sub(r'\.\d+$', '', place) for place in changes))
        places = [place for place in places if place.partition('.')[0] in read]
        if places:
            others = len(places) - 1
            old, value = repr(_at(cfg, places[0].split('.')))[:100], merged[variable]
            key = f'{variable}.KEY' if isinstance(value, Mapping) else variable
            message = (
                f'{variable} is set in {file}, but {places[0]} is still {old}, which its base made of the '
                f'old value{f" (as are {others} more)" if others else ""}: set it with --cfg-options '
                f'{key}=..., which all that is made of it follows, or set {places[0]} '
                f'{"and the others " if others else ""}in the file as well'
            )
            if isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
                # Published configs of MMPose have such pipelines, and their weights can be tested.
                print_log(message, logger='current', level=logging.WARNING)
            else:
                raise ValueError(message)


def _warn_of_copies(variable: str, old: Any, merged: Mapping, read: set[str]) -> None:
    """Name paths that the files spell out with the folder that a variable had."""
    if not isinstance(old, str) or not old.endswith('/'):
        return
    places = [
        place
        for name in read & merged.keys()
        for place, value in _values(merged[name], name)
        if isinstance(value, str) and value.startswith(old)
    ]
    if places:
        print_log(
            f'{variable} does not set {", ".join(places[:3])}, which still begins with {old}',
            logger='current',
            level=logging.WARNING,
        )


def _values(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Places and values that are no dictionaries or lists."""
    if isinstance(tree, Mapping | list | tuple):
        for key, child in tree.items() if isinstance(tree, Mapping) else enumerate(tree):
            yield from _values(child, f'{path}.{key}')
    else:
        yield path, tree


def _changes(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            yield from _changes(old.get(key), new.get(key), f'{path}.{key}' if path else key)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from _changes(*pair, f'{path}.{index}')
    elif old != new:
        yield path
