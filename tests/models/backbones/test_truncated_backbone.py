"""TruncatedBackbone: networks of timm, MMPose and mmpretrain, cut after each of their stages."""

import copy
import itertools
import warnings

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS
from torch import nn

from mmhier.models.backbones.truncated_backbone import TruncatedBackbone
from mmhier.models.backbones.truncated_swin import TruncatedSwin
from mmhier.models.backbones.truncation import FeatureInfo

HW = (64, 64)
# Small networks: arguments, widths of the four stages, blocks per stage.
NETWORKS = {
    'ResNet': (dict(type='ResNet', depth=18, base_channels=8), (8, 16, 32, 64), (2, 2, 2, 2)),
    'PVT': (
        dict(type='PyramidVisionTransformerV2', embed_dims=8, num_layers=[1, 2, 1, 1]),
        (8, 16, 40, 64),
        (1, 2, 1, 1),
    ),
    'Swin': (
        dict(
            type='SwinTransformer', embed_dims=12, depths=(1, 2, 1, 1), num_heads=(1, 2, 3, 4), window_size=4
        ),
        (12, 24, 48, 96),
        (1, 2, 1, 1),
    ),
    'ConvNeXt': (
        dict(
            type='mmpretrain.ConvNeXt',
            arch=dict(depths=[1, 2, 2, 1], channels=[8, 16, 24, 32]),
            gap_before_final_norm=False,
        ),
        (8, 16, 24, 32),
        (1, 2, 2, 1),
    ),
    'mmpretrain Swin': (
        dict(
            type='mmpretrain.SwinTransformer',
            arch=dict(embed_dims=12, depths=[1, 1, 1, 1], num_heads=[1, 2, 3, 4]),
            window_size=4,
            pad_small_map=True,
        ),
        (12, 24, 48, 96),
        (1, 1, 1, 1),
    ),
    'timm ConvNeXt': (
        dict(type='timm', name='convnext_atto', depths=(1, 2, 2, 1), dims=(8, 16, 24, 32)),
        (8, 16, 24, 32),
        (1, 2, 2, 1),
    ),
    'timm PVT': (
        dict(type='timm', name='pvt_v2_b0', depths=(1, 1, 2, 1)),
        (32, 64, 160, 256),
        (1, 1, 2, 1),
    ),
    'timm Swin': (
        dict(
            type='timm',
            name='swin_tiny_patch4_window7_224',
            img_size=HW,
            window_size=4,
            embed_dim=12,
            depths=(1, 2, 1, 1),
            num_heads=(1, 2, 3, 4),
        ),
        (12, 24, 48, 96),
        (1, 2, 1, 1),
    ),
    'timm Hiera': (
        dict(type='timm', name='hiera_tiny_224', img_size=HW, embed_dim=12, stages=(1, 1, 2, 1)),
        (12, 24, 48, 96),
        (1, 1, 2, 1),
    ),
    'timm MambaOut': (
        dict(type='timm', name='mambaout_femto', depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)),
        (8, 16, 24, 32),
        (1, 1, 1, 1),
    ),
    'timm ResNet': (
        dict(type='timm', name='resnet18', channels=(8, 16, 24, 32)),
        (8, 16, 24, 32),
        (2, 2, 2, 2),
    ),
}
CASES = [(name, stages) for name in NETWORKS for stages in (1, 2, 3, 4)]


def need(config):
    """Skip if the project that the network comes from cannot be imported."""
    project = config['type'].partition('.')[0]
    if project in ('timm', 'mmpretrain'):
        try:
            __import__(project)
        except ImportError as error:
            pytest.skip(f'{project} cannot be imported: {error}')


def build(name, **options):
    """A network of the table, or of a config."""
    config = NETWORKS[name][0] if isinstance(name, str) else name
    need(config)
    options.setdefault('img_size', HW)
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        network = TruncatedBackbone(config, **options)
    for parameter in network.parameters():  # small initial values would hide what depends on them
        nn.init.normal_(parameter, std=0.2)
    return network


@MODELS.register_module()
class Clinging(nn.Module):
    """Two stages; the second is looked at even if only the first is wanted."""

    def __init__(self, out_indices, init_cfg=None):
        super().__init__()
        if max(out_indices) > 1:
            raise IndexError('two stages')
        self.out_indices = out_indices
        self.first, self.second = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 16, 2, 2)

    def forward(self, images):
        maps = [self.first(images)]
        assert self.second.weight.shape[1] == 8
        maps.append(self.second(maps[0]))
        return tuple(maps[index] for index in self.out_indices)


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmpose')


