"""The page of one record: all it holds, and the command that repeats it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from rankstone.errors import ResultsError
from rankstone.leaderboards import numbers as figures
from rankstone.leaderboards.frame import measure_order
from rankstone.leaderboards.numbers import UNKNOWN, significant
from rankstone.leaderboards.pages.record import (
    bytes_text,
    environment_rows,
    method_rows,
    share_text,
    task_rows,
    value_text,
)
from rankstone.leaderboards.site import html
from rankstone.leaderboards.site.html import escape
from rankstone.leaderboards.site.model import Entry, Site, family_of
from rankstone.leaderboards.site.vega import rounded
from rankstone.results.per_query import read_latency
from rankstone.results.record import Latency, Percentiles, Phase, RunRecord

MARKS = {"p50": "p50_ms", "p95": "p95_ms", "p99": "p99_ms"}
"""The percentiles that the distribution of latency shows."""

ORDER = ("load", "encode_documents", "index", "encode_queries", "search", "rerank", "evaluate")
"""Of the phases of a run."""


def record_page(site: Site, entry: Entry, board_page: str) -> str:
    record = entry.record
    spec = site.methods.get(entry.method)
    facts = [family_of(entry.method), record.status, f"machine {entry.machine}"]
    sections = [
        ("Repeat it", _repeat(record)),
        ("Quality", _quality(record)),
        ("Time and memory", _phases(record)),
        ("Latency", _latency(entry)),
        ("Truncation", _truncation(record)),
        ("Warnings", _warnings(record)),
        ("Method", _method(site, entry)),
        ("Task", _facts(task_rows(record))),
        ("Rules", _facts((key.replace("_", " "), value) for key, value in record.policy)),
        ("Environment", _facts(_environment(record))),
        ("Provenance", _facts(_provenance(record))),
    ]
    body = [
        f'<p class="crumbs"><a href="../{board_page}">{escape(record.task.name)}</a></p>',
        f'<h1><span class="dot k{site.colour(entry.method)}"></span>{escape(entry.method)}'
        f' <span class="dim">on {escape(record.task.name)}</span></h1>',
        f'<p class="lead">{escape(spec.description)}</p>' if spec else "",
        f'<p class="chips">{"".join(f"<span>{escape(fact)}</span>" for fact in facts)}</p>',
        _error(record),
        html.tiles(_tiles(entry)) if entry.ok else "",
        *(f"<section><h2>{name}</h2>{part}</section>" for name, part in sections if part),
    ]
    title = f"{entry.method} on {record.task.name}"
    return html.page(title=title, body="\n".join(body), place="../")


def _tiles(entry: Entry) -> Iterator[tuple[str, str, str]]:
    record = entry.record
    if measure := record.measures.get(record.task.headline):
        interval = f"95%: {figures.interval(measure.low, measure.high)}"
        yield record.task.headline, figures.quality(measure.mean), interval
    profile = record.profile
    if profile is None:
        return
    if latency := profile.latency:
        below = f"p50 {significant(latency.total.p50_ms)} ms"
        yield "p95 latency", f"{significant(latency.total.p95_ms)} ms", below
    if profile.index:
        each = profile.index.bytes_per_document
        below = f"{significant(each)} bytes a document" if each is not None else ""
        yield "index in memory", bytes_text(profile.index.memory_bytes), below
    yield "peak memory", bytes_text(profile.peak_rss_bytes), "of the whole cell"


def _error(record: RunRecord) -> str:
    if record.error is None:
        return ""
    trace = record.error.traceback
    more = f"<details><summary>traceback</summary><pre>{escape(trace)}</pre></details>" if trace \
        else ""  # fmt: skip
    return (
        f'<section class="error"><h2>{escape(record.error.kind)}</h2>'
        f"<pre>{escape(record.error.message)}</pre>{more}</section>"
    )


def _repeat(record: RunRecord) -> str:
    """The commands that measure this cell anew, and the one that measured it."""
    here, name = record.environment, record.method.name
    lines = []
    if here.git_commit:
        lines.append(f"git checkout {shlex.quote(here.git_commit)}")
    original = shlex.join(here.command)
    if not name.startswith("runs/"):
        seed = f" --seed {here.seed}" if here.seed is not None else ""
        on = shlex.quote(record.task.name)
        lines.append(f"rankstone run {shlex.quote(name)} --on {on}{seed} --force")
    elif original:
        lines.append(original)
    dirty = (
        '<p class="note">The code had changes that no commit holds.</p>' if here.git_dirty else ""
    )
    command = (
        f'<p class="note">It was measured by <code>{escape(original)}</code></p>'
        if original and original not in lines
        else ""
    )
    return (
        f'<div class="command"><pre><code>{escape(chr(10).join(lines)) or UNKNOWN}</code></pre>'
        f'<button type="button" class="copy">copy</button></div>{command}{dirty}'
    )


def _quality(record: RunRecord) -> str:
    if not record.measures:
        return ""
    rows = []
    for name in measure_order([record]):
        measure = record.measures[name]
        head = f"<b>{escape(name)}</b>" if name == record.task.headline else escape(name)
        ties = [UNKNOWN if v is None else f"{v:.4f}" for v in (measure.worst, measure.best)]
        interval = figures.interval(measure.low, measure.high)
        rows.append([head, f"{measure.mean:.4f}", interval, *ties, f"{measure.n:,}"])
    heads = ["measure", "mean", "95% interval", "ties: worst", "ties: best", "queries"]
    table = html.simple_table(heads, rows, caption="Measures")
    if record.queries is None:
        return table
    n, missing, tied = record.queries.n, record.queries.n_missing, record.queries.n_tied
    said = f"Mean over {n:,} queries; {missing:,} without results, {tied:,} with tied scores."
    return f'{table}<p class="note">{said}</p>'


def _phases(record: RunRecord) -> str:
    """Where the time went as one bar, and memory phase by phase beside it."""
    if record.profile is None or not record.profile.phases:
        return ""
    timed = record.profile.phases
    order = sorted(timed, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    phases = {name: timed[name] for name in order}
    whole = sum(phase.wall_s for phase in phases.values())
    memory = max((phase.peak_rss_bytes or 0 for phase in phases.values()), default=0)
    parts, rows = [], []
    for n, (name, phase) in enumerate(phases.items()):
        share = phase.wall_s / whole if whole else 0.0
        label = escape(name.replace("_", " "))
        parts.append(f'<span class="k{n % 12}" style="flex:{share:.5f}"></span>')
        rows.append([f'<span class="dot k{n % 12}"></span>{label}', *_phase(phase, share, memory)])
    heads = ["phase", "wall s", "share", "CPU s", "items", "peak RSS", "", "tokens", "from cache"]
    table = html.simple_table(heads, rows, caption="Time and memory of each phase")
    said = f"{significant(whole)} s in all; phases are exclusive of each other."
    return (
        f'<div class="bar" role="img" aria-label="Share of time of each phase, as in the table">'
        f'{"".join(parts)}</div>{table}<p class="note">{said}</p>'
    )


def _phase(phase: Phase, share: float, memory: int) -> list[str]:
    rss = phase.peak_rss_bytes
    width = 100 * rss / memory if rss and memory else 0.0
    return [
        significant(phase.wall_s),
        f"{share:.1%}",
        significant(phase.cpu_s),
        f"{phase.items:,}",
        bytes_text(rss),
        f'<span class="gauge"><span style="width:{width:.1f}%"></span></span>',
        UNKNOWN if phase.tokens is None else f"{phase.tokens:,}",
        f"{phase.from_cache:.0%}",
    ]


def _latency(entry: Entry) -> str:
    latency = entry.record.profile.latency if entry.record.profile else None
    if latency is None:
        return ""
    names = list(Percentiles.model_fields)
    rows = [
        [what, *(significant(latency[what][name]) for name in names)]
        for what in ("encode", "search", "total")
    ]
    heads = ["ms", *(name.removesuffix("_ms") for name in names)]
    said = (
        f"{latency.n:,} queries one at a time after {latency.warmup:,} to warm up,"
        f" {latency.threads} threads, k = {latency.k:,}."
    )
    table = html.simple_table(heads, rows, caption="Percentiles of latency")
    return f'{_distribution(entry, latency)}{table}<p class="note">{said}</p>'


def _distribution(entry: Entry, latency: Latency) -> str:
    path = entry.file("latency")
    if path is None:
        return (
            '<p class="note">The raw latencies are not beside the record, so their distribution is'
            " not drawn.</p>"
        )
    try:
        raw = read_latency(path)
    except ResultsError as error:
        return f'<p class="note">{escape(str(error))}</p>'
    total = np.asarray(raw.encode_ms) + np.asarray(raw.search_ms)
    rows = {
        "rows": [{"ms": rounded(float(ms))} for ms in total],
        "marks": [{"name": n, "ms": rounded(latency.total[key])} for n, key in MARKS.items()],
    }
    label = f"Histogram of the latency of {len(total):,} queries; p50, p95 and p99 are in the table"
    return html.plot("latency", rows, label=label)


def _truncation(record: RunRecord) -> str:
    rows = [
        [
            escape(role),
            share_text(cut.texts_cut, cut.texts),
            share_text(cut.tokens_cut, cut.tokens),
        ]
        for role, cut in record.truncation.items()
    ]
    if not rows:
        return '<p class="note">Nothing is known to have been cut at a model’s limit.</p>'
    return html.simple_table(["", "texts cut", "tokens cut"], rows, caption="Truncation")


def _warnings(record: RunRecord) -> str:
    lines = "".join(f"<li>{escape(warning)}</li>" for warning in record.warnings)
    return f"<ul>{lines}</ul>" if lines else ""


def _method(site: Site, entry: Entry) -> str:
    spec = site.methods.get(entry.method)
    known: list[tuple[str, Any]] = [("licence of the weights", site.licence(entry.method))]
    if spec is not None:
        known += [("cite", spec.citation), ("members", ", ".join(m.name for m in spec.members))]
    else:
        known += [("definition", "not in this workspace")]
    return _facts([*known, *method_rows(entry.record), ("digest", entry.record.method.digest)])


def _environment(record: RunRecord) -> Iterator[tuple[str, Any]]:
    for name, value in environment_rows(record):
        if name == "command":
            yield name, shlex.join(record.environment.command)
        else:
            yield name, value


def _provenance(record: RunRecord) -> Iterator[tuple[str, Any]]:
    yield from record.provenance
    for kind in ("run", "per_query", "latency"):
        yield f"file: {kind.replace('_', ' ')}", record.files[kind]
    yield "key", record.key


def _facts(rows: Iterable[tuple[str, Any]]) -> str:
    """Names and values; what is empty or unknown is left out."""
    return html.definitions(
        (name.replace("_", " "), value_text(value))
        for name, value in rows
        if value not in (None, "", [], {})
    )
