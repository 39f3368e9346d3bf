"""Package metadata. Requirements live in ``requirements/``, one small file per purpose."""

import shutil
from pathlib import Path
from runpy import run_path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


def requirements(name: str) -> list[str]:
    """Read ``requirements/<name>.txt``, leaving out comments and blank lines."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith('#')]


class BuildWithConfigs(build_py):
    """Put ``configs/`` into a wheel as ``mmhier/configs``."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if not self.editable_mode:
            shutil.copytree(ROOT / 'configs', Path(self.build_lib) / 'mmhier' / 'configs', dirs_exist_ok=True)


setup(
    name='mmhier',
    version=run_path(str(ROOT / 'mmhier' / 'version.py'))['__version__'],
    description='Low-cost human pose and body mesh with truncated hierarchical encoders',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10',
    packages=find_packages(include=['mmhier', 'mmhier.*']),
    package_data={
        'mmhier': [
            'py.typed',
            'ops/selective_scan/*.cpp',
            'ops/selective_scan/*.h',
            'rasterizer/*.cpp',
            'zoo/*.json',
            'zoo/shipped/*',
        ]
    },
    cmdclass={'build_py': BuildWithConfigs},
    install_requires=requirements('runtime'),
    extras_require={name: requirements(name) for name in ('synth', 'ray', 'tests', 'docs', 'optional')},
    entry_points={'console_scripts': ['mmhier=mmhier.cli.main:main']},
)
