"""Time the selective scan against the plain loop over steps that VMamba runs where it has no compiled kernel.

Three problems: ``scan``, the recurrence alone; ``cross``, cross-scan, recurrence and cross-merge;
``block``, these with the projections of a VMamba block before them (input and output weights, step sizes).
The loop is the algorithm of VMamba's ``selective_scan_torch``, written again below; ``--official PATH``
takes theirs from a clone of https://github.com/MzeroMiko/VMamba instead. Runs of the loop and of the
backends alternate, so that whatever else the machine does hits all; the table gives medians and their
ratio. Results are compared before anything is timed.

    python tools/benchmark/selective_scan_speed.py --batches 1 8 --modes infer train --out scan.csv
"""

import argparse
import csv
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from turns import medians

from mmhier.ops.linear import linear
from mmhier.ops.selective_scan import cross_selective_scan, selective_scan

PROBLEMS = ('scan', 'cross', 'block')
BACKENDS = {'cpu': ['cpp', 'torch'], 'cuda': ['triton', 'torch']}
DIRECTIONS = 4
REPEATS = 5  # calls of a backend in a turn, all timed: fewer would time the loop's leftovers in the caches
FIELDS = (
    'problem',
    'mode',
    'batch',
    'height',
    'width',
    'channels',
    'd_state',
    'threads',
    'device',
    'backend',
    'loop_ms',
    'backend_ms',
    'ratio',
    'max_diff',
)


def loop(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor, delta_bias: Tensor, softplus: bool
) -> Tensor:
    """Scan step by step in eager torch, with exponentials and inputs of all steps computed first."""
    channels = u.shape[1] // B.shape[1]
    delta = F.softplus(delta + delta_bias[:, None])
    B, C = (t.repeat_interleave(channels, 1) for t in (B, C))
    decays = torch.exp(torch.einsum('bdl,dn->bdln', delta, A))
    inputs = torch.einsum('bdl,bdnl,bdl->bdln', delta, B, u)
    state, steps = u.new_zeros(u.shape[0], *A.shape), []
    for step in range(u.shape[2]):
        state = decays[:, :, step] * state + inputs[:, :, step]
        steps.append(torch.einsum('bdn,bdn->bd', state, C[..., step]))
    return torch.stack(steps, 2) + u * D[:, None]


