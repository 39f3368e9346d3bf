"""The functions that mmpretrain takes from ``torchvision.ops.boxes``.

Two modules of mmpretrain 1.2 import it at their top, and with them all of its backbones do. Unnecessary where
torchvision is installed and matches torch.

Boxes are corners x1, y1, x2, y2; N and M are numbers of boxes.
"""

import torch
from torch import Tensor


def _upcast(values: Tensor) -> Tensor:
    """Widen numbers in which products of box sides could overflow."""
    if values.is_floating_point():
        return values if values.dtype in (torch.float32, torch.float64) else values.float()
    return values if values.dtype in (torch.int32, torch.int64) else values.int()


def _area(sides: Tensor) -> Tensor:
    """Areas (...) of boxes with sides (..., 2); none where a side is negative."""
    width, height = _upcast(sides).clamp(min=0).unbind(-1)
    return width * height


def box_area(boxes: Tensor) -> Tensor:
    """Areas (N,) of boxes (N, 4)."""
    return _area(boxes[:, 2:] - boxes[:, :2])


def _shared_and_joint(boxes1: Tensor, boxes2: Tensor) -> tuple[Tensor, Tensor]:
    """Areas (N, M) of the intersections and unions of all pairs."""
    start = torch.maximum(boxes1[:, None, :2], boxes2[:, :2])
    end = torch.minimum(boxes1[:, None, 2:], boxes2[:, 2:])
    shared = _area(end - start)
    return shared, box_area(boxes1)[:, None] + box_area(boxes2) - shared


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union (N, M) of all pairs of boxes (N, 4) and (M, 4)."""
    shared, joint = _shared_and_joint(boxes1, boxes2)
    return shared / joint


def generalized_box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union, less the share of the pair's common hull that neither covers, (N, M)."""
    shared, joint = _shared_and_joint(boxes1, boxes2)
    start = torch.minimum(boxes1[:, None, :2], boxes2[:, :2])
    end = torch.maximum(boxes1[:, None, 2:], boxes2[:, 2:])
    hull = _area(end - start)
    return shared / joint - (hull - joint) / hull
