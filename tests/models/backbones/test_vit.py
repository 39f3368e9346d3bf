"""ViT: numbers, weights, positions, and the ways in which it is run."""

import inspect
import runpy
import warnings
from pathlib import Path

import mmpose
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmhier.models.backbones.truncation import FeatureInfo
from mmhier.models.backbones.vit import ARCHS, ATTENTION, ViT, resolve_arch
from mmhier.ops import linear as linear_module

REFERENCE = runpy.run_path(str(Path(__file__).parents[2] / 'reference' / 'vit.py'))
MICRO = dict(embed_dims=16, num_layers=3, num_heads=4)
MICRO_HW = (64, 48)
# Our names -> those of ViTPose 0.x.
RENAMED = [
    ('ffn.layers.0.0.', 'mlp.fc1.'),
    ('ffn.layers.1.', 'mlp.fc2.'),
    ('layers.', 'blocks.'),
    ('.ln', '.norm'),
    ('projection.', 'proj.'),
]
# Facts of the released networks: parameters with a table of 193 rows, and multiply-adds at 256 x 192 in 1e9.
# The row in front is added to the others when a file is converted, so one row of the width is gone here.
PARAMETERS = dict(small=21_663_744, base=85_794_816, large=303_296_512, huge=630_912_000)
GMACS = dict(small=4.473, base=17.10, large=59.945, huge=124.005)


def randomise(network):
    """Weights of the size that training gives them; none is zero or one, so that each one matters."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in network.named_parameters():
        noise = torch.empty_like(parameter).normal_(std=0.02, generator=generator)
        parameter.data.copy_(noise + (1.0 if '.ln' in f'.{name}' and name.endswith('weight') else 0.0))
    return network


def micro(**options):
    options = {'drop_path_rate': 0.0, 'img_size': MICRO_HW, **options}
    return randomise(ViT(options.pop('arch', MICRO), **options)).eval()


def stock(arch, **options):
    """The encoder of MMPose's ViTPose configs, in evaluation mode."""
    try:
        from mmpretrain.models.backbones import VisionTransformer
    except ImportError as error:
        pytest.skip(f'mmpretrain cannot be imported: {error}')
    options = {'img_size': (256, 192), **options}
    network = VisionTransformer(
        arch=resolve_arch(arch),
        patch_size=16,
        qkv_bias=True,
        with_cls_token=False,
        out_type='featmap',
        patch_cfg=dict(padding=2),
        **options,
    )
    network.eval()  # returns None
    return randomise(network)


@pytest.fixture
def portable(monkeypatch):
    """Take the path that is used for compilation, export and GPUs."""
    monkeypatch.setattr(linear_module, 'is_eager_cpu', lambda x: False)


@pytest.fixture
def onednn(monkeypatch):
    """Send products of any size to oneDNN, if this build has it."""
    monkeypatch.setattr(linear_module, 'SMALL_PRODUCT', 0)


def gradients(network, images):
    network.zero_grad()
    images = images.clone().requires_grad_()
    out = network(images)[0]
    out.square().sum().backward()
    return out, {**{name: p.grad.clone() for name, p in network.named_parameters()}, 'images': images.grad}


def assert_same_gradients(found, expected, tolerance=2e-5):
    """Relative to the largest entry of each gradient; that of k's bias is zero up to rounding."""
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = gradient.abs().max().clamp(min=1e-6)
        difference = (found[name] - gradient).abs()
        if name.endswith('qkv.bias'):
            difference = torch.stack([part for i, part in enumerate(difference.chunk(3)) if i != 1])
        assert difference.max() <= tolerance * scale, name


# --- numbers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    'arch', ['small', 'base', *(pytest.param(arch, marks=pytest.mark.slow) for arch in ('large', 'huge'))]
)
def test_equals_mmpretrain(arch, onednn):
    theirs = stock(arch)
    ours = ViT(arch).eval()
    ours.load_state_dict(theirs.state_dict())  # same names, same shapes
    for hw in ((256, 192), (384, 288), (224, 224)):
        images = torch.randn(1, 3, *hw)
        with torch.no_grad():
            (expected,), (found,) = theirs(images), ours(images)
        assert found.shape == expected.shape
        assert (found - expected).abs().max() < 1e-5
        assert expected.abs().max() > 1


