"""What runs a network: PyTorch, or another runtime with an exported copy.

An engine takes images (B, 3, H, W) and returns the outputs of the model's graph by name (see
:mod:`mmhier.deploy.graphs`). It is compared with the model before it is used: in float32 by its outputs, in
bfloat16 and int8 by keypoints and bodies, see :mod:`mmhier.deploy.parity`.
"""

import importlib.util
import logging
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmhier.cost.latency import time_in_turns
from mmhier.deploy.formats import (
    READERS,
    Network,
    needs,
    open_onnxruntime,
    open_openvino,
    openvino_has_bf16,
    write_onnx,
    write_openvino,
)
from mmhier.deploy.graphs import graph_of, run_model
from mmhier.deploy.parity import NothingSeenError, compare
from mmhier.safe_files import read_json
from mmhier.suggestions import did_you_mean, similar_path

logger = logging.getLogger('mmhier')

Engine = Callable[[Tensor], dict[str, Tensor]]

# An exported network computes the same in another order. What this may change, relative to the largest value.
TOLERANCE = 1e-3
# What 'auto' tries: 'compile' is left out, it takes a minute before the first batch.
CANDIDATES = ('eager', 'onnxruntime', 'openvino')
AUTO_RUNS = 5
# 'auto' is bf16 where it is faster and passes the comparison, else fp32.
PRECISIONS = ('auto', 'fp32', 'bf16', 'int8')
# As TOLERANCE, where the model sees no keypoint by which the comparison could be in pixels.
ROUGH_TOLERANCE = dict(bf16=0.1, int8=0.5)

_CHECKPOINTS = ('.pth', '.ckpt', '.safetensors')


