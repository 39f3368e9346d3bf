"""Archives of ``torch.save``, ``torch.jit.save`` and ``torch.export.save``, compared with their checksums.

torch's own reader takes a record as it is: flipped bytes become wrong weights without a word. Here every
record is read the way torch will read it and compared with the CRC-32 that the archive holds, 0.3 s for
100 MB. Files that are no archives have no checksums: those of torch before 1.6, plain pickles, and
.safetensors, of which only the structure and that nothing is NaN can be checked.
"""

import logging
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import torch

from mmhier.safe_files import Archive

logger = logging.getLogger('mmhier')


class TorchArchive:
    """An archive of torch, whole.

    Args:
        file: The archive.
        name: For messages.
        path: The file, if ``name`` does not tell; the warning that there are no checksums names it.

    Raises:
        ValueError: If it is damaged: a record differs from its checksum, or unpacks to too much.
    """

    def __init__(self, file: BinaryIO, name: str, path: str = ''):
        members = Archive(file, name)
        file.seek(0)
        try:
            self._reader = torch._C.PyTorchFileReader(file)
            self.records = tuple(self._reader.get_all_records())
        except RuntimeError as error:
            raise ValueError(f'{name} is no archive of torch, or a damaged one ({_line(error)})') from error
        folder = members.names[0].partition('/')[0] if members.names else ''
        if {f'{folder}/{record}' for record in self.records} != set(members.names):
            raise ValueError(f'{name} is damaged: its contents contradict its list of contents')
        if not any(map(members.checksum, members.names)):
            logger.warning(
                '%s was written without checksums: whether it is damaged cannot be told', path or name
            )
            return
        for record, content in self._contents(name):
            member = f'{folder}/{record}'
            if len(content) != members.size(member) or zlib.crc32(content) != members.checksum(member):
                raise ValueError(
                    f'{name} is damaged: {record} differs from its checksum; download or copy it again'
                )

    def _contents(self, name: str) -> Iterator[tuple[str, bytes]]:
        for record in self.records:
            try:
                yield record, self._reader.get_record(record)
            except RuntimeError as error:
                raise ValueError(f'{name} is damaged: {record} ({_line(error)})') from error

    def read(self, record: str) -> bytes:
        """Content of a record."""
        return self._reader.get_record(record)


def _line(error: Exception) -> str:
    return str(error).partition('\n')[0]