def test_gradients_equal_mmpretrain(onednn):
    theirs = stock(MICRO, img_size=MICRO_HW)
    ours = ViT(MICRO, img_size=MICRO_HW, drop_path_rate=0.0).eval()
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, *MICRO_HW)
    (out, found), (reference, expected) = gradients(ours, images), gradients(theirs, images)
    assert (out - reference).abs().max() < 1e-5
    assert_same_gradients(found, expected, 1e-4)


def test_equals_plain_reference():
    """With ViTPose 0.x's names and its table, whose first row is added to every patch."""
    network, images = micro().double(), torch.randn(2, 3, *MICRO_HW).double()
    state = {}
    for key, value in network.state_dict().items():
        key = key if key.startswith('layers.') else key.replace('ln1.', 'last_norm.')
        for ours, theirs in RENAMED:
            key = key.replace(ours, theirs)
        state[key] = value
    row = torch.randn(1, 1, 16).double()
    state['pos_embed'] = torch.cat([row, network.pos_embed.detach() - row], dim=1)
    with torch.no_grad():
        found, expected = network(images)[0], REFERENCE['vit'](state, images, MICRO['num_heads'])
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-12


@pytest.mark.parametrize('arch', sorted(PARAMETERS))
def test_parameter_counts_are_exact(arch):
    with torch.device('meta'):
        count = sum(p.numel() for p in ViT(arch).parameters())
    assert count == PARAMETERS[arch] - ARCHS[arch]['embed_dims']


@pytest.mark.parametrize('arch', sorted(GMACS))
def test_multiply_adds(arch):
    with torch.device('meta'):
        network, images = ViT(arch).eval(), torch.empty(1, 3, 256, 192)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(images)
    assert counter.get_total_flops() / 2e9 == pytest.approx(GMACS[arch], abs=0.006)


def test_both_paths_agree(request, onednn):
    network, images = micro(), torch.randn(3, 3, 80, 50)
    out, found = gradients(network, images)
    request.getfixturevalue('portable')
    other, expected = gradients(network, images)
    assert (out - other).abs().max() < 1e-5
    assert_same_gradients(found, expected)


def test_training_with_stochastic_depth_equals_mmpretrain():
    """The same random numbers are drawn in the same order."""
    theirs = stock(MICRO, img_size=MICRO_HW, drop_path_rate=0.5)
    ours = ViT(MICRO, img_size=MICRO_HW, drop_path_rate=0.5)
    ours.load_state_dict(theirs.state_dict())
    images = torch.randn(4, 3, *MICRO_HW)
    plain = ours.eval()(images)[0]
    outputs = []
    for network in (theirs, ours):
        network.train()
        torch.manual_seed(1)
        outputs.append(network(images)[0])
    assert (outputs[0] - outputs[1]).abs().max() < 1e-5
    assert (outputs[0] - plain).abs().max() > 1e-2


@pytest.mark.parametrize('decoder', ['', '-simple'])
@pytest.mark.parametrize('arch', sorted(ARCHS))
def test_models_of_mmpose_load_as_they_are(repo_root, arch, decoder):
    """Our configs and MMPose's describe the same model with the same names."""
    pytest.importorskip('mmpretrain')
    init_default_scope('mmpose')
    folder = Path(mmpose.__file__).parent / '.mim/configs/body_2d_keypoint/topdown_heatmap/coco'
    path = folder / f'td-hm_ViTPose-{arch}{decoder}_8xb64-210e_coco-256x192.py'
    if not path.is_file():
        pytest.skip('the configs of MMPose are absent')
    name = f'vitpose_{arch[0]}{decoder.replace("-", "_")}_coco'
    configs = [Config.fromfile(str(path)), Config.fromfile(repo_root / 'configs' / 'hpe' / f'{name}.py')]
    models = []
    for cfg in configs:
        cfg.model.backbone.init_cfg = None
        with torch.device('cpu' if arch == 'small' else 'meta'):
            models.append(MODELS.build(cfg.model).eval())
    theirs, ours = ({key: value.shape for key, value in model.state_dict().items()} for model in models)
    assert ours == theirs
    rates = [cfg.optim_wrapper.paramwise_cfg.layer_decay_rate for cfg in configs]
    assert rates[0] == rates[1]
    drops = [max(getattr(m, 'drop_prob', 0) or 0 for m in model.modules()) for model in models]
    assert drops[0] == pytest.approx(drops[1])
    if arch == 'small':
        models[1].load_state_dict(models[0].state_dict())
        images = torch.randn(1, 3, 256, 192)
        with torch.no_grad():
            expected, found = (model(images, None, mode='tensor') for model in models)
        assert found.shape == (1, 17, 64, 48)
        assert (found - expected).abs().max() < 1e-5


