from __future__ import annotations

import errno
import json
import os
import resource
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rankstone import Session
from rankstone import files as atomic
from rankstone.errors import RankstoneWarning, ResultsError
from rankstone.results.record import SCHEMA_VERSION, MethodInfo, Provenance, RunRecord
from rankstone.results.side_files import files_intact, side_file
from rankstone.results.store import ResultStore, Staged, cells
from tests.records import demo_records, make_record


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


@pytest.fixture
def staged(tmp_path: Path) -> Callable[[str], Staged]:
    def stage(content: str) -> Staged:
        folder = tmp_path / "work"
        folder.mkdir(exist_ok=True)
        run, per_query = folder / "run", folder / "per_query"
        run.write_text(f"run {content} " * 100)
        per_query.write_text(f"per query {content} " * 100)
        return Staged(run=run, per_query=per_query)

    return stage


def listing(store: ResultStore) -> list[str]:
    return sorted(p.relative_to(store.folder).as_posix() for p in store.folder.rglob("*.*"))


def contents(store: ResultStore) -> dict[str, bytes]:
    return {name: (store.folder / name).read_bytes() for name in listing(store)}


def test_a_record_comes_back_with_its_files(store: ResultStore, staged: Any) -> None:
    stored = store.write(make_record(), staged("a"))
    path = store.folder / "stdlib/functions/lexical/bm25@4be81c07.json"
    assert store.path(stored) == path
    assert store.load(path) == stored
    assert store.records() == [stored]
    assert stored.files.run is not None
    assert stored.files.run.startswith("bm25@4be81c07.")
    assert stored.files.latency is None
    assert side_file(stored, path, "latency") is None
    assert side_file(stored, path, "run") == path.with_name(stored.files.run)
    assert files_intact(stored, path)
    assert len(listing(store)) == 3


def test_the_text_is_deterministic(store: ResultStore) -> None:
    record = make_record()
    text = store.path(store.write(record)).read_text(encoding="utf-8")
    backwards = record.model_copy(
        update={
            "measures": dict(reversed(record.measures.items())),
            "method": record.method.model_copy(
                update={"parameters": dict(reversed(record.method.parameters.items()))}
            ),
        }
    )
    assert store.path(store.write(backwards)).read_text(encoding="utf-8") == text
    body = json.loads(text)
    assert list(body) == [*(name for name in RunRecord.model_fields if name != "label"), "digest"]
    assert list(body["measures"]) == sorted(body["measures"])
    assert text.startswith(f'{{\n  "schema_version": {SCHEMA_VERSION},\n  "status": "ok"')
    assert text.endswith("}\n")
    assert "ελληνικά" in text


def test_not_a_number_is_refused_by_name(store: ResultStore, staged: Any) -> None:
    bad = MethodInfo(name="a/b", digest="", adapter="m:C", parameters={"grid": [1.0, float("nan")]})
    record = make_record().model_copy(update={"method": bad})
    with pytest.raises(ResultsError, match=r"'method\.parameters\.grid\.1' is not a finite"):
        store.write(record, staged("a"))
    assert listing(store) == []


def test_a_new_run_replaces_the_old_files(store: ResultStore, staged: Any) -> None:
    old = store.write(make_record(), staged("a"))
    new = store.write(make_record(scale=1.1), staged("b"))
    assert store.records() == [new]
    assert len(listing(store)) == 3
    assert not store.path(new).with_name(str(old.files.run)).exists()


def test_the_same_run_again_changes_nothing(store: ResultStore, staged: Any) -> None:
    store.write(make_record(), staged("a"))
    before = contents(store)
    store.write(make_record(), staged("a"))
    assert contents(store) == before


def test_a_failure_never_displaces_figures(store: ResultStore, staged: Any) -> None:
    good = store.write(make_record(), staged("a"))
    for status in ("failed", "timeout", "oom"):
        bad = store.write(make_record(status=status))
        assert store.records() == [good, bad]
        assert store.find(good.key) == good
    assert store.path(bad).name == "bm25@4be81c07.failed.json"
    again = store.write(make_record(), staged("b"))
    assert store.records() == [again]


def test_machines_and_methods_stand_apart(store: ResultStore) -> None:
    for record in [*demo_records(), make_record(machine="00000001")]:
        store.write(record)
    assert len(store.records()) == 7
    assert [r.environment.machine for r in store.records()[-3:-1]] == ["4be81c07"] * 2
    key = make_record().key
    assert store.find(key, machine="00000001") == make_record(machine="00000001")
    assert store.find(key, machine="ffffffff") is None


