"""Reads SMPL's .pkl files, by :mod:`mmhier.safe_pickle`: without executing anything."""

import numpy as np

from mmhier.safe_pickle import read_pickle, to_array

SMPL_KEYS = ('v_template', 'shapedirs', 'posedirs', 'weights', 'J_regressor', 'kintree_table', 'f')


def read_smpl_pickle(content: bytes, source: str) -> dict[str, np.ndarray]:
    """Read the arrays of a SMPL .pkl file.

    Args:
        content: the whole file.
        source: where it comes from, for messages.

    Returns:
        The arrays of :data:`SMPL_KEYS` that it holds, sparse ones made dense.

    Raises:
        ValueError: if it is damaged, refers to anything but arrays, or holds no dictionary.
    """
    values = read_pickle(content, source)
    if not isinstance(values, dict):
        raise ValueError(f'{source} holds no dictionary but a {type(values).__name__}: not a body model.')
    return {key: to_array(values[key], f'{source}: "{key}"') for key in SMPL_KEYS if key in values}
