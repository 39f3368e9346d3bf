"""Who may talk to the page of ``mmhier app``, and what happens to its folders after a crash.

A page on this machine is within reach of every web page that its user opens: it can send forms here, and by
a name of its own that suddenly leads here (DNS rebinding) it can read the answers. So a request has to name
this machine as its host, and if it says which page it comes from (``Origin``), that has to be this one.
"""

import contextlib
import ipaddress
import os
import re
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

PREFIX = 'mmhier_app_'
LOCK = 'lock'
# A folder without a lock is left alone this long, seconds: it may just be made.
NEW = 3600.0

LOOPBACK = ('localhost', '127.0.0.1', '::1')
_DEFAULT_PORTS = {'http': 80, 'https': 443}


class Gate:
    """ASGI middleware that answers 403 to requests that are not for this page, or from another one.

    Args:
        app: What answers the others.
        host: Address that is listened at. If it is not of this machine alone, requests may name any address
            in numbers, which cannot be rebound, or the name of this machine.
        names: Further names under which the page is reached, of a proxy for instance.
    """

    def __init__(self, app: Any, host: str, names: Sequence[str] = ()):
        self._app = app
        self._local = host in LOOPBACK
        self._names = {*LOOPBACK, host, *names}
        if not self._local:
            name = socket.gethostname()
            self._names |= {name, name.partition('.')[0], f'{name.partition(".")[0]}.local'}
        self._names = {name.lower() for name in self._names}

    async def __call__(self, scope: dict, receive: Any, send: Any) -> None:
        """Answer a request or pass it on."""
        if scope['type'] not in ('http', 'websocket'):
            return await self._app(scope, receive, send)
        problem = self.problem(scope['headers'])
        if problem is None:
            return await self._app(scope, receive, send)
        if scope['type'] == 'websocket':
            return await send(dict(type='websocket.close', code=1008))
        headers = [(b'content-type', b'text/plain; charset=utf-8'), (b'connection', b'close')]
        await send(dict(type='http.response.start', status=403, headers=headers))
        await send(dict(type='http.response.body', body=f'mmhier: {problem}\n'.encode()))
        return None

    def problem(self, headers: Sequence[tuple[bytes, bytes]]) -> str | None:
        """Why a request with these headers is refused; None if it is not."""
        hosts = [value.decode('latin1') for name, value in headers if name.lower() == b'host']
        origins = [value.decode('latin1') for name, value in headers if name.lower() == b'origin']
        host = _name_and_port(f'http://{hosts[0]}') if len(hosts) == 1 else None
        if host is None or not self._is_ours(host[0]):
            return (
                'this page is not served under that name; open it by the address that mmhier app has '
                'printed, or start it with --allow-host NAME'
            )
        for origin in origins:
            came_from = _name_and_port(origin)
            if came_from is None or came_from[0] != host[0] or not _same_port(origin, hosts[0]):
                return 'requests from other pages are not answered'
        return None

    def _is_ours(self, name: str) -> bool:
        if name in self._names:
            return True
        if self._local:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def host_name(given: str) -> str:
    """The host of a name, an address, or either with a port or as a URL, in small letters.

    Raises:
        ValueError: If it is none.
    """
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(given))
    found = _name_and_port(given if '://' in given else f'http://{given}')
    if found is None or not re.fullmatch(r'[a-z0-9._-]+|[0-9a-f:.]+', found[0]):
        raise ValueError(f'--allow-host {given!r} is no name of a host, such as poses.example.org')
    return found[0]


def _name_and_port(url: str) -> tuple[str, int | None] | None:
    """Host and port of an address, None if it has no host or is damaged."""
    try:
        parts = urlsplit(url)
        plain = parts.path in ('', '/') and not parts.query and not parts.fragment and '@' not in parts.netloc
        return (parts.hostname, parts.port) if parts.hostname and plain else None
    except ValueError:
        return None


def _same_port(origin: str, host: str) -> bool:
    """Whether an origin has the port of a host; a port that is left out is that of the origin's protocol."""
    default = _DEFAULT_PORTS.get(urlsplit(origin).scheme)
    ports = [_name_and_port(address)[1] or default for address in (origin, f'http://{host}')]
    return default is not None and ports[0] == ports[1]


@contextlib.contextmanager
def app_folder() -> Iterator[Path]:
    """A temporary folder of this process that is gone at the end; those of dead processes are gone before.

    A process that is killed leaves its folder, with uploaded pictures, to the next one.
    """
    clear_dead_folders()
    with tempfile.TemporaryDirectory(prefix=PREFIX) as folder, open(Path(folder, 'new'), 'w') as lock:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.rename(lock.name, Path(folder, LOCK))  # nobody sees it unlocked
        yield Path(folder)


def clear_dead_folders() -> list[Path]:
    """Remove this user's folders of processes that have ended, and return them."""
    cleared = []
    for folder in Path(tempfile.gettempdir()).glob(f'{PREFIX}*') if fcntl is not None else ():
        try:
            about = folder.lstat()
            if stat.S_ISDIR(about.st_mode) and about.st_uid == os.getuid() and _is_dead(folder, about):
                shutil.rmtree(folder)
                cleared.append(folder)
        except OSError:  # another process is faster
            continue
    return cleared


def _is_dead(folder: Path, about: os.stat_result) -> bool:
    """Whether nobody holds the lock of a folder."""
    try:
        lock = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return time.time() - about.st_mtime > NEW
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
