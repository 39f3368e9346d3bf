"""What the gate gives back of good files; what it does with bad ones is in test_hostile_files.py."""

import io
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from mmhier import safe_files
from mmhier.safe_files import (
    MAX_RATIO,
    Archive,
    Bounded,
    check_local,
    open_file,
    read_bytes,
    read_json,
    read_npy,
    read_npz,
    read_text,
)

ARRAYS = dict(
    floats=np.arange(6.0).reshape(2, 3),
    fortran=np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
    other_order=np.arange(3, dtype='>f4'),
    text=np.array(['a', 'bcd']),
    raw=np.array([b'a', b'bc']),
    scalar=np.array(3.5),
    empty=np.zeros((0, 4), np.float32),
    flags=np.array([True, False]),
    records=np.array([(1, 2.0)], [('a', 'i4'), ('b', 'f8')]),
)


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_arrays_are_read_as_numpy_reads_them(save, tmp_path):
    path = tmp_path / 'a.npz'
    save(path, **ARRAYS)
    found = read_npz(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].flags.writeable
        np.save(tmp_path / 'a.npy', array)
        np.testing.assert_array_equal(read_npy(tmp_path / 'a.npy'), array)
    assert list(read_npz(path, ['text', 'gone'])) == ['text']


def test_text_and_json(tmp_path):
    path = tmp_path / 'a.json'
    for encoding in ('utf-8', 'utf-8-sig'):
        path.write_text('{"ä": [1, 2.5, null]}', encoding=encoding)
        assert read_json(path) == {'ä': [1, 2.5, None]}
        assert read_text(path) == '{"ä": [1, 2.5, null]}'


def test_links_to_files_are_followed_and_sizes_bounded(tmp_path):
    (tmp_path / 'a').write_bytes(b'12345')
    (tmp_path / 'b').symlink_to('a')
    assert read_bytes(tmp_path / 'b') == b'12345'
    with pytest.raises(ValueError, match='has 5 bytes, such a file has at most 4'):
        read_bytes(tmp_path / 'b', 4)
    check_local('https://example.org/a.png')
    with pytest.raises(ValueError, match='is a folder, expected a regular file'):
        check_local(tmp_path)


@pytest.mark.skipif(not hasattr(os, 'mkfifo'), reason='no pipes here')
def test_descriptors_are_closed_whatever_happens(tmp_path):
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'bad.npz').write_bytes(b'PK\x03\x04')
    before = len(os.listdir('/dev/fd'))
    for read in (read_bytes, read_npz):
        for name in ('pipe', 'bad.npz', ''):
            try:
                read(tmp_path / name)
            except ValueError:
                continue
    assert len(os.listdir('/dev/fd')) == before


@pytest.mark.skipif(not hasattr(os, 'geteuid') or os.geteuid() == 0, reason='root may read everything')
def test_forbidden_files(tmp_path):
    (tmp_path / 'a').touch(mode=0)
    with pytest.raises(PermissionError, match='a may not be read'):
        read_bytes(tmp_path / 'a')


def test_what_an_archive_may_unpack_to(tmp_path, monkeypatch):
    monkeypatch.setattr(safe_files, 'FREE_BYTES', 1 << 20)
    zeros = np.zeros(600000, np.uint8)
    np.savez_compressed(tmp_path / 'a.npz', zeros)
    assert (tmp_path / 'a.npz').stat().st_size * MAX_RATIO < 1 << 20
    assert read_npz(tmp_path / 'a.npz')['arr_0'].shape == zeros.shape
    np.savez_compressed(tmp_path / 'a.npz', zeros, zeros)
    with pytest.raises(ValueError, match=r'a\.npz has .* unpack to 1,200,256.*without compression'):
        read_npz(tmp_path / 'a.npz')
    np.savez(tmp_path / 'a.npz', zeros, zeros)
    assert len(read_npz(tmp_path / 'a.npz')) == 2


def test_members_that_claim_other_sizes():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a', bytes(1 << 22))
    content = stream.getvalue()
    assert Archive(io.BytesIO(content), 'x.zip').read('a') == bytes(1 << 22)
    size = (1 << 22).to_bytes(4, 'little')
    assert content.count(size) == 2  # in its own header and in the list of contents
    for claim in (0, 5, 1 << 23):
        lying = content.replace(size, claim.to_bytes(4, 'little'))
        with pytest.raises(ValueError, match=r'x\.zip is damaged'):
            Archive(io.BytesIO(lying), 'x.zip').read('a')


def test_bounded_reads():
    file = io.BytesIO(b'abcdef\nrest')
    stream = Bounded(file)
    assert (stream.read(3), stream.tell(), stream.readline(), stream.read(1 << 62)) == (
        b'abc', 3, b'def\n', b'rest',
    )  # fmt: skip
    assert stream.read() == b''
    stream.seek(9)
    assert stream.read(-1) == b'st'


def test_it_needs_numpy_only():
    code = (
        'import sys; from mmhier import safe_files; print("torch" in sys.modules, "mmengine" in sys.modules)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout == 'False False\n'
    assert safe_files.open_file is open_file


@pytest.mark.skipif(not os.path.exists('/proc/self/pagemap'), reason='no /proc here')
@pytest.mark.parametrize('name', ['/proc/version', '/proc/self/pagemap', '/proc/self/mem', '/proc/kmsg'])
def test_files_of_the_kernel_are_refused(tmp_path, name):
    """Their size says 0 and they hold something, without end some of them."""
    path = tmp_path / 'picture.png'
    path.symlink_to(name)
    for reader in (read_bytes, check_local, read_json):
        with pytest.raises((ValueError, PermissionError)) as error:
            reader(path)
        assert str(path) in str(error.value) and '\n' not in str(error.value)
    if name == '/proc/version':
        with pytest.raises(ValueError, match='holds data although its size is 0, as files of /proc do'):
            check_local(path)


def test_an_empty_file_is_read(tmp_path):
    (tmp_path / 'a').touch()
    assert read_bytes(tmp_path / 'a') == b''
