"""``mmhier benchmark``: time and memory of models on this machine."""

import argparse
import os
import platform
from pathlib import Path

from mmhier.cli.numbers import positive
from mmhier.tables import markdown, write_csv

HEADER = (
    'Config', 'Engine', 'Batch', 'Median, ms', 'p95, ms', 'Images/s', 'Peak memory, MB', 'Model, M',
    'Model, GMAC', 'AP reported',
)  # fmt: skip
# Measured when nothing is asked for: the small ones of each family.
DEFAULT = ['swinpose_t_s*_coco', 'gmfpose_t_s*_coco', 'vmpose_t_s*_coco', 'vitpose_s*_coco']
_NOTES = """\
Images/s: crops per second at the median. Peak memory: above what the loaded model holds{where}.
Random weights, {precision}, no flip test; times are of the network from crop to heatmaps, {turns}.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        'names',
        nargs='*',
        metavar='NAME',
        help='models, * and ? stand for others: mmhier models lists them (default: the small ones)',
    )
    parser.add_argument('--batch', type=positive, nargs='+', default=[1, 8], metavar='N')
    parser.add_argument('--device', default='cpu', help='cpu, cuda, cuda:1 ... (default: cpu)')
    parser.add_argument(
        '--engine',
        nargs='+',
        default=['eager'],
        help='eager, compile, onnxruntime, openvino (default: eager)',
    )
    parser.add_argument(
        '--precision',
        choices=('fp32', 'bf16', 'int8'),
        default='fp32',
        help='bf16: not onnxruntime; int8: onnxruntime, openvino, with ranges of noise (default: fp32)',
    )
    parser.add_argument('--runs', type=positive, default=20, help='timed runs (default: 20)')
    parser.add_argument('--threads', type=positive, help="CPU threads (default: PyTorch's choice)")
    parser.add_argument('--stages', action='store_true', help='also time each stage from JPEG to keypoints')
    parser.add_argument(
        '--in-turns', action='store_true', help='keep all models loaded and run them in turns'
    )
    parser.add_argument('--csv', type=Path, metavar='FILE', help='write the table as CSV, too')
    parser.add_argument(
        '--plot', type=Path, metavar='FILE', help='draw latency against reported AP into a picture'
    )


def run(args: argparse.Namespace) -> int:
    """Measure and print the table."""
    import torch

    from mmhier.cost.kept import FORMULA, find_cost
    from mmhier.deploy.engines import BY_PRECISION, ENGINES
    from mmhier.zoo.names import find_configs

    _check(args, ENGINES, BY_PRECISION[args.precision])
    if args.threads:
        torch.set_num_threads(args.threads)
    paths = find_configs(args.names or DEFAULT)
    costs = {path: find_cost(path) for path in paths}
    if args.stages and (meshes := [cost.name for cost in costs.values() if cost.has_mesh]):
        raise ValueError(f'--stages is for pose models, {", ".join(meshes)} recover meshes')
    groups = [paths] if args.in_turns else [[path] for path in paths]
    results = [row for group in groups for row in _measure(group, costs, args)]
    turns = 'models in turns' if args.in_turns else 'one model after the other'
    where = ' (process)' if args.device == 'cpu' else ' (PyTorch on the GPU)'
    print(f'\n{_machine(args.device)}\n\n{markdown(HEADER, results)}\n')
    print(_NOTES.format(where=where, turns=turns, precision=args.precision) + FORMULA)
    if args.csv:
        write_csv(args.csv, ('Machine', *HEADER), [(_machine(args.device), *row) for row in results])
    if args.stages:
        _print_stages(paths, args)
    if args.plot:
        _plot(args.plot, results)
    return 0


def _check(args: argparse.Namespace, engines: dict, having: dict) -> None:
    import torch

    for engine in args.engine:
        if engine not in engines:
            raise ValueError(f'--engine must be among {", ".join(engines)}, got {engine!r}')
        if engine not in having:
            raise ValueError(
                f'--engine {engine} has no --precision {args.precision}: {", ".join(having)} have'
            )
        if args.device != 'cpu' and engine not in ('eager', 'compile'):
            raise ValueError(f'--engine {engine} runs on the CPU only here, got --device {args.device}')
    if args.device != 'cpu' and not (args.device.startswith('cuda') and torch.cuda.is_available()):
        raise ValueError(f'--device {args.device} is not usable here: {_why_not(args.device)}')


def _why_not(device: str) -> str:
    return 'PyTorch sees no GPU' if device.startswith('cuda') else 'only cpu and cuda are known'


def _measure(paths: list[Path], costs: dict, args: argparse.Namespace) -> list[tuple[str, ...]]:
    """Measure a group of models in turns; return their rows."""
    import torch
    from rich.progress import track

    from mmhier.cost.latency import peak_memory, time_in_turns
    from mmhier.cost.macs import build_model
    from mmhier.deploy.engines import make_engine

    models = {path: build_model(path) for path in paths}
    rows = []
    for batch in args.batch:
        cases, calls, memory = [], [], []
        jobs = [(path, engine) for path in paths for engine in args.engine]
        title = f'{paths[0].stem if len(paths) == 1 else f"{len(paths)} models"}, batch {batch}'
        for path, engine in track(jobs, title, disable=len(jobs) < 2):
            model, (width, height) = models[path]
            model.to(args.device)
            images = torch.randn(batch, 3, height, width, device=args.device)
            call = make_engine(engine, model, images, args.threads, args.precision)
            cases.append((path, engine if args.precision == 'fp32' else f'{engine} {args.precision}'))
            calls.append(lambda call=call, images=images: call(images))
            memory.append(peak_memory(calls[-1], args.device))
        timings = time_in_turns(calls, args.runs, args.device)
        for (path, engine), timing, used in zip(cases, timings, memory, strict=True):
            cost = costs[path]
            rows.append(
                (
                    f'`{cost.name}`', engine, str(batch),
                    f'{1e3 * timing.median:.1f}', f'{1e3 * timing.p95:.1f}', f'{batch / timing.median:.1f}',
                    '' if used is None else f'{used / 1e6:.0f}',
                    f'{cost.params / 1e6:.2f}', f'{cost.macs / 1e9:.2f}',
                    f'{cost.reported_ap:.1f}' if cost.reported_ap else '',
                )
            )  # fmt: skip
            print(f'{cost.name}, {engine}, batch {batch}: {1e3 * timing.median:.1f} ms', flush=True)
    return rows


def _print_stages(paths: list[Path], args: argparse.Namespace) -> None:
    from mmhier.cost.macs import build_model
    from mmhier.cost.stages import STAGES, time_stages

    for batch in args.batch:
        rows = []
        for path in paths:
            model = build_model(path)[0].to(args.device)
            timings = time_stages(path, model, batch, args.runs, args.device)
            rows.append((f'`{path.stem}`', *(f'{1e3 * timings[stage].median:.2f}' for stage in STAGES)))
        print(f'\nStages at batch {batch}, ms per batch, eager; 640x480 JPEG, one person each, box given:\n')
        print(markdown(('Config', *STAGES), rows))


def _plot(path: Path, rows: list[tuple[str, ...]]) -> None:
    from mmhier.visualization.tradeoff import Point, draw_tradeoff

    engine, batch = rows[0][1:3]
    points = [
        Point(row[0].strip('`'), float(row[3]), float(row[9]), float(row[7]))
        for row in rows
        if row[9] and row[1:3] == (engine, batch)
    ]
    draw_tradeoff(path, points, f'ms per batch of {batch}, {engine}', 'AP on COCO val, as reported')


def _machine(device: str) -> str:
    import torch

    if device.startswith('cuda'):
        return f'{torch.cuda.get_device_name(device)}, PyTorch {torch.__version__}'
    return (
        f'{platform.machine()} CPU, {torch.get_num_threads()} of {os.cpu_count()} threads, '
        f'{platform.system()}, PyTorch {torch.__version__}'
    )
