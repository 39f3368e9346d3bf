"""The one transform of torchvision that MMPose uses."""

import numpy as np
import pytest
import torch

from mmhier.compat.shims.torchvision_transforms import ToPILImage

PICTURES = {
    'floats': torch.linspace(0, 1, 24).reshape(3, 2, 4),
    'grey floats': torch.linspace(0, 1, 8).reshape(1, 2, 4),
    'plane': torch.linspace(0, 1, 8).reshape(2, 4),
    'bytes': torch.arange(24, dtype=torch.uint8).reshape(3, 2, 4),
    'array': np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
    'grey array': np.arange(8, dtype=np.uint8).reshape(2, 4, 1),
}


@pytest.mark.parametrize('name', PICTURES)
def test_equals_torchvision(name):
    try:
        from torchvision import transforms
    except (ImportError, RuntimeError):
        pytest.skip('torchvision is absent or broken')
    ours, reference = ToPILImage()(PICTURES[name]), transforms.ToPILImage()(PICTURES[name])
    assert ours.mode == reference.mode and ours.tobytes() == reference.tobytes()


def test_hand_checked():
    image = ToPILImage()(torch.tensor([[[0.0, 1.0]], [[0.5, 0.0]], [[1.0, 0.0]]]))
    assert image.mode == 'RGB' and image.size == (2, 1)
    assert [image.getpixel((x, 0)) for x in range(2)] == [(0, 127, 255), (255, 0, 0)]
    assert ToPILImage('L')(torch.ones(2, 3)).mode == 'L'
