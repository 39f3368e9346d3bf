"""Crops are shrunk by whole factors, and nothing else changes."""

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmpose.registry import MODELS

from mmhier.testing.mesh_samples import random_mesh_samples

SETTINGS = dict(mean=[10.0, 20.0, 30.0], std=[2.0, 2.0, 2.0], bgr_to_rgb=True)


def test_pixels_are_means_of_squares():
    data = pseudo_collate(random_mesh_samples(2, input_size_wh=(48, 64)))
    plain = MODELS.build(dict(type='mmpose.PoseDataPreprocessor', **SETTINGS))(data)
    small = MODELS.build(dict(type='mmpose.MeshDataPreprocessor', shrink=2, **SETTINGS))(data)
    assert small['inputs'].shape == (2, 3, 32, 24)
    torch.testing.assert_close(small['inputs'][1, 2, 5, 7], plain['inputs'][1, 2, 10:12, 14:16].mean())
    assert small['data_samples'][1].sample_key == 'synth 1'


@pytest.mark.parametrize('shrink', [0, 5])
def test_errors_name_the_value(shrink):
    data = pseudo_collate(random_mesh_samples(1, input_size_wh=(48, 64)))
    with pytest.raises(ValueError, match=f'shrink.*{shrink}'):
        MODELS.build(dict(type='mmpose.MeshDataPreprocessor', shrink=shrink, **SETTINGS))(data)
