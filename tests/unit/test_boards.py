"""Leaderboards defined in a workspace: content, marks, missing values, and six formats."""

from __future__ import annotations

import csv
import io
import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

import rankstone
from rankstone.cli.app import app
from rankstone.errors import DefinitionError, ResultsError
from rankstone.leaderboards.board_spec import TableSpec
from rankstone.leaderboards.boards import Board, board
from rankstone.leaderboards.document import Cell
from rankstone.leaderboards.formats.render import FORMATS, render
from rankstone.leaderboards.pages.board import page
from rankstone.results.store import ResultStore, Staged
from rankstone.specs import SuiteSpec
from rankstone.strict import chosen, load_folder
from tests.conftest import ROOT
from tests.pages import Tags
from tests.records import make_record
from tests.stored_values import store_mean

TASKS = ["toy/one", "toy/two"]
METHODS = {"lexical/bm25": 0.3, "dense/e5": 0.5, "dense/bge": 0.45}


def put(folder, method, task, mean, *, n=80, **changes):
    values = np.clip(np.random.default_rng(1).normal(mean, 0.1, n), 0, 1)
    return store_mean(folder / "results", make_record(method, task, **changes), values)


@pytest.fixture
def stored(tmp_path):
    return [put(tmp_path, m, t, mean) for t in TASKS for m, mean in METHODS.items()]


def spec(**changes):
    values = {"name": "toy", "title": "Toys", "tasks": TASKS, **changes}
    return TableSpec.model_validate_json(json.dumps(values))


def column(made: Board, head: str) -> dict[str, Cell]:
    place = made.heads.index(head)
    return {method: entries[place] for method, entries in made.rows}


def test_best_and_second_are_marked_and_rows_sorted(stored):
    made = board(spec(), stored, tasks=TASKS)
    assert made.heads == ("one", "two", "mean")
    assert [method for method, _ in made.rows] == ["dense/e5", "dense/bge", "lexical/bm25"]
    marks = {method: entry.mark for method, entry in column(made, "mean").items()}
    assert marks == {"dense/e5": "best", "dense/bge": "second", "lexical/bm25": ""}
    assert "bold: the best of its column; underlined: the second best" in made.notes


def test_a_missing_cell_leaves_the_mean_empty_and_says_why(stored):
    made = board(spec(), stored[:-1], tasks=TASKS)
    assert column(made, "mean")["dense/bge"].value is None
    assert "dense/bge: no mean, for there is no record on toy/two" in made.notes
    assert column(made, "mean")["dense/e5"].mark == "best"
    assert made.rows[-1][0] == "dense/bge", "what has no mean stands last"


def test_a_suite_is_averaged_as_defined(stored):
    inner = SuiteSpec(name="inner", description="", members=("toy/one", "toy/two"))
    suite = SuiteSpec(name="outer", description="", members=(inner, "toy/two"))
    measured = spec(measure="nDCG@10")
    made = board(measured, stored, tasks=TASKS, suite=suite)
    one, two = (column(made, head)["dense/e5"].value for head in ("one", "two"))
    expected = ((one + two) / 2 + two) / 2
    assert column(made, "mean")["dense/e5"].value == pytest.approx(expected)


def test_letters_name_those_that_are_significantly_below(stored):
    made = board(spec(significance=True), stored, tasks=TASKS)
    letters = made.letters
    above = column(made, "one")["dense/e5"].letters
    assert letters["lexical/bm25"] in above
    assert column(made, "one")["lexical/bm25"].letters == ""
    assert any("Holm" in note for note in made.notes)


def test_the_first_rows_are_marked_among_themselves_and_tested_among_all(stored):
    every = board(spec(significance=True, costs=["p95 latency"]), stored, tasks=TASKS)
    made = board(spec(significance=True, costs=["p95 latency"], top=2), stored, tasks=TASKS)
    assert [method for method, _ in made.rows] == ["dense/e5", "dense/bge"]
    assert made.letters == {"dense/e5": "a", "dense/bge": "b"}
    for head in ("one", "two"):
        kept = {"", *made.letters.values()}
        assert {cell.letters for cell in column(made, head).values()} <= kept
        full = column(every, head)["dense/e5"].letters
        assert (every.letters["dense/bge"] in full) == (
            column(made, head)["dense/e5"].letters == "b"
        )
    assert "the first 2 of 3 methods by mean" in made.notes


