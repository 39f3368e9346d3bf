"""What a model costs: counted once, then kept on disk for as long as nothing changes that it follows from.

That is the text of its config with those of its ``_base_``, the code of the models and of the counting, and
the versions of the libraries that models are built from. Kept costs lie in ``~/.cache/mmhier/costs/``, one
file per state of code and libraries. Reading them takes neither torch nor MMEngine.
"""

import ast
import hashlib
import json
import logging
import re
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path

from mmhier.atomic import new_file
from mmhier.digest import code_digest
from mmhier.safe_files import read_json, read_text
from mmhier.user_cache import part
from mmhier.zoo.names import package_configs

logger = logging.getLogger('mmhier')

FORMULA = """\
GMACs: 10^9 multiply-adds of convolutions and matrix products for one image, attention included, counted as
for the papers' graphs: Swin with its windows padded (mmhier computes less), and a selective scan over L
positions of K directions x D channels with N states as (9 N + 1) L K D, its authors' formula. Normalisations,
activations and other element-wise work are not counted."""

# What the head of a config says of its score, after the number: as regular expressions.
AP, PA_MPJPE = 'AP', r'PA-MPJPE on Human3\.6M'

_CODE = ('mmhier.cost.macs', 'mmhier.models', 'mmhier.codecs')
_OUR_IMPORTS = "dict(imports=['mmhier'])"
_LIBRARIES = ('torch', 'mmengine', 'mmcv', 'mmcv-lite', 'mmpose', 'mmpretrain', 'timm')


@dataclass(frozen=True)
class Cost:
    """What a pose or mesh model costs for one image.

    Attributes:
        name: Name of the config.
        input_wh: Width and height of the image, pixels.
        encoder_params: Parameters of the backbone.
        params: Parameters of the model; a discriminator, needed in training only, is left out.
        encoder_macs: Multiply-adds of the backbone.
        macs: Multiply-adds of the model.
        reported_ap: AP on COCO val as the head of the config reports it, in percent, or None.
        reported_pa_mpjpe: Likewise PA-MPJPE on Human3.6M, in millimetres.
        source: Who reported it.
        has_mesh: Whether the model recovers meshes.
    """

    name: str
    input_wh: tuple[int, int]
    encoder_params: int
    params: int
    encoder_macs: int
    macs: int
    reported_ap: float | None
    reported_pa_mpjpe: float | None
    source: str
    has_mesh: bool


def find_cost(path: Path) -> Cost:
    """Return the cost of the model of a config; errors as of :func:`mmhier.cost.macs.cost_of`."""
    if (cost := kept_cost(path)) is None:
        from mmhier.cost.macs import cost_of

        cost = cost_of(path)
        _keep(path, cost)
    return cost


def kept_cost(path: Path) -> Cost | None:
    """Return the cost of the model of a config, if it has been counted before."""
    try:
        fields = _read().get(_key(path))
        return None if fields is None else Cost(**fields | dict(input_wh=tuple(fields['input_wh'])))
    except (TypeError, KeyError):  # not written by us
        return None


def reported(path: Path, what: str) -> tuple[float | None, str]:
    """Read a score and its source from the comment at the head of a config.

    Args:
        path: The config.
        what: Regular expression of what follows the number.
    """
    comment = [line for line in read_text(path).splitlines()[:6] if line[:1] == '#']
    found = re.search(rf'(\d\d\.\d) {what} \(([^)]*)\)', ' '.join(comment))
    return (float(found[1]), found[2]) if found else (None, '')


def _keep(path: Path, cost: Cost) -> None:
    if (key := _key(path)) is None:
        return
    try:
        with new_file(_file()) as part:
            part.write_text(json.dumps(_read() | {key: asdict(cost)}, indent=0), encoding='utf-8')
    except OSError as error:
        logger.warning('costs are not kept, and counted again next time: %s', error)


def _read() -> dict:
    try:
        content = read_json(_file())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _file() -> Path:
    return part('costs') / f'{_state()}.json'


@lru_cache
def _state() -> str:
    """Digest of the code and the libraries that costs follow from."""
    parts = [code_digest(module) for module in _CODE]
    for name in _LIBRARIES:
        try:
            parts.append(f'{name} {metadata.version(name)}')
        except metadata.PackageNotFoundError:
            continue
    return _digest(parts)


def _key(path: Path) -> str | None:
    """Digest of all that a config says; None if it may say more than its text."""
    texts: dict[Path, str] = {}
    try:
        _collect(path.resolve(), texts)
    except (OSError, ValueError, SyntaxError, ImportError):
        return None
    return _digest([path.stem, *texts.values()])


def _digest(parts: list[str]) -> str:
    return hashlib.sha256('\0'.join(parts).encode()).hexdigest()[:20]


def _collect(path: Path, texts: dict[Path, str]) -> None:
    """Add the texts of a config and of those that it is made from, in the order of reading.

    Raises:
        ValueError: If it imports something, reads the environment, or names its bases in another way.
    """
    if path in texts:
        return
    texts[path] = text = read_text(path)
    # {{_base_.name}} is no Python, and means a variable; {{$NAME:...}} one of the environment.
    tree = ast.parse(re.sub(r'\{\{\s*([\w.]+)\s*\}\}', r'\1', text))
    known = path.suffix == '.py' and not re.search(r'\{\{[\'"]?\s*\$', text)
    for node in tree.body:
        name = getattr(node.targets[0], 'id', '') if isinstance(node, ast.Assign) else ''
        if name == '_base_':
            bases = ast.literal_eval(node.value)
            for base in [bases] if isinstance(bases, str) else bases:
                package, _, rest = base.rpartition('::')
                _collect(
                    (package_configs(package) / rest if package else path.parent / base).resolve(), texts
                )
        known = known and not isinstance(node, ast.Import | ast.ImportFrom | ast.With)
        known = known and (name != 'custom_imports' or ast.unparse(node.value) == _OUR_IMPORTS)
    if not known:
        raise ValueError(f'{path} says more than its text')
