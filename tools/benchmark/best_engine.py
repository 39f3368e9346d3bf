"""Time our 2D models and what people would run instead, all in the same engines and precisions.

Every network goes from a normalised crop of 256x192 to heatmaps (RTMPose: to its SimCC vectors), with random
weights. Peers are MMPose's own: its SwinTransformer cut to three stages with its HeatmapHead, its ViTPose-S,
RTMPose; with ``--gmf`` the official GroupMixFormer (a clone of AILab-CVC/GroupMixFormer) with that head.
They are exported plainly, by ``torch.onnx``'s TorchScript path with constants folded. int8 is nncf's
quantisation for transformers on both sides (ours keeps its first and last layers in float, the peers'
nothing), calibrated on noise, which does not change the speed.

Networks of an engine, precision and batch run in turns in one process, each timed run after an untimed one
of the same network. ``share_of_probe`` is the network's multiply-adds per second beside those of a float32
matrix product in PyTorch, which takes part in the turns; ``ratio`` is the time of the peer named in
``against`` over ours in the same turns. ``published_ap`` is COCO val AP as its authors report it.

    python tools/benchmark/best_engine.py --out docs/benchmarks/best_engine.csv --picture best_engine.png
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import matplotlib
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))  # the other scripts of this folder

from deploy_speed import alternate
from rows import add_rows

from mmhier.cost.macs import build_model, count_macs
from mmhier.deploy.formats import open_onnxruntime, open_openvino, quantise, write_onnx, write_openvino
from mmhier.deploy.graphs import graph_of
from mmhier.zoo.names import find_configs

FIELDS = (
    'network', 'of', 'engine', 'precision', 'batch', 'threads', 'ms_per_image', 'best_ms_per_image',
    'gmacs', 'share_of_probe', 'against', 'ratio', 'published_ap', 'ap_source',
)  # fmt: skip
SIZE_HW = (256, 192)
WAYS = (
    ('onnxruntime', 'fp32'),
    ('openvino', 'fp32'),
    ('openvino', 'bf16'),
    ('openvino', 'int8'),
)
PAPER, VITPOSE, RTMPOSE = 'arXiv 2510.12660', 'ViTPose, its repository', 'MMPose, trained on AIC and COCO'
PROBE = 1536  # edge of the square matrices


class Entry(NamedTuple):
    """A network of the table: the peer that it is compared with, its published AP, and whose number it is."""

    against: str = ''
    ap: float | None = None
    ap_source: str = ''


OURS = {
    'swinpose_s_s3': Entry('mmpose_swin_s_s3', 74.6, PAPER),
    'gmfpose_t_s3': Entry('official_gmf_t_s3', 75.7, PAPER),
    'vitpose_s': Entry('mmpose_vitpose_s', 73.8, VITPOSE),
}
PEERS = {
    'mmpose_swin_s_s3': Entry(ap=74.6, ap_source=PAPER),
    'official_gmf_t_s3': Entry(ap=75.7, ap_source=PAPER),
    'mmpose_vitpose_s': Entry(ap=73.8, ap_source=VITPOSE),
    'rtmpose_t': Entry(ap=68.5, ap_source=RTMPOSE),
    'rtmpose_s': Entry(ap=72.2, ap_source=RTMPOSE),
    'rtmpose_m': Entry(ap=75.8, ap_source=RTMPOSE),
}


class Peer(nn.Module):
    """An encoder and a head of MMPose as one network."""

    def __init__(self, backbone: nn.Module, head: nn.Module, neck: nn.Module | None = None):
        super().__init__()
        self.backbone, self.neck, self.head = backbone, neck, head

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map images to what the head gives."""
        maps = tuple(self.backbone(images))
        return self.head(self.neck(maps) if self.neck is not None else maps)


