"""Stands in for ``mmcv._ext``, the compiled part of mmcv, which mmcv-lite does not carry.

It answers every attribute, so that ``mmcv.ops`` and ``mmpose.models`` import. Operations that torch or
torchvision can do are done; every other one raises an error *when called*, naming itself and the fix.
Unnecessary where full mmcv is installed.
"""

from collections.abc import Callable
from typing import NoReturn


def get_compiler_version() -> str:
    """Stand in for the compiler's version in MMEngine's environment report."""
    return 'n/a (mmcv-lite)'


def get_compiling_cuda_version() -> str:
    """Stand in for the CUDA version in MMEngine's environment report."""
    return 'n/a (mmcv-lite)'


def __getattr__(name: str) -> Callable[..., NoReturn]:
    """Return a function that raises, for an operation that is not supplied here."""
    if name.startswith('__'):
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

    def missing_op(*args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError(
            f'mmcv operation {name!r} needs the compiled part of mmcv, and this environment has mmcv-lite. '
            'Build full mmcv for your torch (https://mmcv.readthedocs.io/en/latest/get_started/build.html), '
            'or choose a model that does not use it.'
        )

    missing_op.__name__ = missing_op.__qualname__ = name
    return missing_op