# --- positions and patches ---------------------------------------------------------------------------------


def test_positions_are_interpolated_for_other_sizes():
    network = micro()
    assert network.positions((4, 3)) is network.pos_embed
    grid = network.pos_embed.detach().view(1, 4, 3, 16).permute(0, 3, 1, 2)
    expected = F.interpolate(grid, size=(6, 5), mode='bicubic', align_corners=False)
    found = network.positions((6, 5))
    assert torch.equal(found.view(1, 6, 5, 16).permute(0, 3, 1, 2), expected)


def test_convention_of_patches():
    """Patch (r, c) sees the 16 x 16 pixels from (16 r - 2, 16 c - 2) on; an odd size is padded, not cut."""
    network = micro(num_stages=1)
    dims, (height, width) = MICRO['embed_dims'], (70, 50)
    images = torch.rand(1, 3, height, width)
    weight = network.patch_embed.projection.weight.detach()
    padded = F.pad(images, (2, 32, 2, 32))[0]
    with torch.no_grad():
        found = network.patch_embed(images)
    assert found.shape == (1, dims, 5, 4)
    row, column = 4, 3
    patch = padded[:, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
    expected = (weight * patch).sum((1, 2, 3)) + network.patch_embed.projection.bias.detach()
    assert torch.allclose(found[0, :, row, column], expected, atol=1e-6)


# --- structure ---------------------------------------------------------------------------------------------


def test_builds_from_the_registry():
    network = MODELS.build(dict(type='ViT', arch=MICRO, out_indices=(0, 2)))
    assert network.feature_info == [FeatureInfo(16, 16), FeatureInfo(16, 16)]
    assert network.num_layers == 3
    assert MODELS.build(dict(type='ViT', arch=MICRO)).pos_embed.shape == (1, 192, 16)


@pytest.mark.parametrize(('frozen', 'held'), [(-1, 0), (0, 1), (1, 2), (2, 3), (3, 5)])
def test_frozen_blocks_are_the_first_ones(frozen, held):
    """Block 0 is frozen first, and the closing norm only with all blocks."""
    network = ViT(MICRO, frozen_stages=frozen).train()
    layers = {network.layer_id(name) for name, p in network.named_parameters() if not p.requires_grad}
    assert layers == set(range(held))
    assert [block.training for block in network.layers] == [k >= frozen for k in range(3)]


def test_layer_decay_is_that_of_vitpose():
    """Patches and positions are layer 0, block k is k + 1, closing norm and head learn at full rate."""
    model = nn.Module()
    model.backbone = ViT(MICRO)
    model.head = nn.Linear(2, 2)
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.1),
            constructor='mmpose.LayerIdDecayConstructor',
            paramwise_cfg=dict(layer_decay_rate=0.5, custom_keys=dict(pos_embed=dict(decay_mult=0.0))),
        ),
    )
    groups = {id(p): group for group in wrapper.param_groups for p in group['params']}
    rates = {name: groups[id(p)]['lr'] for name, p in model.named_parameters()}
    decays = {name: groups[id(p)]['weight_decay'] for name, p in model.named_parameters()}
    assert rates['head.weight'] == rates['backbone.ln1.weight'] == 1
    assert rates['backbone.layers.2.attn.qkv.weight'] == 0.5
    assert rates['backbone.layers.0.ln1.bias'] == 0.5**3
    assert rates['backbone.pos_embed'] == rates['backbone.patch_embed.projection.weight'] == 0.5**4
    assert decays['backbone.layers.0.attn.qkv.weight'] == 0.1
    assert decays['backbone.pos_embed'] == decays['backbone.ln1.weight'] == 0


