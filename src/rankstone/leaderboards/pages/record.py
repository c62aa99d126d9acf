"""Pages of one record, and of its run under the rules of another tool."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rankstone.evaluation.conventions.comparison import Comparison
from rankstone.evaluation.conventions.rules import Tool
from rankstone.evaluation.conventions.tools import TOOLS
from rankstone.leaderboards.costs import VARIED, unsteady_parts
from rankstone.leaderboards.document import Block, Cell, Heading, Items, Page, Table, table
from rankstone.leaderboards.forecasts.outcome import OUTCOME, outcome_rows
from rankstone.leaderboards.frame import measure_order
from rankstone.leaderboards.loads.filtering import filter_rows
from rankstone.leaderboards.loads.page import load_tables
from rankstone.leaderboards.numbers import (
    REUSED,
    UNKNOWN,
    UNSTEADY,
    count,
    flagged,
    interval,
    memory_unit,
    significant,
)
from rankstone.leaderboards.trained import trained_note, trained_text
from rankstone.results.record import (
    LEAST,
    PARTS,
    RANKS,
    Environment,
    Latency,
    Phase,
    Profile,
    RunRecord,
    Training,
)
from rankstone.results.serialise import to_json

GIGA = 1e9
POINTS = (*RANKS, "max_ms", "mean_ms")
CURVE = ("step", "training loss", "held-out loss")
CURVE_POINTS = 12
SHORT = 12
"""Digits of a digest that are shown."""
Row = tuple[str, Any]


def page(record: RunRecord) -> Page:
    """Return every section of `record` that is not empty; `–` marks what is unknown."""
    blocks: list[Block] = []
    if record.error is not None:
        blocks += _section("error", [(record.error.kind, record.error.message)])
    if record.measures:
        blocks += [Heading("measures"), _measures(record)]
    blocks += _section("task", task_rows(record))
    blocks += _section("method", method_rows(record))
    blocks += _section("evaluation rules", record.policy)
    for training in record.training:
        blocks += _section(f"training of {training.part}", training_rows(training))
        blocks += [table(CURVE, curve_rows(training), figures=CURVE[1:])]
    blocks += _profile(record)
    if rows := outcome_rows(record):
        blocks += [Heading("forecast"), table(OUTCOME, rows, figures=OUTCOME[1:])]
    if record.truncation:
        blocks += [Heading("truncation"), _truncation(record)]
    blocks += _section("environment", environment_rows(record))
    blocks += _section("provenance", provenance_rows(record))
    if record.warnings:
        blocks += [Heading("warnings"), Items(tuple(f"! {w}" for w in record.warnings))]
    title = f"{record.method.name} on {record.task.name}: {record.status}"
    return Page(title=title, blocks=tuple(blocks), body=json.loads(to_json(record)))


def comparison_page(record: RunRecord, tool: str, rows: Sequence[Comparison]) -> Page:
    """Return both numbers of each measure, with the rules from which their difference follows."""
    theirs = TOOLS[tool]
    notes = list(_notes(record, theirs))
    shown: Block = Items((f"{tool} computes none of the record's measures",))
    if rows:
        heads = ("measure", "rankstone", tool, f"name in {tool}", "difference due to")
        cells = (_compared(row, theirs) for row in rows)
        shown = table(heads, cells, figures=("rankstone", tool))
    return Page(
        title=f"{record.method.name} on {record.task.name} as {tool}",
        blocks=(shown, Items((f"rules of {theirs.source}", *notes))),
        body={
            "method": record.method.name,
            "task": record.task.name,
            "tool": tool,
            "source": theirs.source,
            "measures": [asdict(row) for row in rows],
            "notes": notes,
        },
    )


def _compared(row: Comparison, theirs: Tool) -> tuple[str, ...]:
    digits = 5 if theirs.digits is None else theirs.digits
    moved = "; ".join(f"{amount:+.5f} {rule}" for rule, amount in row.moved) or "nothing"
    return row.measure, f"{row.ours:.5f}", f"{row.shown:.{digits}f}", row.name, moved


def _notes(record: RunRecord, tool: Tool) -> Iterator[str]:
    """Yield the limits of the numbers and of the stored run."""
    yield (
        f"the stored run holds at most {record.policy.depth} results per query, in the order of"
        " the record's policy, with float32 scores"
    )
    if record.policy.self_hits == "drop":
        yield "self hits were removed before the run was stored"
    if tool.digits is not None:
        yield f"{tool.name} reports {tool.digits} decimals"
    if tool.note:
        yield tool.note


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


def task_rows(record: RunRecord) -> Iterator[Row]:
    task = record.task
    yield "dataset", f"{task.dataset}, split {task.split}"
    yield "source", task.source
    sizes = {
        "documents": task.n_documents, "queries": task.n_queries, "judgements": task.n_judgements
    }  # fmt: skip
    yield "size", ", ".join(f"{n:,} {name}" for name, n in sizes.items() if n is not None) or None
    yield "judged documents missing from the corpus", task.n_unknown_documents
    yield "text", task.text
    yield "headline", task.headline
    for part, digest in task.sha256.items():
        yield f"sha256 of {part}", digest[:SHORT]


def method_rows(record: RunRecord) -> Iterator[Row]:
    method = record.method
    yield "adapter", method.adapter
    yield "trained on", trained_text(record)
    if record.is_trained:
        yield "zero-shot", f"no: {trained_note(record)}"
    yield from _flat({**method.parameters, **method.description})


def training_rows(training: Training) -> Iterator[Row]:
    """Yield the facts of a training by a recipe, without its curves."""
    best = "" if training.best_step is None else f", weights of step {training.best_step:,} kept"
    yield "steps", f"{training.steps:,}{best}"
    held_out = f", {training.held_out_queries:,} held out" if training.held_out_queries else ""
    yield (
        "data",
        (
            f"{', '.join(training.data)}: {count(training.queries, 'query', 'queries')}{held_out},"
            f" {count(training.pairs, 'pair')}"
        ),
    )
    yield "loss", training.loss_name
    yield "negatives", training.negatives
    yield "training queries left out", training.dropped_queries or None
    yield "documents relevant in training and test", f"{training.seen_documents:,}"
    reused = f"{REUSED} trained by an earlier run" if training.reused else ""
    yield "wall s", f"{significant(training.wall_s)}{reused}"
    yield "CPU s", significant(training.cpu_s)
    yield "device", f"{training.device}, {training.precision}, seed {training.seed}"
    yield "resumed", "yes" if training.resumed else None
    yield "checkpoint", training.checkpoint[:SHORT]


def curve_rows(training: Training) -> Iterator[tuple[str, str, str]]:
    """Yield about a dozen points of the loss, and all on held-out queries."""
    loss, held_out = dict(training.loss), dict(training.held_out)
    thin = [*loss][:: max(1, len(loss) // CURVE_POINTS)]
    for step in sorted({*thin, *[*loss][-1:], *held_out}):
        yield f"{step:,}", _loss(loss.get(step)), _loss(held_out.get(step))


def _loss(value: float | None) -> str:
    return UNKNOWN if value is None else f"{value:.4f}"


def _flat(described: Mapping[str, Any], above: str = "") -> Iterator[Row]:
    """Nested descriptions line by line, `member 2: model`; digests of files by their start."""
    for name, value in described.items():
        if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
            for number, part in enumerate(value, 1):
                yield from _flat(part, f"{name.removesuffix('s')} {number}: ")
        elif isinstance(value, dict):
            width = SHORT if name == "files" else None
            inner = (f"{key} {value_text(part)[:width] or 'empty'}" for key, part in value.items())
            yield f"{above}{name}", ", ".join(inner)
        else:
            yield f"{above}{name}", value


def _profile(record: RunRecord) -> Iterator[Block]:
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
    yield from _section("memory", rows)
    if profile.filter is not None:
        yield from _section("filter", filter_rows(profile.filter))


def _latency(record: RunRecord, latency: Latency) -> Table:
    heads, *rows = latency_rows(record, latency)
    notes = [*latency_notes(latency), *([VARIED.note] if unsteady_parts(record) else [])]
    return table(heads, rows, figures=heads[1:], notes=notes)


def latency_rows(record: RunRecord, latency: Latency) -> list[list[str]]:
    """Return the percentiles in milliseconds: a row of heads, then for each part one of figures,
    and one of their intervals where these are known."""
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
    """Yield how the latencies were measured, and which percentiles their number does not permit."""
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
    """Return the table of phases, without columns that no phase has."""
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


def gpu_text(here: Environment) -> str:
    """Return the GPU, and the device that methods were given where there was a choice."""
    chosen = here.device if here.gpu or here.device != "cpu" else None
    return ", ".join(filter(None, (here.gpu, chosen and f"device {chosen}")))


def phase_mark(phase: Phase) -> str:
    """Return the mark of a phase whose cost is that of the run that filled the cache."""
    return REUSED if phase.from_cache else ""


def time_note(profile: Profile) -> str:
    """Return the seconds of this run, which exclude those of phases read from a cache."""
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


def _truncation(record: RunRecord) -> Table:
    heads = ("role", "truncated texts", "truncated tokens")
    return table(heads, truncation_rows(record), figures=heads[1:])


def truncation_rows(record: RunRecord) -> list[list[str]]:
    """Return for each role the shares of its texts and tokens that were truncated."""
    return [
        [role, share_text(cut.texts_cut, cut.texts), share_text(cut.tokens_cut, cut.tokens)]
        for role, cut in record.truncation.items()
    ]


def environment_rows(record: RunRecord) -> Iterator[Row]:
    for key, value in record.environment:
        if key == "ram_bytes":
            yield "RAM", bytes_text(value)
        elif key == "packages":
            yield key, ", ".join(f"{name} {version}" for name, version in value.items())
        elif key == "command":
            yield key, " ".join(value)
        else:
            yield key.replace("_", " "), value


def provenance_rows(record: RunRecord) -> Iterator[Row]:
    yield from record.provenance
    for kind in ("run", "per_query", "latency", "load"):
        yield f"file: {kind.replace('_', ' ')}", record.files[kind]
    yield "key", record.key


def share_text(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / whole:.1%})" if whole else UNKNOWN


def bytes_text(value: float | None, mark: str = "") -> str:
    if value is None:
        return UNKNOWN
    unit, size = memory_unit([value])
    return f"{significant(value / size)} {unit}{mark}"


def _section(title: str, rows: Iterable[Row]) -> tuple[Block, ...]:
    """Return names and values in two columns, without those that are empty or unknown."""
    return Heading(title), table(("name", "value"), facts(rows), headless=True)


def facts(rows: Iterable[Row]) -> list[tuple[str, str]]:
    """Return names and texts of the values that are neither empty nor unknown."""
    return [
        (name.replace("_", " "), value_text(value))
        for name, value in rows
        if value not in (None, "", [], {})
    ]


def value_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)
