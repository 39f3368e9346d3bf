"""ResolutionNeck: shapes, parameters, and what it refuses."""

import pytest
import torch
from mmpose.registry import MODELS

from mmhier.models.necks.resolution_neck import ResolutionNeck

# stage -> (in_channels, in_stride, parameters to reach 384 channels at 1/16)
SWIN_S = {
    1: (96, 4, 4 * 4 * 96 * 384 + 384),
    2: (192, 8, 2 * 2 * 192 * 384 + 384),
    3: (384, 16, 0),
    4: (768, 32, 2 * 2 * 768 * 384 + 384),
}


@pytest.mark.parametrize('stage', sorted(SWIN_S))
def test_every_truncation_reaches_the_geometry_of_stage_3(stage):
    channels, stride, parameters = SWIN_S[stage]
    neck = MODELS.build(dict(type='ResolutionNeck', in_channels=channels, in_stride=stride, out_channels=384))
    unused, last = torch.randn(1, 5, 9, 9), torch.randn(2, channels, 256 // stride, 192 // stride)
    (out,) = neck((unused, last))
    assert out.shape == (2, 384, 16, 12)
    assert sum(p.numel() for p in neck.parameters()) == parameters
    if not parameters:
        assert out is last


@pytest.mark.parametrize('kernel', [2, 3])
@pytest.mark.parametrize(('stride', 'shape'), [(4, (3, 2)), (8, (5, 4)), (16, (9, 7)), (32, (18, 14))])
def test_odd_maps(stride, shape, kernel):
    neck = ResolutionNeck(6, stride, 10, kernel_size=kernel)
    (out,) = neck((torch.randn(2, 6, 9, 7),))
    assert out.shape == (2, 10, *shape)


def test_other_width_at_the_right_stride_is_a_pointwise_layer():
    neck = ResolutionNeck(6, 16, 10)
    assert neck.layer.kernel_size == (1, 1)
    assert neck((torch.randn(1, 6, 4, 3),))[0].shape == (1, 10, 4, 3)


def test_other_target_stride():
    assert ResolutionNeck(4, 32, 4, out_stride=8)((torch.randn(1, 4, 2, 3),))[0].shape == (1, 4, 8, 12)


@pytest.mark.parametrize('stride', [4, 8, 32])
@pytest.mark.parametrize('kernel', [2, 3])
def test_every_input_reaches_the_output(stride, kernel):
    neck = ResolutionNeck(2, stride, 3, kernel_size=kernel)
    x = torch.randn(1, 2, 7, 5, requires_grad=True)
    neck((x,))[0].sum().backward()
    assert x.grad.abs().sum(1).gt(0).all()
    assert all(p.grad is not None and p.grad.any() for p in neck.parameters())


@pytest.mark.parametrize('kernel', [2, 3])
def test_up_and_down_are_adjoint_in_position(kernel):
    """A single pixel stays where it is: the strided layers look at the place they came from."""
    up = ResolutionNeck(1, 32, 1, kernel_size=kernel)
    torch.nn.init.ones_(up.layer.weight)
    torch.nn.init.zeros_(up.layer.bias)
    x = torch.zeros(1, 1, 6, 6)
    x[0, 0, 2, 4] = 1
    assert up((x,))[0][0, 0, 4:6, 8:10].sum() == 4


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(in_stride=12), '12'),
        (dict(in_stride=0), 'in_stride 0'),
        (dict(in_stride=8, kernel_size=4), 'kernel_size must be 2 or 3'),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        ResolutionNeck(**{'in_channels': 4, 'out_channels': 4, **options})


def test_wrong_encoder_is_named():
    with pytest.raises(ValueError, match='4 channels, the encoder gives 5'):
        ResolutionNeck(4, 8, 4)((torch.zeros(1, 5, 4, 4),))
