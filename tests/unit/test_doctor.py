from __future__ import annotations

import io
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from rich.console import Console

from rankstone import doctor
from rankstone.benchmarks.availability import entry
from rankstone.benchmarks.dataset import Sources
from rankstone.doctor import EXTRAS, Finding, findings, report
from rankstone.workspace import Workspace

ROOT = Path(__file__).parents[2]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "runners" / "x").mkdir(parents=True)
    (tmp_path / "benchmarks" / "beir.toml").write_text(
        '[tasks.here]\ndescription = "d"\nloader = "beir"\n'
        '[tasks.gone]\ndescription = "d"\nloader = "beir"\n'
        '[tasks.broken]\ndescription = "d"\nloader = "m:f"\n'
    )
    return Workspace(root=tmp_path)


def add_runner(workspace: Workspace, name: str, text: str) -> None:
    (workspace.runners / "x" / f"{name}.toml").write_text(f'description = "d"\n{text}')


def find(workspace: Workspace, tmp_path: Path, data: Path | None = None) -> dict[str, Finding]:
    found = findings(workspace, Sources(data=data, cache=tmp_path / "cache" / "not" / "yet"))
    return {finding.name: finding for finding in found}


def test_extras_are_those_of_the_package() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    declared = set(tomllib.loads(text)["project"]["optional-dependencies"])
    assert set(EXTRAS) == declared - {"dev", "all"}


def test_a_missing_extra_prints_its_install_line(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.machine, "package_versions", lambda names: {"pyseismic-lsr": "0.5"})
    found = find(workspace, tmp_path)
    assert found["sparse"].state == "ok"
    assert found["dense"].state == "absent"
    assert "pip install 'rankstone[dense]'" in found["dense"].detail


def test_models_within_reach(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "hub" / "models--org--cached" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("MODELS", str(tmp_path))
    adapter = 'adapter = "json:JSONDecoder"\n'
    add_runner(workspace, "none", adapter)
    add_runner(workspace, "path", f'{adapter}[model]\nid = "a"\npath = "$MODELS/hub"')
    add_runner(workspace, "nopath", f'{adapter}[model]\nid = "a"\npath = "/absent"')
    add_runner(workspace, "package", f'{adapter}[model]\nid = "a"\npackage = "numpy/random"')
    add_runner(workspace, "nopackage", f'{adapter}[model]\nid = "a"\npackage = "absent_x/y"')
    add_runner(workspace, "cached", f'{adapter}[model]\nid = "org/cached"')
    add_runner(workspace, "hub", f'{adapter}[model]\nid = "org/other"')
    add_runner(workspace, "mixed", f'{adapter}members = ["none", "hub"]')
    add_runner(workspace, "broken", "adaptor = 1")
    add_runner(workspace, "nowhere", 'adapter = "absent_module.x:C"')
    found = find(workspace, tmp_path)
    states = {name[2:]: f.state for name, f in found.items() if name.startswith("x/")}
    assert states == {
        "none": "ok", "path": "ok", "nopath": "absent", "package": "ok", "nopackage": "absent",
        "cached": "ok", "hub": "absent", "mixed": "absent", "broken": "wrong", "nowhere": "wrong",
    }  # fmt: skip
    assert "the first run downloads it" in found["x/mixed"].detail


@pytest.mark.parametrize(
    ("requires", "state"),
    [
        ('requires: ClassVar[Mapping[str, str]] = {"absent_x": "dense", "json": "site"}', "absent"),
        ('requires = {"json": "dense"}', "ok"),
        ("requires = dict(other)", "ok"),
        ("pass", "ok"),
    ],
)
def test_libraries_of_an_adapter_are_looked_up(
    workspace: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    requires: str,
    state: str,
) -> None:
    """The module raises on import: it must only be read."""
    code = f"raise SystemExit\nclass C:\n    {requires}\n"
    (tmp_path / "third_party_adapter.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    add_runner(workspace, "ours", 'adapter = "third_party_adapter:C"')
    found = find(workspace, tmp_path)["x/ours"]
    assert found.state == state
    assert ("pip install 'rankstone[dense]'" in found.detail) == (state == "absent")
    assert "[site]" not in found.detail


def test_tasks_within_reach(workspace: Workspace, tmp_path: Path) -> None:
    here = tmp_path / "data" / "beir" / "here"
    (here / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        (here / name).touch()
    other = "1 in other ways (rankstone data list)"
    found = find(workspace, tmp_path, tmp_path / "data")["beir"]
    assert (found.state, found.detail) == ("ok", f"1 at hand, 1 missing, {other}")
    found = find(workspace, tmp_path)["beir"]
    assert (found.state, found.detail) == ("absent", f"2 missing, {other}")
    assert find(workspace, tmp_path, tmp_path / "nowhere")["data"].state == "wrong"
    assert "RANKSTONE_DATA" in find(workspace, tmp_path)["data"].detail


def test_it_agrees_with_data_list(tmp_path: Path) -> None:
    """What is downloaded is said by one place alone, for every family that is defined."""
    place, sources = Workspace(root=ROOT), Sources(data=None, cache=tmp_path)
    states = [entry(task, sources).state for task in place.tasks.values()]
    said = " ".join(f.detail for f in findings(place, sources) if f.section == "Benchmarks")
    for state in ("to fetch", "not public", "missing"):
        counts = [int(n) for n in re.findall(rf"(\d+) {state}", said)]
        assert sum(counts) == states.count(state)
    assert "to fetch" in find(place, tmp_path)["loco"].detail


def test_benchmarks_without_their_libraries(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rankstone.benchmarks.availability", None)
    assert find(workspace, tmp_path)["benchmarks"].state == "wrong"


def test_the_report_fits_a_narrow_terminal(tmp_path: Path) -> None:
    console = Console(width=80, file=io.StringIO())
    with console.capture() as capture:
        console.print(report(Workspace(root=ROOT), Sources(data=None, cache=tmp_path)))
    lines = [line.rstrip() for line in capture.get().splitlines()]
    assert max(map(len, lines)) <= 80
    assert any("lexical/bm25" in line for line in lines)
    assert {"System", "Libraries", "Extras", "Java", "Runners", "Benchmarks"} <= set(lines)


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from pathlib import Path; from rankstone.doctor import findings;"
        "from rankstone.workspace import Workspace;"
        "from rankstone.benchmarks.dataset import Sources;"
        f"findings(Workspace(root=Path({str(ROOT)!r})), Sources(data=None, cache=Path('.')));"
        "sys.exit(','.join({'torch', 'transformers', 'pandas', 'ir_datasets', 'faiss'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


def test_java_is_asked_for_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert doctor._java_version() is None
    home = tmp_path / "jdk"
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text('#!/bin/sh\necho "openjdk 21" >&2\n')
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert doctor._java_version() == "openjdk 21"
