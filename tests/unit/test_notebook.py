"""Results in a notebook: short `repr`, escaped HTML, frames; runs and judgements in memory."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ir_measures
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

import rankstone
from rankstone.errors import DefinitionError
from rankstone.execution.reporting import Lines, in_notebook
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.pages import leaderboard as leaderboard_page
from rankstone.scoring.in_memory import write_file
from rankstone.workspace import Workspace
from tests.conftest import ROOT
from tests.pages import Tags
from tests.records import make_record
from tests.stored_values import store_values

HOSTILE = "a/<img src=x onerror=alert(1)>&\x1b[2J"
OF, THAN, TASK = "dense/all-minilm-l6-v2", "lexical/bm25", "stdlib/functions"
PLACE = Workspace.find(ROOT)
SPECS = {OF: PLACE.method(OF), THAN: PLACE.method(THAN), TASK: PLACE.task(TASK)}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for method in (OF, THAN):
        values = {"nDCG@10": rng.random(40), "AP": rng.random(40)}
        store_values(tmp_path / "results", make_record(method), values)
    return tmp_path / "results"


def check_html(html: str) -> None:
    tags = Tags()
    tags.feed(html)
    assert tags.open == []
    assert "table" in tags.seen
    assert not {"html", "style", "script", "meta", "body"} & set(tags.seen)


def test_views_are_drawn_by_a_notebook(results: Path) -> None:
    shown = {
        "<1 comparison>": rankstone.compare(THAN, OF, results=results),
        "<1 judgement>": rankstone.gate(THAN, OF, results=results),
        "<leaderboard: 2 records, 2 methods, 1 tasks>": rankstone.leaderboard(results=results),
        "<1 detectable difference>": rankstone.power(THAN, OF, results=results),
    }
    for text, one in shown.items():
        assert repr(one) == text
        check_html(one._repr_html_())
        frame = one.to_frame()
        assert type(frame) is pd.DataFrame
        assert len(frame) == len(one)
        assert "stdlib/functions" in str(one)
    report = rankstone.report(baseline=THAN, results=results)
    assert repr(report).startswith("<Retrieval report: ")
    check_html(report._repr_html_())
    assert len(report.to_frame()) > 2


def test_a_text_is_no_output_of_a_notebook(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In IPython, rich displays printed text, whatever the console's file."""
    shown: list[object] = []
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *drawn: shown.append(drawn))
    board = rankstone.leaderboard(results=results)
    assert "stdlib/functions" in str(board)
    assert render(leaderboard_page.page(board.to_frame()), "svg").startswith("<svg")
    assert shown == []
    Console(file=io.StringIO()).print("x")
    assert len(shown) == 1, "this is what rich does"


def test_the_frame_of_a_comparison_holds_its_figures(results: Path) -> None:
    [one] = found = rankstone.compare(THAN, [OF], results=results)
    row = found.to_frame().iloc[0]
    assert (row["of"], row["than"], row["mean_of"]) == (one.of, one.than, one.mean_of)
    assert row["p"] == one.paired.p


def test_a_record_is_short_and_drawn_escaped() -> None:
    record = make_record()
    assert repr(record) == str(record) == "<lexical/bm25 on stdlib/functions: ok, nDCG@10 0.304>"
    check_html(record._repr_html_())
    hostile = record.model_copy(
        update={"task": record.task.model_copy(update={"source": HOSTILE, "name": HOSTILE})}
    )
    html = hostile._repr_html_()
    assert "&lt;img" in html
    assert not {"<img", "\x1b"} & {part for part in ("<img", "\x1b") if part in html}


def test_per_query_is_a_frame(results: Path) -> None:
    frame = rankstone.per_query(results=results)
    assert list(frame.columns) == ["task", "method", "query", "nDCG@10", "AP"]
    assert len(frame) == 80
    alone = rankstone.per_query(THAN, results=results)
    assert set(alone["method"]) == {THAN}
    assert alone["AP"].tolist() == frame[frame["method"] == THAN]["AP"].tolist()


def test_a_plot_is_a_chart_of_altair(results: Path) -> None:
    pytest.importorskip("altair")
    drawn = rankstone.plot("functions", results=results).to_dict()
    [points] = drawn["datasets"].values()
    assert {point["method"] for point in points} == {OF, THAN}
    with pytest.raises(rankstone.RankstoneError, match="modules"):
        rankstone.plot("modules", results=results)


def test_one_needs_no_list(results: Path) -> None:
    class Mine(rankstone.Runner):
        def encode(self, texts: Any, role: Any) -> Any: ...
        def index(self, documents: Any, context: Any) -> Any: ...

    with pytest.raises(rankstone.RankstoneError, match=r"python/Mine\+"):
        rankstone.compare(THAN, Mine(), results=results)
    [record] = [r for r, _ in rankstone.Session(results=results).records(THAN)]
    assert len(rankstone.leaderboard(record, results=results)) == 1
    assert len(rankstone.report(THAN, "stdlib/functions", results=results).tables) > 1


def alone(one: Any) -> Any:
    return one


def listed(one: Any) -> list[Any]:
    return [one]


def refused(verb: Callable[..., Any], names: Any) -> str:
    with pytest.raises(DefinitionError, match="'none' is not defined") as caught:
        verb(names)
    return str(caught.value)


