"""TruncatedGMF: numbers, shapes, and the ways in which it is run."""

import copy
import runpy
import warnings
from pathlib import Path

import pytest
import torch
from mmengine.model import revert_sync_batchnorm
from mmengine.model.utils import convert_sync_batchnorm
from mmengine.runner import save_checkpoint
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmhier.models.backbones import truncated_gmf
from mmhier.models.backbones.truncated_gmf import ARCHS, TruncatedGMF
from mmhier.models.backbones.truncation import FeatureInfo

REFERENCE = runpy.run_path(str(Path(__file__).parents[2] / 'reference' / 'gmf.py'))
MICRO = dict(embed_dims=(20, 40, 40, 60), depths=(2, 1, 2, 1), mlp_ratios=(2, 4, 2, 2))
ODD_HW = (67, 41)
# facts of the authors' networks: parameters of the stem and of each stage with the embedding before it
PARAMETERS = dict(
    mobile=(7_920, 69_408, 255_960, 3_911_824, 1_326_688),
    tiny=(30_240, 343_600, 1_313_168, 6_081_360, 2_939_304),
    small=(30_240, 175_440, 1_313_168, 15_369_504, 5_211_328),
    base=(183_600, 2_790_680, 3_981_288, 15_395_824, 22_993_920),
    large=(263_520, 5_838_288, 12_843_120, 32_909_760, 19_497_000),
)


def randomise(network):
    """Weights and statistics of which none is trivial."""
    generator = torch.Generator().manual_seed(0)
    for name, value in network.state_dict().items():
        if name.endswith('running_var') or ('norm' in name and name.endswith('weight')):
            value.uniform_(0.5, 1.5, generator=generator)
        elif value.is_floating_point():
            fan_in = value[0].numel() if value.ndim > 1 else 100
            value.normal_(std=0.5 * fan_in**-0.5, generator=generator)
    return network


def micro(**options):
    return randomise(TruncatedGMF(**{'arch': MICRO, 'drop_path_rate': 0.0, **options})).eval()


def fused(network):
    return copy.deepcopy(network).fuse_for_inference()


def gradients(network, images):
    network.zero_grad()
    images = images.clone().requires_grad_()
    outputs = network(images)
    sum(out.square().sum() for out in outputs).backward()
    return outputs, {name: p.grad.clone() for name, p in network.named_parameters()}, images.grad


# --- numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('hw', [(64, 96), ODD_HW, (9, 5)])
def test_equals_plain_reference(hw):
    """As it is drawn in the paper, folded in each pass, and folded for good."""
    network, images = micro(out_indices=(0, 1, 2, 3)), torch.randn(2, 3, *hw)
    state = {key: value.double() for key, value in network.state_dict().items()}
    expected = REFERENCE['gmf'](state, images.double(), MICRO['depths'], 4)
    with torch.no_grad():
        outputs = [network(images), fused(network)(images)]
    outputs.append(network(images))
    assert len(expected) == 4
    for maps in outputs:
        assert [out.shape for out in maps] == [out.shape for out in expected]
        for out, reference in zip(maps, expected, strict=True):
            assert (out - reference).abs().max() < 1e-5 * max(1, reference.abs().max())


@pytest.mark.parametrize('arch', ['mobile', pytest.param('small', marks=pytest.mark.slow)])
def test_released_sizes_equal_plain_reference(arch):
    network = TruncatedGMF(arch, out_indices=(0, 1, 2, 3))
    network.init_weights()
    network.eval()
    images = torch.randn(1, 3, 64, 64)
    expected = REFERENCE['gmf'](network.state_dict(), images, ARCHS[arch]['depths'], 4)
    with torch.no_grad():
        for maps in (network(images), fused(network)(images)):
            for out, reference in zip(maps, expected, strict=True):
                assert (out - reference).abs().max() < 1e-5


