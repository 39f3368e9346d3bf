"""Writers of exported files, one per format, and the readers that run them.

A writer takes a graph of :mod:`mmhier.deploy.graphs` and writes a file; a reader returns a function from
images to the tuple of the graph's outputs. All of them start from one ``torch.export``.

| format | files | precision |
|--------|-------|-----------|
| onnx | .onnx | float32, fp16 (onnxruntime's converter), int8 (onnxruntime, static, QDQ) |
| openvino | .xml, .bin | float32, fp16 (of the weights), bf16 (when it runs), int8 (nncf) |
| torchscript | .pt | float32, fp16 |
| exported-program | .pt2 | float32, fp16 |
"""

import ast
import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn

from mmhier.deploy import program_files
from mmhier.deploy.scan import insert_scans
from mmhier.onnx_file import check_onnx
from mmhier.safe_files import check_file

Network = Callable[[Tensor], tuple[Tensor, ...]]

ENDINGS = {'onnx': '.onnx', 'torchscript': '.pt', 'exported-program': '.pt2', 'openvino': '.xml'}
INPUT_NAME = 'images'
_QUANTISED = ('Conv', 'Gemm', 'MatMul')
# How much of the spread of activations nncf moves into weights. This and ranges from the smallest to the
# largest value, instead of their means over crops, move our micro models less than its defaults do.
_SMOOTHING = 0.8
_PACKAGES = {
    'onnx': 'onnx onnxscript onnxruntime',
    'openvino': 'openvino onnx onnxscript',
    'int8 of openvino': 'nncf openvino onnx onnxscript',
}


@contextlib.contextmanager
def needs(what: str) -> Iterator[None]:
    """Say what to install where an import fails."""
    try:
        yield
    except ImportError as error:
        raise ImportError(f'{what} needs: pip install {_PACKAGES[what]} ({error})') from error


