"""A real web server in a thread, which can be told to misbehave."""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Quirk:
    """How one answer goes wrong; `cut` is the number of bytes after which it ends, `length` what
    it announces."""

    status: int = 0
    cut: int | None = None
    shift: int = 0
    body: bytes | None = None
    length: int | None = None


@dataclass
class Asked:
    """One request as it arrived."""

    path: str
    range: str
    if_range: str


@dataclass
class FileServer:
    """Serves `files`; the first of `quirks` is used up by each answer."""

    files: dict[str, bytes] = field(default_factory=dict)
    etag: str = '"one"'
    modified: str = ""
    ranges: bool = True
    pause: float = 0.0
    quirks: list[Quirk] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    def start(self) -> None:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # a client that hangs up is what many tests are about

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def url(self, name: str = "") -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/{name}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted, only_if = (request.headers.get(h, "") for h in ("Range", "If-Range"))
        self.asked.append(Asked(request.path, wanted, only_if))
        quirk = self.quirks.pop(0) if self.quirks else Quirk()
        whole = self.files.get(request.path.lstrip("/").split("?")[0])
        if quirk.status or whole is None:
            request.send_response(quirk.status or 404)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        whole = whole if quirk.body is None else quirk.body
        start = self._start(request, wanted, only_if, len(whole))
        if start is not None and start >= len(whole):
            request.send_response(416)
            request.send_header("Content-Range", f"bytes */{len(whole)}")
            request.end_headers()
            return
        self._head(request, whole, start, quirk)
        self._body(request, whole[start or 0 :][: quirk.cut])

    def _start(self, request: object, wanted: str, only_if: str, size: int) -> int | None:
        match = re.fullmatch(r"bytes=(\d+)-", wanted)
        if not (self.ranges and match) or (only_if and only_if not in (self.etag, self.modified)):
            return None
        return int(match[1])

    def _head(
        self, request: BaseHTTPRequestHandler, whole: bytes, start: int | None, quirk: Quirk
    ) -> None:
        request.send_response(200 if start is None else 206)
        if start is not None:
            first = start + quirk.shift
            request.send_header("Content-Range", f"bytes {first}-{len(whole) - 1}/{len(whole)}")
        if self.etag:
            request.send_header("ETag", self.etag)
        if self.modified:
            request.send_header("Last-Modified", self.modified)
        length = len(whole) - (start or 0) if quirk.length is None else quirk.length
        request.send_header("Content-Length", str(length))
        request.end_headers()

    def _body(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        step = 1 << 16
        for place in range(0, len(body), step):
            request.wfile.write(body[place : place + step])
            if self.pause:
                time.sleep(self.pause)
        request.close_connection = True