def official_loop(clone: Path) -> Callable[..., Tensor]:
    """Load the loop of a clone of VMamba."""
    file = clone / 'classification' / 'models' / 'csms6s.py'
    if not file.is_file():
        sys.exit(f'--official {clone}: expected a clone of VMamba, with {file}')
    spec = importlib.util.spec_from_file_location('official_csms6s', file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.selective_scan_torch


def four_copies(maps: Tensor) -> Tensor:
    """Scan (batch, D, H, W) into (batch, K, D, L)."""
    forward = torch.stack((maps.flatten(2), maps.transpose(2, 3).flatten(2)), 1)
    return torch.cat((forward, forward.flip(-1)), 1)


def merged(y: Tensor, height: int, width: int) -> Tensor:
    """Add up (batch, K, D, L) on the map, (batch, D, H, W)."""
    forward = y[:, :2] + y[:, 2:].flip(-1)
    return forward[:, 0].unflatten(-1, (height, width)) + forward[:, 1].unflatten(-1, (width, height)).mT


class Problem:
    """Random inputs in the layout that each side prefers, and what each side computes from them."""

    def __init__(self, batch: int, map_hw: tuple[int, int], channels: int, d_state: int, device: str):
        self.map_hw, self.split = map_hw, (-(-channels // 16), d_state, d_state)
        length, rows, rank = map_hw[0] * map_hw[1], DIRECTIONS * channels, self.split[0]

        def leaf(*shape: int) -> Tensor:
            return torch.randn(*shape, device=device).requires_grad_()

        self.constants = [leaf(rows, d_state), leaf(rows), leaf(rows)]  # A, D, delta_bias
        with torch.no_grad():
            self.constants[0].exp_().neg_()
            self.constants[2].sub_(4)
        self.u, self.delta = leaf(batch, rows, length), leaf(batch, rows, length)
        self.B, self.C = (leaf(batch, DIRECTIONS, d_state, length) for _ in range(2))
        self.x = leaf(batch, channels, *map_hw)
        self.x_weight, self.dt_weight = leaf(DIRECTIONS, sum(self.split), channels), leaf(rows, rank)
        with torch.no_grad():
            self.x_weight.mul_(channels**-0.5)
            self.dt_weight.mul_(rank**-0.5)
        self.x_last, self.dt, self.B_map, self.C_map = (
            t.detach().contiguous().requires_grad_()
            for t in (self.x.permute(0, 2, 3, 1), *map(self._on_map, (self.delta, self.B, self.C)))
        )

    def _on_map(self, t: Tensor) -> Tensor:
        """Put sequences, (batch, K * C, L) or (batch, K, C, L), on the map, (batch, H, W, K, C)."""
        height, width = self.map_hw
        t = t.unflatten(1, (DIRECTIONS, -1)).flatten(2, -2)
        t = torch.cat((t[:, :2], t[:, 2:].flip(-1)), 1)
        rows, columns = (
            t[:, 0::2].unflatten(-1, (height, width)),
            t[:, 1::2].unflatten(-1, (width, height)).mT,
        )
        return torch.stack((rows, columns), 2).flatten(1, 2).permute(0, 3, 4, 1, 2)

    def by_loop(self, problem: str, scan: Callable[..., Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Compute a problem with a scan of sequences; return the result and the leaves it depends on."""
        A, D, bias = self.constants
        if problem == 'scan':
            return scan(self.u, self.delta, A, self.B, self.C, D, bias, True), [
                self.u,
                self.delta,
                self.B,
                self.C,
            ]
        u = four_copies(self.x)
        delta, B, C = self.delta, self.B, self.C
        leaves = [self.x, delta, B, C]
        if problem == 'block':
            projected = F.conv1d(
                u.flatten(1, 2), self.x_weight.flatten(0, 1).unsqueeze(-1), groups=DIRECTIONS
            )
            dt, B, C = projected.unflatten(1, (DIRECTIONS, -1)).split(self.split, 2)
            delta = F.conv1d(dt.flatten(1, 2), self.dt_weight.unsqueeze(-1), groups=DIRECTIONS)
            leaves = [self.x, self.x_weight, self.dt_weight]
        y = scan(u.flatten(1, 2), delta, A, B.contiguous(), C.contiguous(), D, bias, True)
        return merged(y.unflatten(1, (DIRECTIONS, -1)), *self.map_hw).permute(0, 2, 3, 1), leaves

    def by_backend(self, problem: str, backend: str) -> tuple[Tensor, list[Tensor]]:
        """Compute a problem with a backend; return the result and the leaves it depends on."""
        A, D, bias = self.constants
        if problem == 'scan':
            y = selective_scan(self.u, self.delta, A, self.B, self.C, D, bias, True, backend=backend)
            return y, [self.u, self.delta, self.B, self.C]
        if problem == 'cross':
            inputs = self.dt, A, self.B_map, self.C_map, D, bias
            leaves = [self.x_last, self.dt, self.B_map, self.C_map]
            return cross_selective_scan(self.x_last, *inputs, backend=backend), leaves
        projected = linear(self.x_last, self.x_weight.flatten(0, 1)).unflatten(-1, (DIRECTIONS, -1))
        dt, B, C = projected.split(self.split, -1)
        y = cross_selective_scan(self.x_last, dt, A, B, C, D, bias, dt_weight=self.dt_weight, backend=backend)
        return y, [self.x_last, self.x_weight, self.dt_weight]

    def step(
        self, compute: Callable[..., tuple[Tensor, list[Tensor]]], mode: str, *args
    ) -> Callable[[], Tensor]:
        """Return what is timed: a forward pass, or a forward and a backward pass."""

        def infer() -> Tensor:
            with torch.inference_mode():
                return compute(*args)[0]

        def train() -> Tensor:
            y, leaves = compute(*args)
            torch.autograd.grad(y.square().mean(), [*leaves, *self.constants])
            return y.detach()

        return infer if mode == 'infer' else train


def rows(args: argparse.Namespace):
    """Measure and yield one row of the table after the other."""
    scan = official_loop(args.official) if args.official else loop
    backends = args.backends or BACKENDS[args.device]
    for mode in args.modes:
        runs = args.runs if mode == 'infer' else args.train_runs
        for batch in args.batches:
            problem = Problem(batch, args.map_hw, args.channels, args.d_state, args.device)
            for name in args.problems:
                steps = [problem.step(problem.by_loop, mode, name, scan)]
                steps += [problem.step(problem.by_backend, mode, name, backend) for backend in backends]
                results = [step() for step in steps]
                truth, *others = medians(steps, runs, args.device)
                for backend, result, seconds in zip(backends, results[1:], others, strict=True):
                    difference = (result - results[0]).abs().max().item()
                    values = (name, mode, batch, *args.map_hw, args.channels, args.d_state, args.threads)
                    values += args.device, backend, f'{1e3 * truth:.3f}', f'{1e3 * seconds:.3f}'
                    values += f'{truth / seconds:.1f}', f'{difference:.1e}'
                    yield dict(zip(FIELDS, values, strict=True))


def main() -> None:
    """Print the table and write it as CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--problems', nargs='+', default=PROBLEMS, choices=PROBLEMS)
    parser.add_argument('--modes', nargs='+', default=['infer'], choices=['infer', 'train'])
    parser.add_argument('--batches', nargs='+', type=int, default=[1])
    parser.add_argument('--map-hw', nargs=2, type=int, default=(64, 48), metavar=('H', 'W'))
    parser.add_argument('--channels', type=int, default=96, help='of each of the four directions')
    parser.add_argument('--d-state', type=int, default=1)
    parser.add_argument('--backends', nargs='+', help='default: the fastest of the device, and torch')
    parser.add_argument('--official', type=Path, help='clone of VMamba whose loop to time')
    parser.add_argument('--runs', type=int, default=15)
    parser.add_argument('--train-runs', type=int, default=3, help='the loop takes seconds to train')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--device', default='cpu', choices=sorted(BACKENDS))
    parser.add_argument('--out', type=Path, default=Path('selective_scan_speed.csv'))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(' '.join(f'{field:>10}' for field in FIELDS))
    with args.out.open('w', newline='') as file:
        writer = csv.DictWriter(file, FIELDS)
        writer.writeheader()
        for row in rows(args):
            print(' '.join(f'{value!s:>10}' for value in row.values()), flush=True)
            writer.writerow(row)
            file.flush()


if __name__ == '__main__':
    main()