@pytest.mark.parametrize('name', NETWORKS)
def test_shapes_are_those_declared(name):
    _, widths, depths = NETWORKS[name]
    network = build(name, out_indices=(0, 1, 2, 3)).eval()
    assert network.feature_info == [FeatureInfo(width, 4 * 2**k) for k, width in enumerate(widths)]
    assert network.truncation.full_depths == depths
    with torch.no_grad():
        maps = network(torch.rand(2, 3, *HW))
    assert isinstance(maps, tuple)
    expected = [(2, width, HW[0] // 4 // 2**k, HW[1] // 4 // 2**k) for k, width in enumerate(widths)]
    assert [out.shape for out in maps] == expected
    assert all(out.is_contiguous() and out.isfinite().all() for out in maps)


@pytest.mark.parametrize(('name', 'stages'), CASES)
def test_truncation_keeps_the_numbers_and_nothing_else(name, stages):
    """The kept part computes what the full network computes, and all of its parameters take part in that."""
    full, kept = build(name, out_indices=(0, 1, 2, 3)).eval(), build(name, num_stages=stages).eval()
    weights = full.state_dict()
    kept.load_state_dict({key: weights[key] for key in kept.state_dict()})
    images = torch.rand(1, 3, *HW)
    (out,) = kept(images)
    assert torch.equal(out, full(images)[stages - 1])
    (out * torch.randn_like(out)).sum().backward()
    parameters = dict(kept.named_parameters())
    assert parameters and all(parameter.grad is not None for parameter in parameters.values())
    # the full network has more; what is not kept are whole stages and closing norms
    dropped = {key for key, _ in full.named_parameters()} - set(parameters)
    assert (stages == 4) == (not {full._stages[key.removeprefix('network.')] for key in dropped} & {stages})
    assert sum(p.numel() for p in parameters.values()) <= sum(p.numel() for p in full.parameters())


@pytest.mark.parametrize(('name', 'stages'), CASES)
def test_layers_cover_the_depth_in_order(name, stages):
    network = build(name, num_stages=stages)
    assert network.num_layers == sum(NETWORKS[name][2][:stages])
    layers = [network.layer_id(key) for key, _ in network.named_parameters()]
    blocks = set(range(1, network.num_layers + 1))
    assert blocks | {0} <= set(layers) <= blocks | {0, network.num_layers + 1}
    of_stage = {}
    for key, _ in network.named_parameters():
        of_stage.setdefault(network._stages[key.removeprefix('network.')], set()).add(network.layer_id(key))
    within = [sorted(of_stage[stage] - {network.num_layers + 1}) for stage in range(stages)]
    # the norm that closes a stage of PVT leads into the next block
    assert all(earlier[-1] <= later[0] for earlier, later in itertools.pairwise(within))
    with pytest.raises(ValueError, match='unheard_of'):
        network.layer_id('unheard_of.weight')


def test_layers_are_those_of_our_own_swin():
    """Of the two ways to number the same network one knows its names, the other does not."""
    config = dict(embed_dims=12, depths=(1, 2, 1, 1), num_heads=(1, 2, 3, 4), window_size=4)
    ours, wrapped = TruncatedSwin(config, num_stages=3), build('Swin', num_stages=3)
    expected = {f'network.{key}': ours.layer_id(key) for key, _ in ours.named_parameters()}
    assert {key: wrapped.layer_id(key) for key, _ in wrapped.named_parameters()} == expected
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in wrapped.parameters())


@pytest.mark.parametrize('name', NETWORKS)
def test_freezing(name):
    network = build(name, num_stages=3, frozen_stages=2)
    assert network.train() is network
    network(torch.rand(2, 3, *HW))[0].sum().backward()
    for key, parameter in network.named_parameters():
        stage = network._stages[key.removeprefix('network.')]
        assert (parameter.grad is None) == (stage < 2), key
    assert not any(p.requires_grad for p in build(name, num_stages=2, frozen_stages=2).parameters())
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d | nn.LayerNorm)]
    assert not norms[0].training
    assert norms[-1].training


@pytest.mark.parametrize('name', ['Swin', 'timm ConvNeXt'])
def test_builds_on_any_device_and_copies(name):
    network = build(name, num_stages=2).eval()
    with torch.device('meta'):
        other = MODELS.build(
            dict(type='TruncatedBackbone', backbone=NETWORKS[name][0], num_stages=2, img_size=HW)
        )
    assert {p.device.type for p in other.parameters()} == {'meta'}
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    assert {key: value.shape for key, value in other.state_dict().items()} == shapes
    images = torch.rand(1, 3, *HW)
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(network)(images)[0], network(images)[0])


