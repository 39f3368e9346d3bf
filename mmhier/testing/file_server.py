"""A server of files on this machine that misbehaves as it is told, for tests of downloads."""

import re
import socket
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """A file, and what is wrong with how it is served.

    Attributes:
        content: The file.
        faults: How many requests go wrong as the rest says before all is well; by default all.
        status: Answer with this status alone, if it is not 200.
        cut: End the connection after this many bytes of each answer.
        stall: Send nothing more after this many bytes, and keep the connection.
        stall_s: For how long.
        pause_s: Between pieces of ``piece`` bytes.
        piece: See ``pause_s``.
        redirect: Lead to another address.
        ranges: Whether parts can be asked for.
        etag: What tells this version of the file from others.
        length: Whether the size is told.
        headers: More headers.
    """

    content: bytes = b''
    faults: float = float('inf')
    status: int = 200
    cut: int | None = None
    stall: int | None = None
    stall_s: float = 1.0
    pause_s: float = 0.0
    piece: int = 1 << 16
    redirect: str | None = None
    ranges: bool = True
    etag: str | None = None
    length: bool = True
    headers: dict[str, str] = field(default_factory=dict)


class FileServer:
    """Serves while it is a context.

    Args:
        files: Path (``/a.bin``) -> file. May be changed at any time.

    Attributes:
        log: Path and ``Range`` of every request, in order.
    """

    def __init__(self, files: dict[str, Served] | None = None):
        self.files = files or {}
        self.log: list[tuple[str, str | None]] = []
        self._server = ThreadingHTTPServer(('127.0.0.1', 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    @property
    def address(self) -> str:
        """Its address, without a slash at the end."""
        return f'http://127.0.0.1:{self._server.server_address[1]}'

    def __enter__(self) -> 'FileServer':
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, path: str) -> str:
        """Address of a file."""
        return f'{self.address}{path}'

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                owner.log.append((self.path, self.headers.get('Range')))
                if (served := owner.files.get(self.path)) is None:
                    return self.send_error(404)
                served.faults -= 1
                return answer(self, served, is_faulty=served.faults >= 0)

            def log_message(self, *_):
                """Silence."""

        return Handler


def answer(handler: BaseHTTPRequestHandler, served: Served, is_faulty: bool) -> None:
    """Answer one request."""
    if is_faulty and served.redirect:
        handler.send_response(302)
        handler.send_header('Location', served.redirect)
        handler.end_headers()
        return
    if is_faulty and served.status != 200:
        handler.send_response(served.status)
        for name, value in served.headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        return
    content, start = served.content, _start(handler, served)
    if start is not None and start >= len(content):
        handler.send_error(416)
        return
    handler.send_response(200 if start is None else 206)
    if start is not None:
        handler.send_header('Content-Range', f'bytes {start}-{len(content) - 1}/{len(content)}')
        content = content[start:]
    if served.length:
        handler.send_header('Content-Length', str(len(content)))
    for name, value in (*served.headers.items(), *([('ETag', served.etag)] if served.etag else [])):
        handler.send_header(name, value)
    handler.end_headers()
    _send(handler, served, content, is_faulty)


def _start(handler: BaseHTTPRequestHandler, served: Served) -> int | None:
    """Where the answer has to begin, if not at the beginning of the file."""
    asked = re.fullmatch(r'bytes=(\d+)-', handler.headers.get('Range', ''))
    if asked is None or not served.ranges or handler.headers.get('If-Range') not in (None, served.etag):
        return None
    return int(asked[1])


def _send(handler: BaseHTTPRequestHandler, served: Served, content: bytes, is_faulty: bool) -> None:
    try:
        if is_faulty and served.cut is not None:
            handler.wfile.write(content[: served.cut])
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
        elif is_faulty and served.stall is not None:
            handler.wfile.write(content[: served.stall])
            handler.wfile.flush()
            time.sleep(served.stall_s)
        elif is_faulty and served.pause_s:
            for at in range(0, len(content), served.piece):
                handler.wfile.write(content[at : at + served.piece])
                time.sleep(served.pause_s)
        else:
            handler.wfile.write(content)
    except OSError:  # the client has gone
        handler.close_connection = True
