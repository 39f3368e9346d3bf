"""One file over HTTP: whole, or a reason for every address that was tried.

The file grows under a name of its own, in which a later try, or a later process, goes on where the server and
what is known of the hash allow it. Proxies (``HTTPS_PROXY``, ``NO_PROXY`` ...) and certificates
(``SSL_CERT_FILE``, ``REQUESTS_CA_BUNDLE``) are those of the environment. ``MMHIER_MIRROR=https://HOST/FOLDER``
is tried first, with the host and path of the real address behind it (as ``wget -x`` stores files);
``HF_ENDPOINT`` takes the place of https://huggingface.co.

Nothing is known here but an address, a file, what it has to be. Whether the network may be used at all is
:func:`mmhier.network.offline`.
"""

import contextlib
import errno
import http.client
import os
import shutil
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mmhier.network import NETWORK_ERRORS, DownloadError, reason_of
from mmhier.version import __version__

MIRROR_VARIABLE = 'MMHIER_MIRROR'
HUGGING_FACE = 'https://huggingface.co'

TRIES = 3
BACK_OFF_S = 1.0  # doubled from try to try
MAX_WAIT_S = 60.0  # that a server may ask for
TIMEOUT_S = 30.0  # to connect, and for the next bytes
# Over this time a server has to send this much, or counts as one that hangs.
PATIENCE_S, MIN_BYTES = 60.0, 60 << 10
BLOCK = 1 << 18
# No released file is larger.
MAX_BYTES = 16 << 30
# These may pass; every other 4xx will not.
TRANSIENT = (408, 425, 429)


class _Refused(Exception):
    """This address will not give the file."""


