"""Table of searches during insertions and deletions of documents."""

from __future__ import annotations

from collections.abc import Iterator

from rankstone.leaderboards.document import Table, table
from rankstone.leaderboards.numbers import UNKNOWN, significant
from rankstone.results.record import RunRecord, SearchesAmongUpdates, Updates

HEADS = (
    "time", "searches", "updates", "p50\nms", "p99\nms", "max\nms", "recall@10\nof live",
    "with deleted\nresults",
)  # fmt: skip


def updates_tables(record: RunRecord) -> Iterator[Table]:
    """Yield the table of a record's searches before, during and after updates, if there are any."""
    load = record.load
    if load is None or load.updates is None:
        return
    found = load.updates
    times = ["before", *(f"from {significant(part.start_s)} s" for part in found.meanwhile)]
    times.append("updated" if found.compaction_s is None else "compacted")
    parts = [found.before, *found.meanwhile, found.after]
    rows = [(time, *_figures(part)) for time, part in zip(times, parts, strict=True)]
    name = record.label or record.method.name
    title = f"{name} on {record.task.name}: {significant(load.plan.updates)} updates per s"
    yield table(HEADS, rows, figures=HEADS[1:], title=title, notes=list(_notes(found)))


def _figures(part: SearchesAmongUpdates) -> Iterator[str]:
    yield f"{part.searches:,}"
    yield f"{part.updates:,}"
    yield from (significant(part.latency[name]) for name in ("p50_ms", "p99_ms", "max_ms"))
    yield UNKNOWN if part.recall_10 is None else f"{part.recall_10:.1%}"
    yield f"{part.stale:,}"


def _notes(found: Updates) -> Iterator[str]:
    means = [None if one is None else one.mean_ms for one in (found.insert, found.delete)]
    insert, delete = map(significant, means)
    yield (
        f"{found.inserts:,} insertions of {insert} ms, {found.deletes:,} deletions of {delete} ms"
        f" on average; {found.lost:,} updates lost"
    )
    if found.compaction_s is None:
        yield "the engine has no compaction"
    else:
        yield f"compaction: {significant(found.compaction_s)} s"
