"""Alternating measurements of two versions of the code on one machine, to compare costs.

A version is a checkout, that is a folder with `src/rankstone`, or a commit of the repository around
the workspace, which is checked out temporarily. Both run the same cells with the same interpreter,
cache and data in alternating rounds, so that load from other programs affects both equally.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rankstone.errors import DefinitionError, ResultsError
from rankstone.results.record import RunRecord
from rankstone.results.store import ResultStore

Report = Callable[[str], None]
"""Receives a message before each run."""


LOOKS = (6, 12, 24, 48, 96)
"""Numbers of rounds after which the result is tested for a decision."""


class Rounds(NamedTuple):
    """Records of both versions, one of each per round, in the order of measurement."""

    baseline: list[RunRecord]
    candidate: list[RunRecord]
    load: list[float]
    """Load average of the machine before each round, in busy cores."""


def looks(rounds: int) -> list[int]:
    """Return the even numbers of rounds, at most `rounds`, after which to test."""
    last = max(2, rounds - rounds % 2)
    return [*(n for n in LOOKS if n < last), last]


@contextlib.contextmanager
def checkout(version: str, repository: Path) -> Iterator[Path]:
    """Provide the folder of `version`: a checkout, or a temporary checkout of a commit.

    Raises DefinitionError if it is neither.
    """
    named = Path(version).expanduser()
    if (named / "src" / "rankstone").is_dir():
        yield named.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="rankstone-ab-") as folder:
        made = Path(folder) / "checkout"
        done = _git(repository, "worktree", "add", "--detach", "--quiet", str(made), version)
        if done.returncode:
            raise DefinitionError(
                f"'{version}' is neither a folder with src/rankstone nor a commit of {repository}:"
                f" {done.stderr.strip()}. Name one of them."
            )
        try:
            yield made
        finally:
            _git(repository, "worktree", "remove", "--force", str(made))


def measure_cells(
    versions: tuple[str, str],
    methods: Sequence[str],
    tasks: Sequence[str],
    *,
    repository: Path,
    rounds: int,
    decided: Callable[[Rounds], bool],
    arguments: tuple[str, ...],
    report: Report,
) -> Iterator[Rounds]:
    """Run every method on every task with both versions alternately, until `decided`.

    One pair is run first and discarded, to fill caches. The version that runs first alternates, and
    decisions are made only after even numbers of rounds, so that the order favours neither version.

    Args:
        versions: the baseline and the candidate: checkouts, or commits of `repository`.
        rounds: maximum number of rounds per cell.
        decided: called with the rounds so far after each of `looks(rounds)`; True ends the cell.
        arguments: further options of `rankstone run` for both versions.

    Raises ResultsError if a cell of either version fails.
    """
    with checkout(versions[0], repository) as old, checkout(versions[1], repository) as new:
        for task, method in itertools.product(tasks, methods):
            sides = (("baseline", old), ("candidate", new))
            for side, version in sides:
                report(f"warm-up, not counted: {side}")
                _run(version, method, task, arguments)
            found = Rounds([], [], [])
            for number in range(1, looks(rounds)[-1] + 1):
                found.load.append(os.getloadavg()[0])
                for side, version in sides if number % 2 else reversed(sides):
                    report(f"round {number} of at most {rounds}: {side}")
                    records = getattr(found, side)
                    records.append(_run(version, method, task, arguments))
                if number in looks(rounds) and decided(found):
                    break
            yield found


def _run(version: Path, method: str, task: str, arguments: tuple[str, ...]) -> RunRecord:
    with tempfile.TemporaryDirectory(prefix="rankstone-ab-") as results:
        command = [sys.executable, "-m", "rankstone", "run", method, "--on", task]
        command += ["--workspace", str(version), "--results", results, "--force", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(version / "src")}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        records = ResultStore(Path(results)).records()
    if len(records) != 1 or records[0].status != "ok":
        reason = records[0].failure() if records else done.stderr.strip() or "no record was stored"
        raise ResultsError(f"{method} on {task} by {version}: {reason}")
    return records[0]


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
