"""RoIAlign of one box per image, as two small matrix products.

He et al., Mask R-CNN, ICCV 2017; the numbers are those of MMCV's and torchvision's operator with
``sampling_ratio=0``, average pooling and ``aligned=False``. Its samples stand in rows and columns and their
interpolation is separable, so that the weights of rows and of columns are two matrices: no operator of its
own, differentiable with respect to the map, and any runtime can run it.

Letters: B batch, C channels, H and W size of the map, P bins along a side, S samples along a bin.

Convention:
    Boxes in units of the map's cells, x right and y down; the centre of cell (r, c) is at (c, r), as
    ``aligned=False`` has it. A box narrower than one cell counts as one cell wide. A sample further than one
    cell outside of the map is zero, others outside have the value at the edge.
"""

import torch
from torch import Tensor

# A bin has ceil(box / P) samples along a side, at most this many.
MAX_SAMPLES = 16


def roi_align(maps: Tensor, boxes: Tensor, bins: int) -> Tensor:
    """Cut a box out of each map and resample it.

    Args:
        maps: (B, C, H, W).
        boxes: (B, 4), x0, y0, x1, y1. No gradient reaches them.
        bins: P.

    Returns:
        (B, C, P, P).
    """
    boxes = boxes.detach().to(maps.dtype)
    rows = bin_weights(boxes[:, 1], boxes[:, 3], maps.shape[2], bins)
    columns = bin_weights(boxes[:, 0], boxes[:, 2], maps.shape[3], bins)
    return rows[:, None] @ maps @ columns[:, None].transpose(2, 3)


def bin_weights(start: Tensor, end: Tensor, size: int, bins: int) -> Tensor:
    """What each cell along one side counts in each bin.

    Args:
        start: (B,) where the box begins.
        end: (B,) where it ends.
        size: Cells of the map along this side.
        bins: P.

    Returns:
        (B, P, size); rows sum to at most one.
    """
    length = (end - start).clamp(min=1.0)
    count = torch.ceil(length / bins).clamp(1.0, MAX_SAMPLES)
    step = torch.arange(MAX_SAMPLES, dtype=start.dtype, device=start.device)
    used = step < count[:, None]  # (B, S)
    offset = torch.arange(bins, dtype=start.dtype, device=start.device)[:, None]
    share = offset + ((step + 0.5) / count[:, None])[:, None]  # (B, P, S) bins from the start
    place = start[:, None, None] + share * (length / bins)[:, None, None]
    used = used[:, None] & (place >= -1.0) & (place <= size)
    cells = torch.arange(size, dtype=start.dtype, device=start.device)
    hat = (1.0 - (place.clamp(0.0, size - 1.0)[..., None] - cells).abs()).clamp(min=0.0)
    return (hat * used[..., None]).sum(dim=2) / count[:, None, None]
