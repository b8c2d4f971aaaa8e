"""A small HTTP server that misbehaves in the ways that package indexes and proxies do."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

Reply = Callable[[BaseHTTPRequestHandler], None]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """A client that gives up is what these tests are about."""


@contextlib.contextmanager
def serve(reply: Reply) -> Iterator[str]:
    """Answer every request by `reply`; gives the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            reply(self)

        do_HEAD = do_CONNECT = do_GET

        def log_message(self, *_):
            """Stay silent."""

    server = _Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def status(code: int) -> Reply:
    """Always answer a status without a page."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return reply


def page(text: str, kind: str = "text/html") -> Reply:
    """Always answer the same page."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        _send(handler, text.encode(), kind)

    return reply


def pieces(*texts: str) -> Reply:
    """Always answer a page in pieces, as an index does that makes it while it sends it."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for text in (*texts, ""):
            handler.wfile.write(f"{len(text):x}\r\n{text}\r\n".encode())
            handler.wfile.flush()
            time.sleep(0.05)

    return reply


def hang(seconds: float = 20.0) -> Reply:
    """Accept, then say nothing."""
    return lambda handler: time.sleep(seconds)


def drip(seconds: float = 20.0) -> Reply:
    """Send a byte now and then, so that no timeout of a socket ever counts."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            handler.wfile.write(b".")
            handler.wfile.flush()
            time.sleep(0.1)

    return reply


def index(
    folder: Path, digest: str | None = None, cut: int | None = None, rate: int | None = None
) -> Reply:
    """Be a package index of a folder's wheels (PEP 503).

    `digest` is promised instead of each file's own; `cut` is the number of bytes after which a
    file's transfer breaks off; `rate` is bytes a second.
    """

    def reply(handler: BaseHTTPRequestHandler) -> None:
        last = unquote(handler.path).rstrip("/").rsplit("/", 1)[-1]
        file = folder / last
        if file.is_file():
            _send(handler, file.read_bytes(), "application/octet-stream", cut, rate)
            return
        found = [one for one in folder.iterdir() if _name(one) == last]
        if not found:
            status(404)(handler)
            return
        links = "".join(
            f'<a href="/files/{one.name}#sha256={digest or _digest(one)}">{one.name}</a>\n'
            for one in found
        )
        _send(handler, f"<!DOCTYPE html><body>{links}</body>".encode(), "text/html")

    return reply


def _send(
    handler: BaseHTTPRequestHandler,
    data: bytes,
    kind: str,
    cut: int | None = None,
    rate: int | None = None,
) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    if handler.command == "HEAD":
        return
    step = len(data) if rate is None else max(rate // 10, 1)
    for start in range(0, len(data[:cut]), max(step, 1)):
        handler.wfile.write(data[:cut][start : start + step])
        handler.wfile.flush()
        if rate is not None:
            time.sleep(0.1)


def _name(file: Path) -> str:
    return file.name.split("-")[0].replace("_", "-").lower()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
