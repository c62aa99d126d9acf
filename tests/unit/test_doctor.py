from __future__ import annotations

import io
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from rankstone import doctor
from rankstone.benchmarks.availability import entry
from rankstone.benchmarks.dataset import Sources
from rankstone.doctor import EXTRAS, Finding, findings, report
from rankstone.errors import RankstoneError
from rankstone.profiling import memory
from rankstone.runners.construct import build_runner
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
    assert set(EXTRAS) == declared - {"dev", "docs", "all"}


def test_a_missing_extra_prints_its_install_line(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor.machine, "package_versions", lambda names: {"pyseismic-lsr": "0.5"})
    found = find(workspace, tmp_path)
    assert found["sparse"].state == "ok"
    assert found["dense"].state == "absent"
    assert "pip install 'rankstone[dense]'" in found["dense"].detail


def test_free_memory_is_what_the_container_leaves(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "memory.max").write_text("5000")
    (tmp_path / "memory.current").write_text("5000")
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    assert find(workspace, tmp_path)["memory"].detail.endswith(" 0.0 GiB free")


ADAPTER = """
from dataclasses import dataclass
from typing import Any

import rankstone

@dataclass(kw_only=True)
class C(rankstone.Runner):
    {requires}
    model: Any = None
    members: Any = ()
    depth: int = 1

    def encode(self, texts, role): ...
    def index(self, documents, context): ...
"""


@pytest.fixture
def adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "third_party_adapter.py").write_text(ADAPTER.format(requires=""))
    monkeypatch.syspath_prepend(tmp_path)
    yield 'adapter = "third_party_adapter:C"\n'
    sys.modules.pop("third_party_adapter", None)


