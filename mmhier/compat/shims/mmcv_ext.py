"""Stands in for ``mmcv._ext``, the compiled part of mmcv, which mmcv-lite does not carry.

It answers every attribute, so that ``mmcv.ops`` and ``mmpose.models`` import. What torch or torchvision can
do is done, with mmcv's signatures; every other operation raises an error *when called*, naming itself and the
fix.
Unnecessary where full mmcv is installed (it has no wheels for current torch).

Letters: N boxes, K regions of interest, P_h and P_w the size of a pooled map.
"""

from collections.abc import Callable
from typing import NoReturn

import torch
from torch import Tensor

from mmhier.compat.shims.torchvision_boxes import box_iou

VERSION_TEXT = 'n/a (mmcv-lite)'


def get_compiler_version() -> str:
    """Stand in for the compiler's version in MMEngine's report on the environment."""
    return VERSION_TEXT


def get_compiling_cuda_version() -> str:
    """Stand in for the CUDA version in MMEngine's report on the environment."""
    return VERSION_TEXT


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes kept by non-maximum suppression, by falling score.

    Args:
        boxes (Tensor): Corners x1, y1, x2, y2, in pixels, (N, 4).
        scores (Tensor): Scores (N,).
        iou_threshold (float): Boxes that overlap a better one by more than this are dropped.
        offset (int): Width is ``x2 - x1 + offset``.
    """
    boxes = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    torchvision = _torchvision()
    if torchvision is not None:
        return torchvision.ops.nms(boxes, scores, iou_threshold)
    order, kept = scores.argsort(descending=True, stable=True), []
    while order.numel():
        kept.append(order[0])
        order = order[1:][box_iou(boxes[order[:1]], boxes[order[1:]])[0] <= iou_threshold]
    return torch.stack(kept) if kept else order


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Indices of the boxes kept by soft suppression; ``dets`` (N, 5) gets the boxes and lowered scores.

    ``method`` 0 drops overlapping boxes, 1 lowers their scores linearly, 2 by a Gaussian of width ``sigma``.
    """
    wide = torch.cat([boxes[:, :2], boxes[:, 2:] + offset], dim=1)
    scores, left, kept = scores.clone(), torch.arange(len(boxes)), []
    while left.numel():
        best = left[scores[left].argmax()]
        dets[len(kept), :4], dets[len(kept), 4] = boxes[best], scores[best]
        kept.append(best)
        left = left[left != best]
        overlap = box_iou(wide[best][None], wide[left])[0]
        if method == 2:
            weight = torch.exp(-(overlap**2) / sigma)
        else:
            weight = torch.where(overlap > iou_threshold, (1 - overlap) * method, 1)
        scores[left] *= weight
        left = left[scores[left] >= min_score]
    return torch.stack(kept) if kept else left


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Average-pool regions ``(K, 5)`` of ``input`` (B, C, H, W) into ``output`` (K, C, P_h, P_w)."""
    torchvision = _torchvision()
    if torchvision is None or pool_mode != 1:
        _missing('roi_align_forward', 'torchvision can do it with pool_mode="avg": pip install torchvision. ')
    size = aligned_height, aligned_width
    output.copy_(torchvision.ops.roi_align(input, rois, size, spatial_scale, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    *,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Write the gradient of :func:`roi_align_forward` into ``grad_input`` (B, C, H, W)."""
    grad_input.copy_(
        torch.ops.torchvision._roi_align_backward(
            grad_output,
            rois,
            spatial_scale,
            aligned_height,
            aligned_width,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention on GPUs, by mmcv's own formula in plain torch (as it does on CPUs)."""
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    return multi_scale_deformable_attn_pytorch(value, spatial_shapes, sampling_locations, attention_weights)


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients of :func:`ms_deform_attn_forward` into the three ``grad_...`` of inputs."""
    inputs = [tensor.detach().requires_grad_() for tensor in (value, sampling_locations, attention_weights)]
    with torch.enable_grad():
        output = ms_deform_attn_forward(
            inputs[0], spatial_shapes, level_start_index, *inputs[1:], im2col_step
        )
        grads = torch.autograd.grad(output, inputs, grad_output)
    for target, grad in zip((grad_value, grad_sampling_loc, grad_attn_weight), grads):
        target.copy_(grad)


def _torchvision() -> object | None:
    """The module torchvision, if it is there and works with this torch."""
    try:
        import torchvision
    except (ImportError, RuntimeError):
        return None
    return torchvision


def _missing(name: str, alternative: str = '') -> NoReturn:
    raise NotImplementedError(
        f'mmcv operation {name!r} needs the compiled part of mmcv, and this environment has mmcv-lite. '
        f'{alternative}Otherwise build full mmcv for this torch '
        '(https://mmcv.readthedocs.io/en/latest/get_started/build.html) or use a model without it.'
    )


def __getattr__(name: str) -> Callable[..., NoReturn]:
    """Return a function that raises, for an operation that is not supplied here."""
    if name.startswith('__'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def missing_op(*args: object, **kwargs: object) -> NoReturn:
        _missing(name)

    missing_op.__name__ = missing_op.__qualname__ = name
    return missing_op
