"""What runs a network: PyTorch, or another runtime with an exported copy.

An engine takes images (B, 3, H, W) and returns the outputs of the model's graph by name (see
:mod:`mmhier.deploy.graphs`). It is compared with the model before it is used.
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
from mmhier.deploy.formats import READERS, Network, needs, open_onnxruntime, open_openvino, write_onnx
from mmhier.deploy.graphs import graph_of, run_model
from mmhier.safe_files import read_json
from mmhier.suggestions import did_you_mean, similar_path

logger = logging.getLogger('mmhier')

Engine = Callable[[Tensor], dict[str, Tensor]]

# An exported network computes the same in another order. What this may change, relative to the largest value.
TOLERANCE = 1e-3
# What 'auto' tries: 'compile' is left out, it takes a minute before the first batch.
CANDIDATES = ('eager', 'onnxruntime', 'openvino')
AUTO_RUNS = 5


_CHECKPOINTS = ('.pth', '.ckpt', '.safetensors')


class Exported:
    """An exported file that is ready to run.

    Attributes:
        metadata: What the file says about itself, see :mod:`mmhier.deploy.export`; empty without its JSON.
        engine: What runs it.
    """

    def __init__(self, network: Network, outputs: tuple[str, ...], metadata: dict[str, Any], engine: str):
        self._network, self._outputs = network, outputs
        self.metadata, self.engine = metadata, engine

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        """Map images (B, 3, H, W), as the file takes them, to its outputs by name."""
        found = self._network(images.cpu())
        return dict(zip(self._outputs, found, strict=True))


def load_exported(path: str | Path, engine: str | None = None, threads: int | None = None) -> Exported:
    """Open a file of ``mmhier export``.

    Args:
        path: .onnx, .xml, .pt or .pt2; its .json lies beside it.
        engine: 'onnxruntime' or 'openvino' for .onnx, 'exported-program' or 'compile' for .pt2,
            'openvino' for .xml, 'torchscript' for .pt. By default the first of these.
        threads: CPU threads of a runtime of its own; by default those of PyTorch.

    Raises:
        FileNotFoundError: If there is no such file, or no .json beside it.
        ImportError: If the runtime is not installed.
        UntrustedCheckpointError: If loading the file could run code, see :mod:`mmhier.deploy.program_files`.
        ValueError: If the file is of no known format or damaged, or the engine does not read it.
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
    network = readers[name](path, threads or torch.get_num_threads())
    return Exported(network, tuple(outputs), metadata, name)


def check_engine(engine: str | Path) -> None:
    """Find out whether there is such an engine, before anything is loaded for it.

    Args:
        engine: A name, see :func:`make_engine`, or a file, see :func:`load_exported`.

    Raises:
        FileNotFoundError: If there is no such file, or no .json beside it.
        ValueError: If there is no such name, or the file is no exported one.
    """
    if Path(engine).suffix:
        _check_exported(Path(engine))
    elif engine != 'auto':
        _check_name(str(engine))


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


def _check_name(name: str) -> None:
    if name not in ENGINES:
        known = ('auto', *ENGINES)
        raise ValueError(
            f'engine must be {", ".join(known)} or an exported file ({", ".join(READERS)}), '
            f'got {name!r}{did_you_mean(name.lower(), known)}'
        )


def make_engine(name: str, model: nn.Module, images: Tensor, threads: int | None = None) -> Engine:
    """Prepare a model to run.

    Args:
        name: A key of :data:`ENGINES`, or 'auto': the fastest of :data:`CANDIDATES` that is installed and
            computes the same.
        model: A pose or mesh model in evaluation mode.
        images: A batch of the size that will be run, (B, 3, H, W), normalised.
        threads: CPU threads of a runtime of its own; by default those of PyTorch.

    Raises:
        ImportError: If the runtime is not installed.
        ValueError: If there is no such engine, it does not run on the device of the images, or it gives other
            numbers than the model.
    """
    with tempfile.TemporaryDirectory() as folder:
        build = _choose if name == 'auto' else partial(_build, name)
        return build(model, images, threads or torch.get_num_threads(), Path(folder))


def _build(name: str, model: nn.Module, images: Tensor, threads: int, folder: Path) -> Engine:
    """One engine, compared with the model. Engines of one folder share the exported network there."""
    _check_name(name)
    if images.device.type != 'cpu' and name not in ('eager', 'compile'):
        raise ValueError(f'engine {name} runs on the CPU, the images are on {images.device}: use device cpu')
    expected = run_model(model, images)
    engine = ENGINES[name](model, images, threads, folder)
    found = engine(images)
    for output, truth in expected.items():
        difference = (found[output] - truth).abs().max().item() / truth.abs().max().clamp(min=1e-6).item()
        if not difference <= TOLERANCE:
            raise ValueError(
                f'engine {name} differs from the model by {difference:.1e} of the largest value of {output}, '
                f'more than {TOLERANCE}: do not use it for this model'
            )
    return engine


def _choose(model: nn.Module, images: Tensor, threads: int, folder: Path) -> Engine:
    """The fastest engine that is installed and passes the comparison."""
    engines = {}
    for name in CANDIDATES if images.device.type == 'cpu' else ('eager',):
        if name != 'eager' and not importlib.util.find_spec(name):
            continue
        try:
            engines[name] = _build(name, model, images, threads, folder)
        except (ImportError, RuntimeError, ValueError) as error:
            logger.warning('engine %s is not used: %s', name, str(error).partition('\n')[0])
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


def _onnxruntime(model: nn.Module, images: Tensor, threads: int, folder: Path) -> Engine:
    return _exported(model, images, threads, folder, 'onnx', 'onnxruntime', open_onnxruntime)


def _openvino(model: nn.Module, images: Tensor, threads: int, folder: Path) -> Engine:
    return _exported(model, images, threads, folder, 'openvino', 'openvino', open_openvino)


def _exported(
    model: nn.Module, images: Tensor, threads: int, folder: Path, what: str, package: str, reader: Callable
) -> Engine:
    with needs(what):
        __import__(package)
    graph = graph_of(model, 'onnx')
    path = folder / 'network.onnx'
    if not path.exists():
        write_onnx(graph, images, path, True, False, None)
    network = reader(path, threads)
    for batch in (images[:1], images[:1].repeat(2, 1, 1, 1)):
        network(batch)  # the reader may open the file once per kind of batch
    return Exported(network, graph.outputs, {}, package)


ENGINES: dict[str, Callable[[nn.Module, Tensor, int, Path], Engine]] = {
    'eager': _eager,
    'compile': _compile,
    'onnxruntime': _onnxruntime,
    'openvino': _openvino,
}
