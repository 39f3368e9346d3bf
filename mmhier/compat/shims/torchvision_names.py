"""Names of torchvision that timm binds when it is imported; using one says that torchvision is missing.

timm's networks need none of them: they belong to its data loading. Unnecessary where torchvision is installed
and matches torch, and once timm imports it where it uses it.
"""

from types import ModuleType

from torch import nn

_REMEDY = 'pip install torchvision, of the release and build that match torch'


class Absent:
    """Anything of torchvision."""

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, name: str) -> 'Absent':
        if name.startswith('__'):
            raise AttributeError(name)
        return Absent(f'{self._name}.{name}')

    def __call__(self, *args, **kwargs):
        """Refuse.

        Raises:
            ImportError: Always.
        """
        raise ImportError(f'{self._name} is needed here: {_REMEDY}', name='torchvision')

    def __mro_entries__(self, bases: tuple) -> tuple:
        return ()


class AbsentModule(ModuleType):
    """A module of torchvision, whose every name is :class:`Absent`."""

    def __getattr__(self, name: str) -> Absent:
        if name.startswith('__'):
            raise AttributeError(name)
        return Absent(f'{self.__name__}.{name}')


class FrozenBatchNorm2d(nn.Module):
    """What ``isinstance`` is asked about; no network of timm is built with it."""

    def __init__(self, *args, **kwargs):
        raise ImportError(f'FrozenBatchNorm2d is needed here: {_REMEDY}', name='torchvision')


def modules() -> dict[str, ModuleType]:
    """Stand-ins for the modules of torchvision that timm imports, with their parent packages."""
    names = ('torchvision.transforms.functional', 'torchvision.datasets', 'torchvision.ops.misc')
    found: dict[str, ModuleType] = {}
    for name in names:
        parts = name.split('.')
        for depth in range(1, len(parts) + 1):
            path = '.'.join(parts[:depth])
            if path not in found:
                found[path] = AbsentModule(path)
                if depth > 1:
                    setattr(found['.'.join(parts[: depth - 1])], parts[depth - 1], found[path])
    found['torchvision.ops.misc'].FrozenBatchNorm2d = FrozenBatchNorm2d
    return found