def test_initial_weights():
    network = ViT(MICRO)
    network.init_weights()
    for weight in (network.layers[0].attn.qkv.weight, network.pos_embed):
        assert 0.015 < weight.std() < 0.025
    assert not network.layers[0].attn.qkv.bias.any()
    assert torch.equal(network.layers[1].ln2.weight, torch.ones(16))


# --- ways to run it ----------------------------------------------------------------------------------------


def test_autocast():
    network, images = micro(), torch.randn(2, 3, *MICRO_HW)
    _, expected = gradients(network, images)
    with torch.no_grad():
        plain = network(images)[0]
    with torch.autocast('cpu', torch.bfloat16):
        out, found = gradients(network, images)
    assert (out.float() - plain).abs().max() < 0.1 * plain.abs().max()
    assert_same_gradients(found, expected, 0.1)


def test_half_precision():
    network, images = micro(), torch.randn(2, 3, 80, 50)
    with torch.no_grad():
        expected = network(images)[0]
        found = network.bfloat16()(images.bfloat16())[0]
    assert found.dtype == torch.bfloat16
    assert (found.float() - expected).abs().max() < 0.1 * expected.abs().max()


@pytest.mark.parametrize('hw', [MICRO_HW, (70, 50)])
def test_compiles_as_one_graph(hw):
    torch._dynamo.reset()
    network, images = micro(), torch.randn(2, 3, *hw)
    compiled = torch.compile(network, fullgraph=True, backend='aot_eager')
    (out, expected), (found, others) = gradients(network, images), gradients(compiled, images)
    assert (out - found).abs().max() < 1e-5
    assert_same_gradients({key.removeprefix('_orig_mod.'): value for key, value in others.items()}, expected)


def test_exports_with_dynamic_batch():
    network = micro()
    program = torch.export.export(
        network, (torch.randn(2, 3, *MICRO_HW),), dynamic_shapes=({0: torch.export.Dim('batch', max=64)},)
    )
    more = torch.randn(5, 3, *MICRO_HW)
    with torch.no_grad():
        assert (program.module()(more)[0] - network(more)[0]).abs().max() < 1e-5
    assert not any('mkldnn' in str(node.target) for node in program.graph.nodes)


@pytest.mark.parametrize('hw', [MICRO_HW, (70, 50)])
def test_onnx_round_trip(tmp_path, hw):
    pytest.importorskip('onnxscript')
    runtime = pytest.importorskip('onnxruntime')
    if 'dynamic_shapes' not in inspect.signature(torch.onnx.export).parameters:
        pytest.skip('this PyTorch cannot export dynamic shapes to ONNX')
    network, path = micro(), str(tmp_path / 'vit.onnx')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            network,
            (torch.randn(2, 3, *hw),),
            path,
            dynamo=True,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim('batch', max=64)},),
        )
    session = runtime.InferenceSession(path, providers=['CPUExecutionProvider'])
    more = torch.randn(3, 3, *hw)
    (found,) = session.run(None, {session.get_inputs()[0].name: more.numpy()})
    with torch.no_grad():
        assert (torch.from_numpy(found) - network(more)[0]).abs().max() < 1e-5


# --- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(arch='giant'), "one of .* or a dict, got 'giant'"),
        (dict(arch=None), 'or a dict, got None'),
        (dict(arch=dict(embed_dims=8)), 'embed_dims, num_layers, num_heads'),
        (dict(arch=dict(MICRO, depth=3)), 'depth'),
        (dict(arch=dict(MICRO, num_heads=3)), '3 heads do not divide the width 16'),
        (dict(num_stages=4), 'num_stages must be 1 to 3'),
        (dict(out_indices=(3,)), 'out_indices must be stages 0 to 2'),
        (dict(img_size=256), 'img_size'),
        (dict(img_size=(256, 0)), 'img_size'),
        (dict(drop_path_rate=1.0), 'drop_path_rate'),
        (dict(frozen_stages=4), 'frozen_stages'),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ViT(**{'arch': MICRO, **options})