def test_training_equals_plain_reference():
    """q, k and v share the statistics of the batch; gradients in double precision."""
    network = micro(out_indices=(0, 2)).double().train()
    images = torch.randn(2, 3, *ODD_HW, dtype=torch.float64)
    outputs, found, input_grad = gradients(network, images)
    state = dict(network.named_parameters())
    network.zero_grad()
    images.requires_grad_()
    maps = REFERENCE['gmf'](state, images, MICRO['depths'], 3, training=True)
    assert all((out - maps[i]).abs().max() < 1e-10 for out, i in zip(outputs, (0, 2), strict=True))
    (maps[0].square().sum() + maps[2].square().sum()).backward()
    assert torch.allclose(input_grad, images.grad, rtol=1e-6, atol=1e-10)
    assert len(found) > 100
    for name, parameter in network.named_parameters():
        assert torch.allclose(found[name], parameter.grad, rtol=1e-6, atol=1e-10), name


@pytest.mark.parametrize('grad', [True, False])
def test_running_statistics_are_those_of_queries_keys_and_values(grad):
    network = micro(num_stages=1)
    block = network.stages[0].blocks[0]
    norm = block.attn.groups[0].norm.train()
    norm.momentum = 1.0
    seen = []
    block.attn.qkv.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    with torch.set_grad_enabled(grad):
        network(torch.randn(2, 3, 64, 32))
    first_groups = seen[0].unflatten(-1, (3, 5, 4))[..., 0, :].flatten(0, 3)  # (2 * 16 * 8 * 3, 4)
    assert first_groups.shape == (768, 4)
    assert torch.allclose(norm.running_mean, first_groups.mean(0), atol=1e-6)
    assert torch.allclose(norm.running_var, first_groups.var(0), atol=1e-5)


def test_both_branches_of_a_block_are_dropped_independently():
    block = truncated_gmf.GMFBlock(20, 2, 0.5).train()
    assert sum(hasattr(module, 'drop_prob') for module in block.modules()) == 1
    shares = []
    block.norm1.register_forward_hook(lambda module, inputs, output: shares.append(inputs[0].detach()))
    block.norm2.register_forward_hook(lambda module, inputs, output: shares.append(inputs[0].detach()))
    out = block(torch.randn(64, 4, 4, 20))
    before, between = shares
    first = (between != before).flatten(1).any(1)
    second = (out != between).flatten(1).any(1)
    counts = {(a, b): int(((first == a) & (second == b)).sum()) for a in (0, 1) for b in (0, 1)}
    assert min(counts.values()) > 4, counts


# --- architecture ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('arch', sorted(ARCHS))
def test_parameters_of_the_released_networks(arch):
    for stages in (1, 2, 3, 4):
        with torch.device('meta'):
            network = TruncatedGMF(arch, num_stages=stages)
        assert sum(p.numel() for p in network.parameters()) == sum(PARAMETERS[arch][: stages + 1])
        assert network.feature_info == [FeatureInfo(ARCHS[arch]['embed_dims'][stages - 1], 2 ** (stages + 1))]


@pytest.mark.parametrize(('arch', 'gmacs'), [('mobile', 1.306), ('tiny', 3.61)])
def test_multiply_adds(arch, gmacs):
    """Counted on the graph of the paper, whatever is folded."""
    with torch.device('meta'):
        network = TruncatedGMF(arch).eval()
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            network(torch.empty(1, 3, 256, 192))
    assert round(counter.get_total_flops() / 2e9, 3) == gmacs


def test_flop_counters_see_the_graph_of_the_paper():
    network, images = micro(num_stages=2), torch.randn(1, 3, 64, 64)
    counts = []
    for context in (torch.no_grad(), torch.enable_grad()):
        with context, FlopCounterMode(display=False) as counter:
            network(images)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


def test_initial_weights():
    network = TruncatedGMF('mobile', num_stages=3)
    network.init_weights()
    block = network.stages[2].blocks[0]
    assert 0.018 < block.attn.qkv.weight.std() < 0.022
    assert not block.attn.qkv.bias.any()
    assert block.attn.groups[1].conv.pointwise.weight.abs().max() > 0.1  # PyTorch's: up to 32 ** -0.5
    assert torch.equal(block.norm1.weight, torch.ones(160))


# --- fused -------------------------------------------------------------------------------------------------


