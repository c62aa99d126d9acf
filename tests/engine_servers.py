"""Doubles of Qdrant, OpenSearch and Elasticsearch, by their documented protocols.

They search exactly, in double precision, and refuse what the documentation refuses.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np

from tests.servers import listening

Answer = tuple[int, Any]


@dataclass
class Engine:
    """A server, what it holds, and how it misbehaves."""

    kind: str
    held: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name -> body of its creation, documents, and those that a refresh has made visible."""
    faults: dict[str, list[Answer]] = field(default_factory=dict)
    """`METHOD end-of-path` -> next answers, in place of true ones; status 0 breaks the
    connection."""
    released: threading.Event = field(default_factory=threading.Event)
    """Cleared: no request is answered until it is set again."""
    number: str = ""
    """The version, if it is not the usual one."""
    port: int = 0
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.released.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, method: str, path: str, raw: bytes, sent: str) -> Answer:
        self.released.wait()
        lines = [json.loads(line) for line in raw.decode().split("\n") if line]
        body = lines if sent == "application/x-ndjson" else lines[0] if lines else None
        self.asked.append((method, path, body))
        for end, answers in self.faults.items():
            if f"{method} {path}".endswith(end) and answers:
                return answers.pop(0)
        path = path.partition("?")[0].strip("/")
        return (self.qdrant if self.kind == "qdrant" else self.lucene)(method, path, body)

    def qdrant(self, method: str, path: str, body: Any) -> Answer:
        if not path:
            return 200, {"title": "qdrant - vector search engine", "version": "1.15.1"}
        _, name, *rest = path.split("/")
        held = self.held.get(name)
        if method == "PUT" and not rest:
            if held:
                return 409, {
                    "status": {"error": f"Wrong input: Collection `{name}` already exists!"}
                }
            assert body["vectors"]["distance"] == "Dot"
            self.held[name] = {"body": body, "docs": {}, "polls": 0}
            return 200, {"result": True, "status": "ok"}
        if method == "DELETE":
            return 200, {"result": self.held.pop(name, None) is not None, "status": "ok"}
        if held is None:
            return 404, {"status": {"error": f"Not found: Collection `{name}` doesn't exist!"}}
        if method == "GET":
            held["polls"] += 1
            status = "yellow" if held["polls"] == 1 else "green"
            return 200, {"result": {"status": status, "points_count": len(held["docs"])}}
        if rest == ["points"]:
            dim = held["body"]["vectors"]["size"]
            for key, vector in zip(body["batch"]["ids"], body["batch"]["vectors"], strict=True):
                if len(vector) != dim:
                    error = f"Wrong input: Vector dimension error: expected dim: {dim}"
                    return 400, {"status": {"error": error}}
                held["docs"][key] = vector
            return 200, {"result": {"status": "completed"}, "status": "ok"}
        assert rest == ["points", "query"]
        assert body["params"]["hnsw_ef"] >= body["limit"]
        found = nearest(held["docs"], body["query"], body["limit"])
        points = [{"id": key, "version": 0, "score": score} for key, score in found]
        return 200, {"result": {"points": points}, "status": "ok"}

    def lucene(self, method: str, path: str, body: Any) -> Answer:
        if not path:
            usual = {"opensearch": "3.1.0", "elasticsearch": "9.1.0"}[self.kind]
            number = self.number or usual
            own = {"distribution": "opensearch"} if self.kind == "opensearch" else {}
            return 200, {"version": {"number": number, **own}}
        name, *rest = path.split("/")
        held = self.held.get(name)
        if method == "PUT":
            return self.created(name, body)
        if held is None:
            return refused(404, "index_not_found_exception", f"no such index [{name}]")
        if method == "DELETE":
            del self.held[name]
            return 200, {"acknowledged": True}
        if rest == ["_bulk"]:
            return self.written(held, body)
        if rest == ["_refresh"]:
            held["visible"] = dict(held["docs"])
        if rest == ["_count"]:
            return 200, {"count": len(held["visible"])}
        if rest == ["_stats", "store"]:
            return 200, {"_all": {"primaries": {"store": {"size_in_bytes": 12345}}}}
        if rest == ["_search"]:
            return self.searched(held, body)
        return 200, {"_shards": {"failed": 0}}

    def created(self, name: str, body: Any) -> Answer:
        if name in self.held:
            return refused(400, "resource_already_exists_exception", f"index [{name}] exists")
        (mapping,) = body["mappings"]["properties"].values()
        known = {"opensearch": "knn_vector", "elasticsearch": "dense_vector"}[self.kind]
        if mapping["type"] not in (known, "text"):
            return refused(400, "mapper_parsing_exception", f"No handler for [{mapping['type']}]")
        if mapping["type"] == "knn_vector":
            assert body["settings"]["index"]["knn"] is True
        self.held[name] = {"body": body, "docs": {}, "visible": {}}
        return 200, {"acknowledged": True, "index": name}

    def written(self, held: Any, lines: Any) -> Answer:
        ((field_name, mapping),) = held["body"]["mappings"]["properties"].items()
        dim, items = mapping.get("dimension", mapping.get("dims")), []
        for action, document in zip(lines[::2], lines[1::2], strict=True):
            key, value = action["index"]["_id"], document[field_name]
            if dim and len(value) != dim:
                error = {"type": "document_parsing_exception", "reason": "different dimensions"}
                items.append({"index": {"_id": key, "status": 400, "error": error}})
            else:
                held["docs"][key] = value
                items.append({"index": {"_id": key, "status": 201}})
        return 200, {"errors": any("error" in i["index"] for i in items), "items": items}

    def searched(self, held: Any, body: Any) -> Answer:
        if body["size"] > 10_000:
            return refused(400, "illegal_argument_exception", "Result window is too large")
        if "match" in body.get("query", ()):
            words = set(body["query"]["match"]["text"]["query"].lower().split())
            shared = {k: len(words & set(t.lower().split())) for k, t in held["visible"].items()}
            found = sorted(((k, n) for k, n in shared.items() if n), key=lambda one: -one[1])
        else:
            vector = self.vector(body)
            found = [
                (key, 1 / (1 - p) if p < 0 else p + 1)  # as both document it
                for key, p in nearest(held["visible"], vector, body["size"])
            ]
        hits = [{"_id": key, "_score": score} for key, score in found[: body["size"]]]
        whole = {"timed_out": False, "_shards": {"total": 1, "failed": 0}}
        return 200, {**whole, "hits": {"hits": hits}}

    def vector(self, body: Any) -> list[float]:
        if self.kind == "elasticsearch":
            assert body["size"] <= body["knn"]["k"] <= body["knn"]["num_candidates"] <= 10_000
            return body["knn"]["query_vector"]
        if "script_score" in body["query"]:
            script = body["query"]["script_score"]["script"]
            assert (script["source"], script["lang"]) == ("knn_score", "knn")
            assert script["params"]["space_type"] == "innerproduct"
            return script["params"]["query_value"]
        (asked,) = body["query"]["knn"].values()
        assert asked["method_parameters"]["ef_search"] >= asked["k"] >= body["size"]
        return asked["vector"]


