"""Downloads: resumed, verified, and renamed to their final name only when complete.

    <path>.part        the bytes received so far
    <path>.part.tag    ETag (or date) of the file on the server

Three kinds of errors are distinguished because their remedies differ: the network (`NetworkError`:
run again to resume), the source (`SourceGoneError`: get the file elsewhere) and the content
(`ChecksumError`: it is another file).
"""

from __future__ import annotations

import hashlib
import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from rankstone.errors import ChecksumError, DataError, NetworkError, SourceGoneError
from rankstone.files import lock, sync
from rankstone.progress import Progress, silent

ATTEMPTS = 3
WAIT_S = 2.0
"""Delay in seconds after the first failed attempt; each further delay is longer by this."""
TIMEOUT_S = 60.0
"""Time in seconds without data after which a connection counts as broken."""
CHUNK = 1 << 20
GONE = {401, 403, 404, 410, 451}
"""HTTP statuses after which a retry is useless."""


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A file on a server, with its pinned digests and size."""

    url: str
    md5: str | None = None
    sha256: str | None = None
    size: int | None = None
    """Bytes."""
    headers: Mapping[str, str] = field(default_factory=dict)


def fetch(
    remote: Remote, path: Path, progress: Progress = silent, *, attempts: int = ATTEMPTS
) -> Path:
    """Download the file to `path` unless it exists.

    Args:
        progress: receives the number of bytes received and expected.
        attempts: number of attempts for a download that breaks off after it began; each attempt
            resumes the previous one.

    Raises:
        NetworkError: there is no connection, or it broke in all attempts; received bytes are kept.
        SourceGoneError: the server denies access, or has no such file.
        ChecksumError: the file does not have the pinned size or digest; it is deleted.
        DataError: the file cannot be written.
    """
    if not remote.url.startswith(("http://", "https://")):
        raise DataError(f"{remote.url}: only http and https addresses can be fetched. Correct it.")
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock(path):
            if not path.is_file():
                _Download(remote, path, progress).run(attempts)
    except OSError as error:
        raise DataError(
            f"{path}: cannot be written: {error}. Free space there, or name another folder with "
            "--cache (RANKSTONE_CACHE)."
        ) from error
    return path


class _Download:
    """One download into `<path>.part`; the caller holds the lock of `path`."""

    def __init__(self, remote: Remote, path: Path, progress: Progress) -> None:
        self.remote, self.path, self._progress = remote, path, progress
        self._part = path.with_name(path.name + ".part")
        self._tag = path.with_name(path.name + ".part.tag")

    def run(self, attempts: int) -> None:
        resumed = self._have() > 0
        self._complete(attempts)
        fault = self._fault()
        if fault and resumed:
            # The part may be from another version of the file: download it again as a whole.
            self._discard()
            self._complete(attempts)
            fault = self._fault()
        if fault:
            self._discard()
            raise ChecksumError(
                f"{self.remote.url}: wrong checksum: {fault}. {self.path} was not written. Run "
                "again; if the error persists, the source has changed, or a proxy answers in its "
                "place."
            )
        sync(self._part)
        self._part.replace(self.path)
        self._tag.unlink(missing_ok=True)

    def _complete(self, attempts: int) -> None:
        for attempt in range(1, attempts + 1):
            try:
                self._transfer()
            except NetworkError:
                # No data yet: more likely no network than an interruption.
                if attempt == attempts or not self._have():
                    raise
                time.sleep(WAIT_S * attempt)
            else:
                return

    def _transfer(self) -> None:
        """Download the missing bytes of the part."""
        have = self._have()
        response = self._open(have)
        if response is None:
            return
        with response:
            start, total = self._offset(response, have)
            self._check_size(total)
            if start == 0:
                self._remember(response)
            self._receive(response, start, total)

    def _open(self, have: int) -> http.client.HTTPResponse | None:
        """Return the server's response; None if the part is already complete."""
        request = urllib.request.Request(self.remote.url, headers=self._headers(have))
        try:
            return urllib.request.urlopen(request, timeout=TIMEOUT_S)  # type: ignore[no-any-return]
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416 and have:
                return self._beyond(error, have)
            self._refused(error)
        except (OSError, http.client.HTTPException) as error:
            self._broken(f"cannot be reached: {getattr(error, 'reason', error)}", error)

    def _headers(self, have: int) -> dict[str, str]:
        # Without compression: a compressed body would match neither size nor range.
        headers = {"User-Agent": "rankstone", "Accept-Encoding": "identity", **self.remote.headers}
        if have:
            headers["Range"] = f"bytes={have}-"
            tag = self._tag.read_text(encoding="utf-8") if self._tag.is_file() else ""
            # If the file changed, the server then sends the whole new file.
            headers |= {"If-Range": tag} if tag else {}
        return headers

    def _beyond(self, error: urllib.error.HTTPError, have: int) -> http.client.HTTPResponse | None:
        """Handle a range beyond the end: the part is complete, or of another file."""
        if error.headers.get("Content-Range", "") == f"bytes */{have}":
            return None
        self._discard()
        return self._open(0)

    def _refused(self, error: urllib.error.HTTPError) -> NoReturn:
        answer = f"{error.code} {error.reason}".strip()
        if error.code in GONE:
            raise SourceGoneError(
                f"{self.remote.url}: the source is gone: the server answers {answer}. Get the file "
                f"elsewhere and put it at {self.path}, or name a folder that holds the data set "
                "with --data DIR (RANKSTONE_DATA)."
            ) from None
        self._broken(f"is not available now: the server answers {answer}", error)

    def _broken(self, what: str, error: Exception | None = None) -> NoReturn:
        have = self._have()
        kept = f"The {have:,} bytes that arrived are kept in {self._part}. " if have else ""
        raise NetworkError(
            f"{self.remote.url}: no network: {what}. {kept}Run again when there is a connection"
            f"{', and it continues from there' if have else ''}; without one, put the file at "
            f"{self.path}, or name a folder that holds the data set with --data DIR "
            "(RANKSTONE_DATA)."
        ) from error

    def _offset(self, response: http.client.HTTPResponse, have: int) -> tuple[int, int | None]:
        """Return the offset of the body in the file, and the size of the whole file if known."""
        if response.status != 206:
            length = response.headers.get("Content-Length")
            return 0, int(length) if length and length.isdigit() else None
        given = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", given)
        if match is None or int(match[1]) != have:
            self._discard()
            self._broken(f"the server answers with the range '{given}', requested was {have}-")
        return have, int(match[2]) if match[2] != "*" else None

    def _check_size(self, total: int | None) -> None:
        """Refuse a file of another size before downloading it."""
        if total is not None and self.remote.size not in (None, total):
            self._discard()
            raise ChecksumError(
                f"{self.remote.url}: wrong size: expected {self.remote.size:,} bytes, the server "
                f"has {total:,}. {self.path} was not written. The source has changed: get the file "
                "elsewhere and put it there."
            )

    def _remember(self, response: http.client.HTTPResponse) -> None:
        etag = response.headers.get("ETag", "")
        # A weak tag does not guarantee equal bytes, and must not be used for ranges.
        tag = response.headers.get("Last-Modified", "") if etag.startswith("W/") else etag
        self._tag.write_text(tag or response.headers.get("Last-Modified", ""), encoding="utf-8")

    def _receive(self, response: Any, start: int, total: int | None) -> None:
        have, name = start, f"download {self.path.name}"
        with self._part.open("ab" if start else "wb") as file:
            while True:
                try:
                    data = response.read1(CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    file.flush()
                    self._broken(f"the connection broke: {error}", error)
                if not data:
                    break
                file.write(data)
                have += len(data)
                self._progress(name, have, total or self.remote.size)
        if total is not None and have < total:
            self._broken(f"the connection broke after {have:,} of {total:,} bytes")

    def _have(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def _fault(self) -> str | None:
        """Return how the part differs from the pins; None if it does not."""
        have, size = self._have(), self.remote.size
        if size is not None and have != size:
            return f"expected {size:,} bytes, found {have:,}"
        for kind, expected in (("md5", self.remote.md5), ("sha256", self.remote.sha256)):
            if expected is None:
                continue
            with self._part.open("rb") as file:
                found = hashlib.file_digest(file, kind).hexdigest()
            if found != expected.lower():
                return f"expected {kind} {expected}, found {found}"
        return None

    def _discard(self) -> None:
        self._part.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)
