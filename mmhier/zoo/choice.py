"""Which weights a model gets: the user's own, released ones by name, or the default for its config.

Every command, the Python API and configs (``load_from``, ``init_cfg``) take the same (:func:`released`):

| name                   | weights                     |
|------------------------|-----------------------------|
| ``my/epoch_1.pth``     | that file                   |
| ``https://...``        | what lies there             |
| ``vitpose-plus-small`` | released ones, fetched once |
| ``auto``, or nothing   | see :func:`check_weights`   |
| ``random``             | none: for tests and timing  |

The defaults of ``mmhier infer`` are here, too. Pose: ViTPose+ S, whose file holds tensors and no pickle, has
a known hash and 75.8 AP at 24 million parameters. Detector: YOLOX-S of Megvii, Apache-2.0 and trained on COCO
alone. Mesh: HMR2.0b, the only whole mesh model that a program can fetch.
"""

import re
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from mmhier.suggestions import similar_path
from mmhier.zoo.fetch import fetch_entry
from mmhier.zoo.registry import NAME, Weights, entries_for, find_entry

AUTO = 'auto'
# Stands for weights of a model that nobody has trained: for tests and timing.
RANDOM = 'random'
DEFAULT_MODELS = {'pose': 'vitpose_s', 'mesh': 'hmr2_h'}
DEFAULT_DETECTOR = 'yolox-s'
# What fills a whole model, and what fills its encoder.
MODELS = ('pose', 'mesh')
INITIAL = (*MODELS, 'init')


class Choice(NamedTuple):
    """Where weights are, and what they are.

    Attributes:
        place: File or address.
        entry: Of the registry, if they are of it.
    """

    place: str | Path
    entry: Weights | None = None


def choose_weights(config: Path, weights: str | PathLike | None = None) -> Choice:
    """Find the weights of a model, and fetch them if they are released ones.

    Args:
        config: Of the model.
        weights: As of :func:`check_weights`, without :data:`RANDOM`.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If a name is that of something else.
        OSError: If they cannot be fetched.
    """
    place = check_weights(config, weights)
    entry = released(place)
    if entry is None:
        return Choice(place if '://' in str(place) else Path(place).expanduser())
    try:
        return Choice(fetch_entry(entry), entry)
    except (OSError, ValueError) as error:
        if not _is_default(weights):
            raise
        raise type(error)(
            f'{config.stem} has no weights in pretrained/ or work_dirs/, and of the released ones: {error}. '
            'Here without a network are mmhier demo, and --weights swinpose-micro (of synthetic people)'
        ) from error


def check_weights(config: Path, weights: str | PathLike | None = None) -> str | Path:
    """Return what names the weights of a model, of which nothing is fetched.

    Args:
        config: Of the model.
        weights: File, address, name of released weights or :data:`RANDOM`; or None or :data:`AUTO`: those
            that :func:`find_weights` finds, else the released ones of the config.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If a name is that of something else.
    """
    if _is_default(weights):
        try:
            return find_weights(config)
        except FileNotFoundError:
            entry = default_weights(config)
            if entry is None:
                raise
            return entry.name
    if str(weights) != RANDOM:
        released(weights)
    return str(weights)


def released(name: str | PathLike, kinds: tuple[str, ...] = MODELS) -> Weights | None:
    """Return the entry of the registry that a name of a checkpoint means; None for an address or a file.

    Args:
        name: File that is there, address, or name of released weights.
        kinds: Of entries that make sense.

    Raises:
        FileNotFoundError: If it is none of these; with what is most alike.
        ValueError: If it is the name of something else.
    """
    text = str(name)
    if '://' in text or Path(text).expanduser().is_file():
        return None
    absent = f'checkpoint {text} does not exist'
    if not re.match(NAME, text):
        raise FileNotFoundError(f'{absent}{similar_path(text)}')
    try:
        entry = find_entry(text)
    except ValueError as error:
        raise FileNotFoundError(f'{absent}, and {error}') from error
    if entry.kind not in kinds:
        use = 'for --detector' if entry.kind == 'detector' else 'to begin training from (init_cfg)'
        raise ValueError(f'{entry.name} is not the weights of a whole model: it is {use}')
    return entry


def default_weights(config: Path) -> Weights | None:
    """Released weights that a config gets if nothing else is asked for."""
    return next((entry for entry in entries_for(config.stem) if entry.kind in MODELS), None)


def _is_default(weights: str | PathLike | None) -> bool:
    return weights is None or str(weights) == AUTO


def find_weights(config: Path) -> Path:
    """Find a checkpoint of a config where training and downloads leave them.

    Looked at are ``pretrained/NAME.pth``, then the best and the last checkpoint in ``work_dirs/NAME``, then
    those of the quickstart.

    Raises:
        FileNotFoundError: If there is none; the message says how to come by one.
    """
    name = config.stem
    places = [Path('pretrained', f'{name}.pth')]
    # Training leaves a copy of its config beside its checkpoints.
    quickstart = [path.parent for path in Path('work_dirs', 'quickstart').glob(f'*train/{name}.py')]
    for folder in (Path('work_dirs', name), *quickstart):
        for pattern in ('best_*.pth', 'epoch_*.pth', 'iter_*.pth'):
            places += sorted(folder.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f'{name} needs weights, and there are none in pretrained/{name}.pth or work_dirs/{name}/. Name a '
        f'checkpoint (weights=FILE, --weights FILE); train one (mmhier train {config}); or convert one of '
        'another project (mmhier convert)'
    )
