"""TruncatedSwin: numbers, shapes, weights, and the ways in which it is run."""

import copy
import inspect
import runpy
import warnings
from pathlib import Path

import pytest
import torch
from mmpose.models.backbones import SwinTransformer
from mmpose.registry import MODELS
from torch.utils.flop_counter import FlopCounterMode

from mmhier.engine.launch import finish_distributed
from mmhier.models.backbones import truncated_swin
from mmhier.models.backbones.truncated_swin import ARCHS, TruncatedSwin
from mmhier.models.backbones.truncation import FeatureInfo
from mmhier.ops import linear as linear_module
from mmhier.ops import window_attention

REFERENCE = runpy.run_path(str(Path(__file__).parents[2] / 'reference' / 'swin.py'))
MICRO = dict(embed_dims=16, depths=[2, 1, 2, 2], num_heads=[1, 2, 4, 4], window_size=4)
POSE_HW = (256, 192)
ODD_HW = (250, 187)
# facts of the released networks: parameters up to and with the closing norm of each stage
PARAMETERS = dict(
    tiny=(229_782, 1_196_226, 12_152_010, 27_519_354),
    small=(229_782, 1_196_226, 33_469_914, 48_837_258),
    base=(404_680, 2_119_256, 59_437_688, 86_743_224),
    large=(901_932, 4_751_748, 133_589_940, 194_995_476),
)


def randomise(network):
    """Weights of the size that training gives them; none is zero or one, so that each one matters."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        noise = torch.empty_like(parameter).normal_(std=0.02, generator=generator)
        parameter.data.copy_(noise + (1.0 if 'norm' in name and name.endswith('weight') else 0.0))
    return network


def micro(**options):
    options = {'drop_path_rate': 0.0, **options}
    return randomise(TruncatedSwin(options.pop('arch', MICRO), **options)).eval()


def stock(arch, num_stages, out_indices=None, **options):
    """MMPose's Swin of the same depth, in evaluation mode."""
    settings = ARCHS[arch] if isinstance(arch, str) else arch
    network = SwinTransformer(
        embed_dims=settings['embed_dims'],
        depths=settings['depths'][:num_stages],
        num_heads=settings['num_heads'][:num_stages],
        strides=(4, 2, 2, 2)[:num_stages],
        window_size=settings.get('window_size', 7),
        out_indices=out_indices or (num_stages - 1,),
        **options,
    )
    network.eval()  # returns None
    return randomise(network)


@pytest.fixture
def portable(monkeypatch):
    """Take the path that is used for compilation, export and GPUs."""
    monkeypatch.setattr(truncated_swin, 'gathers_pay', lambda x: False)
    monkeypatch.setattr(linear_module, 'is_eager_cpu', lambda x: False)


@pytest.fixture
def onednn(monkeypatch):
    """Send products of any size to oneDNN, if this build has it."""
    monkeypatch.setattr(linear_module, 'SMALL_PRODUCT', 0)


def gradients(network, images):
    network.zero_grad()
    images = images.clone().requires_grad_()
    outputs = network(images)
    sum(out.square().sum() for out in outputs).backward()
    return outputs, {name: p.grad.clone() for name, p in network.named_parameters()}, images.grad


def assert_same_gradients(found, expected, tolerance=2e-5):
    """Relative to the largest entry of each gradient."""
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = gradient.abs().max().clamp(min=1e-6)
        assert (found[name] - gradient).abs().max() <= tolerance * scale, name


# --- numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize('hw', [(64, 64), (61, 38), (9, 5)])
@pytest.mark.parametrize('window', [4, 5])
def test_equals_plain_reference(hw, window):
    network = micro(arch={**MICRO, 'window_size': window}, out_indices=(0, 1, 2, 3))
    images = torch.randn(2, 3, *hw)
    arguments = (MICRO['depths'], MICRO['num_heads'], window, 4)
    with torch.no_grad():
        expected = REFERENCE['swin'](network.double().state_dict(), images.double(), *arguments)
        found = network.float()(images)
    assert len(found) == len(expected) == 4
    for out, reference in zip(found, expected, strict=True):
        assert out.shape == reference.shape
        assert (out - reference).abs().max() < 1e-5


