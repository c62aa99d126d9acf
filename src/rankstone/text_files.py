"""User-provided text files: compression, byte-order marks, comments, columns and ids.

All readers of run files, judgements, topics and collections follow these rules. `Strings` are texts
that are read by position.
"""

from __future__ import annotations

import io
import lzma
import re
from abc import abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload
from urllib.parse import quote

from rankstone.errors import DataError, RankstoneError

BOM = b"\xef\xbb\xbf"
DAMAGE = (OSError, EOFError, lzma.LZMAError)
"""Errors raised when a truncated or damaged file is read."""
PACKED_ENDINGS = (".gz", ".zst", ".zstd", ".bz2", ".xz")
"""File name endings, case-insensitive, of compressed files."""
BUFFER_BYTES = 1 << 20
_COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    **{b"BZh%d1AY&SY" % level: "bz2" for level in range(1, 10)},
    **{b"BZh%d\x17rE8P\x90" % level: "bz2" for level in range(1, 10)},
    **{bytes([0x50 + n]) + b"\x2a\x4d\x18": "zstd" for n in range(16)},  # skippable frames
}
"""Compression by first bytes."""
_REFUSED = {
    b"\x1f\x9d": ("packed with Unix compress. Unpack", "gzip -dc"),
    b"PK\x03\x04": ("a zip archive. Unpack", "unzip -p"),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive. Unpack", "7z x -so"),
    b"Rar!\x1a\x07": ("a RAR archive. Unpack", "unrar p -inul"),
    b"\x04\x22\x4d\x18": ("packed with LZ4. Unpack", "lz4 -dc"),
    b"\xff\xfe": ("encoded in UTF-16. Convert", "iconv -f UTF-16 -t UTF-8"),
    b"\xfe\xff": ("encoded in UTF-16. Convert", "iconv -f UTF-16 -t UTF-8"),
}
"""First bytes of unsupported formats -> description, and the command that converts them."""
_HEAD = 16
# C programs separate columns only at ASCII white space.
_COLUMN = re.compile(r"[^ \t\n\r\x0b\x0c]+")
_SPACE = re.compile(r"[\s\ufeff]")
SENTENCE_JOINT = " "
"""Text between two sentences that are put together again."""
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def sentences(text: str) -> list[str]:
    """Return the sentences of a text, which end with a stop before white space; none is empty."""
    return [found for found in _SENTENCE_END.split(text.strip()) if found]


class Strings(Sequence[str]):
    """Strings that are read on access."""

    @abstractmethod
    def read(self, rows: range) -> list[str]:
        """Return the strings of these rows."""

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        rows = range(len(self))[index]
        return self.read(rows) if isinstance(rows, range) else self.read(range(rows, rows + 1))[0]


def opened(path: Path, error: Callable[[str], RankstoneError] = DataError) -> io.BufferedReader:
    """Open a file as bytes, decompressed and without byte-order mark.

    Raises `error` if the file cannot be read; later reads may raise an error of `DAMAGE`.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        raise error(f"{path}: no such file. Correct its name.") from None
    except OSError as fault:
        raise error(
            f"{path}: cannot be read: {fault.strerror or fault}. Make it readable."
        ) from None
    for magic, (state, command) in _REFUSED.items():
        if head.startswith(magic):
            raise error(f"{path}: {state} it: {command} {path.name} > FILE.")
    stream = io.BufferedReader(_decompressed(path, head), BUFFER_BYTES)
    try:
        while stream.peek(len(BOM)).startswith(BOM):
            stream.read(len(BOM))
        if _compression(stream.peek(_HEAD)) is not None:
            raise error(f"{path}: compressed twice. Unpack it once.")
    except DAMAGE as fault:
        raise error(f"{path}: truncated or damaged: {fault}. Fetch it again.") from None
    return stream


def _compression(head: bytes) -> str | None:
    return next((kind for magic, kind in _COMPRESSIONS.items() if head.startswith(magic)), None)


def _decompressed(path: Path, head: bytes) -> Any:
    """Open the content; unlike zstandard, Arrow's streams detect truncation."""
    kind = _compression(head)
    if kind is None:
        return io.FileIO(path)
    if kind == "xz":
        return lzma.open(path)
    import pyarrow as pa

    return pa.input_stream(str(path), compression=kind)


def plain_name(name: str) -> str:
    """Return a file name without the ending of its compression."""
    ending = next((e for e in PACKED_ENDINGS if name.lower().endswith(e)), "")
    return name[: len(name) - len(ending)]


def columns(line: str) -> list[str]:
    """Split a line at ASCII white space; other white space around a column is stripped."""
    return [column.strip() for column in _COLUMN.findall(line)]


def encode_id(id: str) -> str:
    """Return `id` as written in a run file: white space and U+FEFF percent-encoded."""
    return _SPACE.sub(lambda match: quote(match.group(), safe=""), id)


def needs_encoding(ids: str) -> bool:
    """Return True if `encode_id` changes one of the ids, which are given as one joined string."""
    # Splitting finds white space several times faster than a regular expression.
    return bool(ids) and (ids.split(None, 1) != [ids] or "\ufeff" in ids)
