"""`explain` through a session and through the command line."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval
from typer.testing import CliRunner

from rankstone import Session
from rankstone.cli.app import app
from rankstone.errors import DefinitionError, MeasureError, ResultsError
from rankstone.results.trec_run import read_run
from rankstone.scoring.explained import Case
from rankstone.scoring.reencoding import facts, untried
from rankstone.scoring.task_qrels import open_judged
from tests.beir_layout import write_beir
from tests.records import make_imported_record, make_record

pytestmark = pytest.mark.usefixtures("forked_cells")

TASKS = """
[tasks.letters]
description = "d"
loader = "beir"
self_hits = "drop"
headline = "nDCG@10"
measures = ["nDCG@10", "R@10", "AP"]
depth = 20

[tasks.letters-v2]
description = "The judgements of another version."
loader = "qrels"
source = { folder = "tiny/letters" }
split = "other"
"""
TABLE = """
title = "A table"
source = "a paper, Table 1"
tolerance = 0.001
because = "rounding"
digits = 3

[[rows]]
row = "ours"
method = "runs/mine"
measure = "nDCG@10"
expected = {{ "tiny/letters" = {value:.3f} }}

[[rows]]
row = "theirs"
measure = "nDCG@10"
expected = {{ "tiny/letters" = 0.123 }}
"""
RNG = np.random.default_rng(3)
DOCUMENTS = [f"d{n:02}" for n in range(30)]
IDS = [*(f"q{n}" for n in range(8)), "d05"]
# A list without the query's own document, as a run of the task is stored.
RUN = {
    q: {d: float(n) for n, d in enumerate(RNG.permutation(DOCUMENTS)[:20].tolist()) if d != q}
    for q in IDS
}
QRELS = {q: dict.fromkeys(RNG.permutation(DOCUMENTS)[:9].tolist(), 1) for q in IDS}
OTHER = {q: dict.fromkeys(RNG.permutation(DOCUMENTS)[:9].tolist(), 1) for q in IDS[:6]}


def by_trec(name: str, run=RUN, qrels=QRELS) -> float:
    values = pytrec_eval.RelevanceEvaluator(qrels, {name}).evaluate(run)
    return sum(row[name] for row in values.values()) / len(qrels)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Session:
    root = tmp_path_factory.mktemp("explained")
    for part in (root / "benchmarks", root / "leaderboards" / "papers"):
        part.mkdir(parents=True)
    judged = {
        split: [(q, d, n) for q, row in qrels.items() for d, n in row.items()]
        for split, qrels in (("test", QRELS), ("other", OTHER))
    }
    folder = root / "data" / "tiny" / "letters"
    write_beir(folder, {d: d for d in DOCUMENTS}, {q: q for q in IDS}, **judged)
    (root / "benchmarks" / "tiny.toml").write_text(TASKS)
    table = TABLE.format(value=by_trec("ndcg_cut_5"))
    (root / "leaderboards" / "papers" / "a-table.toml").write_text(table)
    session = Session(
        workspace=root, data=root / "data", cache=root / "cache", results=root / "results"
    )
    session.score(RUN, "tiny/letters", name="runs/mine")
    return session


def test_a_number_is_read_with_its_rounding(here: Session) -> None:
    found = here.explain("runs/mine@tiny/letters", f"{by_trec('ndcg_cut_5'):.4f}")
    assert found.verdict == "closes the gap"
    assert found.singles[0].causes[0] == "cutoff 5"
    assert found.published.tolerance == pytest.approx(0.00005)
    percent = here.explain("mine@tiny/letters", f"{100 * by_trec('recall_5'):.2f}", measure="R@10")
    assert percent.published.source.endswith("read as a percentage")
    assert percent.singles[0].causes[0] == "cutoff 5"
    assert percent.published.tolerance == pytest.approx(0.00005)
    same = here.explain("mine@tiny/letters", by_trec("ndcg_cut_10"))
    assert same.verdict == "no gap"
    assert len(found.to_frame()) == len(found.singles)
    assert repr(found) == "<nDCG@10 of runs/mine on tiny/letters: closes the gap>"
    assert "cutoff 5" in str(found)
    assert "<table" in found._repr_html_()


def test_self_hits_that_were_dropped_are_assumed_to_come_first(here: Session) -> None:
    kept = {q: {**row, **({q: 99.0} if q in DOCUMENTS else {})} for q, row in RUN.items()}
    found = here.explain("mine@tiny/letters", by_trec("ndcg_cut_10", kept))
    assert any("own id kept" in name for name in found.singles[0].causes)


def test_a_deeper_run_is_bounded_by_the_relevant_documents_that_are_missing(
    here: Session,
) -> None:
    longer = {
        q: row | {d: -1.0 - n for n, d in enumerate(QRELS[q]) if d not in row}
        for q, row in RUN.items()
    }
    found = here.explain("mine@tiny/letters", 0.9, measure="AP")
    bound = next(one for one in found.untried if one.cause == "a deeper run")
    assert f"{by_trec('map', longer):.4f} at most" in bound.why
    found = here.explain("mine@tiny/letters", 0.9)
    assert not any(one.cause.startswith("short") for one in found.untried)
    few = {q: dict(list(row.items())[: 6 if q == "q1" else 20]) for q, row in RUN.items()}
    here.score(few, "tiny/letters", name="runs/few")
    found = here.explain("runs/few@tiny/letters", 0.9)
    [short] = [one for one in found.untried if one.cause == "short lists filled up"]
    assert short.why.startswith("1 of 9 queries have fewer than 10 results")


def test_judgements_of_another_version_are_tried_if_available(
    here: Session, tmp_path: Path
) -> None:
    value = by_trec("ndcg_cut_10", {q: RUN[q] for q in OTHER}, OTHER)
    found = here.explain("mine@tiny/letters", value)
    assert found.singles[0].causes == ("judgements of tiny/letters-v2, 6 of 9 queries",)
    mine = {q: {"d01": 1, "d02": 1} for q in IDS}
    file = tmp_path / "third.qrels"
    file.write_text("".join(f"{q} 0 {d} 1\n" for q, row in mine.items() for d in row))
    value = by_trec("ndcg_cut_10", RUN, mine)
    found = here.explain("mine@tiny/letters", value, qrels=file)
    [cause] = found.singles[0].causes
    assert re.fullmatch(r"judgements of qrels/third\S*, 9 of 9 queries", cause)


def test_the_run_of_the_method_on_another_split_is_tried(here: Session) -> None:
    backwards = {q: {d: -score for d, score in row.items()} for q, row in RUN.items()}
    here.score(RUN, "tiny/letters", name="runs/both")
    here.score(backwards, "tiny/letters-v2", name="runs/both")
    value = by_trec("recall_10", {q: backwards[q] for q in OTHER}, OTHER)
    [(record, _)] = here.records(["runs/both@tiny/letters"])
    found = here.explain(record, value, measure="R@10")
    assert found.singles[0].causes == ("the run on tiny/letters-v2",)


def test_a_cell_of_a_table(here: Session) -> None:
    found = here.explain("mine@tiny/letters", "a-table")
    assert (found.verdict, found.published.source) == ("closes the gap", "a paper, Table 1, ours")
    assert here.explain("mine@tiny/letters", "a-table:theirs").published.value == 0.123
    with pytest.raises(DefinitionError, match="no number, and no table of that name"):
        here.explain("mine@tiny/letters", "nowhere")
    with pytest.raises(DefinitionError, match=r"no R@10 of runs/mine.*it has nDCG@10: --measure"):
        here.explain("mine@tiny/letters", "a-table", measure="R@10")
    with pytest.raises(ResultsError, match="needs more than the run"):
        here.explain("mine@tiny/letters", 0.5, measure="nDCG@50")
    with pytest.raises(MeasureError, match="not known"):
        here.explain("mine@tiny/letters", 0.5, measure="nDGC@10")
    with pytest.raises(DefinitionError, match="definition is missing"):
        here.explain("mine@tiny/letters", 0.5, rerun=True)


def test_the_command_explains_a_published_number(here: Session) -> None:
    options = [
        *("--workspace", str(here.workspace), "--data", str(here.data)),
        *("--cache", str(here.cache), "--results", str(here.results)),
    ]

    def call(*arguments: str) -> str:
        runner = CliRunner(env={"COLUMNS": "120"})
        made = runner.invoke(app, ["explain", "mine@tiny/letters", *arguments, *options])
        assert made.exit_code == 0, made.output
        return made.stdout

    value = f"{by_trec('ndcg_cut_5'):.4f}"
    text = " ".join(call("--published", value).split())
    assert "closes the gap:" in text
    assert "a match is a hypothesis, not a proof" in text
    assert "causes tried" in text
    body = json.loads(call("--published", value, "--json"))
    assert body["verdict"] == "closes the gap"
    assert body["singles"][0]["causes"] == ["cutoff 5"]
    assert body["gap"] == pytest.approx(float(value) - body["ours"])
    assert "no gap" in call("--published", f"{by_trec('ndcg_cut_10'):.4f}")


def test_another_run_is_a_cause_and_a_sample_of_it_an_estimate(here: Session) -> None:
    [(record, path)] = here.records(["mine@tiny/letters"])
    judged = open_judged(here.task_of(record), here.sources)
    case = Case.of(record, path, judged, "nDCG@10")
    stored = read_run(path.with_name(str(record.files.run)))
    reversed_run = stored._replace(score=-stored.score)
    case.add_run("every query", reversed_run)
    case.add_run("some queries", reversed_run, IDS[:4])
    backwards = {q: {d: -s for d, s in row.items()} for q, row in RUN.items()}
    first = {q: QRELS[q] for q in IDS[:4]}
    moved = by_trec("ndcg_cut_10", backwards, first) - by_trec("ndcg_cut_10", RUN, first)
    found = here.explain("mine@tiny/letters", 0.5)
    values = {
        name: one
        for one in case.explained("nDCG@10", found.published).singles
        for name in one.causes
    }
    assert values["every query"].value == pytest.approx(by_trec("ndcg_cut_10", backwards))
    assert not values["every query"].estimated
    assert values["some queries"].value == pytest.approx(by_trec("ndcg_cut_10") + moved)
    assert values["some queries"].estimated


def test_causes_that_need_another_run_are_listed_with_its_command(here: Session) -> None:
    record = make_record("dense/e5", "tiny/letters")
    described = {
        "model": "org/e5", "revision": "abc", "files": {}, "precision": "fp32",
        "prompts": {"query": "query: ", "document": "passage: "}, "similarity": "cosine",
        "max_length": {"query": 256, "document": 256},
    }  # fmt: skip
    cut = {"document": {"texts": 200, "texts_cut": 50, "tokens": 1, "tokens_cut": 0}}
    body = record.model_dump()
    body["method"] |= {"description": described, "parameters": {}}
    record = type(record).model_validate({**body, "truncation": cut})
    named = {one.cause: one for one in untried(record)}
    left_out = named["prompts left out"]
    assert "'query: ' before each query" in left_out.why
    assert left_out.command == (
        "rankstone run dense/e5 --on tiny/letters --set prompts.query= --set prompts.document="
    )
    assert "25.0% of documents are truncated at 256" in named["texts truncated at 512 tokens"].why
    assert named["prompts swapped"].settings[0] == "prompts.query=passage: "
    assert named["similarity dot"].settings == ("similarity=dot",)
    assert named["precision bf16"].settings == ("precision=bf16",)
    told = list(facts(record, here.definitions.task("tiny/letters")))
    assert told[0] == "weights: org/e5, revision abc (0 files)"
    bm25 = {one.cause: one for one in untried(make_record("lexical/bm25", "tiny/letters"))}
    assert bm25["k1 = 1.2, b = 0.75"].settings == ("k1=1.2", "b=0.75")
    assert "k1 = 0.9, b = 0.4" not in bm25


def test_a_record_without_a_run_is_refused(here: Session, tmp_path: Path) -> None:
    [(record, _)] = here.records(["mine@tiny/letters"])
    judged = open_judged(here.task_of(record), here.sources)
    with pytest.raises(ResultsError, match="the record has no run"):
        Case.of(make_imported_record(), tmp_path, judged, "nDCG@10")


@pytest.mark.slow
def test_runs_with_other_settings_are_made_and_thrown_away(here: Session) -> None:
    """bm25 with other parameters, against the same settings run by name."""
    task = "tiny/letters"
    here.run("bm25", task)
    other = next(iter(here.run("bm25", task, changes=_changes("text={text}"))))
    before = {path for _, path in here.records()}
    found = here.explain("lexical/bm25@tiny/letters", other.measures["AP"].mean, measure="AP",
                         rerun=True)  # fmt: skip
    values = {name: one.value for one in found.singles for name in one.causes}
    values |= dict.fromkeys(found.unmoved, found.ours)
    assert values["title left out"] == pytest.approx(other.measures["AP"].mean)
    assert "k1 = 1.2, b = 0.75" in values
    assert {path for _, path in here.records()} == before
    assert not any(one.settings for one in found.untried)


def _changes(*settings: str):
    from rankstone.session import Changes

    return Changes(settings=settings)
