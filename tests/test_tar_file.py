"""What is whole in a tar is found, and damage is said at the end."""

import io
import tarfile

import pytest

from mmhier.tar_file import tar_members


@pytest.fixture
def tar():
    """Three files, a folder and a link."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode='w') as file:
        for number in range(3):
            info = tarfile.TarInfo(f'{number}.jpg')
            info.size = 700
            file.addfile(info, io.BytesIO(bytes([number]) * 700))
        for name, kind in (('folder', tarfile.DIRTYPE), ('link', tarfile.SYMTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, '/etc/passwd'
            file.addfile(info)
    return made.getvalue()


def test_members_are_where_they_say(tar):
    """Also when the file is moved in between."""
    file, found = io.BytesIO(tar), []
    for info in tar_members(file):
        file.seek(info.offset_data)
        found.append((info.name, file.read(info.size)))
    assert found == [(f'{number}.jpg', bytes([number]) * 700) for number in range(3)]


@pytest.mark.parametrize(
    ('size', 'whole'), [(0, 0), (100, 0), (512 + 699, 0), (512 + 1024, 1), (1536 * 2 + 700, 2)]
)
def test_a_tar_that_is_cut_off(tar, size, whole):
    found = []
    with pytest.raises(ValueError, match='cut off'):
        for info in tar_members(io.BytesIO(tar[:size])):
            found.append(info.name)
    assert len(found) == whole
