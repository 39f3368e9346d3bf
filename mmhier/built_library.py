"""Libraries that are built here, with the user's compiler, and kept: their names, and checksums beside them.

Half a library would end the process instead of failing, so none is loaded whose checksum does not fit.
"""

import hashlib
import os
import shlex
import subprocess
from collections.abc import Iterable
from pathlib import Path

from mmhier.atomic import new_file
from mmhier.safe_files import file_sha256


def compiler() -> list[str]:
    """The command of the compiler, ``$CXX`` or c++, as PyTorch takes it."""
    return shlex.split(os.environ.get('CXX') or 'c++')


def compiler_version() -> str:
    """The line in which the compiler gives its name and version.

    Raises:
        OSError: If there is none.
        ValueError: If ``$CXX`` is no command.
        subprocess.SubprocessError: If it fails.
    """
    command = [*compiler(), '--version']
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    return answer.partition('\n')[0]


def library_key(facts: Iterable[str], sources: Iterable[Path]) -> str:
    """16 hexadecimal digits of what a library depends on: facts in words, and the content of its sources."""
    key = hashlib.sha256(' '.join(facts).encode())
    for source in sources:
        key.update(source.read_bytes())
    return key.hexdigest()[:16]


def checksum(library: Path) -> str | None:
    """Return the checksum of a library if it is the one that was noted when it was built, else None."""
    try:
        found, noted = file_sha256(library), library.with_suffix('.sha256').read_text(errors='replace')
    except (OSError, ValueError):
        return None
    return found if found == noted else None


def note_checksum(built: Path, library: Path) -> None:
    """Note the checksum of what was built and is about to become ``library``."""
    with new_file(library.with_suffix('.sha256')) as noted:
        noted.write_text(file_sha256(built))
