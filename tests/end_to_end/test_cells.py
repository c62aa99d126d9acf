"""Outcomes of cells: each fault becomes a record, and the sweep continues."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

import rankstone
from rankstone.cli import app as command_line
from rankstone.errors import DefinitionError, MissingExtraError, RankstoneWarning, ResultsError
from rankstone.execution import process as cell_process
from rankstone.execution.process import interrupted
from rankstone.results.store import ResultStore
from tests.beir_layout import write_beir
from tests.forked_cells import Template, forking
from tests.waiting import wait_for

ADAPTERS = Path(__file__).parents[1] / "adapters"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace with a tiny collection and a runner for every faulty adapter."""
    monkeypatch.syspath_prepend(str(ADAPTERS))
    documents = {f"d{i}": f"letter {c}" for i, c in enumerate("abc")}
    queries, judged = (
        {f"q{i}": c for i, c in enumerate("abc")},
        [(f"q{i}", f"d{i}") for i in range(3)],
    )
    write_beir(tmp_path / "data" / "tiny" / "letters", documents, queries, test=judged)
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "tiny.toml").write_text(
        '[tasks.letters]\ndescription = "d"\nloader = "beir"\n'
        'depth = 10\nmeasures = ["nDCG@10", "RR@10"]\n'
    )
    (tmp_path / "runners" / "strange").mkdir(parents=True)
    for line in (ADAPTERS / "strange_adapters.py").read_text().splitlines():
        if line.startswith("class ") and "Index" not in line:
            name = line.split()[1].partition("(")[0].rstrip(":")
            text = f'description = "d"\nadapter = "strange_adapters:{name}"\n'
            (tmp_path / "runners" / "strange" / f"{name.lower()}.toml").write_text(text)
    return tmp_path


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run adapters without a trial in a separate process, covered by `test_hostile_adapters`."""
    monkeypatch.setattr("rankstone.execution.sweep.refuse_deadly", lambda method: None)


@pytest.fixture
def forked(template: Template) -> Iterator[None]:
    """Fork cells from a template, in tests that are not about their start."""
    with forking(template):
        yield


def run(place: Path, *methods: str, **options: object) -> list[rankstone.RunRecord]:
    return rankstone.run(
        methods,
        "letters",
        workspace=place,
        data=place / "data",
        cache=place / "cache",
        results=place / "results",
        **options,  # type: ignore[arg-type]
    )


def leftovers(place: Path) -> list[Path]:
    return list((place / "results").rglob(".*"))


def test_a_cell_is_measured_and_stored(place: Path) -> None:
    (record,) = run(place, "constant")
    assert record["status"] == "ok"
    # d0, d1, d2 for every query: ranks 1, 2, 3.
    assert record["measures"]["RR@10"]["mean"] == pytest.approx((1 + 1 / 2 + 1 / 3) / 3)
    assert set(record["profile"]["phases"]) >= {"load", "index", "encode_queries", "search"}
    latency = record["profile"]["latency"]
    assert (latency["queries"], latency["n"]) >= (3, 368)  # again in turn until p99 has an interval
    stored = list((place / "results").rglob("*.json"))
    assert len(stored) == 1
    assert json.loads(stored[0].read_text())["measures"]["RR@10"]["mean"] == pytest.approx(11 / 18)
    assert leftovers(place) == []


@pytest.mark.usefixtures("forked")
def test_load_is_measured_verified_and_kept(place: Path) -> None:
    folders = {name: place / name for name in ("data", "cache", "results")}
    here = rankstone.Session(workspace=place, **folders)
    (record,) = here.load("constant", "letters", rates=200, clients=2, duration_s=0.3)
    load = record["profile"]["load"]
    rated, closed = load.trials
    assert (rated.rate, closed.clients, rated.same, closed.overlap) == (200, 2, 1, 1)
    assert rated.headline == rated.headline_single
    assert closed.n > 0
    cold = load.cold  # a new process read the saved index, and gave the same answers
    assert cold is not None, record.warnings
    assert (cold.n, cold.same) == (load.queries, 1)
    assert 0 < cold.ready_s < cold.first_answer_s < cold.ready_s + 10
    path = here.store.path(record)
    assert here.verify(record, path) == []
    sooner = load.model_copy(update={"cold": cold.model_copy(update={"ready_s": 0.01})})
    profile = record.profile.model_copy(update={"load": sooner})  # type: ignore[union-attr]
    found = here.verify(record.model_copy(update={"profile": profile}), path)
    assert any(line.startswith("load cold ready_s is 0.01, recomputed") for line in found), found
    profile = record.profile.model_copy(  # type: ignore[union-attr]
        update={"load": load.model_copy(update={"cold": None})}
    )
    found = here.verify(record.model_copy(update={"profile": profile}), path)
    assert any(line.startswith("load cold n is None, recomputed") for line in found), found
    changed = rated.model_copy(update={"throughput": rated.throughput * 2})
    profile = record.profile.model_copy(  # type: ignore[union-attr]
        update={"load": load.model_copy(update={"trials": [changed, closed]})}
    )
    found = here.verify(record.model_copy(update={"profile": profile}), path)
    assert any(line.startswith("load trials 0 throughput is") for line in found), found
    (kept,) = here.run("constant", "letters")
    assert kept["profile"]["load"] == load
    (other,) = here.load("constant", "letters", clients=1, duration_s=0.1)
    assert [trial.clients for trial in other["profile"]["load"].trials] == [1]
    assert len(list((place / "results").rglob("*.load.parquet"))) == 1
    with pytest.raises(DefinitionError, match="no load: give rates"):
        here.load("constant", "letters")


@pytest.mark.usefixtures("forked")
def test_a_measured_cell_is_reused_until_something_changes(place: Path) -> None:
    (first,) = run(place, "constant")
    (again,) = run(place, "constant")
    assert again == first
    (forced,) = run(place, "constant", force=True)
    assert forced.measures == first.measures
    assert forced.provenance != first.provenance or forced.profile != first.profile
    toml = place / "runners" / "strange" / "constant.toml"
    toml.write_text(toml.read_text() + 'members = ["chatty"]\n')
    with pytest.raises(DefinitionError, match="takes no arguments"):
        run(place, "constant")  # which takes none


PARTS = ("documents", "queries")


@pytest.mark.usefixtures("forked")
def test_reports_of_an_encoder_are_recorded_also_from_the_cache(place: Path) -> None:
    for cached in (0.0, 1.0):
        (record,) = run(place, "telling", force=True)
        assert record.profile is not None
        documents, queries = (record.profile.phases[f"encode_{what}"] for what in PARTS)
        assert documents.from_cache == cached
        assert (documents.tokens, documents.flops, queries.tokens) == (30, 3e6, 30)
        # No peak without torch, which a cell loads for those who ask for it.
        assert record.profile.flop_utilisation is record.profile.peak_flops_per_s is None
    (folder,) = (place / "cache" / "encodings").iterdir()
    about = json.loads((folder / "about.json").read_text())
    assert about["uses"] == [{"method": "strange/telling", "task": "tiny/letters"}]


FAULTS = {
    "nan": ("AdapterError", "NaN"),
    "outofrange": ("AdapterError", "position 1000000: out of range"),
    "twice": ("AdapterError", "twice"),
    "raises": ("ValueError", "the adapter's own words"),
    "killed": ("ProcessDied", "SIGKILL"),
}


@pytest.mark.usefixtures("forked")
def test_a_fault_is_recorded_and_the_sweep_continues(place: Path) -> None:
    *faulty, good = run(place, *FAULTS, "constant")
    assert good.status == "ok"
    for bad, (kind, words) in zip(faulty, FAULTS.values(), strict=True):
        assert bad.status == "failed"
        assert bad.error is not None
        assert bad.error.kind == kind
        assert words in bad.error.message
        assert bad.measures == {}
    assert leftovers(place) == []


@pytest.mark.usefixtures("forked")
def test_the_timeout_ends_a_cell(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An hour passes as soon as it searches."""
    now, report = [0.0], cell_process._Watch._progressed

    def progressed(watch: Any, event: Mapping[str, Any]) -> None:
        report(watch, event)
        now[0] += 3600 * (event["name"] == "search")

    clock = SimpleNamespace(monotonic=lambda: now[0], perf_counter=time.perf_counter)
    monkeypatch.setattr(cell_process, "time", clock)
    monkeypatch.setattr(cell_process._Watch, "_progressed", progressed)
    (record,) = run(place, "sleeps", timeout_s=600)
    assert record.status == "timeout"
    assert record.error is not None
    assert record.error.message == "stopped after 600 s in phase 'search' (--timeout)"


