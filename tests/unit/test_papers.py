"""Published tables: definitions, verdicts, pages, and `rankstone reproduce`."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from rankstone.cli.app import app
from rankstone.errors import DefinitionError
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.pages.papers import coverage_page, page
from rankstone.leaderboards.papers.tables import (
    Known,
    PaperSpec,
    Reproduction,
    coverage,
    judge,
    needed,
    refuse_unknown_tasks,
    reproduce_table,
)
from rankstone.leaderboards.papers.tested import tables_to_json
from rankstone.results.record import Measure
from rankstone.results.store import ResultStore
from rankstone.specs import SuiteSpec
from rankstone.strict import chosen, load_folder
from tests.beir_layout import write_beir
from tests.records import make_record
from tests.reproductions import tables_from_json

pytestmark = pytest.mark.usefixtures("forked_cells")
TASK = "t/one"
BM25 = "lexical/bm25"
SUITE = SuiteSpec(name="both", description="d", members=(TASK, "t/two"), measures=("nDCG@10",))


def markdown(found, every=False):
    return render(page(found, every=every), "markdown")


def paper(*rows, **changes):
    values = {"name": "p", "title": "T", "source": "S, Table 1", "tolerance": 0.002,
              "because": "b", "digits": 3, "rows": list(rows), **changes}  # fmt: skip
    return PaperSpec.model_validate_json(json.dumps(values))


def row(value=0.3, task=TASK, **changes):
    return {"row": "r", "method": BM25, "measure": "nDCG@10", "expected": {task: value}, **changes}


def measured(value, method=BM25, task=TASK, **changes):
    found = {"nDCG@10": Measure(mean=value, low=value, high=value, n=9)}
    record = make_record(method, task, **{"measures": found, **changes})
    return {(method, task): (record, Path("x.json"))}


def known(**changes):
    record = make_record(BM25, TASK)
    tasks = {name: make_record(BM25, name).task.digest for name in (TASK, "t/two")}
    return Known(**{"methods": {BM25: record.method.digest}, "tasks": tasks,
                    "suites": {"both": SUITE}, "reach": frozenset(tasks), **changes})  # fmt: skip


def only(one, records, place=None):
    (cell,) = reproduce_table(one, records, place or known()).cells
    return cell


MILLIONTHS = st.integers(0, 1_000_000)


@given(MILLIONTHS, st.integers(1, 10_000))
def test_the_verdict_is_symmetric_and_that_of_decimal_arithmetic(difference, tolerance):
    exact, allowed = Decimal(difference) / 1_000_000, Decimal(tolerance) / 1_000_000
    up, down = judge(float(exact), float(allowed)), judge(-float(exact), float(allowed))
    assert (up, down) == (("within", "within") if exact <= allowed else ("above", "below"))


@given(MILLIONTHS, st.integers(1, 10_000), st.sampled_from((-1, 1)))
def test_a_value_exactly_at_the_tolerance_is_within(expected, tolerance, sign):
    # Two decimals are compared, whose difference is not exact in binary.
    measured = float(Decimal(expected + sign * tolerance) / 1_000_000)
    assert judge(measured - expected / 1_000_000, tolerance / 1_000_000) == "within"
    beyond = float(Decimal(expected + sign * (tolerance + 1)) / 1_000_000)
    assert judge(beyond - expected / 1_000_000, tolerance / 1_000_000) == (
        "above" if sign > 0 else "below"
    )


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0.302, "within"), (0.298, "within"), (0.3021, "above"), (0.2979, "below")],
)
def test_the_verdict_of_a_cell_follows_the_tolerance(value, verdict):
    cell = only(paper(row()), measured(value))
    assert cell.verdict == verdict
    assert cell.difference == pytest.approx(value - 0.3)


def test_a_row_may_have_a_tolerance_of_its_own():
    assert only(paper(row(tolerance=0.005)), measured(0.304)).verdict == "within"


def test_a_suite_is_the_mean_of_its_members_and_nothing_without_one():
    one = paper(row(0.35, "both"))
    both = {**measured(0.3), **measured(0.4, task="t/two")}
    cell = only(one, both)
    assert (cell.measured, cell.verdict, set(cell.runs)) == (
        pytest.approx(0.35), "within", {TASK, "t/two"}
    )  # fmt: skip
    missing = only(one, measured(0.3))
    assert missing.verdict == "not run"
    assert missing.reason == "not measured (rankstone run lexical/bm25 --on t/two)"


def test_why_a_cell_was_not_run():
    one, place = paper(row()), known()
    assert only(one, {}).reason == "not measured (rankstone run lexical/bm25 --on t/one)"
    assert only(one, {}, known(reach=frozenset())).reason == "the data is not available"
    assert "never released" in only(one, {}, known(unreleased=frozenset({BM25}))).reason
    failed = {(BM25, TASK): (make_record(BM25, TASK, status="failed"), Path("x"))}
    assert only(one, failed).reason.startswith("stopped at 4.0 GiB")
    assert "\n" not in only(one, failed).reason
    assert only(paper(row(method=None)), {}).reason == "no such method of ours"
    typo = only(paper(row(method="lexical/bm52")), {}, place)
    assert typo.reason == "the method lexical/bm52 is not defined. Did you mean: lexical/bm25?"
    assert not typo.ours
    other = only(paper(row(expected={}, elsewhere={"NQ100k": 0.3})), {})
    assert other.reason == "no such task of ours"
    deep = only(paper(row(measure="RR@7")), measured(0.3))
    assert deep.reason == "the stored run has no RR@7"
    run = only(paper(row(method="runs/x")), {})
    assert run.reason == "not scored (rankstone score FILE --on t/one --name runs/x)"
    assert only(paper(row(method="runs/x")), measured(0.3, "runs/x")).verdict == "within"


def test_runs_of_former_definitions_are_not_taken():
    old = only(paper(row()), measured(0.3), known(methods={BM25: "other"}))
    assert "lexical/bm25 as it was defined before" in old.reason
    old = only(paper(row()), measured(0.3), known(tasks={TASK: "other"}))
    assert "t/one as it was defined before" in old.reason


def test_what_has_to_run_is_each_known_method_and_task_once():
    rows = (row(), row(0.3, "both", row="s"), row(method="runs/x"), row(method=None, row="n"))
    assert needed(paper(*rows), known()) == [(BM25, TASK), (BM25, "t/two")]


def test_coverage_counts_cells():
    one = paper(row(), row(0.9, row="s"), row(0.1, row="w"), row(method=None, row="n"))
    found = coverage(reproduce_table(one, measured(0.3), known()))
    assert found.counts == (4, 3, 3, 3, 1, 1, 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("tolerence = 0.1", "unknown key 'tolerence'. Did you mean: tolerance?"),
        ("tolerance = 0.05", "accepts any value: 0.01 at most"),
        ("tolerance = 0.0", "greater than 0"),
        ("", "missing key 'tolerance'"),
    ],
)
def test_definitions_are_refused_with_file_and_remedy(tmp_path, change, said):
    rows = '[[rows]]\nrow = "r"\nmethod = "a/b"\nmeasure = "AP"\nexpected = { t = 0.5 }\n'
    head = 'title = "t"\nsource = "s"\nbecause = "b"\n'
    (tmp_path / "bad.toml").write_text(f"{head}{change}\n{rows}")
    with pytest.raises(DefinitionError, match=r"bad\.toml") as caught:
        load_folder(PaperSpec, tmp_path)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(expected={})], "has no value"),
        ([row(float("1e999"))], "finite number"),
        ([row(method="bm25")], "not a full name"),
        ([row(), row()], "occurs twice"),
        ([row(60, tolerance=7)], "6 at most"),
    ],
)
def test_rows_are_refused(rows, said):
    with pytest.raises(ValueError, match=said):
        paper(*rows)


def test_a_task_that_is_not_defined_is_refused():
    with pytest.raises(DefinitionError, match="Did you mean: t/one"):
        refuse_unknown_tasks(paper(row(0.3, "t/onne")), known())
    with pytest.raises(DefinitionError, match="Table 'q' is not defined"):
        chosen({"p": None}, ["q"], "Table")


def results():
    one = paper(row(), row(0.9, row="s|x", note="odd"), row(method=None, row="n"))
    return one, [reproduce_table(one, measured(0.3), known())]


def test_page_and_json_say_the_same():
    one, found = results()
    again = tables_from_json(tables_to_json(found), {"p": one})
    assert again == found
    assert markdown(again) == markdown(found)
    drawn = markdown(found)
    assert "| r | t/one | nDCG@10 | .300 | .3000 | .0000 | within |" in drawn
    assert "| s\\|x | t/one | nDCG@10 | .900 | .3000 | −.6000 | below |" in drawn
    assert "Not run: 1 no such method of ours." in drawn
    assert "not run: no such method of ours |" in markdown(found, every=True)
    assert json.loads(render(page(found), "json")) == json.loads(tables_to_json(found))


def test_csv_is_what_pandas_reads():
    _, found = results()
    frame = pd.read_csv(io.StringIO(render(page(found), "csv")))
    assert list(frame["verdict"]) == ["within", "below", "not run"]
    assert list(frame["measured"].dropna()) == [0.3, 0.3]
    assert frame["difference"][1] == 0.3 - 0.9
    brief = coverage_page(found)
    listed = pd.read_csv(io.StringIO(render(brief, "csv")))
    assert listed.to_dict("records") == json.loads(render(brief, "json"))
    assert "| **all** | 3 | 2 | 2 | 2 | 1 | 0 | 1 |" in render(brief, "markdown")


@pytest.fixture
def place(tmp_path):
    """A workspace with a collection of three letters, and published tables for it."""
    words = ("anchor", "bridge", "castle")
    documents, queries = {f"d{w}": f"the {w}" for w in words}, {f"q{w}": w for w in words}
    judged = [(f"q{w}", f"d{w}") for w in words]
    write_beir(tmp_path / "data" / "tiny" / "letters", documents, queries, test=judged)
    (tmp_path / "benchmarks").mkdir()
    task = 'description = "d"\ndepth = 10\nmeasures = ["nDCG@10"]\n'
    (tmp_path / "benchmarks" / "tiny.toml").write_text(
        f'[defaults]\nloader = "beir"\n[tasks.letters]\n{task}[tasks.gone]\n{task}'
    )
    (tmp_path / "runners" / "a").mkdir(parents=True)
    (tmp_path / "runners" / "a" / "bm25.toml").write_text('description = "d"\nadapter = "bm25"\n')
    (tmp_path / "runners" / "a" / "never.toml").write_text(
        'description = "d"\nadapter = "dense"\n'
        'weights = "unavailable"\n[model]\nid = "x/never"\n[parameters]\npooling = "mean"\n'
        'similarity = "dot"\nmax_length = 8\nprompts = { query = "", document = "" }\n'
    )
    (tmp_path / "leaderboards" / "papers").mkdir(parents=True)
    return tmp_path


def table(place, name, *rows):
    lines = ['title = "T"\nsource = "S"\ntolerance = 0.001\nbecause = "b"']
    lines += [
        f'[[rows]]\nrow = "{n}"\nmethod = "{method}"\nmeasure = "nDCG@10"\n'
        f'expected = {{ "tiny/{task}" = {value} }}'
        for n, (method, task, value) in enumerate(rows)
    ]
    (place / "leaderboards" / "papers" / f"{name}.toml").write_text("\n".join(lines) + "\n")


def reproduce(place, *arguments):
    options = ("--workspace", "--data", "--cache", "--results")
    places = (place, place / "data", place / "cache", place / "results")
    named = [str(x) for pair in zip(options, places, strict=True) for x in pair]
    return CliRunner().invoke(app, ["reproduce", *arguments, *named])


def test_a_table_is_run_and_its_page_written(place):
    table(place, "good", ("a/bm25", "letters", 1.0), ("a/never", "letters", 0.5),
          ("a/bm25", "gone", 0.5))  # fmt: skip
    page = place / "page.md"
    found = reproduce(place, "good", "-o", str(page))
    assert found.exit_code == 0, found.output
    told = page.read_text()
    assert "| 0 | tiny/letters | nDCG@10 | 1.0000 | 1.0000 | .0000 | within |" in told
    assert "not run: Method 'a/never': its weights were never released" in told
    assert "not run: tiny/gone" in told
    papers = load_folder(PaperSpec, place / "leaderboards" / "papers")
    assert (
        markdown(tables_from_json(page.with_suffix(".json").read_text(), papers), every=True)
        == told
    )
    again = reproduce(place, "good", "--missing", "skip", "--format", "csv")
    assert list(pd.read_csv(io.StringIO(again.stdout))["verdict"]) == [
        "within", "not run", "not run"
    ]  # fmt: skip


def test_cells_that_need_an_extra_are_not_run_and_the_others_are(place, monkeypatch):
    released = (
        (place / "runners" / "a" / "never.toml")
        .read_text()
        .replace('weights = "unavailable"\n', "")
    )
    (place / "runners" / "a" / "dense.toml").write_text(released)
    table(place, "t", ("a/bm25", "letters", 1.0), ("a/dense", "letters", 0.5))
    monkeypatch.setattr("rankstone.errors.installed", lambda *libraries: False)
    found = reproduce(place, "t", "--format", "csv")
    assert found.exit_code == 0, found.output
    cells = pd.read_csv(io.StringIO(found.stdout))
    assert list(cells["verdict"]) == ["within", "not run"]
    line = "needs the extra 'dense'. Install: pip install 'rankstone[dense]'"
    assert cells["reason"][1] == f"Method 'a/dense' {line}"
    stored = reproduce(place, "t", "--missing", "skip", "--format", "csv")
    assert "not measured (rankstone run a/dense" in stored.stdout


def test_nothing_runs_without_request(place):
    table(place, "t", ("a/bm25", "letters", 1.0), ("a/never", "letters", 0.5),
          ("a/bm25", "gone", 0.5))  # fmt: skip
    for arguments in (("t", "--list"), ("t", "--missing", "skip")):
        found = reproduce(place, *arguments)
        assert found.exit_code == 0, found.output
        assert not (place / "results").exists()
    (line,) = json.loads(reproduce(place, "t", "--list", "--format", "json").stdout)
    assert (line["defined"], line["ours"], line["here"], line["measured"]) == (3, 3, 2, 0)
    found = reproduce(place, "t", "--missing", "skip", "--format", "markdown")
    assert "the data is not available" in found.stdout
    assert "the weights of a/never were never released" in found.stdout


def test_the_exit_code_tells_of_deviations(place):
    for value, said in ((0.9, "above"), (0.9995, "within")):
        table(place, "t", ("a/bm25", "letters", value))
        found = reproduce(place, "t")
        assert said in found.output
        assert found.exit_code == (said == "above")
    assert reproduce(place, "--list").exit_code == 0


def fault(place, *arguments):
    found = reproduce(place, *arguments)
    assert found.exception is not None
    return str(found.exception) if not isinstance(found.exception, SystemExit) else found.output


@pytest.mark.parametrize("form", ["markdown", "html"])
def test_tables_without_measured_cells_come_last_and_folded(form):
    _, (one,) = results()
    cells = [cell._replace(measured=None, reason="no data") for cell in one.cells]
    other = Reproduction(one.paper.model_copy(update={"name": "unrun"}), cells)
    text = render(page([other, one]), form)
    assert text.count("<details>") == text.count("</details>") == 2
    assert text.index("unrun") > text.index("<details>") > text.index("within the table")
    assert "all 2 tables" in text.partition("<details>")[0]
    assert "<details>" not in render(page([other, one], every=True), form)


def test_faults_are_reported(place):
    table(place, "muvera", ("a/bm25", "letters", 1.0))
    assert "Did you mean: muvera" in fault(place, "muvra")
    assert "Name those to run" in fault(place, "--missing", "run")
    assert "--list runs nothing" in fault(place, "--list", "--missing", "run")
    assert "--format markdown" in fault(place, "muvera", "--missing", "skip", "-o",
                                        str(place / "x.md"), "--format", "terminal")  # fmt: skip
    table(place, "bad", ("a/bm25", "lettres", 1.0))
    assert "Did you mean: tiny/letters" in fault(place, "bad")


def test_a_damaged_record_is_named(place):
    table(place, "t", ("a/bm25", "letters", 1.0))
    assert reproduce(place, "t").exit_code == 0
    (path,) = (place / "results").rglob("*.json")
    whole = path.read_text()
    for damaged in (whole[:200], whole.replace('"mean"', '"men"', 1), "[]"):
        path.write_text(damaged)
        assert path.name in fault(place, "t", "--missing", "skip")
    path.write_text(whole)
    assert ResultStore(place / "results").records()
