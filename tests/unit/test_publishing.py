"""Records of uncommitted code or a busy machine are not published."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rankstone.cli.app import app
from rankstone.leaderboards.publishing import faults, refused
from rankstone.results.record import RunRecord
from rankstone.results.store import ResultStore
from tests.conftest import ROOT
from tests.records import make_record


def of_code(record: RunRecord, commit: str | None, dirty: bool | None) -> RunRecord:
    here = record.environment.model_copy(update={"git_commit": commit, "git_dirty": dirty})
    return record.model_copy(update={"environment": here})


GOOD = of_code(make_record("a/good"), "c0ffee", False)


def loaded(record: RunRecord, cores: float) -> RunRecord:
    assert record.profile is not None
    assert record.profile.latency is not None
    latency = record.profile.latency.model_copy(update={"others_cores": cores})
    profile = record.profile.model_copy(update={"latency": latency})
    return record.model_copy(update={"profile": profile})


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (GOOD, ""),
        (loaded(GOOD, 0.1), ""),
        (loaded(GOOD, 1.5), "under other load"),
        (of_code(GOOD, "c0ffee", True), "uncommitted"),
        (of_code(GOOD, None, None), "not known"),
    ],
)
def test_a_record_that_is_not_published_says_why(record: RunRecord, reason: str) -> None:
    found = list(faults(record))
    assert len(found) == bool(reason)
    assert all(reason in fault for fault in found)


def test_only_records_without_faults_are_copied(tmp_path: Path) -> None:
    store, to = ResultStore(tmp_path / "results"), tmp_path / "published"
    kept = store.path(store.write(GOOD))
    store.write(of_code(make_record("a/dirty"), "c0ffee", True))
    store.write(of_code(make_record("a/elsewhere", "other/task"), "c0ffee", False))
    command = ["records", "publish", "--results", str(store.folder), str(to), "stdlib/"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1, done.output
    assert "refused: a/dirty on stdlib/functions: measured with uncommitted changes" in done.output
    copied = [path.relative_to(to) for path in to.rglob("*.json")]
    assert copied == [kept.relative_to(store.folder)]


def test_without_latencies_records_of_a_loaded_machine_are_published(tmp_path: Path) -> None:
    store, to = ResultStore(tmp_path / "results"), tmp_path / "published"
    store.write(loaded(GOOD, 1.5))
    command = ["records", "publish", "--results", str(store.folder), str(to)]
    assert CliRunner().invoke(app, command).exit_code == 1
    assert not to.exists()
    done = CliRunner().invoke(app, [*command, "--no-latency"])
    assert done.exit_code == 0, done.output
    (read,) = ResultStore(to).records()
    assert read.profile is not None
    assert (read.profile.latency, read.files.latency) == (None, None)
    assert read.measures == GOOD.measures


def test_a_published_record_names_no_folder_of_a_machine(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RANKSTONE_DATA", "/home/someone/data")
    warned = GOOD.model_copy(update={"warnings": ["no split in /home/someone/data/beir/x"]})
    store, to = ResultStore(tmp_path / "results"), tmp_path / "published"
    store.write(warned)
    CliRunner().invoke(app, ["records", "publish", "--results", str(store.folder), str(to)])
    (read,) = ResultStore(to).records()  # a record whose digest is wrong is not read
    assert read.warnings == ["no split in $RANKSTONE_DATA/beir/x"]


@pytest.mark.parametrize("stated", ["{}/link", "{}/link/", "{}/data", "link", "data"])
def test_the_folder_is_replaced_however_it_is_stated(tmp_path, monkeypatch, stated) -> None:
    """Records have the resolved folder; a relative one, such as `data`, is part of other words."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RANKSTONE_DATA", stated.format(tmp_path))
    said = [f"no split in {tmp_path}/data/x", f"{tmp_path}/data", f"{tmp_path}/database/data"]
    store, to = ResultStore(tmp_path / "results"), tmp_path / "published"
    store.write(GOOD.model_copy(update={"warnings": said}))
    command = ["records", "publish", "--results", str(store.folder), str(to)]
    assert CliRunner().invoke(app, command).exit_code == 0
    (read,) = ResultStore(to).records()
    expected = ["no split in $RANKSTONE_DATA/x", "$RANKSTONE_DATA", said[2]]
    assert read == GOOD.model_copy(update={"warnings": expected})


def test_a_path_or_an_address_that_ends_with_the_folder_is_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("RANKSTONE_DATA", "/data")
    said = ["--data=/data/x", "https://example.org/data/x", "/mnt/data/x", "~/my.data/data"]
    store, to = ResultStore(tmp_path / "results"), tmp_path / "published"
    store.write(GOOD.model_copy(update={"warnings": said}))
    command = ["records", "publish", "--results", str(store.folder), str(to)]
    assert CliRunner().invoke(app, command).exit_code == 0
    (read,) = ResultStore(to).records()
    assert read.warnings == ["--data=$RANKSTONE_DATA/x", *said[1:]]


def test_no_published_record_has_a_fault() -> None:
    folders = ("demo", "engines", "local", "papers", "search")
    stores = [ResultStore(ROOT / "results" / "reference" / folder) for folder in folders]
    stored = [one for store in stores for one in store.stored()]
    assert len(stored) == 253
    assert refused(stored) == []