def test_bold_is_what_is_not_significantly_below_the_best(tmp_path):
    found = [put(tmp_path, m, "toy/one", v) for m, v in [("a/best", 0.5), ("a/low", 0.3)]]
    values = np.clip(np.random.default_rng(1).normal(0.5, 0.1, 80), 0, 1)
    values[0] -= 0.01  # one query differs
    found.append(store_mean(tmp_path / "results", make_record("a/close", "toy/one"), values))
    made = column(
        board(spec(tasks=["toy/one"], significance=True), found, tasks=["toy/one"]), "one"
    )
    assert {m: made[m].mark for m in made} == {"a/best": "best", "a/close": "best", "a/low": ""}
    assert made["a/close"].value < made["a/best"].value


def test_the_headlines_of_a_suite_are_averaged_as_defined(stored):
    inner = SuiteSpec(name="inner", description="d", members=("toy/one",), measures=("nDCG@10",))
    suite = SuiteSpec(
        name="s", description="d", members=("toy/two", "toy/two", inner), measures=("nDCG@10",)
    )
    made = board(spec(tasks=["s"]), stored, tasks=TASKS, suite=suite)
    one, two = (column(made, task)["dense/e5"].value for task in ("one", "two"))
    assert column(made, "mean")["dense/e5"].value == pytest.approx((2 * two + one) / 3)


def test_records_that_cannot_be_paired_are_reported_as_untested(stored, tmp_path):
    other = put(tmp_path, "dense/other", "toy/one", 0.9, corpus="another")
    made = board(spec(significance=True), [*stored, other], tasks=TASKS)
    assert column(made, "one")["dense/other"].letters == ""
    assert any("not tested" in note and "corpus differ" in note for note in made.notes)


def test_nothing_is_best_among_records_of_other_data(stored, tmp_path):
    other = put(tmp_path, "dense/other", "toy/one", 0.9, corpus="another")
    more = put(tmp_path, "dense/other", "toy/two", 0.9)
    made = board(spec(costs=["index"]), [*stored, other, more], tasks=TASKS)
    assert (
        "toy/one: its records are of different data (corpus, queries): no best is marked"
        in made.notes
    )
    for head in ("one", "mean", "index, MiB"):
        assert {entry.mark for entry in column(made, head).values()} == {""}
    assert column(made, "two")["dense/other"].mark == "best"
    assert made.rows[0][0] == "dense/other"


def test_filters_choose_the_methods_of_a_board(stored):
    def methods(**changes):
        return {m for m, _ in board(spec(**changes), stored, tasks=TASKS, methods=known).rows}

    from rankstone.specs import MethodSpec

    known = {
        name: MethodSpec(name=name, description="", adapter="a:B", licence=licence)
        for name, licence in (("dense/e5", "MIT"), ("dense/bge", "CC-BY-NC-4.0"))
    }
    assert methods(families=["dense"]) == {"dense/e5", "dense/bge"}
    assert methods(licences=["MIT"]) == {"dense/e5"}
    assert methods(methods=["lexical/bm25"]) == {"lexical/bm25"}
    assert methods(machine="ffffffff") == set()


def test_costs_of_several_machines_are_not_compared(stored, tmp_path):
    costs = spec(costs=["p95 latency", "index"], sort="index")
    made = board(costs, stored, tasks=TASKS)
    assert made.heads[-2:] == ("p95 latency, ms", "index, MiB")
    assert column(made, "p95 latency, ms")["dense/e5"].value is not None
    far = put(tmp_path, "dense/far", "toy/one", 0.5, machine="ffffffff")
    made = board(costs, [*stored, far], tasks=TASKS)
    assert all(entry.value is None for entry in column(made, "p95 latency").values())
    assert any("2 machines" in note for note in made.notes)
    assert column(made, "index, MiB")["dense/e5"].value is not None


def test_every_form_has_every_figure(stored):
    made = board(spec(intervals=True), stored, tasks=TASKS)
    value = column(made, "one")["dense/e5"]
    for form in FORMATS:
        text = render(page(made), form, width=200)
        assert text.endswith("\n")
        shown = repr(value.value) if form in ("csv", "json") else value.text
        assert shown in text, form
    rows = list(csv.DictReader(io.StringIO(render(page(made), "csv"))))
    field = "toy/one nDCG@10"
    [record] = [r for r, _ in stored if (r.method.name, r.task.name) == ("dense/e5", "toy/one")]
    ends = record.measures["nDCG@10"]
    assert [float(rows[0][f"{field}{end}"]) for end in ("", " low", " high")] == [
        value.value, ends.low, ends.high,
    ]  # fmt: skip
    assert json.loads(render(page(made), "json"))["rows"][0][field]["value"] == value.value
    with pytest.raises(ResultsError, match="Did you mean: latex"):
        render(page(made), "latx")


