"""Summary of one record: status, figures and provenance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from rankstone.leaderboards.costs import COSTS, mark_of
from rankstone.leaderboards.document import Heading, Items, Page, table
from rankstone.leaderboards.frame import measure_order, truncated, truncation
from rankstone.leaderboards.numbers import count, flagged, interval, quality
from rankstone.leaderboards.records.facts import Row, facts, gpu_text
from rankstone.leaderboards.trained import training_text
from rankstone.results.record import RunRecord
from rankstone.results.serialise import to_json


def page(record: RunRecord, path: Path) -> Page:
    """Return the facts of the record stored at `path`, then its measures and costs."""
    name = f"{record.method.name}@{record.task.name}"
    blocks = [table(("fact", "value"), facts(_facts(record, path)), headless=True)]
    if record.measures:
        blocks.append(
            table(("measure", "mean", "95% interval"), _measures(record), figures=("mean",))
        )
    if costs := list(_costs(record)):
        blocks.append(table(("cost", "value"), costs, figures=("value",), notes=flag_notes(record)))
    warnings = (Heading("warnings"), Items(tuple(record.warnings))) if record.warnings else ()
    more = Items((f"all details: rankstone show {name}",))
    return Page(title=name, blocks=(*blocks, *warnings, more), body=json.loads(to_json(record)))


def _facts(record: RunRecord, path: Path) -> Iterator[Row]:
    task, queries, here = record.task, record.queries, record.environment
    yield (
        "status",
        record.status if record.error is None else f"{record.status}: {record.failure()}",
    )
    yield "label", record.label
    if record.headline is not None:
        ends = interval(record.headline.low, record.headline.high)
        yield task.headline, f"{quality(record.headline.mean)} ({ends})"
    sizes = (count(task.n_documents, "document"), count(task.n_queries, "query", "queries"))
    yield "data", ", ".join(filter(None, (f"split {task.split}", *sizes)))
    if queries is not None:
        yield "queries without results", queries.n_missing or None
    yield "truncated", truncated(truncation(record))
    yield "trained on", training_text(record)
    yield "machine", ", ".join(filter(None, (here.machine, here.cpu, gpu_text(here))))
    yield "measured", record.provenance.finished
    yield "file", str(path)


def _measures(record: RunRecord) -> Iterator[tuple[str, str, str]]:
    for name in measure_order([record]):
        found = record.measures[name]
        yield name, quality(found.mean), interval(found.low, found.high)


def _costs(record: RunRecord) -> Iterator[tuple[str, str]]:
    for cost in COSTS:
        unit, [value] = cost.in_unit([cost.of(record)])
        if value is not None:
            yield cost.in_words(unit), flagged(value, mark_of(cost, record))


def flag_notes(record: RunRecord) -> list[str]:
    """Return the explanations of the marks on the record's costs."""
    flags = (cost.flag(record) for cost in COSTS if cost.of(record) is not None)
    return list(dict.fromkeys(flag.note for flag in flags if flag is not None))
