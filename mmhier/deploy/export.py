"""Exporting a model: the file, what a stranger needs to know to use it, and the proof that it is right.

Beside ``NAME.onnx`` lies ``NAME.onnx.json`` with the metadata and the parity report; an ONNX file carries the
metadata within, too (``metadata_props``). A file that fails the comparison is not left under its name; the
report then lies in ``NAME.onnx.failed.json``.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmhier.deploy.formats import ENDINGS, INPUT_NAME, READERS, WRITERS
from mmhier.deploy.graphs import INPUTS, graph_of, is_mesh, run_model
from mmhier.deploy.parity import PRECISIONS, Parity, compare, task_of
from mmhier.version import __version__

SCHEMA = 1
_BATCH = 8  # crops at a time in the comparison


def export_model(
    model: nn.Module,
    images: Tensor,
    path: str | Path,
    format: str = 'onnx',
    *,
    decode: bool = False,
    vertices: bool = False,
    inputs: str = 'normalised',
    dynamic_batch: bool = True,
    precision: str = 'float32',
    calibration: Tensor | None = None,
    bound: float | None = None,
    source: str = 'crops given by the caller',
    metadata: Mapping[str, Any] | None = None,
) -> Parity:
    """Write a model to a file that other runtimes read, and compare it with the model.

    Args:
        model: A top-down pose model with heatmaps or a mesh model, on the CPU.
        images: Crops to compare on, (B, 3, H, W) float32, as the network takes them (normalised).
        path: The file; its ending belongs to the format.
        format: 'onnx', 'torchscript', 'exported-program' or 'openvino'.
        decode: Pose: keypoints and scores instead of heatmaps, see
            :class:`mmhier.deploy.graphs.UDPDecoder`.
        vertices: Mesh: vertices and joints as well, with the body model inside of the file.
        inputs: What the file takes: 'normalised' images, or 'rgb-float' or 'rgb-uint8', 0 to 255.
        dynamic_batch: Take any number of images, not one.
        precision: 'float32', 'fp16', 'bf16' (openvino only: the file holds float32 and asks to be run in
            bfloat16), or 'int8' (onnx and openvino only).
        calibration: Crops to choose the ranges of int8 by, as ``images``.
        bound: Largest mean difference that passes, in pixels or millimetres; by default
            :data:`mmhier.deploy.parity.BOUNDS`.
        source: Where the crops come from, for the report.
        metadata: More to store, such as the names of keypoints.

    Returns:
        The comparison.

    Raises:
        ImportError: If a package is missing; the message names it.
        ValueError: If an option does not fit, or the file differs from the model by more than the bound.
    """
    path = Path(path)
    _check(path, format, inputs, precision, calibration, model)
    target = 'onnx' if format in ('onnx', 'openvino') else 'torch'
    graph = graph_of(model, target, decode, vertices, inputs != 'normalised')
    stored = raw_images(model, images, inputs)
    facts = describe(model, graph, stored, inputs, dynamic_batch, precision, format) | dict(metadata or {})
    if calibration is not None:
        calibration = raw_images(model, calibration, inputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f'.{path.name}.') as folder:
        file = Path(folder) / path.name
        WRITERS[format](graph, stored[:1], file, dynamic_batch, precision == 'fp16', calibration)
        if format == 'onnx':
            _store_in_onnx(file, facts)
        reader = next(iter(READERS[path.suffix].values()))
        network = reader(file, torch.get_num_threads(), **(dict(bf16=True) if precision == 'bf16' else {}))
        size = _BATCH if dynamic_batch else 1
        found = _joined(dict(zip(graph.outputs, network(part), strict=True)) for part in stored.split(size))
        expected = _joined(run_model(model, part) for part in images.split(_BATCH))
        parity = compare(model, expected, found, precision, source, bound)
        del network
        report = Path(f'{path}.json' if parity.passed else f'{path}.failed.json')
        text = json.dumps(facts | dict(parity=parity.to_json()), indent=2)
        (Path(folder) / 'report').write_text(text + '\n', encoding='utf-8')
        os.replace(Path(folder) / 'report', report)
        if not parity.passed:
            raise ValueError(
                f'{path} is not written: the export differs from the model by more than the bound: {parity}. '
                f'The report is {report}'
            )
        Path(f'{path}.failed.json').unlink(missing_ok=True)
        for part in sorted(Path(folder).iterdir()):  # .bin before .xml
            os.replace(part, path.parent / part.name)
    return parity


def _check(
    path: Path, format: str, inputs: str, precision: str, calibration: Tensor | None, model: nn.Module
) -> None:
    if format not in WRITERS:
        raise ValueError(f'format must be one of {", ".join(WRITERS)}, got {format!r}')
    if path.suffix != ENDINGS[format]:
        raise ValueError(f'{path}: a file of the format {format} ends in {ENDINGS[format]}')
    if inputs not in INPUTS:
        raise ValueError(f'inputs must be one of {", ".join(INPUTS)}, got {inputs!r}')
    if precision not in PRECISIONS:
        raise ValueError(f'precision must be one of {", ".join(PRECISIONS)}, got {precision!r}')
    if precision == 'int8' and format not in ('onnx', 'openvino'):
        raise ValueError(f'int8 is for the formats onnx and openvino, got {format}')
    if precision == 'bf16' and format != 'openvino':
        raise ValueError(f'bf16 is for the format openvino, got {format}')
    if (precision == 'int8') != (calibration is not None):
        raise ValueError('int8 and crops to calibrate with belong together: give both or neither')
    device = next(model.parameters()).device
    if device.type != 'cpu':
        raise ValueError(f'models are exported from the CPU, this one is on {device}: model.cpu()')


def raw_images(model: nn.Module, images: Tensor, inputs: str) -> Tensor:
    """Turn normalised images into what a file takes; for uint8 they are rounded.

    Raises:
        ValueError: If the model shrinks its crops, so that what was before is lost.
    """
    if inputs == 'normalised':
        return images
    preprocessor = model.data_preprocessor
    raw = (images * preprocessor.std + preprocessor.mean).round().clamp(0, 255)
    shrink = getattr(preprocessor, 'shrink', 1)
    if shrink > 1:  # each pixel repeated: its mean is the same
        raw = raw.repeat_interleave(shrink, 2).repeat_interleave(shrink, 3)
    return raw.to(torch.uint8) if inputs == 'rgb-uint8' else raw


def describe(
    model: nn.Module,
    graph: nn.Module,
    stored: Tensor,
    inputs: str,
    dynamic_batch: bool,
    precision: str,
    format: str,
) -> dict[str, Any]:
    """Facts that a user of the file needs."""
    preprocessor = model.data_preprocessor
    facts: dict[str, Any] = dict(
        schema=SCHEMA,
        mmhier_version=__version__,
        task=task_of(model),
        format=format,
        precision=precision,
        input=dict(
            name=INPUT_NAME,
            takes=inputs,
            dtype=str(stored.dtype).removeprefix('torch.'),
            layout='batch, channel (RGB), row, column',
            size_wh=[stored.shape[3], stored.shape[2]],
            dynamic_batch=dynamic_batch,
            mean=preprocessor.mean.flatten().tolist(),
            std=preprocessor.std.flatten().tolist(),
        ),
        outputs=list(graph.outputs),
    )
    if is_mesh(model):
        inside = graph.body is not None
        facts['body_model'] = model.body_model_name if inside else 'not inside'
        facts['joint_set'] = model.joints
    else:
        codec = model.head.decoder
        facts['codec'] = dict(
            type=type(codec).__name__,
            input_size_wh=[int(side) for side in codec.input_size],
            heatmap_size_wh=[int(side) for side in codec.heatmap_size],
        )
        facts['keypoints'] = 'pixels of the input; centre of the first: (0, 0), of the last: (W - 1, H - 1)'
    return facts


def _store_in_onnx(path: Path, facts: Mapping[str, Any]) -> None:
    import onnx

    model = onnx.load(path)
    del model.metadata_props[:]
    for graph in (model.graph, *model.functions):
        _without_traces(graph)
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}
    onnx.helper.set_model_props(model, texts)
    model.producer_name, model.producer_version = 'mmhier', __version__
    onnx.save(model, path)


def _without_traces(graph: Any) -> None:
    """Take away where each node comes from: stack traces of PyTorch, with paths of this machine."""
    values = [*getattr(graph, 'initializer', ()), *graph.value_info, *graph.node]
    for item in (graph, *graph.input, *graph.output, *values):
        found = getattr(item, 'metadata_props', [])
        for index in reversed(range(len(found))):
            if 'stack_trace' in found[index].key:
                del found[index]
    for node in graph.node:
        node.doc_string = ''
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField('g') else []), *attribute.graphs):
                _without_traces(inner)


def _joined(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Join batches of outputs."""
    batches = list(parts)
    return {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
