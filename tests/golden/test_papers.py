"""The committed tables: whole, in agreement with `published.csv`, and their page current."""

from __future__ import annotations

import tomllib

from rankstone.evaluation.evaluate import parse_all
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.pages.papers import page
from rankstone.leaderboards.papers.published import read_published
from rankstone.leaderboards.papers.tables import PaperSpec
from rankstone.results.store import ResultStore
from rankstone.strict import load_folder
from rankstone.workspace import Workspace
from tests.conftest import ROOT
from tests.reproductions import tables_from_json

PLACE = Workspace.find(ROOT)
PAPERS = load_folder(PaperSpec, PLACE.root / "leaderboards" / "papers")
PAGE = ROOT / "leaderboards" / "papers.md"
KINDS = tomllib.loads((ROOT / "tests" / "golden" / "papers.toml").read_text(encoding="utf-8"))


def test_the_page_is_what_its_numbers_and_the_definitions_give():
    found = tables_from_json(PAGE.with_suffix(".json").read_text(encoding="utf-8"), PAPERS)
    assert [one.paper.name for one in found] == list(PAPERS)
    assert PAGE.read_text(encoding="utf-8") == render(page(found), "markdown"), "run: make papers"


def test_the_numbers_are_those_of_the_reference_records():
    store = ResultStore(ROOT / "results" / "reference" / "papers")
    records = {(r.method.name, r.task.name): r for r in store.records()}
    found = tables_from_json(PAGE.with_suffix(".json").read_text(encoding="utf-8"), PAPERS)
    measured = [cell for one in found for cell in one.cells if cell.measured is not None]
    assert {(cell.row.method, cell.task) for cell in measured} == set(records)
    for cell in measured:
        record = records[cell.row.method, cell.task]
        assert cell.measured == record.measures[cell.row.measure].mean
        assert cell.runs[cell.task]["run"] == record.files.run_sha256


def test_every_curated_table_is_there():
    assert set(PAPERS) == set(KINDS["tables"])
    for name, paper in PAPERS.items():
        kind = KINDS["tolerances"][KINDS["tables"][name]["kind"]]
        assert (paper.tolerance, paper.digits) == (kind["tolerance"], kind["digits"])
        half = 0.5 * 10**-paper.digits
        assert paper.tolerance >= half, "what rounding alone can differ by"


def test_tasks_are_defined_and_their_measures_known():
    rows = [(paper.name, row) for paper in PAPERS.values() for row in paper.rows]
    named = {(paper, task, row.measure) for paper, row in rows for task in row.expected}
    judge = {task: PLACE.expand(task)[0].judge for _, task, _ in named}
    for paper, task, measure in named:
        # A measure that the task leaves out is still one that could be computed.
        assert [*parse_all([measure], 10_000, judge[task])] == [measure], paper


def test_methods_are_defined():
    named = {row.method for paper in PAPERS.values() for row in paper.rows if row.method}
    unknown = named - set(PLACE.method_names())
    assert {name for name in unknown if not name.startswith("runs/")} == set()


def test_values_agree_with_those_of_published_csv():
    """That file is made by another path of the same facts: every value that both have is equal."""
    published = {}
    for one in read_published(PLACE.published):
        if one.task:
            published.setdefault((one.method, one.task, one.measure), set()).add(float(one.value))
    values = {}
    for paper in PAPERS.values():
        for row in paper.rows:
            for task, value in row.expected.items():
                values.setdefault((row.method, task, row.measure), set()).add(value)
    both = published.keys() & values.keys()
    assert len(both) > 900
    strange = {key: published[key] - values[key] for key in both if published[key] - values[key]}
    # PLAID's pruning is no method of ours here.
    assert set(strange) == {("late_interaction/colbertv2", "beir/scidocs", "R@100")}
    first = {method for method, task, _ in published if task == "beir/webis-touche2020-v1"}
    assert first == {"dense/contriever", "dense/contriever-msmarco"}


def test_traps_are_named():
    capped = [r for r in PAPERS["contriever-recall"].rows if r.measure == "R_cap@100"]
    assert all(set(row.expected) == {"beir/trec-covid"} for row in capped)
    assert len(capped) >= 7
    own = [r for r in PAPERS["contriever-ndcg"].rows if r.row.startswith("Contriever")]
    assert [len(row.expected) for row in own if row.expected] == [15, 15]
    assert all("beir/webis-touche2020-v1" in row.expected for row in own if row.expected)
    assert all("beir-14" not in row.expected for row in own)
    titled = PAPERS["retromae-msmarco"]
    assert not any(row.expected for row in titled.rows)
    assert ".596" in PAPERS["contriever-unsupervised"].note
    assert "91.1" in PAPERS["loco-v1"].note
