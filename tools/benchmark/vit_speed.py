"""Time ViT against mmpretrain's VisionTransformer with ViTPose's settings and the same weights.

Runs of the two networks alternate, so that whatever else the machine does hits both; the table gives the
median of each and their ratio. Outputs are compared before anything is timed.

    python tools/benchmark/vit_speed.py --archs small base --batches 1 8 --out speed.csv
"""

import argparse
import csv
from pathlib import Path

import torch
from torch import nn
from turns import medians, step

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
                        theirs, ours = medians(steps, args.runs, args.device)
                        values = (arch, height, width, batch, mode, args.threads)
                        values += tuple(round(x, 3) for x in (1e3 * theirs, 1e3 * ours, theirs / ours))
                        row = dict(zip(FIELDS, (*values, f'{difference:.1e}'), strict=True))
                        print(' '.join(f'{value!s:>13}' for value in row.values()), flush=True)
                        writer.writerow(row)
                        file.flush()


if __name__ == '__main__':
    main()
