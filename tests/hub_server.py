"""A hub on 127.0.0.1 that serves the files of local folders: the few calls that the libraries
`datasets` and `huggingface_hub` make of the real one. A folder with a file `GATED` is gated."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class _Handler(BaseHTTPRequestHandler):
    repositories: dict[str, tuple[str, Path]]

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        path = self.path.partition("?")[0].removeprefix("/api")
        path = path.removeprefix("/datasets").removeprefix("/models").removeprefix("/")
        owner, name, what, *rest = [*path.split("/"), "", "", ""]
        if f"{owner}/{name}" not in self.repositories:
            return self.send(404, {"X-Error-Code": "RepoNotFound"})
        commit, root = self.repositories[f"{owner}/{name}"]
        revision, inner = rest[0], "/".join(part for part in rest[1:] if part)
        if revision not in (commit, "main", ""):
            return self.send(404, {"X-Error-Code": "RevisionNotFound"})
        if (root / "REFUSED").is_file():
            said = "Invalid credentials in Authorization header"
            return self.send(401, {"X-Error-Message": said})
        if (root / "GATED").is_file():
            return self.send(403, {"X-Error-Code": "GatedRepo"})
        if what == "resolve" and (root / inner).is_file():
            content = (root / inner).read_bytes()
            headers = {"x-repo-commit": commit, "etag": f'"{_oid(content)}"'}
            return self.send_range(headers, content)
        if what in ("", "revision"):
            siblings = [{"rfilename": entry["path"]} for entry in _listing(root)]
            return self.send_json({"id": f"{owner}/{name}", "sha": commit, "siblings": siblings})
        if what == "tree":
            return self.send_json([e for e in _listing(root) if e["path"].startswith(inner)])
        if what == "paths-info":
            wanted = json.loads(body)["paths"]
            return self.send_json([e for e in _listing(root) if e["path"] in wanted])
        return self.send(404, {"X-Error-Code": "EntryNotFound"})

    do_GET = do_HEAD = do_POST = answer  # noqa: N815 - the names http.server calls

    def send(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
        self.send_response(status)
        for key, value in {**headers, "content-length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_range(self, headers: dict[str, str], content: bytes) -> None:
        unit, _, wanted = (self.headers.get("range") or "").partition("=")
        if unit != "bytes":
            return self.send(200, headers, content)
        first, last = (int(end) for end in wanted.split("-"))
        part = content[first : last + 1]
        span = {"content-range": f"bytes {first}-{first + len(part) - 1}/{len(content)}"}
        return self.send(206, {**headers, **span}, part)

    def send_json(self, value: object) -> None:
        self.send(200, {"content-type": "application/json"}, json.dumps(value).encode())

    def log_message(self, *_: object) -> None:
        return


def _oid(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


def _listing(root: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for path in sorted(root.rglob("*")):
        entry: dict[str, object] = {"path": path.relative_to(root).as_posix(), "oid": "0" * 40}
        if path.is_file():
            content = path.read_bytes()
            entry |= {"type": "file", "size": len(content), "oid": _oid(content)}
        else:
            entry["type"] = "directory"
        found.append(entry)
    return found


@contextlib.contextmanager
def hub(repositories: dict[str, tuple[str, Path]]) -> Iterator[str]:
    """Serve `owner/name` -> (commit, folder); yields the address."""
    handler = type("Handler", (_Handler,), {"repositories": repositories})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
