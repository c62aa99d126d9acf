"""Two versions of the code measured in turns on this machine, to compare their costs.

A version is a checkout: a folder with `src/rankstone`, or a commit of the repository around the
workspace, which is then checked out beside it for as long as it is measured. Both run the same cell
with the same interpreter, cache and data, one after the other, round after round, so that what else
the machine does falls on both alike.
"""

from __future__ import annotations

import contextlib
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
"""Receives a line before each run."""


class Rounds(NamedTuple):
    """The records of both versions, one of each a round, in the order they were measured."""

    baseline: list[RunRecord]
    candidate: list[RunRecord]


@contextlib.contextmanager
def checkout(version: str, repository: Path) -> Iterator[Path]:
    """The folder of `version`: itself, or a commit of `repository` checked out for a while.

    Raises DefinitionError where it is neither.
    """
    folder = Path(version).expanduser()
    if (folder / "src" / "rankstone").is_dir():
        yield folder.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="rankstone-ab-") as place:
        made = Path(place) / "checkout"
        asked = ["worktree", "add", "--detach", "--quiet", str(made), version]
        done = _git(repository, *asked)
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
    arguments: tuple[str, ...] = (),
    report: Report = lambda line: None,
) -> Iterator[Rounds]:
    """Run every method on every task by both versions, as `measure` does, task by task.

    Args:
        versions: the baseline and the candidate: checkouts, or commits of `repository`.
    """
    with checkout(versions[0], repository) as old, checkout(versions[1], repository) as new:
        for task in tasks:
            for method in methods:
                yield measure(
                    (old, new), method, task, rounds=rounds, arguments=arguments, report=report
                )


def measure(
    versions: tuple[Path, Path],
    method: str,
    task: str,
    *,
    rounds: int,
    arguments: tuple[str, ...] = (),
    report: Report = lambda line: None,
) -> Rounds:
    """Run `method` on `task` by both versions, `rounds` times each, in turns.

    Args:
        versions: folders of the baseline and of the candidate.
        arguments: further options of `rankstone run`, for both.

    Raises ResultsError where a cell of either does not end well.
    """
    found = Rounds([], [])
    with tempfile.TemporaryDirectory(prefix="rankstone-ab-") as place:
        for number in range(rounds):
            # Who comes first alternates: what a first run warms up helps each as often.
            sides = list(zip(("baseline", "candidate"), versions, found, strict=True))
            for side, version, records in sides if number % 2 == 0 else reversed(sides):
                report(f"round {number + 1} of {rounds}: {side}")
                results = Path(place) / f"{side}-{number}"
                records.append(_run(version, method, task, results, arguments))
    return found


def _run(
    version: Path, method: str, task: str, results: Path, arguments: tuple[str, ...]
) -> RunRecord:
    command = [sys.executable, "-m", "rankstone", "run", method, "--on", task]
    command += ["--workspace", str(version), "--results", str(results), "--force", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(version / "src")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    records = ResultStore(results).records() if results.is_dir() else []
    if len(records) != 1 or records[0].status != "ok":
        said = records[0].error.message if records and records[0].error else done.stderr.strip()
        raise ResultsError(f"{method} on {task} by {version}: {said or 'it left no record'}")
    return records[0]


def _git(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)
