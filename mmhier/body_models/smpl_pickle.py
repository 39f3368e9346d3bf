"""Reads the .pkl files of SMPL and SMPL-X, by :mod:`mmhier.safe_pickle`: without executing anything."""

import numpy as np

from mmhier.body_models.smplx_file import PUBLISHED
from mmhier.safe_pickle import read_pickle, to_array

SMPL_KEYS = ('v_template', 'shapedirs', 'posedirs', 'weights', 'J_regressor', 'kintree_table', 'f')


def read_smpl_pickle(content: bytes, source: str) -> dict[str, np.ndarray]:
    """Read the arrays of such a file.

    Args:
        content: the whole file.
        source: where it comes from, for messages.

    Returns:
        The arrays of :data:`SMPL_KEYS` and those that only SMPL-X has, as far as it holds them, sparse ones
        made dense.

    Raises:
        ValueError: if it is damaged, refers to anything but arrays, or holds no dictionary.
    """
    values = read_pickle(content, source)
    if not isinstance(values, dict):
        raise ValueError(f'{source} holds no dictionary but a {type(values).__name__}: not a body model.')
    keys = (*SMPL_KEYS, *PUBLISHED)
    return {key: to_array(values[key], f'{source}: "{key}"') for key in keys if key in values}
