"""The selective scan of the package mamba-ssm, where that is installed (it compiles CUDA code).

Its kernels return the type of their inputs, so inputs are converted to float32 to meet the contract. On a map
it needs the four sequences as copies; the Triton backend does not.
"""

from importlib.util import find_spec

import torch
from torch import Tensor

from . import reference


def is_available() -> str | None:
    """Why mamba-ssm cannot run here, or None if it can."""
    if find_spec('mamba_ssm') is None:
        return 'mamba-ssm is not installed: pip install mamba-ssm'
    if not torch.cuda.is_available():
        return 'mamba-ssm needs a GPU, and PyTorch sees none'
    return None


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> Tensor:
    """Scan sequences; see ``dispatch.selective_scan``."""
    if not u.numel():  # its kernels cannot be launched for nothing
        return reference.selective_scan(u, delta, A, B, C, D, delta_bias, delta_softplus)
    from mamba_ssm.ops.selective_scan_interface import selective_scan_fn

    u, delta, A, B, C = (t.float() for t in (u, delta, A, B, C))
    D, delta_bias = (t if t is None else t.float() for t in (D, delta_bias))
    return selective_scan_fn(u, delta, A, B, C, D, delta_bias=delta_bias, delta_softplus=delta_softplus)


def cross_selective_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    dt_weight: Tensor | None,
) -> Tensor:
    """Scan a map along four directions and add them up; see ``dispatch.cross_selective_scan``."""
    return reference.cross_by_sequences(
        selective_scan, x, dt, A, B, C, D, delta_bias, delta_softplus, dt_weight
    )
