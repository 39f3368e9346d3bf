"""What has to be installed that ``pip install mmhier`` does not install, or that may be lost, and how.

MMPose is not among mmhier's requirements: its metadata asks for chumpy, which cannot be built today and which
MMPose never imports, so it is installed without what it asks for. ``mmhier doctor --fix`` does that. Standard
library only.
"""

import sys
from shutil import which

from mmhier.parts import version_of

FIX = 'mmhier doctor --fix'

# Import name -> arguments of `pip install`.
INSTALL = {
    'mmpose': ('--no-deps', 'mmpose==1.3.2'),
    'mmcv': ('mmcv-lite>=2.1.0',),
    # mmengine 0.10 imports pkg_resources, which setuptools 82 removed
    'mmengine': ('mmengine>=0.10.7', 'setuptools<82'),
    'torch': ('torch>=2.4',),
    'mmpretrain': ('mmpretrain>=1.2.0',),
}
# Those that only some models need.
OPTIONAL = ('mmpretrain',)


def advice(name: str) -> str | None:
    """What to do if a module is missing, as a sentence; None if it is not of those that are known here."""
    top = name.partition('.')[0]
    if top not in INSTALL:
        return None
    return f'Run: {FIX}{f" {top}" if top in OPTIONAL else ""}'


def pip_command(arguments: tuple[str, ...]) -> list[str]:
    """The command that installs into the environment that runs this.

    Raises:
        ImportError: If there is neither pip nor uv.
    """
    if version_of('pip'):
        return [sys.executable, '-m', 'pip', 'install', *arguments]
    if uv := which('uv'):
        return [uv, 'pip', 'install', '--python', sys.executable, *arguments]
    raise ImportError(f'{sys.prefix} has no pip: python -m ensurepip')