@pytest.mark.usefixtures("forked")
def test_a_cell_that_another_thread_follows_can_be_interrupted(place: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        cell = pool.submit(run, place, "sleeps")
        try:
            interrupted.set()
            with pytest.raises(KeyboardInterrupt):
                cell.result()
        finally:
            interrupted.clear()
    assert leftovers(place) == []


def test_the_peak_is_that_of_the_phases_and_not_of_the_bookkeeping(place: Path) -> None:
    bookkeeping, phase = run(place, "bigsave", "briefpeak")
    assert bookkeeping.status == phase.status == "ok"
    assert (bookkeeping.profile.peak_rss_bytes or 0) < 2**29 < (phase.profile.peak_rss_bytes or 0)


def test_the_memory_limit_ends_a_cell(place: Path) -> None:
    (record,) = run(place, "hungry", memory_limit_bytes=2**29)
    assert record.status == "oom"
    assert record.profile is not None
    assert (record.profile.peak_rss_bytes or 0) > 2**29


@pytest.mark.usefixtures("forked")
def test_a_memory_error_is_oom(place: Path) -> None:
    assert run(place, "outofmemory")[0].status == "oom"


@pytest.mark.usefixtures("forked")
def test_output_of_libraries_does_no_harm(place: Path) -> None:
    assert run(place, "chatty")[0].status == "ok"


@pytest.mark.usefixtures("forked")
def test_a_failure_does_not_replace_a_good_record(place: Path) -> None:
    run(place, "constant")
    (place / "runners" / "strange" / "constant.toml").write_text(
        'description = "d"\nadapter = "strange_adapters:Raises"\n'
    )
    assert run(place, "constant")[0].status == "failed"
    stored = [json.loads(p.read_text()) for p in (place / "results").rglob("*.json")]
    statuses = sorted(r["status"] for r in stored if r["method"]["name"] == "strange/constant")
    assert statuses == ["failed", "ok"]


def test_a_missing_extra_is_refused_before_anything_runs(place: Path) -> None:
    with pytest.raises(MissingExtraError, match=r"pip install 'rankstone\[lucene\]'"):
        run(place, "constant", "needsextra")
    assert not list((place / "results").rglob("*.json"))


@pytest.mark.usefixtures("forked")
def test_missing_data_is_recorded_with_the_command_that_prepares_it(place: Path) -> None:
    (place / "data" / "tiny" / "letters" / "corpus.jsonl").unlink()
    (record,) = run(place, "constant")
    assert record.status == "failed"
    assert record.error is not None
    assert record.error.kind == "DataError"


@pytest.mark.usefixtures("forked")
def test_a_name_of_nothing_leaves_no_record(place: Path) -> None:
    pytest.importorskip("ir_datasets")
    (record,) = rankstone.run(
        "constant", "irds:nothing/of/that/name", workspace=place, results=place / "results",
        data=place / "data", cache=place / "cache",
    )  # fmt: skip
    assert record.status == "failed"
    assert ResultStore(place / "results").records() == []


@pytest.mark.usefixtures("forked")
def test_a_failure_is_removed_when_results_are_reused(place: Path) -> None:
    (good,) = run(place, "constant")
    store = ResultStore(place / "results")
    failure = store.write(good.model_copy(update={"status": "timeout"}))
    assert store.path(failure).exists()
    assert run(place, "constant") == [good]
    assert store.records() == [good]


@pytest.mark.usefixtures("forked")
def test_an_edited_record_is_measured_again(place: Path) -> None:
    (good,) = run(place, "constant")
    path = ResultStore(place / "results").path(good)
    text = path.read_text()
    path.write_text(text.replace(f'"mean": {good.measures["RR@10"].mean}', '"mean": 0.99'))
    assert path.read_text() != text
    with pytest.warns(RankstoneWarning, match="changed since it was written"):
        assert ResultStore(place / "results").records() == []
    (again,) = run(place, "constant")
    assert (again.measures, again.profile == good.profile) == (good.measures, False)


@pytest.mark.usefixtures("forked")
def test_damage_during_a_run_reaches_no_shard_and_no_record(place: Path) -> None:
    """The adapter rewrites the collection while it encodes."""
    (record,) = run(place, "damages")
    assert record.status == "failed"
    assert record.error is not None
    assert "changed while it was in use" in record.error.message
    assert list((place / "cache").rglob("*.shard")) == []


def test_unwritable_results_are_reported_at_once(place: Path) -> None:
    (place / "results").write_text("a file where a folder should be")
    with pytest.raises(ResultsError, match="--results"):
        run(place, "constant")


@pytest.mark.usefixtures("forked")
def test_two_runs_are_equal_bit_for_bit(place: Path) -> None:
    (first,) = run(place, "constant")
    (second,) = run(place, "constant", force=True)
    assert second.measures == first.measures
    assert second.files.run_sha256 == first.files.run_sha256
    assert second.files.per_query_sha256 == first.files.per_query_sha256


def command(place: Path, *arguments: str) -> list[str]:
    return [
        *(sys.executable, "-m", "rankstone", "run", *arguments, "--on", "letters"),
        *("--workspace", str(place), "--data", str(place / "data")),
        *("--cache", str(place / "cache"), "--results", str(place / "results")),
    ]


@pytest.mark.usefixtures("forked")
def test_the_exit_code_tells_success_failed_cells_and_wrong_usage_apart(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")

    def cli(*arguments: str) -> tuple[object, str]:
        return command_line._run(command(place, *arguments)[3:]), capfd.readouterr().err

    assert cli("constant")[0] == 0
    code, messages = cli("nan", "constant")
    assert code == 1
    assert "reused (--force measures again)" in messages
    code, messages = cli("constnat")
    assert code == 2
    assert "Did you mean: strange/constant?" in messages


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)]
)
def test_interrupting_leaves_a_clean_state_and_a_message(place: Path, number: int) -> None:
    process = subprocess.Popen(
        command(place, "sleeps"),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert wait_for(lambda: children(process.pid))
    started = children(process.pid)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Interrupted: 0 of 1 cells" in said
    assert leftovers(place) == []
    assert wait_for(lambda: not any(psutil.pid_exists(pid) for pid in started))


def test_a_worker_does_not_outlive_its_parent(place: Path) -> None:
    process = subprocess.Popen(
        command(place, "sleeps"),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=subprocess.DEVNULL,
    )
    assert wait_for(lambda: leftovers(place) and children(process.pid))
    started = children(process.pid)
    process.kill()
    process.wait()
    assert wait_for(lambda: not any(psutil.pid_exists(pid) for pid in started))
    assert leftovers(place), "what a killed process cannot remove"
    run(place, "constant")
    assert leftovers(place) == []


def children(parent: int) -> list[int]:
    return [child.pid for child in psutil.Process(parent).children(recursive=True)]
