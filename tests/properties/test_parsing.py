"""Arrow's blocks and the reader that goes line by line: the same table, or the same error."""

from __future__ import annotations

import gzip
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.benchmarks.readers import arrow_jsonl as parsing
from rankstone.benchmarks.readers.jsonl import read_documents
from rankstone.benchmarks.storage import arrow_tables as tables
from rankstone.benchmarks.storage.arrow_tables import TextTable, blocks
from rankstone.errors import DataError

TEXT = st.text(st.characters(exclude_categories=()), max_size=8)
PLAIN = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN, inner, max_size=3),
    max_leaves=6,
)
PLAIN_RECORD = st.fixed_dictionaries(
    {"_id": PLAIN.filter(bool), "text": PLAIN},
    optional={"title": PLAIN | st.none(), "metadata": JSON},
)
ANY_RECORD = st.dictionaries(
    st.sampled_from(["_id", "title", "text", "metadata", ""]), JSON, max_size=4
)
ODD_RECORD = st.fixed_dictionaries(
    {"_id": st.integers() | TEXT.filter(bool), "text": TEXT}, optional={"title": TEXT}
)


SPOILERS = [
    *(b"", b"{", b"}", b"}{", b'"', b",", b"\\", b"[", b"1", b" "),
    *(b"\0", b"\n", b"\r", b"\xff", b"Inf", b"-NaN", b"\\ud800"),
]


@st.composite
def spelled(draw: st.DrawFn, records: st.SearchStrategy[dict[str, Any]]) -> bytes:
    """A record as a line of JSON, with or without escapes."""
    line = json.dumps(draw(records), ensure_ascii=draw(st.booleans()))
    return line.encode("utf-8", "surrogatepass")


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A line with some bytes exchanged for others."""
    line = draw(spelled(PLAIN_RECORD))
    at, n = draw(st.integers(0, len(line))), draw(st.integers(0, 3))
    other = draw(st.sampled_from(SPOILERS))
    return line[:at] + other + line[at + n :]


MOSTLY_GOOD = st.lists(
    spelled(PLAIN_RECORD) | spelled(PLAIN_RECORD) | spelled(ODD_RECORD) | st.just(b""), max_size=12
)
ANY_LINES = st.lists(
    spelled(PLAIN_RECORD) | spelled(PLAIN_RECORD) | spelled(ANY_RECORD) | spoilt(), max_size=8
)
ENDS = st.sampled_from([b"\n", b"\n", b"\r\n"])


def stored(
    path: Path, read: Callable[[Path, set[str]], Iterable[Any]], as_blocks: bool
) -> tuple[object, ...]:
    """All that can be seen of a corpus after conversion; the error alone where there is one."""
    warnings: set[str] = set()
    table = TextTable(path.with_name("corpus.arrow"), ["id", "title", "text"])
    write = table.write_blocks if as_blocks else table.write
    try:
        write(read(path, warnings), lambda done: None)
    except DataError as error:
        return (str(error),)
    content = table.path.read_bytes()
    hashes = table.hashes.tolist()
    return content, table.sha256, table.rows, table.blank, table.repaired, hashes, warnings


def check(content: bytes, packed: bool, block: int, rows: int, chars: int) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(parsing, "BLOCK_BYTES", block),
        patch.object(tables, "BATCH_ROWS", rows),
        patch.object(tables, "BATCH_CHARS", chars),
    ):
        path = Path(folder) / ("corpus.jsonl.gz" if packed else "corpus.jsonl")
        path.write_bytes(gzip.compress(content, 1) if packed else content)
        fast = stored(path, parsing.document_blocks, as_blocks=True)
        assert fast == stored(path, read_documents, as_blocks=False)
        if len(fast) > 1:
            sizes = [len(b) for b in blocks(tuple(d) for d in read_documents(path, set()))]
            file = pa.ipc.open_file(pa.memory_map(str(path.with_name("corpus.arrow"))))
            n = file.num_record_batches
            assert [file.get_batch(i).num_rows for i in range(n)] == sizes


@settings(deadline=None, max_examples=150)
@given(
    lines=MOSTLY_GOOD, end=ENDS, last=st.booleans(), packed=st.booleans(), bom=st.booleans(),
    block=st.integers(1, 400), rows=st.integers(1, 6), chars=st.integers(1, 80),
)  # fmt: skip
def test_blocks_and_lines_give_the_same_bytes(
    lines: list[bytes], end: bytes, last: bool, packed: bool, bom: bool,
    block: int, rows: int, chars: int,
) -> None:  # fmt: skip
    content = b"\xef\xbb\xbf" * bom + end.join(lines) + end * last
    check(content, packed, block, rows, chars)


@settings(deadline=None, max_examples=300)
@given(lines=ANY_LINES, end=ENDS, block=st.integers(1, 400))
def test_blocks_and_lines_give_the_same_errors(lines: list[bytes], end: bytes, block: int) -> None:
    check(end.join(lines), False, block, 3, 50)
