"""Several processes write to one results folder at once, and nothing is lost or torn."""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.results.per_query import write_per_query
from rankstone.results.side_files import files_intact
from rankstone.results.store import ResultStore, Staged
from tests.records import make_record

METHODS = [f"lexical/m{n}" for n in range(3)]
WRITES = st.lists(st.tuples(st.sampled_from(METHODS), st.booleans()), min_size=1, max_size=5)


def write(folder: Path, writer: int, writes: list[tuple[str, bool]]) -> None:
    """Records of cells that other writers write too, each with side files of its own content."""
    store = ResultStore(folder)
    with tempfile.TemporaryDirectory() as place:
        for number, (method, good) in enumerate(writes):
            values = Path(place) / "values"
            write_per_query(values, ["q"], {"nDCG@10": np.array([writer + number / 10])})
            if good:
                store.write(make_record(method), Staged(per_query=values))
            else:
                store.write(make_record(method, status="failed"))


@settings(max_examples=12, deadline=None)
@given(st.lists(WRITES, min_size=2, max_size=4))
def test_every_cell_that_was_written_is_whole(writers: list[list[tuple[str, bool]]]) -> None:
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "results"
        processes = [
            context.Process(target=write, args=(folder, n, writes))
            for n, writes in enumerate(writers)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * len(processes)
        store = ResultStore(folder)
        good = {r.method.name: r for r in store.records() if r.status == "ok"}
        assert set(good) == {method for writes in writers for method, ok in writes if ok}
        assert all(files_intact(record, store.path(record)) for record in good.values())
