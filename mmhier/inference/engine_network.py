"""What runs the network of an estimator, other than the PyTorch model itself: :mod:`mmhier.deploy`.

Letters: B people of a batch.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmhier.safe_files import read_json
from mmhier.zoo.names import resolve_config

if TYPE_CHECKING:
    from mmhier.deploy.engines import Exported

logger = logging.getLogger('mmhier')

Outputs = dict[str, Tensor]
Network = Callable[[Tensor], Outputs]


def is_file(engine: str | Path) -> bool:
    """Whether an engine is named by an exported file, which has its weights inside."""
    return bool(Path(engine).suffix)


def exported_facts(engine: str | Path) -> dict[str, Any]:
    """What an exported file says about itself, from the .json beside it.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is not of ``mmhier export``.
    """
    path = Path(f'{engine}.json')
    if not Path(engine).is_file() or not path.is_file():
        missing = path if Path(engine).is_file() else engine
        raise FileNotFoundError(f'{missing} does not exist; mmhier export writes a model and its .json')
    facts = read_json(path)
    if not isinstance(facts, dict) or not isinstance(facts.get('outputs'), list):
        raise ValueError(f'{path} is not of mmhier export: it has no list of outputs')
    return facts


def exported_config(engine: str | Path) -> Path:
    """The config of the model that a file was exported from.

    Raises:
        FileNotFoundError: If there is no such file, or its model is none of ours.
        ValueError: If it does not say.
    """
    name = exported_facts(engine).get('config')
    if not isinstance(name, str):
        raise ValueError(f'{engine}.json does not say of which model it is: name it (model=, --model)')
    try:
        return resolve_config(Path(name).name)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f'{engine} is an export of {name}, which is no model of mmhier: name its config file (model=, '
            '--model)'
        ) from error


def has_vitposes_codec(engine: str | Path) -> bool:
    """Whether the heatmaps of an exported file are decoded as ViTPose's own code does."""
    codec = exported_facts(engine).get('codec')
    return isinstance(codec, dict) and codec.get('type') == 'ViTPoseUDPHeatmap'


def check_engine_keypoints(engine: str | Path, names: Sequence[str]) -> None:
    """Check that a file was exported from a model of these keypoints.

    Raises:
        ValueError: If it was not.
    """
    exported = exported_facts(engine).get('keypoint_names')
    if exported is not None and list(exported) != list(names):
        raise ValueError(
            f'{engine} gives {len(exported)} keypoints ({", ".join(map(str, exported[:3]))} ...), the model '
            f'{len(names)} ({", ".join(names[:3])} ...): it is an export of another one'
        )


def open_network(
    engine: str | Path,
    model: nn.Module,
    images: Tensor,
    wanted: tuple[tuple[str, ...], ...],
    precision: str | None = None,
) -> Network:
    """Make a network from a name or an exported file.

    Args:
        engine: See :func:`mmhier.deploy.make_engine` and :func:`mmhier.deploy.load_exported`.
        model: The model that it stands in for.
        images: A batch of what it will be given, (B, 3, height, width), normalised.
        wanted: Names of outputs of which it has to have one group.
        precision: 'fp32'; 'bf16', compared with fp32 on the images; 'auto', which is the faster of them, and
            bf16 only if it passes; 'int8' for a file that is. By default fp32, or what the file is for.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the runtime is not installed.
        ValueError: If it does not fit the model.
    """
    from mmhier.deploy import load_exported, make_engine
    from mmhier.deploy.export import raw_images

    if not is_file(engine):
        return make_engine(str(engine), model, images, precision=precision or 'fp32')
    exported = load_exported(engine, precision=None if precision in ('auto', 'bf16') else precision)
    facts = exported.metadata
    size_wh = (images.shape[3], images.shape[2])
    takes, several = facts['input']['takes'], facts['input']['dynamic_batch']
    found = tuple(facts['outputs'])
    if not any(set(group) <= set(found) for group in wanted):
        groups = ' or '.join(', '.join(group) for group in wanted)
        raise ValueError(f'{engine} gives {", ".join(found)}; this model needs {groups}: export it again')
    kept = next(group for group in wanted if set(group) <= set(found))
    if takes == 'normalised' and tuple(facts['input']['size_wh']) != size_wh:
        raise ValueError(
            f'{engine} takes images of {facts["input"]["size_wh"]} pixels (w, h), this model '
            f'{list(size_wh)}: it is an export of another one'
        )

    def through(exported: 'Exported') -> Network:
        def run(batch: Tensor) -> Outputs:
            batch = raw_images(model, batch, takes)
            parts = [exported(part) for part in ([batch] if several else batch.split(1))]
            return {name: torch.cat([part[name] for part in parts]) for name in kept}

        return run

    rounds = exported.engine == 'openvino' and exported.precision in ('fp32', 'fp16')
    if precision == 'bf16' or (precision == 'auto' and rounds):
        return _in_bf16(Path(engine), model, images, through, named=precision == 'bf16')
    return through(exported)


def _in_bf16(
    path: Path, model: nn.Module, images: Tensor, through: Callable[['Exported'], Network], named: bool
) -> Network:
    """A file in bf16, compared with fp32 on images; unless it is named, in fp32 where that is no gain."""
    from mmhier.deploy import load_exported
    from mmhier.deploy.engines import check_outputs, faster

    try:
        rounded = through(load_exported(path, precision='bf16'))
        exact = through(load_exported(path, precision='fp32'))
        check_outputs(str(path), 'bf16', model, exact(images), rounded(images), must_see=not named)
    except ValueError as error:
        if named:
            raise
        logger.warning('%s runs in fp32: %s', path, error)
        return through(load_exported(path))
    return rounded if named else faster(exact, rounded, images)