class _Interrupted(Exception):
    """This try failed; another may not."""

    def __init__(self, reason: str, wait_s: float = 0.0):
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it is there.

    Attributes:
        bytes: Its size.
        problem: What is wrong with a whole file, or None.
        can_tell: Whether ``problem`` would notice if parts of two files were put together.
    """

    bytes: int | None = None
    problem: Callable[[Path], str | None] = lambda path: None
    can_tell: bool = False


def addresses(urls: Sequence[str]) -> list[str]:
    """The addresses to try for a file, of its own and of the environment, in order.

    Raises:
        ValueError: If a variable of the environment holds no address.
    """
    endpoint, mirror = (_address_in(name) for name in ('HF_ENDPOINT', MIRROR_VARIABLE))
    found = []
    for url in urls:
        if mirror:
            found.append(f'{mirror}/{url.partition("://")[2]}')
        if endpoint and url.startswith(f'{HUGGING_FACE}/'):
            url = endpoint + url.removeprefix(HUGGING_FACE)
        found.append(url)
    return list(dict.fromkeys(found))


def _address_in(name: str) -> str:
    """The address in a variable of the environment, without a slash at its end; '' without one."""
    value = os.environ.get(name, '').rstrip('/')
    if '@' in value:  # is not repeated
        raise ValueError(
            f'{name} holds a name or password, which cannot be used here: give an address without'
        )
    if not value:
        return ''
    try:
        parts = urlsplit(value)
        good = parts.scheme in ('https', 'http') and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or not value.isascii() or any(letter.isspace() for letter in value):
        raise ValueError(f'{name}={value} is no address: it begins with https:// or http:// and a host')
    return value


def download(urls: Sequence[str], part: Path, expected: Expected, name: str | None = '') -> str:
    """Fetch a file from the first address that has it.

    Args:
        urls: Addresses of the same file.
        part: Where it grows. What is there already is continued.
        expected: What it has to be.
        name: For the progress on standard error, which is shown on a terminal only; None shows none.

    Returns:
        The address that gave it.

    Raises:
        DownloadError: If none did; it says why, one by one. A part that a later call can continue stays.
        OSError: If the disk is full or the file cannot be written.
    """
    failures = []
    for url in urls:
        if not expected.can_tell:
            part.unlink(missing_ok=True)
        try:
            _check_proxy(url)
            _with_retries(url, part, expected, name)
            return url
        except (_Refused, _Interrupted) as error:
            failures.append(f'{url}: {error}')
    raise DownloadError('; '.join(failures))


def _check_proxy(url: str) -> None:
    """Refuse a proxy of a kind that Python has no client for, before it is waited for."""
    scheme, host = url.partition('://')[0], urlsplit(url).hostname
    proxy = urllib.request.getproxies().get(scheme, '')
    if proxy.startswith('socks') and not urllib.request.proxy_bypass(host):
        raise _Refused(f'{scheme}_proxy is a SOCKS proxy, which cannot be used here: give one of http://')


def _with_retries(url: str, part: Path, expected: Expected, name: str | None) -> None:
    validator: list[str] = []  # what tells this version of the file from others, by the server's word
    for attempt in range(TRIES):
        started_at = part.stat().st_size if part.exists() else 0
        try:
            _transfer(url, part, expected, name, validator)
            problem = expected.problem(part)
            if problem is None:
                return
            part.unlink()
            if not started_at or attempt == TRIES - 1:
                raise _Refused(f'what it gives {problem}')
            continue  # what was continued may have been of another file
        except _Interrupted as error:
            if attempt == TRIES - 1:
                raise _Interrupted(f'{error} ({TRIES} tries)') from error
            time.sleep(max(error.wait_s, BACK_OFF_S * 2**attempt))


def _transfer(url: str, part: Path, expected: Expected, name: str | None, validator: list[str]) -> None:
    """Fetch what is missing of a file, from one address in one go."""
    start = part.stat().st_size if part.exists() else 0
    if (start and not (expected.can_tell or validator)) or start > (expected.bytes or start):
        start = 0
    if start and start == expected.bytes:
        return
    request = urllib.request.Request(url, headers={'User-Agent': f'mmhier/{__version__}'})
    request.add_header('Accept-Encoding', 'identity')
    if start:
        request.add_header('Range', f'bytes={start}-')
        if validator:
            request.add_header('If-Range', validator[0])
    with _open(request, part) as response:
        if response.status != 206 or not response.headers.get('Content-Range', '').startswith(
            f'bytes {start}-'
        ):
            if response.status == 206:
                raise _Refused(f'it answers with another range: {response.headers.get("Content-Range")}')
            start = 0
        validator[:] = filter(None, [_strong_validator(response)])
        total = _total(response, start, expected)
        _check_space(part, (total or 0) - start)
        with _progress(name, start, total) as advance, part.open('ab' if start else 'wb') as file:
            size = _copy(response, file, start, total or MAX_BYTES, advance)
    if total is not None and size < total:
        raise _Interrupted(f'it broke off after {size:,} of {total:,} bytes')


@contextlib.contextmanager
def _open(request: urllib.request.Request, part: Path):
    """The answer to a request; what goes wrong before and while it is read, sorted by whether it may pass."""
    opener = _opener()
    try:
        try:
            response = opener.open(request, timeout=TIMEOUT_S)
        except ValueError as error:
            raise _Refused(f'it leads to what is no address ({error})') from error
        with response:
            yield response
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416:  # nothing from there on: what is here is of another file
            part.unlink(missing_ok=True)
        elif 400 <= error.code < 500 and error.code not in TRANSIENT:
            raise _Refused(reason_of(error, TIMEOUT_S)) from error
        wait = error.headers.get('Retry-After', '') if error.headers else ''
        seconds = min(float(wait), MAX_WAIT_S) if wait.isdecimal() else 0.0
        raise _Interrupted(reason_of(error, TIMEOUT_S), seconds) from error
    except urllib.error.URLError as error:
        reason = error.reason
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise _Refused(
                f'its certificate is not trusted ({reason.verify_message}); SSL_CERT_FILE names others'
            ) from error
        # A name that is not found, or a host that does not answer, will be no better in a second.
        kind = _Interrupted if isinstance(reason, ConnectionError | ssl.SSLError) else _Refused
        raise kind(reason_of(error, TIMEOUT_S)) from error
    except NETWORK_ERRORS as error:
        raise _Interrupted(reason_of(error, TIMEOUT_S)) from error


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Redirections of https stay with https."""

    def redirect_request(self, req, fp, code, msg, headers, newurl):
        """See the base class."""
        if req.full_url.startswith('https:') and not newurl.startswith('https:'):
            raise _Refused(f'it leads to {newurl}, which is not https')
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    context = ssl.create_default_context()  # reads SSL_CERT_FILE
    if bundle := os.environ.get('REQUESTS_CA_BUNDLE'):
        try:
            context.load_verify_locations(**{'capath' if os.path.isdir(bundle) else 'cafile': bundle})
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f'REQUESTS_CA_BUNDLE={bundle} holds no certificates ({error})') from error
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _NoDowngrade())


