"""Models by name: which configs there are, and where they lie. For weights see :mod:`mmhier.zoo.choice`.

Every command and the Python API take the same names (:func:`resolve_config`, :func:`find_configs`):

| name | config |
|------|--------|
| ``my/config.py`` | that file, a stock config of MMPose as well |
| ``swinpose_s_s3_coco``, ``swinpose_s_s3`` | ours; ``_coco``, ``_mixed`` and ``_synth`` may be left out |
| ``mmpose::FOLDERS/td-hm_res50_8xb64-210e_coco-256x192`` | of a package, as in MMEngine, or without folders |
| ``td-hm_res50_8xb64-210e_coco-256x192`` | the same, of MMPose |
| ``swinpose_?_s3_coco``, ``mmpose::*hrnet*`` | several, where several make sense |

Names may end in ``.py``. Standard library only, so that a list of names is there at once.
"""

import importlib.util
import re
from collections.abc import Sequence
from fnmatch import fnmatch
from os import PathLike
from pathlib import Path

from mmhier.compat.installation import advice
from mmhier.suggestions import did_you_mean, similar_path

# Beside the package in a clone, inside of it in an installed wheel.
_PLACES = (Path(__file__).parents[2] / 'configs', Path(__file__).parents[1] / 'configs')

# Folders of configs: keypoints, meshes, both with a teacher, what ViTPose's paper compares, keypoints of many
# data sets, and evaluation only.
TASKS = ('hpe', 'hmr', 'distill', 'ablation', 'multi', 'eval')
# Configs of no model that finds people: only their whole names are known, no pattern finds them.
ALONE = ('pretrain',)
# The package whose configs may be named without it.
STOCK = 'mmpose'
DEFAULT = ('*_coco', '*_mixed')
# What may be left out at the end of a name; the first that is there is meant.
ENDINGS = ('', '_coco', '_mixed', '_synth')

_CONFIGS = ('.py', '.json', '.yaml', '.yml')
_SEVERAL = re.compile(r'[*?[]')


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


def resolve_config(name: str | PathLike) -> Path:
    """Find the config of a name; see the table of this module.

    Raises:
        FileNotFoundError: If there is none; with the names that are most alike.
        ImportError: If it is of a package that is not installed.
        ValueError: If several are meant.
    """
    if _is_file(name):
        return Path(name)
    text = str(name)
    if _SEVERAL.search(text):
        raise ValueError(f'{text!r} may be several models, one is wanted here; `{_listing(text)}` lists them')
    package, word = _parts(text)
    for known in (_of_package(package),) if package else (_ours(*TASKS, *ALONE), _of_package(STOCK, False)):
        for ending in ENDINGS:
            found = [path for full, path in known.items() if word + ending in (full, path.stem)]
            if len(found) > 1:
                raise ValueError(f'{text!r} may be any of {", ".join(map(str, found))}: add its folders')
            if found:
                return found[0]
    raise FileNotFoundError(f'{text!r} is neither a config file nor the name of a model{_hint(text)}')


def find_configs(patterns: Sequence[str] | None = None, task: str | None = None) -> list[Path]:
    """Find the configs of names, each of which may stand for several.

    Args:
        patterns: Names; ``*`` and ``?`` in them stand for others. By default all models for COCO and for the
            mix of HMR2.0.
        task: One of :data:`TASKS`: patterns find only its models.

    Raises:
        FileNotFoundError: If a name or pattern fits none.
        ImportError: If it is of a package that is not installed.
        ValueError: If a name may be any of several.
    """
    found: list[Path] = []
    for pattern in patterns or DEFAULT:
        if _is_file(pattern) or not _SEVERAL.search(pattern):
            paths = [resolve_config(pattern)]
        else:
            package, word = _parts(pattern)
            known = _of_package(package) if package else _ours(*[task] if task else TASKS)
            paths = [path for full, path in known.items() if fnmatch(full, word) or fnmatch(path.stem, word)]
            if not paths and patterns:
                raise FileNotFoundError(f'{pattern!r} fits the name of no model{_hint(pattern)}')
        found += [path for path in paths if path not in found]
    return found


def _is_file(name: str | PathLike) -> bool:
    return Path(name).suffix in _CONFIGS and Path(name).is_file()


def _parts(name: str) -> tuple[str, str]:
    """The package of a name, or nothing, and the rest without ending."""
    package, _, rest = name.rpartition('::')
    return package, rest.removesuffix('.py')


def _ours(*tasks: str) -> dict[str, Path]:
    """Our configs in these folders by name."""
    folders = [config_folder() / name for name in tasks]
    return {path.stem: path for folder in folders for path in sorted(folder.glob('*.py'), key=_order)}


def _order(path: Path) -> tuple:
    """Sort by family, then size from small to large, then by what follows."""
    family, *rest = path.stem.split('_')
    sizes = {size: rank for rank, size in enumerate(('micro', 't', 's', 'b', 'l', 'h'))}
    return family, sizes.get(rest[0] if rest else '', 9), rest


def package_configs(package: str) -> Path:
    """Return the folder that holds the configs of a package, of which nothing is imported.

    Raises:
        ImportError: If it is not installed, or has none.
    """
    try:
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
    except ValueError:  # of a module without one
        spec = None
    for home in (spec and spec.submodule_search_locations) or ():
        if (folder := Path(home) / '.mim' / 'configs').is_dir():
            return folder
    remedy = advice(package) if spec is None else None
    raise ImportError(f'{package} is not installed, or not with its configs{f". {remedy}" if remedy else ""}')


def _of_package(package: str, must_exist: bool = True) -> dict[str, Path]:
    """Configs of a package by their paths in it, without ending.

    Args:
        package: Its name.
        must_exist: Whether it is an error if it is not installed; else it has no configs.
    """
    try:
        folder = package_configs(package)
    except ImportError:
        if must_exist:
            raise
        return {}
    files = sorted(path for path in folder.rglob('*.py') if '_base_' not in path.parts)
    return {path.relative_to(folder).with_suffix('').as_posix(): path for path in files}


def _listing(name: str) -> str:
    """The command that lists what a name may be."""
    package, _ = _parts(name)
    return f'mmhier models "{package}::*"' if package else f'mmhier models "*" "{STOCK}::*"'


def _hint(name: str) -> str:
    """What may be meant by a name, and what lists all."""
    from mmhier.zoo.registry import read_registry  # imports NumPy

    package, word = _parts(name)
    released = read_registry()
    if (entry := released.get(name.replace('_', '-'))) is not None:
        option = 'detector' if entry.kind == 'detector' else 'weights'
        return f', but that of released weights: --{option} ({option}=); `{_listing(name)}` lists models'
    hint = similar_path(name) if Path(name).suffix in _CONFIGS and not package else ''
    if not hint:
        known = _of_package(package) if package else _ours(*TASKS, *ALONE) | _of_package(STOCK, False)
        short = {path.stem for path in known.values()}
        short |= set() if package else {*released}  # whose error says the option that they are of
        hint = did_you_mean(Path(word.strip('*?')).name, short, f'{package}::' if package else '')
    return f'{hint or ";"} `{_listing(name)}` lists them'