def test_bad_images_are_named():
    for images in (torch.zeros(3, 64, 48), torch.zeros(1, 4, 64, 48)):
        with pytest.raises(ValueError, match=r'expected images \(B, 3, height, width\)'):
            micro()(images)


# --- attention and resolution ------------------------------------------------------------------------------

# Height and width of images in ViTPose's table of resolutions.
RESOLUTIONS = [(224, 224), (256, 192), (256, 256), (384, 288), (384, 384), (576, 432)]
WINDOWED = [kind for kind in ATTENTION if kind != 'full']


@pytest.mark.parametrize('kind', WINDOWED)
def test_weights_do_not_depend_on_the_attention(kind):
    full, windowed = (micro(attention=name, window_size=(2, 2)) for name in ('full', kind))
    assert windowed.state_dict().keys() == full.state_dict().keys()
    windowed.load_state_dict(full.state_dict())
    images = torch.randn(2, 3, *MICRO_HW)
    (one,), (other,) = full(images), windowed(images)
    assert one.shape == other.shape and not torch.allclose(one, other)


def test_one_window_sees_all():
    full, windowed = micro(), micro(attention='window', window_size=(4, 3))
    images = torch.randn(2, 3, *MICRO_HW)
    assert torch.allclose(full(images)[0], windowed(images)[0], atol=1e-6)


@pytest.mark.parametrize(
    ('kind', 'reaches'), [('window', False), ('shift', True), ('pool', True), ('shift_pool', True)]
)
def test_who_sees_another_window(kind, reaches):
    """The last patch is in another window than the first."""
    network = micro(attention=kind, window_size=(2, 2), img_size=(64, 64)).double()
    images = torch.randn(1, 3, 64, 64, dtype=torch.double, requires_grad=True)
    network(images)[0][0, :, 0, 0].square().sum().backward()
    assert bool(images.grad[0, :, -8:, -8:].abs().max() > 0) is reaches


def test_every_second_block_shifts():
    assert [block.attn.shifted for block in micro(attention='shift', window_size=(2, 2)).layers] == [
        False,
        True,
        False,
    ]


@pytest.mark.parametrize('kind', WINDOWED)
def test_windows_on_maps_that_they_do_not_divide(kind):
    network = micro(attention=kind, window_size=(3, 2)).train()
    images = torch.randn(2, 3, 75, 50)
    (out,) = network(images)
    out.square().sum().backward()
    assert out.shape == (2, 16, 5, 4) and out.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


def test_recomputing_changes_nothing_with_windows():
    images = torch.randn(2, 3, *MICRO_HW)
    options = dict(attention='shift_pool', window_size=(2, 2))
    found = [gradients(micro(with_cp=with_cp, **options).train(), images) for with_cp in (False, True)]
    assert torch.equal(found[0][0], found[1][0])
    assert_same_gradients(found[1][1], found[0][1], 1e-6)


def test_patches_at_stride_8():
    """Patch (r, c) begins at pixel (8 r - 4, 8 c - 4)."""
    network = micro(patch_stride=8)
    assert network.feature_info == [FeatureInfo(16, 8)] and network.map_hw == (8, 6)
    images = torch.randn(1, 3, *MICRO_HW)
    found = network.patch_embed(images)
    assert found.shape == (1, 16, 8, 6) and network(images)[0].shape == (1, 16, 8, 6)
    weight, bias = network.patch_embed.projection.weight, network.patch_embed.projection.bias
    padded = F.pad(images, (4, 16, 4, 16))
    patch = padded[0, :, 8 * 3 : 8 * 3 + 16, 8 * 5 : 8 * 5 + 16]
    assert torch.allclose(found[0, :, 3, 5], (weight * patch).sum((1, 2, 3)) + bias, atol=1e-5)
    assert micro(patch_stride=8)(torch.randn(1, 3, 67, 41))[0].shape == (1, 16, 9, 6)


