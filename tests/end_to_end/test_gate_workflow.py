"""The two documented examples of the gate, run verbatim in a new repository."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

from tests.conftest import ROOT
from tests.documents import parse

PAGE = (ROOT / "docs/guides/ci-gate.md").read_text(encoding="utf-8")
BLOCKS = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)]
(WORKFLOW,) = (block for block in BLOCKS if "jobs" in block)
(HOOKS,) = (block for block in BLOCKS if "repos" in block)
(RULES,) = re.findall(r"```toml\n(level = .*?)```", PAGE, re.DOTALL)
PULL_REQUEST = {"${{ github.base_ref }}": "main", "stdlib/functions": "stdlib/modules@first10",
                "bm25 wordllama-256": "bm25"}  # fmt: skip
"""Substitutions: GitHub's values, a smaller task, and one method instead of two."""


def git(folder: Path, *arguments: str) -> None:
    names = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *names, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of a repository with this code, linked, as made by `actions/checkout`."""
    place = tmp_path_factory.mktemp("workflow")
    origin = place / "origin"
    for name in ("runners", "benchmarks"):
        shutil.copytree(ROOT / name, origin / name)
    (origin / "src").mkdir()
    (origin / "src" / "rankstone").symlink_to(ROOT / "src" / "rankstone")
    (origin / "gate.toml").write_text(RULES)
    git(origin, "init", "--quiet", "--initial-branch", "main")
    git(origin, "add", ".")
    git(origin, "commit", "--quiet", "-m", "all")
    git(place, "clone", "--quiet", str(origin), "here")
    (place / "bin").mkdir()
    command = place / "bin" / "rankstone"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m rankstone "$@"\n')
    command.chmod(0o755)
    return place / "here"


def run(checkout: Path, script: list[str] | str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a script with the shell of GitHub's runners, or a command split as by pre-commit."""
    path = f"{checkout.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    strange = ("GITHUB_", "RANKSTONE_", "GIT_")  # from the environment of the test run
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(strange)},
        "PATH": path, "PYTHONPATH": "src",
        "RANKSTONE_CACHE": os.environ["RANKSTONE_CACHE"], **more,
    }  # fmt: skip
    command = ["bash", "-e", "-c", script] if isinstance(script, str) else script
    return subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True, check=False
    )


def here(text: str) -> str:
    for given, meant in PULL_REQUEST.items():
        text = text.replace(given, meant)
    return text.replace("PYTHONPATH=../base/src python", f"PYTHONPATH=../base/src {sys.executable}")


def test_the_workflow_runs_as_printed(checkout: Path) -> None:
    steps = [here(step["run"]) for step in WORKFLOW["jobs"]["gate"]["steps"] if "run" in step]
    assert steps[0].startswith("pip install ")  # this interpreter has it
    summary = checkout.parent / "summary.md"
    told = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary)}
    *measuring, judging = steps[1:]
    for step in measuring:
        done = run(checkout, step, **told)
        assert done.returncode == 0, f"{step}\n{done.stdout}{done.stderr}"
    done = run(checkout, judging, **told)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The gate passes. (1 equivalent, 1 within)" in done.stdout
    assert "**The gate passes. (1 equivalent, 1 within)**" in summary.read_text()
    root = ElementTree.parse(checkout / "gate.xml").getroot()
    assert len(root.findall(".//testcase")) == 2
    # A candidate that lacks a method fails, with an annotation on GitHub.
    for path in (checkout / "results" / "candidate").rglob("bm25@*.json"):
        path.unlink()
    done = run(checkout, judging, **told)
    assert done.returncode == 1
    assert (
        "::error title=lexical/bm25 on stdlib/modules@first10::record: the candidate" in done.stdout
    )


(HOOK,) = HOOKS["repos"][0]["hooks"]
(ONCE,) = re.findall(r"measured once \(`(rankstone run [^`]*)`\)", PAGE)


def test_the_hook_states_commands() -> None:
    """They are those of the workflow, which run above."""
    assert (HOOK["language"], HOOK["pass_filenames"]) == ("system", False)
    shell, option, script = shlex.split(HOOK["entry"])
    assert (shell, option) == ("sh", "-c")
    for command in (ONCE, *script.split("&&")):
        parse(command)


@pytest.mark.slow
def test_the_hook_runs_as_printed(checkout: Path) -> None:
    entry = shlex.split(here(HOOK["entry"]))
    shutil.rmtree(checkout / "results", ignore_errors=True)
    assert run(checkout, here(ONCE)).returncode == 0
    done = run(checkout, entry)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The gate passes. (1 equivalent)" in done.stdout
