"""Differences between versions of the OpenMMLab stack: the only place that knows about them.

:func:`install` runs once, when ``mmhier`` is imported. It imports neither torch nor MMEngine; it sets up
what happens when *others* import them:

* ``finders``: import names that the stock MMPose needs and that may be absent (``mmcv._ext``,
  ``xtcocotools``, two names of ``mmdet``, one of ``torchvision``) are supplied from ``shims/``. What is
  installed and works is always used instead; nothing that exists is replaced.
* ``registries``: mmhier's modules are added to MMPose's registries as soon as these exist.

Every shim's docstring names what makes it unnecessary.
"""

from mmhier.compat import finders, registries

__all__ = ['install']

_installed = False


def install() -> None:
    """Set up the import hooks. Cheap, safe to call again, in any order with the imports of others."""
    global _installed
    if _installed:
        return
    _installed = True
    finders.install()
    registries.install()
