"""Costs of a record: latency, load, phases and memory."""

from __future__ import annotations

from collections.abc import Iterator

from rankstone.leaderboards.costs import VARIED, unsteady_parts
from rankstone.leaderboards.document import Block, Heading, Table, table
from rankstone.leaderboards.loads.filtering import filter_rows
from rankstone.leaderboards.loads.page import load_tables
from rankstone.leaderboards.numbers import (
    REUSED,
    UNKNOWN,
    UNSTEADY,
    bytes_text,
    count,
    flagged,
    significant,
)
from rankstone.leaderboards.records.facts import Row, section
from rankstone.results.record import LEAST, PARTS, RANKS, Latency, Phase, Profile, RunRecord

GIGA = 1e9
POINTS = (*RANKS, "max_ms", "mean_ms")


def profile_blocks(record: RunRecord) -> Iterator[Block]:
    profile = record.profile
    if profile is None:
        return
    if profile.latency is not None:
        yield from (Heading("latency"), _latency(record, profile.latency))
    if profile.load is not None:
        yield Heading("load")
        yield from load_tables(record)
    if profile.phases:
        yield from (Heading("phases"), _phases(profile))
    cached = any(phase.from_cache for phase in profile.phases.values())
    peak = bytes_text(profile.peak_rss_bytes) + (REUSED if cached else "")
    rows: list[Row] = [("peak RSS, largest of all phases", peak)]
    if index := profile.index:
        rows += [
            ("index in memory", bytes_text(index.memory_bytes)),
            ("index on disk", bytes_text(index.disk_bytes)),
            ("bytes per document", significant(index.bytes_per_document)),
        ]
        if index.recall_10 is not None:
            rows.append(("first 10 of exact search that it finds", f"{index.recall_10:.1%}"))
    yield from section("memory", rows)
    if profile.filter is not None:
        yield from section("filter", filter_rows(profile.filter))


def _latency(record: RunRecord, latency: Latency) -> Table:
    heads, *rows = latency_rows(record, latency)
    notes = [*latency_notes(latency), *([VARIED.note] if unsteady_parts(record) else [])]
    return table(heads, rows, figures=heads[1:], notes=notes)


def latency_rows(record: RunRecord, latency: Latency) -> list[list[str]]:
    """Return the percentiles in milliseconds: a row of heads, then for each part a row of figures
    and, if known, a row of their intervals."""
    varied = unsteady_parts(record)
    rows = [["ms", *(name.removesuffix("_ms") for name in POINTS)]]
    for name in PARTS:
        part, mark = latency[name], UNSTEADY if name in varied else ""
        rows.append([name, *(flagged(part[point], mark) for point in POINTS)])
        if part.intervals:
            ends = (part.intervals.get(point) for point in POINTS)
            rows.append(["95%", *("–".join(map(significant, e or ())) for e in ends)])
    return rows


def latency_notes(latency: Latency) -> Iterator[str]:
    """Yield notes on how the latencies were measured, and on missing percentiles."""
    of = f" latencies of {count(latency.queries, 'query', 'queries')}," if latency.queries else ""
    yield (
        f"{latency.n:,}{of or ' queries'} one at a time after"
        f" {count(latency.warmup, 'warm-up query', 'warm-up queries')},"
        f" {count(latency.threads, 'thread')}, k = {latency.k:,}"
    )
    for name in PARTS:
        known, r = latency[name].effective_n, latency[name].autocorrelation
        if known is not None and r is not None and known < latency.n:
            yield (
                f"{name}: successive latencies are correlated (lag-1 autocorrelation {r:.2f});"
                f" {latency.n:,} count as {known:,} independent latencies"
            )
    for name, least in LEAST.items():
        without = [part for part in PARTS if latency[part][name] is None]
        if without:
            yield (
                f"no {name.removesuffix('_ms')} of {', '.join(without)}: its 95% interval needs"
                f" {least:,} independent latencies"
            )


def _phases(profile: Profile) -> Table:
    """Return the table of phases, without empty columns."""
    phases = profile.phases.values()
    columns = {
        "phase": [name.replace("_", " ") for name in profile.phases],
        "wall s": [flagged(p.wall_s, phase_mark(p)) for p in phases],
        "CPU s": [flagged(p.cpu_s, phase_mark(p)) for p in phases],
        "items": [f"{phase.items:,}" for phase in phases],
        "peak RSS": [bytes_text(p.peak_rss_bytes, phase_mark(p)) for p in phases],
        "peak GPU": [bytes_text(p.peak_gpu_bytes, phase_mark(p)) for p in phases],
        "GPU use": [
            UNKNOWN if p.gpu_utilisation is None else f"{p.gpu_utilisation:.0%}" for p in phases
        ],
        "tokens": [UNKNOWN if p.tokens is None else f"{p.tokens:,}" for p in phases],
        "GFLOP/s": [_rate(phase) for phase in phases],
        "from cache": [f"{phase.from_cache:.0%}" for phase in phases],
    }
    shown = {head: texts for head, texts in columns.items() if {*texts} != {UNKNOWN}}
    rows = zip(*shown.values(), strict=True)
    notes = [time_note(profile), *_utilisation(profile)]
    return table(list(shown), rows, figures=[*shown][1:], notes=notes)


def phase_mark(phase: Phase) -> str:
    """Return the mark of a phase whose cost is that of the run that filled the cache, if it is."""
    return REUSED if phase.from_cache else ""


def time_note(profile: Profile) -> str:
    """Return a note on the seconds of this run, without phases read from a cache."""
    note = f"{significant(profile.own_seconds)} s in this run; phases do not overlap"
    if not any(phase.from_cache for phase in profile.phases.values()):
        return note
    return f"{note}. {REUSED} read from a cache: cost of the run that filled it, not added"


def _utilisation(profile: Profile) -> Iterator[str]:
    share, peak = profile.flop_utilisation, profile.peak_flops_per_s
    if share is not None and peak is not None:
        yield (
            f"documents are encoded at {share:.1%} of the machine's peak of"
            f" {significant(peak / GIGA)} GFLOP/s for matrix products"
        )


def _rate(phase: Phase) -> str:
    if phase.flops is None or not phase.wall_s:
        return UNKNOWN
    return significant(phase.flops / phase.wall_s / GIGA)
