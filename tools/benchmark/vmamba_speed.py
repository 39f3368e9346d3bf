"""Time TruncatedVMamba against TruncatedSwin of the same size, and the official VMamba, in one process.

Runs of the networks alternate, so that whatever else the machine does hits all; the table gives the median of
each. VMamba and Swin do not do the same work, so what is compared is the time for a billion multiply-adds
(matrix products and convolutions, without scans): ``per_mac`` is VMamba's over Swin's, below 1 is faster.

    python tools/benchmark/vmamba_speed.py --archs tiny --stages 2 3 --out vmamba_speed.csv
    python tools/benchmark/vmamba_speed.py --official VMamba/classification/models

With ``--official``, a checkout of https://github.com/MzeroMiko/VMamba, its network is timed with the same
weights (``official_ratio``), after a comparison of the outputs (``max_diff``, in units of the largest value).
"""

import argparse
import contextlib
import csv
import importlib
import sys
import types
from pathlib import Path
from unittest.mock import MagicMock

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from turns import medians, step

from mmhier.convert import VMAMBA, fit
from mmhier.models.backbones.truncated_swin import TruncatedSwin
from mmhier.models.backbones.truncated_vmamba import ARCHS, TruncatedVMamba

SWIN_OF = {'tiny': 'tiny', 'small': 'small', 'base': 'base'}
FIELDS = (
    'arch',
    'stages',
    'batch',
    'mode',
    'backend',
    'threads',
    'vmamba_gmac',
    'swin_gmac',
    'vmamba_ms',
    'swin_ms',
    'per_mac',
    'official_ms',
    'official_ratio',
    'max_diff',
)


class Official(nn.Module):
    """The first stages of the official network, from a checkout; it runs its pure PyTorch scan on a CPU."""

    def __init__(self, path: Path, arch: str, stages: int):
        super().__init__()
        settings = ARCHS[arch]
        with stand_ins(path):
            source = importlib.import_module('vmamba')
            importlib.import_module('csm_triton').torch.cuda.device = lambda device: contextlib.nullcontext()
        self.network = source.Backbone_VSSM(
            out_indices=(stages - 1,),
            depths=settings['depths'][:stages],
            dims=settings['embed_dims'],
            ssm_ratio=float(settings['ssm_ratio']),
            ssm_d_state=1,
            ssm_conv_bias=False,
            forward_type='v05_noz',
            norm_layer='ln2d',
            patchembed_version='v2',
            downsample_version='v3',
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode images."""
        return tuple(self.network(images))


@contextlib.contextmanager
def stand_ins(path: Path):
    """Import from ``path``, with stand-ins for packages that are imported and not used by a forward pass."""
    names = ['triton', 'triton.language', 'fvcore', 'fvcore.nn', 'mamba2', 'mamba2.ssd_minimal']
    modules = {name: MagicMock() for name in names}
    layers = types.ModuleType('timm.models.layers')
    layers.DropPath, layers.trunc_normal_ = nn.Dropout, nn.init.trunc_normal_
    modules |= {'timm': MagicMock(), 'timm.models': MagicMock(), 'timm.models.layers': layers}
    before = {name: sys.modules.get(name) for name in modules}
    sys.path.insert(0, str(path))
    sys.modules.update(modules)
    try:
        yield
    finally:
        sys.path.remove(str(path))
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def billion_macs(network: nn.Module, images: Tensor) -> float:
    """Multiply-adds of matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(images)
    return counter.get_total_flops() / 2e9


def measure(args: argparse.Namespace, arch: str, stages: int, batch: int, mode: str) -> dict:
    """Return a row of the table."""
    images = torch.randn(batch, 3, *map(int, args.size.split('x')), device=args.device)
    options = dict(num_stages=stages, drop_path_rate=0.0, out_norm=True)
    ours = TruncatedVMamba(arch, scan_backend=args.backend, **options).to(args.device)
    swin = TruncatedSwin(SWIN_OF[arch], num_stages=stages, drop_path_rate=0.0).to(args.device)
    # plain operators, all of which the counter knows
    plain = TruncatedVMamba(arch, scan_backend='torch', **options).to(args.device)
    macs = [billion_macs(network, images) / batch for network in (plain, swin)]
    networks, difference = [ours, swin], ''
    if args.official:
        theirs = Official(args.official, arch, stages).to(args.device)
        weights, _ = fit(VMAMBA, theirs.network.state_dict(), ours.state_dict(), stages, (stages - 1,))
        ours.load_state_dict(weights)
        networks.append(theirs)
        with torch.no_grad():
            found, expected = (network.eval()(images)[0] for network in (ours, theirs))
        difference = f'{((found - expected).abs().max() / expected.abs().max()).item():.1e}'
    seconds = medians([step(network, images, mode) for network in networks], args.runs, args.device)
    per_mac = (seconds[0] / macs[0]) / (seconds[1] / macs[1])
    row = dict(arch=arch, stages=stages, batch=batch, mode=mode, backend=args.backend, threads=args.threads)
    row |= dict(vmamba_gmac=round(macs[0], 3), swin_gmac=round(macs[1], 3), per_mac=round(per_mac, 3))
    row |= dict(vmamba_ms=round(1e3 * seconds[0], 2), swin_ms=round(1e3 * seconds[1], 2))
    if args.official:
        row |= dict(official_ms=round(1e3 * seconds[2], 1), official_ratio=round(seconds[2] / seconds[0], 1))
    return row | dict(max_diff=difference)


def main() -> None:
    """Print the table and write it as CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--archs', nargs='+', default=['tiny'], choices=sorted(SWIN_OF))
    parser.add_argument('--stages', nargs='+', type=int, default=[2, 3])
    parser.add_argument('--size', default='256x192', help='HEIGHTxWIDTH')
    parser.add_argument('--batches', nargs='+', type=int, default=[1])
    parser.add_argument('--modes', nargs='+', default=['infer'], choices=['infer', 'train'])
    parser.add_argument('--backend', default='auto', help='of the selective scan')
    parser.add_argument('--official', type=Path, help='folder classification/models of the official code')
    parser.add_argument('--runs', type=int, default=15)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', type=Path, default=Path('vmamba_speed.csv'))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(' '.join(f'{field:>11}' for field in FIELDS))
    with args.out.open('w', newline='') as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for arch in args.archs:
            for stages in args.stages:
                for batch in args.batches:
                    for mode in args.modes:
                        row = measure(args, arch, stages, batch, mode)
                        print(' '.join(f'{row.get(field, "")!s:>11}' for field in FIELDS), flush=True)
                        writer.writerow(row)
                        file.flush()


if __name__ == '__main__':
    main()
