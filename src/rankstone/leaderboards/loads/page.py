"""Page of records under load, with a row for each trial."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from rankstone.leaderboards.document import Page, Paragraph, Table, table
from rankstone.leaderboards.labels import with_grids
from rankstone.leaderboards.loads.updates import updates_tables
from rankstone.leaderboards.numbers import UNKNOWN, quality, significant
from rankstone.results.record import RANKS, ColdStart, Load, LoadTrial, Percentiles, RunRecord

HEADS = (
    "offered", "requests", "answered\nper s", "p50\nms", "p95\nms", "p99\nms", "service\np50 ms",
    "most\nwaiting", "lost", "same\nanswers", "measure",
)  # fmt: skip
PRIORITIES = {"most\nwaiting": 4, "service\np50 ms": 3, "p95\nms": 2, "requests": 1}
PARTS = ("latency", "service")
FIELDS = (
    *(name for name in LoadTrial.model_fields if name not in PARTS),
    *(f"{part}_{name}" for part in PARTS for name in RANKS),
)

NOTE = (
    "Latency counts from the scheduled arrival; service time, shown where there is room, counts"
    " from the start of the service. A percentile without a finite 95% interval is not shown: more"
    " requests are needed (--duration). Lost requests were dropped, or not answered within the time"
    " limit; their latency counts as the time limit. Same answers: share of the answers with the"
    " same documents in the same order as the answers to a single client."
)


def page(records: Sequence[RunRecord]) -> Page:
    """Return a row for each trial of each record, and the highest sustained rates."""
    records = with_grids(records)
    return Page(
        title="load",
        blocks=(
            *itertools.chain(*map(load_tables, records)),
            Paragraph(text=NOTE),
        ),
        body=[record.model_dump(mode="json") for record in records],
        fields=("method", "task", *FIELDS),
        rows=tuple(
            {"method": record.method.name, "task": record.task.name, **_flat(trial)}
            for record in records
            for trial in _trials(record)
        ),
    )


def load_tables(record: RunRecord) -> tuple[Table, ...]:
    """Return the tables of a record's trials and of its updates."""
    return load_table(record), *updates_tables(record)


def load_table(record: RunRecord) -> Table:
    """Return the table of a record's trials, with notes."""
    rows = [tuple(_figures(trial)) for trial in _trials(record)]
    title = f"{record.label or record.method.name} on {record.task.name}"
    notes = list(_notes(record))
    return table(HEADS, rows, figures=HEADS[1:], title=title, priorities=PRIORITIES, notes=notes)


def offered(trial: LoadTrial) -> str:
    """Return the offered load, such as `50 per s` or `4 clients`."""
    if trial.rate is None:
        return f"{trial.clients} client{'' if trial.clients == 1 else 's'}"
    return f"{significant(trial.rate)} per s"


def _figures(trial: LoadTrial) -> Iterator[str]:
    yield offered(trial)
    yield f"{trial.n:,}"
    yield significant(trial.throughput)
    yield from (significant(trial.latency[name]) for name in ("p50_ms", "p95_ms", "p99_ms"))
    yield significant(None if trial.service is None else trial.service.p50_ms)
    yield UNKNOWN if trial.queue_max is None else f"{trial.queue_max:,}"
    yield f"{trial.dropped + trial.timed_out:,}"
    yield UNKNOWN if trial.same is None else f"{trial.same:.1%}"
    yield quality(trial.headline)


def _notes(record: RunRecord) -> Iterator[str]:
    load = record.load
    if load is None:
        yield record.failure()
        return
    yield from filter(None, map(_changed, load.trials))
    if load.highest is not None:
        yield _highest(load)
    if load.cold is not None:
        yield _cold(load.cold)


def _cold(cold: ColdStart) -> str:
    """Return the note on the cold start."""
    kept = "" if cold.same in (None, 1.0) else f"; {cold.same:.1%} of its answers are the same"
    return (
        f"cold start: first answer {significant(cold.first_answer_s)} s after the start of the"
        f" process, which is ready after {significant(cold.ready_s)} s; the latency of the first"
        f" {cold.n} queries is {_middle(cold.first)}, and {_middle(cold.steady)} when they are"
        f" asked again{kept}"
    )


def _middle(latency: Percentiles) -> str:
    """Return the median, or the mean if there are too few latencies, and the maximum."""
    name = "mean" if latency.p50_ms is None else "p50"
    middle, largest = significant(latency[f"{name}_ms"]), significant(latency.max_ms)
    return f"{middle} ms ({name}; maximum {largest})"


def _trials(record: RunRecord) -> list[LoadTrial]:
    return record.load.trials if record.load else []


def _changed(trial: LoadTrial) -> str:
    """Return a note on a trial whose answers differ from a single client's; empty if none does."""
    if trial.same in (None, 1.0):
        return ""
    return (
        f"{offered(trial)}: answers differ from a single client's: overlap of the first 10"
        f" {quality(trial.overlap)}, measure {quality(trial.headline)}"
        f" (single client {quality(trial.headline_single)})"
    )


def _highest(load: Load) -> str:
    found, bound = load.highest, f"p99 within {significant(load.plan.p99_ms)} ms"
    if found is None or found.rate is None:
        return f"no rate that was tried has {bound}"
    every = "no rate" if found.low is None else f"{significant(found.low)}"
    none = "" if found.high is None else f", none from {significant(found.high)}"
    return f"{bound} up to {significant(found.rate)} per s (every trial up to {every}{none})"


def _flat(trial: LoadTrial) -> dict[str, object]:
    parts = {"latency": trial.latency, "service": trial.service}
    percentiles = {
        f"{part}_{name}": None if found is None else found[name]
        for part, found in parts.items()
        for name in RANKS
    }
    return {**trial.model_dump(mode="json", exclude=set(parts)), **percentiles}
