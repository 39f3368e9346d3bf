"""A linear layer whose matrix products run on oneDNN where that is the faster library.

On x86 PyTorch sends float32 ``F.linear`` to MKL, which leaves AVX-512 unused on AMD processors; oneDNN, which
PyTorch uses for convolutions, does not (measured on one, two threads: 110 against 240 billion multiply-adds
per second). ``torch.compile`` reaches oneDNN through ``mkldnn::_linear_pointwise``; here the same operator is
called in eager mode, forward and backward. Everywhere else (other devices and types, autocast, compilation,
export, tracing, flop counters, builds without the operator) the layer is ``nn.Linear``.

Letters: M rows, K input features, N output features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmhier.ops.remember import remember

# Below this many multiply-adds the cost of the call itself decides, and F.linear has the cheaper call.
SMALL_PRODUCT = 1 << 20


def is_eager_cpu(x: Tensor) -> bool:
    """Whether ``x`` is a plain tensor on the CPU and nobody compiles, exports or traces the network."""
    return (
        not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and type(x) in (Tensor, nn.Parameter)
        and x.device.type == 'cpu'
    )


@remember(1)
def has_onednn_linear() -> bool:
    """Whether this build of PyTorch has the operator, with the signature and the result expected of it."""
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkl.is_available()):
        return False
    with torch.no_grad():
        x = torch.arange(6.0).view(3, 2).t()
        weight = torch.arange(12.0).view(3, 4).t()
        bias = torch.ones(4)
        try:
            found = _product(x, weight, bias, 'gelu')
        except (AttributeError, RuntimeError, TypeError):  # absent, or with another signature
            return False
        return torch.allclose(found, F.gelu(F.linear(x, weight, bias)))


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> Tensor:
    """Compute ``x @ weight.T + bias``, then GELU if asked for.

    Args:
        x: Rows, (M, K), or (..., K).
        weight: (N, K).
        bias: (N,).
        gelu: Apply the exact GELU to the result.

    Returns:
        (M, N), or (..., N).
    """
    if x.ndim != 2:
        return linear(x.reshape(-1, x.shape[-1]), weight, bias, gelu).view(*x.shape[:-1], weight.shape[0])
    if not _pays(x, weight):
        y = F.linear(x, weight, bias)
    elif torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in (x, weight, bias)):
        y = _OneDNNLinear.apply(x, weight, bias)
    else:
        return _product(x, weight, bias, 'gelu' if gelu else 'none')
    return F.gelu(y) if gelu else y


def _pays(x: Tensor, weight: Tensor) -> bool:
    return (
        is_eager_cpu(x)
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled('cpu')
        and x.numel() * weight.shape[0] >= SMALL_PRODUCT
        and torch._C._get_mkldnn_enabled()  # torch.backends.mkldnn.enabled, in less time
        and torch._C._len_torch_dispatch_stack() == 0  # flop counters and their like do not know the operator
        and has_onednn_linear()
    )


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None, activation: str = 'none') -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, activation, [], 'none')


class _OneDNNLinear(torch.autograd.Function):
    """``F.linear`` with all three matrix products (result, gradients of input and weight) on oneDNN."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _product(x, weight, bias)

    @staticmethod
    def setup_context(ctx, inputs: tuple, output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        if torch.is_grad_enabled():  # the caller differentiates the gradient again
            grad_x, grad_weight = grad @ weight, grad.t() @ x
        else:
            grad_x = _product(grad, weight.t()) if needs_x else None
            grad_weight = _weight_gradient(grad, x) if needs_weight else None
        return grad_x, grad_weight, grad.sum(0) if needs_bias else None


def _weight_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """Compute ``grad.T @ x``, (N, K), with the wider of the two as the second factor, which is faster."""
    if grad.shape[1] >= x.shape[1]:
        return _product(x.t(), grad.t()).t().contiguous()
    return _product(grad.t(), x.t())


class Linear(nn.Linear):
    """``nn.Linear`` on oneDNN where that is faster, with an optional GELU after it."""

    result_of = None  # new memory, see mmhier.ops.in_place

    def __init__(self, in_features: int, out_features: int, bias: bool = True, gelu: bool = False):
        super().__init__(in_features, out_features, bias)
        self.gelu = gelu

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        return linear(x, self.weight, self.bias, self.gelu)

    def extra_repr(self) -> str:
        """Describe the layer."""
        return super().extra_repr() + (', gelu=True' if self.gelu else '')
