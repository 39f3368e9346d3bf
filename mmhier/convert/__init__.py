"""Weights of other projects -> our names, which are OpenMMLab's where it has the network."""

import re
from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules

from mmhier.convert.gmf import GMF
from mmhier.convert.key_table import Converted, Family, Report, convert, detect_format, fit, load, unwrap
from mmhier.convert.swin import SWIN
from mmhier.convert.vit import VIT
from mmhier.convert.vmamba import VMAMBA

# The families that `mmhier convert` knows: each is called like its module, in capitals.
FAMILIES = tuple(
    family
    for module in iter_modules(__path__)
    if isinstance(
        family := getattr(import_module(f'{__name__}.{module.name}'), module.name.upper(), None), Family
    )
)


def find_family(keys: Iterable[str], source: str = 'checkpoint') -> Family:
    """Find the family of encoders whose keys these are.

    Raises:
        ValueError: If they are of none.
    """
    keys = list(keys)
    for family in FAMILIES:
        if any(re.search(family.mark, key) for key in keys):
            return family
    known = ', '.join(family.name for family in FAMILIES)
    raise ValueError(f'{source} holds no encoder of one of {known}; it begins with {keys[:3]}')


__all__ = [
    'FAMILIES',
    'GMF',
    'SWIN',
    'VIT',
    'VMAMBA',
    'Converted',
    'Family',
    'Report',
    'convert',
    'detect_format',
    'find_family',
    'fit',
    'load',
    'unwrap',
]
