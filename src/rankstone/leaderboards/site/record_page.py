"""The page of one record: everything it holds, and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from rankstone.errors import ResultsError
from rankstone.leaderboards import numbers
from rankstone.leaderboards.costs import BY_NAME, mark_of
from rankstone.leaderboards.frame import measure_order
from rankstone.leaderboards.numbers import significant
from rankstone.leaderboards.pages.record import (
    bytes_text,
    environment_rows,
    facts,
    latency_notes,
    latency_rows,
    method_rows,
    phase_mark,
    provenance_rows,
    task_rows,
    time_note,
    truncation_rows,
)
from rankstone.leaderboards.site.environment import render
from rankstone.leaderboards.site.model import Entry, Site
from rankstone.leaderboards.site.vega import Plot, rounded
from rankstone.results.per_query import read_latency
from rankstone.results.record import Latency, Phase, RunRecord

MARKS = {"p50": "p50_ms", "p95": "p95_ms", "p99": "p99_ms"}
"""The percentiles that the distribution of latency shows."""

ORDER = ("load", "encode_documents", "index", "encode_queries", "search", "rerank", "evaluate")
"""The phases of a run in the order of execution."""
Rows = list[tuple[str, str]]


class Timed(NamedTuple):
    """A phase with its share of the time, and of the largest peak of memory."""

    name: str
    time: Phase
    share: float | None
    """None for a phase that was read from a cache: its time is of another run."""
    memory: float
    mark: str


def record_page(site: Site, entry: Entry, board_page: str) -> str:
    record = entry.record
    commands, original = _commands(record)
    return render(
        "record.html",
        entry.page,
        site=site,
        entry=entry,
        spec=site.methods.get(entry.method),
        board_page=board_page,
        chips=[entry.family, record.status, f"machine {entry.machine}"],
        main=list(_tiles(entry)),
        commands=commands,
        original=original,
        measures={name: record.measures[name] for name in measure_order([record])},
        phases=_phases(record),
        time_note=time_note(record.profile) if record.profile else "",
        truncation=truncation_rows(record),
        sections=dict(_sections(site, entry)),
        **_latency(entry),
    )


def _tiles(entry: Entry) -> Iterator[tuple[str, str, str]]:
    record = entry.record
    if measure := record.headline:
        interval = f"95%: {numbers.interval(measure.low, measure.high)}"
        yield record.task.headline, numbers.quality(measure.mean), interval
    profile = record.profile
    if profile is None:
        return
    if latency := profile.latency:
        mark = mark_of(BY_NAME["p95 latency"], record)
        median = f"p50 {significant(latency.total.p50_ms)} ms"
        yield "p95 latency", f"{significant(latency.total.p95_ms)} ms{mark}", median
    if profile.index:
        each = profile.index.bytes_per_document
        remark = f"{significant(each)} bytes per document" if each is not None else ""
        yield "index in memory", bytes_text(profile.index.memory_bytes), remark
    mark = mark_of(BY_NAME["peak RSS"], record)
    yield "peak memory", bytes_text(profile.peak_rss_bytes, mark), "of all phases"


def _commands(record: RunRecord) -> tuple[list[str], str]:
    """The commands that measure this cell again, and the original one where it is another."""
    here, name = record.environment, record.method.name
    lines = [f"git checkout {shlex.quote(here.git_commit)}"] if here.git_commit else []
    original = shlex.join(here.command)
    if not name.startswith("runs/"):
        seed = f" --seed {here.seed}" if here.seed is not None else ""
        on = shlex.quote(record.task.name)
        lines.append(f"rankstone run {shlex.quote(name)} --on {on}{seed} --force")
    elif original:
        lines.append(original)
    return lines, "" if original in lines else original


def _phases(record: RunRecord) -> list[Timed]:
    timed = record.profile.phases if record.profile else {}
    order = sorted(timed, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    whole = record.profile.own_seconds if record.profile else 0.0
    memory = max((phase.peak_rss_bytes or 0 for phase in timed.values()), default=0) or 1
    return [
        Timed(
            name.replace("_", " "),
            phase := timed[name],
            None if phase.from_cache or not whole else phase.wall_s / whole,
            (phase.peak_rss_bytes or 0) / memory,
            phase_mark(phase),
        )
        for name in order
    ]


def _latency(entry: Entry) -> dict[str, Any]:
    latency = entry.record.profile.latency if entry.record.profile else None
    if latency is None:
        return {"latency": None}
    return {
        "latency": latency,
        "percentiles": latency_rows(entry.record, latency),
        "latency_notes": list(latency_notes(latency)),
        "histogram": _histogram(entry, latency),
    }


def _histogram(entry: Entry, latency: Latency) -> Plot | str:
    """The distribution of latency, or the reason why it is not drawn."""
    path = entry.file("latency")
    if path is None:
        return "No histogram: the raw latencies are not stored beside the record."
    try:
        raw = read_latency(path)
    except ResultsError as error:
        return str(error)
    total = np.asarray(raw.encode_ms) + np.asarray(raw.search_ms)
    return Plot(
        kind="latency",
        rows={
            "rows": [{"ms": rounded(float(ms))} for ms in total],
            "marks": [
                {"name": name, "ms": rounded(ms)}
                for name, key in MARKS.items()
                if (ms := latency.total[key]) is not None
            ],
        },
        label=f"Histogram of {len(total):,} latencies; their percentiles are in the table",
    )


def _sections(site: Site, entry: Entry) -> Iterator[tuple[str, Rows]]:
    """The sections of names and values, without those that are empty or unknown."""
    record = entry.record
    yield "Method", facts(_method(site, entry))
    yield "Task", facts(task_rows(record))
    yield "Evaluation rules", facts(record.policy)
    yield "Environment", facts(_environment(record))
    yield "Provenance", facts(provenance_rows(record))


def _method(site: Site, entry: Entry) -> Iterator[tuple[str, Any]]:
    spec = site.methods.get(entry.method)
    yield "licence of the weights", site.licence(entry.method)
    if spec is not None:
        yield "cite", spec.citation
        yield "members", ", ".join(member.name for member in spec.members)
    else:
        yield "definition", "not in this workspace"
    yield from method_rows(entry.record)
    yield "digest", entry.record.method.digest


def _environment(record: RunRecord) -> Iterator[tuple[str, Any]]:
    for name, value in environment_rows(record):
        yield name, shlex.join(record.environment.command) if name == "command" else value