@pytest.mark.parametrize(
    'arch', ['tiny', 'base', *(pytest.param(arch, marks=pytest.mark.slow) for arch in ('small', 'large'))]
)
def test_equals_mmpose(arch, onednn):
    """Every stage at once: a stage does not depend on those after it."""
    theirs = stock(arch, 4, (0, 1, 2, 3))
    ours = TruncatedSwin(arch, out_indices=(0, 1, 2, 3)).eval()
    ours.load_state_dict(theirs.state_dict())
    for hw in (POSE_HW, ODD_HW):
        images = torch.randn(1, 3, *hw)
        with torch.no_grad():
            expected, found = theirs(images), ours(images)
        assert len(found) == 4
        for out, reference in zip(found, expected, strict=True):
            assert out.shape == reference.shape
            assert (out - reference).abs().max() < 1e-5


@pytest.mark.parametrize('convention', ['detection', 'classification'])
def test_equals_mmpretrain(convention):
    try:
        from mmpretrain.models.backbones import SwinTransformer as Pretrain
    except ImportError as error:
        pytest.skip(f'mmpretrain cannot be imported: {error}')
    pad = convention == 'detection'
    theirs = randomise(Pretrain('tiny', out_indices=(0, 1, 2, 3), pad_small_map=pad))
    theirs.eval()  # returns None
    ours = TruncatedSwin('tiny', out_indices=(0, 1, 2, 3), window_convention=convention).eval()
    ours.load_state_dict(theirs.state_dict())
    for hw in (POSE_HW, ODD_HW) if pad else ((224, 224),):
        images = torch.randn(1, 3, *hw)
        with torch.no_grad():
            for out, reference in zip(ours(images), theirs(images), strict=True):
                assert (out - reference).abs().max() < 1e-5


def test_convention_of_windows_that_cover_the_map():
    """At 64 pixels a stage-3 map is 4 x 4, one window of 4: only the detection convention shifts there."""
    images = torch.randn(1, 3, 64, 64)
    network = micro(out_indices=(1, 2))
    other = micro(out_indices=(1, 2), window_convention='classification')
    arguments = (MICRO['depths'], MICRO['num_heads'], 4, 3, False)
    with torch.no_grad():
        (found1, found2), (same, shifted) = other(images), network(images)
        expected1, expected2 = REFERENCE['swin'](network.state_dict(), images, *arguments)
    assert (found1 - expected1).abs().max() < 1e-5
    assert (found2 - expected2).abs().max() < 1e-5
    assert torch.equal(found1, same)
    assert (found2 - shifted).abs().max() > 1e-3


def test_gradients_equal_mmpose(onednn):
    arch = {**MICRO, 'window_size': 7}
    theirs = stock(arch, 3)
    ours = TruncatedSwin(arch, num_stages=3, drop_path_rate=0.0).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, *ODD_HW)
    (out,), found, input_grad = gradients(ours, images)
    (reference,), expected, reference_grad = gradients(theirs, images)
    assert (out - reference).abs().max() < 1e-5
    # k's bias moves all logits of a query alike: its gradient is zero, and rounding in the stock version
    for name in expected:
        if name.endswith('qkv.bias'):
            dims = expected[name].numel() // 3
            assert expected[name][dims : 2 * dims].abs().max() < 1e-4 * expected[name].abs().max()
            expected[name][dims : 2 * dims] = 0
    assert_same_gradients(found, expected, 1e-4)
    assert_same_gradients({'images': input_grad}, {'images': reference_grad}, 1e-4)


def test_training_with_stochastic_depth_equals_mmpose():
    """The same random numbers are drawn in the same order."""
    arch = {**MICRO, 'depths': [2, 2, 2], 'num_heads': [1, 2, 4]}
    theirs = stock(arch, 3, drop_path_rate=0.5)
    ours = TruncatedSwin(arch, drop_path_rate=0.5)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(4, 3, 64, 48)
    plain = ours.eval()(images)[0]
    outputs = []
    for network in (theirs, ours):
        network.train()
        torch.manual_seed(1)
        outputs.append(network(images)[0])
    assert (outputs[0] - outputs[1]).abs().max() < 1e-5
    assert (outputs[0] - plain).abs().max() > 1e-2