def test_find_wants_an_equal_key_and_whole_files(store: ResultStore, staged: Any) -> None:
    stored = store.write(make_record(), staged("a"))
    assert store.find(stored.key) == stored
    assert store.find("0" * 64) is None
    run = side_file(stored, store.path(stored), "run")
    assert run is not None
    whole = run.read_bytes()
    run.write_bytes(whole[:-1])
    assert store.find(stored.key) is None
    run.unlink()
    assert store.find(stored.key) is None
    run.write_bytes(whole)
    assert store.find(stored.key) == stored


def test_find_passes_over_a_damaged_record(store: ResultStore) -> None:
    stored = store.write(make_record())
    store.path(stored).with_name("a@0.json").write_text(f'{{"key": "{stored.key}"')
    assert store.find(stored.key) == stored


def test_reference_records_and_strangers_are_not_ours(store: ResultStore) -> None:
    ResultStore(store.folder / "reference").write(make_record())
    (store.folder / "schema.json").write_text("{}")
    assert store.records() == []
    assert len(ResultStore(store.folder / "reference").records()) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "not valid JSON"), ('{"a": 1}', "no 'schema_version'"), ("[]", "not a Rankstone record"),
     ('{"schema_version": 99}', "Upgrade")],
)  # fmt: skip
def test_files_that_are_not_records_are_named_and_skipped(
    store: ResultStore, content: str, said: str
) -> None:
    stored = store.write(make_record())
    strange = store.path(stored).with_name("strange@0.json")
    strange.write_text(content)
    with pytest.warns(RankstoneWarning, match=said) as caught:
        assert store.records() == [stored]
    assert str(strange) in str(caught[0].message)
    assert strange.read_text() == content


def test_a_folder_inside_is_a_store_of_its_own(store: ResultStore) -> None:
    inner = ResultStore(store.folder / "local")
    stored = inner.write(make_record())
    assert store.records() == []
    assert inner.records() == [stored]
    for find in ("records", "all_records"):
        with pytest.raises(ResultsError, match=f"lie inside it: {inner.folder}"):
            getattr(Session(results=store.folder), find)()
    own = store.write(make_record())
    assert [record for record, _ in Session(results=store.folder).records()] == [own]


def test_a_record_that_was_moved_is_named(store: ResultStore) -> None:
    path = store.path(store.write(make_record()))
    path.rename(path.with_name("moved@0.json"))
    with pytest.warns(RankstoneWarning, match="belongs to"):
        assert store.records() == []


def test_an_absent_folder_holds_no_records(store: ResultStore) -> None:
    assert store.records() == []
    assert store.find("0" * 64) is None


@pytest.mark.parametrize("name", ["../../escape", "/etc", "a//b", "a\\b"])
def test_a_name_cannot_leave_the_folder(store: ResultStore, name: str) -> None:
    with pytest.raises(ResultsError, match="cannot be a path"):
        store.write(make_record(name))


# --- what goes wrong while writing ------------------------------------------------------------


