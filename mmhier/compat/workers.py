"""Worker processes that import mmhier before they unpickle what they work on.

A process started with ``spawn`` or ``forkserver`` (say, a DataLoader's worker) begins empty. Under a script
that does not import mmhier at its top (MMPose's ``tools/train.py`` is one) it would import MMPose to unpickle
the data set and miss what :mod:`mmhier.compat.finders` supplies. A process object is pickled with its
configuration first, so a function of mmhier in there is what gets mmhier imported in time.
Unnecessary with ``fork``, the default on Linux before Python 3.14.
"""

from types import ModuleType

import wrapt


def prepare(process: ModuleType) -> None:
    """Put something of mmhier into the configuration that child processes inherit."""
    process.current_process()._config['mmhier'] = prepare


def install() -> None:
    """Call :func:`prepare` when ``multiprocessing.process`` is imported, or now if it has been."""
    wrapt.register_post_import_hook(prepare, 'multiprocessing.process')
