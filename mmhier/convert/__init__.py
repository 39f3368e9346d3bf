"""Weights of other projects -> our names, which are OpenMMLab's where it has the network."""

import re
from collections.abc import Iterable, Mapping
from importlib import import_module
from pkgutil import iter_modules

from torch import Tensor

from mmhier.convert.data_sets import is_many, pick_decoder
from mmhier.convert.gmf import GMF
from mmhier.convert.hmr2 import convert_hmr2
from mmhier.convert.key_table import Converted, Family, Report, convert, detect_format, fit, load, unwrap
from mmhier.convert.smplerx import convert_smplerx, is_smplerx
from mmhier.convert.swin import SWIN
from mmhier.convert.vit import VIT, convert_vitpose_model
from mmhier.convert.vmamba import VMAMBA

# The families that `mmhier convert` knows: each is called like its module, in capitals.
FAMILIES = tuple(
    family
    for module in iter_modules(__path__)
    if isinstance(
        family := getattr(import_module(f'{__name__}.{module.name}'), module.name.upper(), None), Family
    )
)


def find_family(keys: Iterable[str], source: str = 'checkpoint', prefix: str | None = None) -> Family:
    """Find the family of encoders whose keys these are.

    Args:
        keys: Of a state dictionary.
        source: Where they come from, for messages.
        prefix: What the keys of the backbone begin with, if there are several networks.

    Raises:
        ValueError: If they are of none, or of several.
    """
    keys = list(keys)
    found = _families(keys)
    if len(found) > 1 and prefix is not None:
        found = _families([key for key in keys if key.startswith(prefix)]) or found
    if len(found) == 1:
        return found[0]
    if found:
        names = ' or '.join(family.name for family in found)
        raise ValueError(f'{source} may be {names}, it has keys of each: choose one by prefix= (--prefix)')
    known = ', '.join(family.name for family in FAMILIES)
    raise ValueError(f'{source} holds no encoder of one of {known}; it begins with {keys[:3]}')


def _families(keys: Iterable[str]) -> list[Family]:
    return [family for family in FAMILIES if any(re.search(family.mark, key) for key in keys)]


def convert_whole_model(
    weights: Mapping[str, Tensor], dataset: str | None = None, source: str = 'checkpoint'
) -> Converted:
    """Rename the weights of a whole pose model (ViTPose), mesh model (HMR2.0) or whole-body model (SMPLer-X).

    Args:
        weights: State dictionary.
        dataset: Of ViTPose+, see :func:`mmhier.convert.vit.choose_dataset`, or of a model of ours for many
            data sets, see :func:`mmhier.convert.data_sets.pick_decoder`.
        source: Where they come from, for messages.

    Raises:
        ValueError: If they are of none, or may be of several; if a key is unknown or missing.
    """
    if is_many(weights):
        return pick_decoder(weights, dataset, source)
    if is_smplerx(weights):
        return convert_smplerx(weights, source)
    decoders = ('keypoint_head.', 'associate_keypoint_heads.', 'head.')
    is_pose, is_mesh = (any(key.startswith(start) for key in weights) for start in (decoders, 'smpl_head.'))
    if is_pose and is_mesh:
        raise ValueError(f'{source} may be ViTPose or HMR2.0: it has a decoder of each')
    return convert_hmr2(weights, source) if is_mesh else convert_vitpose_model(weights, dataset, source)


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
    'convert_whole_model',
    'detect_format',
    'find_family',
    'fit',
    'load',
    'unwrap',
]
