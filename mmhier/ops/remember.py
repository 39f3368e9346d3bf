"""Remembering what was computed or loaded once, without the modes that the first caller happened to be in.

A tensor made under ``inference_mode`` cannot be trained with, one made in a fake mode has no values, one made
under another default device lies there. What outlives its caller is therefore made outside of all of these
(:func:`outside_modes`), and :func:`remember` keeps nothing that is made while somebody records operators:
such tensors belong to the recording.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, wraps
from typing import TypeVar

import torch
from torch.utils._python_dispatch import _disable_current_modes

Result = TypeVar('Result')


@contextmanager
def outside_modes() -> Iterator[None]:
    """Leave inference mode, autocast, recorders and fake tensors; new tensors lie on the CPU by default."""
    with (
        _disable_current_modes(),
        torch.inference_mode(False),
        torch.autocast('cpu', enabled=False),
        torch.device('cpu'),
    ):
        yield


def remember(size: int) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Keep the results for the ``size`` arguments that were used last.

    The arguments must say everything that the result depends on, the device too if it is not the CPU.
    """

    def decorate(make: Callable[..., Result]) -> Callable[..., Result]:
        @lru_cache(maxsize=size)
        def kept(*key: object) -> Result:
            with outside_modes():
                return make(*key)

        @wraps(make)
        def get(*key: object) -> Result:
            recording = torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0
            return make(*key) if recording else kept(*key)

        get.cache_clear = kept.cache_clear
        return get

    return decorate
