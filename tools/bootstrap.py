"""Make ``.venv`` ready for ``make quickstart`` and ``make test``; standard library only.

Safe to interrupt and to run again: what is installed is remembered by a stamp that is written last, and
holds a hash of the pinned requirements. PyTorch comes first, with whatever libraries its build needs on this
platform; the rest of ``requirements/lock.txt`` is complete and is installed without dependency resolution,
because MMPose's metadata asks for a package that cannot be built today (chumpy, which MMPose never imports).
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / '.venv'
LOCK = ROOT / 'requirements' / 'lock.txt'
STAMP = VENV / 'mmhier-requirements.sha256'
PYTHON = VENV / ('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
MIN_PYTHON, MAX_PYTHON = (3, 10), (3, 13)
MIN_FREE_GB = 8


def main() -> int:
    """Create, check and fill the environment; print one line on failure."""
    if not MIN_PYTHON <= sys.version_info[:2] <= MAX_PYTHON:
        found = '.'.join(map(str, sys.version_info[:3]))
        return _fail(f'Python {found} is not supported (3.10 to 3.13): make PYTHON=/path/to/python3.11 ...')
    wanted = hashlib.sha256(LOCK.read_bytes() + (ROOT / 'setup.py').read_bytes()).hexdigest()
    if STAMP.is_file() and STAMP.read_text() == wanted and _runs():
        return 0
    free_gb = shutil.disk_usage(ROOT).free / 1e9
    if free_gb < MIN_FREE_GB:
        return _fail(f'{ROOT} has {free_gb:.1f} GB of free disk, {MIN_FREE_GB} GB are needed')
    if not _runs():
        print(f'creating {VENV} with Python {sys.version.split()[0]}', flush=True)
        try:
            venv.EnvBuilder(clear=True, with_pip=True).create(VENV)
        except (OSError, subprocess.CalledProcessError) as error:
            return _fail(f'cannot create {VENV} ({error}); on Debian and Ubuntu install python3-venv')
    print('installing pinned requirements (PyTorch is the large one) ...', flush=True)
    torch = next(line for line in LOCK.read_text().splitlines() if line.startswith('torch=='))
    steps = (
        [torch, '-c', str(LOCK)],
        ['--no-deps', '-r', str(LOCK)],
        ['--no-deps', '--no-build-isolation', '-e', str(ROOT)],
    )
    for arguments in steps:
        problem = _pip_install(arguments)
        if problem:
            return _fail(problem)
    STAMP.write_text(wanted)
    return 0


def _runs() -> bool:
    """Tell whether the environment's interpreter and pip work; a half-made one does not."""
    if not PYTHON.is_file():
        return False
    command = [
        str(PYTHON),
        '-c',
        'import pip, sys; sys.exit(not ((3, 10) <= sys.version_info[:2] <= (3, 13)))',
    ]
    return subprocess.run(command, stderr=subprocess.DEVNULL).returncode == 0


def _pip_install(arguments: list[str]) -> str | None:
    """Install; return one line that says what went wrong, or ``None``."""
    command = [str(PYTHON), '-m', 'pip', 'install', '--disable-pip-version-check', '-q', *arguments]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if result.returncode == 0:
        return None
    log = VENV / 'pip-error.log'
    log.write_text(result.stderr)
    text = result.stderr.lower()
    if 'no space left' in text:
        return f'the disk is full; free some space and run the command again ({log})'
    if any(sign in text for sign in ('connection', 'timed out', 'name resolution', 'ssl', 'proxy')):
        return f'the package index cannot be reached; check the network or proxy and run again ({log})'
    errors = [line for line in result.stderr.splitlines() if line.startswith('ERROR')]
    return f'pip failed: {errors[0] if errors else "see the log"} ({log})'


def _fail(message: str) -> int:
    print(f'mmhier set-up: {message}', file=sys.stderr)
    return 1


if __name__ == '__main__':
    sys.exit(main())
