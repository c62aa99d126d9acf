"""Numbered lines of text files, and errors that name file and line."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from rankstone.errors import DataError
from rankstone.text_files import BOM, DAMAGE, opened

MEND = "Correct the line, or fetch the file again."
Numbered = tuple[int, str]
"""Line number, from 1, and text of a line."""


def numbered_lines(path: Path) -> Iterator[Numbered]:
    """Yield the non-blank lines, decompressed, without BOM and line ends.

    Raises:
        DataError: a line is not UTF-8, or the file is truncated, damaged or cannot be read.
    """
    with opened(path) as file:
        yield from numbered(file, path)


def numbered(lines: Iterable[bytes], path: Path, first: int = 1) -> Iterator[Numbered]:
    """Yield the numbered `lines`, those of the file at `path` from line `first` on.

    A line may start with a byte-order mark, where files were concatenated.
    """
    number = first - 1
    try:
        for number, line in enumerate(lines, first):
            text = line.removeprefix(BOM).decode("utf-8").rstrip("\r\n")
            if text and not text.isspace():
                yield number, text
    except UnicodeDecodeError as error:
        raise fault(path, number, f"not UTF-8: {error.reason} at byte {error.start}") from None
    except DAMAGE as error:
        raise DataError(
            f"{path}: truncated or damaged after line {number}: {error}. Fetch it again."
        ) from None


def without_comments(
    lines: Iterator[Numbered], is_row: Callable[[str], bool] = lambda line: False
) -> Iterator[Numbered]:
    """Yield `lines` without those starting with `#` before the first row.

    Args:
        is_row: returns True for a line that starts with `#` but is a row, if ids may start with it.
    """
    for number, line in lines:
        if not line.startswith("#") or is_row(line):
            yield number, line
            break
    yield from lines


def tab_fields(fields: list[str], n: int) -> list[str]:
    """Return the fields of a line without blank ones after the `n`-th, caused by trailing tabs."""
    while len(fields) > n and not fields[-1].strip():
        fields = fields[:-1]
    return fields


def comment_bytes(file: io.BufferedReader) -> tuple[bytes, int]:
    """Skip leading comments and blank lines; return the next line, and the number skipped."""
    n = 0
    for line in file:
        if line.strip() and not line.startswith(b"#"):
            return line, n
        n += 1
    return b"", n


def fault(path: Path, number: int, what: str) -> DataError:
    """Return the error that names the file, the line and the fault."""
    return DataError(f"{path}, line {number}: {what}. {MEND}")
