"""mmhier: low-cost human pose and body mesh on the OpenMMLab stack.

Importing the package is cheap. It installs the import hooks of :mod:`mmhier.compat`, which make the
stock MMPose importable and trainable, and which add mmhier's modules to MMPose's registries as soon
as these exist, that of :mod:`mmhier.zoo`, which has MMEngine know released weights by name, and those of
:mod:`mmhier.datasets`, which have MMPose check the annotations that it reads; so
``custom_imports=dict(imports=['mmhier'])`` is all that a config needs.
"""

from mmhier import compat, datasets, zoo
from mmhier.version import __version__

__all__ = ['__version__']

compat.install()
zoo.install()
datasets.install()
