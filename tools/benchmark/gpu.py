"""Measure everything that a GPU is used for, and run the tests that need one: one command, no network.

Sections, in this order; a section that fails is a row with the error, and the exit status is 1:

* ``device``: what a matrix product and a copy reach here;
* ``scan``: values of the Triton kernels against a scan in float64, forward and backward; their time against
  the same recurrence in plain torch (``ratio``: plain / Triton);
* ``encoders``: whole pose networks, 256x192, inference and training step (AdamW), in TF32, at the largest
  batch in float32 and bfloat16 (autocast) too; MMPose's Swin and mmpretrain's ViT with the same weights
  beside ours in turns (``ratio``: theirs / ours);
* ``mesh``: training steps of HMR2.0 with its losses, without its adversary; the SMPL layer;
* ``runtimes``: onnxruntime on the GPU, if it is installed with it;
* ``compile``: ``torch.compile`` with CUDA graphs, one image at a time (40 s of compiling each);
* ``tests``: ``pytest -m gpu`` and the tests of the Triton kernels.

    python tools/benchmark/gpu.py --out docs/benchmarks/gpu.csv
"""

import argparse
import contextlib
import copy
import csv
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from selective_scan_speed import Problem
from torch import Tensor, nn

import mmhier  # noqa: F401  (before MMPose)
from mmhier.body_models.model_directory import load_body_model
from mmhier.cost.latency import peak_memory, time_in_turns
from mmhier.models.backbones.vit import resolve_arch
from mmhier.ops.selective_scan import choose, selective_scan
from mmhier.testing.benchmark_files import write_small_body
from mmhier.testing.recipe_files import environment, write_recipe_files

from mmpose.registry import DATASETS, MODELS  # isort: skip

ROOT = Path(__file__).resolve().parents[2]
FIELDS = 'section subject mode precision engine batch ms per_second memory_mb ratio value'.split()
POSE = ('swinpose_s_s3', 'gmfpose_s_s3', 'vmpose_s_s3', 'vitpose_s')
MESH = ('hmr2_s', 'gmfhmr2_s_s3')
BATCHES = (1, 8, 64)
PRECISIONS = ('fp32', 'tf32', 'bf16')
INPUT_HW = (256, 192)
NUM_SMPL_VERTICES = 6890

Row = dict[str, object]


@contextlib.contextmanager
def precision(name: str, device: str) -> Iterator[None]:
    """Compute in float32, in TF32 where that is possible, or in bfloat16 by autocast."""
    torch.set_float32_matmul_precision('highest' if name == 'fp32' else 'high')
    torch.backends.cudnn.allow_tf32 = name != 'fp32'
    try:
        with torch.autocast(device, torch.bfloat16, enabled=name == 'bf16'):
            yield
    finally:
        torch.set_float32_matmul_precision('highest')
        torch.backends.cudnn.allow_tf32 = False


def timed(
    calls: list[Callable[[], object]], args: argparse.Namespace, memory: bool = True
) -> list[tuple[float, float | None]]:
    """Median milliseconds of each call, in turns, and the megabytes that it needs."""
    medians = [1e3 * timing.median for timing in time_in_turns(calls, args.runs, args.device)]
    peaks = [peak_memory(call, args.device) if memory else None for call in calls]
    return [(ms, peak and peak / 1e6) for ms, peak in zip(medians, peaks, strict=True)]


def row(section: str, subject: str, measured: tuple[float, float | None] = (0, None), **more: object) -> Row:
    """A row; times as numbers of four digits."""
    ms, memory = measured
    times = dict(ms=f'{ms:.4g}', per_second=f'{1e3 * more.get("batch", 1) / ms:.4g}') if ms else {}
    if memory is not None:
        times['memory_mb'] = f'{memory:.0f}'
    return dict(section=section, subject=subject) | times | more


# ------------------------------------------------------------------------------------------------- device


