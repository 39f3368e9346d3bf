"""A decoder, and an expert, taken out of a model for many data sets."""

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmhier.convert import convert_whole_model
from mmhier.convert.vit import fit_vit
from mmhier.models.backbones.truncated_swin import TruncatedSwin
from mmhier.models.backbones.vit import ViT

JOINTS = dict(coco=17, lsp=14)
VIT = dict(type='ViT', **ViT.small)
SWIN = dict(type='TruncatedSwin', **TruncatedSwin.small, num_stages=3)


def build(backbone, head, many=False):
    init_default_scope('mmpose')
    torch.manual_seed(1)
    kind = 'ManyDatasetsEstimator' if many else 'TopdownPoseEstimator'
    model = MODELS.build(dict(type=kind, backbone=backbone, head=head)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


def common_of(backbone):
    channels = MODELS.build(backbone).feature_info[-1].channels
    return dict(type='HeatmapHead', in_channels=channels, deconv_out_channels=None)


def many(backbone):
    heads = {name: dict(out_channels=count) for name, count in JOINTS.items()}
    head = dict(type='DataSetHeads', heads=heads, common=common_of(backbone))
    return build(dict(backbone, experts=tuple(JOINTS)) if backbone is VIT else backbone, head, many=True)


@pytest.mark.parametrize('backbone', [VIT, SWIN], ids=['ViT', 'TruncatedSwin'])
def test_what_is_taken_out_gives_the_same_heatmaps(backbone):
    whole, images = many(backbone), torch.randn(2, 3, 64, 64)
    for name, count in JOINTS.items():
        found = convert_whole_model(whole.state_dict(), name)
        single = build(backbone, dict(common_of(backbone), out_channels=count))
        single.load_state_dict(found.state_dict)
        with torch.no_grad():
            feats = whole.backbone(images, [name] * 2) if backbone is VIT else whole.backbone(images)
            expected = whole.head.heads[name](feats)
            assert expected.shape[1] == count
            assert torch.equal(single.head(single.backbone(images)), expected)
        assert 'decoder of another data set' in found.dropped.values()


def test_a_data_set_without_decoder_is_named():
    state = many(VIT).state_dict()
    for name in ('mpii', None, 'all'):
        with pytest.raises(ValueError, match=f'a.pth has decoders for coco, lsp: choose one .*got {name!r}'):
            convert_whole_model(state, name, 'a.pth')


def test_an_expert_of_ours_starts_an_encoder():
    """``init_cfg`` of a plain ViT with the checkpoint of a run and the name of a data set."""
    whole, plain = many(VIT), ViT(**ViT.small)
    weights, _ = fit_vit(whole.state_dict(), plain.state_dict(), plain.map_hw, 'backbone.', 'lsp')
    expert = whole.backbone.layers[0].ffn['experts']['lsp']
    assert torch.equal(weights['layers.0.ffn.layers.1.bias'][-expert.out_features :], expert.bias)
    with pytest.raises(ValueError, match="no expert for 'mpii', only for coco, lsp"):
        fit_vit(whole.state_dict(), plain.state_dict(), plain.map_hw, 'backbone.', 'mpii')