def _strong_validator(response: http.client.HTTPResponse) -> str | None:
    etag = response.headers.get('ETag', '')
    return etag if etag.startswith('"') else response.headers.get('Last-Modified')


def _total(response: http.client.HTTPResponse, start: int, expected: Expected) -> int | None:
    """Size of the whole file, by the server's word; what cannot be the file is refused."""
    if 'html' in response.headers.get('Content-Type', '') and expected.bytes is None:
        raise _Refused('it gives a web page instead of the file')
    coding = response.headers.get('Content-Encoding', 'identity')
    # Some servers say of a file that ends in .gz what it is, not what they have made of it.
    if coding != 'identity' and not urlsplit(response.url).path.endswith(('.gz', '.tgz')):
        raise _Refused(f'it sends it compressed ({coding})')
    length = response.headers.get('Content-Length', '')
    total = start + int(length) if length.isdecimal() else None
    if expected.bytes is not None and total not in (None, expected.bytes):
        raise _Refused(f'it has a file of {total:,} bytes instead of {expected.bytes:,}')
    if (total or 0) > MAX_BYTES:
        raise _Refused(f'it has a file of {total:,} bytes, more than any that is known')
    if total is None and expected.bytes is None and not (expected.can_tell or response.chunked):
        raise _Refused('it does not say how large the file is, so nobody could tell whether it is whole')
    return total if total is not None else expected.bytes


def _check_space(part: Path, missing: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if missing > free:
        text = f'No space left on device: {missing:,} bytes are to come, {free:,} are free'
        raise OSError(errno.ENOSPC, text, str(part.parent))


def _copy(response, file, size: int, limit: int, advance: Callable[[int], None]) -> int:
    """Write what comes; return the size of the file."""
    since, came = time.monotonic(), 0
    while block := _read(response):
        size += len(block)
        came += len(block)
        if size > limit:
            raise _Refused(f'it sends more than {limit:,} bytes')
        file.write(block)
        file.flush()  # so that a full disk is met here
        advance(len(block))
        if (now := time.monotonic()) - since > PATIENCE_S:
            if came < MIN_BYTES:
                raise _Interrupted(f'only {came:,} bytes came in {now - since:.0f} s')
            since, came = now, 0
    return size


def _read(response) -> bytes:
    try:
        return response.read1(BLOCK)
    except TimeoutError:
        raise
    except OSError as error:  # of the network, whatever its number
        raise ConnectionError(str(error)) from error


@contextlib.contextmanager
def _progress(name: str | None, start: int, total: int | None):
    """A bar on standard error, if that is a terminal."""
    if name is None or not sys.stderr.isatty():
        yield lambda count: None
        return
    from tqdm import tqdm

    with tqdm(desc=name, initial=start, total=total, unit='B', unit_scale=True, file=sys.stderr) as bar:
        yield bar.update