def device_rows(args: argparse.Namespace) -> Iterator[Row]:
    """What the device is and reaches."""
    size = 8192 if args.device == 'cuda' else 512
    if args.device == 'cuda':
        yield row('device', torch.cuda.get_device_name(), value=f'PyTorch {torch.__version__}')
    for name in PRECISIONS:
        with precision(name, args.device):
            a, b = torch.randn(2, size, size, device=args.device)
            if name == 'bf16':
                a, b = a.bfloat16(), b.bfloat16()
            ((ms, _),) = timed([lambda a=a, b=b: a @ b], args, memory=False)
        yield row('device', f'matrix product {size}', (ms, None), precision=name)
        yield row('device', 'TFLOP/s', precision=name, value=f'{2 * size**3 / ms / 1e9:.0f}')
    source = torch.randn(2**28 if args.device == 'cuda' else 2**20, device=args.device)
    target = torch.empty_like(source)
    ((ms, _),) = timed([lambda: target.copy_(source)], args, memory=False)
    yield row('device', 'copy, GB/s read and written', value=f'{2 * source.nbytes / ms / 1e6:.0f}')


# --------------------------------------------------------------------------------------------------- scan


def scan_rows(args: argparse.Namespace) -> Iterator[Row]:
    """Values and times of the scan; sizes of VMamba's first three stages, and a state of 16."""
    fast = choose('auto', args.device)
    yield row('scan', 'backend that auto takes', value=fast)
    for states in (1, 16):
        for name, worst in scan_errors(args.device, fast, states).items():
            yield row('scan', f'error of {name}, {states} states', engine=fast, value=f'{worst:.1e}')
    for map_hw, channels, states in (
        ((64, 48), 192, 1),
        ((32, 24), 384, 1),
        ((16, 12), 768, 1),
        ((32, 24), 96, 16),
    ):
        for batch in BATCHES if args.device == 'cuda' else (1,):
            problem = Problem(batch, map_hw, channels, states, args.device)
            for mode in ('infer', 'train'):
                steps = [problem.step(problem.by_backend, mode, 'cross', name) for name in (fast, 'torch')]
                (ours, plain), size = (
                    timed(steps, args),
                    f'{map_hw[0]}x{map_hw[1]}x{channels}, {states} states',
                )
                ratio = f'{plain[0] / ours[0]:.2f}'
                yield row(
                    'scan', size, ours, mode=mode, precision='fp32', engine=fast, batch=batch, ratio=ratio
                )
                yield row('scan', size, plain, mode=mode, precision='fp32', engine='torch', batch=batch)


def scan_errors(device: str, backend: str, states: int) -> dict[str, float]:
    """Largest difference of the result and of each gradient to float64, in units of the largest value."""
    generator = torch.Generator().manual_seed(states)
    sizes = dict(u=(2, 4 * 24, 700), delta=(2, 4 * 24, 700), A=(4 * 24, states), B=(2, 4, states, 700))
    sizes |= dict(C=sizes['B'], D=(4 * 24,), delta_bias=(4 * 24,))
    values = {name: torch.randn(size, generator=generator) for name, size in sizes.items()}
    values['A'] = -values['A'].exp()
    weights = torch.randn(sizes['u'], generator=generator)
    found = []
    for name, dtype, place in (('reference', torch.float64, 'cpu'), (backend, torch.float32, device)):
        leaves = {key: value.to(place, dtype).requires_grad_() for key, value in values.items()}
        y = selective_scan(**leaves, delta_softplus=True, backend=name)
        gradients = torch.autograd.grad((y * weights.to(y)).sum(), list(leaves.values()))
        found.append([tensor.detach().double().cpu() for tensor in (y, *gradients)])
    names = ('the result', *(f'the gradient of {name}' for name in values))
    return {
        name: ((b - a).abs().max() / a.abs().max()).item() for name, a, b in zip(names, *found, strict=True)
    }


# ----------------------------------------------------------------------------------------------- encoders


def pose_model(name: str) -> nn.Module:
    """The network of a config with random weights."""
    torch.manual_seed(0)
    model = Config.fromfile(ROOT / 'configs' / 'hpe' / f'{name}_coco.py').model
    model.backbone.init_cfg = None
    return MODELS.build(model)