def build_peer(name: str, gmf: Path | None) -> nn.Module:
    """Build a peer with random weights."""
    from mmengine.config import Config
    from mmengine.registry import init_default_scope
    from mmpose.models.heads import HeatmapHead
    from mmpose.registry import MODELS

    init_default_scope('mmpose')
    if name in ('mmpose_swin_s_s3', 'official_gmf_t_s3'):
        if 'swin' in name:
            from swin_speed import build

            encoder = build('small', 3, 'cpu')[0]
        else:
            from gmf_speed import build, load_official

            encoder = build(load_official(gmf), 'tiny', 3, 'cpu')[0]
        with torch.inference_mode():
            channels = encoder.eval()(torch.zeros(1, 3, *SIZE_HW))[-1].shape[1]
        head = HeatmapHead(channels, 17, deconv_out_channels=(256, 256), deconv_kernel_sizes=(4, 4))
        return Peer(encoder, head).eval()
    stock = dict(
        mmpose_vitpose_s='topdown_heatmap/coco/td-hm_ViTPose-small_8xb64-210e_coco-256x192.py',
        **{
            f'rtmpose_{size}': f'rtmpose/coco/rtmpose-{size}_8xb256-420e_aic-coco-256x192.py'
            for size in 'tsm'
        },
    )
    import mmpose

    folder = Path(mmpose.__file__).parent / '.mim/configs/body_2d_keypoint'
    settings = Config.fromfile(folder / stock[name]).model
    settings.backbone.init_cfg = None
    model = MODELS.build(settings).eval()
    return Peer(model.backbone, model.head, model.neck if model.with_neck else None).eval()


def write_peer(network: nn.Module, path: Path, batch: int, int8: bool) -> None:
    """Export a peer plainly for one batch size."""
    images = torch.randn(batch, 3, *SIZE_HW)
    onnx_file = path.with_suffix('.onnx')
    with torch.no_grad():
        torch.onnx.export(
            network, (images,), str(onnx_file), dynamo=False, opset_version=17, do_constant_folding=True
        )
    if int8:
        import openvino

        model = quantise(openvino.convert_model(onnx_file), torch.randn(4, 3, *SIZE_HW), ())
        openvino.save_model(model, path, compress_to_fp16=False)


def open_file(path: Path, engine: str, precision: str, threads: int) -> Callable[[Tensor], object]:
    """Open an exported file."""
    if engine == 'onnxruntime':
        return open_onnxruntime(path, threads)
    return open_openvino(path, threads, bf16=precision == 'bf16')


def prepare(networks: dict[str, nn.Module], way: tuple[str, str], batch: int, threads: int) -> dict:
    """Export and open every network for a way; name -> what runs it once."""
    engine, precision = way
    images, calls = torch.randn(batch, 3, *SIZE_HW), {}
    for name, network in networks.items():
        with tempfile.TemporaryDirectory() as folder:
            int8 = precision == 'int8'
            path = Path(folder) / ('network.xml' if int8 else 'network.onnx')
            if name in OURS:
                write = write_openvino if int8 else write_onnx
                noise = torch.randn(4, *images.shape[1:]) if int8 else None
                write(graph_of(network, 'onnx'), images, path, False, False, noise)
            else:
                # nncf calibrates with single images
                write_peer(network, path, 1 if int8 else batch, int8)
            run = open_file(path, engine, precision, threads)
            run(images)  # compiled now, before the file is gone
        calls[name] = lambda run=run: run(images)
    return calls


def measure(networks: dict[str, nn.Module], gmacs: dict[str, float], way, args) -> list[tuple]:
    """Rows of one engine, precision and batch."""
    rows = []
    for batch in args.batches:
        calls = prepare(networks, way, batch, args.threads)
        left, right = torch.randn(2, PROBE, PROBE)
        seconds = alternate([*calls.values(), lambda left=left, right=right: left @ right], args.runs)
        probe = PROBE**3 / statistics.median(seconds[-1])
        times = dict(zip(calls, seconds))
        for name, own in times.items():
            entry = OURS.get(name) or PEERS[name]
            per_image = statistics.median(own) / batch
            ratio = ''
            if entry.against in times:
                ratio = f'{statistics.median(times[entry.against]) / statistics.median(own):.2f}'
            share = f'{1e9 * gmacs[name] / per_image / probe:.2f}'
            whose = 'mmhier' if name in OURS else 'peer'
            times_ms = [f'{1e3 * value:.2f}' for value in (per_image, min(own) / batch)]
            row = (name, whose, *way, batch, args.threads, *times_ms, f'{gmacs[name]:.3f}', share)
            rows.append((*row, entry.against, ratio, entry.ap, entry.ap_source))
            print(' '.join(f'{value!s:>17}' for value in rows[-1][:12]), flush=True)
    return rows


