"""Names of released weights in configs: MMEngine's loader takes them for ``load_from`` and ``init_cfg``."""

import os
from types import ModuleType
from typing import Any

from mmhier.compat.checkpoint import load_like_torch
from mmhier.zoo.registry import NAME


def load_from_name(name: str, map_location: Any = None) -> dict[str, Any]:
    """Read released weights by their name, or a file that has no ending; whole models are converted.

    Raises:
        FileNotFoundError: There is neither a file nor an entry of this name.
        OSError: It cannot be fetched.
        ValueError: It is damaged, of a detector, or its licence has to be accepted first.
    """
    from mmhier.zoo.choice import INITIAL, MODELS, released
    from mmhier.zoo.conversion import converted
    from mmhier.zoo.fetch import fetch_entry

    entry = released(name, INITIAL)
    if entry is None:
        return load_like_torch(os.path.expanduser(name), map_location)
    path = fetch_entry(entry)
    if entry.kind in MODELS:
        return dict(state_dict=converted(entry, path).state_dict)
    return load_like_torch(path, map_location)


def register(module: ModuleType) -> None:
    """Have :func:`load_from_name` read what looks like a name, in MMEngine's module of checkpoints."""
    module.CheckpointLoader.register_scheme(NAME, load_from_name, force=True)
