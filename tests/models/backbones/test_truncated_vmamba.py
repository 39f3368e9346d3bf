"""TruncatedVMamba: numbers, what is kept, weights, and the ways in which it is run."""

import copy
import inspect
import runpy
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmpose.registry import MODELS

from mmhier.models.backbones.truncated_vmamba import ARCHS, SelectiveScan2d, TruncatedVMamba
from mmhier.models.backbones.truncation import FeatureInfo
from mmhier.ops.selective_scan import BACKENDS, reference

REFERENCE = runpy.run_path(str(Path(__file__).parents[2] / 'reference' / 'vmamba.py'))
MICRO = dict(embed_dims=16, depths=[2, 1, 2, 2], ssm_ratio=2)
# facts of the released networks: parameters up to each stage, without a closing norm
PARAMETERS = dict(
    tiny=(244_416, 1_200_384, 14_374_272, 29_478_528),
    small=(296_448, 1_448_640, 31_276_224, 49_377_216),
    base=(520_192, 2_556_160, 55_400_704, 87_530_752),
    tiny_s2l5=(296_448, 1_448_640, 11_834_304, 29_935_296),
    small_s1l20=(244_416, 1_200_384, 33_138_048, 48_242_304),
    base_s1l20=(430_336, 2_122_752, 58_763_776, 85_587_456),
)


