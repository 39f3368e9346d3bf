"""Checkpoints of PyTorch Lightning are read without importing or running anything that is in them.

Beside the weights they hold the training's configuration and bookkeeping as objects of OmegaConf, yacs and
others. The safe reader of :mod:`mmhier.compat.checkpoint` refuses such files, rightly: it gives back all that
is in a file. Here only tensors, plain values and containers are rebuilt; an empty object takes the place of
everything else, whatever its class does when it is unpickled.
"""

import pickle
from collections import OrderedDict
from os import PathLike
from types import ModuleType
from typing import Any

import torch

from mmhier.compat.checkpoint import named_globals
from mmhier.compat.torch_archive import TorchArchive
from mmhier.safe_files import open_file


class Inert:
    """Stands for an object of a class that is not on the list; it does nothing and keeps nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> 'Inert':
        """Take whatever the file gives."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __call__(self, *args: Any, **kwargs: Any) -> 'Inert':
        """Stand for the result, too, if it stands for a function."""
        return self

    def _ignore(self, *args: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = add = _ignore


class TensorUnpickler(pickle.Unpickler):
    """Rebuilds tensors and plain containers; every other name that a file asks for becomes :class:`Inert`."""

    ALLOWED = {
        ('collections', 'OrderedDict'): OrderedDict,
        ('torch._utils', '_rebuild_tensor_v2'): torch._utils._rebuild_tensor_v2,
        ('torch._utils', '_rebuild_parameter'): torch._utils._rebuild_parameter,
    }

    def find_class(self, module: str, name: str) -> Any:
        """Look up a name without importing anything."""
        return self.ALLOWED.get((module, name), Inert)


def read_lightning_checkpoint(path: str | PathLike) -> dict:
    """Read the tensors of a Lightning checkpoint without importing or running anything that it names.

    Args:
        path: File in the format of torch 1.6 and later.

    Returns:
        What was saved; objects of foreign classes (configurations) are :class:`Inert`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is of another kind, truncated or corrupt.
    """
    reader = ModuleType('tensors')
    reader.Unpickler = TensorUnpickler
    with open_file(path) as file:
        try:
            archive = TorchArchive(file, 'the archive', str(path))
            if 'data.pkl' not in archive.records or 'constants.pkl' in archive.records:
                raise ValueError('it is a zip archive, but not one of weights')
            named_globals(archive.read('data.pkl'))  # bounds its nesting
            file.seek(0)
            checkpoint = torch.load(file, map_location='cpu', pickle_module=reader, weights_only=False)
        except Exception as error:
            raise ValueError(f'checkpoint {path} cannot be read: {error}') from error
    if not isinstance(checkpoint, dict):
        raise ValueError(f'checkpoint {path} holds {type(checkpoint).__name__} instead of a dictionary')
    return checkpoint
