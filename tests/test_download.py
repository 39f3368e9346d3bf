"""Servers that misbehave on purpose: the file is right in the end, or the reason is told."""

import errno
import os
import subprocess

import numpy as np
import pytest

from mmhier import download as module
from mmhier.download import Expected, addresses, download
from mmhier.network import DownloadError
from mmhier.testing.file_server import FileServer, Served

CONTENT = np.random.default_rng(0).bytes(300_000)


def wrong(path):
    return None if path.read_bytes() == CONTENT else 'is not the file'


KNOWN = Expected(len(CONTENT), wrong, True)
UNKNOWN = Expected()


@pytest.fixture
def part(tmp_path):
    return tmp_path / 'file.part'


@pytest.mark.parametrize('expected', [KNOWN, UNKNOWN])
def test_a_good_server(server, part, expected):
    server.files['/a'] = Served(CONTENT)
    assert download([server.url('/a')], part, expected) == server.url('/a')
    assert part.read_bytes() == CONTENT
    assert server.log == [('/a', None)]


def test_a_cut_connection_is_continued(server, part):
    server.files['/a'] = Served(CONTENT, cut=100_000, faults=2)
    download([server.url('/a')], part, KNOWN)
    assert part.read_bytes() == CONTENT
    assert server.log == [('/a', None), ('/a', 'bytes=100000-'), ('/a', 'bytes=200000-')]


def test_a_later_process_continues(server, part):
    server.files['/a'] = Served(CONTENT, cut=1000)
    with pytest.raises(DownloadError, match=r'it broke off after 3,000 of 300,000 bytes \(3 tries\)'):
        download([server.url('/a')], part, KNOWN)
    server.files['/a'].faults = 0
    download([server.url('/a')], part, KNOWN)
    assert part.read_bytes() == CONTENT
    assert server.log[-1] == ('/a', 'bytes=3000-')


def test_without_a_hash_nothing_of_another_run_or_version_is_continued(server, part):
    part.write_bytes(b'of another version')
    server.files['/a'] = Served(CONTENT, cut=1000, faults=1)
    download([server.url('/a')], part, UNKNOWN)
    assert part.read_bytes() == CONTENT
    assert server.log == [('/a', None), ('/a', None)]  # this server has no word for its version
    server.log.clear()
    server.files['/a'] = Served(CONTENT, cut=1000, faults=1, etag='"1"')
    download([server.url('/a')], part, UNKNOWN)
    assert part.read_bytes() == CONTENT
    assert server.log == [('/a', None), ('/a', 'bytes=1000-')]


def test_a_file_that_is_replaced_while_it_is_fetched(server, part):
    old = Served(bytes(300_000), cut=1000, faults=1, etag='"old"')
    server.files['/a'] = old

    class Replaced(dict):
        def get(self, path):
            return old if old.faults > 0 else Served(CONTENT, etag='"new"')

    server.files = Replaced()
    download([server.url('/a')], part, UNKNOWN)
    assert part.read_bytes() == CONTENT


def test_a_server_without_ranges_begins_anew(server, part):
    server.files['/a'] = Served(CONTENT, cut=1000, faults=1, ranges=False)
    download([server.url('/a')], part, KNOWN)
    assert part.read_bytes() == CONTENT and len(server.log) == 2


@pytest.mark.parametrize('left', [b'x' * 1000, b'x' * 300_000, b'x' * 400_000])
def test_a_part_of_something_else_is_fetched_anew(server, part, left):
    part.write_bytes(left)
    server.files['/a'] = Served(CONTENT)
    download([server.url('/a')], part, KNOWN)
    assert part.read_bytes() == CONTENT


def test_wrong_bytes_then_the_mirror(server, part):
    server.files['/a'] = Served(bytes(len(CONTENT)))
    server.files['/b'] = Served(CONTENT)
    assert download([server.url('/a'), server.url('/b')], part, KNOWN) == server.url('/b')
    assert part.read_bytes() == CONTENT
    assert [path for path, _ in server.log] == ['/a', '/b']  # wrong once is wrong again


def test_wrong_size_is_not_even_fetched(server, part):
    server.files['/a'] = Served(CONTENT[:-1])
    with pytest.raises(DownloadError, match='it has a file of 299,999 bytes instead of 300,000'):
        download([server.url('/a')], part, KNOWN)
    assert not part.exists()


