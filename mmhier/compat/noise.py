"""Warnings of others that nobody can do anything about: each named, with its module; all others are shown.

Unnecessary once MMEngine does without ``pkg_resources`` and ``FileClient``, and MMPose looks for its own
descriptions of keypoints without saying so.
"""

import warnings
from types import ModuleType
from typing import Any

import wrapt

# Beginning of the message and the module that it is attributed to, as regular expressions.
WARNINGS = (
    ('pkg_resources is deprecated as an API', r'mmengine\.utils\.package_utils'),
    # MMEngine reloads it for configs with a base of another package.
    ('pkg_resources is deprecated as an API', r'importlib$'),
    # Stock configs name descriptions by their place in a clone of MMPose.
    (r'The metainfo config file "configs/_base_/datasets/', r'mmpose\.datasets\.datasets\.utils'),
)
# Beginnings of what MMEngine's checkpoint hook has its file client log in every training.
LOGGED = ('"FileClient" will be deprecated', '"HardDiskBackend" is the alias of "LocalBackend"')


def install() -> None:
    """Silence them."""
    for message, module in WARNINGS:
        warnings.filterwarnings('ignore', message, UserWarning, module)
    wrapt.register_post_import_hook(_quieten, 'mmengine.fileio.file_client')


def _quieten(module: ModuleType) -> None:
    original = module.print_log

    def print_log(message: Any, *args: Any, **kwargs: Any) -> None:
        if not str(message).startswith(LOGGED):
            original(message, *args, **kwargs)

    module.print_log = print_log
