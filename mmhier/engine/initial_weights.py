"""The initial weights that a config names are there, or are downloaded, before anything is built."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.runner.checkpoint import get_deprecated_model_names, get_external_models, get_mmcls_models

from mmhier.compat.checkpoint import fetch
from mmhier.network import DownloadError
from mmhier.suggestions import did_you_mean
from mmhier.zoo.choice import AUTO, INITIAL, MODELS, check_weights, released
from mmhier.zoo.fetch import fetch_entry
from mmhier.zoo.names import resolve_config


def check_initial_weights(model: Mapping) -> None:
    """Check every checkpoint in an ``init_cfg`` of a model; what is not here is downloaded, once.

    Args:
        model: Its config.

    Raises:
        DownloadError: If one cannot be downloaded; with the place to put it by hand, and the settings that
            name another or none.
        FileNotFoundError: If one is a file that does not exist.
        ImportError: If one is of torchvision, which is not installed.
        ValueError: If MMEngine knows no weights of that name, what is downloaded is damaged, or a licence
            has to be accepted first.
    """
    for field, checkpoint in _checkpoints(model, 'model', False):
        owner = field.partition('.init_cfg')[0]
        remedy = f'--cfg-options {field}=FILE names another, {owner}.init_cfg=None starts from random weights'
        try:
            fetch_checkpoint(checkpoint, f'{field}; {remedy}', INITIAL)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'{error} ({field}). The head of the config says where to get it; {remedy}'
            ) from error
        except DownloadError as error:
            raise DownloadError(f'{error}; or {remedy}') from error


def check_teacher(model: Mapping) -> None:
    """Check that the weights of the teacher of a distilled model are there; released ones are downloaded.

    Args:
        model: Its config; any other has no teacher.

    Raises:
        FileNotFoundError: If there is no such config, or there are no weights.
        OSError: If they cannot be downloaded.
        ValueError: If they are weights of something else.
    """
    teacher = model.get('teacher')
    if not isinstance(teacher, Mapping) or 'config' not in teacher:
        return
    where = 'model.teacher.checkpoint'
    try:
        place = check_weights(resolve_config(teacher['config']), teacher.get('checkpoint', AUTO))
        fetch_checkpoint(str(place), where)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{error} (the teacher, {where}). --cfg-options {where}=FILE names others'
        ) from error


def fetch_checkpoint(name: str, where: str, kinds: tuple[str, ...] = MODELS) -> None:
    """Download a checkpoint to where it is looked for, in the first of several processes.

    Args:
        name: File, address, name of released weights, or one that MMEngine knows.
        where: What names it, for errors.
        kinds: Of released weights that make sense.

    Raises:
        FileNotFoundError: If it is none of these.
        OSError: If it cannot be downloaded.
        ValueError: As of :func:`check_initial_weights`, or if it is the name of something else.
    """
    entry = released(name, kinds)
    address = None if entry else checkpoint_address(name, where)
    if int(os.environ.get('RANK') or os.environ.get('SLURM_PROCID') or 0) != 0:
        return
    if entry:
        fetch_entry(entry)
    elif address:
        fetch(address)


def checkpoint_address(name: str, where: str = '') -> str | None:
    """Return where a checkpoint lies that MMEngine knows by a name such as ``torchvision://resnet50``.

    Args:
        name: Its name or address.
        where: What names it, for errors.

    Returns:
        The address; None if it is none of the kinds that are downloaded by HTTP.

    Raises:
        ImportError: If it is of torchvision, which is not installed.
        ValueError: If MMEngine knows no such name.
    """
    scheme, _, model = name.partition('://')
    if scheme in ('http', 'https'):
        return name
    if scheme in ('torchvision', 'modelzoo'):
        known = _torchvision_models(name, where)
    elif scheme in ('openmmlab', 'open-mmlab'):
        known = get_external_models()
        model = get_deprecated_model_names().get(model, model)
    elif scheme == 'mmcls':
        known = get_mmcls_models()
    else:
        return None
    if model not in known:
        raise ValueError(f'MMEngine knows no weights {name}{did_you_mean(model, known)} ({where})')
    return known[model] if '://' in known[model] else None


def _torchvision_models(name: str, where: str) -> dict[str, str]:
    from mmengine.runner.checkpoint import get_torchvision_models

    try:
        return get_torchvision_models()
    except ImportError as error:
        raise ImportError(f'{name} needs torchvision: pip install torchvision ({where})') from error


def _checkpoints(tree: Any, path: str, inside: bool) -> Iterator[tuple[str, str]]:
    """Places and names of the checkpoints in the ``init_cfg`` of all parts."""
    if isinstance(tree, Mapping):
        for key in ('checkpoint', 'knowledge_token') if inside else ():
            if isinstance(tree.get(key), str):
                yield f'{path}.{key}', tree[key]
        for key, child in tree.items():
            yield from _checkpoints(child, f'{path}.{key}', inside or key == 'init_cfg')
    elif isinstance(tree, list | tuple):
        for index, child in enumerate(tree):
            yield from _checkpoints(child, f'{path}.{index}', inside)