class Half(nn.Module):
    """A graph in half precision that takes images as they are and returns float32."""

    def __init__(self, graph: nn.Module):
        super().__init__()
        self.normalise, graph.normalise = graph.normalise, nn.Identity()  # 0 to 255 needs more precision
        self.network, self.outputs = graph.half(), graph.outputs

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Map images to the outputs of the graph."""
        return tuple(value.float() for value in self.network(self.normalise(images).half()))


def program_of(graph: nn.Module, images: Tensor, dynamic_batch: bool) -> torch.export.ExportedProgram:
    """Record a graph.

    Args:
        graph: See above.
        images: An example, (B, 3, H, W).
        dynamic_batch: Whether the program takes any B.
    """
    shapes = None
    if dynamic_batch:
        images = images[:1].repeat(2, 1, 1, 1)  # sizes of 0 and 1 would become constants
        shapes = ({0: torch.export.Dim('batch')},)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        return torch.export.export(graph, (images,), dynamic_shapes=shapes)


def onnx_model(graph: nn.Module, images: Tensor, dynamic_batch: bool):
    """Convert a graph to an ``onnx.ModelProto``.

    Raises:
        ImportError: If a package is missing, or PyTorch is too old.
    """
    with needs('onnx'):
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    program = program_of(graph, images, dynamic_batch)
    logging.getLogger('torch.onnx').setLevel(logging.ERROR)  # it warns of libraries that are not installed
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter('ignore')
        exported = torch.onnx.export(
            program,
            dynamo=True,
            input_names=[INPUT_NAME],
            output_names=list(graph.outputs),
            verbose=False,
        )
    model = exported.model_proto
    insert_scans(model)
    if dynamic_batch:
        for value in (*model.graph.input, *model.graph.output):
            value.type.tensor_type.shape.dim[0].dim_param = 'batch'
    del model.graph.value_info[:]  # sizes that the exporter inferred for its example
    return model


def float_nodes(graph: nn.Module, model) -> list[str]:
    """Names of nodes of an ``onnx.ModelProto`` that stay in float32 in an int8 file.

    They are the first layer and what ``graph.float_parts`` names: little work, and what is rounded there
    moves the results most.
    """
    layers = [node for node in model.graph.node if node.op_type in _QUANTISED]
    return [node.name for node in layers if node is layers[0] or _is_part(node, graph.float_parts)]


def _is_part(node, parts: Sequence[str]) -> bool:
    """Whether a node belongs to a module, by what PyTorch notes on each node."""
    noted = {entry.key: entry.value for entry in node.metadata_props}
    scopes = ast.literal_eval(noted.get('pkg.torch.onnx.name_scopes', '[]'))
    return any(scope == part or scope.endswith(f'.{part}') for scope in scopes for part in parts)


def write_onnx(
    graph: nn.Module, images: Tensor, path: Path, dynamic_batch: bool, fp16: bool, calibration: Tensor | None
) -> None:
    """Write a .onnx file; arguments as for :func:`mmhier.deploy.export_model`."""
    import onnx

    model = onnx_model(graph, images, dynamic_batch)
    if fp16:
        with needs('onnx'):
            from onnxruntime.transformers.float16 import convert_float_to_float16
        model = convert_float_to_float16(model, keep_io_types=True, op_block_list=['Scan', 'Resize', 'Pad'])
    if calibration is None:
        onnx.save(model, path)
        return
    with needs('onnx'):
        from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Crops(CalibrationDataReader):
        """The crops, one after the other."""

        def __init__(self):
            self.left = iter(calibration.split(1))

        def get_next(self) -> dict | None:
            crop = next(self.left, None)
            return None if crop is None else {INPUT_NAME: crop.numpy()}

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder) / 'float.onnx'
        onnx.save(model, whole)
        with _quiet('root'):
            quantize_static(
                whole,
                path,
                Crops(),
                op_types_to_quantize=list(_QUANTISED),
                nodes_to_exclude=float_nodes(graph, model),
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options=dict(MatMulConstBOnly=True),
            )


def write_openvino(
    graph: nn.Module, images: Tensor, path: Path, dynamic_batch: bool, fp16: bool, calibration: Tensor | None
) -> None:
    """Write .xml and .bin; arguments as for :func:`mmhier.deploy.export_model`."""
    import onnx

    with needs('openvino'):
        import openvino
    exported = onnx_model(graph, images, dynamic_batch)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder) / 'float.onnx'
        onnx.save(exported, whole)
        model = openvino.convert_model(whole)
    if calibration is not None:
        model = quantise(model, calibration, float_nodes(graph, exported))
    openvino.save_model(model, path, compress_to_fp16=fp16)


def quantise(model, calibration: Tensor, kept: Sequence[str]):
    """Quantise an OpenVINO model by what it computes for the crops, but for some nodes of its ONNX."""
    with needs('int8 of openvino'):
        import nncf
        from nncf.quantization.range_estimator import RangeEstimatorParametersSet
    nncf.set_log_level(logging.ERROR)
    _openvino_core()  # before nncf's own
    crops = nncf.Dataset([crop.numpy() for crop in calibration.split(1)])
    names = [op.get_friendly_name() for op in model.get_ops()]  # NAME or NAME/WithoutBiases
    ignored = nncf.IgnoredScope([name for name in names if name.split('/')[0] in set(kept)])
    with contextlib.redirect_stdout(io.StringIO()):
        return nncf.quantize(
            model,
            crops,
            subset_size=len(calibration),
            model_type=nncf.ModelType.TRANSFORMER,
            ignored_scope=ignored,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                smooth_quant_alphas=nncf.AdvancedSmoothQuantParameters(matmul=_SMOOTHING),
                activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
            ),
        )


def write_torchscript(
    graph: nn.Module, images: Tensor, path: Path, dynamic_batch: bool, fp16: bool, calibration: Tensor | None
) -> None:
    """Write a traced .pt file; arguments as for :func:`mmhier.deploy.export_model`."""
    graph = Half(graph) if fp16 else graph
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter('ignore')
        traced = torch.jit.trace(graph, (images[:1].repeat(2 if dynamic_batch else 1, 1, 1, 1),))
        torch.jit.save(traced, str(path))


def write_exported_program(
    graph: nn.Module, images: Tensor, path: Path, dynamic_batch: bool, fp16: bool, calibration: Tensor | None
) -> None:
    """Write a .pt2 file; arguments as for :func:`mmhier.deploy.export_model`."""
    torch.export.save(program_of(Half(graph) if fp16 else graph, images, dynamic_batch), str(path))


WRITERS: dict[str, Callable] = {
    'onnx': write_onnx,
    'torchscript': write_torchscript,
    'exported-program': write_exported_program,
    'openvino': write_openvino,
}


def open_onnxruntime(path: Path, threads: int) -> Network:
    """Run a .onnx file by onnxruntime."""
    with needs('onnx'):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    check_onnx(path)
    with _opening(path):
        session = onnxruntime.InferenceSession(os.fspath(path), options, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name

    def run(images: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(value) for value in session.run(None, {name: images.numpy()}))

    return run


@lru_cache
def _openvino_core():
    """The one core of this process, which is never released.

    A core that compiles moves the stack on which signals are handled, and its release moves it back to where
    it was before. Two cores that are not released in reverse leave it where nothing is: the next signal, such
    as that a child has ended, then ends the process.
    """
    import openvino

    return openvino.Core()


def openvino_has_bf16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this CPU (AVX512_BF16 or AMX).

    Raises:
        ImportError: If it is not installed.
    """
    with needs('openvino'):
        import openvino  # noqa: F401
    return 'BF16' in _openvino_core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')