@pytest.mark.parametrize('status', [403, 404, 410])
def test_what_is_not_there_is_not_asked_for_again(server, part, status):
    server.files['/a'] = Served(status=status)
    server.files['/b'] = Served(CONTENT)
    download([server.url('/a'), server.url('/b')], part, KNOWN)
    assert [path for path, _ in server.log] == ['/a', '/b']


@pytest.mark.parametrize('status', [429, 500, 503])
def test_what_may_pass_is_tried_again(server, part, status):
    server.files['/a'] = Served(CONTENT, status=status, faults=2, headers={'Retry-After': '0'})
    download([server.url('/a')], part, KNOWN)
    assert part.read_bytes() == CONTENT and len(server.log) == 3


def test_every_address_has_its_reason(server, part):
    server.files['/b'] = Served(status=503)
    with FileServer() as gone:
        nobody = gone.url('/c')
    with pytest.raises(DownloadError) as caught:
        download([server.url('/a'), server.url('/b'), nobody], part, KNOWN)
    text = str(caught.value)
    assert f'{server.url("/a")}: the server answers 404 Not Found; ' in text
    assert f'{server.url("/b")}: the server answers 503 Service Unavailable (3 tries); ' in text
    assert f'{nobody}: ' in text and 'refused (3 tries)' in text.lower()


def test_tries_wait_longer_and_longer(server, part, monkeypatch):
    waits = []
    monkeypatch.setattr(module, 'BACK_OFF_S', 1.0)
    monkeypatch.setattr(module.time, 'sleep', waits.append)
    server.files['/a'] = Served(status=503)
    with pytest.raises(DownloadError):
        download([server.url('/a')], part, KNOWN)
    server.files['/a'] = Served(CONTENT, status=429, faults=1, headers={'Retry-After': '7'})
    download([server.url('/a')], part, KNOWN)
    assert waits == [1.0, 2.0, 7.0]


def test_redirections_are_followed_and_keep_the_range(server, part):
    server.files['/a'] = Served(redirect=server.url('/b'))
    server.files['/b'] = Served(CONTENT, cut=1000, faults=1)
    download([server.url('/a')], part, KNOWN)
    assert part.read_bytes() == CONTENT
    assert server.log[-1] == ('/b', 'bytes=1000-')


def test_a_circle_of_redirections_ends(server, part):
    server.files['/a'] = Served(redirect=server.url('/a'))
    with pytest.raises(DownloadError, match='infinite loop'):
        download([server.url('/a')], part, KNOWN)


def test_redirections_to_nowhere_do_not_keep_from_the_next_address(server, part):
    server.files |= {
        '/a': Served(redirect='http://[::1'),
        '/b': Served(redirect='file:///etc/passwd'),
        '/c': Served(redirect=f'http://{"a" * 70}.example.org/'),
        '/d': Served(CONTENT),
    }
    for path, said in (('/a', 'no address'), ('/b', 'not allowed'), ('/c', 'no address|too long')):
        with pytest.raises(DownloadError, match=said):
            download([server.url(path)], part, KNOWN)
    download([server.url(path) for path in ('/a', '/b', '/c', '/d')], part, KNOWN)
    assert part.read_bytes() == CONTENT


def test_https_does_not_lead_to_http():
    request = module.urllib.request.Request('https://example.org/a')
    with pytest.raises(module._Refused, match='not https'):
        module._NoDowngrade().redirect_request(request, None, 302, 'Found', {}, 'http://example.org/a')


def test_a_server_that_stalls_is_given_up_and_continued(server, part, monkeypatch):
    monkeypatch.setattr(module, 'TIMEOUT_S', 0.3)
    server.files['/a'] = Served(CONTENT, stall=1000, faults=1)
    download([server.url('/a')], part, KNOWN)
    assert part.read_bytes() == CONTENT
    assert server.log == [('/a', None), ('/a', 'bytes=1000-')]


def test_a_slow_server_is_waited_for(server, part, monkeypatch):
    monkeypatch.setattr(module, 'TIMEOUT_S', 5.0)
    server.files['/a'] = Served(CONTENT, pause_s=0.02)
    download([server.url('/a')], part, KNOWN)
    assert part.read_bytes() == CONTENT and len(server.log) == 1


