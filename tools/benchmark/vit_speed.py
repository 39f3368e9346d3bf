"""Time ViT against mmpretrain's VisionTransformer with ViTPose's settings and the same weights.

Runs of the two networks alternate, so that whatever else the machine does hits both; the table gives the
median of each and their ratio. Outputs are compared before anything is timed.

    python tools/benchmark/vit_speed.py --archs small base --batches 1 8 --out speed.csv
"""

import argparse
import csv
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from mmhier.models.backbones.vit import ARCHS, ViT, resolve_arch

FIELDS = (
    'arch',
    'height',
    'width',
    'batch',
    'mode',
    'threads',
    'mmpretrain_ms',
    'mmhier_ms',
    'ratio',
    'max_diff',
)


def build(arch: str, device: str) -> tuple[nn.Module, nn.Module]:
    """Build both networks with the same random weights."""
    from mmpretrain.models.backbones import VisionTransformer  # after mmhier, which makes it importable

    theirs = VisionTransformer(
        arch=resolve_arch(arch),
        img_size=(256, 192),
        with_cls_token=False,
        out_type='featmap',
        patch_cfg=dict(padding=2),
    )
    for name, parameter in theirs.named_parameters():
        if 'ln' not in name:
            nn.init.normal_(parameter, std=0.02)
    ours = ViT(arch, drop_path_rate=0.0)
    ours.load_state_dict(theirs.state_dict())
    return theirs.to(device), ours.to(device)


def step(network: nn.Module, images: Tensor, mode: str) -> Callable[[], Tensor]:
    """Return what is timed: a forward pass, or a forward and a backward pass."""

    def infer() -> Tensor:
        with torch.inference_mode():
            return network(images)[-1]

    def train() -> Tensor:
        network.zero_grad(set_to_none=True)
        out = network(images)[-1]
        out.square().mean().backward()
        return out.detach()

    network.train(mode == 'train')
    return infer if mode == 'infer' else train


def alternate(steps: list[Callable[[], Tensor]], runs: int, device: str) -> list[float]:
    """Median seconds of each step over alternating runs."""
    seconds = [[] for _ in steps]
    for run in range(runs + 2):
        for index, call in enumerate(steps):
            start = time.perf_counter()
            call()
            if device != 'cpu':
                torch.cuda.synchronize()
            if run >= 2:  # warm-up
                seconds[index].append(time.perf_counter() - start)
    return [statistics.median(values) for values in seconds]


def main() -> None:
    """Print the table and write it as CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--archs', nargs='+', default=['small', 'base'], choices=sorted(ARCHS))
    parser.add_argument('--sizes', nargs='+', default=['256x192'], help='HEIGHTxWIDTH')
    parser.add_argument('--batches', nargs='+', type=int, default=[1, 8])
    parser.add_argument('--modes', nargs='+', default=['infer'], choices=['infer', 'train'])
    parser.add_argument('--runs', type=int, default=15)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', type=Path, default=Path('vit_speed.csv'))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(' '.join(f'{field:>13}' for field in FIELDS))
    with args.out.open('w', newline='') as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for arch in args.archs:
            networks = build(arch, args.device)
            for size in args.sizes:
                height, width = map(int, size.split('x'))
                for batch in args.batches:
                    images = torch.randn(batch, 3, height, width, device=args.device)
                    for mode in args.modes:
                        steps = [step(network, images, mode) for network in networks]
                        difference = (steps[0]() - steps[1]()).abs().max().item()
                        theirs, ours = alternate(steps, args.runs, args.device)
                        values = (arch, height, width, batch, mode, args.threads)
                        values += tuple(round(x, 3) for x in (1e3 * theirs, 1e3 * ours, theirs / ours))
                        row = dict(zip(FIELDS, (*values, f'{difference:.1e}'), strict=True))
                        print(' '.join(f'{value!s:>13}' for value in row.values()), flush=True)
                        writer.writerow(row)
                        file.flush()


if __name__ == '__main__':
    main()
