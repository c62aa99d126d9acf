"""Page of one record: main figures, all details, and commands that reproduce it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import Any, NamedTuple

import numpy as np

from rankstone.errors import ResultsError
from rankstone.leaderboards import numbers
from rankstone.leaderboards.costs import BY_NAME, mark_of
from rankstone.leaderboards.curves.curves import of_load
from rankstone.leaderboards.frame import measure_order
from rankstone.leaderboards.loads.page import NOTE, load_tables
from rankstone.leaderboards.numbers import bytes_text, count, significant
from rankstone.leaderboards.records.facts import (
    CURVE,
    curve_rows,
    environment_rows,
    facts,
    gpu_text,
    method_rows,
    provenance_rows,
    task_rows,
    training_rows,
    truncation_rows,
)
from rankstone.leaderboards.records.profile import latency_notes, latency_rows
from rankstone.leaderboards.records.summary import flag_notes
from rankstone.leaderboards.site.citations import linked
from rankstone.leaderboards.site.environment import render
from rankstone.leaderboards.site.model import Entry, Site
from rankstone.leaderboards.site.queries import Queries
from rankstone.leaderboards.site.vega import Plot, plotted, rounded
from rankstone.leaderboards.trained import UNKNOWN_TRAINING, training_tag, training_text
from rankstone.results.per_query import read_latency
from rankstone.results.record import Environment, Latency, Phase, RunRecord
from rankstone.results.side_files import SCORED

MARKS = {"p50": "p50_ms", "p95": "p95_ms", "p99": "p99_ms"}
"""Percentiles marked in the latency histogram."""

ORDER = (
    "load", "train", "encode_documents", "index", "encode_queries", "search", "rerank", "evaluate",
)  # fmt: skip
"""Phases of a run in the order of execution."""
Rows = list[tuple[str, str]]


class Timed(NamedTuple):
    """Phase with its seconds in this run, or in the run that filled the cache."""

    name: str
    time: Phase
    share: str
    """Percentage of this run's time; empty for phases read from a cache."""
    memory: float
    """Fraction of the largest memory peak."""


class Times(NamedTuple):
    """Phases in the order of execution; the sums are of the displayed figures."""

    phases: list[Timed]
    decimals: int
    sums: dict[bool, str]
    """True for phases read from a cache, else False -> sum of their seconds."""

    @property
    def mixed(self) -> bool:
        """True if a phase was partly read from a cache."""
        return any(0 < phase.time.from_cache < 1 for phase in self.phases)

    def seconds(self, phase: Phase, *, reused: bool) -> str:
        return f"{phase.wall_s:,.{self.decimals}f}" if bool(phase.from_cache) == reused else ""


def record_page(
    site: Site, entry: Entry, board_page: str, asked: Queries | None, trend: str
) -> str:
    record = entry.record
    return render(
        "record.html",
        entry.page,
        site=site,
        entry=entry,
        spec=site.methods.get(entry.method),
        board_page=board_page,
        chips=list(_chips(site, entry)),
        main=list(_tiles(entry)),
        facts_first=facts(_facts(site, entry)),
        citation=linked(_citation(site, entry)),
        queries=asked.link(entry) if asked else "",
        trend=trend,
        commands=_commands(record),
        original=shlex.join(record.environment.command),
        measures={name: record.measures[name] for name in measure_order([record])},
        times=_times(record),
        flags=flag_notes(record),
        truncation=truncation_rows(record),
        trainings=[
            (one.part, facts(training_rows(one)), [CURVE, *curve_rows(one)])
            for one in record.training
        ],
        sections=dict(_sections(site, entry)),
        loads=plotted(of_load([record])),
        load=load_tables(record) if record.load else (),
        load_note=NOTE,
        **_latency(entry),
    )


def _chips(site: Site, entry: Entry) -> Iterator[str]:
    record = entry.record
    yield entry.family
    yield record.status
    if (tag := training_tag(record)) != UNKNOWN_TRAINING:
        yield tag
    if (licence := site.licence(entry.method)) != numbers.UNKNOWN:
        yield licence
    yield f"machine {entry.machine}"


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
    yield "peak memory", bytes_text(profile.peak_rss_bytes, mark), "largest of all phases"


