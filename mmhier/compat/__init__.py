"""Differences between versions of the OpenMMLab stack: the only place that knows about them.

:func:`install` runs once, when ``mmhier`` is imported. It imports neither torch nor MMEngine; it sets up
what happens when *others* import them:

* ``finders``: import names that the stock MMPose needs and that may be absent (``mmcv._ext``,
  ``xtcocotools``, names of ``mmdet`` and ``torchvision``) are supplied from ``shims/``. What is
  installed and works is always used instead; nothing that exists is replaced.
* ``registries``: mmhier's modules are added to MMPose's registries as soon as these exist.
* ``checkpoint``: MMEngine reads checkpoints without executing anything in them.
* ``patches``: lines of MMPose that current versions of its dependencies refuse are made to work.
* ``noise``: some warnings of others that nobody can do anything about are not shown.
* ``workers``: processes started with ``spawn`` or ``forkserver`` get the same treatment.

Every shim's docstring names what makes it unnecessary.
"""

import wrapt

from mmhier.compat import finders, noise, patches, registries, workers

__all__ = ['install']

# Modules of MMEngine that read checkpoints.
CHECKPOINT_READERS = ('mmengine.runner.checkpoint', 'mmengine.utils.dl_utils.hub', 'mmengine.utils.dl_utils')

_installed = False


def install() -> None:
    """Set up the import hooks. Cheap, safe to call again, in any order with the imports of others."""
    global _installed
    if _installed:
        return
    _installed = True
    finders.install()
    registries.install()
    patches.install()
    noise.install()
    workers.install()
    for name in CHECKPOINT_READERS:
        wrapt.register_post_import_hook('mmhier.compat.checkpoint:protect', name)
