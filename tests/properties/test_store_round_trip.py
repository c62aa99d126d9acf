"""Whatever documents go into the store come out of it, at their positions."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.benchmarks.dataset import CorpusTexts
from rankstone.benchmarks.storage import arrow_tables as tables
from rankstone.benchmarks.storage.arrow_tables import (
    MappedTable,
    TextTable,
    positions_of,
    text_array,
)

ANY = st.text(st.characters(exclude_categories=()), max_size=12)
PLAIN = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
ROWS = st.lists(st.tuples(PLAIN, PLAIN, PLAIN), min_size=1, max_size=12)


def written(folder: str, rows: list[tuple[str, ...]], batch: int) -> tuple[TextTable, MappedTable]:
    before, tables.BATCH_ROWS = tables.BATCH_ROWS, batch
    try:
        table = TextTable(Path(folder) / "t.arrow", ["id", "title", "text"])
        table.write(rows, lambda done: None)
    finally:
        tables.BATCH_ROWS = before
    return table, MappedTable(table.path)


@settings(deadline=None, max_examples=60)
@given(rows=ROWS, batch=st.integers(1, 5), data=st.data())
def test_rows_read_back_as_written(
    rows: list[tuple[str, ...]], batch: int, data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table, mapped = written(folder, rows, batch)
        start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(rows))] * 2)))
        picks = data.draw(st.lists(st.integers(0, len(rows) - 1)))
        assert len(mapped) == table.rows == len(rows)
        for column, name in enumerate(["id", "title", "text"]):
            values = [row[column] for row in rows]
            assert mapped.rows(name, start, stop) == values[start:stop]
            taken = mapped.take(name, np.array(picks, dtype=np.int64))
            assert taken == [values[n] for n in picks]
        assert mapped.digest(["id", "title", "text"]) == table.sha256


@settings(deadline=None, max_examples=60)
@given(rows=ROWS, other=ROWS, batches=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_digests_are_equal_exactly_where_the_rows_are(
    rows: list[tuple[str, ...]], other: list[tuple[str, ...]], batches: tuple[int, int]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first = written(folder, rows, batches[0])[0].sha256
        assert written(folder, rows, batches[1])[0].sha256 == first
        assert (written(folder, other, 3)[0].sha256 == first) == (rows == other)


@settings(deadline=None, max_examples=60)
@given(values=st.lists(PLAIN, unique=True, min_size=1), wanted=st.lists(PLAIN, unique=True))
def test_positions_are_those_of_a_search_through_the_list(
    values: list[str], wanted: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _, mapped = written(folder, [(value, "", "") for value in values], 3)
        found = positions_of(mapped.column("id"), text_array(wanted)[0])
        assert found.tolist() == [values.index(w) if w in values else -1 for w in wanted]


@given(values=st.lists(ANY, max_size=5))
def test_any_string_can_be_stored(values: list[str]) -> None:
    array, repaired = text_array(values)
    joined = [v.encode("utf-16", "surrogatepass").decode("utf-16", "ignore") for v in values]
    for stored, value, without in zip(array.to_pylist(), values, joined, strict=True):
        assert stored.replace("�", "") == without.replace("�", "")
        assert (stored == value) or any(0xD800 <= ord(c) < 0xE000 for c in value)
    assert repaired == sum(a != b for a, b in zip(array.to_pylist(), values, strict=True))


@given(values=st.lists(PLAIN, max_size=9), start=st.integers(-12, 12), stop=st.integers(-12, 12),
       step=st.sampled_from([-3, -1, 1, 2, sys.maxsize]))  # fmt: skip
def test_corpus_texts_slice_like_a_list(
    values: list[str], start: int, stop: int, step: int
) -> None:
    class Listed:
        def __len__(self) -> int:
            return len(values)

        def texts(self, start: int, stop: int) -> list[str]:
            return values[start:stop]

        def take(self, positions: np.ndarray) -> list[str]:
            return [values[n] for n in positions]

        def ids(self, positions: np.ndarray) -> list[str]:
            return [str(n) for n in positions]

    texts = CorpusTexts(Listed())
    assert texts[start:stop:step] == values[start:stop:step]
    assert list(texts) == values


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel shows no sizes")
def test_reading_a_table_from_beginning_to_end_keeps_a_batch_resident(tmp_path: Path) -> None:
    rows = [(f"d{n}", "", f"{n:05d}" * 20_000) for n in range(320)]
    _, mapped = written(str(tmp_path), rows, 10)
    before = mapped_bytes()
    for start in range(0, len(rows), 8):
        texts = mapped.rows("text", start, start + 8)
        assert texts == [row[2] for row in rows[start : start + 8]]
    assert mapped_bytes() - before < 4_000_000, "of 32 MB"


def mapped_bytes() -> int:
    """Resident bytes of files that are mapped."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("RssFile:")[2].split()[0]) * 1024
