"""The members of a tar, from its headers; nothing in it is executed, and no name in it becomes a path.

A tar ends with a block of zeros. One that does not is cut off, which Python's own reader takes for its end.
"""

import os
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from mmhier.safe_files import Bounded

BLOCK = tarfile.BLOCKSIZE
_DAMAGE = (tarfile.TarError, EOFError, ValueError, RecursionError, MemoryError, OverflowError)


def tar_members(file: BinaryIO) -> Iterator[tarfile.TarInfo]:
    """Go through the files in a tar that are there as a whole, in its order.

    Args:
        file: The tar, which is not compressed and can be searched. It may be moved between two members.

    Raises:
        ValueError: At the end: if it is cut off, damaged, or no tar.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    try:
        with tarfile.open(fileobj=Bounded(file), mode='r:') as tar:
            for info in tar:
                if info.size < 0:  # the next header would be this one again
                    raise ValueError(f'{info.name} has a negative size')
                if info.isfile() and info.offset_data + info.size <= size:
                    yield info
            file.seek(tar.offset)
    except _DAMAGE as error:
        raise ValueError(f'it is cut off, damaged, or no tar ({error})') from error
    if file.read(BLOCK) != bytes(BLOCK):
        raise ValueError('it is cut off or damaged')
