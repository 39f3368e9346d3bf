"""From a name to a file: once, whole, with its licence; or told why not and what to do."""

import errno
import hashlib
import io
import json
import logging
import multiprocessing
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mmhier import folder_lock
from mmhier.folder_lock import FolderLock
from mmhier.network import OFFLINE_VARIABLES, DownloadError
from mmhier.testing.file_server import Served
from mmhier.user_cache import HOME_VARIABLE
from mmhier.zoo import cache, fetch
from mmhier.zoo.fetch import LicenceError, fetch_entry
from mmhier.zoo.registry import Source

CONTENT = np.random.default_rng(0).bytes(200_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def packed(content: bytes, name: str = 'sdk/20230314/end2end.onnx') -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w') as archive:
        archive.writestr('sdk/deploy.json', '{}')
        archive.writestr(name, content)
    return stream.getvalue()


def leftovers(entry) -> list[str]:
    return sorted(path.name for path in cache.folder_of(entry).iterdir())


@pytest.fixture
def entry(server, make_entry):
    server.files['/net.bin'] = Served(CONTENT)
    return make_entry(content=CONTENT, sources=[server.url('/net.bin')])


def test_fetched_once_with_its_licence(entry, server, home, capsys):
    path = fetch.fetch('net')
    assert path == home / 'models/net/net.bin' and path.read_bytes() == CONTENT
    assert fetch.fetch('net') == path
    assert len(server.log) == 1
    assert leftovers(entry) == ['net.bin', 'net.bin.json']
    receipt = json.loads((home / 'models/net/net.bin.json').read_text())
    assert receipt['sha256'] == SHA256 and receipt['origin'] == server.url('/net.bin')
    assert 'CC BY 4.0' in receipt['licence'] and receipt['accepted'] is False
    out, told = capsys.readouterr()
    assert out == '' and told.count('licence of the weights: CC BY 4.0') == 1


@pytest.mark.parametrize('damage', [b'', b'cut', CONTENT[:-1] + b'x', CONTENT + b'x'])
def test_a_damaged_file_says_so_and_is_fetched_again(entry, server, caplog, capsys, damage):
    path = fetch_entry(entry)
    path.write_bytes(damage)
    with caplog.at_level(logging.WARNING, 'mmhier'):
        assert fetch_entry(entry).read_bytes() == CONTENT
    assert len(server.log) == 2
    assert re.search(f'{path} is not used: it has (the SHA-256|[0-9,]+ bytes instead of)', caplog.text)
    assert 'net: fetching again: ' in capsys.readouterr().err


def test_a_file_is_hashed_before_its_first_use_and_when_it_changed(entry, home, monkeypatch):
    hashed = []
    original = cache.sha256_of
    monkeypatch.setattr(
        cache, 'sha256_of', lambda path, again=False: hashed.append(path) or original(path, again)
    )
    path = cache.path_of(entry)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    assert fetch_entry(entry) == path and hashed == [path]  # put there by hand
    assert fetch_entry(entry) == path and hashed == [path]
    os.utime(path)
    assert fetch_entry(entry) == path and hashed == [path] * 2
    assert json.loads(cache.receipt_path(path).read_text())['origin'] == 'put there by hand'


def test_of_a_prefix_as_much_is_checked(server, make_entry, caplog):
    server.files['/a'] = Served(CONTENT)
    wrong = make_entry('wrong', sources=[server.url('/a')], sha256_prefix='00000000')
    with pytest.raises(
        DownloadError, match=f'has the SHA-256 {SHA256} instead of 00000000.*SHA-256 00000000'
    ):
        fetch_entry(wrong)
    right = make_entry('right', sources=[server.url('/a')], sha256_prefix=SHA256[:8])
    assert fetch_entry(right).read_bytes() == CONTENT


def test_what_has_no_published_hash_stays_what_it_was(server, make_entry, caplog, capsys):
    server.files['/a'] = Served(CONTENT)
    entry = make_entry(sources=[server.url('/a')], uncertain='no SHA-256 is known')
    path = fetch_entry(entry)
    assert 'uncertain: no SHA-256 is known' in capsys.readouterr().err
    path.write_bytes(CONTENT[::-1])
    with caplog.at_level(logging.WARNING, 'mmhier'):
        assert fetch_entry(entry).read_bytes() == CONTENT
    assert f'and had {SHA256} when it came' in caplog.text


def test_failure_names_all_that_is_needed(server, make_entry, home):
    server.files['/b'] = Served(b'x' * len(CONTENT))
    entry = make_entry(content=CONTENT, sources=[server.url('/a'), server.url('/b')])
    with pytest.raises(DownloadError) as caught:
        fetch_entry(entry)
    text = str(caught.value)
    assert f'{server.url("/a")}: the server answers 404' in text
    assert f'{server.url("/b")}: what it gives has the SHA-256' in text
    assert f'200,000 bytes, SHA-256 {SHA256}' in text
    assert str(home / 'models/net/net.bin') in text and '\n' not in text
    assert leftovers(entry) == []


def test_404_then_the_mirror(server, make_entry):
    server.files['/b'] = Served(CONTENT)
    entry = make_entry(content=CONTENT, sources=[server.url('/a'), server.url('/b')])
    assert fetch_entry(entry).read_bytes() == CONTENT
    assert cache.read_receipt(cache.path_of(entry)).origin == server.url('/b')


def test_one_member_of_an_archive(server, make_entry):
    archive = packed(CONTENT)
    server.files['/a.zip'] = Served(archive)
    source = Source(
        server.url('/a.zip'), '', '**/end2end.onnx', len(archive), None, hashlib.sha256(archive).hexdigest()
    )
    entry = make_entry(content=CONTENT, sources=[source])
    assert fetch_entry(entry).read_bytes() == CONTENT
    assert leftovers(entry) == ['net.bin', 'net.bin.json']


def test_a_bad_archive_then_a_good_one(server, make_entry):
    bad = {'/a.zip': packed(b'x'), '/b.zip': packed(CONTENT, '../end2end.onnx'), '/c.zip': b'no archive'}
    bad['/d.zip'] = packed(CONTENT[::-1])
    for path, content in (bad | {'/e.zip': packed(CONTENT)}).items():
        server.files[path] = Served(content)
    sources = [Source(server.url(path), member='**/end2end.onnx') for path in server.files]
    entry = make_entry(content=CONTENT, sources=sources[:-1])
    with pytest.raises(DownloadError) as caught:
        fetch_entry(entry)
    for text in (
        'instead of 200,000',
        'leads out of its folder',
        'not a ZIP or tar',
        'end2end.onnx in d.zip.part has',
    ):
        assert text in str(caught.value)
    assert leftovers(entry) == []
    entry = make_entry(content=CONTENT, sources=sources)
    assert fetch_entry(entry).read_bytes() == CONTENT


def test_an_archive_that_was_put_there_by_hand(server, make_entry, tmp_path, monkeypatch):
    entry = make_entry(
        content=CONTENT, sources=[Source(file='a.zip', member='**/end2end.onnx')], note='in a browser'
    )
    with pytest.raises(
        DownloadError, match=r'cannot be downloaded by a program: in a browser.*archive as .*a\.zip'
    ):
        fetch_entry(entry)
    by_hand = cache.folder_of(entry) / 'a.zip'
    by_hand.parent.mkdir(parents=True, exist_ok=True)
    by_hand.write_bytes(packed(CONTENT))
    monkeypatch.setenv('MMHIER_OFFLINE', '1')
    assert fetch_entry(entry).read_bytes() == CONTENT
    assert by_hand.exists() and not server.log


@pytest.mark.parametrize('variable', OFFLINE_VARIABLES)
def test_offline(entry, server, monkeypatch, variable):
    monkeypatch.setenv(variable, '1')
    with pytest.raises(DownloadError, match=f'{variable} forbids to download it.*{server.url("/net.bin")}'):
        fetch_entry(entry)
    assert not server.log and not cache.home().exists()
    monkeypatch.setenv(variable, '0')
    path = fetch_entry(entry)
    monkeypatch.setenv(variable, '1')
    assert fetch_entry(entry) == path


def test_a_licence_has_to_be_accepted_and_nobody_is_asked_without_a_terminal(server, make_entry, monkeypatch):
    server.files['/a'] = Served(CONTENT)
    entry = make_entry(content=CONTENT, sources=[server.url('/a')], non_commercial='yes')
    monkeypatch.setattr('builtins.input', lambda *_: pytest.fail('asked'))
    with pytest.raises(LicenceError, match='CC BY 4.0.*mmhier models download net --accept-licence'):
        fetch_entry(entry)
    assert not server.log
    fetch_entry(entry, accept_licence=True)
    assert cache.read_receipt(cache.path_of(entry)).accepted
    assert fetch_entry(entry) == cache.path_of(entry)  # what is here has been accepted


@pytest.mark.parametrize(('answer', 'accepted'), [('y\n', True), ('n\n', False), ('', False)])
def test_on_a_terminal_the_user_is_asked(server, make_entry, monkeypatch, capsys, answer, accepted):
    server.files['/a'] = Served(CONTENT)
    entry = make_entry(content=CONTENT, sources=[server.url('/a')], non_commercial='unknown')
    terminal = io.StringIO(answer)
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, 'stdin', terminal)
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True, raising=False)
    if accepted:
        fetch_entry(entry)
    else:
        with pytest.raises(LicenceError):
            fetch_entry(entry)
    assert len(server.log) == accepted
    assert 'Do you accept this? [y/N]' in capsys.readouterr().err


