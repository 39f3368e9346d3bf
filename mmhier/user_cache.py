"""Where mmhier keeps what it fetches and builds: one folder of the user, of which parts may lie elsewhere.

| part | variable | default |
|---|---|---|
| all of it | ``MMHIER_HOME`` | ``$XDG_CACHE_HOME/mmhier``, else ``~/.cache/mmhier`` |
| body models | ``MMHIER_BODY_MODELS`` | ``body_models`` in it |
| compiled drawing | ``MMHIER_NATIVE`` | ``native`` in it |
| released weights, costs of models | | ``models``, ``costs`` in it |

A variable that is empty counts as not set; ``~`` is the home of the user.
"""

import os
from pathlib import Path

HOME_VARIABLE = 'MMHIER_HOME'
PARTS = dict(body_models='MMHIER_BODY_MODELS', native='MMHIER_NATIVE')


def home() -> Path:
    """The folder of this user."""
    if given := os.environ.get(HOME_VARIABLE):
        return Path(given).expanduser()
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache').expanduser() / 'mmhier'


def variable_of(path: str | Path) -> str | None:
    """The variable that moves a file or folder of the cache elsewhere; None of what is not of the cache."""
    path = Path(path).absolute()
    for name, variable in PARTS.items():
        if os.environ.get(variable) and path.is_relative_to(part(name).absolute()):
            return variable
    return HOME_VARIABLE if path.is_relative_to(home().absolute()) else None


def part(name: str) -> Path:
    """One of its parts.

    Args:
        name: Of the part.
    """
    given = os.environ.get(PARTS[name]) if name in PARTS else None
    return Path(given).expanduser() if given else home() / name