def test_both_paths_agree(request, onednn):
    network, images = micro(out_indices=(1, 3)), torch.randn(3, 3, 77, 50)
    outputs, found, input_grad = gradients(network, images)
    request.getfixturevalue('portable')
    others, expected, other_grad = gradients(network, images)
    for out, other in zip(outputs, others, strict=True):
        assert (out - other).abs().max() < 1e-5
    assert_same_gradients(found, expected)
    assert_same_gradients({'images': input_grad}, {'images': other_grad})


def test_batch_is_a_loop_of_singles(onednn):
    network, images = micro(num_stages=3), torch.randn(3, 3, 50, 70)
    with torch.no_grad():
        whole = network(images)[0]
        singles = torch.cat([network(image[None])[0] for image in images])
    assert (whole - singles).abs().max() < 1e-5


def test_checkpointing_changes_nothing():
    network = micro(num_stages=3, drop_path_rate=0.3).train()
    images = torch.randn(2, 3, 50, 70)
    torch.manual_seed(2)
    (out,), expected, _ = gradients(network, images)
    network.with_cp = True
    torch.manual_seed(2)
    (again,), found, _ = gradients(network, images)
    assert torch.equal(out, again)
    assert_same_gradients(found, expected, 1e-6)


# --- what is kept ------------------------------------------------------------------------------------------


@pytest.mark.parametrize('arch', sorted(PARAMETERS))
def test_parameter_counts_are_exact(arch):
    with torch.device('meta'):
        counts = tuple(
            sum(p.numel() for p in TruncatedSwin(arch, num_stages=stages).parameters())
            for stages in range(1, 5)
        )
    assert counts == PARAMETERS[arch]


def test_multiply_adds_are_counted_and_of_real_tokens_only():
    """At 256 x 192 the maps are 64 x 48, 32 x 24, 16 x 12, in 70, 20, 6 windows of 49."""
    network = TruncatedSwin('tiny', num_stages=3)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(torch.randn(1, 3, *POSE_HW))
    expected = 3072 * 96 * 3 * 16
    for depth, dims, tokens, windows in ((2, 96, 3072, 70), (2, 192, 768, 20), (6, 384, 192, 6)):
        expected += depth * (12 * dims**2 * tokens + 2 * windows * 49**2 * dims + dims**2)
    expected += 768 * 8 * 96**2 + 192 * 8 * 192**2
    assert counter.get_total_flops() == pytest.approx(2 * expected, rel=1e-3)


@pytest.mark.parametrize('stages', [1, 2, 3, 4])
def test_state_dict_is_that_of_mmpose(stages):
    theirs, ours = stock(MICRO, stages), TruncatedSwin(MICRO, num_stages=stages)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    index = 'stages.0.blocks.0.attn.w_msa.relative_position_index'
    assert torch.equal(ours.state_dict()[index], stock(MICRO, stages).state_dict()[index])


def test_features_are_declared():
    network = MODELS.build(dict(type='TruncatedSwin', arch='base', out_indices=(0, 2)))
    assert network.feature_info == [FeatureInfo(128, 4), FeatureInfo(512, 16)]
    assert network.num_layers == 22


def test_train_returns_self_and_frozen_parts_stay_frozen():
    network = TruncatedSwin(MICRO, out_indices=(0, 2), frozen_stages=1, drop_path_rate=0.5)
    assert network.train() is network
    assert network.eval() is network
    network.train()
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    assert frozen == {
        name
        for name, _ in network.named_parameters()
        if name.startswith(('patch_embed.', 'stages.0.', 'norm0.'))
    }
    assert not network.stages[0].training
    assert network.stages[1].training
    network(torch.randn(2, 3, 64, 64))[-1].sum().backward()
    assert network.stages[1].blocks[0].norm1.weight.grad is not None
    assert TruncatedSwin(MICRO, frozen_stages=0).patch_embed.projection.weight.requires_grad is False