def draw(rows: list[dict], path: Path) -> None:
    """Published accuracy against the time of an image at batch 1, per network in each precision."""
    matplotlib.use('Agg')
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout='constrained')
    markers = dict(fp32='o', bf16='s', int8='^')
    singles = [row for row in rows if row['engine'] == 'openvino' and row['batch'] == '1']
    names = [name for name in (*OURS, *PEERS) if any(row['network'] == name for row in singles)]
    for name in names:
        own = sorted((row for row in singles if row['network'] == name), key=lambda row: row['precision'])
        times = [float(row['ms_per_image']) for row in own]
        accuracy = float(own[0]['published_ap'])
        colour = 'tab:blue' if name in OURS else 'tab:orange' if 'rtm' in name else 'tab:grey'
        axes.plot(times, [accuracy] * len(own), color=colour, linewidth=1, alpha=0.5, zorder=1)
        for time, row in zip(times, own):
            axes.scatter(time, accuracy, marker=markers[row['precision']], color=colour, zorder=2)
        offset = dict(xytext=(0, 6 if name in OURS else -13), textcoords='offset points')
        axes.annotate(name, (min(times), accuracy), fontsize=8, color=colour, **offset)
    for precision, marker in markers.items():
        axes.scatter([], [], marker=marker, color='black', label=precision)
    axes.set(
        xscale='log',
        xlabel=f'ms per crop of 256x192 in OpenVINO, batch 1, {rows[0]["threads"]} threads (measured)',
        ylabel='COCO val AP (published, of float32)',
    )
    axes.legend(title='precision', loc='lower right')
    axes.grid(alpha=0.3, which='both')
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the table, append it to the CSV and draw it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--networks', nargs='+', choices=(*OURS, *PEERS), default=[*OURS, *PEERS])
    parser.add_argument(
        '--ways', nargs='+', default=['/'.join(way) for way in WAYS], metavar='ENGINE/PRECISION'
    )
    parser.add_argument('--batches', nargs='+', type=int, default=[1, 8])
    parser.add_argument('--gmf', type=Path, help='clone of the official GroupMixFormer; left out without')
    parser.add_argument('--runs', type=int, default=15)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--out', type=Path, default=Path('best_engine.csv'))
    parser.add_argument('--picture', type=Path, default=Path('best_engine.png'))
    args = parser.parse_args()
    if wrong := [way for way in args.ways if way not in {'/'.join(known) for known in WAYS}]:
        parser.error(f'--ways: {wrong[0]} is none of {", ".join("/".join(known) for known in WAYS)}')
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    networks, gmacs = {}, {}
    for name in args.networks:
        if name == 'official_gmf_t_s3' and args.gmf is None:
            continue
        if name in OURS:
            networks[name] = build_model(find_configs([f'{name}_coco'])[0])[0]
        else:
            networks[name] = build_peer(name, args.gmf)
        others = dict(data_samples=None, mode='tensor') if name in OURS else {}
        run = partial(networks[name], torch.zeros(1, 3, *SIZE_HW), **others)
        gmacs[name] = count_macs(networks[name], run) / 1e9
    for way in args.ways:
        add_rows(args.out, FIELDS, measure(networks, gmacs, tuple(way.split('/')), args))
    import csv

    with args.out.open(encoding='utf-8', newline='') as file:
        draw(list(csv.DictReader(file)), args.picture)


if __name__ == '__main__':
    main()
