"""One member leaves an archive; hostile archives are refused and leave nothing."""

import gzip
import io
import os
import re
import tarfile
import time
import zipfile

import pytest

from mmhier.zoo import archive_member
from mmhier.zoo.archive_member import extract_member

CONTENT = os.urandom(3 << 20)


def make_zip(path, members, kind=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, 'w', kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_tar(path, members, mode='w:gz'):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


MAKERS = {
    'zip': make_zip,
    'tar': lambda path, members: make_tar(path, members, 'w'),
    'tar.gz': make_tar,
}  # fmt: skip


@pytest.fixture(params=MAKERS)
def pack(request, tmp_path):
    return lambda members: MAKERS[request.param](tmp_path / f'archive.{request.param}', members)


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'out' / 'net.bin'


@pytest.mark.parametrize('pattern', ['some/2023/net.onnx', '**/net.onnx'])
def test_one_member(pack, out, pattern):
    archive = pack({'readme.txt': b'read me', 'some/2023/net.onnx': CONTENT, 'some/net.onnx.json': b'{}'})
    extract_member(archive, pattern, out, len(CONTENT))
    assert out.read_bytes() == CONTENT
    assert [path.name for path in out.parent.iterdir()] == ['net.bin']


def test_a_member_without_folder_or_in_the_present_one(pack, out):
    extract_member(pack({'net.onnx': CONTENT}), '**/net.onnx', out)
    assert out.read_bytes() == CONTENT
    extract_member(pack({'./a=1/net.onnx': CONTENT[:9]}), 'a=1/net.onnx', out)
    assert out.read_bytes() == CONTENT[:9]


@pytest.mark.parametrize(
    'name', ['../net.onnx', 'a/../../net.onnx', '/etc/net.onnx', '..\\net.onnx', 'C:\\net.onnx']
)
def test_members_that_lead_out(pack, out, name):
    archive = pack({'net.onnx': CONTENT, name: b'x'})
    with pytest.raises(ValueError, match=f'{re.escape(str(archive))} is refused: its member .* leads out'):
        extract_member(archive, 'net.onnx', out)
    assert list(out.parent.iterdir()) == []


@pytest.mark.parametrize('members', [{}, {'a.txt': b'1'}, {'a/net.onnx': b'1', 'b/net.onnx': b'2'}])
def test_none_or_several_fit(pack, out, members):
    with pytest.raises(ValueError, match=r'members? \*\*/net.onnx|there are several'):
        extract_member(pack(members), '**/net.onnx', out)
    assert list(out.parent.iterdir()) == []


def test_another_size_than_is_known(pack, out):
    with pytest.raises(ValueError, match='net.onnx unpacks to 3,145,728 bytes instead of 1,000'):
        extract_member(pack({'net.onnx': CONTENT}), 'net.onnx', out, 1000)
    assert list(out.parent.iterdir()) == []


def test_bombs(pack, out, monkeypatch):
    """Of zeros that pack a thousandfold nothing is unpacked."""
    monkeypatch.setattr(archive_member, 'FREE_BYTES', 1 << 20)
    monkeypatch.setattr('mmhier.safe_files.FREE_BYTES', 1 << 20)
    zeros = bytes(64 << 20)
    archive = pack({'bomb.bin': zeros, 'net.onnx': b'x'})
    if archive.suffix == '.tar':
        extract_member(archive, 'net.onnx', out)  # nothing is packed in it
        return
    with pytest.raises(ValueError, match='would unpack to'):
        extract_member(archive, 'net.onnx', out)
    assert list(out.parent.iterdir()) == []


def test_a_bomb_in_a_header(tmp_path, out):
    """A tar whose header claims, and gzip unpacks, far more than a header has."""
    info = tarfile.TarInfo('pax')
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    archive = tmp_path / 'a.tar.gz'
    with gzip.open(archive, 'wb', compresslevel=1) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(32):
            file.write(bytes(1 << 20))
    start = time.perf_counter()
    with pytest.raises(ValueError, match='headers of more than'):
        extract_member(archive, 'net.onnx', out)
    assert time.perf_counter() - start < 5


def test_links_are_no_files(tmp_path, out):
    with tarfile.open(tmp_path / 'a.tar', 'w') as archive:
        info = tarfile.TarInfo('net.onnx')
        info.type, info.linkname = tarfile.SYMTYPE, '/etc/passwd'
        archive.addfile(info)
    with pytest.raises(ValueError, match='net.onnx is no file'):
        extract_member(tmp_path / 'a.tar', 'net.onnx', out)


@pytest.mark.parametrize('cut', [0, 1, 600, 100_000])
def test_damage(pack, out, cut):
    archive = pack({'net.onnx': CONTENT, 'more': b'x' * 2000})
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(ValueError, match=re.escape(str(archive))):
        extract_member(archive, 'net.onnx', out)
    assert list(out.parent.iterdir()) == []