def test_the_report_tells_which_models_are_within_reach(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, adapter: str
) -> None:
    pytest.importorskip("huggingface_hub")
    snapshot = tmp_path / "hub" / "models--org--cached" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(
        "huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", tmp_path / "hub"
    )
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("MODELS", str(tmp_path))
    add_runner(workspace, "none", adapter)
    add_runner(workspace, "path", f'{adapter}[model]\nid = "a"\npath = "$MODELS/hub"')
    add_runner(workspace, "nopath", f'{adapter}[model]\nid = "a"\npath = "/absent"')
    add_runner(workspace, "package", f'{adapter}[model]\nid = "a"\npackage = "numpy/random"')
    add_runner(workspace, "nopackage", f'{adapter}[model]\nid = "a"\npackage = "absent_x/y"')
    add_runner(workspace, "cached", f'{adapter}[model]\nid = "org/cached"\nrevision = "{"a" * 40}"')
    add_runner(workspace, "hub", f'{adapter}[model]\nid = "org/other"')
    add_runner(workspace, "mixed", f'{adapter}members = ["none", "hub"]')
    add_runner(workspace, "unknown", f"{adapter}[parameters]\nwidth = 1")
    add_runner(workspace, "broken", "adaptor = 1")
    add_runner(workspace, "nowhere", 'adapter = "absent_module.x:C"')
    add_runner(workspace, "closed", f'{adapter}weights = "unavailable"\n[model]\nid = "a"')
    found = find(workspace, tmp_path)
    states = {name[2:]: f.state for name, f in found.items() if name.startswith("x/")}
    assert states == {
        "none": "ok", "path": "ok", "nopath": "wrong", "package": "ok", "nopackage": "absent",
        "cached": "ok", "hub": "absent", "mixed": "absent", "unknown": "wrong", "broken": "wrong",
        "nowhere": "wrong", "closed": "absent",
    }  # fmt: skip
    assert "the first run downloads it" in found["x/mixed"].detail
    assert found["x/cached"].detail == "org/cached (hub cache)"
    assert found["methods"].state == "wrong", "some fail"
    assert found["methods"].detail == (
        "of 12: 4 run, 3 download their model first, 1 need weights that were not released, 4 fail"
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    offline = find(workspace, tmp_path)["x/hub"]
    assert (offline.state, "hf download org/other" in offline.detail) == ("wrong", True)


def test_a_method_of_a_server_needs_its_address(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The variable is named by the definition, or else by the adapter."""
    pytest.importorskip("httpx2")
    variables = {"named": "RANKSTONE_TEST_URL", "usual": "OPENSEARCH_URL"}
    for name, variable in variables.items():
        monkeypatch.delenv(variable, raising=False)
        stated = f'[parameters]\nurl_env = "{variable}"' if name == "named" else ""
        add_runner(workspace, name, f'adapter = "opensearch_bm25"\n{stated}')
    found = find(workspace, tmp_path)
    for name, variable in variables.items():
        detail = f"set {variable} to the address of its server"
        assert (found[f"x/{name}"].state, found[f"x/{name}"].detail) == ("absent", detail)
        monkeypatch.setenv(variable, "http://localhost:9200")
    assert found["methods"].detail == "of 2: 2 need the address of a server"
    assert find(workspace, tmp_path)["methods"].detail == "of 2: 2 run"


def test_it_agrees_with_run(workspace: Workspace, tmp_path: Path, adapter: str) -> None:
    add_runner(workspace, "unknown", f"{adapter}[parameters]\nwidth = 1")
    with pytest.raises(RankstoneError) as raised:
        build_runner(workspace.method("unknown"))
    assert find(workspace, tmp_path)["x/unknown"].detail == str(raised.value)


def test_a_module_that_ends_the_program_ends_its_method_alone(
    workspace: Workspace, tmp_path: Path, adapter: str
) -> None:
    (tmp_path / "third_party_adapter.py").write_text("raise SystemExit(3)")
    add_runner(workspace, "ours", adapter)
    found = find(workspace, tmp_path)["x/ours"]
    assert (found.state, found.detail) == ("wrong", "SystemExit: 3")


@pytest.mark.parametrize(
    ("requires", "state"),
    [
        ('requires = {"absent_x": "dense", "json": "site"}', "absent"),
        ('requires = {"json": "dense"}', "ok"),
        ("pass", "ok"),
    ],
)
def test_libraries_of_an_adapter_are_looked_up(
    workspace: Workspace, tmp_path: Path, adapter: str, requires: str, state: str
) -> None:
    (tmp_path / "third_party_adapter.py").write_text(ADAPTER.format(requires=requires))
    add_runner(workspace, "ours", adapter)
    found = find(workspace, tmp_path)["x/ours"]
    assert found.state == state, found
    assert ("needs the extra 'dense'" in found.detail) == (state == "absent")


def test_the_report_tells_which_tasks_are_within_reach(
    workspace: Workspace, tmp_path: Path
) -> None:
    here = tmp_path / "data" / "beir" / "here"
    (here / "qrels").mkdir(parents=True)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"):
        (here / name).touch()
    other = "1 in other ways (rankstone data list)"
    found = find(workspace, tmp_path, tmp_path / "data")["beir"]
    assert (found.state, found.detail) == ("ok", f"1 available, 1 missing, {other}")
    found = find(workspace, tmp_path)["beir"]
    assert (found.state, found.detail) == ("absent", f"2 missing, {other}")
    assert find(workspace, tmp_path, tmp_path / "nowhere")["data"].state == "wrong"
    assert "RANKSTONE_DATA" in find(workspace, tmp_path)["data"].detail


def test_it_agrees_with_data_list(tmp_path: Path) -> None:
    """Both use the same source of available data, for every defined family."""
    place, sources = Workspace(root=ROOT), Sources(data=None, cache=tmp_path)
    states = [entry(task, sources).state for task in place.tasks.values()]
    said = " ".join(f.detail for f in findings(place, sources) if f.section == "Benchmarks")
    for state in ("to fetch", "not public", "missing"):
        counts = [int(n) for n in re.findall(rf"(\d+) {state}", said)]
        assert sum(counts) == states.count(state)
    assert "to fetch" in find(place, tmp_path)["loco"].detail


def test_benchmarks_without_their_libraries_are_reported_as_wrong(
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
    assert lines[0] == "Summary"
    assert {"System", "Libraries", "Extras", "Java", "Methods", "Benchmarks"} <= set(lines)


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
    monkeypatch.setattr(doctor, "_JAVA_S", 60.0)  # others may use the core
    assert doctor._java_version() is None
    home = tmp_path / "jdk"
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text('#!/bin/sh\necho "openjdk 21" >&2\n')
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(home))
    assert doctor._java_version() == "openjdk 21"