def run_together(entry, count: int) -> list[int]:
    """Exit statuses of processes that fetch an entry at the same time."""
    context = multiprocessing.get_context('fork')
    processes = [context.Process(target=fetch_entry, args=(entry,)) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


@pytest.mark.parametrize('count', [2, 8])
def test_many_processes_make_one_download(entry, server, count):
    server.files['/net.bin'] = Served(CONTENT, pause_s=0.1)
    assert run_together(entry, count) == [0] * count
    assert len(server.log) == 1
    assert cache.path_of(entry).read_bytes() == CONTENT
    assert leftovers(entry) == ['net.bin', 'net.bin.json']


def test_a_killed_process_leaves_no_lock_and_what_it_fetched_is_used(entry, server):
    server.files['/net.bin'] = Served(CONTENT, stall=50_000, stall_s=20, faults=1)
    process = multiprocessing.get_context('fork').Process(target=fetch_entry, args=(entry,))
    process.start()
    part = cache.path_of(entry).with_name('net.bin.part')
    end = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size == 50_000) and time.monotonic() < end:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not cache.path_of(entry).exists()  # a cut file never has the name of a whole one
    assert fetch_entry(entry).read_bytes() == CONTENT
    assert server.log == [('/net.bin', None), ('/net.bin', 'bytes=50000-')]


