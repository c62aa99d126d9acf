"""The page of trainings is current, and counts each training once."""

from __future__ import annotations

from pathlib import Path

from docs.training_costs import TARGET, text
from rankstone.results.record import RunRecord
from rankstone.results.store import ResultStore
from tests.records import make_trained_record


def test_the_page_is_current() -> None:
    assert TARGET.read_text(encoding="utf-8") == text(), "python docs/training_costs.py writes it"


def used_by(method: str, *, reused: bool) -> RunRecord:
    record = make_trained_record()
    (training,) = record.training
    change = {"part": method, "reused": reused}
    return record.model_copy(
        update={
            "method": record.method.model_copy(update={"name": method}),
            "training": [training.model_copy(update=change)],
        }
    )


def test_a_training_counts_once_where_it_was_done(tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    for method, reused in (("a/half", True), ("b/whole", False), ("c/third", True)):
        store.write(used_by(method, reused=reused))
    page = " ".join(text(tmp_path).split())
    assert "1 trainings took 14 minutes; all 3 cells" in page
    assert "| b/whole | packages/functions | multiple_negatives_ranking | bm25 | 500 |" in page
    assert "| 2.500 | .050 | 812 | 1,611 |" in page
    assert "latencies are left out" not in page
    assert "a/half" not in page
