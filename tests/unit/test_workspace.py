"""A workspace overrides the packaged definitions."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankstone import Session
from rankstone.errors import DefinitionError
from rankstone.leaderboards.board_spec import TableSpec
from rankstone.workspace import Workspace, packaged_definitions
from tests.conftest import ROOT

BM25 = 'description = "mine"\nadapter = "bm25"\n[parameters]\nk1 = 2.0\n'
TASK = '[tasks.{}]\ndescription = "mine"\nloader = "m:f"\n'


def write(path: Path, text: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("mark", ["rankstone.toml", "runners/", "benchmarks/"])
def test_any_one_of_three_marks_a_workspace(tmp_path: Path, mark: str) -> None:
    write(tmp_path / mark) if "." in mark else (tmp_path / mark).mkdir()
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    place = Workspace.find(start=inner)
    assert place.root == tmp_path
    packaged = Workspace.find(ROOT)
    assert place.method_names() == packaged.method_names()
    assert place.tasks == packaged.tasks
    assert place.suites == packaged.suites


def test_what_is_there_precedes_and_the_rest_stays(tmp_path: Path) -> None:
    write(tmp_path / "runners/lexical/bm25.toml", BM25)
    write(tmp_path / "runners/mine/two.toml", 'description = "d"\nadapter = "rrf:X"\nmembers = '
          '["bm25", "wordllama-256"]\n')  # fmt: skip
    write(tmp_path / "benchmarks/stdlib.toml", TASK.format("functions") + TASK.format("mine"))
    write(tmp_path / "benchmarks/suites.toml", '[suites.own]\ndescription = "d"\n'
          'members = ["stdlib/mine", "beir/scifact"]\n')  # fmt: skip
    place, packaged = Workspace.find(tmp_path), Workspace.find(ROOT)
    assert place.method("bm25").parameters == {"k1": 2.0}
    mine = place.method("two")
    assert mine.members == (place.method("bm25"), place.method("wordllama-256"))
    assert place.task("functions").description == "mine"
    assert {*place.tasks} == {*packaged.tasks, "stdlib/mine"}
    assert place.tasks["stdlib/modules"] == packaged.tasks["stdlib/modules"]
    assert {*place.suites} == {*packaged.suites, "own"}
    assert [t.name for t in place.expand("own")] == ["stdlib/mine", "beir/scifact"]


def test_a_short_name_is_first_sought_in_the_workspace(tmp_path: Path) -> None:
    write(tmp_path / "runners/mine/bm25.toml", BM25)
    write(tmp_path / "benchmarks/mine.toml", TASK.format("scifact"))
    place = Workspace.find(tmp_path)
    assert place.method("bm25").name == "mine/bm25"
    assert place.method("lexical/bm25").parameters != {"k1": 2.0}
    assert place.task("scifact").name == "mine/scifact"
    write(tmp_path / "runners/other/bm25.toml", BM25)
    with pytest.raises(DefinitionError, match="ambiguous: mine/bm25, other/bm25"):
        place.method("bm25")


def test_errors_name_the_file_that_is_at_fault(tmp_path: Path) -> None:
    write(tmp_path / "runners/mine/x.toml", BM25 + '[on."no/task"]\nk1 = 1.0\n')
    with pytest.raises(DefinitionError, match=str(tmp_path / "runners/mine/x.toml")):
        Workspace.find(tmp_path).method("x")
    assert (
        Workspace.find(tmp_path).method("lexical/bm25").file.startswith(str(packaged_definitions()))
    )


def test_boards_and_published_values_lie_over_each_other(tmp_path: Path) -> None:
    board = next(iter(sorted((ROOT / "leaderboards").glob("*.toml"))))
    write(tmp_path / "leaderboards/own.toml", board.read_text())
    header = (ROOT / "leaderboards/published.csv").read_text().splitlines()[0]
    columns = header.split(",")
    row = ",".join({"method": "lexical/bm25", "value": ".5"}.get(c, "x") for c in columns)
    write(tmp_path / "leaderboards/published.csv", f"{header}\n{row}\n")
    mine, packaged = Session(workspace=tmp_path), Session(workspace=ROOT)
    assert len(mine.published()) == len(packaged.published()) + 1
    boards = mine.definitions.load(TableSpec, "leaderboards")
    assert {*boards} == {"own", *packaged.definitions.load(TableSpec, "leaderboards")}


def test_settings_state_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "rankstone.toml", 'data = "d"\nresults = "r"\ncache = "/c"\n')
    for name in ("RANKSTONE_DATA", "RANKSTONE_CACHE"):
        monkeypatch.delenv(name, raising=False)
    session = Session(workspace=tmp_path)
    found = session.sources
    assert (found.data, found.cache) == (tmp_path / "d", Path("/c"))
    assert session.store.folder == tmp_path / "r"
    monkeypatch.setenv("RANKSTONE_DATA", "/e")
    assert session.sources.data == Path("/e")
    assert Session(workspace=tmp_path, data="/o").sources.data == Path("/o")
    write(tmp_path / "rankstone.toml", 'resluts = "r"\n')
    with pytest.raises(DefinitionError, match=r"rankstone.toml:\n.*'resluts'.*results"):
        _ = session.store


def test_init_writes_a_workspace_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANKSTONE_DATA", raising=False)
    files = Session.init(tmp_path / "w")
    assert {path.name for path in files} >= {"rankstone.toml", "gate.toml", "retrieval.yml"}
    place = Session(workspace=tmp_path / "w")
    assert "mine/bm25-long" in place.definitions.method_names()
    data = place.prepare("mine/tickets")
    assert (len(data.corpus), len(data.query_ids)) == (6, 4)
    with pytest.raises(DefinitionError, match="is not replaced"):
        Session.init(tmp_path / "w")
