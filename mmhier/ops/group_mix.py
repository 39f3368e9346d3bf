"""Parts of group-mix attention (GroupMixFormer, arXiv 2311.15157) on maps with channels last.

A map (B, H, W, C) that is contiguous in this order is at once the rows (B * H * W, C) of a matrix product and
the image of a convolution in PyTorch's ``channels_last`` format, so nothing is copied between the two.

Letters: B batch, H and W map size in tokens, N = H * W, C channels, h heads, d channels per head, k side of a
kernel.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhier.ops.in_place import may_overwrite
from mmhier.ops.linear import is_eager_cpu


def runs_in_place(x: Tensor) -> bool:
    """Whether to overwrite and to fold: float32 on a CPU, no gradients, no autocast, nobody watches."""
    return (
        is_eager_cpu(x)
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled('cpu')
        and torch._C._len_torch_dispatch_stack() == 0  # flop counters count the graph of the paper
    )


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1) -> Tensor:
    """Convolve a map, keeping its size at stride 1; depthwise if each kernel has a single input.

    Args:
        x: (B, H, W, C).
        weight: (C', C, k, k), or (C, 1, k, k) with one kernel per channel.
        bias: (C',).
        stride: The result is ceil(H / stride) high.

    Returns:
        (B, H', W', C').
    """
    groups = x.shape[-1] // weight.shape[1]
    x = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, stride, weight.shape[-1] // 2, groups=groups)
    return x.permute(0, 2, 3, 1)


def hardswish(x: Tensor, *modules: nn.Module) -> Tensor:
    """Hardswish that overwrites its argument where nobody can see it.

    Args:
        x: Any shape.
        modules: What ``x`` came through, see :func:`mmhier.ops.in_place.add`.
    """
    return F.hardswish(x, inplace=may_overwrite(*modules))


def grow(kernels: Tensor, side: int) -> Tensor:
    """Surround kernels (..., k, k) by zeros up to (..., side, side), which changes no result."""
    margin = (side - kernels.shape[-1]) // 2
    return F.pad(kernels, [margin] * 4) if margin else kernels


def gain_and_shift(norms: list[nn.Module]) -> tuple[Tensor, Tensor]:
    """Gain and shift by which batch normalisations act on their joint channels in evaluation mode."""
    entries = [(norm.weight, norm.bias, norm.running_mean, norm.running_var + norm.eps) for norm in norms]
    weight, bias, mean, var = (torch.cat(entry) for entry in zip(*entries, strict=True))
    gain = weight * var.rsqrt()
    return gain, bias - mean * gain


@torch.no_grad()
def fold_norm(conv: nn.Conv2d, norm: nn.Module) -> None:
    """Fold a batch normalisation in evaluation mode into the convolution before it, in place."""
    gain, shift = gain_and_shift([norm])
    bias = shift if conv.bias is None else conv.bias * gain + shift
    conv.weight.mul_(gain.view(-1, 1, 1, 1))
    conv.bias = nn.Parameter(bias.clone(), requires_grad=False)


def linear_attention(q: Tensor, k: Tensor, v: Tensor, position: Tensor, heads: int, scale: float) -> Tensor:
    """Attend to all tokens at a cost linear in their number.

    The keys are normalised over the tokens, so each head sums up the values in one (d, d) matrix.

    Args:
        q: Queries, (B, N, h * d).
        k: Keys, the same shape.
        v: Values, the same shape.
        position: What the queries are multiplied by elementwise and added, the same shape.
        heads: h.
        scale: Factor of the attention.

    Returns:
        (B, N, h * d).
    """
    rows = [x.unflatten(-1, (heads, -1)).transpose(1, 2) for x in (q, k.softmax(1), v)]  # (B, h, N, d)
    x = rows[0] @ (rows[1].transpose(2, 3) @ rows[2])
    return x.transpose(1, 2).flatten(2) * scale + q * position


def linear_attention_into(
    out: Tensor, q: Tensor, k: Tensor, v: Tensor, position: Tensor, heads: int, scale: float
) -> None:
    """:func:`linear_attention` without copies: writes to ``out`` (B, N, h * d), whose rows may be apart."""
    torch.mul(q, position, out=out)
    rows = [x.unflatten(-1, (heads, -1)) for x in (q, k.softmax(1), v, out)]
    for q_rows, k_rows, v_rows, out_rows in zip(*(x.unbind(0) for x in rows), strict=True):  # (N, h, d)
        context = torch.bmm(k_rows.permute(1, 2, 0), v_rows.transpose(0, 1))
        attended = torch.bmm(q_rows.transpose(0, 1), context)
        out_rows.add_(attended.transpose(0, 1), alpha=scale)