def limit_file_size(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
@pytest.mark.parametrize("limit", [0, 900, 2000])
def test_a_write_that_breaks_off_leaves_the_former_record(
    store: ResultStore, staged: Any, limit: int
) -> None:
    """The kernel limits files to `limit` bytes, reached in the run, the values, or the JSON."""
    good = store.write(make_record(), staged("a"))
    before = contents(store)
    fresh, soft = staged("b"), resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    limit_file_size(limit)
    try:
        with pytest.raises(ResultsError, match="--results DIR"):
            store.write(make_record(scale=1.1), fresh)
    finally:
        limit_file_size(soft)
    assert contents(store) == before
    assert store.find(good.key) == good


@pytest.mark.parametrize("call", range(1, 7))
def test_a_full_disk_at_any_point(
    store: ResultStore, staged: Any, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    good = store.write(make_record(), staged("a"))
    before, fresh = contents(store), staged("b")
    done = fail_at(monkeypatch, call, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    if call > 3:
        # Three files are written: two beside the record, then the record.
        store.write(make_record(scale=1.1), fresh)
        assert done() == 3
        return
    with pytest.raises(ResultsError, match=r"No space left on device.*--results DIR"):
        store.write(make_record(scale=1.1), fresh)
    assert contents(store) == before
    assert store.find(good.key) == good


def fail_at(monkeypatch: pytest.MonkeyPatch, call: int, error: BaseException) -> Callable[[], int]:
    """Make the `call`-th fsync of a file raise; return a function that counts the calls."""
    calls = 0
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal calls
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            return
        calls += 1
        if calls == call:
            raise error
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    return lambda: calls


@pytest.mark.parametrize("call", [1, 2, 3])
def test_a_crash_leaves_the_former_record(
    store: ResultStore, staged: Any, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """After SIGKILL there is no cleanup, and the files must still be a complete record."""
    good = store.write(make_record(), staged("a"))
    with monkeypatch.context() as patch:
        fail_at(patch, call, KeyboardInterrupt())
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        with pytest.raises(KeyboardInterrupt):
            store.write(make_record(scale=1.1), staged("b"))
    assert len(listing(store)) > 3
    assert store.records() == [good]
    assert store.find(good.key) == good
    # Young leftovers may be another run's; old ones go with the next record of the cell.
    store.write(make_record(), staged("a"))
    assert len(listing(store)) > 3
    old = time.time() - 7200
    for path in store.path(good).parent.iterdir():
        os.utime(path, (old, old))
    store.write(make_record(), staged("a"))
    assert len(listing(store)) == 3


def test_leftovers_of_a_longer_name_are_not_ours(store: ResultStore, staged: Any) -> None:
    other = store.write(make_record("lexical/bm25", machine="4be81c07.x"), staged("a"))
    store.write(make_record(), staged("b"))
    assert files_intact(other, store.path(other))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    store = ResultStore(tmp_path / "results")
    with pytest.raises(ResultsError, match=r"results.*--results DIR"):
        store.check_writable()
    with pytest.raises(ResultsError, match="--results DIR"):
        store.write(make_record())


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs /proc")
def test_a_folder_where_even_root_may_not_write() -> None:
    with pytest.raises(ResultsError, match="--results DIR"):
        ResultStore(Path("/proc/rankstone")).check_writable()
    with pytest.raises(ResultsError, match="--results DIR"):
        ResultStore(Path("/proc/self")).check_writable()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ResultsError, match="--results DIR"):
        ResultStore(tmp_path).check_writable()


def test_a_writable_folder_is_left_empty(store: ResultStore) -> None:
    store.check_writable()
    assert list(store.folder.iterdir()) == []


def test_new_files_follow_the_umask(tmp_path: Path) -> None:
    plain, ours = tmp_path / "plain", tmp_path / "ours"
    plain.touch()
    with atomic.appearing(ours) as out:
        out.write(b"x")
    assert ours.stat().st_mode == plain.stat().st_mode


# --- which record stands for a cell ------------------------------------------------------------


def finished(moment: str) -> Provenance:
    return Provenance(started="2020-01-01T00:00:00Z", finished=moment)


def test_a_good_record_stands_before_a_failure_of_another_machine(store: ResultStore) -> None:
    newer = finished("2026-01-01T00:00:00Z")
    bad = store.write(make_record(status="failed", machine="aaaa", provenance=newer))
    good = store.write(make_record(machine="bbbb"))
    cell = good.method.name, good.task.name
    assert store.cells() == {cell: (good, store.path(good))}
    assert store.cells(machine="aaaa") == {cell: (bad, store.path(bad))}


@pytest.mark.parametrize(("first", "second"), [("aaaa", "bbbb"), ("bbbb", "aaaa")])
def test_the_newest_record_stands_whatever_its_machine(
    store: ResultStore, first: str, second: str
) -> None:
    old = make_record(machine=first, provenance=finished("2024-05-01T12:00:00Z"))
    new = make_record(machine=second, provenance=finished("2026-05-01T12:00:00Z"))
    for record in (new, old):
        store.write(record)
    assert [record for record, _ in store.cells().values()] == [new]
    assert [record for record, _ in store.cells(machine=first).values()] == [old]
    assert store.cells(machine="ffffffff") == {}


def test_a_cell_that_only_failed_is_stood_for_by_its_last_failure(store: ResultStore) -> None:
    old, new = (
        store.write(make_record(status="oom", machine=machine, provenance=finished(moment)))
        for machine, moment in (("bbbb", "2024-05-01T12:00:00Z"), ("aaaa", "2026-05-01T12:00:00Z"))
    )
    assert [record for record, _ in store.cells().values()] == [new]
    assert old in store.records()


def test_equal_times_do_not_depend_on_the_order_of_reading() -> None:
    stored = [(make_record(machine=machine), Path(machine)) for machine in ("a", "b", "c")]
    chosen = cells(stored)
    assert chosen == cells(reversed(stored))
    assert len(chosen) == 1


def test_cells_pass_over_a_damaged_record(store: ResultStore) -> None:
    good = store.write(make_record())
    store.path(good).with_name("bm25@0.json").write_text("{")
    with pytest.warns(RankstoneWarning, match="not valid JSON"):
        assert [record for record, _ in store.cells().values()] == [good]


def test_a_single_record_is_not_chosen_among_machines(store: ResultStore) -> None:
    one, other = (store.write(make_record(machine=machine)) for machine in ("aaaa", "bbbb"))
    with pytest.raises(ResultsError, match="several machines") as raised:
        store.named("bm25@stdlib/functions")
    assert all(str(store.path(record)) in str(raised.value) for record in (one, other))
    assert store.named(str(store.path(one))) == (one, store.path(one))