def test_fusing_leaves_no_batch_norm_and_happens_once():
    network, images = micro(num_stages=3, frozen_stages=1).train(), torch.randn(2, 3, *ODD_HW)
    with torch.no_grad():
        expected = copy.deepcopy(network).eval()(images)[0]
    assert network.fuse_for_inference() is network
    assert not network.training
    assert not any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in network.modules())
    assert not any(p.requires_grad for p in network.parameters())
    keys = list(network.state_dict())
    assert network.fuse_for_inference() is network and list(network.state_dict()) == keys
    assert (network(images)[0] - expected).abs().max() < 1e-4
    with torch.inference_mode():
        assert (network(images)[0] - expected).abs().max() < 1e-4
    with pytest.raises(RuntimeError, match='fused for inference'):
        network.train()
    assert network.eval() is network and not network.training


def test_fused_state_loads_into_a_fused_network():
    network, images = micro(num_stages=3), torch.randn(1, 3, 64, 64)
    other = TruncatedGMF(MICRO, num_stages=3).fuse_for_inference()
    other.load_state_dict(fused(network).state_dict())
    with torch.no_grad():
        assert (other(images)[0] - network(images)[0]).abs().max() < 1e-5
    assert (other.double()(images.double())[0] - network.double()(images.double())[0]).abs().max() < 1e-5


def test_nothing_is_stale():
    """Changing weights or statistics changes the next result."""
    network, images = micro(num_stages=2), torch.randn(1, 3, 64, 64)
    group = network.stages[0].blocks[0].attn.groups[2]
    keys = set(network.state_dict())
    with torch.inference_mode():
        last = network(images)[0]
    for value in (group.conv.depthwise.weight, group.norm.running_var, group.norm.bias):
        value.data.add_(1.0)
        with torch.inference_mode():
            now = network(images)[0]
        assert (now - last).abs().max() > 1e-4
        last = now
    assert set(network.state_dict()) == keys


# --- ways to run it ----------------------------------------------------------------------------------------


def test_checkpointing_moves_running_statistics_once():
    images, states = torch.randn(2, 3, *ODD_HW), []
    for with_cp in (False, True):
        network = micro(num_stages=2, with_cp=with_cp).train()
        network(images)[0].sum().backward()
        states.append(network.state_dict())
    assert any(key.endswith('running_mean') for key in states[0])
    for key, value in states[0].items():
        assert torch.allclose(value, states[1][key], rtol=1e-5, atol=1e-6), key


def test_the_runner_can_synchronise_batch_norms():
    """What ``sync_bn='torch'`` does; the result evaluates on a CPU and can be fused and reverted."""
    network, images = micro(num_stages=3), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)[0]
        synchronised = convert_sync_batchnorm(copy.deepcopy(network), 'torch').eval()
        norms = [m for m in synchronised.modules() if isinstance(m, nn.SyncBatchNorm)]
        assert len(norms) == 2 + 3 + 4 * 5  # stem, patch embeddings, four groups in each of five blocks
        assert not any(isinstance(m, nn.BatchNorm2d) for m in synchronised.modules())
        assert set(synchronised.state_dict()) == set(network.state_dict())
        assert torch.equal(synchronised(images)[0], expected)
        assert torch.equal(revert_sync_batchnorm(copy.deepcopy(synchronised))(images)[0], expected)
        assert (synchronised.fuse_for_inference()(images)[0] - expected).abs().max() < 1e-4


@pytest.mark.parametrize('fuse', [False, True])
def test_bfloat16(fuse):
    network, images = micro(num_stages=3), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)[0]
        if fuse:
            network.fuse_for_inference()
        with torch.autocast('cpu', torch.bfloat16):
            mixed = network(images)[0]
        half = network.to(torch.bfloat16)(images.bfloat16())[0]
    assert half.dtype == torch.bfloat16
    for out in (mixed, half):
        assert out.isfinite().all()
        assert (out.float() - expected).abs().max() < 0.1 * expected.abs().max()


def test_autocast_trains():
    network, images = micro(num_stages=2).train(), torch.randn(2, 3, 64, 48)
    _, expected, _ = gradients(network, images)
    with torch.autocast('cpu', torch.bfloat16):
        network.zero_grad()
        out = network(images)[0]
    out.float().square().sum().backward()
    weight = 'stages.0.blocks.0.attn.proj.weight'
    found = dict(network.named_parameters())[weight].grad
    assert torch.nn.functional.cosine_similarity(found.flatten(), expected[weight].flatten(), dim=0) > 0.98
    assert all(p.grad.isfinite().all() for p in network.parameters())


