"""The filter of stored records selects the same records in every command."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import rankstone
from rankstone.catalogue import Catalogue
from rankstone.cli.app import LISTS, app, spread
from rankstone.errors import ResultsError
from rankstone.leaderboards.document import Table
from rankstone.leaderboards.site import build
from rankstone.results.per_query import write_per_query
from rankstone.results.record import RunRecord
from rankstone.results.store import ResultStore, Staged
from rankstone.workspace import Workspace
from tests.beir_layout import write_beir
from tests.conftest import ROOT
from tests.records import MACHINE, make_record

Cell = tuple[str, str, str]
METHODS = ("lexical/bm25", "dense/bge", "dense/e5", "dense/api/bge", "papers/dense/jpq")
TASKS = ("beir/scifact", "beir/nfcorpus", "stdlib/functions")
OTHER = "ffffffff"
PLACE, EACH = Workspace.find(ROOT), ResultStore.each


@cache
def _read(folder: Path) -> list[RunRecord | ResultsError]:
    return list(EACH(ResultStore(folder)))


@pytest.fixture(autouse=True)
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read definitions and records once for all commands, and draw no plots."""
    monkeypatch.setattr(ResultStore, "each", lambda store: iter(_read(store.folder)))
    monkeypatch.setattr(Catalogue, "definitions", PLACE)
    monkeypatch.setattr("rankstone.leaderboards.pages.report.quality_against_cost", lambda _: "")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of every method on every task, one on a folder of files, one on a second machine."""
    home = tmp_path_factory.mktemp("selection")
    write_beir(home / "tickets", {"d": "a"}, {"q": "a"}, test=[("q", "d")])
    unwritten = PLACE.task(str(home / "tickets")).name
    write_per_query(home / "values", ["q"], {"nDCG@10": np.array([0.5])})
    store, staged = ResultStore(home / "results"), Staged(per_query=home / "values")
    for method, task in [*product(METHODS, TASKS[:1]), *product(METHODS[::2], TASKS[1:])]:
        store.write(make_record(method, task), staged)
    store.write(make_record("dense/e5", unwritten), staged)
    store.write(make_record("lexical/bm25", "beir/scifact", machine=OTHER), staged)
    return home


def cell_of(record: RunRecord) -> Cell:
    return record.method.name, record.task.name, record.environment.machine


def of_leaderboard(session: rankstone.Session, filters: Any) -> set[Cell]:
    frame = session.leaderboard(**filters)
    return set(zip(frame["method"], frame["task"], frame["machine"], strict=True))


def of_list(session: rankstone.Session, filters: Any) -> set[Cell]:
    return {cell_of(one[0]) for one in session.all_records(**filters)}  # type: ignore[index]


def of_export(session: rankstone.Session, filters: Any) -> set[Cell]:
    assert session.results is not None
    [path] = session.export(None, "parquet", Path(session.results).with_name("out"), **filters)
    frame = pd.read_parquet(path)
    return set(zip(frame["method"], frame["task"], frame["machine"], strict=True))


def of_site(session: rankstone.Session, filters: Any) -> set[Cell]:
    found: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "build", lambda site, *_, **__: found.append(site))
        session.site("unused", **filters)
    return {cell_of(entry.record) for entry in found[0].entries}


def of_report(session: rankstone.Session, filters: Any) -> set[Cell]:
    """Return the rows of its quality tables, which name the machine if there are two."""
    found = set[Cell]()
    for table in session.report(**filters).blocks:
        if isinstance(table, Table) and table.kind == "quality":
            for row in table.rows:
                method, _, machine = row[0].text.partition(" @")
                found.add((method, table.title, machine))
    return found


def of_board(session: rankstone.Session, filters: Any) -> set[Cell]:
    frame = session.board(columns=["nDCG@10"], **filters).to_frame()
    tasks = session.leaderboard(**filters)["task"].unique()
    heads = {task: f"{task} nDCG@10" for task in tasks if f"{task} nDCG@10" in frame}
    shown = {(m, t) for t, head in heads.items() for m in frame["method"][frame[head].notna()]}
    return {(*cell, "") for cell in shown}


COMMANDS: dict[str, Callable[[rankstone.Session, Any], set[Cell]]] = {
    "leaderboard": of_leaderboard, "records ls": of_list, "export": of_export, "site": of_site,
    "report": of_report, "leaderboard --columns": of_board,
}  # fmt: skip


def is_beir(cell: Cell) -> bool:
    return cell[1].startswith("beir/")


FILTERS: list[tuple[dict[str, Any], Callable[[Cell], bool]]] = [
    ({}, lambda cell: True),
    ({"on": "beir/*"}, is_beir),
    ({"on": "beir-13"}, is_beir),
    ({"on": ["scifact", "functions"]}, lambda c: c[1] in ("beir/scifact", "stdlib/functions")),
    ({"on": "FOLDER"}, lambda cell: cell[1].startswith("files/tickets")),
    ({"methods": "bm25"}, lambda cell: cell[0] == "lexical/bm25"),
    ({"methods": ["dense/bge", "e*"]}, lambda cell: cell[0] in ("dense/bge", "dense/e5")),
    ({"methods": "dense/*"}, lambda cell: cell[0].startswith("dense/")),
    ({"family": "dense"}, lambda cell: cell[0].startswith("dense/")),
    ({"family": ["papers", "lexical"]}, lambda c: c[0].startswith(("papers/", "lexical/"))),
    ({"machine": OTHER}, lambda cell: cell[2] == OTHER),
    (
        {"on": "beir/*", "methods": "*bm25", "family": "lexical", "machine": MACHINE},
        lambda c: is_beir(c) and c[0] == "lexical/bm25" and c[2] == MACHINE,
    ),
]


@pytest.mark.parametrize(("filters", "keeps"), FILTERS, ids=[str(f) for f, _ in FILTERS])
def test_every_command_keeps_the_same_records(
    folder: Path, filters: dict[str, Any], keeps: Callable[[Cell], bool]
) -> None:
    session = rankstone.Session(results=folder / "results", workspace=ROOT)
    given = {k: str(folder / "tickets") if v == "FOLDER" else v for k, v in filters.items()}
    expected = {cell for cell in of_leaderboard(session, {}) if keeps(cell)}
    assert expected
    for command, shown in COMMANDS.items():
        found = shown(session, given)
        # Pages without a column of machines name the machine only if there are two.
        named = {cell[:2] for cell in expected} if not all(c[2] for c in found) else expected
        assert {c[: len(next(iter(named)))] for c in found} == named, command


@pytest.mark.parametrize(
    "filters", [{"methods": "bmm25"}, {"on": "scifacts"}, {"family": "dens*x"}, {"machine": "0"}]
)
def test_a_name_without_records_is_refused(folder: Path, filters: dict[str, Any]) -> None:
    session = rankstone.Session(results=folder / "results", workspace=ROOT)
    for command, shown in COMMANDS.items():
        with pytest.raises(ResultsError, match=r"no record of the \w+ '.*There are: "):
            assert shown(session, filters), command


def test_options_reach_the_filter(folder: Path) -> None:
    options = ["--results", str(folder / "results"), "--workspace", str(ROOT)]
    line = ["--on", "beir/*", "--methods", "bm25", "dense/e5", "--machine", MACHINE]
    for option in LISTS:
        line = spread(line, option)
    found = CliRunner().invoke(app, ["records", "ls", *line, *options, "--json"])
    rows = json.loads(found.output)
    assert {(row["method"], row["task"]) for row in rows} == {
        (m, t) for m in ("lexical/bm25", "dense/e5") for t in TASKS[:2]
    }
    found = CliRunner().invoke(app, ["leaderboard", *line, *options, "--format", "csv"])
    listed = csv.DictReader(io.StringIO(found.output))
    assert {row["method"] for row in listed} == {"lexical/bm25", "dense/e5"}
    out = str(folder / "report.md")
    found = CliRunner().invoke(app, ["report", "e5", "--family", "dense", *options, "-o", out])
    assert found.exit_code == 0, found.output
    assert "lexical/bm25" not in Path(out).read_text()


def test_a_method_stands_for_all_its_records(folder: Path) -> None:
    session = rankstone.Session(results=folder / "results")
    every = {cell_of(record) for record, _ in session.records()}
    of_bm25 = {cell for cell in every if cell[0] == "lexical/bm25"}
    assert len(of_bm25) == 4
    assert {cell_of(one[0]) for one in session.all_records("bm25")} == of_bm25  # type: ignore[index]
    [path] = session.export("bm25", "parquet", folder / "out", on="beir/*")
    exported = pd.read_parquet(path)
    assert set(zip(exported["method"], exported["task"], strict=True)) == {
        (method, task) for method, task, _ in of_bm25 if task.startswith("beir/")
    }
    with pytest.raises(ResultsError, match=r"'bge' matches .*api/bge@.*dense/bge@"):
        session.all_records("bge")
    [one] = session.all_records("bm25@stdlib/functions")
    assert cell_of(one[0]) == ("lexical/bm25", "stdlib/functions", MACHINE)  # type: ignore[index]


def test_an_unknown_record_is_answered_with_a_few_names(folder: Path) -> None:
    session = rankstone.Session(results=folder / "results")
    with pytest.raises(ResultsError) as caught:
        session.records("dense/bgee@beir/scifact")
    message = str(caught.value)
    names = {f"{record.method.name}@{record.task.name}" for record, _ in session.records()}
    listed = message.partition("Did you mean")[0]
    assert sum(name in listed for name in names) == 5
    assert f"and {len(names) - 5} more" in listed
    assert "Did you mean: dense/bge@beir/scifact" in message
