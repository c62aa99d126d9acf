"""A small HTTP server on this machine whose faults can be chosen."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """What the server holds, how it misbehaves, and what it was asked."""

    files: dict[str, bytes] = field(default_factory=dict)
    """Path -> content."""
    ranges: bool = True
    etag: str | None = '"v1"'
    cut_after: int | None = None
    """Bytes of a body after which the next connection breaks, once."""
    status: int | None = None
    """Answer everything with this."""
    port: int = 0
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range of every request."""
    headers: list[dict[str, str]] = field(default_factory=list)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"


class Handler(BaseHTTPRequestHandler):
    served: Served

    def do_GET(self) -> None:
        served, wanted = self.served, self.headers.get("Range")
        served.asked.append((self.path, wanted))
        served.headers.append(dict(self.headers))
        body = served.files.get(self.path.lstrip("/"))
        if served.status is not None or body is None:
            self.send_error(served.status or 404)
            return
        start = self._start(wanted, body)
        if start is None:
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if served.etag:
            self.send_header("ETag", served.etag)
        if served.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        rest = body[start:]
        if served.cut_after is not None:
            rest, served.cut_after = rest[: served.cut_after], None
        with contextlib.suppress(ConnectionError):
            self.wfile.write(rest)
        self.close_connection = True

    def _start(self, wanted: str | None, body: bytes) -> int | None:
        """Where the answer begins; None where it was given: nothing is left to send."""
        match = re.fullmatch(r"bytes=(\d+)-", wanted or "")
        condition = self.headers.get("If-Range")
        if not match or not self.served.ranges or condition not in (None, self.served.etag):
            return 0
        start = int(match[1])
        if start < len(body):
            return start
        self.send_response(416)
        self.send_header("Content-Range", f"bytes */{len(body)}")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def serving(served: Served) -> Iterator[Served]:
    """Serve on a free port of the loopback, or on the one that `served` had before."""
    with listening(type("Bound", (Handler,), {"served": served}), served.port) as server:
        served.port = server.server_address[1]
        yield served


@contextlib.contextmanager
def listening(handler: type[BaseHTTPRequestHandler], port: int) -> Iterator[ThreadingHTTPServer]:
    """Answer on the loopback in a thread; port 0: a free one."""
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
