"""A real web server in a thread, which can be told to misbehave."""

from __future__ import annotations

import re
import ssl
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

STEP = 1 << 16


@dataclass
class Quirk:
    """How one answer goes wrong.

    `cut` is the number of bytes after which it ends, `length` what it announces, `shift` how far
    its range is off, `headers` what is said besides or otherwise (None: not said), `stall` the
    seconds for which nothing comes after the cut, `drip` those between single bytes, `etag` another
    mark than the server's, `redirect` where it sends to, `whole` that a range is not heeded.
    """

    status: int = 0
    cut: int | None = None
    shift: int = 0
    body: bytes | None = None
    length: int | None = None
    headers: dict[str, str | None] = field(default_factory=dict)
    stall: float = 0.0
    drip: float = 0.0
    etag: str | None = None
    redirect: str = ""
    whole: bool = False


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    range: str
    if_range: str
    authorization: str = ""
    encoding: str = ""

    @property
    def start(self) -> int:
        """The first byte that was asked for."""
        return int(self.range[6:].split("-")[0]) if self.range else 0


@dataclass
class FileServer:
    """Serves `files`; the first of `quirks` is used up by each answer.

    `rate` is the bytes a second that each connection gets, `most` the number of connections at a
    time (more are answered with 503), `redirects` sends paths elsewhere, `heeds_if_range` whether a
    changed file is sent whole, `heeds_end` whether a part ends where it was asked to, `chunked`
    whether no length is said.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    etag: str = '"one"'
    modified: str = ""
    ranges: bool = True
    pause: float = 0.0
    quirks: list[Quirk] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    rate: float = 0.0
    most: int = 0
    redirects: dict[str, str] = field(default_factory=dict)
    heeds_if_range: bool = True
    heeds_end: bool = True
    chunked: bool = False
    sent: int = 0

    def start(self, tls: ssl.SSLContext | None = None) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, *_: object) -> None:
                pass  # a client that hangs up is what many tests are about

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._scheme = "https" if tls else "http"
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._open = 0
        self._turn = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, name: str = "", host: str = "127.0.0.1") -> str:
        return f"{self._scheme}://{host}:{self._server.server_address[1]}/{name}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        names = ("Range", "If-Range", "Authorization", "Accept-Encoding")
        asked = Asked(request.path, *(request.headers.get(name, "") for name in names))
        with self._turn:
            self.asked.append(asked)
            quirk = self.quirks.pop(0) if self.quirks else Quirk()
            self._open += 1
            busy = 0 < self.most < self._open
        try:
            self._answer(request, asked, Quirk(status=503) if busy else quirk)
        finally:
            with self._turn:
                self._open -= 1

    def _answer(self, request: BaseHTTPRequestHandler, asked: Asked, quirk: Quirk) -> None:
        request.close_connection = True
        path = request.path.lstrip("/").split("?")[0]
        whole = self.files.get(path)
        target = quirk.redirect or self.redirects.get(path, "")
        if target:
            return self._say(request, 302, {**quirk.headers, "Location": target})
        if quirk.status or whole is None:
            return self._say(request, quirk.status or 404, quirk.headers)
        whole = whole if quirk.body is None else quirk.body
        span = self._span(asked, quirk, len(whole))
        if span and span[0] >= len(whole):
            return self._say(request, 416, {"Content-Range": f"bytes */{len(whole)}"})
        self._head(request, whole, span, quirk)
        start, stop = span or (0, len(whole))
        self._body(request, memoryview(whole)[start:stop][: quirk.cut], quirk)
        return None

    def _say(
        self, request: BaseHTTPRequestHandler, status: int, headers: dict[str, str | None]
    ) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": "0", "Connection": "close", **headers}.items():
            if value is not None:
                request.send_header(name, value)
        request.end_headers()

    def _span(self, asked: Asked, quirk: Quirk, size: int) -> tuple[int, int] | None:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.range)
        changed = asked.if_range not in ("", self._etag(quirk), self.modified)
        if not (self.ranges and match) or quirk.whole or (self.heeds_if_range and changed):
            return None
        return int(match[1]), int(match[2]) + 1 if match[2] and self.heeds_end else size

    def _etag(self, quirk: Quirk) -> str:
        return self.etag if quirk.etag is None else quirk.etag

    def _head(
        self,
        request: BaseHTTPRequestHandler,
        whole: bytes,
        span: tuple[int, int] | None,
        quirk: Quirk,
    ) -> None:
        start, stop = span or (0, len(whole))
        length = stop - start if quirk.length is None else quirk.length
        headers: dict[str, str | None] = {
            "Content-Range": f"bytes {start + quirk.shift}-{stop - 1}/{len(whole)}"
            if span
            else None,
            "Accept-Ranges": "bytes" if self.ranges else None,
            "ETag": self._etag(quirk) or None,
            "Last-Modified": self.modified or None,
            "Content-Length": None if self.chunked else str(length),
            "Transfer-Encoding": "chunked" if self.chunked else None,
            "Connection": "close",
            **quirk.headers,
        }
        request.send_response(206 if span else 200)
        for name, value in headers.items():
            if value is not None:
                request.send_header(name, value)
        request.end_headers()

    def _body(self, request: BaseHTTPRequestHandler, body: memoryview, quirk: Quirk) -> None:
        step = 1 if quirk.drip else min(STEP, int(self.rate / 20) or STEP)
        began = time.monotonic()
        for place in range(0, len(body), step):
            piece = body[place : place + step]
            if self.chunked:
                request.wfile.write(b"%x\r\n" % len(piece) + piece + b"\r\n")
            else:
                request.wfile.write(piece)
            self.sent += len(piece)
            late = self.pause or quirk.drip
            if self.rate:
                late = began + (place + len(piece)) / self.rate - time.monotonic()
            if late > 0 and self._over.wait(late):
                return
        if quirk.stall:
            self._over.wait(quirk.stall)
        if self.chunked and quirk.cut is None:
            request.wfile.write(b"0\r\n\r\n")
