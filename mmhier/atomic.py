"""Files that are whole or not there."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_file(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path``, with its ending; the file written there replaces ``path`` at the end.

    After an error the temporary file is gone and ``path`` is as it was. Folders are made. An error of the
    system, such as a full disk, names ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{os.getpid()}.{time.monotonic_ns()}.{path.name}')
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary), temporary):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