def with_peer(name: str) -> dict[str, nn.Module]:
    """Our network, and the same with the encoder that MMPose's users have, where there is one."""
    ours = pose_model(name)
    backbone = ours.backbone
    if name.startswith('swin'):
        from mmpose.models.backbones import SwinTransformer

        arch = dict(embed_dims=96, depths=(2, 2, 18), num_heads=(3, 6, 12), strides=(4, 2, 2))
        peer = SwinTransformer(**arch, out_indices=(2,), drop_path_rate=backbone_rate(ours))
    elif name.startswith('vit'):
        from mmpretrain.models.backbones import VisionTransformer

        settings = dict(with_cls_token=False, out_type='featmap', patch_cfg=dict(padding=2))
        rate = backbone_rate(ours)
        peer = VisionTransformer(resolve_arch('small'), img_size=INPUT_HW, drop_path_rate=rate, **settings)
    else:
        return {'mmhier': ours}
    ours.backbone = None
    theirs = copy.deepcopy(ours)
    ours.backbone, theirs.backbone = backbone, peer
    peer.load_state_dict(backbone.state_dict())
    return {'mmhier': ours, 'mmpose' if name.startswith('swin') else 'mmpretrain': theirs}


def backbone_rate(model: nn.Module) -> float:
    """Its stochastic depth."""
    rates = [getattr(part, 'drop_prob', 0.0) for part in model.backbone.modules()]
    return max(rate for rate in rates if isinstance(rate, float))


def heatmaps(model: nn.Module, images: Tensor) -> Tensor:
    """From crops to heatmaps."""
    return model.head(model.extract_feat(images))


def inference(model: nn.Module, images: Tensor, name: str, device: str) -> Callable[[], Tensor]:
    """What is timed."""

    def run() -> Tensor:
        with torch.inference_mode(), precision(name, device):
            return heatmaps(model, images)

    return run


def training_step(
    model: nn.Module, loss: Callable[[], Tensor], name: str, device: str
) -> Callable[[], Tensor]:
    """Forward, backward and AdamW."""
    optimizer = torch.optim.AdamW(model.parameters(), 1e-5)

    def run() -> Tensor:
        with precision(name, device):
            value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
        return value.detach()

    return run


def encoder_rows(args: argparse.Namespace) -> Iterator[Row]:
    """Pose networks beside their peers."""
    for subject in POSE:
        models = {engine: model.to(args.device) for engine, model in with_peer(subject).items()}
        for batch in args.batches:
            images = torch.randn(batch, 3, *INPUT_HW, device=args.device)
            for name in PRECISIONS if batch == max(args.batches) else ('tf32',):
                for mode in ('infer', 'train'):
                    calls = []
                    for model in models.values():
                        model.train(mode == 'train')
                        if mode == 'infer':
                            calls.append(inference(model, images, name, args.device))
                        else:

                            def loss(model: nn.Module = model, images: Tensor = images) -> Tensor:
                                return heatmaps(model, images).float().square().mean()

                            calls.append(training_step(model, loss, name, args.device))
                    results = timed(calls, args)
                    for engine, measured in zip(models, results, strict=True):
                        common = dict(mode=mode, precision=name, engine=engine, batch=batch)
                        if engine == 'mmhier' and len(results) > 1:
                            common['ratio'] = f'{results[1][0] / measured[0]:.2f}'
                        yield row('encoders', subject, measured, **common)
                    for model in models.values():
                        model.zero_grad(set_to_none=True)


# --------------------------------------------------------------------------------------------------- mesh


def mesh_rows(args: argparse.Namespace) -> Iterator[Row]:
    """Training of meshes, on stand-ins for data and bodies of SMPL's size; the body alone."""
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_recipe_files(folder, people=8)
        write_small_body(folder / 'body_models' / 'smpl_neutral.npz', 0, NUM_SMPL_VERTICES)
        os.environ.update(environment(folder))
        here = Path.cwd()
        os.chdir(folder)  # configs name their data from where they run
        try:
            yield from mesh_steps(args)
            yield from body_rows(args)
        finally:
            os.chdir(here)


