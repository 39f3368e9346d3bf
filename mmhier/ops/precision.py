"""Matrix products that must not be rounded, where networks around them may be."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def without_tf32(device_type: str) -> Iterator[None]:
    """Keep matrix products of float32 on a GPU from being rounded to TF32, whatever is set for networks.

    TF32 keeps 10 bits of a number: half a millimetre of a body, pixels of a focal length. The setting is one
    for the process, so another thread's products may for this moment be more exact than it asked for.
    Nothing is changed while a graph is recorded: what runs it decides then.

    Args:
        device_type: Of what is multiplied, as ``torch.device.type``.
    """
    if device_type != 'cuda' or torch.compiler.is_compiling() or torch.jit.is_tracing():
        yield
        return
    matmul = torch.backends.cuda.matmul
    # PyTorch 2.9 has a new name, and refuses to read what was written under the other one.
    name, exact = ('fp32_precision', 'ieee') if hasattr(matmul, 'fp32_precision') else ('allow_tf32', False)
    asked = getattr(matmul, name)
    setattr(matmul, name, exact)
    try:
        yield
    finally:
        setattr(matmul, name, asked)
