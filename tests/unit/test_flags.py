"""Flagged figures: cached ones and unsteady latencies, in every format."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

from rankstone.leaderboards.board_spec import TableSpec
from rankstone.leaderboards.boards import board
from rankstone.leaderboards.compare import differences
from rankstone.leaderboards.costs import (
    BY_NAME,
    CACHED,
    COSTS,
    PARTS,
    VARIED,
    figures,
    pareto_optimal,
    unsteady_parts,
)
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.pages import board as board_page
from rankstone.leaderboards.pages import leaderboard as leaderboard_page
from rankstone.leaderboards.pages.compare import _cost
from rankstone.leaderboards.records import page as record_page
from rankstone.profiling.other_load import Reading
from rankstone.results.record import RunRecord
from tests.records import make_counted_record, make_record

TASK = "stdlib/functions"
LATEX = {"†": r"\textdagger{}", "‡": r"\textdaggerdbl{}"}


def changed(record: RunRecord, **latency: object) -> RunRecord:
    assert record.profile is not None
    assert record.profile.latency is not None
    own = record.profile.latency.model_copy(update=latency)
    return record.model_copy(update={"profile": record.profile.model_copy(update={"latency": own})})


def spread(record: RunRecord, times: float) -> RunRecord:
    """Return the record with a 95th percentile of the total latency of `times` medians."""
    assert record.profile is not None
    assert record.profile.latency is not None
    total = record.profile.latency.total
    wide = total.model_copy(update={"p95_ms": total.p50_ms * times})
    return changed(record, total=wide)


def cached(record: RunRecord, rss: int) -> RunRecord:
    assert record.profile is not None
    phases = dict(record.profile.phases)
    phases["encode_documents"] = phases["encode_documents"].model_copy(update={"from_cache": 1.0})
    profile = record.profile.model_copy(update={"phases": phases, "peak_rss_bytes": rss})
    return record.model_copy(update={"profile": profile})


PLAIN = make_record("lexical/bm25")
REUSED = cached(make_record("dense/e5"), 1_000_000)
"""Record with by far the smallest peak, which belongs to an earlier run."""
SHAKY = spread(make_record("dense/wordllama-256"), 5.1)
ALL = [PLAIN, REUSED, SHAKY]


@pytest.mark.parametrize(("times", "parts"), [(5.0, ()), (5.001, ("total",)), (1.0, ())])
def test_a_latency_is_unsteady_above_five_medians(times: float, parts: tuple[str, ...]) -> None:
    assert unsteady_parts(spread(PLAIN, times)) == parts


@pytest.mark.parametrize(("cores", "parts"), [(None, ()), (0.2, ()), (0.5, PARTS)])
def test_a_latency_under_other_load_is_unsteady(
    cores: float | None, parts: tuple[str, ...]
) -> None:
    assert unsteady_parts(changed(PLAIN, others_cores=cores)) == parts


@pytest.mark.parametrize("form", ["markdown", "html", "terminal", "latex"])
def test_marks_are_in_every_format_that_people_read(form: str) -> None:
    spec = TableSpec(name="b", title="b", tasks=(TASK,), costs=("peak RSS", "p95 latency"))
    stored = [(record, None) for record in ALL]
    pages = [
        leaderboard_page.page(ALL),
        board_page.page(board(spec, stored, tasks=[TASK])),  # type: ignore[arg-type]
        record_page.page(SHAKY),
        record_page.page(REUSED),
    ]
    texts = [render(page, form, width=300) for page in pages]
    dagger, double = (LATEX[mark] if form == "latex" else mark for mark in "†‡")
    for text in texts[:2]:
        assert text.count(dagger) >= 2
        assert text.count(double) >= 2
    assert texts[2].count(double) >= 2
    assert texts[3].count(dagger) >= 2


def test_programs_read_the_reason_beside_the_figure() -> None:
    spec = TableSpec(name="b", title="b", tasks=(TASK,), costs=("peak RSS", "p95 latency"))
    page = board_page.page(board(spec, [(r, None) for r in ALL], tasks=[TASK]))  # type: ignore[misc]
    rows = {row["method"]: row for row in page.rows}
    assert rows["dense/e5"]["peak_rss_bytes note"] == CACHED.word
    assert rows["dense/wordllama-256"]["total_p95_ms note"] == VARIED.word
    assert "peak_rss_bytes note" not in rows["lexical/bm25"]
    assert "peak_rss_bytes note" in render(page, "csv").splitlines()[0]
    notes = [row["peak_rss_bytes"]["note"] for row in json.loads(render(page, "json"))["rows"]]
    assert sorted(notes) == ["", "", CACHED.word]
    frame = json.loads(render(leaderboard_page.page(ALL), "json"))
    assert {row["method"]: (row["reused"], row["unsteady"]) for row in frame} == {
        "lexical/bm25": (None, None),
        "dense/e5": ("documents_per_s, peak_rss_bytes", None),
        "dense/wordllama-256": (None, "total_p50_ms, total_p95_ms, total_p99_ms"),
    }


def test_a_cached_figure_and_a_share_of_the_peak_are_never_best() -> None:
    rss, share = BY_NAME["peak RSS"], BY_NAME["share of peak FLOP/s"]
    assert pareto_optimal(rss, ALL)[1] is False
    counted = make_counted_record()
    assert pareto_optimal(share, [counted, counted]) == [False, False]
    spec = TableSpec(name="b", title="b", tasks=(TASK,), costs=(rss.name,))
    made = board(spec, [(r, None) for r in ALL], tasks=[TASK])  # type: ignore[misc]
    marks = {method: row[-1].mark for method, row in made.rows}
    assert marks["dense/e5"] == ""
    assert marks["lexical/bm25"] == "best"


@pytest.mark.parametrize("cost", [c for c in COSTS if c.phases], ids=lambda c: c.name)
def test_every_cost_of_a_cached_phase_is_barred(cost) -> None:
    record = cached(make_counted_record(), 1)
    if not {"encode_documents"} & set(cost.phases):
        assert not cost.is_reused(record)
        return
    assert cost.flag(record) is CACHED
    assert not cost.competes(record)


def test_a_comparison_has_no_ratio_of_a_cached_figure_and_marks_unsteady_ones() -> None:
    for pair in ((REUSED, PLAIN), (PLAIN, REUSED)):
        assert not any(figure.name.startswith("peak RSS") for figure in figures(*pair))
        assert any("peak RSS (encodings were read" in note for note in differences(*pair))
    shown = [_cost(figure) for figure in figures(SHAKY, PLAIN)]
    assert sum("‡ against" in text for text in shown) == 3


def test_a_record_does_not_add_the_time_of_earlier_runs() -> None:
    record = cached(make_record("dense/all-minilm-l6-v2"), 1)
    assert record.profile is not None
    phases = record.profile.phases
    own = sum(p.wall_s for name, p in phases.items() if name != "encode_documents")
    assert record.profile.own_seconds == pytest.approx(own)
    assert own < phases["encode_documents"].wall_s
    text = render(record_page.page(record), "markdown")
    assert "171†" in text
    assert "not added" in text


def test_load_of_a_detached_process_is_other_load() -> None:
    """An orphaned busy grandchild is not a child of this process."""
    burn = "import time; t = time.time()\nwhile time.time() - t < 1.5: pass"
    spawn = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {burn!r}])"
    before = Reading.now()
    subprocess.run([sys.executable, "-c", spawn], check=True)
    time.sleep(0.6)
    found = before.others_cores(Reading.now())
    assert found is None or found > 0.2


def test_own_work_is_no_other_load() -> None:
    before = Reading(at=0.0, machine_s=10.0, own_s=1.0)
    assert before.others_cores(Reading(at=2.0, machine_s=14.0, own_s=5.0)) == 0.0
    assert before.others_cores(Reading(at=2.0, machine_s=14.0, own_s=4.0)) == pytest.approx(0.5)
    assert before.others_cores(Reading(at=2.0, machine_s=10.1, own_s=5.0)) is None
    assert before.others_cores(Reading(at=0.1, machine_s=14.0, own_s=1.0)) is None, "too short"