def test_who_waits_says_so(entry, monkeypatch, capsys):
    cache.folder_of(entry).mkdir(parents=True)
    locks = [FolderLock(cache.folder_of(entry))]
    monkeypatch.setattr(folder_lock.time, 'sleep', lambda seconds: locks.pop().release() if locks else None)
    assert fetch_entry(entry).read_bytes() == CONTENT
    assert 'net: waiting for another process' in capsys.readouterr().err


def test_shared_folders_are_looked_at_first_and_not_written_to(entry, server, tmp_path, monkeypatch):
    shared = [tmp_path / 'one', tmp_path / 'two']
    for folder in shared:
        folder.mkdir()
    (shared[1] / 'net').mkdir()
    (shared[1] / 'net/net.bin').write_bytes(CONTENT)
    monkeypatch.setenv(cache.FOLDERS_VARIABLE, os.pathsep.join(map(str, shared)))
    assert fetch_entry(entry) == shared[1] / 'net/net.bin'
    (shared[0] / 'net.bin').write_bytes(CONTENT)
    assert fetch_entry(entry) == shared[0] / 'net.bin'
    assert not server.log and not cache.home().exists()
    assert [path.name for path in (shared[1] / 'net').iterdir()] == ['net.bin']


def test_a_damaged_shared_file_is_told_of_and_not_touched(entry, tmp_path, monkeypatch, caplog):
    (tmp_path / 'net.bin').write_bytes(b'cut')
    monkeypatch.setenv(cache.FOLDERS_VARIABLE, str(tmp_path))
    with caplog.at_level(logging.WARNING, 'mmhier'):
        assert fetch_entry(entry) == cache.path_of(entry)
    assert f'{tmp_path / "net.bin"} is not used: it has 3 bytes' in caplog.text
    assert (tmp_path / 'net.bin').read_bytes() == b'cut'


def test_an_unreadable_shared_file_is_told_of(entry, tmp_path, monkeypatch, caplog):
    (tmp_path / 'net.bin').write_bytes(CONTENT)
    monkeypatch.setenv(cache.FOLDERS_VARIABLE, str(tmp_path))
    monkeypatch.setattr(cache, 'sha256_of', lambda path, again=False: Path('/proc/self/mem').read_bytes())
    with caplog.at_level(logging.WARNING, 'mmhier'), pytest.raises(OSError):
        fetch_entry(entry)
    assert f'{tmp_path / "net.bin"} is not used: it cannot be read' in caplog.text