def test_a_server_that_trickles_is_given_up(server, part, monkeypatch):
    monkeypatch.setattr(module, 'PATIENCE_S', 0.2)
    server.files['/a'] = Served(CONTENT, pause_s=0.05, piece=100)
    server.files['/b'] = Served(CONTENT)
    assert download([server.url('/a'), server.url('/b')], part, KNOWN) == server.url('/b')
    assert part.read_bytes() == CONTENT


def test_a_web_page_is_not_the_file(server, part):
    server.files['/a'] = Served(b'<html>log in</html>', headers={'Content-Type': 'text/html; charset=utf-8'})
    with pytest.raises(DownloadError, match='a web page instead of the file'):
        download([server.url('/a')], part, UNKNOWN)
    assert not part.exists()


def test_without_length_and_hash_nobody_can_tell(server, part):
    server.files['/a'] = Served(CONTENT, length=False)
    with pytest.raises(DownloadError, match='does not say how large the file is'):
        download([server.url('/a')], part, UNKNOWN)
    download([server.url('/a')], part, KNOWN)
    assert part.read_bytes() == CONTENT
    server.files['/a'] = Served(CONTENT, length=False, cut=1000, faults=1)
    part.unlink()
    download([server.url('/a')], part, KNOWN)
    assert part.read_bytes() == CONTENT


def test_a_server_that_never_ends(server, part):
    server.files['/a'] = Served(CONTENT * 2, length=False)
    with pytest.raises(DownloadError, match='sends more than 300,000 bytes'):
        download([server.url('/a')], part, KNOWN)
    assert part.stat().st_size <= len(CONTENT)


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='a device that is always full')
def test_a_full_disk_is_the_disks_fault(server, part):
    server.files['/a'] = Served(CONTENT)
    part.symlink_to('/dev/full')
    with pytest.raises(OSError) as caught:
        download([server.url('/a')], part, KNOWN)
    assert caught.value.errno == errno.ENOSPC and not isinstance(caught.value, DownloadError)
    assert len(server.log) == 1


def test_a_disk_that_is_too_small_is_not_begun(server, part, monkeypatch):
    server.files['/a'] = Served(CONTENT)
    usage = module.shutil.disk_usage(part.parent)._replace(free=1000)
    monkeypatch.setattr(module.shutil, 'disk_usage', lambda path: usage)
    with pytest.raises(OSError, match='300,000 bytes are to come, 1,000 are free'):
        download([server.url('/a')], part, KNOWN)
    assert not part.exists()


def test_proxies_of_the_environment(server, part, monkeypatch):
    server.files['http://weights.example.org/a'] = Served(CONTENT)
    monkeypatch.setenv('http_proxy', server.address)
    download(['http://weights.example.org/a'], part, KNOWN)
    assert part.read_bytes() == CONTENT
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    server.files['/b'] = Served(CONTENT)
    download([server.url('/b')], part, UNKNOWN)
    assert [path for path, _ in server.log] == ['http://weights.example.org/a', '/b']