def randomise(network):
    """Weights of the size that training gives them; none is zero or one, so that each one matters."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        noise = torch.empty_like(parameter).normal_(generator=generator)
        if parameter.ndim == 1 or 'A_logs' in name or 'dt_projs_bias' in name:
            parameter.data.add_(0.2 * noise)
        else:
            parameter.data.copy_(noise / parameter[0].numel() ** 0.5)
    return network


def micro(**options):
    options = {'drop_path_rate': 0.0, 'scan_backend': 'torch', **options}
    torch.manual_seed(0)
    return randomise(TruncatedVMamba(options.pop('arch', MICRO), **options)).eval()


def difference(found, expected):
    """Largest difference in units of the largest value."""
    return ((found - expected).abs().max() / expected.abs().max()).item()


def gradients(network, images):
    network.zero_grad()
    images = images.clone().requires_grad_()
    outputs = network(images)
    sum(out.square().sum() for out in outputs).backward()
    return outputs, {name: p.grad.clone() for name, p in network.named_parameters()}, images.grad


def assert_same_gradients(found, expected, tolerance=1e-4):
    """Relative to the largest entry of each gradient."""
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert difference(found[name], gradient) <= tolerance, name


# --- numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('hw', [(64, 64), (61, 38), (9, 5)])
@pytest.mark.parametrize(('d_state', 'out_norm'), [(1, True), (3, False)])
def test_equals_plain_reference(hw, d_state, out_norm):
    arch = {**MICRO, 'd_state': d_state}
    network = micro(arch=arch, out_indices=(0, 1, 2, 3), out_norm=out_norm)
    images = torch.randn(1, 3, *hw)
    with torch.no_grad():
        state = {key: value.double() for key, value in network.state_dict().items()}
        expected = REFERENCE['vmamba'](state, images.double(), MICRO['depths'], 4)
        found = network(images)
    assert len(found) == len(expected) == 4
    for out, wanted in zip(found, expected, strict=True):
        assert out.shape == wanted.shape
        assert difference(out, wanted) < 1e-5


@pytest.mark.parametrize('backend', ['auto', 'reference'])
def test_backends_agree(backend):
    images = torch.randn(2, 3, 37, 50)
    expected = gradients(micro(num_stages=3), images)
    found = gradients(micro(num_stages=3, scan_backend=backend), images)
    assert difference(found[0][0], expected[0][0]) < 1e-5
    assert_same_gradients(found[1], expected[1])
    assert difference(found[2], expected[2]) < 1e-4


def test_directions_by_hand():
    """A model that only passes on its past: each token gets the sum of what lies before it in each order."""
    scan = SelectiveScan2d(16, 16, 1, 'reference').requires_grad_(False)
    scan.in_proj.weight.copy_(torch.eye(16))
    scan.conv2d.weight.zero_()[:, :, 1, 1] = 1
    scan.x_proj_weight.zero_()
    scan.x_proj_weight[:, 1:] = 1 / 16  # B and C are the mean over channels
    scan.dt_projs_weight.zero_()
    scan.dt_projs_bias.fill_(30)  # softplus leaves 30
    scan.A_logs.fill_(-30)  # decay of 1
    scan.Ds.zero_()
    scan.out_proj.weight.copy_(torch.eye(16))
    scan.out_norm = torch.nn.Identity()
    scan.out_norm.normalized_shape, scan.out_norm.eps = (16,), 0.0
    scan.out_norm.weight, scan.out_norm.bias = torch.ones(16), torch.zeros(16)
    x = torch.randn(1, 2, 3, 16)
    seen = F.silu(x)[0]
    mean = seen.mean(-1, keepdim=True)
    places = [(row, col) for row in range(2) for col in range(3)]
    orders = [places, sorted(places, key=lambda place: place[::-1])]
    orders += [order[::-1] for order in orders]
    total = torch.zeros(2, 3, 16)
    for order in orders:
        past = 0
        for place in order:
            past = past + 30 * mean[place] * seen[place]
            total[place] += mean[place] * past
    assert difference(scan(x)[0], F.layer_norm(total, (16,), eps=0.0)) < 1e-4


def test_checkpointing_changes_nothing():
    network = micro(num_stages=3, drop_path_rate=0.3).train()
    images = torch.randn(2, 3, 50, 40)
    torch.manual_seed(2)
    (out,), expected, _ = gradients(network, images)
    network.with_cp = True
    torch.manual_seed(2)
    (again,), found, _ = gradients(network, images)
    assert torch.equal(out, again)
    assert_same_gradients(found, expected, 1e-6)


# --- what is kept ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('arch', sorted(ARCHS))
def test_parameter_counts_are_exact(arch):
    with torch.device('meta'):
        counts = tuple(
            sum(p.numel() for p in TruncatedVMamba(arch, num_stages=stages).parameters())
            for stages in range(1, 5)
        )
        closed = TruncatedVMamba(arch, num_stages=3, out_norm=True)
    assert counts == PARAMETERS[arch]
    assert sum(p.numel() for p in closed.parameters()) == counts[2] + 2 * closed.feature_info[0].channels


def test_rank_follows_the_width_of_the_block():
    """Not the inner width, which is twice as large here."""
    network = TruncatedVMamba('small', num_stages=2)
    assert [stage.blocks[0].op.dt_projs_weight.shape for stage in network.stages] == [
        (4, 192, 6),
        (4, 384, 12),
    ]


def test_features_are_declared():
    network = MODELS.build(dict(type='TruncatedVMamba', arch='base', out_indices=(0, 2)))
    assert network.feature_info == [FeatureInfo(128, 4), FeatureInfo(512, 16)]
    assert network.num_layers == 19


def test_frozen_parts_stay_frozen():
    network = TruncatedVMamba(MICRO, out_indices=(0, 2), frozen_stages=1, out_norm=True)
    frozen = {name for name, p in network.train().named_parameters() if not p.requires_grad}
    assert frozen == {
        name
        for name, _ in network.named_parameters()
        if name.startswith(('patch_embed.', 'stages.0.', 'norm0.'))
    }
    assert not network.stages[0].training and network.stages[1].training


def test_initial_weights():
    """Ranges of the official ``v0``."""
    torch.manual_seed(0)
    network = TruncatedVMamba('tiny', num_stages=3)
    network.init_weights()
    block = network.stages[2].blocks[0]
    for weight in (block.op.in_proj.weight, block.mlp['fc1'].weight):
        assert 0.018 < weight.std() < 0.022
    assert not block.mlp['fc1'].bias.any()
    scan = block.op
    step = F.softplus(scan.dt_projs_bias.detach())
    assert 1e-3 * 0.99 <= step.min() < 2e-3 and 5e-2 < step.max() <= 1e-1 * 1.01
    assert step.median() == pytest.approx(1e-2, rel=0.2)
    assert 0.9 * 24**-0.5 < scan.dt_projs_weight.abs().max() <= 24**-0.5
    assert 0.9 * 384**-0.5 < scan.x_proj_weight.abs().max() <= 384**-0.5
    assert not scan.A_logs.any() and (scan.Ds == 1).all()
    assert torch.equal(block.norm.weight, torch.ones(384))


def test_initial_decay_of_several_states():
    scan = SelectiveScan2d(16, 8, 3, 'torch')
    assert torch.allclose(scan.A_logs.exp(), torch.tensor([1.0, 2.0, 3.0]).expand(32, 3))


# --- ways to run it ----------------------------------------------------------------------------------------


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast(dtype):
    network, images = micro(num_stages=3, out_norm=True), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)[0]
        with torch.autocast('cpu', dtype):
            mixed = network(images)[0]
        half = copy.deepcopy(network).to(dtype)(images.to(dtype))[0]
    assert half.dtype == dtype
    for out in (mixed, half):
        assert difference(out.float(), expected) < 0.1


def test_scans_are_float32_under_autocast(monkeypatch):
    """The projections are not; the norm behind the scan gets the scan's own type."""
    seen, scan = [], reference.cross_selective_scan

    def watched(x, dt, *rest):
        y = scan(x, dt, *rest)
        seen.append((x.dtype, dt.dtype, y.dtype))
        return y

    monkeypatch.setattr(reference, 'cross_selective_scan', watched)
    network = micro(num_stages=1, scan_backend='reference')
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        network(torch.randn(1, 3, 16, 16))
    assert seen == [(torch.bfloat16, torch.bfloat16, torch.float32)] * 2


