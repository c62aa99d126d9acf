"""Page of one record."""

from __future__ import annotations

import json

from rankstone.leaderboards.document import Block, Cell, Heading, Items, Page, Table, table
from rankstone.leaderboards.forecasts.outcome import OUTCOME, outcome_rows
from rankstone.leaderboards.frame import measure_order
from rankstone.leaderboards.numbers import UNKNOWN, interval
from rankstone.leaderboards.records.facts import (
    CURVE,
    curve_rows,
    environment_rows,
    method_rows,
    provenance_rows,
    section,
    task_rows,
    training_rows,
    truncation_rows,
)
from rankstone.leaderboards.records.profile import profile_blocks
from rankstone.results.record import RunRecord
from rankstone.results.serialise import to_json


def page(record: RunRecord) -> Page:
    """Return all non-empty sections of `record`; unknown values are shown as `–`."""
    blocks: list[Block] = []
    if record.error is not None:
        blocks += section("error", [(record.error.kind, record.error.message)])
    if record.measures:
        blocks += [Heading("measures"), _measures(record)]
    blocks += section("task", task_rows(record))
    blocks += section("method", method_rows(record))
    blocks += section("evaluation rules", record.policy)
    for training in record.training:
        blocks += section(f"training of {training.part}", training_rows(training))
        blocks += [table(CURVE, curve_rows(training), figures=CURVE[1:])]
    blocks += profile_blocks(record)
    if rows := outcome_rows(record):
        blocks += [Heading("forecast"), table(OUTCOME, rows, figures=OUTCOME[1:])]
    if record.truncation:
        blocks += [Heading("truncation"), _truncation(record)]
    blocks += section("environment", environment_rows(record))
    blocks += section("provenance", provenance_rows(record))
    if record.warnings:
        blocks += [Heading("warnings"), Items(tuple(f"! {w}" for w in record.warnings))]
    title = f"{record.method.name} on {record.task.name}: {record.status}"
    return Page(title=title, blocks=tuple(blocks), body=json.loads(to_json(record)))


def _measures(record: RunRecord) -> Table:
    heads = ("measure", "mean", "95% interval", "ties: worst", "ties: best")
    queries, counts = record.queries, []
    if queries is not None:
        counts.append(
            f"mean over {queries.n:,} queries; {queries.n_missing:,} without results,"
            f" {queries.n_tied:,} with tied scores"
        )
    rows = (_measure(record, name) for name in measure_order([record]))
    return table(heads, rows, figures=heads[1:], notes=counts)


def _measure(record: RunRecord, name: str) -> tuple[str | Cell, ...]:
    measure = record.measures[name]
    return (
        Cell(text=name, mark="strong" if name == record.task.headline else ""),
        f"{measure.mean:.4f}",
        interval(measure.low, measure.high),
        *(UNKNOWN if end is None else f"{end:.4f}" for end in (measure.worst, measure.best)),
    )


def _truncation(record: RunRecord) -> Table:
    heads = ("role", "truncated texts", "truncated tokens")
    return table(heads, truncation_rows(record), figures=heads[1:])