def test_initial_weights():
    network = TruncatedSwin(MICRO)
    network.init_weights()
    block = network.stages[2].blocks[0]
    table = block.attn['w_msa'].relative_position_bias_table
    for weight in (block.attn['w_msa'].qkv.weight, table):
        assert 0.015 < weight.std() < 0.025
    assert not block.attn['w_msa'].qkv.bias.any()
    assert torch.equal(block.norm1.weight, torch.ones(64))


# --- ways to run it ----------------------------------------------------------------------------------------


def test_nothing_is_stale():
    """Changing weights in any way changes the next result; nothing but weights is in the state dictionary."""
    network, images = micro(num_stages=3), torch.randn(1, 3, 64, 64)
    keys = set(network.state_dict())
    table = network.stages[0].blocks[1].attn['w_msa'].relative_position_bias_table
    initial = copy.deepcopy(network.state_dict())

    def by_data():
        table.data.mul_(50.0)

    def by_optimizer():
        network(images)[0][:, 0].sum().backward()
        torch.optim.SGD([table], lr=100.0).step()

    def by_loading():
        network.load_state_dict(initial)

    with torch.inference_mode():
        first = last = network(images)[0]
    for change in (by_data, by_optimizer, by_loading):
        change()
        with torch.inference_mode():
            now = network(images)[0]
        assert (now - last).abs().max() > 1e-4, change.__name__
        last = now
    assert torch.equal(last, first)
    assert set(network.state_dict()) == keys


def test_training_after_inference_mode():
    """Tensors remembered in inference mode are usable for training."""
    window_attention._image_plan.cache_clear()
    network, images = micro(num_stages=3), torch.randn(1, 3, 72, 40)
    with torch.inference_mode():
        expected = network(images)[0]
    out = copy.deepcopy(network)(images)[0]
    out.sum().backward()
    assert torch.equal(out, expected)


def test_training_after_inference_mode_by_views(portable):
    truncated_swin._remembered_mask.cache_clear()
    network, images = micro(num_stages=3), torch.randn(1, 3, 72, 40)
    with torch.inference_mode():
        expected = network(images)[0]
    out = network(images)[0]
    out.sum().backward()
    assert torch.allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_and_autocast(dtype):
    network, images = micro(num_stages=3), torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(images)[0]
        with torch.autocast('cpu', dtype):
            mixed = network(images)[0]
        half = copy.deepcopy(network).to(dtype)(images.to(dtype))[0]
    assert half.dtype == dtype
    for out in (mixed, half):
        assert (out.float() - expected).abs().max() < 0.1 * expected.abs().max()


def test_autocast_trains():
    network, images = micro(num_stages=3), torch.randn(2, 3, 64, 48)
    _, expected, _ = gradients(network, images)
    network.zero_grad()
    with torch.autocast('cpu', torch.bfloat16):
        out = network(images)[0]
    out.float().square().sum().backward()
    found = {name: p.grad for name, p in network.named_parameters()}
    for name in found:
        if name.endswith('qkv.bias'):  # the third of k is zero up to rounding
            dims = found[name].numel() // 3
            found[name][dims : 2 * dims] = expected[name][dims : 2 * dims] = 0
    assert_same_gradients(found, expected, 0.1)


@pytest.mark.parametrize('mode', ['no_grad', 'train'])
def test_compiles_as_one_graph(mode):
    torch._dynamo.reset()
    network, images = micro(num_stages=3), torch.randn(2, 3, 50, 70)
    compiled = torch.compile(network, fullgraph=True, backend='aot_eager')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', FutureWarning)
        if mode == 'no_grad':
            with torch.no_grad():
                assert (compiled(images)[0] - network(images)[0]).abs().max() < 1e-5
        else:
            (out,), found, _ = gradients(compiled, images)
            (reference,), expected, _ = gradients(network, images)
            assert (out - reference).abs().max() < 1e-5
            found = {name.removeprefix('_orig_mod.'): gradient for name, gradient in found.items()}
            assert_same_gradients(found, expected)


@pytest.mark.slow
def test_compiles_with_inductor():
    torch._dynamo.reset()
    network, images = micro(num_stages=3), torch.randn(2, 3, 50, 70)
    with torch.no_grad():
        found = torch.compile(network, fullgraph=True)(images)[0]
        assert (found - network(images)[0]).abs().max() < 1e-5


