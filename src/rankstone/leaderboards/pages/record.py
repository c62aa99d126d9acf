"""One record, fit to read; and its run under the rules of another tool, side by side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rankstone.evaluation.conventions import TOOLS, Comparison, Tool
from rankstone.leaderboards.frame import measure_order
from rankstone.leaderboards.numbers import UNKNOWN, interval, memory_unit, significant
from rankstone.results.record import Latency, Percentiles, Phase, Profile, RunRecord
from rankstone.results.serialise import to_json

_MARGIN = 1
GIGA = 1e9
_SHORT = 12
"""Digits of a digest that are shown."""
Row = tuple[str, Any]


def show_record(record: RunRecord) -> RenderableType:
    """Every section of `record` that holds something; `–` is what nobody measured."""
    heading = Text.assemble(
        (record.method.name, "bold"), " on ", (record.task.name, "bold cyan"), f"  {record.status}"
    )
    parts: list[RenderableType] = [Text(), _indented(heading)]
    if record.error is not None:
        parts.append(_section("error", [(record.error.kind, record.error.message)]))
    if record.measures:
        parts.append(_titled("measures", _measures(record)))
    parts += [
        _section("task", task_rows(record)),
        _section("method", method_rows(record)),
        _section("policy", [(key.replace("_", " "), value) for key, value in record.policy]),
        *_profile(record),
    ]
    if record.truncation:
        parts.append(_titled("truncation", _truncation(record)))
    parts += [
        _section("environment", environment_rows(record)),
        _section("provenance", [*record.provenance, *_files(record), ("key", record.key)]),
    ]
    if record.warnings:
        parts.append(_titled("warnings", Group(*(Text(f"! {w}") for w in record.warnings))))
    return Group(*parts)


def record_json(record: RunRecord) -> str:
    """Return the record as its file holds it."""
    return to_json(record)


def show_comparison(record: RunRecord, tool: str, rows: Sequence[Comparison]) -> RenderableType:
    """`rows` beside each other, each with the rules that moved its number."""
    theirs = TOOLS[tool]
    heading = Text.assemble(
        (record.method.name, "bold"), " on ", (record.task.name, "bold cyan"), f"  as {tool}"
    )
    table = _table("measure", "rankstone", tool, "", "moved by", left=(0, 3, 4))
    for row in rows:
        text = [f"{amount:+.5f}  {rule}" for rule, amount in row.moved]
        digits = 5 if theirs.digits is None else theirs.digits
        values = (f"{row.ours:.5f}", f"{row.shown:.{digits}f}")
        table.add_row(row.measure, *values, row.name, Text("\n".join(text) or "nothing"))
    notes = [f"rules of {theirs.source}", *_notes(record, theirs)]
    body = table if rows else Text(f"{tool} has none of the record's measures.")
    return Group(Text(), _indented(heading), Padding(body, (0, 0, 0, _MARGIN)), *map(_note, notes))


def comparison_json(record: RunRecord, tool: str, rows: Sequence[Comparison]) -> str:
    """The same as JSON, at full precision."""
    body = {
        "method": record.method.name,
        "task": record.task.name,
        "tool": tool,
        "source": TOOLS[tool].source,
        "measures": [asdict(row) for row in rows],
        "notes": list(_notes(record, TOOLS[tool])),
    }
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def _notes(record: RunRecord, tool: Tool) -> Iterator[str]:
    """What the numbers, and the stored run, do not tell by themselves."""
    yield (
        f"the stored run holds at most {record.policy.depth} results per query, in the order of"
        " the record's policy, with float32 scores"
    )
    if record.policy.self_hits == "drop":
        yield "self hits were dropped before the run was stored"
    if tool.digits is not None:
        yield f"{tool.name} gives {tool.digits} decimals"
    if tool.note:
        yield tool.note


def _measures(record: RunRecord) -> RenderableType:
    table = _table("", "mean", "95% interval", "ties: worst", "best", left=(0,))
    for name in measure_order([record]):
        measure = record.measures[name]
        table.add_row(
            Text(name, style="bold" if name == record.task.headline else ""),
            f"{measure.mean:.4f}",
            interval(measure.low, measure.high),
            *(UNKNOWN if end is None else f"{end:.4f}" for end in (measure.worst, measure.best)),
        )
    if record.queries is None:
        return table
    n, missing, tied = record.queries.n, record.queries.n_missing, record.queries.n_tied
    counts = f"mean over {n:,} queries; {missing:,} without results, {tied:,} with tied scores"
    return Group(table, Text(counts, style="dim"))


def task_rows(record: RunRecord) -> Iterator[Row]:
    task = record.task
    yield "dataset", f"{task.dataset}, split {task.split}"
    yield "source", task.source
    sizes = {
        "documents": task.n_documents, "queries": task.n_queries, "judgements": task.n_judgements
    }  # fmt: skip
    yield "size", ", ".join(f"{n:,} {what}" for what, n in sizes.items() if n is not None) or None
    yield "judged, not in corpus", task.n_unknown_documents
    yield "text", task.text
    yield "headline", task.headline
    for part, digest in task.sha256.items():
        yield f"sha256 of {part}", digest[:_SHORT]


def method_rows(record: RunRecord) -> Iterator[Row]:
    method = record.method
    yield "adapter", method.adapter
    yield from _flat({**method.parameters, **method.description})


def _flat(described: Mapping[str, Any], above: str = "") -> Iterator[Row]:
    """Nested descriptions line by line, `member 2: model`; digests of files by their start."""
    for name, value in described.items():
        if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
            for number, part in enumerate(value, 1):
                yield from _flat(part, f"{name.removesuffix('s')} {number}: ")
        elif isinstance(value, dict):
            width = _SHORT if name == "files" else None
            inner = (f"{key} {value_text(part)[:width] or 'empty'}" for key, part in value.items())
            yield f"{above}{name}", ", ".join(inner)
        else:
            yield f"{above}{name}", value


def _profile(record: RunRecord) -> Iterator[RenderableType]:
    profile = record.profile
    if profile is None:
        return
    if profile.latency is not None:
        yield _titled("latency", _latency(profile.latency))
    if profile.phases:
        yield _titled("phases", _phases(profile))
    rows: list[Row] = [("peak RSS of the cell", bytes_text(profile.peak_rss_bytes))]
    if index := profile.index:
        rows += [
            ("index in memory", bytes_text(index.memory_bytes)),
            ("index on disk", bytes_text(index.disk_bytes)),
            ("bytes per document", significant(index.bytes_per_document)),
        ]
    yield _section("memory", rows)


def _latency(latency: Latency) -> RenderableType:
    names = list(Percentiles.model_fields)
    heads = [name.removesuffix("_ms") for name in names]
    table = _table("ms", *heads, left=(0,))
    for what in ("encode", "search", "total"):
        table.add_row(what, *(significant(latency[what][name]) for name in names))
    text = (
        f"{latency.n:,} queries one at a time after {latency.warmup:,} to warm up,"
        f" {latency.threads} threads, k = {latency.k:,}"
    )
    return Group(table, Text(text, style="dim"))


def _phases(profile: Profile) -> RenderableType:
    phases = profile.phases
    gpu = any(phase.peak_gpu_bytes is not None for phase in phases.values())
    counted = any(phase.tokens is not None for phase in phases.values())
    heads = ["wall s", "CPU s", "items", "peak RSS", *(["peak GPU"] if gpu else [])]
    heads += [*(["tokens", "GFLOP/s"] if counted else []), "from cache"]
    table = _table("phase", *heads, left=(0,))
    for name, phase in phases.items():
        cells = [significant(phase.wall_s), significant(phase.cpu_s), f"{phase.items:,}"]
        cells += [
            bytes_text(phase.peak_rss_bytes),
            *([bytes_text(phase.peak_gpu_bytes)] if gpu else []),
        ]
        if counted:
            cells += [UNKNOWN if phase.tokens is None else f"{phase.tokens:,}", _rate(phase)]
        table.add_row(name.replace("_", " "), *cells, f"{phase.from_cache:.0%}")
    share, peak = profile.flop_utilisation, profile.peak_flops_per_s
    if share is None or peak is None:
        return table
    text = f"documents are encoded at {share:.1%} of the {significant(peak / GIGA)} GFLOP/s of"
    return Group(table, Text(f"{text} this machine's matrix products", style="dim"))


def _rate(phase: Phase) -> str:
    if phase.flops is None or not phase.wall_s:
        return UNKNOWN
    return significant(phase.flops / phase.wall_s / GIGA)


def _truncation(record: RunRecord) -> RenderableType:
    table = _table("", "texts cut", "tokens cut", left=(0,))
    for role, cut in record.truncation.items():
        table.add_row(
            role, share_text(cut.texts_cut, cut.texts), share_text(cut.tokens_cut, cut.tokens)
        )
    return table


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


def _files(record: RunRecord) -> Iterator[Row]:
    for kind in ("run", "per_query", "latency"):
        if record.files[kind] is not None:
            yield f"file: {kind.replace('_', ' ')}", record.files[kind]


def share_text(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,} ({part / whole:.1%})" if whole else UNKNOWN


def bytes_text(value: float | None) -> str:
    if value is None:
        return UNKNOWN
    unit, size = memory_unit([value])
    return f"{significant(value / size)} {unit}"


def _section(title: str, rows: Iterable[Row]) -> RenderableType:
    """Names and values in two columns; what is empty or unknown is left out."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in rows:
        if value is not None and value != [] and value != {} and value != "":
            grid.add_row(Text(name.replace("_", " ")), Text(value_text(value)))
    return _titled(title, grid)


def value_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def _titled(title: str, body: RenderableType) -> RenderableType:
    return Group(
        Text(), _indented(Text(title, style="bold cyan")), Padding(body, (0, 0, 0, 2 * _MARGIN))
    )


def _table(*heads: str, left: Sequence[int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, border_style="dim", header_style="bold")
    for place, head in enumerate(heads):
        table.add_column(head, justify="left" if place in left else "right", overflow="fold")
    return table


def _indented(text: Text) -> RenderableType:
    return Padding(text, (0, 0, 0, _MARGIN))


def _note(text: str) -> RenderableType:
    return _indented(Text(text, style="dim"))