class Exported:
    """An exported file that is ready to run.

    Attributes:
        metadata: What the file says about itself, see :mod:`mmhier.deploy.export`; empty without its JSON.
        engine: What runs it.
        precision: In which it is run: 'fp32', 'fp16', 'bf16' or 'int8'.
    """

    def __init__(
        self,
        network: Network,
        outputs: tuple[str, ...],
        metadata: dict[str, Any],
        engine: str,
        precision: str = 'fp32',
    ):
        self._network, self._outputs = network, outputs
        self.metadata, self.engine, self.precision = metadata, engine, precision

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Map images (B, 3, H, W), as the file takes them, to its outputs by name."""
        found = self._network(images.cpu())
        return dict(zip(self._outputs, found, strict=True))


def load_exported(
    path: str | Path, engine: str | None = None, threads: int | None = None, precision: str | None = None
) -> Exported:
    """Open a file of ``mmhier export``.

    Args:
        path: .onnx, .xml, .pt or .pt2; its .json lies beside it.
        engine: 'onnxruntime' or 'openvino' for .onnx, 'exported-program' or 'compile' for .pt2,
            'openvino' for .xml, 'torchscript' for .pt. By default the first of these.
        threads: CPU threads of a runtime of its own; by default those of PyTorch.
        precision: 'fp32', 'bf16' (OpenVINO only) or 'int8'; by default what the file was exported for.

    Raises:
        FileNotFoundError: If there is no such file, or no .json beside it.
        ImportError: If the runtime is not installed.
        UntrustedCheckpointError: If loading the file could run code, see :mod:`mmhier.deploy.program_files`.
        ValueError: If the file is of no known format or damaged, the engine does not read it, or has not
            this precision of it.
    """
    path = Path(path)
    _check_exported(path)
    readers = READERS[path.suffix]
    metadata = read_json(f'{path}.json')
    outputs = metadata.get('outputs') if isinstance(metadata, dict) else None
    if not isinstance(outputs, list) or not all(isinstance(one, str) for one in outputs):
        raise ValueError(f'{path}.json is not of mmhier export: it has no list of outputs')
    name = engine or next(iter(readers))
    if name not in readers:
        raise ValueError(f'{path}: engine must be one of {", ".join(readers)}, got {name!r}')
    precision = _precision_of(path, metadata.get('precision', 'float32'), name, precision)
    options = dict(bf16=True) if precision == 'bf16' else {}
    network = readers[name](path, threads or torch.get_num_threads(), **options)
    return Exported(network, tuple(outputs), metadata, name, precision)


def _precision_of(path: Path, held: str, engine: str, wanted: str | None) -> str:
    """In which precision a file is run that was exported for another, or for the same."""
    held = dict(float32='fp32').get(held, held)
    if wanted is None and held == 'bf16' and not openvino_has_bf16():
        logger.warning('%s was exported for bf16, which OpenVINO has not on this CPU: it runs in fp32', path)
        return 'fp32'
    if wanted in (None, held):
        return held
    rounds = engine == 'openvino' and (held in ('fp32', 'bf16') or (path.suffix == '.xml' and held == 'fp16'))
    if wanted not in ('fp32', 'bf16') or not rounds:
        remedy = 'leave the precision out, or export it again'
        if wanted == 'bf16' and held == 'fp32':
            remedy = f'{engine} has no bf16 of files, export it with --format openvino'
        raise ValueError(f'{path} is {held} and is not run in {wanted}: {remedy}')
    return wanted


def check_engine(engine: str | Path, precision: str | None = None) -> None:
    """Find out whether there is such an engine, before anything is loaded for it.

    Args:
        engine: A name, see :func:`make_engine`, or a file, see :func:`load_exported`.
        precision: One of :data:`PRECISIONS`; int8 is for files, which were calibrated.

    Raises:
        FileNotFoundError: If there is no such file, or no .json beside it.
        ValueError: If there is no such name or precision, they do not fit each other, or the file is no
            exported one.
    """
    if precision is not None:
        _check_precision(precision)
    if Path(engine).suffix:
        _check_exported(Path(engine))
        return
    if engine != 'auto':
        _check_name(str(engine), 'bf16' if precision == 'bf16' else 'fp32')
    if precision == 'int8':
        raise ValueError(
            'int8 needs pictures that choose its ranges: mmhier export --int8 DIR writes a file, and that is '
            'the engine'
        )


def _check_precision(precision: str) -> None:
    if precision not in PRECISIONS:
        raise ValueError(
            f'precision must be {", ".join(PRECISIONS)}, got {precision!r}'
            f'{did_you_mean(precision.lower(), PRECISIONS)}'
        )


def _check_exported(path: Path) -> None:
    if path.suffix not in READERS:
        end = f'an exported file ends in {", ".join(READERS)}'
        if path.suffix in _CHECKPOINTS:
            raise ValueError(f'{path} is a checkpoint (--weights), not an exported file; {end}')
        raise ValueError(f'{path}: {end}')
    for part in (path, Path(f'{path}.json')):
        if not part.is_file():
            raise FileNotFoundError(
                f'{part} does not exist{similar_path(part)}; mmhier export writes a model and its .json'
            )


def _check_name(name: str, precision: str = 'fp32') -> None:
    if name not in ENGINES:
        known = ('auto', *ENGINES)
        raise ValueError(
            f'engine must be {", ".join(known)} or an exported file ({", ".join(READERS)}), '
            f'got {name!r}{did_you_mean(name.lower(), known)}'
        )
    if name not in BY_PRECISION[precision]:
        having = ', '.join(BY_PRECISION[precision])
        raise ValueError(f'engine {name} has no {precision}: use {having}, or another precision')


def make_engine(
    name: str, model: nn.Module, images: Tensor, threads: int | None = None, precision: str = 'fp32'
) -> Engine:
    """Prepare a model to run.

    Args:
        name: A key of :data:`ENGINES`, or 'auto': the fastest of :data:`CANDIDATES` that is installed and
            computes the same.
        model: A pose or mesh model in evaluation mode.
        images: A batch of the size that will be run, (B, 3, H, W), normalised. They choose int8's ranges.
        threads: CPU threads of a runtime of its own; by default those of PyTorch.
        precision: One of :data:`PRECISIONS`; 'auto': the faster of fp32 and, where the batch shows that
            keypoints or bodies stay within :data:`mmhier.deploy.parity.BOUNDS`, bf16.

    Raises:
        ImportError: If the runtime is not installed.
        ValueError: If there is no such engine, it has not this precision, does not run on the device of the
            images, or gives other numbers than the model.
    """
    _check_precision(precision)
    with tempfile.TemporaryDirectory() as folder:
        build = partial(_choose, name) if 'auto' in (name, precision) else partial(_build, name)
        return build(model, images, threads or torch.get_num_threads(), Path(folder), precision)


def _build(
    name: str,
    model: nn.Module,
    images: Tensor,
    threads: int,
    folder: Path,
    precision: str,
    must_see: bool = False,
) -> Engine:
    """One engine, compared with the model. Engines of one folder share the exported network there."""
    _check_name(name, precision)
    if images.device.type != 'cpu' and name not in ('eager', 'compile'):
        raise ValueError(f'engine {name} runs on the CPU, the images are on {images.device}: use device cpu')
    expected = run_model(model, images)
    engine = BY_PRECISION[precision][name](model, images, threads, folder)
    check_outputs(f'engine {name}', precision, model, expected, engine(images), must_see)
    return engine


def check_outputs(
    name: str,
    precision: str,
    model: nn.Module,
    expected: dict[str, Tensor],
    found: dict[str, Tensor],
    must_see: bool,
) -> None:
    """Compare what an engine has found with what is expected.

    Args:
        name: Of the engine, for messages.
        precision: 'fp32', 'bf16' or 'int8'.
        model: The model, which knows how to decode.
        expected: Outputs in float32, by name.
        found: Outputs of the engine.
        must_see: Whether a pose model has to see a keypoint in the batch to be compared by. If not,
            heatmaps of a model that sees none are compared by :data:`ROUGH_TOLERANCE`.

    Raises:
        ValueError: If they differ too much.
    """
    tolerance = ROUGH_TOLERANCE.get(precision, TOLERANCE)
    if precision != 'fp32':
        try:
            parity = compare(model, expected, found, precision, 'the first batch')
        except NothingSeenError as error:
            if must_see:
                raise ValueError(f'{precision} of {name} cannot be judged: {error}') from error
        else:
            if not parity.passed:
                raise ValueError(f'{precision} of {name} moves what the model finds: {parity}: use fp32')
            return
    for output, truth in expected.items():
        difference = (found[output] - truth).abs().max().item() / truth.abs().max().clamp(min=1e-6).item()
        if not difference <= tolerance:
            raise ValueError(
                f'{name} differs from the model by {difference:.1e} of the largest value of {output}, '
                f'more than {tolerance}: do not use it for this model'
            )


def _choose(
    name: str, model: nn.Module, images: Tensor, threads: int, folder: Path, precision: str
) -> Engine:
    """The fastest of the engines and precisions that 'auto' stands for, are there and pass the comparison."""
    names = (name,) if name != 'auto' else CANDIDATES if images.device.type == 'cpu' else ('eager',)
    precisions = ('fp32', 'bf16') if precision == 'auto' else (precision,)
    engines = {}
    for engine in names:
        if name == 'auto' and engine != 'eager' and not importlib.util.find_spec(engine):
            continue
        for kind in precisions:
            if engine not in BY_PRECISION[kind]:
                continue
            label = engine if kind == 'fp32' else f'{engine} {kind}'
            try:
                engines[label] = _build(
                    engine, model, images, threads, folder, kind, must_see=precision == 'auto'
                )
            except (ImportError, RuntimeError, ValueError) as error:
                if name != 'auto' and kind == precisions[0]:
                    raise
                logger.warning('engine %s is not used: %s', label, str(error).partition('\n')[0])
    if not engines:
        raise ValueError(f'no engine computes {precision} of this model within its bound: use fp32')
    return engines[_fastest(engines, images)]


def faster(exact: Engine, rounded: Engine, images: Tensor) -> Engine:
    """The faster of a file in fp32 and in bf16."""
    engines = dict(fp32=exact, bf16=rounded)
    return engines[_fastest(engines, images)]


def _fastest(engines: dict[str, Engine], images: Tensor) -> str:
    """Name of the engine with the shortest median time."""
    names = list(engines)
    if len(names) == 1:
        return names[0]
    timings = time_in_turns([lambda e=engines[name]: e(images) for name in names], AUTO_RUNS)
    medians = {name: timing.median for name, timing in zip(names, timings, strict=True)}
    best = min(medians, key=medians.get)
    listed = ', '.join(f'{name} {1e3 * seconds:.1f} ms' for name, seconds in medians.items())
    logger.info('engine auto: %s (%s)', best, listed)
    return best


def _eager(model: nn.Module, images: Tensor, threads: int, folder: Path) -> Engine:
    graph = graph_of(model)

    def run(batch: Tensor) -> dict[str, Tensor]:
        with torch.inference_mode():
            return dict(zip(graph.outputs, graph(batch), strict=True))

    return run


def _compile(model: nn.Module, images: Tensor, threads: int, folder: Path) -> Engine:
    graph = graph_of(model)
    compiled = torch.compile(graph)

    def run(batch: Tensor) -> dict[str, Tensor]:
        with torch.no_grad():
            return dict(zip(graph.outputs, compiled(batch), strict=True))

    return run


def _bf16(build: Callable[..., Engine]) -> Callable[..., Engine]:
    """An engine of PyTorch that multiplies in bfloat16."""

    def make(model: nn.Module, images: Tensor, threads: int, folder: Path) -> Engine:
        engine, device = build(model, images, threads, folder), images.device.type

        def run(batch: Tensor) -> dict[str, Tensor]:
            with torch.autocast(device, torch.bfloat16):
                return {name: value.float() for name, value in engine(batch).items()}

        return run

    return make


def _runtime(package: str, reader: Callable[..., Network], int8: bool = False, **options: Any) -> Callable:
    """An engine that is a runtime with an exported copy.

    Args:
        package: What the runtime is called.
        reader: Opens the copy.
        int8: Quantise it, with ranges chosen by the images.
        options: Of the reader.
    """
    what = 'openvino' if package == 'openvino' else 'onnx'

    def make(model: nn.Module, images: Tensor, threads: int, folder: Path) -> Engine:
        with needs(what):
            __import__(package)
        graph = graph_of(model, 'onnx')
        write, ending = (write_openvino, '.xml') if int8 and what == 'openvino' else (write_onnx, '.onnx')
        path = folder / f'{"int8" if int8 else "network"}{ending}'
        if not path.exists():
            write(graph, images, path, True, False, images if int8 else None)
        network = reader(path, threads, **options)
        for batch in (images[:1], images[:1].repeat(2, 1, 1, 1)):
            network(batch)  # the reader may open the file once per kind of batch
        return Exported(network, graph.outputs, {}, package)

    return make


Maker = Callable[[nn.Module, Tensor, int, Path], Engine]

ENGINES: dict[str, Maker] = {
    'eager': _eager,
    'compile': _compile,
    'onnxruntime': _runtime('onnxruntime', open_onnxruntime),
    'openvino': _runtime('openvino', open_openvino),
}
BY_PRECISION: dict[str, dict[str, Maker]] = {
    'fp32': ENGINES,
    'bf16': {
        'eager': _bf16(_eager),
        'compile': _bf16(_compile),
        'openvino': _runtime('openvino', open_openvino, bf16=True),
    },
    'int8': {
        'onnxruntime': _runtime('onnxruntime', open_onnxruntime, int8=True),
        'openvino': _runtime('openvino', open_openvino, int8=True),
    },
}
