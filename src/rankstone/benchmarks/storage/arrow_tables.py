"""Tables of strings and integers on disk: written as streams, digested, read memory-mapped.

A table is one Arrow IPC file of medium-sized record batches, so that neither writing nor reading
needs more memory than a few batches, and offsets never overflow.
"""

from __future__ import annotations

import functools
import hashlib
import mmap
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rankstone.arrays import Ints
from rankstone.errors import DataError
from rankstone.files import sync
from rankstone.text_files import Strings, encode_id, needs_encoding

BATCH_CHARS = 8 << 20
BATCH_ROWS = 1 << 16
IN_FLIGHT = 1
"""Maximum number of batches that wait for the writer; it bounds the memory of a conversion."""
DIGEST_VERSION = b"rankstone.strings.1"
TEXT = pa.large_string()


class ContentDigest:
    """sha256 over the content of string columns, independent of their division into batches.

    Each column is hashed as two streams: the lengths of its values in bytes (little-endian int64),
    and their concatenated UTF-8 bytes. Together they determine every value. Both are plain buffers
    in Arrow, so hashing is fast and runs concurrently with the reading thread.
    """

    def __init__(self, n_columns: int) -> None:
        self._streams = [(hashlib.sha256(), hashlib.sha256()) for _ in range(n_columns)]

    def update(self, columns: Sequence[Any]) -> None:
        """Add rows: one large_string array per column."""
        for (lengths, content), column in zip(self._streams, columns, strict=True):
            offsets = string_offsets(column)
            lengths.update(np.diff(offsets).astype("<i8").data)
            if len(offsets) > 1 and column.buffers()[2] is not None:
                content.update(memoryview(column.buffers()[2])[offsets[0] : offsets[-1]])

    def hexdigest(self) -> str:
        parts = [part.digest() for stream in self._streams for part in stream]
        return hashlib.sha256(DIGEST_VERSION + b"".join(parts)).hexdigest()


def string_offsets(column: Any) -> Ints:
    """Return the (len(column) + 1,) byte offsets of a large_string array into its data buffer."""
    if len(column) == 0:
        return np.zeros(1, dtype=np.int64)
    offsets = np.frombuffer(column.buffers()[1], dtype=np.int64)
    return offsets[column.offset : column.offset + len(column) + 1]


