"""Time TruncatedSwin against MMPose's Swin of the same depth, with the same weights, in one process.

Runs of the two networks alternate, so that whatever else the machine does hits both; the table gives the
median of each and their ratio. Outputs are compared before anything is timed.

    python tools/benchmark/swin_speed.py --archs tiny small base --stages 3 --batches 1 8 --out speed.csv
"""

import argparse
import csv
from pathlib import Path

import torch
from torch import nn
from turns import medians, step

from mmhier.models.backbones.truncated_swin import ARCHS, TruncatedSwin

FIELDS = (
    'arch',
    'stages',
    'height',
    'width',
    'batch',
    'mode',
    'threads',
    'mmpose_ms',
    'mmhier_ms',
    'ratio',
    'max_diff',
)


def build(arch: str, stages: int, device: str) -> tuple[nn.Module, nn.Module]:
    """Build both networks with the same random weights."""
    from mmpose.models.backbones import SwinTransformer  # after mmhier, which makes it importable

    settings = ARCHS[arch]
    theirs = SwinTransformer(
        embed_dims=settings['embed_dims'],
        depths=settings['depths'][:stages],
        num_heads=settings['num_heads'][:stages],
        strides=(4, 2, 2, 2)[:stages],
        out_indices=(stages - 1,),
        drop_path_rate=0.0,
    )
    for name, parameter in theirs.named_parameters():
        if 'norm' not in name:
            nn.init.normal_(parameter, std=0.02)
    ours = TruncatedSwin(arch, num_stages=stages, drop_path_rate=0.0)
    ours.load_state_dict(theirs.state_dict())
    return theirs.to(device), ours.to(device)


def main() -> None:
    """Print the table and write it as CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--archs', nargs='+', default=['tiny', 'small', 'base'], choices=sorted(ARCHS))
    parser.add_argument('--stages', nargs='+', type=int, default=[3])
    parser.add_argument('--sizes', nargs='+', default=['256x192'], help='HEIGHTxWIDTH')
    parser.add_argument('--batches', nargs='+', type=int, default=[1, 8])
    parser.add_argument('--modes', nargs='+', default=['infer'], choices=['infer', 'train'])
    parser.add_argument('--runs', type=int, default=15)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', type=Path, default=Path('swin_speed.csv'))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(' '.join(f'{field:>9}' for field in FIELDS))
    with args.out.open('w', newline='') as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for arch in args.archs:
            for stages in args.stages:
                networks = build(arch, stages, args.device)
                for size in args.sizes:
                    height, width = map(int, size.split('x'))
                    for batch in args.batches:
                        images = torch.randn(batch, 3, height, width, device=args.device)
                        for mode in args.modes:
                            steps = [step(network, images, mode) for network in networks]
                            difference = (steps[0]() - steps[1]()).abs().max().item()
                            theirs, ours = medians(steps, args.runs, args.device)
                            values = (arch, stages, height, width, batch, mode, args.threads)
                            values += tuple(round(x, 3) for x in (1e3 * theirs, 1e3 * ours, theirs / ours))
                            row = dict(zip(FIELDS, (*values, f'{difference:.1e}'), strict=True))
                            print(' '.join(f'{value!s:>9}' for value in row.values()), flush=True)
                            writer.writerow(row)
                            file.flush()


if __name__ == '__main__':
    main()
