"""The documents of a `corpus.jsonl` in blocks, parsed by Arrow on all cores.

Arrow parses without Python's lock and ten times as fast as `json`, but it accepts input that `json`
rejects, and does not report the line of a fault. Therefore only plain blocks, for which both are
known to give the same result, are parsed by Arrow. All other blocks are read by
`rankstone.benchmarks.readers.jsonl`.
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
"""Maximum bytes of a block for Arrow; a long line makes a block longer than `BLOCK_BYTES`."""
MOST_WORKERS = 4
"""Maximum number of blocks parsed at once; one more may wait. This bounds the memory."""
FIELDS = ("_id", "title", "text")
SKIPPED = 400
"""Bytes of a line outside its fields from which it is checked for input only Arrow accepts."""
NESTED = 200
"""Brackets in a line from which `json` checks it; `json` fails at about 1,000 levels."""
LONG_INTEGER = re.compile(rb"\d{640}")
"""Digits from which an integer may be refused by Python (`sys.set_int_max_str_digits`)."""
BARE_INF = re.compile(rb"Inf\s*[,}\]]")


def document_blocks(path: Path, warnings: set[str]) -> Iterator[Any]:
    """Yield the documents in file order, in record batches of `FIELDS` or lists of documents.

    Raises:
        DataError: as `read_documents` for the same file.
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
            # Reading line by line reports the first fault with its line number.
            deque(read_documents(path, warnings), maxlen=0)
            raise
        while pending:
            yield pending.popleft().result()


def line_blocks(file: io.BufferedIOBase, start: bytes) -> Iterator[bytes]:
    """Yield the file in blocks of whole lines, about `BLOCK_BYTES` each.

    A longer line makes a longer block. The last line may lack its line end. `start` is a line that
    precedes the rest of the file.
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
    """Return the parsed block that starts at line `first`: by Arrow if plain, else by line."""
    batch = _by_arrow(block)
    if batch is not None:
        return batch
    return list(documents_in(numbered(io.BytesIO(block), path, first), path, warnings))


def _by_arrow(block: bytes) -> Any:
    """Return the record batch of a block; None if a line is not safe for Arrow.

    A line is not safe if its id is empty, padded or not a string, a field is repeated or missing,
    it contains a lone surrogate or not exactly one object, or it is not JSON.
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
    if _exceeds_json(block, starts, stops, stops - starts - sum(lengths)):
        return None
    return pa.record_batch(columns, names=list(FIELDS))


def _lines(block: bytes) -> tuple[Ints, Ints]:
    """Return the starts and ends of the lines of a block."""
    stops = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == ord("\n"))
    if not block.endswith(b"\n"):
        stops = np.append(stops, len(block))
    return np.append(0, stops[:-1] + 1), stops


def _is_plain(block: bytes, starts: Ints, stops: Ints) -> bool:
    """Return True if Arrow may parse the block: each line within `{` and `}`, all of it UTF-8.

    `}` and `{` are adjacent only between objects, and strings contain no unescaped line ends, so no
    object crosses a line. Arrow silently stops at a NUL, and accepts `Inf` and `-NaN` as numbers.
    Texts may contain these too; such blocks are read by the slower path.
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
    """Return True if the word occurs; `in` takes four times as long and holds Python's lock."""
    found = np.flatnonzero(data[: max(0, len(data) - len(word) + 1)] == word[0])
    for place, letter in enumerate(word[1:], 1):
        found = found[data[found + place] == letter]
    return len(found) > 0


def _is_utf8(block: bytes) -> bool:
    """Return True if the block is UTF-8, without a copy; Arrow does not check skipped fields."""
    offsets = pa.py_buffer(np.array([0, len(block)], dtype=np.int64))
    try:
        pa.Array.from_buffers(TEXT, 1, [None, offsets, pa.py_buffer(block)]).validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _read(block: bytes) -> Any:
    """Return the table of a plain block, with nulls for missing fields; None if Arrow fails."""
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
    """Return True if an id starts or ends with anything but a visible ASCII character."""
    offsets = string_offsets(ids)
    data = np.frombuffer(ids.buffers()[2], dtype=np.uint8)
    ends = np.concatenate([data[offsets[:-1]], data[offsets[1:] - 1]])
    return bool(((ends <= ord(" ")) | (ends > ord("~"))).any())


def _exceeds_json(block: bytes, starts: Ints, stops: Ints, skipped: Ints) -> bool:
    """Return True if a line is nested deeper, or has a longer integer, than `json` accepts.

    Both occur only outside the fields, so lines with few other bytes cannot contain them.
    """
    for row in np.flatnonzero(skipped >= SKIPPED).tolist():
        line = block[starts[row] : stops[row]]
        if line.count(b"[") + line.count(b"{") > NESTED or LONG_INTEGER.search(line):
            try:
                json.loads(line)
            except (ValueError, RecursionError):
                return True
    return False
