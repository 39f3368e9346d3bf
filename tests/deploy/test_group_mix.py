"""The form for export of a GroupMixFormer computes what the network computes."""

import pytest
import torch
from mmpose.registry import MODELS

import mmhier.models  # noqa: F401
from mmhier.deploy.group_mix import ExportedGMF, prepare_group_mix

SMALL = dict(embed_dims=[20, 40, 60], depths=[2, 1, 2], mlp_ratios=[2, 4, 2])


@pytest.mark.parametrize('size_hw', [(64, 48), (67, 41)])
def test_same_maps(size_hw):
    network = MODELS.build(dict(type='TruncatedGMF', arch=SMALL, out_indices=(0, 1, 2)))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as after training
            module.running_mean.normal_(std=0.2)
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
    network.eval()
    images = torch.randn(2, 3, *size_hw)
    with torch.no_grad():
        expected = network(images)
        network.fuse_for_inference()
        prepare_group_mix(network)
        found = network(images)
    assert isinstance(network, ExportedGMF) and len(found) == 3
    for index in range(3):
        assert expected[index].abs().max() > 0.1
        torch.testing.assert_close(found[index], expected[index], rtol=1e-4, atol=1e-5)
