"""Models give a CPU's numbers on a GPU, in training too; precision, memory and devices are as asked for."""

import copy

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import AmpOptimWrapper
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmhier.body_models.model_directory import load_body_model
from mmhier.geometry.procrustes import procrustes_align
from mmhier.ops.selective_scan import cross_selective_scan
from mmhier.testing.benchmark_files import write_small_body

pytestmark = pytest.mark.gpu

POSE = ('swinpose_t_s3', 'gmfpose_t_s3', 'vmpose_t_s3', 'vitpose_s')
MESH = ('swinhmr2_t_s3', 'gmfhmr2_t_s3', 'vmhmr2_t_s3', 'hmr2_s')
# Largest difference in units of the largest value: float32 in another order through some twenty blocks.
CLOSE = 1e-4


@pytest.fixture
def build(repo_root, workshop, monkeypatch):
    """Models of configs with random weights, on the CPU."""
    init_default_scope('mmpose')
    for name, value in workshop.environment.items():
        if name == 'MMHIER_BODY_MODELS':
            monkeypatch.setenv(name, value)

    def of(name, **changes):
        folder, recipe = ('hmr', 'mixed') if 'hmr2' in name else ('hpe', 'coco')
        model = Config.fromfile(repo_root / 'configs' / folder / f'{name}_{recipe}.py').model
        model.backbone.init_cfg = None
        model.backbone.update(drop_path_rate=0.0)
        for part in ('discriminator', 'adversarial_loss', 'mocap'):
            model.pop(part, None)
        model.backbone.update(changes)
        torch.manual_seed(0)
        return MODELS.build(model)

    return of


def difference(found, expected):
    return ((found.cpu() - expected.cpu()).abs().max() / expected.abs().max().cpu()).item()


def crops(model, batch=2):
    size = (256, 192)
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('name', POSE)
def test_heatmaps_and_gradients_are_those_of_a_cpu(build, name):
    model = build(name).eval()
    images = crops(model)
    other = copy.deepcopy(model).cuda()
    maps, maps_gpu = (m.head(m.extract_feat(x)) for m, x in ((model, images), (other, images.cuda())))
    assert difference(maps_gpu, maps) < CLOSE
    weights = torch.linspace(-1, 1, maps.numel()).view(maps.shape)
    (maps * weights).sum().backward()
    (maps_gpu * weights.cuda()).sum().backward()
    pairs = list(zip(model.named_parameters(), other.parameters(), strict=True))
    assert len(pairs) > 100
    for (key, parameter), found in pairs:
        worst = ((found.grad.cpu() - parameter.grad).norm() / (parameter.grad.norm() + 1e-6)).item()
        assert worst < 1e-2, key  # sums of millions of terms that cancel, in another order


@pytest.mark.parametrize('name', MESH)
def test_bodies_are_those_of_a_cpu(build, name):
    model = build(name).eval()
    images = crops(model)
    with torch.inference_mode():
        expected = model.predict_bodies(images)
        found = copy.deepcopy(model).cuda().predict_bodies(images.cuda())
    assert set(found) == set(expected) and len(found) == 7
    for key, value in expected.items():
        assert found[key].is_cuda and difference(found[key], value) < CLOSE, key


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@pytest.mark.parametrize('name', POSE)
def test_mixed_precision_learns(build, name, dtype):
    """Predictions come close to a target, and nothing becomes infinite."""
    model = build(name).train().cuda()
    images = crops(model, 4).cuda()
    with torch.no_grad():
        target = torch.rand_like(model.head(model.extract_feat(images)))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3)
    wrapper = AmpOptimWrapper('dynamic', dtype, optimizer=optimizer)
    losses = []
    for _ in range(12):
        with wrapper.optim_context(model):
            losses.append((model.head(model.extract_feat(images)).float() - target).square().mean())
        wrapper.update_params(losses[-1])
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize('name', ['swinpose_t_s3', 'gmfpose_t_s3', 'vitpose_s'])
def test_same_step_twice_gives_the_same_bits(build, name):
    """Where PyTorch has deterministic kernels; the scan's sums over directions are in no fixed order."""
    model = build(name).train().cuda()
    images = crops(model).cuda()
    gradients = []
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        for _ in range(2):
            model.zero_grad(set_to_none=True)
            model.head(model.extract_feat(images)).square().mean().backward()
            gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize('name', POSE)
