"""The report contains all figures and caveats of the records, in both formats."""

from __future__ import annotations

import re

import numpy as np
import pytest
from typer.testing import CliRunner

import rankstone
from rankstone.cli.app import app
from rankstone.errors import ResultsError
from rankstone.leaderboards.costs import pareto
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.pages import plots
from rankstone.leaderboards.pages.plots import quality_against_cost
from rankstone.results.record import QuerySummary, TruncationInfo
from rankstone.results.store import ResultStore
from tests.pages import Tags
from tests.records import make_record
from tests.stored_values import store_values

METHODS = {"lexical/bm25": 0.3, "dense/all-minilm-l6-v2": 0.5}


def put(folder, method, mean=0.4, task="stdlib/functions", **changes):
    values = np.clip(np.random.default_rng(1).normal(mean, 0.1, 50), 0, 1)
    return store_values(folder / "results", make_record(method, task, **changes), values)


@pytest.fixture
def results(tmp_path):
    for method, mean in METHODS.items():
        cut = TruncationInfo(texts=100, texts_cut=25, tokens=1000, tokens_cut=300)
        put(tmp_path, method, mean, truncation={"document": cut})
    return tmp_path / "results"


def test_figures_comparisons_and_caveats_are_on_the_page(results, tmp_path):
    summary = QuerySummary(n=50, n_missing=2, n_tied=7)
    put(tmp_path, "lexical/tied", queries=summary, warnings=["odd <data>"])
    put(tmp_path, "lexical/far", task="stdlib/modules", machine="ffffffff")
    ResultStore(results).write(make_record("dense/broken", status="oom"))
    text = render(rankstone.report(baseline="bm25", results=results), "markdown")
    for said in (
        "lexical/bm25", "nDCG@10", "Against lexical/bm25", "Holm's",
        "25.0% of documents (30.0% of their tokens) are truncated",
        "7 of 50 queries have tied scores",
        "2 queries have no results", "odd \\<data>",
        "dense/broken on stdlib/functions ended as oom",
        "not run on stdlib/modules: ", "several machines", "depth 100",
    ):  # fmt: skip
        assert said in text, said


def test_the_summary_names_the_best_its_rivals_its_costs_and_what_is_missing(results, tmp_path):
    put(tmp_path, "dense/wordllama-256", METHODS["dense/all-minilm-l6-v2"])
    ResultStore(results).write(make_record("hybrid/rrf-bm25-wordllama-minilm"))
    ResultStore(results).write(make_record("dense/broken", status="oom"))
    put(tmp_path, "lexical/bm25", task="stdlib/modules")
    made = rankstone.report(results=results)
    heading, about, best, faults = made.blocks[:4]
    assert (heading.text, about.text[:23]) == ("Summary", "5 methods on 2 tasks: d")
    rows = {row[0].text: [cell.text for cell in row[1:]] for row in best.rows}
    rivals = "dense/wordllama-256; not tested: hybrid/rrf-bm25-wordllama-minilm"
    measure = make_record("dense/all-minilm-l6-v2").measures["nDCG@10"]
    ends = f"{measure.low:.3f}–{measure.high:.3f}".replace("0.", ".")
    row = rows["stdlib/functions"]
    assert row[:5] == ["nDCG@10", "dense/all-minilm-l6-v2", ".501", ends, rivals]
    assert "p95 latency" in row[5]
    assert row[6] == "dense/all-minilm-l6-v2, dense/wordllama-256"
    assert rows["stdlib/modules"][4] == "no other method"
    assert faults.texts[0].startswith("dense/broken on stdlib/functions ended as oom")
    assert faults.texts[1].startswith("not run on stdlib/modules: dense/")


def test_a_method_that_cannot_be_compared_stops_no_report(results, tmp_path):
    ResultStore(results).write(make_record("dense/imported"))
    stored = put(tmp_path, "dense/edited")
    path = ResultStore(results).path(stored).with_name(stored.files.per_query)
    path.write_bytes(path.read_bytes()[:-1])
    text = render(rankstone.report(baseline="bm25", results=results), "markdown")
    assert "Not compared: dense/imported on stdlib/functions: no values per query" in text
    assert "Not compared: per\\_query: " in text or "Not compared: per_query: " in text
    assert "dense/all-minilm-l6-v2" in text
    with pytest.raises(ResultsError, match="dense/imported on stdlib/functions: no values"):
        rankstone.report(baseline="dense/imported", results=results)


def test_html_is_whole_and_nothing_in_it_is_code(results, tmp_path):
    put(tmp_path, "dense/x", warnings=["<script>alert(1)</script>"])
    text = render(rankstone.report(results=results, title="A <b> & c"), "html")
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert "script" not in tags.seen
    assert tags.seen.count("svg") == 1
    assert "src=" not in text
    assert not re.search(r'href="https?:', text)


def test_the_plot_has_every_method_and_the_front():
    records = [make_record(method) for method in METHODS]
    svg = quality_against_cost(records)
    for method in METHODS:
        assert method in svg
    assert quality_against_cost(records[:1]) == ""


def test_no_plot_compares_records_of_different_data(results, tmp_path):
    for method in ("dense/other", "dense/third"):
        put(tmp_path, method, corpus="another")
    session = rankstone.Session(results=results)
    names = [name for name in session.report().pictures if name.endswith("-latency.svg")]
    assert len(names) == 2, "of each version of the data"
    with pytest.raises(ResultsError, match=r"different data \(corpus, queries\)"):
        session.plot("stdlib/functions")


def test_methods_with_one_last_part_have_full_names_in_plots():
    records = [make_record(f"{family}/one") for family in "ab"]
    records += [make_record(f"c/{n}") for n in range(plots.NAMED)]
    (points,) = plots.chart(records).to_dict()["datasets"].values()
    names = {point["name"] for point in points}
    assert names == {"a/one", "b/one", *map(str, range(plots.NAMED))}


def test_the_front_is_what_no_other_beats_in_both():
    rng = np.random.default_rng(0)
    points = [{"quality": float(q), "latency": float(x)} for q, x in rng.random((60, 2)).round(1)]
    front = pareto([(point["latency"], point["quality"]) for point in points])
    for point, stands in zip(points, front, strict=True):
        beaten = any(
            other["quality"] >= point["quality"]
            and other["latency"] <= point["latency"]
            and other["quality"] - other["latency"] > point["quality"] - point["latency"]
            for other in points
        )
        assert stands == (not beaten)


def test_a_report_is_written_with_its_pictures_by_command(results, tmp_path):
    out = tmp_path / "page" / "r.md"
    out.parent.mkdir()
    arguments = ["report", "--results", str(results), "-o"]
    found = CliRunner().invoke(app, [*arguments, str(out)])
    assert found.exit_code == 0, found.output
    (name,) = re.findall(r"!\[.*\]\((.*)\)", out.read_text())
    assert (out.parent / name).read_text().lstrip().startswith("<svg")
    assert CliRunner().invoke(app, [*arguments, str(tmp_path / "r.doc")]).exit_code == 2
    with pytest.raises(ResultsError, match="Did you mean: lexical/bm25"):
        rankstone.report(["bm26"], results=results)
    with pytest.raises(ResultsError, match="no records to report on"):
        rankstone.report(results=tmp_path / "page")
