"""The network: downloads that fail, whoever makes them, and ports.

A failure is one sentence with the address, the reason and what to do.
"""

import http.client
import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.error import HTTPError, URLError

# Seconds that a server may take to answer, or between two pieces of its answer.
PATIENCE = 30.0

# Letters of what a server says that are repeated.
_LONGEST = 200
OFFLINE_VARIABLES = ('MMHIER_OFFLINE', 'HF_HUB_OFFLINE')

# What Python raises for names that are not known, refused or broken connections, silence, wrong certificates,
# answers such as 404 and answers that end too early.
NETWORK_ERRORS = (
    URLError, http.client.HTTPException, ConnectionError, TimeoutError, socket.gaierror, ssl.SSLError,
)  # fmt: skip


class DownloadError(OSError):
    """What lies at an address cannot be had."""


@contextmanager
def downloading(address: str, remedy: str) -> Iterator[None]:
    """Have whoever downloads in this block wait no longer than :data:`PATIENCE`, and say what is wrong.

    The time limit is that of all sockets of the process that have none of their own, meanwhile.

    Args:
        address: What is downloaded.
        remedy: The end of the sentence: what to do without.

    Raises:
        DownloadError: If the network is at fault; other errors, such as a full disk, stay what they are.
    """
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE if before is None else before)
    try:
        yield
    except NETWORK_ERRORS as error:
        reason = reason_of(error, socket.getdefaulttimeout())
        raise DownloadError(f'{address} cannot be downloaded ({reason}): {remedy}') from error
    finally:
        socket.setdefaulttimeout(before)


def reason_of(error: Exception, patience: float) -> str:
    """What went wrong, in a few words, with a server that had ``patience`` seconds to answer.

    What the server has said may be in it, hence nothing that a terminal would obey.
    """
    if isinstance(error, HTTPError):
        return _printable(f'the server answers {error.code} {error.reason}')
    inner = error.reason if isinstance(error, URLError) else error
    if isinstance(inner, TimeoutError):
        return f'no answer within {patience:g} s'
    if isinstance(inner, http.client.IncompleteRead):
        return f'the connection ended after {len(inner.partial)} bytes'
    if isinstance(inner, http.client.BadStatusLine) and not isinstance(inner, ConnectionError):
        return f'it does not speak HTTP, but says {_printable(str(inner))}'
    return _printable(str(inner)) or type(inner).__name__


def _printable(text: str) -> str:
    text = ' '.join(text.split())
    return ''.join(letter if letter.isprintable() else '?' for letter in text[:_LONGEST])


def offline() -> str | None:
    """The variable of the environment that forbids to download, or None."""
    yes = ('1', 'true', 'yes', 'on')
    return next((name for name in OFFLINE_VARIABLES if os.environ.get(name, '').strip().lower() in yes), None)


def free_port(host: str = '127.0.0.1') -> int:
    """A port of an address of this machine that nobody listens at."""
    with socket.socket(socket.AF_INET6 if ':' in host else socket.AF_INET) as listener:
        listener.bind((host, 0))
        return listener.getsockname()[1]