def test_steps_leave_no_memory_behind(build, name):
    model = build(name).train().cuda()
    images, used = crops(model).cuda(), []
    for _ in range(8):
        model.zero_grad(set_to_none=True)
        model.head(model.extract_feat(images)).square().mean().backward()
        used.append(torch.cuda.memory_allocated())
    assert len(set(used[3:])) == 1


@pytest.mark.parametrize('name', ['swinpose_s_s3', 'gmfpose_s_s3', 'vmpose_s_s3', 'vitpose_s'])
def test_checkpointing_needs_less_memory(build, name):
    peaks = []
    for with_cp in (False, True):
        model = build(name, with_cp=with_cp).train().cuda()
        images = crops(model, 8).cuda()
        torch.cuda.reset_peak_memory_stats()
        model.extract_feat(images)[0].square().mean().backward()
        peaks.append(torch.cuda.max_memory_allocated())
        del model
    assert peaks[1] < 0.7 * peaks[0]


@pytest.mark.parametrize('name', POSE)
def test_compiled_models_give_the_same(build, name):
    model = build(name).eval().cuda()
    images = crops(model).cuda()
    with torch.inference_mode():
        expected = model.extract_feat(images)[0]
        found = torch.compile(lambda x: model.extract_feat(x)[0], dynamic=False)(images)
    assert difference(found, expected) < CLOSE


@pytest.fixture
def body(tmp_path):
    return load_body_model(write_small_body(tmp_path / 'body.npz', 0), 'smpl24')


def test_bodies_keep_float32_where_networks_use_tf32(body):
    pose = dict(betas=torch.randn(3, body.num_betas), body_pose=0.5 * torch.randn(3, body.num_joints - 1, 3))
    expected = body(**pose, transl=torch.ones(3, 3))
    other = copy.deepcopy(body).cuda()
    pose = {key: value.cuda() for key, value in pose.items()}
    torch.set_float32_matmul_precision('high')
    try:
        rough = torch.randn(64, 1024, device='cuda', dtype=torch.float64)
        rounded = (rough.float() @ rough.float().T).double() - rough @ rough.T
        with torch.autocast('cuda', torch.bfloat16):
            found = other(**pose, transl=torch.ones(3, 3).cuda())
        assert torch.get_float32_matmul_precision() == 'high'
    finally:
        torch.set_float32_matmul_precision('highest')
    assert rounded.abs().max() > 1e-3, 'this GPU has no TF32: the test shows nothing'
    for value, truth in zip(found, expected, strict=True):
        torch.testing.assert_close(value.cpu(), truth, rtol=0, atol=5e-6)


def test_similarity_is_fitted_in_full_precision():
    source, target = torch.randn(2, 5, 24, 3, generator=torch.Generator().manual_seed(0))
    expected = procrustes_align(source, target)
    torch.set_float32_matmul_precision('high')
    try:
        found = procrustes_align(source.cuda(), target.cuda())
    finally:
        torch.set_float32_matmul_precision('highest')
    torch.testing.assert_close(found.cpu(), expected, rtol=0, atol=1e-5)


def scan_inputs(device):
    generator = torch.Generator().manual_seed(0)
    sizes = dict(x=(2, 6, 5, 16), dt=(2, 6, 5, 4, 16), A=(64, 1), B=(2, 6, 5, 4, 1), C=(2, 6, 5, 4, 1))
    values = {name: torch.randn(size, generator=generator) for name, size in sizes.items()}
    values['A'] = -values['A'].abs()
    return {name: value.to(device).requires_grad_() for name, value in values.items()}


@pytest.mark.parametrize('device', ['cuda:0', 'cuda:1'])
def test_scans_run_where_the_tensors_are(device):
    """Also on a GPU that is not the current one, forward and backward."""
    if torch.device(device).index >= torch.cuda.device_count():
        pytest.skip('needs two GPUs')
    expected, found = scan_inputs('cpu'), scan_inputs(device)
    results = []
    for inputs, backend in ((expected, 'reference'), (found, 'triton')):
        y = cross_selective_scan(**inputs, backend=backend)
        y.square().sum().backward()
        results.append(y)
    torch.testing.assert_close(results[1].cpu(), results[0], rtol=1e-4, atol=1e-4)
    for name, value in expected.items():
        assert found[name].grad.device == torch.device(device)
        assert difference(found[name].grad, value.grad) < 1e-4, name
