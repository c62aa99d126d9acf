"""Comparisons of stored records, and their pages."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import scipy.stats
from typer.testing import CliRunner

import rankstone
from rankstone.cli.app import app
from rankstone.errors import ResultsError
from rankstone.evaluation.family import holm
from rankstone.leaderboards.numbers import signed
from rankstone.leaderboards.pages.compare import probability
from rankstone.results.side_files import side_file
from rankstone.results.store import ResultStore
from tests.records import make_record
from tests.stored_values import store_values

QUERIES = [f"q{n}" for n in range(60)]
BM25, MINILM, STATIC = "lexical/bm25", "dense/all-minilm-l6-v2", "dense/wordllama-256"


def put(folder, method, values, *, task="stdlib/functions", queries=QUERIES, **changes):
    return store_values(folder, make_record(method, task, **changes), values, queries)


@pytest.fixture
def results(tmp_path):
    rng = np.random.default_rng(0)
    base = rng.random(60)
    folder = tmp_path / "results"
    put(folder, BM25, base)
    put(folder, MINILM, np.clip(base + rng.normal(0.05, 0.1, 60), 0, 1))
    put(folder, STATIC, base)
    return folder


def values(folder, method):
    from rankstone.results.per_query import read_per_query

    store = ResultStore(folder)
    file = side_file(*store.named(f"{method}@stdlib/functions"), "per_query")
    return read_per_query(file).measures["nDCG@10"]


def test_every_number_is_that_of_the_values_per_query(results):
    one, same = rankstone.compare("bm25", ["all-minilm-l6-v2", "wordllama-256"], results=results)
    of, than = values(results, MINILM), values(results, BM25)
    assert (one.of, one.than, one.measure) == (MINILM, BM25, "nDCG@10")
    assert one.paired.difference == pytest.approx((of - than).mean())
    assert one.paired.p == pytest.approx(scipy.stats.ttest_rel(of, than).pvalue, rel=0.2)
    assert one.adjusted == pytest.approx(holm([one.paired.p, 1.0])[0])
    assert one.paired.wins == (of > than).sum()
    assert one.moved[0].query == QUERIES[int(np.argmax(np.abs(of - than)))]
    assert (same.paired.ties, same.moved) == (60, ())
    assert one.figures[0].name == "median latency, ms"
    assert one.notes == ()


def test_the_largest_drops_and_rises_are_named_equal_ones_by_all_measures(tmp_path):
    folder = tmp_path / "results"
    changes = {BM25: ([0] * 4 + [1] * 4, [1] * 8), MINILM: ([1] * 3 + [0] * 5, [1, 0, 1, 1] * 2)}
    for method, (ndcg, recall) in changes.items():
        store_values(folder, make_record(method), {"nDCG@10": ndcg, "R@10": recall})
    (one,) = rankstone.compare("bm25", "all-minilm-l6-v2", results=folder)
    assert [move.query for move in one.moved][:2] == ["q1", "q5"], "recall falls too"
    assert {move.query for move in one.moved if move.of > move.than} == {"q0", "q1", "q2"}
    assert len([move for move in one.moved if move.of < move.than]) == 3
    shown = CliRunner().invoke(app, ["compare", "bm25", MINILM, "--results", str(folder)]).output
    assert "largest of 4 drops: q5: 1.000 → .000" in " ".join(shown.split())


def test_speed_of_two_machines_is_not_compared_and_noted(results):
    put(results, "dense/elsewhere", np.zeros(60), machine="ffffffff")
    (one,) = rankstone.compare("bm25", "dense/elsewhere", results=results)
    assert [figure.name for figure in one.figures] == ["index, bytes"]
    assert any("two machines" in note for note in one.notes)


def test_other_differences_are_noted(results):
    policy = make_record().policy.model_copy(update={"depth": 10})
    put(results, "dense/shallow", np.zeros(60), policy=policy, corpus="another")
    (one,) = rankstone.compare("bm25", "dense/shallow", results=results)
    said = " ".join(one.notes)
    assert "the corpus differ" in said
    assert "depth is 10 and 100" in said


def test_other_queries_are_not_compared(results):
    put(results, "dense/other", np.zeros(59), queries=QUERIES[:59])
    with pytest.raises(ResultsError, match="59 in common"):
        rankstone.compare("bm25", "dense/other", results=results)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bm26", "wordllama-256"], "Did you mean: lexical/bm25?"),
        (["bm25", "wordllama-256", "--on", "nowhere"], "no record of the task 'nowhere'"),
        (["bm25", "wordllama-256", "--measure", "RR@7"], "'RR@7' was not measured"),
    ],
)
def test_errors_name_the_available_choices(results, arguments, said):
    found = CliRunner().invoke(app, ["compare", *arguments, "--results", str(results)])
    assert isinstance(found.exception, ResultsError)
    assert said in str(found.exception)


def test_the_formats_say_the_same(results, tmp_path):
    def text(*more):
        arguments = ["compare", "bm25", "all-minilm-l6-v2", "wordllama-256", "--results"]
        found = CliRunner().invoke(app, [*arguments, str(results), *more])
        assert found.exit_code == 0, found.output
        return found.output

    rows = list(csv.DictReader(io.StringIO(text("--format", "csv"))))
    body = json.loads(text("--format", "json"))
    assert [row["of"] for row in rows] == [one["of"] for one in body] == [MINILM, STATIC]
    assert float(rows[0]["difference"]) == body[0]["difference"]
    page = text("--format", "markdown")
    assert f"| {MINILM} | " in page
    assert signed(body[0]["difference"]) in page
    assert "Holm's method over the 2 comparisons" in page
    assert "wins/ties/losses" in page
    shown = text()
    assert signed(body[0]["difference"]) in shown
    text("-o", str(tmp_path / "c.md"))
    assert (tmp_path / "c.md").read_text() == page


def test_numbers_as_papers_print_them():
    assert [signed(v) for v in (0.0314, -0.0314, 0.00001, -1.0)] == [
        "+.031",
        "−.031",
        ".000",
        "−1.000",
    ]
    assert [probability(p) for p in (0.0004, 0.04, float("nan"))] == ["<.001", ".040", "–"]
