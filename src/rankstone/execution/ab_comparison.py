"""Alternating measurements of two versions of the code on this machine, to compare their costs.

A version is a checkout: a folder with `src/rankstone`, or a commit of the repository around the
workspace, checked out temporarily. Both run the same cells with the same interpreter, cache and
data in alternating rounds, so that other load on the machine affects both alike.
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
"""Receives a line before each run."""


LOOKS = (6, 12, 24, 48, 96)
"""Numbers of rounds after which it is asked whether they decide."""


class Rounds(NamedTuple):
    """Records of both versions, one of each per round, in the order of measurement."""

    baseline: list[RunRecord]
    candidate: list[RunRecord]
    load: list[float]
    """Load average of the machine before each round, in busy cores."""


def looks(rounds: int) -> list[int]:
    """Return the even numbers of rounds to look at, at most `rounds`; the last is the bound."""
    last = max(2, rounds - rounds % 2)
    return [*(n for n in LOOKS if n < last), last]


@contextlib.contextmanager
def checkout(version: str, repository: Path) -> Iterator[Path]:
    """Provide the folder of `version`: a checkout, or a commit of `repository` checked out here.

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
    arguments: tuple[str, ...] = (),
    report: Report = lambda line: None,
) -> Iterator[Rounds]:
    """Run every method on every task by both versions, in turns, until `decided`.

    One pair is run first and discarded: it fills caches for the others. Which side goes first
    alternates, and looks are at even numbers of rounds, so that the order favours neither.

    Args:
        versions: The baseline and the candidate: checkouts, or commits of `repository`.
        rounds: Bound on the rounds of each cell.
        decided: Called with the rounds so far after each of `looks(rounds)`; True ends the cell.
        arguments: Further options of `rankstone run`, for both.

    Raises ResultsError if a cell of either fails.
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