def test_checkpointed_networks_are_seen_through():
    """Reentrant checkpoints hide what a map depends on; they stay switched on."""
    config = {**NETWORKS['ResNet'][0], 'with_cp': True}
    plain, network = build('ResNet', num_stages=3), build(config, num_stages=3)
    assert network.state_dict().keys() == plain.state_dict().keys()
    assert network.network.layer1[0].with_cp


# --- initial weights ---------------------------------------------------------------------------------------


def test_init_cfg_of_the_wrapped_network(tmp_path):
    config = NETWORKS['ResNet'][0]
    whole = MODELS.build(dict(config, out_indices=(0, 1, 2, 3)))
    for parameter in whole.parameters():
        nn.init.normal_(parameter)
    path = str(tmp_path / 'resnet.pth')
    torch.save(dict(state_dict=whole.state_dict()), path)
    network = TruncatedBackbone(
        config, num_stages=2, img_size=HW, init_cfg=dict(type='Pretrained', checkpoint=path)
    )
    network.init_weights()
    state = whole.state_dict()
    assert network.network.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in network.network.state_dict().items())


def test_timm_loads_a_file_of_the_whole_network(tmp_path):
    config = NETWORKS['timm ConvNeXt'][0]
    need(config)
    import timm

    options = {key: value for key, value in config.items() if key not in ('type', 'name')}
    whole = timm.create_model(config['name'], **options).eval()
    for parameter in whole.parameters():
        nn.init.normal_(parameter, std=0.2)
    path = str(tmp_path / 'convnext.pth')
    torch.save(dict(state_dict=whole.state_dict()), path)
    init = dict(type='Pretrained', checkpoint=path)
    network = TruncatedBackbone(config, num_stages=3, img_size=HW, init_cfg=init).eval()
    network.init_weights()
    images = torch.rand(1, 3, *HW)
    with torch.no_grad():
        expected = whole.stages[:3](whole.stem(images))
        assert (network(images)[0] - expected).abs().max() < 1e-5
    torch.save({'some.weight': torch.zeros(1)}, path)
    with pytest.raises(ValueError, match='is not of timm convnext_atto'):
        network.init_weights()


# --- bad input ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('config', 'options', 'message'),
    [
        (dict(depth=18), {}, 'must be a dict with a type'),
        (
            dict(type='ResNet', depth=18, out_indices=(1,)),
            {},
            'out_indices must be given to TruncatedBackbone',
        ),
        (dict(type='ResNet', depth=18, base_channels=8), dict(num_stages=5), 'num_stages must be 1 to 4'),
        (dict(type='ResNet', depth=18, base_channels=8), dict(out_indices=(4,)), 'stages 0 to 3'),
        (dict(type='ResNet', depth=18, base_channels=8), dict(frozen_stages=0), 'use -1 or 1'),
        (dict(type='HourglassNet'), {}, 'HourglassNet cannot be built with out_indices'),
        (
            dict(type='ViT', arch=dict(embed_dims=8, num_layers=2, num_heads=2)),
            {},
            'ViT is not hierarchical: its maps have the strides',
        ),
        (
            dict(type='mmpretrain.ConvNeXt', arch=dict(depths=[1] * 4, channels=[8] * 4)),
            {},
            r'returns \(1, 8\) where a map',
        ),
        (
            dict(type='mmpretrain.SwinTransformer', arch='tiny'),
            {},
            r'does not run on images of \(64, 64\).*window',
        ),
        (dict(type='timm', name='convnext_zero'), {}, "timm has no model 'convnext_zero'"),
        (dict(type='timm', name='hrnet_w18_small'), dict(num_stages=2), 'hierarchical: its map 1 needs'),
        (dict(type='Clinging'), dict(num_stages=1), 'Clinging does not run without second, which'),
        (
            dict(type='timm', name='resnet18'),
            dict(init_cfg=dict(type='Kaiming')),
            'init_cfg of a network of timm',
        ),
    ],
)
def test_what_cannot_be_truncated_is_named(config, options, message):
    need({'type': '', **config})
    with pytest.raises(ValueError, match=message):
        TruncatedBackbone(config, img_size=HW, **options)


def test_bad_images_are_named():
    network = build('ResNet', num_stages=2)
    with pytest.raises(ValueError, match=r'expected images \(B, 3, height, width\)'):
        network(torch.zeros(1, 4, *HW))
