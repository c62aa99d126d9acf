"""A server of embeddings and rerankings on this machine whose faults can be chosen."""

from __future__ import annotations

import contextlib
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.servers import listening
from tests.waiting import wait_for

DIM = 16
Fault = Callable[[dict[str, Any]], Any]


def embedding(text: str, dim: int = DIM) -> list[float]:
    """Counts of words by the remainder of their CRC."""
    vector = [0.0] * dim
    for word in text.lower().split():
        vector[zlib.crc32(word.encode()) % dim] += 1.0
    return vector


@dataclass
class Api:
    """What the server answers, and what it was asked."""

    key: str = ""
    """The only key that is allowed; empty allows all."""
    usage: bool = True
    faults: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    """(status, headers, body) of the next answers to POST, in place of true ones."""
    change: Fault | None = None
    """Function of the body of every answer."""
    held_first: int = 0
    """Answers that are given when `released` is set."""
    released: threading.Event = field(default_factory=threading.Event)
    pages: dict[str, Any] = field(default_factory=dict)
    """Path -> JSON of GET."""
    port: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of all POSTs."""
    headers: list[dict[str, str]] = field(default_factory=list)
    together: int = 0
    """The most requests at the same time."""
    lock: threading.Lock = field(default_factory=threading.Lock)
    under_way: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def sent(self) -> list[str]:
        """All texts that were asked for, without the probe."""
        texts = [text for body in self.asked for text in body.get("input", [])]
        return [text for text in texts if text != "warm up"]

    def arrived(self, n: int) -> None:
        """Wait until `n` requests have arrived."""
        assert wait_for(lambda: len(self.asked) >= n)

    def answer(self, path: str, body: dict[str, Any]) -> Any:
        if path.endswith("/rerank"):
            texts = body.get("texts", body.get("documents"))
            words = set(body["query"].split())
            scores = [float(len(words & set(text.split()))) for text in texts]
            order = sorted(range(len(texts)), key=lambda i: -scores[i])
            if "texts" in body:
                return [{"index": i, "score": scores[i]} for i in order]
            results = [{"index": i, "relevance_score": scores[i]} for i in order]
            tokens = sum(len(text.split()) + len(words) for text in texts)
            return {"results": results, **self.counted(tokens), "model": body["model"]}
        texts = body["input"]
        dim = body.get("dimensions", DIM)
        data = [{"index": i, "embedding": embedding(t, dim)} for i, t in enumerate(texts)]
        tokens = sum(len(text.split()) for text in texts)
        return {"data": data, **self.counted(tokens), "model": "words-of-crc"}

    def counted(self, tokens: int) -> dict[str, Any]:
        return {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}} if self.usage else {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet for an answer
    disable_nagle_algorithm = True
    api: Api

    def do_GET(self) -> None:
        page = self.api.pages.get(self.path)
        self.send(404 if page is None else 200, {}, json.dumps(page).encode())

    def do_POST(self) -> None:
        api = self.api
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with api.lock:
            api.asked.append(body)
            api.headers.append(dict(self.headers))
            api.under_way += 1
            api.together = max(api.together, api.under_way)
            fault = api.faults.pop(0) if api.faults else None
            held, api.held_first = api.held_first > 0, max(api.held_first - 1, 0)
        if held:
            api.released.wait()
        with api.lock:
            api.under_way -= 1
        with contextlib.suppress(ConnectionError):
            self.respond(body, fault)

    def respond(
        self, body: dict[str, Any], fault: tuple[int, dict[str, str], bytes] | None
    ) -> None:
        given = self.headers.get("Authorization", "")
        if self.api.key and given != f"Bearer {self.api.key}":
            message = {"error": {"message": f"Incorrect API key provided: {given[7:]}."}}
            self.send(401, {}, json.dumps(message).encode())
        elif fault is not None:
            self.send(*fault)
        else:
            answer = self.api.answer(self.path, body)
            answer = answer if self.api.change is None else self.api.change(answer)
            raw = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send(200, {}, raw)

    def send(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextlib.contextmanager
def serving(api: Api) -> Iterator[Api]:
    """Serve on a free port of the loopback."""
    with listening(type("Bound", (Handler,), {"api": api}), api.port) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a killed client
        api.port = server.server_address[1]
        try:
            yield api
        finally:
            api.released.set()
