"""Of what kind a setting has to be: text for a number, or 17.0 for 17, ends deep inside of what it builds.

Where a class is built, the annotations of its arguments tell; in a dictionary without a type its readers are
known here, or what stands there in the file tells. Where nothing tells, nothing is refused, and so where the
file itself has a value of that kind.
"""

import inspect
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any

# Keys of dictionaries without a type.
_WHOLE = {
    'base_batch_size', 'batch_size', 'max_epochs', 'max_iters', 'max_instances', 'max_num_people',
    'num_layers', 'num_workers', 'opencv_num_threads', 'prefetch_factor', 'rank', 'resource_limit', 'seed',
    'val_begin', 'val_interval', 'world_size',
}  # fmt: skip
_NUMBERS = {
    'bias_decay_mult', 'bias_lr_mult', 'clip_value', 'dcn_offset_lr_mult', 'decay_mult', 'dwconv_decay_mult',
    'flat_decay_mult', 'layer_decay_rate', 'lr_mult', 'max_norm', 'nms_dist_thr', 'nms_joints_thr',
    'norm_decay_mult', 'score_threshold',
}  # fmt: skip
_SWITCHES = {
    'align_corners', 'by_epoch', 'bypass_duplicate', 'cudnn_benchmark', 'deterministic', 'diff_rank_seed',
    'drop_last', 'enable', 'error_if_nonfinite', 'flip_test', 'fp16', 'multiscale_test', 'output_heatmaps',
    'persistent_workers', 'pin_memory', 'restore_heatmap_size', 'shift_coords', 'shift_heatmap',
}  # fmt: skip
_ANY = {'norm_type'}  # 2 or 'inf'
_EXPECTED = {int: 'a whole number', float: 'a number', bool: 'True or False', str: 'text', list: 'a list'}


def check_kind(name: str, value: Any, old: Any, built: Any) -> None:
    """Check the value of an option.

    Args:
        name: Dotted name of the option.
        value: What it sets.
        old: What the file has there.
        built: The class that the dictionary around it builds; None if it has no type.

    Raises:
        ValueError: If the value is of a kind that its reader does not take.
    """
    key = name.rpartition('.')[2]
    kinds = _of_key(key, old) if built is None else _of_argument(built, key)
    if kinds is None or _kind(value) in (None, _kind(old)) or _fits(value, kinds):
        return
    expected = ' or '.join(_EXPECTED[kind] for kind in _EXPECTED if kind in kinds)
    such = '' if old is None else f', such as {old!r}'
    raise ValueError(f'--cfg-options {name}={value!r}: expected {expected}{such}')


def _kind(value: Any) -> type | None:
    """Kind of a value; None of what is not judged."""
    kind = list if isinstance(value, tuple) else type(value)
    return kind if kind in _EXPECTED else None


def _fits(value: Any, kinds: set[type]) -> bool:
    if isinstance(value, bool):
        return bool in kinds
    if isinstance(value, int):
        return bool({int, float} & kinds) or (bool in kinds and value in (0, 1))
    return _kind(value) in kinds


def _of_key(key: str, old: Any) -> set[type] | None:
    for keys, kind in ((_WHOLE, int), (_NUMBERS, float), (_SWITCHES, bool)):
        if key in keys:
            return {kind}
    kind = _kind(old)
    return None if kind is None or key in _ANY else {float if kind is int else kind}


def _of_argument(built: Any, key: str) -> set[type] | None:
    """What the annotation of an argument allows; None if it is not a list of simple kinds."""
    for parent in inspect.getmro(built) if inspect.isclass(built) else ():
        if '__init__' not in vars(parent):
            continue
        parameters = inspect.signature(parent.__init__).parameters
        if key in parameters:
            try:
                hint = typing.get_type_hints(parent.__init__).get(key, Any)
            except (NameError, TypeError):  # one of the annotations can be read by a type checker only
                hint = parameters[key].annotation
            kinds = _named(hint)
            return None if kinds is None else kinds - {types.NoneType, dict}
        if not any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values()):
            return None
    return None


def _named(annotation: Any) -> set[type] | None:
    """The kinds in an annotation; None if it names anything else."""
    origin = typing.get_origin(annotation) or annotation
    if origin in (typing.Union, types.UnionType):
        parts = [_named(part) for part in typing.get_args(annotation)]
        return None if None in parts else set().union(*parts)
    if origin is typing.Literal:
        return {type(value) for value in typing.get_args(annotation)}
    if not inspect.isclass(origin):
        return None
    if origin in (int, float, bool, str, types.NoneType):
        return {origin}
    if issubclass(origin, Mapping):
        return {dict}
    return {list} if issubclass(origin, Iterable) else None