@pytest.mark.parametrize('mode', ['train', 'eval', 'fused'])
def test_compiles_as_one_graph(mode):
    torch._dynamo.reset()
    network, images = micro(num_stages=2), torch.randn(2, 3, 50, 70)
    if mode == 'fused':
        network.fuse_for_inference()
    compiled = torch.compile(network, fullgraph=True, backend='aot_eager')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)
        if mode != 'train':
            with torch.no_grad():
                assert (compiled(images)[0] - network(images)[0]).abs().max() < 1e-5
            return
        network.train()
        (out,), found, _ = gradients(compiled, images)
        (reference,), expected, _ = gradients(network, images)
    assert (out - reference).abs().max() < 1e-5
    for name, gradient in found.items():
        wanted = expected[name.removeprefix('_orig_mod.')]
        assert (gradient - wanted).abs().max() <= 1e-3 * wanted.abs().max().clamp(min=1e-3), name


@pytest.mark.slow
def test_compiles_with_inductor():
    torch._dynamo.reset()
    network, images = micro(num_stages=2), torch.randn(2, 3, 50, 70)
    with torch.no_grad():
        found = torch.compile(network, fullgraph=True)(images)[0]
        assert (found - network(images)[0]).abs().max() < 1e-5


@pytest.mark.parametrize('fuse', [False, True])
def test_exports(fuse):
    network, images = micro(num_stages=2), torch.randn(2, 3, 50, 70)
    with torch.no_grad():
        expected = network(images)[0]
    if fuse:
        network.fuse_for_inference()
    program = torch.export.export(network, (images,))
    with torch.no_grad():
        assert (program.module()(images)[0] - expected).abs().max() < 1e-5
    assert not any('mkldnn' in str(node.target) for node in program.graph.nodes)


@pytest.mark.parametrize('fuse', [False, True])
def test_onnx_round_trip(tmp_path, fuse):
    pytest.importorskip('onnxscript')
    runtime = pytest.importorskip('onnxruntime')
    network, images = micro(num_stages=2), torch.randn(1, 3, 64, 48)
    with torch.no_grad():
        expected = network(images)[0]
    if fuse:
        network.fuse_for_inference()
    path = str(tmp_path / 'gmf.onnx')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(network, (images,), path, dynamo=True, verbose=False)
    session = runtime.InferenceSession(path, providers=['CPUExecutionProvider'])
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    assert (torch.from_numpy(found) - expected).abs().max() < 1e-5


# --- weights and bad input ---------------------------------------------------------------------------------


def test_init_cfg_loads_a_checkpoint(tmp_path):
    network = micro(num_stages=3)
    save_checkpoint(dict(state_dict=network.state_dict()), str(tmp_path / 'ours.pth'))
    settings = dict(type='Pretrained', checkpoint=str(tmp_path / 'ours.pth'))
    kept = TruncatedGMF(MICRO, num_stages=2, init_cfg=settings)
    kept.init_weights()
    assert len(kept.state_dict()) > 100
    for key, value in kept.state_dict().items():
        assert torch.equal(value, network.state_dict()[key]), key


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='huge'), 'huge'),
        (dict(arch=None), 'or a dict, got None'),
        (dict(arch=dict(embed_dims=[40])), 'embed_dims, depths and mlp_ratios'),
        (dict(arch=dict(embed_dims=[40], depths=[1, 1], mlp_ratios=[4])), 'one entry per stage'),
        (dict(arch=dict(embed_dims=[45], depths=[1], mlp_ratios=[4])), 'multiples of 10'),
        (dict(num_stages=5), 'num_stages must be 1 to 4'),
        (dict(num_stages=3, out_indices=(1,)), 'never be used'),
        (dict(drop_path_rate=1.0), 'drop_path_rate'),
        (dict(num_stages=2, frozen_stages=3), 'frozen_stages'),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        TruncatedGMF(**options)


def test_bad_images_are_named():
    network = micro(num_stages=1)
    for images in (torch.zeros(3, 64, 64), torch.zeros(1, 4, 64, 64)):
        with pytest.raises(ValueError, match=r'expected images \(B, 3, height, width\)'):
            network(images)
