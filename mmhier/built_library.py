"""Checksums beside libraries that were built here: half of one would end the process instead of failing."""

import hashlib
from pathlib import Path

from mmhier.atomic import new_file


def checksum(library: Path) -> str | None:
    """Return the checksum of a library if it is the one that was noted when it was built, else None."""
    try:
        found, noted = _sha256(library), library.with_suffix('.sha256').read_text(errors='replace')
    except OSError:
        return None
    return found if found == noted else None


def note_checksum(built: Path, library: Path) -> None:
    """Note the checksum of what was built and is about to become ``library``."""
    with new_file(library.with_suffix('.sha256')) as noted:
        noted.write_text(_sha256(built))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
