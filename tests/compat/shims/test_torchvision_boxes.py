"""The functions on boxes that mmpretrain uses."""

import pytest
import torch

from mmhier.compat.shims import torchvision_boxes

NAMES = ['box_area', 'box_iou', 'generalized_box_iou']


def some_boxes(dtype: torch.dtype) -> list[torch.Tensor]:
    starts = [torch.randint(0, 50, (count, 2)) for count in (6, 4)]
    return [
        torch.cat([start, start + torch.randint(1, 50, start.shape)], dim=1).to(dtype) for start in starts
    ]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.int64, torch.uint8])
@pytest.mark.parametrize('name', NAMES)
def test_equals_torchvision(name, dtype):
    try:
        from torchvision.ops import boxes as reference
    except (ImportError, RuntimeError):
        pytest.skip('torchvision is absent or broken')
    inputs = some_boxes(dtype)[: 1 if name == 'box_area' else 2]
    ours, theirs = getattr(torchvision_boxes, name)(*inputs), getattr(reference, name)(*inputs)
    assert ours.dtype == theirs.dtype
    torch.testing.assert_close(ours, theirs)


def test_hand_checked():
    """2 x 2 and 2 x 2 shifted by one: intersection 1, union 7, hull 9."""
    a, b = torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([[1.0, 1, 3, 3], [2, 0, 4, 2]])
    assert torchvision_boxes.box_area(a).tolist() == [4]
    torch.testing.assert_close(torchvision_boxes.box_iou(a, b), torch.tensor([[1 / 7, 0]]))
    torch.testing.assert_close(
        torchvision_boxes.generalized_box_iou(a, b), torch.tensor([[1 / 7 - 2 / 9, 0]])
    )