def test_exports_with_dynamic_batch():
    network, images = micro(num_stages=3), torch.randn(2, 3, 50, 70)
    program = torch.export.export(
        network, (images,), dynamic_shapes=({0: torch.export.Dim('batch', max=64)},)
    )
    more = torch.randn(5, 3, 50, 70)
    with torch.no_grad():
        assert (program.module()(more)[0] - network(more)[0]).abs().max() < 1e-5
    names = {str(node.target) for node in program.graph.nodes}
    assert not any('mkldnn' in name or 'index_select' in name for name in names)


def test_traces():
    network, images = micro(num_stages=3), torch.randn(1, 3, 50, 70)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        traced = torch.jit.trace(network, images)
    more = torch.randn(1, 3, 50, 70)
    with torch.no_grad():
        assert (traced(more)[0] - network(more)[0]).abs().max() < 1e-5


def test_onnx_round_trip(tmp_path):
    pytest.importorskip('onnxscript')
    runtime = pytest.importorskip('onnxruntime')
    if 'dynamic_shapes' not in inspect.signature(torch.onnx.export).parameters:
        pytest.skip('this PyTorch cannot export dynamic shapes to ONNX')
    network, images = micro(num_stages=3), torch.randn(2, 3, 50, 70)
    path = str(tmp_path / 'swin.onnx')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            network,
            (images,),
            path,
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim('batch', max=64)},),
        )
    session = runtime.InferenceSession(path, providers=['CPUExecutionProvider'])
    more = torch.randn(3, 3, 50, 70)
    (found,) = session.run(None, {session.get_inputs()[0].name: more.numpy()})
    with torch.no_grad():
        assert (torch.from_numpy(found) - network(more)[0]).abs().max() < 1e-5


def test_data_parallel_needs_every_parameter(tmp_path):
    torch.distributed.init_process_group('gloo', f'file://{tmp_path}/store', rank=0, world_size=1)
    try:
        network = micro(num_stages=3)
        parallel = torch.nn.parallel.DistributedDataParallel(copy.deepcopy(network))
        images = torch.randn(2, 3, 64, 48)
        for _ in range(2):  # an unused parameter would raise in the second iteration
            _, found, _ = gradients(parallel, images)
        _, expected, _ = gradients(network, images)
        assert_same_gradients({k.removeprefix('module.'): v for k, v in found.items()}, expected, 1e-6)
    finally:
        finish_distributed()


# --- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='huge'), 'huge'),
        (dict(arch=None), 'or a dict, got None'),
        (dict(arch=dict(embed_dims=8)), 'embed_dims, depths, num_heads'),
        (dict(arch=dict(embed_dims=8, depths=[1], num_heads=[1], heads=2)), 'heads'),
        (dict(arch=dict(embed_dims=8, depths=[1, 1], num_heads=[1])), 'as many num_heads'),
        (dict(arch=dict(embed_dims=8, depths=[1], num_heads=[3])), '3 heads of stage 1'),
        (dict(window_size=1), 'window_size'),
        (dict(num_stages=5), 'num_stages must be 1 to 4'),
        (dict(num_stages=0), 'num_stages must be 1 to 4'),
        (dict(out_indices=(4,)), 'out_indices must be stages 0 to 3'),
        (dict(num_stages=3, out_indices=(1,)), 'never be used'),
        (dict(drop_path_rate=1.0), 'drop_path_rate'),
        (dict(drop_path_span='all'), 'drop_path_span'),
        (dict(num_stages=2, frozen_stages=3), 'frozen_stages'),
        (dict(window_convention='pose'), 'window_convention'),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        TruncatedSwin(**options)


def test_bad_images_are_named():
    network = micro(num_stages=3)
    for images in (torch.zeros(3, 64, 64), torch.zeros(1, 4, 64, 64)):
        with pytest.raises(ValueError, match=r'expected images \(B, 3, height, width\)'):
            network(images)
    with pytest.raises(ValueError, match='smaller than a window'):
        micro(num_stages=3, window_convention='classification')(torch.zeros(1, 3, 40, 40))
