"""Requests to an API: key, retries, and error messages without the key."""

from __future__ import annotations

import json
import os
import random
import weakref
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from time import sleep
from typing import Any

from rankstone.errors import ApiError, RefusedError

AGAIN = (408, 429, 500, 502, 503, 504, 529)
"""HTTP status codes that are retried."""
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
"""First and longest wait of the exponential backoff; up to half is subtracted at random."""
PATIENCE_S = 600.0
"""Longest `Retry-After` of a server that is respected."""
LONGEST_MESSAGE = 300


class Client:
    """Connection to one server; thread-safe."""

    def __init__(self, base_url: str, *, key_env: str, timeout: float, retries: int) -> None:
        import httpx2

        self.base_url, self._key_env, self._retries = base_url.rstrip("/"), key_env, retries
        self._key = _key(key_env)
        self._faults = httpx2.RequestError
        self._unreachable = httpx2.ConnectError
        self._answered = False
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        tls = base_url.startswith("https:")  # reading the certificates is slow
        self._http = httpx2.Client(headers=headers, timeout=timeout, verify=tls)
        weakref.finalize(self, self._http.close)

    def post(self, path: str, body: Any, lost: Callable[[], None] = lambda: None) -> Any:
        """Return the JSON response; ApiError if the server refuses, or fails after all retries.

        Args:
            lost: Called before a request is retried that the server may have answered (and billed).
        """
        url = f"{self.base_url}/{path}"
        answer = self._send("POST", url, body, AGAIN, lost)
        if not answer.is_success:
            raise RefusedError(self._refusal(url, answer))
        try:
            return json.loads(answer.content)
        except ValueError:
            raise ApiError(
                f"{url}: the answer is not JSON, or is truncated: {len(answer.content):,} bytes"
                f" that end in {self._clean(answer.text[-40:])!r}."
            ) from None

    def stated(self, url: str) -> dict[str, Any]:
        """Return the JSON object at `url`; an empty dict if the server has none."""
        answer = self._send("GET", url, None, tuple(s for s in AGAIN if s != 500))
        try:
            body = json.loads(answer.content) if answer.is_success else {}
        except ValueError:
            body = {}
        return body if isinstance(body, dict) else {}

    def _send(
        self,
        method: str,
        url: str,
        body: Any,
        again: tuple[int, ...],
        lost: Callable[[], None] = lambda: None,
    ) -> Any:
        """Return the response, after retries of transient errors."""
        for attempt in range(self._retries + 1):
            asked: float | None = None
            broken = True
            try:
                answer = self._http.request(method, url, json=body)
            except self._faults as error:
                fault = f"{type(error).__name__}: {error}"
                if isinstance(error, self._unreachable) and not self._answered:
                    raise RefusedError(
                        f"{url}: cannot be reached: {self._clean(fault)}. Start the server, or"
                        " correct parameters.base_url."
                    ) from None
            else:
                self._answered, broken = True, False
                if answer.status_code not in again:
                    return answer
                fault, asked = self._status(answer), retry_after(answer.headers)
            if attempt == self._retries or (asked or 0.0) > PATIENCE_S:
                break
            if broken:
                lost()
            sleep(wait_s(attempt, asked))
        wait = f" It asks to wait {asked:g} s." if asked else ""
        raise ApiError(
            f"{url}: gave up after attempt {attempt + 1}: {self._clean(fault)}.{wait}"
            " Finished shards are kept; the same command continues from there."
        )

    def _refusal(self, url: str, answer: Any) -> str:
        status = answer.status_code
        mend = "Correct [parameters]; if a request is too large: batch_texts, batch_tokens,"
        mend += " max_characters."
        if status in (401, 403):
            mend = f"The key in the environment variable '{self._key_env}' is wrong or not allowed."
            if not self._key_env:
                mend = "Name the environment variable with the key: parameters.key_env."
        elif status == 404:
            mend = "Correct parameters.base_url or parameters.model_id."
        return f"{url}: {self._status(answer)}. {mend}"

    def _status(self, answer: Any) -> str:
        """Return status and message of a response in one line."""
        try:
            name = HTTPStatus(answer.status_code).phrase
        except ValueError:
            name = ""
        message = self._clean(_message(answer.text))
        return f"{answer.status_code} {name}".strip() + (f" ({message})" if message else "")

    def _clean(self, text: str) -> str:
        """Return the first line of `text`, truncated, without the key."""
        text = text.replace(self._key, "***") if self._key else text
        return " ".join(text.split())[:LONGEST_MESSAGE]


def wait_s(attempt: int, asked: float | None) -> float:
    """Return the seconds to wait: the server's `Retry-After`, or exponential backoff."""
    own = min(FIRST_WAIT_S * 2**attempt, LONGEST_WAIT_S) * random.uniform(0.5, 1.0)
    return own if asked is None else max(asked, 0.0)


def retry_after(headers: Any) -> float | None:
    """Return the seconds in `Retry-After`, a number or a date; None without the header."""
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return None


def _key(variable: str) -> str:
    """Return the key in the environment variable; empty if no variable is named."""
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ApiError(
            f"The environment variable '{variable}' (parameters.key_env) is not set."
            f" Set it to the key of the API: export {variable}=..."
        )
    if not (key.isascii() and key.isprintable()):
        raise ApiError(
            f"The environment variable '{variable}' (parameters.key_env) holds characters that are"
            " not allowed in a key. Set it to the key alone."
        )
    return key


def _message(text: str) -> str:
    """Return the message of a JSON error response, or the text as it is."""
    try:
        body = json.loads(text)
    except ValueError:
        return text
    while isinstance(body, dict):
        named = [body[k] for k in ("error", "message", "detail") if body.get(k)]
        body = named[0] if named else text
    return str(body)
