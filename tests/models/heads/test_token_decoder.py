"""TokenDecoder: HMR2.0's layers with many queries."""

import runpy
from pathlib import Path

import pytest
import torch
from mmpose.registry import MODELS

from mmhier.models.backbones.truncated_gmf import TruncatedGMF
from mmhier.models.backbones.truncated_swin import TruncatedSwin
from mmhier.models.backbones.truncated_vmamba import TruncatedVMamba
from mmhier.models.heads.hmr2_head import DecoderLayer, sine_positions
from mmhier.models.heads.smplerx_head import SMPLerXHead
from mmhier.models.heads.token_decoder import TokenDecoder
from mmhier.models.necks.resolution_neck import ResolutionNeck

REFERENCE = runpy.run_path(str(Path(__file__).parents[2] / 'reference' / 'hmr2_head.py'))
MICRO = dict(embed_dims=24, num_layers=2, num_heads=3, head_dims=4, feedforward_channels=20)


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    decoder = TokenDecoder(12, MICRO, num_tokens=5).double().eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return decoder


def attend(query, key, value):
    return REFERENCE['attention'](query, key, value, MICRO['num_heads'])


def plain(decoder, one_map):
    """Tokens (T, C) of a map (C, h, w), with the plain functions of the reference."""
    norm, dense = REFERENCE['norm'], REFERENCE['dense']
    context = one_map + sine_positions(12, one_map.shape[1:]).double()
    context = context.flatten(1).t()
    x = decoder.queries[0]
    for layer in decoder.layers:
        state = layer.state_dict()
        query, key, value = (norm(state, 'norm1', x) @ state['self_attn.qkv.weight'].t()).chunk(3, 1)
        x = x + dense(state, 'self_attn.proj', attend(query, key, value))
        query = norm(state, 'norm2', x) @ state['cross_attn.q.weight'].t()
        key, value = (context @ state['cross_attn.kv.weight'].t()).chunk(2, 1)
        x = x + dense(state, 'cross_attn.proj', attend(query, key, value))
        hidden = torch.nn.functional.gelu(dense(state, 'ffn.fc1', norm(state, 'norm3', x)))
        x = x + dense(state, 'ffn.fc2', hidden)
    state = decoder.state_dict()
    return norm(state, 'norm', dense(state, 'proj', x))


def test_equals_plain_reference(decoder):
    maps = torch.randn(3, 12, 4, 3, dtype=torch.float64)
    found = decoder(maps)
    for tokens, one_map in zip(found, maps, strict=True):
        torch.testing.assert_close(tokens, plain(decoder, one_map), rtol=0, atol=1e-10)
    assert found.shape == (3, 5, 12) and found.std(dim=1).min() > 1e-3


def test_one_query_is_that_of_hmr2():
    """The layers of HMR2.0 give a token alone what they give a sequence of one."""
    torch.manual_seed(0)
    layer = DecoderLayer(24, 10, 3, 4, 20).double()
    token, context = torch.randn(2, 24, dtype=torch.float64), torch.randn(2, 10, 12, dtype=torch.float64)
    alone, sequence = layer(token, context), layer(token[:, None], context)
    torch.testing.assert_close(alone, sequence[:, 0], rtol=0, atol=1e-12)


def test_every_parameter_is_trained(decoder):
    decoder(torch.randn(2, 12, 4, 3, dtype=torch.float64)).square().sum().backward()
    parameters = dict(decoder.named_parameters())
    assert [name for name, value in parameters.items() if value.grad is None or not value.grad.any()] == []


@pytest.mark.parametrize(
    ('encoder', 'num_stages'),
    [(TruncatedSwin, 2), (TruncatedSwin, 3), (TruncatedGMF, 3), (TruncatedVMamba, 3)],
)
def test_truncated_encoders_give_whole_bodies(encoder, num_stages):
    """Encoder, neck and head fit, and every part is trained."""
    torch.manual_seed(0)
    backbone = encoder(**encoder.small, num_stages=num_stages)
    info = backbone.feature_info[-1]
    neck = ResolutionNeck(info.channels, info.stride, 32)
    tokens = dict(type='TokenDecoder', arch=MICRO)
    head = MODELS.build(dict(type='SMPLerXHead', in_channels=32, tokens=tokens))
    found = head(neck(backbone(torch.randn(2, 3, 256, 192))))
    assert found.pose.shape == (2, 159) and found.points.shape == (2, 65, 3)
    sum(value.square().mean() for value in found if value.requires_grad).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())
    assert any(value.grad.any() for value in backbone.parameters() if value.grad is not None)


def test_wrong_settings_and_maps_are_refused(decoder):
    with pytest.raises(ValueError, match=r'built for maps \(B, 12, h, w\), the neck gives \(1, 8, 4, 3\)'):
        decoder(torch.zeros(1, 8, 4, 3))
    with pytest.raises(ValueError, match='divisible by 4'):
        TokenDecoder(10)
    with pytest.raises(ValueError, match='num_tokens must be at least 1'):
        TokenDecoder(12, num_tokens=0)
    with pytest.raises(ValueError, match=r'expected a map \(B, 16, 16, 12\)'):
        SMPLerXHead(16, tokens=dict(type='TokenDecoder', arch=MICRO))(torch.zeros(1, 16, 8, 6))