def blocks(rows: Iterable[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    """Yield `rows` in blocks of at most `BATCH_ROWS` rows and about `BATCH_CHARS` characters."""
    block: list[tuple[str, ...]] = []
    size = 0
    for row in rows:
        block.append(row)
        size += sum(map(len, row))
        if size >= BATCH_CHARS or len(block) >= BATCH_ROWS:
            yield block
            block, size = [], 0
    if block:
        yield block


def text_array(values: Sequence[str]) -> tuple[Any, int]:
    """Return `values` as a large_string array, and the number of values with lone surrogates.

    A lone surrogate (possible in JSON) has no UTF-8 form and is replaced by U+FFFD.
    """
    try:
        return pa.array(values, TEXT), 0
    except UnicodeEncodeError:
        # Through UTF-16, so that the two halves of a surrogate pair become their character.
        clean = [v.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for v in values]
        changed = sum(new != old for new, old in zip(clean, values, strict=True))
        return pa.array(clean, TEXT), changed


def rebatched(batches: Iterable[Any]) -> Iterator[Any]:
    """Yield the rows of record batches of strings, split as `blocks` would split them."""
    held: list[Any] = []
    n_chars = n_rows = 0
    for batch in batches:
        ends, start, before = np.cumsum(_chars(batch)), 0, 0
        while True:
            full = int(np.searchsorted(ends, before + BATCH_CHARS - n_chars)) + 1
            stop = min(full, start + BATCH_ROWS - n_rows)
            if stop > batch.num_rows:
                break
            whole = _joined([*held, batch.slice(start, stop - start)])
            held, n_chars, n_rows = [], 0, 0
            start, before = stop, int(ends[stop - 1])
            yield whole
        held.append(batch.slice(start))
        n_chars, n_rows = n_chars + int(ends[-1]) - before, n_rows + batch.num_rows - start
    if n_rows:
        yield _joined(held)


def _joined(batches: Sequence[Any]) -> Any:
    """Return one batch whose buffers contain only its own values, also when it is written."""
    none = pa.array([], TEXT)  # without it a single slice would not be copied
    columns = zip(*(batch.columns for batch in batches), strict=True)
    joined = [pa.concat_arrays([*parts, none]) for parts in columns]
    return pa.record_batch(joined, schema=batches[0].schema)


def _chars(batch: Any) -> Ints:
    """Return the (n_rows,) numbers of characters per row."""
    lengths = [pc.utf8_length(column).to_numpy() for column in batch.columns]
    return np.sum(lengths, axis=0, dtype=np.int64)  # type: ignore[no-any-return]


def blank_rows(columns: Sequence[Any]) -> int:
    """Count the rows that contain only white space in all columns."""
    visible = [pc.match_substring_regex(column, "[!-~]") for column in columns]
    unclear = pc.invert(functools.reduce(pc.or_, visible))
    # Only rows without an ASCII letter or digit need Python's definition of white space.
    rows = zip(*(strings(column.filter(unclear)) for column in columns), strict=True)
    return sum(not any(part and not part.isspace() for part in row) for row in rows)


def write_batch(writer: Any, batch: Any) -> None:
    """Append one batch to an open IPC file; raises OSError if the disk is full."""
    writer.write_batch(batch)


class TextTable:
    """Writer of a table of string columns: call `write` or `write_blocks` once, then read the
    figures.

    Attributes:
        rows: number of rows written.
        blank: number of rows with only white space after the first column.
        repaired: number of values with lone surrogates.
        hashes: (rows,) hashes of the first column, which holds ids. They are equal for ids that a
            run file encodes identically, and valid only within this process.
        sha256: digest of the content.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path = path
        self._schema = pa.schema([(name, TEXT) for name in names])
        self._digest = ContentDigest(len(names))
        self._hashes: list[Ints] = []
        self.rows = 0
        self.blank = 0
        self.repaired = 0

    @property
    def hashes(self) -> Ints:
        # Joined only once, because the hashes dominate the memory of a conversion.
        self._hashes = [np.concatenate([np.zeros(0, dtype=np.int64), *self._hashes])]
        return self._hashes[0]

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, rows: Iterable[tuple[str, ...]], progress: Callable[[int], None]) -> None:
        """Write `rows` to disk as a stream."""
        self.write_blocks(blocks(rows), progress)

    def write_blocks(self, content: Iterable[Any], progress: Callable[[int], None]) -> None:
        """Write blocks to disk as a stream: lists of rows, or record batches of string columns.

        The file does not depend on the division into blocks. A second thread hashes and writes
        while this one continues to read.
        """
        pending: deque[Future[None]] = deque()
        with (
            pa.OSFile(str(self.path), "wb") as sink,
            pa.ipc.new_file(sink, self._schema) as writer,
            ThreadPoolExecutor(1, "rankstone-write") as thread,
        ):
            for batch in rebatched(self._batch(block) for block in content if len(block)):
                self._count(batch)
                pending.append(thread.submit(self._store, writer, batch))
                if len(pending) > IN_FLIGHT:
                    pending.popleft().result()
                progress(self.rows)
            for future in pending:
                future.result()
        sync(self.path)

    def _batch(self, block: Any) -> Any:
        if isinstance(block, pa.RecordBatch):
            return pa.record_batch(block.columns, schema=self._schema)
        columns = []
        for values in zip(*block, strict=True):
            array, repaired = text_array(values)
            self.repaired += repaired
            columns.append(array)
        return pa.record_batch(columns, schema=self._schema)

    def _count(self, batch: Any) -> None:
        ids, *others = batch.columns
        names = strings(ids)
        if needs_encoding("".join(names)):
            names = list(map(encode_id, names))
        self._hashes.append(np.fromiter(map(hash, names), dtype=np.int64, count=len(ids)))
        self.rows += len(ids)
        self.blank += blank_rows(others)

    def _store(self, writer: Any, batch: Any) -> None:
        self._digest.update(batch.columns)
        write_batch(writer, batch)


def write_table(path: Path, table: Any) -> None:
    """Write a small, complete Arrow table."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        for batch in table.to_batches():
            write_batch(writer, batch)
    sync(path)


class MappedTable:
    """A memory-mapped table; strings are decoded only when they are read.

    Sequential reading keeps only the pages of one batch resident.
    """

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._file = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._content = pa.py_buffer(self._file)
            reader = pa.ipc.open_file(self._content)
            self._batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
        except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: an empty file
            raise DataError(f"{path}: damaged: {error}. Delete its folder and run again.") from None
        self.schema = reader.schema
        sizes = [batch.num_rows for batch in self._batches]
        self._starts = np.cumsum([0, *sizes], dtype=np.int64)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def column(self, name: str) -> Any:
        """Return the whole column as a chunked array over the mapped file."""
        chunks = [batch.column(name) for batch in self._batches]
        return pa.chunked_array(chunks, self.schema.field(name).type)

    def integers(self, name: str) -> NDArray[Any]:
        return self.column(name).to_numpy()  # type: ignore[no-any-return]

    def rows(self, name: str, start: int, stop: int) -> list[str]:
        """Return the strings of a range of rows."""
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        found: list[str] = []
        for number in range(max(first, 0), len(self._batches)):
            begin = int(self._starts[number])
            if begin >= stop:
                break
            low = max(start - begin, 0)
            column = self._batches[number].column(name).slice(low, stop - begin - low)
            found += strings(column)
            if stop >= self._starts[number + 1]:
                self._release(number)
        return found

    def _release(self, number: int) -> None:
        """Let the system release the resident pages of a batch that was read to its end."""
        if not hasattr(mmap, "MADV_DONTNEED"):
            return
        buffers = [b for column in self._batches[number].columns for b in column.buffers() if b]
        first = min(b.address for b in buffers) - self._content.address
        last = max(b.address + b.size for b in buffers) - self._content.address
        first -= first % mmap.PAGESIZE
        self._file.madvise(mmap.MADV_DONTNEED, first, last - first)

    def take(self, name: str, positions: Ints) -> list[str]:
        """Return the strings at `positions`, in that order; IndexError for an unknown row."""
        if len(positions) == 0:
            return []
        if positions.min() < 0 or positions.max() >= len(self):
            raise IndexError(f"positions must lie in 0..{len(self) - 1}")
        # By batch: `take` on the whole chunked column would copy the column.
        order = np.argsort(positions, kind="stable")
        ranked = positions[order]
        found = np.empty(len(positions), dtype=object)
        cuts = np.searchsorted(ranked, self._starts)
        for number in np.flatnonzero(np.diff(cuts)):
            run = slice(cuts[number], cuts[number + 1])
            local = pa.array(ranked[run] - self._starts[number])
            found[order[run]] = strings(self._batches[number].column(name).take(local))
        return list(found)

    def digest(self, names: Sequence[str]) -> str:
        """Return the content digest of string columns."""
        digest = ContentDigest(len(names))
        for batch in self._batches:
            digest.update([batch.column(name) for name in names])
        return digest.hexdigest()


def strings(column: Any) -> list[str]:
    """Return an Arrow string array as a list, several times faster than `to_pylist`."""
    return column.to_numpy(zero_copy_only=False).tolist()  # type: ignore[no-any-return]


def distinct(values: Any) -> tuple[Any, Ints]:
    """Return the distinct strings of an array, and the index of each value among them."""
    encoded = values.dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy().astype(np.int64)


def positions_of(column: Any, wanted: Any) -> Ints:
    """Return the (len(wanted),) rows of a chunked column that contain each string; -1 for none.

    Only `wanted` is hashed: one pass over the mapped column, four bytes per row.
    """
    found = np.full(len(wanted), -1, dtype=np.int64)
    start = 0
    for chunk in pc.index_in(column, value_set=wanted).chunks:
        rows = np.flatnonzero(chunk.is_valid().to_numpy(zero_copy_only=False))
        found[chunk.drop_null().to_numpy()] = start + rows
        start += len(chunk)
    return found


class MappedStrings(Strings):
    """Selected rows of a mapped string column, read on access."""

    def __init__(self, table: MappedTable, name: str, rows: Ints) -> None:
        self._table, self._name, self._rows = table, name, rows

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: range) -> list[str]:
        chosen = np.arange(rows.start, rows.stop, rows.step, dtype=np.int64)
        return self._table.take(self._name, self._rows[chosen])

    def __iter__(self) -> Iterator[str]:
        for start in range(0, len(self), BATCH_ROWS):
            yield from self[start : start + BATCH_ROWS]
