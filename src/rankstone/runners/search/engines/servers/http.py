"""HTTP requests to search engines."""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from time import sleep
from typing import Any
from urllib.parse import unquote, urlunsplit

from rankstone.errors import EngineError, UnreachableError
from rankstone.runners.api.client import wait_s
from rankstone.runners.search.engines.servers.server import address, url_of

BUSY = (429, 503)
"""Status codes of an overloaded server."""
TRIES = 5
CONNECT_S = 10.0
LONGEST_MESSAGE = 400
STATED = ("error", "reason", "status")
"""Keys of a server's error message; the first that is present is used."""


class Http:
    """Connection to a server; thread-safe.

    Args:
        url_env: Environment variable with the address, which may include user and password.
        key_header: Header of an API key, and the prefix of the key.
        key_env: Environment variable with the key; empty if none is needed.
    """

    def __init__(
        self,
        url_env: str,
        example: str,
        *,
        timeout: float,
        key_env: str = "",
        key_header: tuple[str, str] = ("Authorization", "Bearer "),
    ) -> None:
        import httpx2

        url = url_of(url_env, example)
        host = url.netloc.rpartition("@")[2]
        self.shown = urlunsplit((url.scheme, host, url.path.rstrip("/"), "", ""))
        user = (unquote(url.username), unquote(url.password or "")) if url.username else None
        key = address(key_env, "KEY", "key_env") if key_env else ""
        headers = {key_header[0]: key_header[1] + key} if key else {}
        self._faults, self._timeout, self._url_env = httpx2.HTTPError, timeout, url_env
        self._http = httpx2.Client(
            headers=headers,
            auth=user,
            timeout=httpx2.Timeout(timeout, connect=CONNECT_S),
            verify=url.scheme == "https",  # reading the certificates is slow
        )
        weakref.finalize(self, self._http.close)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        lines: Sequence[Any] = (),
        slow: bool = False,
        missing: bool = False,
    ) -> Any:
        """Return the JSON response.

        Raises EngineError if the server refuses or fails, UnreachableError without a response.

        Args:
            lines: Objects of a body in JSON Lines format.
            slow: Wait without a timeout, and retry if the server is overloaded.
            missing: Return None for 404.
        """
        content = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        options: dict[str, Any] = {"content": content} if lines else {"json": body}
        if lines:
            options["headers"] = {"Content-Type": "application/x-ndjson"}
        if slow:
            options["timeout"] = None
        answer = self._sent(method, f"{self.shown}/{path}", options, TRIES if slow else 1)
        if missing and answer.status_code == 404:
            return None
        if not answer.is_success:
            raise EngineError(
                f"{method} {self.shown}/{path}: {answer.status_code} {_message(answer.text)}"
            )
        return self._json(path, answer)

    def version(self, kind: type, server: str) -> Any:
        """Return the version reported by `server`, as a `kind`; EngineError for a different
        server."""
        answer = self.ask("GET", "")
        stated = answer.get("version") if isinstance(answer, dict) else None
        if not isinstance(stated, kind):
            raise EngineError(f"{self.shown} is not {server}. Correct {self._url_env}.")
        return stated

    def _sent(self, method: str, url: str, options: dict[str, Any], tries: int) -> Any:
        for attempt in range(tries):
            try:
                answer = self._http.request(method, url, **options)
            except self._faults as error:
                fault = f"{type(error).__name__}: {error}".strip(": ")
                raise UnreachableError(
                    f"{method} {url}: {fault}. Check that the server runs, its address"
                    f" ({self._url_env}), and parameters.timeout ({self._timeout:g} s)."
                ) from None
            if answer.status_code not in BUSY:
                break
            if attempt < tries - 1:
                sleep(wait_s(attempt, None))
        return answer

    def _json(self, path: str, answer: Any) -> Any:
        try:
            return json.loads(answer.content)
        except ValueError:
            raise EngineError(
                f"{self.shown}/{path}: the answer is not JSON: {answer.text[:40]!r}. Correct the"
                " address."
            ) from None


def _message(text: str) -> str:
    """Return a server's error message in one line."""
    try:
        body = json.loads(text)
    except ValueError:
        body = text
    while isinstance(body, dict) and (inner := [body[k] for k in STATED if _states(body.get(k))]):
        body = inner[0]
    text = body if isinstance(body, str) else json.dumps(body)
    return " ".join(text.split())[:LONGEST_MESSAGE]


def _states(part: Any) -> bool:
    return bool(part) and isinstance(part, dict | str)
