"""The documents of a `corpus.jsonl` in blocks, parsed by Arrow on as many cores as there are.

Arrow parses outside of Python's lock and ten times as fast as `json`, but accepts what `json`
refuses, and cannot name the line of a fault. So it is given plain blocks alone, of which it is
known to make the same, and every other block is read by `rankstone.benchmarks.readers.jsonl`.
"""

from __future__ import annotations

import io
import json
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
from numpy.typing import NDArray

from rankstone.arrays import Ints
from rankstone.benchmarks.readers.jsonl import documents_in, read_documents
from rankstone.benchmarks.readers.lines import comment_bytes, numbered
from rankstone.benchmarks.storage.arrow_tables import TEXT, string_offsets
from rankstone.profiling.machine import usable_cores
from rankstone.text_files import DAMAGE, opened

BLOCK_BYTES = 1 << 20
LONGEST = 1 << 30
"""Bytes of a block, which one long line can make larger, that Arrow may be given."""
MOST_WORKERS = 4
"""Blocks parsed at once, at most; one more may wait, which bounds the memory."""
FIELDS = ("_id", "title", "text")
SKIPPED = 400
"""Bytes of a line outside of its fields that are looked through for what only Arrow accepts."""
NESTED = 200
"""Brackets in such a line, of which `json` is asked; it gives up at about a thousand levels."""
LONG_INTEGER = re.compile(rb"\d{640}")
"""No Python refuses a shorter one (`sys.set_int_max_str_digits`)."""
BARE_INF = re.compile(rb"Inf\s*[,}\]]")


def document_blocks(path: Path, warnings: set[str]) -> Iterator[Any]:
    """Yield the documents in file order, in record batches of `FIELDS` or lists of documents.

    Raises:
        DataError: what `read_documents` raises for the same file.
    """
    pending: deque[Future[Any]] = deque()
    workers = min(MOST_WORKERS, usable_cores())
    with opened(path) as file, ThreadPoolExecutor(workers, "rankstone-parse") as threads:
        try:
            start, n_skipped = comment_bytes(file)
            first = n_skipped + 1
            for block in line_blocks(file, start):
                pending.append(threads.submit(_parsed, block, path, first, warnings))
                first += block.count(b"\n")
                if len(pending) > workers:
                    yield pending.popleft().result()
        except DAMAGE:
            # Reading one by one reports the first fault with its line.
            deque(read_documents(path, warnings), maxlen=0)
            raise
        while pending:
            yield pending.popleft().result()


def line_blocks(file: io.BufferedIOBase, start: bytes = b"") -> Iterator[bytes]:
    """The file in blocks of whole lines, about `BLOCK_BYTES` each; the last line may lack its end.

    A block is longer where a line is. `start` is a line before the rest of the file.
    """
    pieces = [start]
    while chunk := file.read(BLOCK_BYTES):
        end = chunk.rfind(b"\n") + 1
        if end:
            yield b"".join([*pieces, chunk[:end]])
            pieces = []
        pieces.append(chunk[end:])
    if rest := b"".join(pieces):
        yield rest


def _parsed(block: bytes, path: Path, first: int, warnings: set[str]) -> Any:
    """A block that starts at line `first`: by Arrow if it is plain, else line by line."""
    batch = _by_arrow(block)
    if batch is not None:
        return batch
    return list(documents_in(numbered(io.BytesIO(block), path, first), path, warnings))


def _by_arrow(block: bytes) -> Any:
    """The record batch of a block; None where a line is not one that Arrow can be trusted with.

    Such a line has an id that is empty, padded or no string, a field twice or not at all, a lone
    surrogate, two objects or half of one, or is not JSON.
    """
    starts, stops = _lines(block)
    table = _read(block) if _is_plain(block, starts, stops) else None
    if table is None or table.num_rows != len(starts):
        return None
    ids, titles, texts = (table.column(name).combine_chunks() for name in FIELDS)
    columns = [ids, pc.fill_null(titles, ""), texts]
    lengths = [np.diff(string_offsets(column)) for column in columns]
    if ids.null_count or texts.null_count or not lengths[0].all() or _may_be_padded(ids):
        return None
    if _endless(block, starts, stops, stops - starts - sum(lengths)):
        return None
    return pa.record_batch(columns, names=list(FIELDS))


def _lines(block: bytes) -> tuple[Ints, Ints]:
    """Return the starts and ends of the lines of a block."""
    stops = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n"))
    if not block.endswith(b"\n"):
        stops = np.append(stops, len(block))
    return np.append(0, stops[:-1] + 1), stops


def _is_plain(block: bytes, starts: Ints, stops: Ints) -> bool:
    """Return True if Arrow may parse the block: lines in `{` and `}`, and all of it UTF-8.

    `}` and `{` follow each other only between objects, and no string holds a bare line end, so
    that no object crosses a line. A NUL would end the block for Arrow without an error, and it
    takes `Inf` and `-NaN` for numbers. A text may hold these as well; then it is read slower.
    """
    data = np.frombuffer(block, dtype=np.uint8)
    return bool(
        len(block) <= LONGEST
        and (data[starts] == ord("{")).all()
        and (data[stops - 1] == ord("}")).all()
        and b"\0" not in block
        and not _holds(data, b"-NaN")
        and not (_holds(data, b"Inf") and BARE_INF.search(block))
        and _is_utf8(block)
    )


def _holds(data: NDArray[np.uint8], word: bytes) -> bool:
    """Return True if the word occurs; `in` takes four times as long, and keeps Python's lock."""
    found = np.flatnonzero(data[: max(0, len(data) - len(word) + 1)] == word[0])
    for place, letter in enumerate(word[1:], 1):
        found = found[data[found + place] == letter]
    return len(found) > 0


def _is_utf8(block: bytes) -> bool:
    """Arrow does not look at the fields it skips; this makes no copy."""
    offsets = pa.py_buffer(np.array([0, len(block)], dtype=np.int64))
    try:
        pa.Array.from_buffers(TEXT, 1, [None, offsets, pa.py_buffer(block)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _read(block: bytes) -> Any:
    """The table of a plain block, nulls where a line has not the field; None if Arrow refuses."""
    reading = pyarrow.json.ReadOptions(use_threads=False, block_size=len(block) + 1)
    parsing = pyarrow.json.ParseOptions(
        explicit_schema=pa.schema([(name, TEXT) for name in FIELDS]),
        unexpected_field_behavior="ignore",
    )
    try:
        table = pyarrow.json.read_json(pa.BufferReader(block), reading, parsing)
        table.validate(full=True)
    except pa.ArrowException:
        return None
    return table


def _may_be_padded(ids: Any) -> bool:
    """Return True if an id begins or ends with something else than a visible ASCII character."""
    offsets = string_offsets(ids)
    data = np.frombuffer(ids.buffers()[2], dtype=np.uint8)
    ends = np.concatenate([data[offsets[:-1]], data[offsets[1:] - 1]])
    return bool(((ends <= ord(" ")) | (ends > ord("~"))).any())


def _endless(block: bytes, starts: Ints, stops: Ints, skipped: Ints) -> bool:
    """Return True if a line nests deeper, or has a longer integer, than `json` reads.

    Either stands outside of the fields, so that lines with little else than fields have none.
    """
    for row in np.flatnonzero(skipped >= SKIPPED).tolist():
        line = block[starts[row] : stops[row]]
        if line.count(b"[") + line.count(b"{") > NESTED or LONG_INTEGER.search(line):
            try:
                json.loads(line)
            except (ValueError, RecursionError):
                return True
    return False