def test_a_board_of_columns_needs_no_definition(stored, tmp_path):
    for record, path in stored:
        found = record.measures["nDCG@10"]
        both = {"nDCG@10": found, "R@100": found.model_copy(update={"mean": found.mean / 2})}
        changed = record.model_copy(update={"measures": both})
        values = Staged(per_query=path.with_name(record.files.per_query))
        ResultStore(tmp_path / "results").write(changed, values)
    session = rankstone.Session(results=tmp_path / "results", workspace=ROOT)
    columns = ["mean", "Recall@100", "p95 latency", "index_memory_bytes"]
    made = session.board(on="toy/*", measures="nDCG@10", columns=columns, sort="R@100")
    rows = made.to_frame().set_index("method")
    means = {record.method.name: {} for record, _ in stored}
    for record, _ in stored:
        means[record.method.name][record.task.name] = record.measures["nDCG@10"].mean
    for method, by_task in means.items():
        assert rows["toy/one nDCG@10"][method] == by_task["toy/one"]
        assert rows["toy/two R@100"][method] == by_task["toy/two"] / 2
        expected = np.mean(list(by_task.values()))
        assert rows["mean nDCG@10"][method] == pytest.approx(expected)
        assert rows["mean R@100"][method] == pytest.approx(expected / 2)
    assert list(rows.index) == sorted(means, key=lambda m: -rows["mean R@100"][m])
    assert [*rows.columns[-2:]] == ["total_p95_ms", "index_memory_bytes"]
    assert set(rows["index_memory_bytes"]) == {
        2.0 * r.profile.index.memory_bytes for r, _ in stored
    }
    alone = session.board(on="toy/two", columns=["R@100", "P@5"], significance=True).to_frame()
    ends = ["", " low", " high"]
    assert list(alone.columns) == ["method", *(f"toy/two R@100{e}" for e in ends), "toy/two P@5"]
    assert alone["toy/two P@5"].isna().all()
    arguments = ["--columns", "nDCG@10", "--columns", "mean", "--format", "latex"]
    options = ["--results", str(tmp_path / "results"), "--title", "Toys", "--intervals"]
    found = CliRunner().invoke(app, ["leaderboard", *arguments, *options]).output
    assert r"\caption{Toys}" in found
    assert r"\scriptsize\mdseries [" in found
    (tmp_path / "empty").mkdir()
    with pytest.raises(ResultsError, match="no records for the board"):
        rankstone.board(columns="mean", results=tmp_path / "empty")
    with pytest.raises(ResultsError, match="no records for the board"):
        rankstone.board("search-scifact", on="classic/*", workspace=ROOT)
    with pytest.raises(DefinitionError, match=r"'p95' is not .*\. Did you mean: p95 latency\?$"):
        session.board(columns="p95")
    with pytest.raises(DefinitionError, match="no column 'index' to sort by"):
        session.board(columns="mean", sort="index")


def test_a_suite_without_all_its_tasks_has_a_plain_mean(tmp_path):
    for task, mean in (("beir/scifact", 0.5), ("beir/nfcorpus", 0.3)):
        put(tmp_path, "dense/e5", task, mean)
    session = rankstone.Session(results=tmp_path / "results", workspace=ROOT)
    [row] = session.board(on="beir-13", columns="mean").to_frame().to_dict("records")
    one, two = (row[f"beir/{name} nDCG@10"] for name in ("scifact", "nfcorpus"))
    assert row["mean"] == pytest.approx((one + two) / 2)


HOSTILE = Board(
    title="50% of <b>A & B</b> | _x_",
    heads=("p95 latency, ms",),
    rows=(("a_b/<script>", (Cell(value=1.0, text=".500", mark="best", letters="ab"),)),),
    notes=("see $x^2$ {y} \\z ~",),
)