def nearest(vectors: dict[Any, Any], query: Any, k: int) -> list[tuple[Any, float]]:
    keys = list(vectors)
    products = np.array([vectors[key] for key in keys], dtype=np.float64) @ np.array(query)
    return [(keys[n], float(products[n])) for n in np.argsort(-products, kind="stable")[:k]]


def refused(status: int, kind: str, reason: str) -> Answer:
    cause = {"type": kind, "reason": reason}
    return status, {"error": {"root_cause": [cause], **cause}, "status": status}


@contextlib.contextmanager
def serving(kind: str) -> Iterator[Engine]:
    """Serve an engine on a free port until the block ends."""
    engine, lock = Engine(kind), threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # one packet for an answer
        disable_nagle_algorithm = True

        def answered(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            with lock:
                engine.headers.append(dict(self.headers))
                sent = self.headers.get("Content-Type", "")
                status, body = engine.answer(self.command, self.path, raw, sent)
            if not status:
                self.close_connection = True
                return
            content = body if isinstance(body, bytes) else json.dumps(body).encode()
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_DELETE = answered  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    with listening(Handler, 0) as server:
        engine.port = server.server_port
        yield engine


def own_names(engine: Engine) -> list[str]:
    """Return the names of collections of this project."""
    return [name for name in engine.held if re.fullmatch(r"rankstone_[0-9a-f]{16}", name)]
