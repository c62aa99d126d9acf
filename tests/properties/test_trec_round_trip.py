"""A run reads back as it was written: ids, order and every bit of the scores."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.results.trec_run import encode_id, read_run, write_run

ids = st.lists(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1),
    min_size=1,
    max_size=6,
    unique_by=encode_id,
)
scores = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(ids, ids, st.data())
def test_a_run_reads_back_as_written(
    query_ids: list[str], names: list[str], data: st.DataObject
) -> None:
    places = st.permutations(range(-1, len(names)))
    docs = np.array([data.draw(places) for _ in query_ids], np.int64)
    row = st.lists(scores, min_size=docs.shape[1], max_size=docs.shape[1])
    values = np.array([data.draw(row) for _ in query_ids], np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.run.zst"
        write_run(path, query_ids, docs, values, lambda p: [names[i] for i in p], "t")
        run = read_run(path, known=[*query_ids, *names])
    kept = docs >= 0
    assert [run.document_ids[d] for d in run.document] == [names[d] for d in docs[kept]]
    assert [run.query_ids[q] for q in run.query] == [query_ids[r] for r in np.nonzero(kept)[0]]
    assert run.score.tobytes() == values[kept].tobytes()