def _facts(site: Site, entry: Entry) -> Iterator[tuple[str, Any]]:
    """Yield the most important facts."""
    record, here = entry.record, entry.record.environment
    yield "label", record.label and f"{record.label}, shown instead of {entry.method} in tables"
    yield "trained on", training_text(record)
    licence = site.licence(entry.method)
    yield "licence of the weights", licence if licence != numbers.UNKNOWN else ""
    sizes = (
        count(record.task.n_documents, "document"),
        count(record.task.n_queries, "query", "queries"),
    )
    yield "data", ", ".join(filter(None, (*sizes, f"split {record.task.split}")))
    threads = count(here.threads, "thread")
    yield "machine", ", ".join(filter(None, (here.cpu, gpu_text(here), threads)))
    yield "measured", record.provenance.finished
    yield "code", _code(here)


def _code(here: Environment) -> str:
    if not here.git_commit:
        return ""
    changes = "uncommitted changes on " if here.git_dirty else ""
    return f"{changes}commit {here.git_commit}"


def _citation(site: Site, entry: Entry) -> str:
    """Return the citation of the method, or those of its members if it has none."""
    spec = site.methods.get(entry.method)
    members = [member.citation for member in spec.members] if spec is not None else []
    return site.citation(entry.method) or "; ".join(dict.fromkeys(filter(None, members)))


def _commands(record: RunRecord) -> list[str]:
    """Return the commands that measure this cell again.

    They check out a commit only if it contains the measured code.
    """
    here, name = record.environment, record.method.name
    known = here.git_commit and not here.git_dirty
    lines = [f"git checkout {shlex.quote(here.git_commit or '')}"] if known else []
    if not name.startswith(SCORED):
        seed = f" --seed {here.seed}" if here.seed is not None else ""
        on = shlex.quote(record.task.name)
        lines.append(f"rankstone run {shlex.quote(name)} --on {on}{seed} --force")
    elif here.command:
        lines.append(shlex.join(here.command))
    return lines


def _times(record: RunRecord) -> Times:
    timed = record.phases
    order = sorted(timed, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    longest = max((phase.wall_s for phase in timed.values()), default=0.0)
    decimals = 1 if longest >= 1000 else 2 if longest >= 100 else 3
    memory = max((phase.peak_rss_bytes or 0 for phase in timed.values()), default=0) or 1
    shares = _percentages([0 if timed[n].from_cache else timed[n].wall_s for n in order])
    phases = [
        Timed(
            name.replace("_", " "),
            timed[name],
            "" if timed[name].from_cache else f"{share:.1f}%",
            (timed[name].peak_rss_bytes or 0) / memory,
        )
        for name, share in zip(order, shares, strict=True)
    ]
    sums = {
        reused: f"{sum(round(wall, decimals) for wall in walls):,.{decimals}f}"
        for reused in (False, True)
        if (walls := [p.wall_s for p in timed.values() if bool(p.from_cache) == reused])
    }
    return Times(phases, decimals, sums)


def _percentages(values: list[float]) -> list[float]:
    """Return percentages, rounded to tenths such that their sum is 100."""
    whole = sum(values)
    ends = [round(1000 * end / whole) if whole else 0 for end in accumulate(values)]
    return [(end - start) / 10 for start, end in pairwise([0, *ends])]


def _latency(entry: Entry) -> dict[str, Any]:
    latency = entry.record.latency
    if latency is None:
        return {"latency": None}
    return {
        "latency": latency,
        "percentiles": latency_rows(entry.record, latency),
        "latency_notes": list(latency_notes(latency)),
        "histogram": _histogram(entry, latency),
    }


def _histogram(entry: Entry, latency: Latency) -> Plot | str:
    """Return the latency histogram, or the reason why there is none."""
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
    """Yield the sections of names and values, without empty or unknown ones."""
    record = entry.record
    yield "Method", facts(_method(site, entry))
    yield "Task", facts(task_rows(record))
    yield "Evaluation rules", facts(record.policy)
    yield "Environment", facts(_environment(record))
    yield "Provenance", facts(provenance_rows(record))


def _method(site: Site, entry: Entry) -> Iterator[tuple[str, Any]]:
    spec = site.methods.get(entry.method)
    if spec is not None:
        yield "members", ", ".join(member.name for member in spec.members)
    else:
        yield "definition", "not in this workspace"
    yield from method_rows(entry.record)
    yield "digest", entry.record.method.digest


def _environment(record: RunRecord) -> Iterator[tuple[str, Any]]:
    for name, value in environment_rows(record):
        yield name, shlex.join(record.environment.command) if name == "command" else value
