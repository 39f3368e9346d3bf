"""Parameters and multiply-adds: small networks by hand, the whole family against the papers' graphs."""

import pytest
import torch
from torch import nn

from mmhier.cost.macs import build_model, cost_of, count_macs, count_parameters
from mmhier.models.heads.hmr2_head import HMR2Head
from mmhier.zoo.names import find_configs

# Encoders at 256 x 192, counted in the official code: parameters, 10^9 multiply-adds after S2, S3, S4.
HIERARCHIES = {
    'swinpose_t': ((1_196_226, 12_152_010, 27_519_354), (1.620, 4.142, 5.129)),
    'swinpose_s': ((1_196_226, 33_469_914, 48_837_258), (1.620, 9.074, 10.061)),
    'swinpose_b': ((2_119_256, 59_437_688, 86_743_224), (2.829, 15.992, 17.739)),
    'gmfpose_t': ((1_687_008, 7_768_368, 10_707_672), (2.252, 3.464, 3.610)),
    'gmfpose_s': ((1_518_848, 16_888_352, 22_099_680), (1.712, 4.769, 5.028)),
    'gmfpose_b': ((6_955_568, 22_351_392, 45_345_312), (12.867, 15.930, 17.072)),
    'vmpose_t': ((1_200_384, 14_374_272, 29_478_528), (1.475 + 0.035, 3.990 + 0.059, 4.714 + 0.062)),
    'vmpose_s': ((1_448_640, 31_276_224, 49_377_216), (1.773 + 0.071, 7.459 + 0.159, 8.325 + 0.165)),
    'vmpose_b': ((2_556_160, 55_400_704, 87_530_752), (3.132 + 0.094, 13.223 + 0.212, 14.761 + 0.220)),
}
# ViTPose has one row of positions more, the class token's, which is folded into the others here.
VITS = {
    's': (21_663_744 - 384, 4.473),
    'b': (85_794_816 - 768, 17.10),
    'l': (303_296_512 - 1024, 59.945),
    'h': (630_912_000 - 1280, 124.005),
}
DECODERS = {  # classic, simple: parameters, 10^9 multiply-adds
    's': ((2_626_833, 1.121), (58_769, 0.180)),
    'b': ((4_199_697, 1.423), (117_521, 0.361)),
    'l': ((5_248_273, 1.624), (156_689, 0.481)),
    'h': ((6_296_849, 1.825), (195_857, 0.602)),
}


def cost(name):
    (path,) = find_configs([name])
    return cost_of(path)


@pytest.mark.parametrize('stages', [2, 3, 4])
@pytest.mark.parametrize('model', HIERARCHIES)
def test_hierarchies_cost_what_is_published(model, stages):
    params, macs = HIERARCHIES[model]
    found = cost(f'{model}_s{stages}_coco')
    assert found.encoder_params == params[stages - 2]
    # the table has three decimals, the scan's share three of its own
    assert found.encoder_macs / 1e9 == pytest.approx(macs[stages - 2], abs=1.1e-3)
    assert found.params > found.encoder_params and found.macs > found.encoder_macs
    assert found.input_wh == (192, 256)


@pytest.mark.parametrize('decoder', ['', '_simple'])
@pytest.mark.parametrize('size', VITS)
def test_vitpose_costs_what_is_published(size, decoder):
    params, macs = VITS[size]
    decoder_params, decoder_macs = DECODERS[size][bool(decoder)]
    found = cost(f'vitpose_{size}{decoder}_coco')
    assert (found.encoder_params, found.params) == (params, params + decoder_params)
    assert found.encoder_macs / 1e9 == pytest.approx(macs, abs=6e-3)
    assert (found.macs - found.encoder_macs) / 1e9 == pytest.approx(decoder_macs, abs=1e-3)


def test_multiply_adds_by_hand():
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, groups=1), nn.Flatten(2), nn.Linear(20, 5))
    x = torch.zeros(2, 3, 4, 5)
    assert count_macs(network, lambda: network(x)) == 2 * (20 * 8 * 3 * 9) + 2 * 8 * 20 * 5
    assert count_parameters(network) == 8 * 28 + 5 * 21


def test_attention_is_counted():
    q = torch.zeros(1, 2, 7, 4, device='meta')
    macs = count_macs(nn.Identity(), lambda: nn.functional.scaled_dot_product_attention(q, q, q))
    assert macs == 2 * (2 * 7 * 7 * 4)


def test_a_module_adds_what_it_knows_of():
    class Scan(nn.Linear):
        def uncounted_macs(self, x):
            return 1000 * len(x)

    network = nn.Sequential(Scan(3, 2), nn.Linear(2, 2))
    assert count_macs(network, lambda: network(torch.zeros(4, 3))) == 4 * (3 * 2 + 2 * 2) + 4000
    assert not network[0]._forward_hooks


def test_building_needs_no_download_and_computes():
    (path,) = find_configs(['swinpose_micro_s3_synth'])
    model, (width, height) = build_model(path)
    with torch.inference_mode():
        heatmaps = model(torch.zeros(1, 3, height, width), None, mode='tensor')
    assert heatmaps.shape == (1, 17, height // 4, width // 4)


def test_mesh_decoder_costs_what_the_official_graph_does():
    """By hand, for one body: keys and values of every place, self-attention of one token."""
    dims, inner, channels, places, hidden = 24, 12, 10, 12, 20
    arch = dict(embed_dims=dims, num_layers=2, num_heads=3, head_dims=4, feedforward_channels=hidden)
    head = HMR2Head(channels, arch).to('meta')
    layer = dims * 3 * inner + 2 * inner + inner * dims
    layer += dims * inner + 2 * channels * inner * places + 2 * inner * places + inner * dims
    layer += 2 * dims * hidden
    maps = torch.empty(1, channels, 4, 3, device='meta')
    assert count_macs(head, lambda: head(maps)) == dims + 2 * layer + dims * (144 + 10 + 3)


def test_mesh_models():
    found, pose = (cost_of(find_configs([name])[0]) for name in ('gmfhmr2_s_s3_mixed', 'gmfpose_s_s3_coco'))
    assert (found.encoder_params, found.encoder_macs) == (pose.encoder_params, pose.encoder_macs)
    assert found.params == found.encoder_params + 2_280_989  # no discriminator
    assert found.has_mesh and not pose.has_mesh
    assert (found.reported_pa_mpjpe, found.reported_ap) == (35.4, None)
    micro = cost_of(find_configs(['swinhmr2_micro_s3_synth'], task='hmr')[0])
    assert micro.input_wh == (96, 128)