Several = Callable[[Any], Any]
ONE_OR_MORE: dict[str, Callable[[Several, rankstone.Session, Path], Any]] = {
    "board": lambda s, here, _: here.board(columns=s("mean"), methods=s(OF), on=s(TASK)),
    "claims": lambda s, here, _: refused(here.claims, s("none")),
    "compare": lambda s, here, _: here.compare(s(SPECS[THAN]), s(SPECS[OF]), on=s(SPECS[TASK])),
    "composite": lambda s, here, _: here.composite("chunked", s(SPECS[THAN]), words=9).digest(),
    "export": lambda s, here, out: here.export(s(here.records(OF)[0][0]), "parquet", out),
    "gate": lambda s, here, _: here.gate(THAN, OF, on=s(SPECS[TASK])),
    "leaderboard": lambda s, here, _: here.leaderboard(s(here.records(OF)[0][0]), on=s(TASK)),
    "load": lambda s, here, _: here.sweep(s(SPECS[OF]), s(SPECS[TASK]), seed=1).tasks,
    "per_query": lambda s, here, _: here.per_query(s(here.records(OF)[0][0])),
    "plan": lambda s, here, _: here.sweep(s(SPECS[OF]), s(SPECS[TASK]), k=3).tasks,
    "plot": lambda s, here, _: here.plot(s(SPECS[TASK])).to_dict()["datasets"],
    "power": lambda s, here, _: here.power(s(SPECS[THAN]), s(OF), on=s(TASK)),
    "report": lambda s, here, _: here.report(s(SPECS[OF]), s(SPECS[TASK]), baseline=s(THAN)),
    "reproduce": lambda s, here, _: refused(here.reproduce, s("none")),
    "run": lambda s, here, _: here.sweep(s(SPECS[OF]), s(SPECS[TASK]), measures=s("P@5")).tasks,
    "site": lambda s, here, out: here.site(out / "site", methods=s(SPECS[OF]), on=s(TASK)),
}
ALWAYS_ONE = {"explain", "score", "verify"}
"""Functions about a single run or record."""


@pytest.mark.parametrize("verb", [name for name in rankstone.__all__ if name.islower()])
def test_one_needs_no_list_wherever_several_do(
    verb: str, results: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if verb in {*ALWAYS_ONE, "__version__"}:
        return
    monkeypatch.setattr("rankstone.leaderboards.pages.report.quality_against_cost", lambda _: "")
    monkeypatch.setattr(
        "rankstone.leaderboards.site.build.build", lambda site, *_, **__: site.cells
    )
    here = rankstone.Session(results=results, workspace=ROOT)
    one, several = (str(ONE_OR_MORE[verb](s, here, results.parent)) for s in (alone, listed))
    assert one == several


RUN = {"q1": {"a b": 3.0, "c": 2.5, "d": 1.0}, "q2": {"c": 0.5, "d": 0.25}}
QRELS = {"q1": {"c": 1, "x": 1}, "q2": {"d": 2}, "q3": {"a b": 1}}


def frame(values: Mapping[str, Mapping[str, float]], *columns: str) -> pd.DataFrame:
    rows = [(q, d, v) for q, row in values.items() for d, v in row.items()]
    return pd.DataFrame(rows, columns=[*columns])


@pytest.mark.parametrize(
    ("run", "qrels"),
    [
        (RUN, QRELS),
        (frame(RUN, "qid", "docno", "score"), frame(QRELS, "qid", "docno", "label")),
        (frame(RUN, "query_id", "doc_id", "score"), frame(QRELS, "query", "document", "relevance")),
    ],
)
def test_runs_and_judgements_in_memory_are_scored(run: Any, qrels: Any, tmp_path: Path) -> None:
    session = rankstone.Session(results=tmp_path / "results", cache=tmp_path / "cache")
    record = session.score(run, qrels=qrels, name="mine")
    expected = ir_measures.calc_aggregate([ir_measures.nDCG @ 10, ir_measures.AP], QRELS, RUN)
    measured = {str(measure): value for measure, value in expected.items()}
    assert record.measures["AP"].mean == pytest.approx(measured["AP"])
    assert record.method.name == "mine"
    [(stored, path)] = session.records()
    assert session.verify(stored, path) == []


def test_a_name_in_memory_follows_content(tmp_path: Path) -> None:
    one = write_file(RUN, "run", tmp_path)
    assert one == write_file(frame(RUN, "qid", "docid", "score"), "run", tmp_path)
    assert one != write_file({**RUN, "q2": {"c": 0.5}}, "run", tmp_path)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (frame(RUN, "q", "docno", "score"), "no column 'query', but q, docno, score"),
        ({"q": {"d": float("nan")}}, "expected a finite number"),
        ({"q": {"d": "1"}}, "expected a finite number"),
        ({"q": ["d"]}, "query 'q' has a list"),
    ],
)
def test_faults_in_memory_are_named(given: Any, fault: str, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=fault):
        write_file(given, "run", tmp_path)
    with pytest.raises(DefinitionError, match=r"0\.5 of query 'q' is not an integer"):
        write_file({"q": {"d": 0.5}}, "qrels", tmp_path)


def test_progress_is_lines_in_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not in_notebook()
    shell = type("ZMQInteractiveShell", (), {})()
    ipython = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(sys.modules, "IPython", ipython)  # type: ignore[arg-type]
    assert in_notebook()
    out, now = io.StringIO(), iter([0.0, 0.0, 5.0, 11.0, 12.0])
    lines = Lines(out, clock=lambda: next(now))
    lines.started("bm25 on t")
    for done in (10, 20, 30):
        lines("encode", done, 1000)
    for _ in range(2):
        record = make_record(warnings=["t: 2 documents are empty"])
        lines.finished(record, reused=False, seconds=3.25)
    assert out.getvalue().splitlines() == [
        "bm25 on t ...",
        "bm25 on t  encode 20 of 1,000",
        "<lexical/bm25 on stdlib/functions: ok, nDCG@10 0.304>, 3.2 s",
        "warning: t: 2 documents are empty",
        "<lexical/bm25 on stdlib/functions: ok, nDCG@10 0.304>, 3.2 s",
    ]