def mesh_steps(args: argparse.Namespace) -> Iterator[Row]:
    """Steps of HMR2.0 with its losses."""
    for subject in MESH:
        cfg = Config.fromfile(ROOT / 'configs' / 'hmr' / f'{subject}_mixed.py')
        cfg.model.backbone.init_cfg = None
        for part in ('discriminator', 'adversarial_loss', 'mocap'):
            cfg.model.pop(part, None)
        model = MODELS.build(cfg.model).train().to(args.device)
        data = cfg.train_dataloader.dataset.datasets[0]
        dataset = DATASETS.build({**data, 'shards': 'h36m-train/000000.tar'})
        batch = 48 if args.device == 'cuda' else 2  # that of the recipe
        samples = [dataset[number % len(dataset)] for number in range(batch)]
        data = {key: [sample[key] for sample in samples] for key in ('inputs', 'data_samples')}
        data = model.data_preprocessor(data, training=True)
        for name in PRECISIONS:
            loss = lambda model=model, data=data: model.parse_losses(model.loss(**data))[0]  # noqa: E731
            (measured,) = timed([training_step(model, loss, name, args.device)], args)
            yield row('mesh', subject, measured, mode='train', precision=name, engine='mmhier', batch=batch)


def body_rows(args: argparse.Namespace) -> Iterator[Row]:
    """The SMPL layer, its values under TF32 too."""
    body = load_body_model('neutral', 'hmr44').to(args.device)
    exact = copy.deepcopy(body).double().cpu()
    for batch in (1, 64, 1024) if args.device == 'cuda' else (1,):
        pose = 0.3 * torch.randn(batch, 23, 3)
        betas = torch.randn(batch, 10)
        truth = exact(betas.double(), pose.double()).vertices if batch <= 64 else None
        pose, betas = (t.to(args.device).requires_grad_() for t in (pose, betas))

        def infer(pose: Tensor = pose, betas: Tensor = betas) -> Tensor:
            with torch.inference_mode():
                return body(betas, pose).vertices

        def train(pose: Tensor = pose, betas: Tensor = betas) -> tuple[Tensor, ...]:
            return torch.autograd.grad(body(betas, pose).vertices.square().sum(), (pose, betas))

        for mode, call in (('infer', infer), ('train', train)):
            (measured,) = timed([call], args)
            yield row(
                'mesh', 'SMPL layer', measured, mode=mode, precision='fp32', engine='mmhier', batch=batch
            )
        if truth is not None:
            with precision('bf16', args.device):
                error = (infer().double().cpu() - truth).abs().max().item()
            value = f'{1e3 * error:.1e}'
            yield row('mesh', 'SMPL layer, error in mm', precision='tf32', batch=batch, value=value)


# ----------------------------------------------------------------------------------------------- runtimes


def runtime_rows(args: argparse.Namespace) -> Iterator[Row]:
    """Exported networks on the GPU."""
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    yield row('runtimes', f'onnxruntime {onnxruntime.__version__}', value=' '.join(providers))
    wanted = [name for name in ('CUDAExecutionProvider', 'TensorrtExecutionProvider') if name in providers]
    for provider in wanted:
        for subject in POSE:
            model = pose_model(subject).eval()
            images = torch.randn(1, 3, *INPUT_HW)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / 'model.onnx'
                command = [
                    sys.executable,
                    '-m',
                    'mmhier',
                    'export',
                    f'configs/hpe/{subject}_coco.py',
                    'random',
                ]
                subprocess.run([*command, '--out', path], cwd=ROOT, check=True, capture_output=True)
                session = onnxruntime.InferenceSession(path, providers=[provider])
            inputs = {session.get_inputs()[0].name: images.numpy()}
            (measured,) = timed([lambda s=session, i=inputs: s.run(None, i)], args, memory=False)
            yield row('runtimes', subject, measured, mode='infer', precision='fp32', engine=provider, batch=1)
            del model


# ------------------------------------------------------------------------------------------------ compile


