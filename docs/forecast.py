"""Measures forecasts and writes their outcomes: python docs/forecast.py FOLDER [NAME...]

Every cell is forecast and then run; the tables replace those of forecast.md. Records and encodings
go to FOLDER, where those of an earlier call are used. Names are methods, kinds of index or tasks;
without any, all cells are measured. RANKSTONE_DATA names the collections.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rankstone import RunRecord, Session
from rankstone.leaderboards.document import Cell, Heading, Items, Page, Paragraph, Table, table
from rankstone.leaderboards.forecasts.outcome import Compared, compared
from rankstone.leaderboards.forecasts.plan_page import text_of
from rankstone.leaderboards.formats.render import render
from rankstone.leaderboards.numbers import UNKNOWN
from rankstone.specs import MethodSpec

TARGET = Path(__file__).with_name("forecast.md")
TASKS = (
    "stdlib/modules", "stdlib/functions", "classic/noveleval", "classic/cranfield",
    "beir/nfcorpus", "beir/scifact",
)  # fmt: skip
SMALL = ("stdlib/modules", "classic/noveleval", "classic/cranfield")
"""Collections on which transformers are measured."""
METHODS = ("bm25", "wordllama-256", "lucene-bm25-flat", "wordllama-funnel")
ENCODERS = (
    "all-minilm-l6-v2", "minilm-maxp", "minilm-tokens", "minilm-muvera", "minilm-then-tokens",
    "rrf-bm25-minilm", "minilm-hnsw", "minilm-ivf", "minilm-pq48", "minilm-itq", "splade-tiny",
    "splade-tiny-seismic",
)  # fmt: skip
MEMBER = "wordllama-256"
INDEXES: Mapping[str, Mapping[str, Any]] = {
    "hnsw": {"m": 16},
    "product_quantisation": {"subvectors": 32},
    "ivf": {},
    "binary_hash": {"method": "itq"},
}
"""Indexes over `MEMBER`, on all collections."""
GOALS = {"time": 1.5, "peak memory": 1.3, "index": 1.3}
HEADING = "Forecast / outcome"


def cells(session: Session) -> Iterator[tuple[str | MethodSpec, str]]:
    """Yield methods and tasks."""
    indexes = [session.composite(name, MEMBER, **given) for name, given in INDEXES.items()]
    yield from itertools.product([*METHODS, *indexes], TASKS)
    yield from itertools.product(ENCODERS, SMALL)


def measured(session: Session, names: Sequence[str]) -> Iterator[RunRecord]:
    """Yield a record with forecast of every cell."""
    for method, task in cells(session):
        name = method if isinstance(method, str) else method.adapter
        if not names or name in names or task in names:
            session.plan(method, task, force=True)
            yield from session.run(method, task, force=True)


def name_of(record: RunRecord) -> str:
    """Return the name of the method, or of the index over `MEMBER`."""
    if record.method.adapter in INDEXES and record.method.name.startswith("python/"):
        return f"{record.method.adapter} over {MEMBER}"
    return record.method.name


def page(records: Sequence[RunRecord]) -> Page:
    """Return a table of ratios for each cost, and the cells that miss a goal."""
    costs = {cost: _ratios(records, cost) for cost in GOALS}
    known = {cost: [row for row in found.values() if row.ratio] for cost, found in costs.items()}
    lead = "; ".join(
        f"{cost}, {sum(_within(row) for row in found)} of {len(found)} within {GOALS[cost]:g}"
        for cost, found in known.items()
    )
    missed = [
        f"{method} on {task}: {cost} {text_of(cost, row.forecast or 0)} forecast,"
        f" {text_of(cost, row.outcome or 0)} measured"
        for cost, found in costs.items()
        for (method, task), row in found.items()
        if row.ratio and not _within(row)
    ]
    return Page(
        blocks=(
            Heading(HEADING),
            Paragraph(
                "Each value is the forecast divided by the measured cost. Cells within the factor"
                f" of the goal: {lead}."
            ),
            *(_table(cost, found) for cost, found in costs.items()),
            Heading("Cells beyond the goals"),
            Items(tuple(missed) or ("none",)),
            Heading("Measured"),
            Items(tuple(_where(records))),
        ),
    )


def _ratios(records: Sequence[RunRecord], cost: str) -> dict[tuple[str, str], Compared]:
    return {
        (name_of(record), record.task.name): row
        for record in records
        for row in compared(record)
        if row.cost == cost
    }


def _within(row: Compared) -> bool:
    goal, ratio = GOALS[row.cost], row.ratio or 0.0
    return 1 / goal <= ratio <= goal


def _table(cost: str, found: dict[tuple[str, str], Compared]) -> Table:
    methods = dict.fromkeys(method for method, _ in found)
    rows = [[method, *(_cell(found.get((method, task))) for task in TASKS)] for method in methods]
    return table(("method", *TASKS), rows, figures=TASKS, title=cost)


def _cell(row: Compared | None) -> Cell:
    if row is None or row.ratio is None:
        return Cell(text=UNKNOWN)
    return Cell(text=f"{row.ratio:.2f}", mark="" if _within(row) else "strong")


def _where(records: Sequence[RunRecord]) -> Iterator[str]:
    here = records[0].environment
    yield f"Ratios beyond the goal are bold. {here.cpu}, {here.threads} threads."
    commits = sorted({str(record.environment.git_commit)[:7] for record in records})
    for commit in commits:
        own = [r for r in records if str(r.environment.git_commit).startswith(commit)]
        busy = [
            r.profile.latency.others_cores or 0.0 for r in own if r.profile and r.profile.latency
        ]
        names = ", ".join(sorted({name_of(record) for record in own}))
        yield (
            f"Commit {commit}, while other processes kept {min(busy, default=0):.1f} to"
            f" {max(busy, default=0):.1f} cores busy: {names}."
        )


def main(folder: Path, names: Sequence[str]) -> None:
    session = Session(results=folder / "results", cache=folder / "cache")
    for record in measured(session, names):
        sys.stdout.write(f"{name_of(record)} on {record.task.name}: {record.status}\n")
        sys.stdout.flush()
    stored = [
        record for record, _ in session.records() if record.status == "ok" and record.forecast
    ]
    text, _, _ = TARGET.read_text(encoding="utf-8").partition(f"## {HEADING}")
    TARGET.write_text(
        text + render(page(sorted(stored, key=name_of)), "markdown"), encoding="utf-8"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
