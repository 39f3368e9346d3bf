"""Where the configs are, and which there are."""

from fnmatch import fnmatch
from pathlib import Path

# Beside the package in a clone, inside of it in an installed wheel.
_PLACES = (Path(__file__).parents[2] / 'configs', Path(__file__).parents[1] / 'configs')


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


def find_configs(patterns: list[str] | None = None, task: str = 'hpe') -> list[Path]:
    """List configs by name.

    Args:
        patterns: Paths of config files, or names in which ``*`` and ``?`` stand for others, such as
            ``swinpose_*_s3_coco``; by default all models for COCO.
        task: Folder of the configs.

    Raises:
        FileNotFoundError: If a pattern fits none.
    """
    known = sorted((config_folder() / task).glob('*.py'), key=_order)
    found: list[Path] = []
    for pattern in patterns or ['*_coco']:
        paths = [Path(pattern)] if Path(pattern).is_file() else []
        paths = paths or [path for path in known if fnmatch(path.stem, pattern)]
        if not paths:
            raise FileNotFoundError(
                f'{pattern!r} is neither a config file nor the name of one in {config_folder() / task}; '
                '`mmhier models` lists them'
            )
        found += [path for path in paths if path not in found]
    return found


def _order(path: Path) -> tuple:
    """Sort by family, then size from small to large, then by what follows."""
    family, *rest = path.stem.split('_')
    sizes = {size: rank for rank, size in enumerate(('micro', 't', 's', 'b', 'l', 'h'))}
    return family, sizes.get(rest[0] if rest else '', 9), rest
