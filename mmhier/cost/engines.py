"""The ways to run a network: eager, compiled, or exported to another runtime.

An engine takes a batch of images and returns heatmaps, both as tensors. Exported networks are compared with
the original before they are used.
"""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

Engine = Callable[[Tensor], Tensor]

# An exported network computes the same in another order. What this may change, relative to the largest value.
TOLERANCE = 1e-3


class Heatmaps(nn.Module):
    """A pose model as one function from images to heatmaps."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) to (B, K, h, w)."""
        return self.model(images, None, mode='tensor')


def make_engine(name: str, model: nn.Module, images: Tensor, threads: int | None = None) -> Engine:
    """Prepare a model to run.

    Args:
        name: A key of :data:`ENGINES`.
        model: A pose model in evaluation mode.
        images: A batch of the size that will be run, (B, 3, H, W).
        threads: CPU threads of a runtime of its own; by default those of PyTorch.

    Raises:
        ImportError: If the runtime is not installed.
        ValueError: If there is no such engine, or it gives other numbers than the model.
    """
    if name not in ENGINES:
        raise ValueError(f'engine must be one of {", ".join(ENGINES)}, got {name!r}')
    network = Heatmaps(model).eval()
    with torch.inference_mode():
        expected = network(images)
    engine = ENGINES[name](network, images, threads or torch.get_num_threads())
    difference = (engine(images) - expected).abs().max().item() / expected.abs().max().clamp(min=1e-6).item()
    if not difference <= TOLERANCE:
        raise ValueError(
            f'engine {name} differs from the model by {difference:.1e} of the largest heatmap value, more '
            f'than {TOLERANCE}: do not use it for this model'
        )
    return engine


def _eager(network: nn.Module, images: Tensor, threads: int) -> Engine:
    def run(batch: Tensor) -> Tensor:
        with torch.inference_mode():
            return network(batch)

    return run


def _compile(network: nn.Module, images: Tensor, threads: int) -> Engine:
    compiled = torch.compile(network)

    def run(batch: Tensor) -> Tensor:
        with torch.no_grad():
            return compiled(batch)

    return run


def _onnxruntime(network: nn.Module, images: Tensor, threads: int) -> Engine:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError('engine onnxruntime needs: pip install onnx onnxscript onnxruntime') from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        path = _export(network, images, folder)
        session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name

    def run(batch: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {name: batch.numpy()})[0])

    return run


def _openvino(network: nn.Module, images: Tensor, threads: int) -> Engine:
    try:
        import openvino
    except ImportError as error:
        raise ImportError('engine openvino needs: pip install openvino onnx onnxscript') from error
    with tempfile.TemporaryDirectory() as folder:
        path = _export(network, images, folder)
        hints = {'INFERENCE_NUM_THREADS': threads, 'INFERENCE_PRECISION_HINT': 'f32'}
        compiled = openvino.Core().compile_model(path, 'CPU', hints)

    def run(batch: Tensor) -> Tensor:
        return torch.from_numpy(compiled(batch.numpy())[0].copy())

    return run


def _export(network: nn.Module, images: Tensor, folder: str) -> str:
    path = str(Path(folder) / 'network.onnx')
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)  # it warns of libraries that are not installed
    try:
        torch.onnx.export(network, (images,), path, dynamo=True, verbose=False)
    except ImportError as error:
        raise ImportError('exporting needs: pip install onnx onnxscript') from error
    return path


ENGINES: dict[str, Callable[[nn.Module, Tensor, int], Engine]] = {
    'eager': _eager,
    'compile': _compile,
    'onnxruntime': _onnxruntime,
    'openvino': _openvino,
}