def test_certificates_of_the_environment(server, part, tmp_path, monkeypatch):
    ssl = pytest.importorskip('ssl')
    key, certificate = tmp_path / 'key.pem', tmp_path / 'certificate.pem'
    command = 'openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext'.split()
    command += ['subjectAltName=DNS:localhost', '-keyout', str(key), '-out', str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip('needs openssl to make a certificate')
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    url = server.url('/a').replace('http://127.0.0.1', 'https://localhost')
    server.files['/a'] = Served(CONTENT)
    with pytest.raises(DownloadError, match='its certificate is not trusted .*SSL_CERT_FILE'):
        download([url], part, KNOWN)
    for name in ('SSL_CERT_FILE', 'REQUESTS_CA_BUNDLE'):
        with monkeypatch.context() as patch:
            patch.setenv(name, str(certificate))
            download([url], part, UNKNOWN)
            assert part.read_bytes() == CONTENT
    monkeypatch.setenv('REQUESTS_CA_BUNDLE', str(tmp_path / 'missing'))
    with pytest.raises(ValueError, match='REQUESTS_CA_BUNDLE=.*missing holds no certificates'):
        download([url], part, UNKNOWN)


def test_addresses_of_the_environment(monkeypatch):
    urls = ['https://huggingface.co/a/b/resolve/1/c%23d.bin', 'https://example.org/e']
    assert addresses(urls) == urls
    monkeypatch.setenv('HF_ENDPOINT', 'https://hf.example.org/')
    assert addresses(urls) == ['https://hf.example.org/a/b/resolve/1/c%23d.bin', urls[1]]
    monkeypatch.setenv('MMHIER_MIRROR', 'https://mirror.example.org/all')
    assert addresses(urls) == [
        'https://mirror.example.org/all/huggingface.co/a/b/resolve/1/c%23d.bin',
        'https://hf.example.org/a/b/resolve/1/c%23d.bin',
        'https://mirror.example.org/all/example.org/e',
        'https://example.org/e',
    ]
    monkeypatch.setenv('MMHIER_MIRROR', 'mirror.example.org')
    with pytest.raises(ValueError, match='MMHIER_MIRROR=mirror.example.org is no address'):
        addresses(urls)


@pytest.mark.parametrize('expected', [KNOWN, UNKNOWN])
def test_a_file_that_is_compressed_on_the_way_is_not_the_file(server, part, expected):
    """Nobody asked for that; what nothing is known of would be kept as it came."""
    server.files['/a'] = Served(CONTENT, headers={'Content-Encoding': 'gzip'})
    server.files['/b.tar.gz'] = Served(CONTENT, headers={'Content-Encoding': 'x-gzip'})
    with pytest.raises(DownloadError, match='sends it compressed .gzip.'):
        download([server.url('/a')], part, expected)
    download([server.url('/b.tar.gz')], part, expected)  # some servers say that of what the file itself is
    assert part.read_bytes() == CONTENT


def test_numbers_that_are_none(server, part):
    """Of headers; '\xb2' is a digit of which no number can be made."""
    server.files['/a'] = Served(status=503, headers={'Retry-After': '\xb2'})
    server.files['/b'] = Served(CONTENT, headers={'Content-Length': '\xb2'}, length=False)
    with pytest.raises(DownloadError, match='503'):
        download([server.url('/a')], part, KNOWN)
    download([server.url('/b')], part, KNOWN)
    assert part.read_bytes() == CONTENT


def test_a_proxy_that_cannot_be_used_is_said_at_once(server, part, monkeypatch):
    monkeypatch.setenv('https_proxy', f'socks5h://{server.address[7:]}')
    with pytest.raises(DownloadError, match=r'https_proxy is a SOCKS proxy.*http://'):
        download(['https://example.org/a'], part, KNOWN)
    server.files['/a'] = Served(CONTENT)
    download([server.url('/a')], part, KNOWN)
    assert [path for path, _ in server.log] == ['/a']


@pytest.mark.parametrize('variable', ['MMHIER_MIRROR', 'HF_ENDPOINT'])
@pytest.mark.parametrize(
    'address', ['https://me:secret@example.org', 'https://', 'https://a b', 'https://a:x']
)
def test_addresses_that_are_none(variable, address, monkeypatch):
    """Nor is a password repeated."""
    monkeypatch.setenv(variable, address)
    with pytest.raises(ValueError, match=variable) as caught:
        addresses(['https://huggingface.co/a'])
    assert 'secret' not in str(caught.value)


def test_a_number_sign_in_an_address_stays_encoded(server, part):
    server.files['/%23v2cls/a'] = Served(CONTENT)
    download([server.url('/%23v2cls/a')], part, KNOWN)
    assert server.log == [('/%23v2cls/a', None)]


def test_progress_is_for_terminals(server, part, monkeypatch, capsys):
    server.files['/a'] = Served(CONTENT)
    download([server.url('/a')], part, KNOWN)
    assert capsys.readouterr() == ('', '')
    monkeypatch.setattr(module.sys.stderr, 'isatty', lambda: True, raising=False)
    download([server.url('/a')], part, UNKNOWN, 'net')
    out, shown = capsys.readouterr()
    assert out == '' and 'net: 100%' in shown
