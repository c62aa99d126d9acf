"""Files written by `rankstone init`, run verbatim in a new repository."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT


def call(folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    strange = ("GITHUB_", "RANKSTONE_", "GIT_")  # from the environment of the test run
    environment = {n: v for n, v in os.environ.items() if not n.startswith(strange)}
    environment |= {
        "PATH": f"{folder.parent / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"), "RANKSTONE_CACHE": os.environ["RANKSTONE_CACHE"],
    }  # fmt: skip
    return subprocess.run(
        ["bash", "-e", "-c", command], cwd=folder, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of a repository that contains only a new workspace."""
    place = tmp_path_factory.mktemp("init")
    (place / "bin").mkdir()
    (place / "origin").mkdir()
    command = place / "bin" / "rankstone"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m rankstone "$@"\n')
    command.chmod(0o755)
    steps = (
        "rankstone init",
        "git init --quiet --initial-branch main && git add .",
        "git -c user.name=t -c user.email=t@example.org commit --quiet -m all",
        "git clone --quiet . ../here",
    )
    for step in steps:
        done = call(place / "origin", step)
        assert done.returncode == 0, f"{step}\n{done.stdout}{done.stderr}"
    return place / "here"


def test_the_workflow_runs_as_printed(checkout: Path) -> None:
    workflow = yaml.safe_load((checkout / ".github/workflows/retrieval.yml").read_text())
    steps = [step["run"] for step in workflow["jobs"]["gate"]["steps"] if "run" in step]
    assert steps[0] == "pip install rankstone"  # this interpreter has it
    for step in steps[1:]:
        done = call(checkout, step.replace("${{ github.base_ref }}", "main"))
        assert done.returncode == 0, f"{step}\n{done.stdout}{done.stderr}"
    assert "The gate passes." in done.stdout
