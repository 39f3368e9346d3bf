"""Time engines and exported networks against the code they replace, in one process, runs alternating.

The peer of each model is what its users run today, in eager PyTorch with random weights:

* ``swinpose``: MMPose's SwinTransformer, cut to the stages, with MMPose's HeatmapHead. Whole models.
* ``gmfpose``: the official GroupMixFormer encoder (``--gmf``, a clone of AILab-CVC/GroupMixFormer).
* ``vmpose``: the official VMamba encoder (``--vmamba``, classification/models of MzeroMiko/VMamba).

Ours is always the whole model with its decoder. ``ratio`` is the peer's median over the engine's,
``best_ratio`` that of the shortest times; ``max_diff`` is the largest difference to our model in units of the
largest heatmap value (not of int8: what that changes, mmhier export says in pixels).

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

from mmhier.apis.model_zoo import find_configs
from mmhier.cost.macs import build_model
from mmhier.deploy import make_engine
from mmhier.deploy.formats import open_openvino, write_openvino
from mmhier.deploy.graphs import graph_of, run_model

FIELDS = ('config', 'engine', 'threads', 'peer_ms', 'engine_ms', 'ratio', 'best_ratio', 'max_diff')
SIZES = dict(t='tiny', s='small', b='base')
ENGINES = ('eager', 'compile', 'onnxruntime', 'openvino', 'int8')


def build_peer(name: str, args: argparse.Namespace) -> nn.Module:
    """Build the code that a config's model replaces."""
    family, size, stages, *_ = name.split('_')
    arch, stages = SIZES[size], int(stages[1:])
    if family == 'swinpose':
        return MMPoseSwin(arch, stages)
    if family == 'gmfpose':
        from gmf_speed import build, load_official

        return build(load_official(args.gmf), arch, stages, 'cpu')[0]
    if family == 'vmpose':
        from vmamba_speed import Official

        return Official(args.vmamba, arch, stages)
    raise SystemExit(f'{name}: there is no peer for {family}')


class MMPoseSwin(nn.Module):
    """MMPose's Swin and heatmap head."""

    def __init__(self, arch: str, stages: int):
        super().__init__()
        from mmpose.models.heads import HeatmapHead
        from swin_speed import build

        self.backbone = build(arch, stages, 'cpu')[0]
        self.head = HeatmapHead(
            self.backbone.num_features[-1], 17, deconv_out_channels=(256, 256), deconv_kernel_sizes=(4, 4)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images to heatmaps."""
        return self.head(self.backbone(images))


def make(engine: str, model: nn.Module, images: Tensor) -> Callable[[Tensor], dict[str, Tensor]]:
    """Prepare an engine; int8 is calibrated on noise, which does not change its speed."""
    if engine != 'int8':
        return make_engine(engine, model, images)
    graph = graph_of(model, 'onnx')
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / 'int8.xml'
        write_openvino(graph, images, path, True, False, torch.randn(4, *images.shape[1:]))
        network = open_openvino(path, torch.get_num_threads())
        network(images)  # compiled now, before the file is gone
    return lambda batch: dict(zip(graph.outputs, network(batch), strict=True))


def alternate(calls: list[Callable[[], object]], runs: int) -> list[list[float]]:
    """Seconds of each call over alternating runs."""
    seconds: list[list[float]] = [[] for _ in calls]
    for run in range(runs + 2):
        for index, call in enumerate(calls):
            start = time.perf_counter()
            call()
            if run >= 2:  # warm-up
                seconds[index].append(time.perf_counter() - start)
    return seconds


def measure(name: str, args: argparse.Namespace) -> list[dict]:
    """Time the peer and all engines of a config in turns."""
    model, (width, height) = build_model(find_configs([name])[0])
    images = torch.randn(1, 3, height, width)
    peer = build_peer(name, args)
    peer.train(False)
    if hasattr(peer, 'backbone'):
        peer.backbone.train(False)

    def run_peer() -> None:
        with torch.inference_mode():
            peer(images)

    engines = {engine: make(engine, model, images) for engine in args.engines}
    expected = run_model(model, images)['heatmaps']
    calls = [run_peer, *(lambda run=run: run(images) for run in engines.values())]
    peer_seconds, *others = alternate(calls, args.runs)
    rows = []
    for (engine, run), seconds in zip(engines.items(), others, strict=True):
        difference = (run(images)['heatmaps'] - expected).abs().max() / expected.abs().max()
        theirs, ours = statistics.median(peer_seconds), statistics.median(seconds)
        rows.append(
            dict(
                config=name,
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
            for row in measure(name, args):
                print(' '.join(f'{value!s:>19}' for value in row.values()), flush=True)
                writer.writerow(row)
                file.flush()


if __name__ == '__main__':
    main()
