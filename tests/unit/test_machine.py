from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from rankstone.profiling import machine
from rankstone.profiling.machine import environment, fingerprint

CACHED = (machine.fingerprint, machine.cpu_name, machine._cpuinfo, machine._gpus)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(machine, "_PROBE_S", 60.0)  # others may use the core
    for function in CACHED:
        function.cache_clear()
    yield
    for function in CACHED:
        function.cache_clear()


def test_the_environment_describes_this_machine() -> None:
    found = environment(2, 7, ["rankstone", "run"])
    assert len(found.machine) == 8
    assert found.cpu
    assert found.cores == os.cpu_count()
    assert found.ram_bytes is not None
    assert found.ram_bytes > 2**28
    assert found.packages["numpy"]
    assert found.python is not None
    assert found.python.endswith(".".join(map(str, sys.version_info[:3])))
    assert (found.threads, found.seed, found.command) == (2, 7, ["rankstone", "run"])


def test_a_probe_that_is_absent_is_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = environment(1, 0, [])
    assert (found.gpu, found.driver, found.git_commit, found.git_dirty) == (None,) * 4


def fake_gpus(listing: str) -> Callable[..., str | None]:
    return lambda program, *_, **__: listing if program == "nvidia-smi" else None


def test_gpus_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = "NVIDIA H100, 550.1\nNVIDIA H100, 550.1\nNVIDIA L4, 550.1"
    monkeypatch.setattr(machine, "_output", fake_gpus(listing))
    found = environment(1, 0, [])
    assert (found.gpu, found.driver) == ("2 x NVIDIA H100, NVIDIA L4", "550.1")


def test_the_fingerprint_depends_on_facts_that_affect_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def with_memory(gib: float) -> str:
        memory = SimpleNamespace(total=int(gib * 2**30))
        monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: memory)
        machine.fingerprint.cache_clear()
        return fingerprint()

    assert with_memory(31.2) == with_memory(30.9)
    assert with_memory(31.2) != with_memory(62.8)
    here = with_memory(31.2)
    monkeypatch.setattr(machine.platform, "node", lambda: "another-host")
    monkeypatch.setattr(machine.platform, "release", lambda: "another kernel")
    assert with_memory(31.2) == here
    monkeypatch.setattr(os, "cpu_count", lambda: 999)
    assert with_memory(31.2) != here


def test_git_commit_and_dirty_flag(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    assert environment(1, 0, [], workspace=tmp_path).git_commit is None
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "--allow-empty", "-m", "empty")
    clean = environment(1, 0, [], workspace=tmp_path)
    assert clean.git_commit is not None
    assert len(clean.git_commit) == 40
    assert clean.git_dirty is False
    (tmp_path / "new.toml").touch()
    assert environment(1, 0, [], workspace=tmp_path).git_dirty is True


def test_a_program_that_hangs_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine._output(sys.executable, "-c", "raise SystemExit(1)") is None
    monkeypatch.setattr(machine, "_PROBE_S", 0.05)
    assert machine._output(sys.executable, "-c", "import time; time.sleep(5)") is None


@pytest.mark.parametrize(
    ("stated", "expected"), [("3", 3), ("3,2", 3), ("", None), ("0", None), ("many", None)]
)
def test_usable_cores_are_those_stated_else_those_of_the_process(
    stated: str, expected: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", stated)
    monkeypatch.setattr(machine, "affinity", lambda: [4, 6])
    assert machine.usable_cores() == (expected or 2)
    monkeypatch.setattr(machine, "affinity", lambda: None)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert machine.usable_cores() == (expected or 8)
