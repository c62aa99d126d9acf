"""Writes leaderboards/training.md from the records of trained methods:
python docs/training_costs.py"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rankstone.leaderboards.document import Page, Paragraph, table
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.numbers import UNKNOWN, fixed
from rankstone.results.record import RunRecord, Training
from rankstone.results.store import ResultStore

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "leaderboards" / "training.md"
HEADS = (
    "trained", "learnt from", "loss", "negatives", "steps", "pairs", "first loss", "last loss",
    "seconds", "CPU seconds",
)  # fmt: skip
INTRODUCTION = (
    "Trainings of methods in runners/trained/ that were measured here, each as its record states"
    " it: the data, the mean loss at the first and the last point of the curve, and the seconds, in"
    " which teachers, negatives and clusters are included. make train repeats them; what the models"
    " are worth is in claims.md."
)


def trainings(records: Sequence[RunRecord]) -> list[Training]:
    """Return each training once, from the record of the cell that did it where there is one."""
    every = [training for record in records for training in record.training]
    first = sorted(every, key=lambda training: training.reused)
    found = {training.checkpoint: training for training in reversed(first)}
    return sorted(found.values(), key=lambda training: (training.part, training.data))


def row(training: Training) -> tuple[str, ...]:
    ends = [fixed(training.loss[n][1], 3) for n in (0, -1)] if training.loss else [UNKNOWN] * 2
    numbers = f"{training.steps:,}", f"{training.pairs:,}", *ends
    seconds = f"{training.wall_s:,.0f}", f"{training.cpu_s:,.0f}"
    learnt = ", ".join(training.data)
    return training.part, learnt, training.loss_name, training.negatives, *numbers, *seconds


def total(records: Sequence[RunRecord], found: Sequence[Training]) -> Iterator[str]:
    """Yield sentences on all trainings and all cells."""
    yield f"{len(found)} trainings took {sum(one.wall_s for one in found) / 60:,.0f} minutes;"
    cells = [record.profile.wall_s or 0.0 for record in records if record.profile]
    yield f"all {len(records)} cells, with encoding and search, {sum(cells) / 60:,.0f} minutes."
    machines = {f"{one.environment.cpu}, {one.environment.cores} cores" for one in records}
    yield f"Measured on {'; '.join(sorted(machines))}."
    if any(record.profile and record.profile.latency is None for record in records):
        yield (
            "Other processes used the machine at the same time: seconds are upper bounds, and"
            " latencies are left out. Quality does not depend on it."
        )


def text(folder: Path = ROOT / "results" / "reference" / "train") -> str:
    """Return the page of the records in `folder`."""
    records = [one for one in ResultStore(folder).records() if one.status == "ok"]
    found = trainings(records)
    listed = table(HEADS, map(row, found), figures=HEADS[4:])
    summary = Paragraph(" ".join(total(records, found)))
    page = Page(title="Trainings", blocks=(Paragraph(INTRODUCTION), summary, listed))
    return render(page, "markdown")


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