@pytest.mark.parametrize('stride', [16, 8])
@pytest.mark.parametrize('img_size', RESOLUTIONS)
def test_positions_are_resampled_when_loaded(tmp_path, img_size, stride):
    """From a model of 256 x 192, and one of MAE; each position stays where it was in the image."""
    source = micro(img_size=(256, 192))
    torch.save(dict(state_dict=source.state_dict()), tmp_path / 'pose.pth')
    network = micro(
        img_size=img_size,
        patch_stride=stride,
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'pose.pth')),
    )
    network.init_weights()
    assert network.map_hw == (img_size[0] // stride, img_size[1] // stride)
    grid = source.pos_embed.transpose(1, 2).unflatten(2, (16, 12))
    expected = F.interpolate(grid, network.map_hw, mode='bicubic').flatten(2).transpose(1, 2)
    assert torch.allclose(network.pos_embed, expected, atol=1e-6)
    for ours, theirs in ((network, source),):
        assert torch.equal(ours.layers[1].attn.qkv.weight, theirs.layers[1].attn.qkv.weight)
    assert network(torch.randn(1, 3, *img_size))[0].shape[2:] == network.map_hw


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (dict(attention='windows'), 'attention must be one of full, window, shift, pool, shift_pool'),
        (dict(attention='pool', window_size=(8, 8)), r'window_size \(8, 8\) is larger than the map of 4 x 3'),
        (dict(attention='pool', window_size=8), r'window_size must be \(height, width\)'),
        (dict(attention='pool', window_size=(0, 8)), r'window_size must be \(height, width\)'),
        (dict(patch_stride=4), r'patch_stride must be one of \[8, 16\], got 4'),
        (
            dict(attention='pool', window_size=(2, 2), knowledge_token=8),
            "task tokens need attention='full', got 'pool'",
        ),
        (dict(knowledge_token=0), 'knowledge_token is the width of a token'),
    ],
)
def test_wrong_attention_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        micro(**options)


def test_images_smaller_than_a_window_are_refused():
    network = micro(attention='window', window_size=(4, 3))
    with pytest.raises(ValueError, match='larger than the map of 2 x 2 tokens'):
        network(torch.randn(1, 3, 32, 32))


def test_task_tokens_are_read_with_the_patches():
    """Tokens stand before the patches without a position; without them the network is the plain one."""
    torch.manual_seed(0)
    settings = dict(arch=dict(embed_dims=16, num_layers=2, num_heads=2), img_size=(64, 48))
    network = ViT(**settings, num_task_tokens=5).eval()
    network.init_weights()
    images = torch.randn(2, 3, 64, 48)
    maps, tokens = network(images)
    assert maps.shape == (2, 16, 4, 3) and tokens.shape == (2, 5, 16)
    x = network.patch_embed(images).flatten(2).transpose(1, 2) + network.pos_embed
    x = torch.cat([network.task_tokens.expand(2, -1, -1), x], dim=1)
    for block in network.layers:
        x = block(x, (4, 3))
    x = network.ln1(x)
    torch.testing.assert_close(tokens, x[:, :5])
    torch.testing.assert_close(maps, x[:, 5:].transpose(1, 2).unflatten(2, (4, 3)))
    (maps.sum() + tokens.square().sum()).backward()
    assert network.task_tokens.grad.any()
    assert network.layer_id('task_tokens') == 0 and 'task_tokens' in network.no_weight_decay()
    frozen = ViT(**settings, num_task_tokens=5, frozen_stages=0)
    assert not frozen.task_tokens.requires_grad
    # Weights of an encoder without them initialise one with them.
    plain = ViT(**settings)
    missing = network.load_state_dict(plain.state_dict(), strict=False).missing_keys
    assert missing == ['task_tokens']


# --- experts -----------------------------------------------------------------------------------------------


def experts(names=('coco', 'aic', 'mpii'), **more):
    torch.manual_seed(0)
    network = ViT(**ViT.small, drop_path_rate=0.0, experts=names, **more).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def joined(network, name):
    """The plain ViT with one expert."""
    state, shared = network.state_dict(), {}
    for key, value in state.items():
        if '.experts.' not in key:
            own = key.replace('.layers.1.', f'.experts.{name}.')
            shared[key] = torch.cat([value, state[own]]) if '.ffn.layers.1.' in key else value
    plain = ViT(**ViT.small, drop_path_rate=0.0).eval()
    plain.load_state_dict(shared)
    return plain