def test_checkpoints_of_torch_hub_count_if_their_hash_is_known(entry, server, make_entry):
    folder = cache.torch_folder()
    folder.mkdir(parents=True)
    (folder / 'net.bin').write_bytes(b'another file of this name')
    assert fetch_entry(entry) == cache.path_of(entry)
    cache.remove(entry)
    (folder / 'net.bin').write_bytes(CONTENT)
    assert fetch_entry(entry) == folder / 'net.bin'
    unknown = make_entry('unknown', sources=[server.url('/net.bin')])
    assert fetch_entry(unknown) == cache.path_of(unknown)


@pytest.fixture
def no_rights():
    """A folder that everybody can enter, and a function that makes this process one that owns nothing."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    is_root = os.geteuid() == 0
    yield folder, lambda: os.seteuid(65534) if is_root else None
    if is_root:
        os.seteuid(0)
    for path in folder.rglob('*'):
        path.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.skipif(not hasattr(os, 'seteuid'), reason='rights of POSIX')
def test_a_read_only_cache(no_rights, server, make_entry, monkeypatch):
    folder, give_up_rights = no_rights
    monkeypatch.setenv(HOME_VARIABLE, str(folder / 'home'))
    server.files['/net.bin'] = Served(CONTENT)
    entry = make_entry(content=CONTENT, sources=[server.url('/net.bin')])
    path = cache.path_of(entry)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    for one in (path.parent, path.parent.parent):
        one.chmod(0o555)
    give_up_rights()
    assert fetch_entry(entry) == path
    assert [one.name for one in path.parent.iterdir()] == ['net.bin']
    other = make_entry('other', content=CONTENT, sources=[server.url('/net.bin')])
    with pytest.raises(
        DownloadError, match=r'models/other cannot be written to \(Permission denied\): set MMHIER_HOME'
    ):
        fetch_entry(other)
    assert not server.log


def test_a_cache_where_nothing_can_be(entry, monkeypatch, tmp_path):
    """A file or nothing in the place of a folder; what is not made and not refused either, as below /proc."""
    (tmp_path / 'file').touch()
    (tmp_path / 'circle').symlink_to(tmp_path / 'circle')
    for place in ('file', 'file/models', 'circle'):
        monkeypatch.setenv('MMHIER_HOME', str(tmp_path / place))
        with pytest.raises(OSError, match='cannot be written to|Not a folder|Not a directory'):
            fetch_entry(entry)
    monkeypatch.setenv('MMHIER_HOME', str(tmp_path / 'home'))

    def vanished(*_, **__):
        raise FileNotFoundError(errno.ENOENT, 'No such file or directory')

    monkeypatch.setattr(folder_lock, 'FolderLock', vanished)
    with pytest.raises(DownloadError, match='cannot be written to .No such file'):
        fetch_entry(entry)


def test_a_full_disk(entry, server, monkeypatch):
    usage = shutil.disk_usage('/')._replace(free=1000)
    monkeypatch.setattr('mmhier.download.shutil.disk_usage', lambda path: usage)
    with pytest.raises(
        OSError, match=r'1,000 are free. net has 200,000 bytes; make room, or set MMHIER_HOME'
    ) as caught:
        fetch_entry(entry)
    assert caught.value.errno == errno.ENOSPC
    assert leftovers(entry) == []


def test_remove(entry, server):
    fetch_entry(entry)
    cache.folder_of(entry).joinpath('net.bin.part').write_bytes(b'12345')
    assert cache.remove(entry) > len(CONTENT) + 5
    assert not cache.folder_of(entry).exists() and cache.remove(entry) == 0
    assert fetch_entry(entry).exists() and len(server.log) == 2


def test_description(entry, server, monkeypatch, home):
    assert cache.describe() == f'{home}/models: 0 files, 0.0 MB; downloads on first use'
    fetch_entry(entry)
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    monkeypatch.setenv(cache.FOLDERS_VARIABLE, '/shared')
    assert cache.describe() == (
        f'{home}/models: 1 file, 0.2 MB; looked at first: /shared; OFFLINE (HF_HUB_OFFLINE is set)'
    )
