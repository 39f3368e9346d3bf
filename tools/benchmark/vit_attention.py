"""What ViTPose's kinds of attention and resolutions cost in a training step: activation memory and time.

The encoders of configs/ablation, and that of vitpose_b_coco beside them. Activation memory is what a forward
pass keeps for the backward pass, weights aside: tensors are counted as autograd keeps them, which is the same
on every device with the same kernels. Times are of a forward and a backward pass; on a CPU they are the
processor's (of all threads: give it one), so that other work on the machine does not count. ``fused``
attention is PyTorch's, which never holds the table of N x N weights; ``plain`` holds it, as code of 2022 did.
On a GPU the peak of a whole step, forward and backward, is measured, too.

    OMP_NUM_THREADS=1 python tools/benchmark/vit_attention.py --out docs/benchmarks/vit_attention.csv
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS
from rows import add_rows
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.attention import SDPBackend, sdpa_kernel

from mmhier.tables import markdown
from mmhier.zoo.names import find_configs, resolve_config

FIELDS = ('config', 'attention', 'device', 'batch', 'tokens', 'kept_MiB', 'peak_MiB', 'step_ms')
KERNELS = {
    'fused': [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION],
    'plain': [SDPBackend.MATH],
}


def kept_bytes(network: nn.Module, images: Tensor) -> int:
    """Bytes of the tensors that a forward pass keeps for the backward pass, each once, without weights."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> None:
        address = tensor.untyped_storage().data_ptr()
        if address not in weights:
            kept[address] = tensor.detach()  # held, so that no address is given away twice

    with saved_tensors_hooks(keep, lambda nothing: None):  # there will be no backward pass
        network(images)
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def step(network: nn.Module, images: Tensor) -> float:
    """Milliseconds of a forward and a backward pass: of the clock on a GPU, of the processor on a CPU."""
    clock = time.perf_counter if images.is_cuda else time.process_time
    if images.is_cuda:
        torch.cuda.synchronize()
    start = clock()
    network(images)[-1].float().square().mean().backward()
    if images.is_cuda:
        torch.cuda.synchronize()
    return 1e3 * (clock() - start)


def measure(path: Path, kernel: str, device: str, batch: int, runs: int) -> tuple:
    """A row of the table."""
    cfg = Config.fromfile(path)
    backbone = dict(cfg.model.backbone, init_cfg=None, drop_path_rate=0.0)
    network = MODELS.build(backbone).to(device).train()
    width, height = cfg.codec.input_size
    images = torch.randn(batch, 3, height, width, device=device)
    precision = torch.autocast('cuda', torch.float16, enabled=device == 'cuda')
    with sdpa_kernel(KERNELS[kernel]), precision:
        kept = kept_bytes(network, images) / batch
        peak = ''
        if device == 'cuda':
            step(network, images)
            network.zero_grad(set_to_none=True)
            weights = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            step(network, images)
            peak = f'{(torch.cuda.max_memory_allocated() - weights) / batch / 2**20:.1f}'
        times = [step(network, images) for _ in range(runs + 1)][1:] if runs else []
    tokens = network.map_hw[0] * network.map_hw[1]
    time_ms = f'{statistics.median(times) / batch:.1f}' if times else ''
    figures = f'{kept / 2**20:.1f}', peak, time_ms
    return (path.stem, kernel, device, batch, tokens, *figures)


def main() -> None:
    """Measure, print, and add to a CSV file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('configs', nargs='*', help='names (default: all of configs/ablation)')
    parser.add_argument('--kernels', nargs='+', choices=KERNELS, default=list(KERNELS))
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--batch', type=int, default=1)
    parser.add_argument('--runs', type=int, default=3, help='that are timed; 0 measures memory alone')
    parser.add_argument('--out', type=Path, help='CSV file to add the rows to')
    args = parser.parse_args()
    init_default_scope('mmpose')
    paths = [resolve_config('vitpose_b_coco'), *find_configs(['*'], task='ablation')]
    if args.configs:
        paths = find_configs(args.configs)
    rows = []
    for path in paths:
        for kernel in args.kernels:
            rows.append(measure(path, kernel, args.device, args.batch, args.runs))
            print(*rows[-1], flush=True)
    print('per image:\n' + markdown(FIELDS, [tuple(map(str, row)) for row in rows]))
    if args.out:
        add_rows(args.out, FIELDS, rows)


if __name__ == '__main__':
    main()
