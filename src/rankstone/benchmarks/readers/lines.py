"""Numbered, decompressed lines of text files, and errors that name the file and line."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import zstandard

from rankstone.benchmarks.storage.archives import Unpacked
from rankstone.errors import DataError

BOM = b"\xef\xbb\xbf"
MEND = "Correct the line, or fetch the file again."
DAMAGE = (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError)
"""Errors raised on reading a truncated or damaged `.gz` or `.zst`."""


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, numbered from 1, without BOM and line ends.

    Raises:
        DataError: a line is not UTF-8, a `.gz` or `.zst` is truncated or damaged, or the file
            cannot be read.
    """
    with opened(path) as file:
        yield from numbered(file, path)


def numbered(lines: Iterable[bytes], path: Path, first: int = 1) -> Iterator[tuple[int, str]]:
    """Yield the same of `lines`, those of the file at `path` from line `first` on."""
    number = first - 1
    try:
        for number, line in enumerate(lines, first):
            content = line.removeprefix(BOM) if number == 1 else line
            text = content.decode("utf-8").rstrip("\r\n")
            if text and not text.isspace():
                yield number, text
    except UnicodeDecodeError as error:
        raise fault(path, number, f"not UTF-8: {error.reason} at byte {error.start}") from None
    except DAMAGE as error:
        raise DataError(
            f"{path}: truncated or damaged after line {number}: {error}. Fetch it again."
        ) from None


def opened(path: Path) -> io.BufferedIOBase:
    """Open the file's bytes, `.gz` and `.zst` decompressed; reading may raise one of `DAMAGE`.

    Raises:
        DataError: the file cannot be opened.
    """
    try:
        if path.suffix == ".gz":
            return gzip.GzipFile(path, "rb")
        file = path.open("rb")
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read: {error.strerror or error}. Make it readable."
        ) from None
    return io.BufferedReader(Unpacked(file)) if path.suffix == ".zst" else file


def fault(path: Path, number: int, what: str) -> DataError:
    """Return the error that names the file, the line and the fault."""
    return DataError(f"{path}, line {number}: {what}. {MEND}")