def open_openvino(path: Path, threads: int, bf16: bool = False) -> Network:
    """Run a .onnx or .xml file by OpenVINO; the weights of an .xml are in the .bin beside it, nowhere else.

    A network with a dynamic batch is compiled a second time for single images, with which it is faster.

    Args:
        path: The file.
        threads: CPU threads.
        bf16: Multiply in bfloat16, which OpenVINO would do by itself on a CPU that can; else in float32.

    Raises:
        ValueError: If the file cannot be opened, or the CPU has no bfloat16.
    """
    with needs('openvino'):
        import openvino  # noqa: F401
    if bf16 and not openvino_has_bf16():
        raise ValueError('OpenVINO has no bf16 on this CPU (it needs AVX512_BF16 or AMX): use fp32')
    if path.suffix == '.onnx':
        check_onnx(path)
    else:
        for part in (path, path.with_suffix('.bin')):
            check_file(part)
    core = _openvino_core()
    with _opening(path):
        core.read_model(path)
    hints = {'INFERENCE_NUM_THREADS': threads, 'INFERENCE_PRECISION_HINT': 'bf16' if bf16 else 'f32'}
    compiled: dict[bool, object] = {}

    def run(images: Tensor) -> tuple[Tensor, ...]:
        single = len(images) == 1
        if single not in compiled:
            model = core.read_model(path)
            if single:
                model.reshape([1, *images.shape[1:]])
            compiled[single] = core.compile_model(model, 'CPU', hints)
        network = compiled[single]
        found = network(images.numpy())
        return tuple(torch.from_numpy(found[output].copy()) for output in network.outputs)

    return run


def open_torchscript(path: Path, threads: int) -> Network:
    """Run a .pt file; errors as of :func:`mmhier.deploy.program_files.open_script`."""
    file = program_files.open_script(path)
    with _opening(path):
        return _without_gradients(torch.jit.load(file))


def open_program(path: Path, threads: int) -> Network:
    """Run a .pt2 file; errors as of :func:`mmhier.deploy.program_files.open_exported_program`."""
    return _without_gradients(_program(path))


def open_compiled(path: Path, threads: int) -> Network:
    """Run a .pt2 file by ``torch.compile``; errors as of :func:`open_program`."""
    return _without_gradients(torch.compile(_program(path)))


def _program(path: Path) -> nn.Module:
    file = program_files.open_exported_program(path)
    with _opening(path):
        return torch.export.load(file).module()


@contextlib.contextmanager
def _opening(path: Path) -> Iterator[None]:
    """Say what a runtime has to say about a file; runtimes have errors of many kinds."""
    try:
        yield
    except Exception as error:
        reason = ' '.join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f'{path} cannot be opened ({reason}); export it again') from error


def _without_gradients(network: Callable) -> Network:
    def run(images: Tensor) -> tuple[Tensor, ...]:
        with torch.no_grad():
            found = network(images)
        return tuple(found) if isinstance(found, Sequence) else (found,)

    return run


# Ending of a file -> engines that run it, the default first.
READERS: dict[str, dict[str, Callable[[Path, int], Network]]] = {
    '.onnx': dict(onnxruntime=open_onnxruntime, openvino=open_openvino),
    '.xml': dict(openvino=open_openvino),
    '.pt': dict(torchscript=open_torchscript),
    '.pt2': {'exported-program': open_program, 'compile': open_compiled},
}


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Let a logger say errors only."""
    logger = logging.getLogger(None if name == 'root' else name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
