"""Where the configs are, and which there are; where weights are."""

from difflib import get_close_matches
from fnmatch import fnmatch
from pathlib import Path

# Beside the package in a clone, inside of it in an installed wheel.
_PLACES = (Path(__file__).parents[2] / 'configs', Path(__file__).parents[1] / 'configs')

# Folders of configs: keypoints, meshes.
TASKS = ('hpe', 'hmr')
DEFAULT = {'*_coco': 'hpe', '*_mixed': 'hmr'}


def config_folder() -> Path:
    """Return the folder that holds ``hpe/``.

    Raises:
        FileNotFoundError: If this installation has none.
    """
    for place in _PLACES:
        if (place / 'hpe').is_dir():
            return place
    raise FileNotFoundError(
        f'no configs in {" or ".join(map(str, _PLACES))}: install mmhier from a clone or a wheel of its own'
    )


def find_configs(patterns: list[str] | None = None, task: str | None = 'hpe') -> list[Path]:
    """List configs by name.

    Args:
        patterns: Paths of config files, or names in which ``*`` and ``?`` stand for others, such as
            ``swinpose_*_s3_coco``; by default all models for COCO and for the mix of HMR2.0.
        task: Folder of the configs; None: all.

    Raises:
        FileNotFoundError: If a pattern fits none.
    """
    folders = [config_folder() / name for name in ([task] if task else TASKS)]
    known = [path for folder in folders for path in sorted(folder.glob('*.py'), key=_order)]
    found: list[Path] = []
    for pattern in patterns or [name for name, of in DEFAULT.items() if task in (None, of)]:
        paths = [Path(pattern)] if Path(pattern).is_file() else []
        paths = paths or [path for path in known if fnmatch(path.stem, pattern)]
        if not paths:
            raise FileNotFoundError(
                f'{pattern!r} is neither a config file nor the name of one in '
                f'{" or ".join(map(str, folders))}; '
                '`mmhier models` lists them'
            )
        found += [path for path in paths if path not in found]
    return found


def _order(path: Path) -> tuple:
    """Sort by family, then size from small to large, then by what follows."""
    family, *rest = path.stem.split('_')
    sizes = {size: rank for rank, size in enumerate(('micro', 't', 's', 'b', 'l', 'h'))}
    return family, sizes.get(rest[0] if rest else '', 9), rest


def resolve_config(name: str | Path) -> Path:
    """Find the config of a pose or mesh model.

    Args:
        name: A config file, or the name of one, of which ``_coco`` and ``_mixed`` may be left out:
            ``swinpose_s_s3``, ``swinhmr2_s_s3``.

    Raises:
        FileNotFoundError: If there is none.
    """
    if Path(name).is_file():
        return Path(name)
    stem = str(name).removesuffix('.py')
    folder = config_folder()
    for ending in ('', '_coco', '_mixed'):
        for task in TASKS:
            if (path := folder / task / f'{stem}{ending}.py').is_file():
                return path
    known = [path.stem for task in TASKS for path in (folder / task).glob('*.py')]
    near = get_close_matches(stem, known, n=3)
    hint = f'; did you mean {", ".join(near)}?' if near else ';'
    raise FileNotFoundError(
        f'{name!r} is neither a config file nor the name of a model{hint} `mmhier models` lists them'
    )


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
