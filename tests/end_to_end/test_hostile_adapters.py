"""Every cell ends in a record, whatever its adapter does, and later cells still run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import rankstone
from rankstone.results.serialise import from_json
from tests.beir_layout import write_beir

ADAPTERS = Path(__file__).parents[1] / "adapters"
ENDINGS = {
    "Surrogate": ("ValueError", "a lone ? surrogate"),
    "Vanishes": ("ProcessDied", "exited with code 0"),
    "ExitsWhenBuilt": ("SystemExit", "SystemExit: 0"),
}
MORE_ENDINGS = {
    "DaemonThenCrash": ("ProcessDied", "SIGSEGV"),
    "Unprintable": ("UnspeakableError", "its text cannot be read"),
    "Long": ("ValueError", "characters left out"),
    "Exits": ("SystemExit", "SystemExit: 0"),
    "Interrupts": ("KeyboardInterrupt", ""),
    "Recurses": ("RecursionError", "recursion depth"),
    "Closes": ("ProcessDied", "exited with code 1"),
    "Negative": ("AdapterError", "nbytes() of the index returned -5"),
    "NaNBytes": ("AdapterError", "nbytes() of the index returned nan"),
    "Immense": ("AdapterError", "nbytes() of the index returned 1000"),
    "DescribesMuch": ("AdapterError", "bytes"),
}


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A workspace with a collection of one document; remaining processes end with the test."""
    monkeypatch.syspath_prepend(str(ADAPTERS))
    for name in ("pids", "server"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(f"HOSTILE_{name.upper()}", str(tmp_path / name))
    write_beir(tmp_path / "data" / "tiny" / "one", {"d": "x"}, {"q": "x"}, test=[("q", "d")])
    for name in ("benchmarks", "runners"):
        (tmp_path / name).mkdir()
    (tmp_path / "benchmarks" / "tiny.toml").write_text(
        '[tasks.one]\ndescription = "d"\nloader = "beir"\ndepth = 10\nmeasures = ["nDCG@10"]\n'
    )
    yield tmp_path
    for process in left(tmp_path):
        process.kill()


def left(workspace: Path) -> list[psutil.Process]:
    """Return the running processes left by adapters."""
    known = (int(path.name) for path in (workspace / "pids").iterdir())
    found = [psutil.Process(pid) for pid in known if psutil.pid_exists(pid)]
    return [one for one in found if one.status() != psutil.STATUS_ZOMBIE]


def run(workspace: Path, *adapters: str) -> list[rankstone.RunRecord]:
    for name in adapters:
        module = "strange_adapters" if name == "Constant" else "hostile_adapters"
        (workspace / "runners" / f"{name}.toml").write_text(
            f'description = "d"\nadapter = "{module}:{name}"\n'
        )
    folders = {name: workspace / name for name in ("data", "cache", "results")}
    records = rankstone.run(adapters, "tiny/one", workspace=workspace, **folders)  # type: ignore[arg-type]
    for path in (workspace / "results").rglob("*.json"):
        from_json(path.read_bytes(), path)  # whatever is stored can be read
    return records


def check(records: list[rankstone.RunRecord], endings: dict[str, tuple[str, str]]) -> None:
    *bad, good = records
    assert good.status == "ok"
    assert [record.status for record in bad] == ["failed"] * len(endings)
    for record, (kind, words) in zip(bad, endings.values(), strict=True):
        assert record.error is not None
        assert kind in record.error.kind, record.error
        assert words in record.error.message
        assert len(json.dumps(record.model_dump(mode="json"))) < 200_000


def test_a_cell_that_ends_in_any_way_is_recorded(workspace: Path) -> None:
    check(run(workspace, *ENDINGS, "Daemon"), ENDINGS)
    assert len(list((workspace / "pids").iterdir())) == 3
    assert left(workspace) == []
    on_server = {path.name for path in (workspace / "server").iterdir()}
    assert on_server == {"Surrogate.removed", "Vanishes.removed"}


@pytest.mark.slow
def test_a_cell_that_ends_in_more_ways_is_recorded(workspace: Path) -> None:
    check(run(workspace, *MORE_ENDINGS, "Constant"), MORE_ENDINGS)
    assert len(list((workspace / "pids").iterdir())) == 3
    assert left(workspace) == []
    records = run(workspace, "Babbles", "Forks", "Describes")
    assert [record.status for record in records] == ["ok"] * 3
    assert records[2].method.description == {"share": None}


def test_an_adapter_that_ends_the_process_is_refused_before_anything_runs(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(workspace))
    (workspace / "deadly_adapter.py").write_text("import os\nos._exit(0)\n")
    definition = 'description = "d"\nadapter = "deadly_adapter:Method"\n'
    (workspace / "runners" / "deadly.toml").write_text(definition)
    with pytest.raises(rankstone.RankstoneError, match=r"ended the process .* exit code 0"):
        rankstone.run("deadly", "tiny/one", workspace=workspace, results=workspace / "results")
