"""`Session` and the functions over a default one."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import rankstone
from rankstone.errors import DefinitionError, ResultsError
from rankstone.results.store import ResultStore
from rankstone.session import Session
from tests.conftest import ROOT
from tests.records import make_record


def test_every_public_function_is_the_method_of_its_name() -> None:
    for name in rankstone.__all__:
        if name.islower() and not name.startswith("_"):
            function = getattr(rankstone, name)
            assert function is getattr(rankstone, name)
            assert inspect.unwrap(function) is inspect.unwrap(getattr(Session, name))


def test_a_function_takes_the_folders_of_its_session(tmp_path: Path) -> None:
    ResultStore(tmp_path / "r").write(make_record(method="m", task="t/a"))
    frame = rankstone.leaderboard(results=tmp_path / "r", workspace=ROOT)
    assert list(frame["method"]) == ["m"]
    assert frame.equals(Session(results=tmp_path / "r", workspace=ROOT).leaderboard())


def test_run_has_the_parameters_of_sweep() -> None:
    assert inspect.signature(Session.run) == inspect.signature(Session.sweep)


def test_folders_are_found_when_they_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session()
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "runners").mkdir()
    (tmp_path / "benchmarks" / "t.toml").write_text("")
    monkeypatch.chdir(tmp_path)
    assert session.store.folder == tmp_path / "results"
    monkeypatch.setenv("RANKSTONE_CACHE", str(tmp_path / "kept"))
    assert session.encodings_folder == tmp_path / "kept" / "encodings"


def test_a_named_folder_of_records_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="--results"):
        Session(results=tmp_path / "none", workspace=ROOT).records()
    with pytest.raises(DefinitionError):
        _ = Session(workspace=tmp_path / "none").definitions


def test_weights_are_for_one_method(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="one method"):
        Session(workspace=ROOT).sweep(
            ["lexical/bm25", "bm25-mteb"], "stdlib/functions", model_path=tmp_path
        )
