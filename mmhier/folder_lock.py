"""A folder that one process at a time writes to.

The lock is the operating system's, on the file ``.mmhier.lock`` in the folder: it ends with its process,
however that ends, and a file that is left behind locks nothing.
"""

import contextlib
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

NAME = '.mmhier.lock'
POLL_S = 0.2
# How often a folder that was just made may be gone again, before it counts as one that cannot be made.
MOST_GONE = 20


class FolderLock:
    """Holds a folder until :meth:`release`. Where the file system has no locks, it holds nothing.

    Args:
        folder: It has to exist.

    Raises:
        FileExistsError: If somebody else holds it.
        OSError: If the folder cannot be written to.
    """

    def __init__(self, folder: str | Path):
        self.path = Path(folder) / NAME
        while True:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                if not _lock(self._file):
                    raise FileExistsError(
                        f'{folder} is written to by another run of mmhier (process '
                        f'{os.read(self._file, 20).decode() or "unknown"}): choose another folder, or wait'
                    )
                if self._is_current():
                    os.truncate(self._file, 0)
                    os.write(self._file, str(os.getpid()).encode())
                    return
            except BaseException:
                os.close(self._file)
                raise
            os.close(self._file)  # of a run that took it away just now

    def release(self) -> None:
        """Let others write; calling it again does nothing."""
        if self._file is None:
            return
        file, self._file = self._file, None
        with contextlib.suppress(OSError):  # Windows keeps files that are open, and they may be gone
            self.path.unlink()
        os.close(file)

    def _is_current(self) -> bool:
        """Whether the file that was locked is the one that others see."""
        try:
            return os.path.samestat(os.fstat(self._file), os.stat(self.path))
        except FileNotFoundError:
            return False


def wait_for(folder: str | Path, waiting: Callable[[], None] = lambda: None) -> FolderLock:
    """Hold a folder, which is made if need be, as soon as nobody else does.

    Args:
        folder: Which.
        waiting: Is called once if somebody does.

    Raises:
        NotADirectoryError: If it is a file.
        OSError: If it cannot be made, or written to.
    """
    folder, told, gone = Path(folder), False, 0
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return FolderLock(folder)
        except FileExistsError as error:
            if not folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, 'Not a folder', str(folder)) from error
            if not told:
                waiting()
                told = True
            time.sleep(POLL_S)
        except FileNotFoundError:  # removed between the two lines
            gone += 1
            if gone > MOST_GONE:
                raise


def _lock(file: int) -> bool:
    """Lock an open file; False if somebody else has."""
    try:
        import fcntl
    except ImportError:
        import msvcrt

        try:
            os.lseek(file, 1 << 20, os.SEEK_SET)  # beyond the process number, which others read
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(file, 0, os.SEEK_SET)
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True
