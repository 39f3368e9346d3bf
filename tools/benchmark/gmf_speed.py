"""Time TruncatedGMF against the official GroupMixFormer with the same weights, in one process.

Runs of the networks alternate, so that whatever else the machine does hits all of them; the table gives the
median of each and the ratios to the official code. Outputs are compared before anything is timed. For the
training step the official code's SyncBatchNorm, which refuses CPUs, is replaced by BatchNorm2d.

    git clone https://github.com/AILab-CVC/GroupMixFormer
    python tools/benchmark/gmf_speed.py --official GroupMixFormer --stages 2 3 --out gmf_speed.csv
"""

import argparse
import contextlib
import copy
import csv
import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import torch
from mmcv.cnn.bricks import DropPath
from mmengine.model import revert_sync_batchnorm
from torch import Tensor, nn
from turns import medians, step

from mmhier.convert.gmf import GMF
from mmhier.convert.key_table import convert
from mmhier.models.backbones.truncated_gmf import ARCHS, TruncatedGMF

FIELDS = (
    'arch',
    'stages',
    'height',
    'width',
    'batch',
    'mode',
    'threads',
    'official_ms',
    'mmhier_ms',
    'fused_ms',
    'ratio',
    'fused_ratio',
    'max_diff',
)
# What the official file imports besides torch and einops: a debugger, and parts of an old timm.
STAND_INS = {
    'ipdb': {},
    'timm': {},
    'timm.data': dict(IMAGENET_DEFAULT_MEAN=None, IMAGENET_DEFAULT_STD=None),
    'timm.models': {},
    'timm.models.layers': dict(
        DropPath=DropPath, to_2tuple=lambda side: (side, side), trunc_normal_=nn.init.trunc_normal_
    ),
    'timm.models.registry': dict(register_model=lambda function: function),
}


@contextlib.contextmanager
def stand_ins() -> Iterator[None]:
    """Let the official file import what it needs of other packages, whatever is installed."""
    before = {name: sys.modules.get(name) for name in STAND_INS}
    for name, content in STAND_INS.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(content)
    try:
        yield
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def load_official(folder: Path) -> type[nn.Module]:
    """Return the class ``GroupMixFormer`` of a clone of the official repository."""
    path = folder / 'models' / 'groupmixformer.py'
    if not path.is_file():
        raise SystemExit(f'{path} does not exist: --official must be a clone of AILab-CVC/GroupMixFormer')
    spec = importlib.util.spec_from_file_location('official_groupmixformer', path)
    module = importlib.util.module_from_spec(spec)
    with stand_ins():
        spec.loader.exec_module(module)
    return module.GroupMixFormer


def build(official: type[nn.Module], arch: str, stages: int, device: str) -> tuple[nn.Module, nn.Module]:
    """Build both networks with the same random weights."""
    settings = ARCHS[arch]
    theirs = official(
        num_stages=stages,
        embedding_dims=list(settings['embed_dims']),
        serial_depths=list(settings['depths']),
        mlp_ratios=list(settings['mlp_ratios']),
        drop_path_rate=0.0,
        return_interm_layers=True,
    )
    ours = TruncatedGMF(arch, num_stages=stages, drop_path_rate=0.0)
    ours.load_state_dict(convert(GMF, theirs.state_dict()).state_dict)
    return revert_sync_batchnorm(theirs).to(device), ours.to(device)


def compare(
    networks: tuple[nn.Module, nn.Module], images: Tensor, mode: str, args: argparse.Namespace
) -> dict:
    """Time both networks, in inference the fused one as well."""
    steps = [step(network, images, mode) for network in networks]
    if mode == 'infer':
        steps.append(step(copy.deepcopy(networks[1]).fuse_for_inference(), images, mode))
    expected = steps[0]()
    difference = max((call() - expected).abs().max().item() for call in steps[1:])
    theirs, ours, *fused = medians(steps, args.runs, args.device)
    row = dict(official_ms=1e3 * theirs, mmhier_ms=1e3 * ours, ratio=theirs / ours)
    if fused:
        row.update(fused_ms=1e3 * fused[0], fused_ratio=theirs / fused[0])
    return {**{key: round(value, 3) for key, value in row.items()}, 'max_diff': f'{difference:.1e}'}


def main() -> None:
    """Print the table and write it as CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--official', type=Path, required=True, help='clone of AILab-CVC/GroupMixFormer')
    parser.add_argument('--archs', nargs='+', default=['tiny', 'small', 'base'], choices=sorted(ARCHS))
    parser.add_argument('--stages', nargs='+', type=int, default=[2, 3])
    parser.add_argument('--sizes', nargs='+', default=['256x192'], help='HEIGHTxWIDTH, multiples of 32')
    parser.add_argument('--batches', nargs='+', type=int, default=[1])
    parser.add_argument('--modes', nargs='+', default=['infer'], choices=['infer', 'train'])
    parser.add_argument('--runs', type=int, default=15)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', type=Path, default=Path('gmf_speed.csv'))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    official = load_official(args.official)
    print(' '.join(f'{field:>11}' for field in FIELDS))
    with args.out.open('w', newline='') as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for arch in args.archs:
            for stages in args.stages:
                networks = build(official, arch, stages, args.device)
                for size in args.sizes:
                    height, width = map(int, size.split('x'))
                    for batch in args.batches:
                        images = torch.randn(batch, 3, height, width, device=args.device)
                        for mode in args.modes:
                            row = dict(zip(FIELDS, (arch, stages, height, width, batch, mode), strict=False))
                            row |= dict(threads=args.threads) | compare(networks, images, mode, args)
                            print(' '.join(f'{row.get(field, "")!s:>11}' for field in FIELDS), flush=True)
                            writer.writerow(row)
                            file.flush()


if __name__ == '__main__':
    main()
