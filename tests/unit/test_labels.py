"""Labels of records: excluded from digests and exports, shown on leaderboards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import rankstone
from rankstone.cli.app import app
from rankstone.errors import ResultsError
from rankstone.leaderboards.formats.render import FORMATS, render
from rankstone.leaderboards.labels import label_notes, row_names
from rankstone.leaderboards.pages import leaderboard as leaderboard_page
from rankstone.leaderboards.pages import suite as suite_page
from rankstone.leaderboards.site.model import make_site
from rankstone.results.exports import FORMS
from rankstone.results.per_query import write_per_query
from rankstone.results.serialise import from_json, to_json, with_label
from rankstone.results.store import ResultStore, Staged
from rankstone.results.trec_run import write_run
from tests.records import make_record

METHOD, TASK, LABEL = "dense/e5", "beir/scifact", "Ours (full)"
GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    docs, scores = np.array([[0]]), np.ones((1, 1), np.float32)
    write_run(tmp_path / "run", ["q"], docs, scores, lambda p: ["d" for _ in p], tag="t")
    write_per_query(tmp_path / "values", ["q"], {"nDCG@10": np.array([0.5])})
    staged = Staged(run=tmp_path / "run", per_query=tmp_path / "values")
    for method in (METHOD, "lexical/bm25"):
        ResultStore(tmp_path / "results").write(make_record(method, TASK), staged)
    return tmp_path / "results"


def label(results: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["records", "label", *arguments, "--results", str(results)])


def test_a_label_changes_nothing_but_itself(results: Path) -> None:
    store = ResultStore(results)
    record, path = store.named(f"{METHOD}@{TASK}")
    before = path.read_bytes()
    assert label(results, "e5", LABEL).output.strip() == str(path)
    labelled = store.load(path)
    assert labelled.label == LABEL
    assert labelled.model_copy(update={"label": None}) == record
    bodies = [json.loads(text) for text in (before, path.read_bytes())]
    assert bodies[1].pop("label") == LABEL
    assert bodies[0] == bodies[1], "the digest included"
    assert store.find(record.key) == labelled, "its results are reused"
    assert to_json(labelled).encode() == path.read_bytes()
    label(results, "e5", "")
    assert path.read_bytes() == before
    label(results, "e5", LABEL)
    store.write(record)
    assert store.load(path).label is None, "another measurement has none"


def test_records_of_every_schema_take_one() -> None:
    for path in GOLDEN.glob("record-v*.json"):
        text = with_label(path.read_bytes(), LABEL)
        assert from_json(text, path).label == LABEL
        assert from_json(with_label(text.encode(), ""), path) == from_json(path.read_bytes(), path)


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[2J", "x" * 81])
def test_invalid_labels_are_refused(results: Path, text: str) -> None:
    before = {path: path.read_bytes() for path in results.rglob("*@*.json")}
    with pytest.raises(ResultsError, match="is not a label"):
        rankstone.Session(results=results).label_records("e5", text)
    with pytest.raises(ResultsError, match="no record of 'e6'"):
        rankstone.Session(results=results).label_records(["e5", "e6"], "x")
    assert before == {path: path.read_bytes() for path in results.rglob("*@*.json")}


def test_boards_show_it_and_name_the_method(results: Path) -> None:
    label(results, "e5", LABEL)
    session = rankstone.Session(results=results)
    pages = leaderboard_page.page(session.leaderboard().to_frame()), session.board(columns="index")
    for page in pages:
        for form in FORMATS:
            text = render(page, form, width=160).replace("\\", "").replace("&#160;", " ")
            assert LABEL in text, form
            assert METHOD in text, form
    means = render(suite_page.page(session.suite_means("beir-13")), "markdown")
    assert f"| {LABEL} |" in means
    assert f"{LABEL}: {METHOD}" in means
    assert LABEL in CliRunner().invoke(app, ["records", "ls", "--results", str(results)]).output
    entry = next(e for e in make_site(session.records(), {}).entries if e.method == METHOD)
    assert entry.name == f"{LABEL} ({METHOD})"


@pytest.mark.parametrize("form", FORMS)
def test_exports_hold_the_name_alone(results: Path, tmp_path: Path, form: str) -> None:
    def exported() -> list[bytes]:
        found = rankstone.export(None, form, tmp_path / "out", results=results)
        return [path.read_bytes() for path in found]

    plain = exported()
    label(results, "e5", LABEL)
    assert exported() == plain


def test_a_label_cannot_pass_for_another_method() -> None:
    methods = ["dense/e5", "dense/e5-b", "lexical/bm25", "dense/bge"]
    names = row_names(methods, ["Ours", "Ours", None, "bm25"])
    assert names == ["Ours (dense/e5)", "Ours (dense/e5-b)", "", "bm25 (dense/bge)"]
    assert list(label_notes(methods, names)) == []
    assert list(label_notes(methods, row_names(methods, ["A", None, None, "B"]))) == [
        "A: dense/e5", "B: dense/bge",
    ]  # fmt: skip


def test_a_summary_has_the_facts_first(results: Path) -> None:
    label(results, "e5", LABEL)
    options = [f"{METHOD}@{TASK}", "--results", str(results)]
    lines = CliRunner().invoke(app, ["records", "show", *options]).output.splitlines()
    text = "\n".join(lines)
    record, path = ResultStore(results).named(options[0])
    assert [line.split()[0] for line in lines if line.strip()][:4] == [
        options[0], "status", "label", "nDCG@10",
    ]  # fmt: skip
    assert record.headline is not None
    assert f"{record.headline.mean:.3f}".lstrip("0") in text
    assert "2025-11-22" in text
    found = CliRunner().invoke(app, ["records", "show", *options, "--json"])
    assert json.loads(found.output) == json.loads(to_json(record)) == json.loads(path.read_bytes())


def test_a_summary_of_a_failure_names_its_reason(tmp_path: Path) -> None:
    ResultStore(tmp_path).write(make_record(METHOD, TASK, status="oom"))
    found = CliRunner().invoke(app, ["records", "show", METHOD, "--results", str(tmp_path)])
    assert "oom: stopped at 4.0 GiB" in found.output