def test_latex_is_escaped_and_balanced():
    text = render(page(HOSTILE), "latex")
    assert r"50\% of \textless{}b\textgreater{}A \& \mbox{B\textless{}" in text
    assert r"\bfseries 0.500 {\textsuperscript{ab}}" in text
    assert r"\$x\textasciicircum{}2\$ \{y\} \textbackslash{}z" in text
    bare = re.sub(r"\\.", "", text.replace("{#1}", ""))
    assert bare.count("{") == bare.count("}")
    assert text.count(r"\begin{") == text.count(r"\end{")
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")]
    assert body.count(" & ") == 1


def test_html_is_escaped_and_closed():
    tags = Tags()
    tags.feed(render(page(HOSTILE), "html"))
    assert tags.open == []
    assert "script" not in tags.seen
    assert "b" not in tags.seen
    assert tags.seen.count("tr") == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('costs = ["p95"]', "  no cost 'p95'. Did you mean: p95 latency? Correct it."),
        ('sort = "meen"', "Did you mean: mean"),
        ('sort = "zzz"', "  no column 'zzz' to sort by. Correct it."),
        ("tasks = []", "tasks"),
        ('colour = "red"', "unknown key 'colour'"),
    ],
)
def test_definitions_are_refused_with_file_and_remedy(tmp_path, text, said):
    head = 'title = "t"\n' + ("" if text.startswith("tasks") else 'tasks = ["toy/one"]\n')
    (tmp_path / "bad.toml").write_text(head + text)
    with pytest.raises(DefinitionError) as caught:
        load_folder(TableSpec, tmp_path)
    assert said in str(caught.value)
    assert "bad.toml" in str(caught.value)


def test_a_board_that_is_not_defined():
    with pytest.raises(DefinitionError, match="Did you mean: demo"):
        chosen({"demo": None}, ["dmo"], "Leaderboard")


def test_a_defined_board_is_drawn_by_command(tmp_path):
    out = tmp_path / "t.tex"
    found = CliRunner().invoke(
        app, ["leaderboard", "long-documents", "--format", "latex", "-o", str(out)]
    )
    assert found.exit_code == 0, found.output
    assert r"\toprule" in out.read_text()
    assert ".621" in CliRunner().invoke(app, ["leaderboard", "long-documents"]).output


def test_options_of_the_command_stand_instead_of_those_of_the_definition(tmp_path):
    def read(*options: str) -> dict:
        found = CliRunner().invoke(app, ["leaderboard", *options, "--format", "json"])
        assert found.exit_code == 0, found.output
        return json.loads(found.output)

    columns = ["--columns", "index", "--columns", "mean"]
    made = read("long-documents", *columns, "--top", "1", "--no-intervals", "--title", "T")
    [row] = made["rows"]
    assert made["title"] == "T"
    assert "the first 1 of 2 methods by mean" in made["notes"]
    assert list(row)[-2:] == ["mean nDCG@10", "index_memory_bytes"]
    assert row["loco/qmsum-scrolls nDCG@10"]["interval"] == ""
    own = read("long-documents")
    assert own["rows"][0]["loco/qmsum-scrolls nDCG@10"]["interval"]
    assert len(own["rows"]) == 2
    demo = ["--results", str(ROOT / "results" / "reference" / "demo"), "--top", "2"]
    assert [row["nDCG@10"] for row in read(*demo) if row["task"] == "stdlib/functions"] == sorted(
        (row["nDCG@10"] for row in read(*demo[:2]) if row["task"] == "stdlib/functions"),
        reverse=True,
    )[:2]


def test_a_plot_of_a_cost_by_command(tmp_path):
    pytest.importorskip("vl_convert")
    demo = ["leaderboard", "--results", str(ROOT / "results" / "reference" / "demo")]
    on, out = ["--on", "stdlib/functions"], ["-o", str(tmp_path / "f.svg")]
    assert CliRunner().invoke(app, [*demo, *on, "--plot", "index", *out]).exit_code == 0
    text = (tmp_path / "f.svg").read_text()
    assert "index, MiB" in text
    assert "lexical/bm25" in text
    assert CliRunner().invoke(app, [*demo, *on, "--plot", "index"]).exit_code == 2
    for options, reason in (
        ([*on, "--plot", "indx"], "Did you mean: index"),
        (["--plot", "index"], "one task, not of 2"),
        (["--on", "stdlib/modules", "--plot", "index"], "needs two records"),
    ):
        with pytest.raises(ResultsError, match=reason):
            CliRunner().invoke(app, [*demo, *options, *out], catch_exceptions=False)
