"""mmhier: low-cost human pose and body mesh on the OpenMMLab stack.

Importing the package is cheap. It installs the import hooks of :mod:`mmhier.compat`, which make the
stock MMPose importable and trainable, and which add mmhier's modules to MMPose's registries as soon
as these exist, and the one of :mod:`mmhier.zoo`, which has MMEngine know released weights by name; so
``custom_imports=dict(imports=['mmhier'])`` is all that a config needs.
"""

from mmhier import compat, zoo
from mmhier.version import __version__

__all__ = ['__version__']

compat.install()
zoo.install()
