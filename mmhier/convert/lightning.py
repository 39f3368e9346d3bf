"""Checkpoints of PyTorch Lightning are read without importing or running anything that is in them.

Beside the weights they hold the training's configuration and bookkeeping as objects of OmegaConf, yacs and
others. The safe reader of :mod:`mmhier.compat.checkpoint` refuses such files, rightly: it gives back all that
is in a file. Here only tensors, plain values and containers are rebuilt; an empty object takes the place of
everything else, whatever its class does when it is unpickled.
"""

from collections import OrderedDict
from copy import copy
from os import PathLike
from types import ModuleType
from typing import Any

import torch

from mmhier.compat.torch_archive import TorchArchive
from mmhier.safe_files import open_file
from mmhier.safe_pickle import RestrictedUnpickler, named_globals, opcodes


class Inert:
    """Stands for an object of a class that is not on the list; it does nothing and keeps nothing."""

    def _ignore(self, *args: Any) -> None:
        pass

    append = extend = add = _ignore


class TensorUnpickler(RestrictedUnpickler):
    """Rebuilds tensors and plain containers; every other name that a file asks for becomes :class:`Inert`."""

    names = {
        ('collections', 'OrderedDict'): OrderedDict,
        ('torch._utils', '_rebuild_tensor_v2'): torch._utils._rebuild_tensor_v2,
        ('torch._utils', '_rebuild_parameter'): torch._utils._rebuild_parameter,
    }
    key_types = (*RestrictedUnpickler.key_types, bool, tuple, Inert)
    # Storages of tensors are named by persistent identifiers.
    dispatch = copy(RestrictedUnpickler.dispatch)
    dispatch.update(opcodes('BINPERSID EMPTY_SET ADDITEMS FROZENSET'))

    def unknown(self, module: Any, name: Any) -> Any:
        """Stand in for whatever it is."""
        return Inert

    def call(self, function: Any, args: Any, named: dict) -> Any:
        """Call what is in the table; the result of anything else is inert, too."""
        if function is Inert or isinstance(function, Inert):
            return Inert()
        return super().call(function, args, named)

    def set_state(self, owner: Any, state: Any) -> None:
        """Forget it: only inert objects and dictionaries with attributes have one here."""
        if not isinstance(owner, Inert | OrderedDict):
            super().set_state(owner, state)

    def fill(self, target: Any, pairs: dict) -> None:
        """Fill dictionaries; inert objects keep nothing."""
        if type(target) is OrderedDict:
            target.update(pairs)
        elif not isinstance(target, Inert):
            super().fill(target, pairs)


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