def compile_rows(args: argparse.Namespace) -> Iterator[Row]:
    """Compiled networks against eager ones; ``value``: graph breaks and how long compiling took."""
    kind = 'reduce-overhead' if args.device == 'cuda' else 'default'
    for subject in ('swinpose_s_s3', 'vitpose_s'):
        model = pose_model(subject).to(args.device).eval()
        images = torch.randn(1, 3, *INPUT_HW, device=args.device)
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        fast = torch.compile(lambda x, model=model: heatmaps(model, x), mode=kind, dynamic=False)
        eager = inference(model, images, 'tf32', args.device)

        def compiled(fast: Callable = fast, images: Tensor = images) -> Tensor:
            with torch.inference_mode(), precision('tf32', args.device):
                return fast(images)

        start = time.perf_counter()
        expected, found = eager(), compiled()
        seconds = time.perf_counter() - start
        worst = ((found - expected).abs().max() / expected.abs().max()).item()
        slow, quick = timed([eager, compiled], args)
        breaks = sum(torch._dynamo.utils.counters['graph_break'].values())
        common = dict(mode='infer', precision='tf32', engine=f'compile, {kind}', batch=1)
        value = f'{breaks} breaks; {seconds:.0f} s; difference {worst:.1e}'
        yield row('compile', subject, quick, **common, ratio=f'{slow[0] / quick[0]:.2f}', value=value)


# -------------------------------------------------------------------------------------------------- tests


def test_rows(args: argparse.Namespace) -> Iterator[Row]:
    """The tests that need a GPU."""
    for arguments in (['-m', 'gpu', 'tests/gpu'], ['tests/ops/selective_scan/test_triton.py']):
        command = [
            sys.executable,
            '-m',
            'pytest',
            '-q',
            '-p',
            'no:cacheprovider',
            '--durations=5',
            f'-n{min(12, os.cpu_count() or 1)}',
            *arguments,
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if args.log:
            with args.log.open('a') as file:
                file.write(done.stdout + done.stderr)
        lines = done.stdout.strip().splitlines() or ['nothing ran']
        failed = [re.sub(r' - .*', '', line) for line in lines if line.startswith(('FAILED', 'ERROR'))]
        yield row('tests', ' '.join(arguments), value='; '.join([lines[-1].strip('= '), *failed]))
        if done.returncode:
            raise RuntimeError(f'{len(failed)} tests failed; pytest ended with {done.returncode}')


SECTIONS = {
    'device': device_rows,
    'scan': scan_rows,
    'encoders': encoder_rows,
    'mesh': mesh_rows,
    'runtimes': runtime_rows,
    'compile': compile_rows,
    'tests': test_rows,
}


def main() -> int:
    """Print the table and write it as CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--sections', nargs='+', default=list(SECTIONS), choices=SECTIONS)
    parser.add_argument('--batches', nargs='+', type=int, default=(1, 64))
    parser.add_argument('--runs', type=int, default=5)
    parser.add_argument('--device', default='cuda', choices=['cuda', 'cpu'], help='cpu: to try the script')
    parser.add_argument('--out', type=Path, default=Path('gpu.csv'))
    parser.add_argument('--log', type=Path, help='where what the tests print is added')
    args = parser.parse_args()
    if args.device == 'cuda' and not torch.cuda.is_available():
        sys.exit('PyTorch sees no GPU; --device cpu tries the script without one')
    init_default_scope('mmpose')
    status, begin = 0, time.perf_counter()
    with args.out.open('w', newline='') as file:
        writer = csv.DictWriter(file, FIELDS, restval='')
        writer.writeheader()
        for section in args.sections:
            torch.manual_seed(0)
            start = time.perf_counter()
            try:
                for values in SECTIONS[section](args):
                    writer.writerow(values)
                    file.flush()
                    print(' | '.join(str(values.get(field, '')) for field in FIELDS), flush=True)
            except Exception as error:  # the others have something to say all the same
                traceback.print_exc()
                writer.writerow(row(section, 'failed', value=f'{type(error).__name__}: {error}'[:500]))
                status = 1
            seconds = time.perf_counter() - start
            print(f'-- {section}: {seconds:.0f} s of {time.perf_counter() - begin:.0f}', flush=True)
    return status


if __name__ == '__main__':
    sys.exit(main())
