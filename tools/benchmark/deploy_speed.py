"""Time engines and exported networks against the code they replace, in one process, runs alternating.

The peer of each model is what its users run today, in eager PyTorch with random weights: an encoder with
MMPose's HeatmapHead behind it, the decoder that our model has.

* ``swinpose``: MMPose's SwinTransformer, cut to the stages.
* ``gmfpose``: the official GroupMixFormer (``--gmf``, a clone of AILab-CVC/GroupMixFormer).
* ``vmpose``: the official VMamba (``--vmamba``, classification/models of MzeroMiko/VMamba).

``part`` says what is compared: whole models, or the two encoders. ``ratio`` is the peer's median over the
engine's, ``best_ratio`` that of the shortest times; ``max_diff`` is the largest difference to our model in
units of its largest value (not of int8: what that changes, mmhier export says in pixels).

    python tools/benchmark/deploy_speed.py swinpose_s_s3_coco --engines eager openvino int8 --out speed.csv
"""

import argparse
import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))  # the other scripts of this folder

from mmhier.cost.macs import build_model
from mmhier.deploy.formats import open_onnxruntime, open_openvino, write_onnx, write_openvino
from mmhier.deploy.graphs import graph_of
from mmhier.zoo.names import find_configs

FIELDS = ('config', 'part', 'engine', 'threads', 'peer_ms', 'engine_ms', 'ratio', 'best_ratio', 'max_diff')
SIZES = dict(t='tiny', s='small', b='base')
ENGINES = ('eager', 'compile', 'onnxruntime', 'openvino', 'int8')
PARTS = ('model', 'encoder')
Call = Callable[[], Tensor]


def build_peer_encoder(name: str, args: argparse.Namespace) -> nn.Module:
    """Build the encoder that a config's encoder replaces."""
    family, size, stages, *_ = name.split('_')
    arch, stages = SIZES[size], int(stages[1:])
    if family == 'swinpose':
        from swin_speed import build

        network = build(arch, stages, 'cpu')[0]
    elif family == 'gmfpose':
        from gmf_speed import build, load_official

        network = build(load_official(args.gmf), arch, stages, 'cpu')[0]
    elif family == 'vmpose':
        from vmamba_speed import Official

        network = Official(args.vmamba, arch, stages)
    else:
        raise SystemExit(f'{name}: there is no peer for {family}')
    network.train(False)
    return network


class Encoder(nn.Module):
    """The encoder of a graph, as a graph."""

    outputs = ('map',)

    def __init__(self, graph: nn.Module):
        super().__init__()
        self.backbone = graph.backbone

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Map images to the last map."""
        return (self.backbone(images)[-1],)


def make(engine: str, model: nn.Module, part: str, images: Tensor) -> Call:
    """Prepare an engine; int8 is calibrated on noise, which does not change its speed."""
    graph = graph_of(model, 'here' if engine in ('eager', 'compile') else 'onnx')
    if part == 'encoder':
        graph = Encoder(graph)
    if engine in ('eager', 'compile'):
        network = torch.compile(graph) if engine == 'compile' else graph
    else:
        with tempfile.TemporaryDirectory() as folder:
            calibration = torch.randn(4, *images.shape[1:]) if engine == 'int8' else None
            path = Path(folder) / ('network.xml' if calibration is not None else 'network.onnx')
            write = write_onnx if calibration is None else write_openvino
            write(graph, images, path, True, False, calibration)
            reader = open_onnxruntime if engine == 'onnxruntime' else open_openvino
            network = reader(path, torch.get_num_threads())
            network(images)  # compiled now, before the file is gone

    def run() -> Tensor:
        with torch.no_grad() if engine == 'compile' else torch.inference_mode():
            return network(images)[0]

    return run


def alternate(calls: list[Callable[[], object]], runs: int) -> list[list[float]]:
    """Seconds of each call over alternating runs, each the second of a pair."""
    seconds: list[list[float]] = [[] for _ in calls]
    for run in range(runs + 2):
        for index, call in enumerate(calls):
            call()  # threads of the one before have stopped to wait for work, caches are its own
            start = time.perf_counter()
            call()
            if run >= 2:  # warm-up
                seconds[index].append(time.perf_counter() - start)
    return seconds


def measure(name: str, part: str, args: argparse.Namespace) -> list[dict]:
    """Time the peer and all engines of a config in turns."""
    from mmpose.models.heads import HeatmapHead

    model, (width, height) = build_model(find_configs([name])[0])
    images = torch.randn(1, 3, height, width)
    encoder = build_peer_encoder(name, args)
    with torch.inference_mode():
        channels = encoder(images)[-1].shape[1]
    head = HeatmapHead(channels, 17, deconv_out_channels=(256, 256), deconv_kernel_sizes=(4, 4)).eval()

    def run_peer() -> None:
        with torch.inference_mode():
            maps = tuple(encoder(images))
            if part == 'model':
                head(maps)

    engines = {engine: make(engine, model, part, images) for engine in args.engines}
    expected = make('eager', model, part, images)()
    peer_seconds, *others = alternate([run_peer, *engines.values()], args.runs)
    rows = []
    for (engine, run), seconds in zip(engines.items(), others, strict=True):
        difference = (run() - expected).abs().max() / expected.abs().max()
        theirs, ours = statistics.median(peer_seconds), statistics.median(seconds)
        rows.append(
            dict(
                config=name,
                part=part,
                engine=engine,
                threads=args.threads,
                peer_ms=round(1e3 * theirs, 1),
                engine_ms=round(1e3 * ours, 1),
                ratio=round(theirs / ours, 2),
                best_ratio=round(min(peer_seconds) / min(seconds), 2),
                max_diff='' if engine == 'int8' else f'{difference.item():.1e}',
            )
        )
    return rows


def main() -> None:
    """Print the table and write it as CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('configs', nargs='+', help='such as swinpose_s_s3_coco')
    parser.add_argument('--engines', nargs='+', choices=ENGINES, default=['eager', 'onnxruntime', 'openvino'])
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=['model'])
    parser.add_argument('--gmf', type=Path, help='clone of the official GroupMixFormer')
    parser.add_argument('--vmamba', type=Path, help='folder classification/models of the official VMamba')
    parser.add_argument('--runs', type=int, default=15)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--out', type=Path, default=Path('deploy_speed.csv'))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(' '.join(f'{field:>19}' for field in FIELDS))
    with args.out.open('w', newline='') as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for name in args.configs:
            for part in args.parts:
                for row in measure(name, part, args):
                    print(' '.join(f'{value!s:>19}' for value in row.values()), flush=True)
                    writer.writerow(row)
                    file.flush()


if __name__ == '__main__':
    main()
