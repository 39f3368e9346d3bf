"""Which weights a model gets: the user's own, released ones by name, or the default for its config.

The defaults of ``mmhier infer`` are here, too. Pose: ViTPose+ S, whose file holds tensors and no pickle, has
a known hash and 75.8 AP at 24 million parameters. Detector: YOLOX-S of Megvii, Apache-2.0 and trained on COCO
alone. Mesh: HMR2.0b, the only whole mesh model that a program can fetch.
"""

from pathlib import Path
from typing import NamedTuple

from mmhier.zoo.fetch import fetch_entry
from mmhier.zoo.names import find_weights
from mmhier.zoo.registry import Weights, entries_for, find_entry

AUTO = 'auto'
DEFAULT_MODELS = {'pose': 'vitpose_s', 'mesh': 'hmr2_h'}
DEFAULT_DETECTOR = 'yolox-s'


class Choice(NamedTuple):
    """Where weights are, and what they are.

    Attributes:
        place: File or address.
        entry: Of the registry, if they are of it.
    """

    place: str | Path
    entry: Weights | None = None


def choose_weights(config: Path, weights: str | Path | None = None) -> Choice:
    """Find the weights of a model, and fetch them if they are released ones.

    Args:
        config: Of the model.
        weights: A file, an address, the name of released weights; or None or 'auto': those that training or
            the user left, see :func:`mmhier.zoo.names.find_weights`, else the released ones of the config.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If a name is that of something else.
        OSError: If they cannot be fetched.
    """
    if weights is not None and str(weights) != AUTO:
        return _named(config, weights)
    try:
        return Choice(find_weights(config))
    except FileNotFoundError:
        entry = default_weights(config)
        if entry is None:
            raise
    try:
        return Choice(fetch_entry(entry), entry)
    except (OSError, ValueError) as error:
        raise type(error)(
            f'{config.stem} has no weights in pretrained/ or work_dirs/, and of the released ones: {error}'
        ) from error


def default_weights(config: Path) -> Weights | None:
    """Released weights that a config gets if nothing else is asked for."""
    return next((entry for entry in entries_for(config.stem) if entry.kind != 'init'), None)


def _named(config: Path, weights: str | Path) -> Choice:
    if '://' in str(weights) or Path(weights).is_file():
        return Choice(weights)
    if Path(weights).suffix or len(Path(weights).parts) > 1:
        raise FileNotFoundError(f'the checkpoint {weights} does not exist')
    try:
        entry = find_entry(str(weights))
    except ValueError as error:
        raise FileNotFoundError(f'the checkpoint {weights} does not exist, and {error}') from error
    if entry.kind not in ('pose', 'mesh'):
        use = 'for --detector' if entry.kind == 'detector' else 'to begin training from (init_cfg)'
        raise ValueError(f'{entry.name} is not the weights of a whole model: it is {use}')
    return Choice(fetch_entry(entry), entry)