def test_an_expert_is_a_plain_network_to_the_bit():
    network, images = experts(), torch.randn(3, 3, 64, 48)
    with torch.no_grad():
        for name in network.experts:
            assert torch.equal(network(images, [name] * 3)[0], joined(network, name)(images)[0])


def test_images_go_to_the_experts_of_their_data_sets():
    network, images = experts(), torch.randn(5, 3, 64, 48)
    names = ['mpii', 'coco', 'aic', 'coco', 'mpii']
    with torch.no_grad():
        (found,) = network(images, names)
        for row, name in enumerate(names):
            expected = joined(network, name)(images[row : row + 1])[0]
            assert (found[row : row + 1] - expected).abs().max() < 1e-4 * expected.abs().max()
            others = [joined(network, other)(images[row : row + 1])[0] for other in {*names} - {name}]
            assert all((found[row : row + 1] - other).abs().max() > 0.01 for other in others)


def test_training_and_evaluation_of_experts_agree():
    """And recomputing changes nothing; experts without images have gradients of zero."""
    images, names = torch.randn(3, 3, 64, 48), ['aic', 'coco', 'aic']
    found = []
    for with_cp, mode in ((False, True), (True, True), (False, False)):
        network = experts(with_cp=with_cp).train(mode)
        (output,) = network(images, names)
        output.square().sum().backward()
        found.append((output, {key: value.grad for key, value in network.named_parameters()}))
    for output, gradients in found[1:]:
        torch.testing.assert_close(output, found[0][0], rtol=1e-4, atol=1e-4)
        for key, value in gradients.items():
            expected = found[0][1][key]
            if value is None:  # no process waits for others in evaluation
                assert 'experts.mpii' in key and expected.abs().max() == 0
            else:
                torch.testing.assert_close(
                    value, expected, rtol=1e-3, atol=1e-3 * expected.abs().max().item()
                )


def test_experts_have_a_quarter_of_the_width():
    """As in the released files of ViTPose+: 96 of size S, and its parameters."""
    names = ('coco', 'aic', 'mpii', 'ap10k', 'apt36k', 'wholebody')
    with torch.device('meta'):
        network = ViT('small', experts=names)
        widths = {
            arch: ViT(arch, experts=names).layers[0].ffn['experts']['aic'].out_features for arch in ARCHS
        }
    assert widths == dict(small=96, base=192, large=256, huge=320)
    # one row of positions fewer than in the file, which adds it to all others
    assert sum(parameter.numel() for parameter in network.parameters()) == 30_516_864 - 384
    assert network.layer_id('layers.3.ffn.experts.aic.weight') == 4


def test_experts_and_names_have_to_fit():
    network, images = experts(), torch.randn(2, 3, 64, 48)
    with pytest.raises(ValueError, match='3 experts got 2 images and none names'):
        network(images)
    with pytest.raises(ValueError, match=r'images of lsp, for which there is no expert: .*coco, aic, mpii'):
        network(images, ['coco', 'lsp'])
    with pytest.raises(ValueError, match='0 experts got 2 images and 2 names'):
        joined(network, 'coco')(images, ['coco', 'coco'])
    for options, words in (
        (dict(experts='coco'), "different names.* got 'coco'"),
        (dict(experts=('coco', 'coco')), 'different names'),
        (dict(experts=('coco',), expert_dims=16), 'expert_dims must be 1 to 15'),
        (dict(expert_dims=4), 'needs experts='),
    ):
        with pytest.raises(ValueError, match=words):
            ViT(**ViT.small, **options)


def test_the_mlp_is_frozen_with_its_experts():
    network = experts(frozen_parts='mlp')
    frozen = {name for name, parameter in network.named_parameters() if not parameter.requires_grad}
    assert any('.experts.' in name for name in frozen) and all('.ffn.' in name for name in frozen)