@pytest.mark.parametrize('backend', ['torch', 'auto'])
def test_autocast_trains(backend):
    network = micro(num_stages=3, out_norm=True, scan_backend=backend)
    images = torch.randn(2, 3, 64, 48)
    _, expected, _ = gradients(network, images)
    network.zero_grad()
    with torch.autocast('cpu', torch.bfloat16):
        out = network(images)[0]
    out.float().square().sum().backward()
    found = {name: p.grad for name, p in network.named_parameters()}
    assert_same_gradients(found, expected, 0.2)


@pytest.mark.parametrize('backend', ['torch', 'auto'])
def test_compiles_as_one_graph(backend):
    torch._dynamo.reset()
    network, images = micro(num_stages=2, scan_backend=backend), torch.randn(2, 3, 26, 20)
    network(images)  # a backend is chosen before
    compiled = torch.compile(network, fullgraph=True, backend='aot_eager')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)
        with torch.no_grad():
            assert difference(compiled(images)[0], network(images)[0]) < 1e-5
        (out,), found, _ = gradients(compiled, images)
    (wanted,), expected, _ = gradients(network, images)
    assert difference(out, wanted) < 1e-5
    assert_same_gradients({key.removeprefix('_orig_mod.'): g for key, g in found.items()}, expected)


@pytest.mark.slow
def test_compiles_with_inductor():
    torch._dynamo.reset()
    network, images = micro(num_stages=3), torch.randn(2, 3, 50, 40)
    with torch.no_grad():
        found = torch.compile(network, fullgraph=True)(images)[0]
        assert difference(found, network(images)[0]) < 1e-5


def test_exports_with_dynamic_batch():
    network, images = micro(num_stages=3, scan_backend='auto'), torch.randn(2, 3, 26, 20)
    dynamic = ({0: torch.export.Dim('batch', max=64)},)
    program = torch.export.export(network, (images,), dynamic_shapes=dynamic)
    more = torch.randn(5, 3, 26, 20)
    with torch.no_grad():
        assert difference(program.module()(more)[0], network(more)[0]) < 1e-5
    names = {str(node.target) for node in program.graph.nodes}
    assert not any('mkldnn' in name or 'mmhier' in name for name in names)


def test_traces():
    network, images = micro(num_stages=3, scan_backend='auto'), torch.randn(1, 3, 26, 20)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        traced = torch.jit.trace(network, images)
    more = torch.randn(1, 3, 26, 20)
    with torch.no_grad():
        assert difference(traced(more)[0], network(more)[0]) < 1e-5


def test_onnx_round_trip(tmp_path):
    pytest.importorskip('onnxscript')
    runtime = pytest.importorskip('onnxruntime')
    if 'dynamic_shapes' not in inspect.signature(torch.onnx.export).parameters:
        pytest.skip('this PyTorch cannot export dynamic shapes to ONNX')
    network = micro(arch={**MICRO, 'depths': [1, 1, 1]}, num_stages=3, scan_backend='auto')
    path = str(tmp_path / 'vmamba.onnx')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            network,
            (torch.randn(2, 3, 26, 20),),
            path,
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim('batch', max=64)},),
        )
    session = runtime.InferenceSession(path, providers=['CPUExecutionProvider'])
    more = torch.randn(3, 3, 26, 20)
    (found,) = session.run(None, {session.get_inputs()[0].name: more.numpy()})
    with torch.no_grad():
        assert difference(torch.from_numpy(found), network(more)[0]) < 1e-5


def test_training_after_inference_mode():
    network, images = micro(num_stages=2, scan_backend='auto'), torch.randn(1, 3, 26, 20)
    with torch.inference_mode():
        expected = network(images)[0]
    out = network(images)[0]
    out.sum().backward()
    assert torch.allclose(out, expected, atol=1e-6)
    assert all(p.grad is not None for p in network.parameters())


def test_nothing_is_stale():
    """Changing a decay rate changes the next result."""
    network, images = micro(num_stages=2), torch.randn(1, 3, 32, 32)
    with torch.inference_mode():
        first = network(images)[0]
        network.stages[0].blocks[0].op.A_logs.add_(1.0)
        assert difference(network(images)[0], first) > 1e-4


# --- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='huge'), 'huge'),
        (dict(arch=None), 'or a dict, got None'),
        (dict(arch=dict(embed_dims=8)), 'embed_dims and depths'),
        (dict(arch=dict(embed_dims=8, depths=[1], heads=2)), 'heads'),
        (dict(arch=dict(embed_dims=9, depths=[1])), 'even, got 9'),
        (dict(num_stages=5), 'num_stages must be 1 to 4'),
        (dict(out_indices=(4,)), 'out_indices must be stages 0 to 3'),
        (dict(drop_path_rate=1.0), 'drop_path_rate'),
        (dict(num_stages=2, frozen_stages=3), 'frozen_stages'),
        (dict(scan_backend='cuda'), f'scan_backend .*{sorted(BACKENDS)[0]}'),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        TruncatedVMamba(**options)


def test_bad_images_are_named():
    network = micro(num_stages=2)
    for images in (torch.zeros(3, 64, 64), torch.zeros(1, 4, 64, 64)):
        with pytest.raises(ValueError, match=r'expected images \(B, 3, height, width\)'):
            network(images)
