"""The stand-in for mmcv's compiled part: what it can do is right, what it cannot do says so when called."""

import math

import numpy as np
import pytest
import torch

from mmhier.compat.shims import mmcv_ext


@pytest.fixture(params=['torch', 'torchvision'])
def backend(request, monkeypatch):
    """Do without torchvision, and with it where it works."""
    if request.param == 'torch':
        monkeypatch.setattr(mmcv_ext, '_torchvision', lambda: None)
    elif mmcv_ext._torchvision() is None:
        pytest.skip('torchvision is absent or broken')
    return request.param


def needs_stand_in() -> None:
    import mmcv._ext

    if mmcv._ext.__file__ != mmcv_ext.__file__:
        pytest.skip('full mmcv is installed')


def test_nms_hand_checked(backend):
    """Boxes 0 and 1 overlap by 8/12; 2 stands apart; scores rise."""
    boxes = torch.tensor([[0.0, 0, 10, 1], [2, 0, 12, 1], [50, 0, 60, 1]])
    scores = torch.tensor([0.1, 0.2, 0.3])
    assert mmcv_ext.nms(boxes, scores, 0.6, 0).tolist() == [2, 1]
    assert mmcv_ext.nms(boxes, scores, 0.7, 0).tolist() == [2, 1, 0]
    assert mmcv_ext.nms(boxes[:0], scores[:0], 0.7, 0).tolist() == []
    # as pixels (offset 1) the widths are 11 and 2, the overlap 9 / 13 = 0.692
    assert mmcv_ext.nms(boxes, scores, 0.69, 1).tolist() == [2, 1]
    assert mmcv_ext.nms(boxes, scores, 0.68, 0).tolist() == [2, 1, 0]


def test_nms_through_mmcv(backend):
    """mmcv's own example, and a comparison of the two implementations on many boxes."""
    from mmcv.ops import batched_nms, nms

    needs_stand_in()
    boxes = [[49.1, 32.4, 51.0, 35.9], [49.3, 32.9, 51.0, 35.3], [49.2, 31.8, 51.0, 35.4]]
    boxes += [
        [35.1, 11.5, 39.1, 15.7],
        [35.6, 11.8, 39.3, 14.2],
        [35.3, 11.5, 39.9, 14.5],
        [35.2, 11.7, 39.7, 15.7],
    ]
    scores = np.array([0.9, 0.9, 0.5, 0.5, 0.5, 0.4, 0.3], dtype=np.float32)
    detections, kept = nms(np.array(boxes, dtype=np.float32), scores, 0.6)
    assert len(detections) == len(kept) == 3
    corner = torch.rand(200, 2) * 100
    many = torch.cat([corner, corner + torch.rand(200, 2) * 40], dim=1)
    kept = batched_nms(
        many, torch.rand(200), torch.randint(0, 2, (200,)), dict(type='nms', iou_threshold=0.5)
    )[1]
    assert 10 < len(kept) < 200


def test_both_backends_agree(monkeypatch):
    if mmcv_ext._torchvision() is None:
        pytest.skip('torchvision is absent or broken')
    corner = torch.rand(300, 2) * 100
    boxes, scores = torch.cat([corner, corner + torch.rand(300, 2) * 40], dim=1), torch.rand(300)
    with_torchvision = mmcv_ext.nms(boxes, scores, 0.5, 0)
    monkeypatch.setattr(mmcv_ext, '_torchvision', lambda: None)
    assert mmcv_ext.nms(boxes, scores, 0.5, 0).tolist() == with_torchvision.tolist()


@pytest.mark.parametrize(
    ('method', 'second'),
    [('naive', None), ('linear', 0.5 * (1 - 2 / 3)), ('gaussian', 0.5 * math.exp(-((2 / 3) ** 2) / 0.5))],
)
def test_soft_nms_hand_checked(method, second):
    """The second box overlaps the first by 2/3; its score falls to the given one."""
    from mmcv.ops import soft_nms

    needs_stand_in()
    boxes = torch.tensor([[2.0, 0, 12, 1], [0, 0, 10, 1], [50, 0, 60, 1]])
    scores = torch.tensor([0.5, 0.9, 0.4])
    detections, kept = soft_nms(boxes, scores, 0.3, 0.5, 0.01, method)
    expected = {1: 0.9, 2: 0.4} | ({} if second is None else {0: second})
    assert sorted(kept.tolist()) == sorted(expected)
    for row, index in zip(detections, kept.tolist()):
        assert torch.equal(row[:4], boxes[index])
        assert row[4].item() == pytest.approx(expected[index])


def test_roi_align_through_mmcv():
    from mmcv.ops import RoIAlign

    needs_stand_in()
    image = torch.arange(16.0).reshape(1, 1, 4, 4).requires_grad_()
    rois = torch.tensor([[0.0, 0, 0, 4, 4]])
    pool = RoIAlign((2, 2), sampling_ratio=2, pool_mode='avg', aligned=True)
    if mmcv_ext._torchvision() is None:
        with pytest.raises(NotImplementedError, match='pip install torchvision'):
            pool(image, rois)
        return
    pooled = pool(image, rois)
    torch.testing.assert_close(pooled, torch.tensor([[[[2.5, 4.5], [10.5, 12.5]]]]))
    pooled.sum().backward()
    assert image.grad.sum() == pytest.approx(4)
    with pytest.raises(NotImplementedError, match='roi_align_forward'):
        RoIAlign((2, 2), pool_mode='max')(image, rois)


def test_deformable_attention_gradients():
    """The pair that GPUs use equals what autograd makes of mmcv's own formula."""
    from mmcv.ops.multi_scale_deform_attn import (
        MultiScaleDeformableAttnFunction,
        multi_scale_deformable_attn_pytorch,
    )

    needs_stand_in()
    shapes = torch.tensor([[4, 3], [2, 2]])
    start = torch.tensor([0, 12])
    inputs = [torch.rand(2, 16, 2, 4), torch.rand(2, 5, 2, 2, 3, 2), torch.rand(2, 5, 2, 2, 3)]
    results = []
    for through_pair in (True, False):
        value, locations, weights = (tensor.clone().double().requires_grad_() for tensor in inputs)
        if through_pair:
            output = MultiScaleDeformableAttnFunction.apply(value, shapes, start, locations, weights, 64)
        else:
            output = multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
        output.square().sum().backward()
        results.append([output, value.grad, locations.grad, weights.grad])
    for pair, plain in zip(*results):
        assert pair.abs().sum() > 0
        torch.testing.assert_close(pair, plain)


def test_other_operations_name_themselves_when_called():
    from mmcv.ops import DeformConv2d

    needs_stand_in()
    layer = DeformConv2d(1, 1, 3, padding=1)
    with pytest.raises(NotImplementedError, match=r"'deform_conv_forward' needs the compiled part of mmcv"):
        layer(torch.ones(1, 1, 4, 4), torch.zeros(1, 18, 4, 4))
    with pytest.raises(AttributeError):
        mmcv_ext.__wrapped__  # noqa: B018


def test_environment_report():
    from mmengine.utils.dl_utils import collect_env

    assert collect_env()['PyTorch'] == torch.__version__
    needs_stand_in()
    from mmcv.ops import get_compiler_version, get_compiling_cuda_version

    assert 'mmcv-lite' in get_compiler_version() and 'mmcv-lite' in get_compiling_cuda_version()
