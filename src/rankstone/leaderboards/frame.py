"""Records as one tidy table: pure functions that need only numpy and pandas."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from rankstone.leaderboards.costs import BY_COLUMN, CACHED, VARIED, Flag, cached_phases
from rankstone.leaderboards.document import Block, Page
from rankstone.leaderboards.labels import with_grids
from rankstone.leaderboards.numbers import is_known
from rankstone.leaderboards.trained import trained_note
from rankstone.results.per_query import read_per_query
from rankstone.results.record import Latency, RunRecord
from rankstone.results.side_files import needed_file
from rankstone.results.store import Stored
from rankstone.specs import canonical_digest

TEXT_COLUMNS = ("task", "method", "label", "machine", "status", "headline", "data", "split",
                "interval", "cpu", "gpu", "cached", "reused", "unsteady", "trained_on",
                "trained", "error")  # fmt: skip
COUNT_COLUMNS = ("documents", "queries", "queries_missing", "queries_tied", "depth", "threads",
                 "timed_queries")  # fmt: skip
FIGURE_COLUMNS = ("documents_per_s", "queries_per_s", "index_memory_bytes", "index_disk_bytes",
                  "encode_p50_ms", "search_p50_ms", "total_p50_ms", "total_p95_ms",
                  "total_p99_ms", "peak_rss_bytes", "peak_gpu_bytes",
                  "flop_utilisation", "billed_tokens", "price_usd")  # fmt: skip
INTERVAL_COLUMNS = tuple(
    f"total_{name}_{end}_ms" for name in ("p50", "p95", "p99") for end in ("low", "high")
)
TRUNCATION_COLUMNS = ("document_cut", "document_tokens_cut", "query_cut", "query_tokens_cut",
                      "pair_cut", "pair_tokens_cut")  # fmt: skip


def leaderboard(records: Iterable[RunRecord]) -> pd.DataFrame:
    """Return one row per record, sorted by task, then by descending headline measure.

    Args:
        records: At most one success and one failure for each (task, method, machine).

    Returns:
        A frame with the columns

        * `task`, `method`, `label` (given by the user, or the parameters that vary in a grid),
          `machine` (fingerprint), `status`, `headline` (name of the task's main measure),
          `data` (short digest of corpus, queries and judgements: rows with different `data` are
          not comparable), `split`, `interval` (meaning of low and high), `cpu`, `gpu`, `cached`
          (phases read from a cache, comma-separated), `reused` (figures from an earlier run),
          `unsteady` (latencies that varied too much), `trained_on`, `trained` (note if
          trained on the collection's training split, with the score on unseen queries), `error`;
        * `documents`, `queries`, `queries_missing`, `queries_tied`, `depth`, `threads`,
          `timed_queries` (of the latencies);
        * `documents_per_s` (encoding and indexing), `queries_per_s` (in batches, encoding and
          searching), `index_memory_bytes`, `index_disk_bytes`, `encode_p50_ms`,
          `search_p50_ms`, `total_p50_ms`, `total_p95_ms`, `total_p99_ms`, `peak_rss_bytes`,
          `peak_gpu_bytes` (of any phase), `flop_utilisation` (of encoding documents),
          `billed_tokens` (input tokens counted by an API), `price_usd` (their price);
        * `total_p50_low_ms`, `total_p50_high_ms`, and the same for p95, p99: 95% intervals;
        * `document_cut`, `document_tokens_cut`, `query_cut`, `query_tokens_cut`, `pair_cut`,
          `pair_tokens_cut`: fractions truncated at the model's limit (pairs: scorer inputs);
        * `<m>`, `<m> low`, `<m> high` for each measure.

        Unknown values are missing (NaN, NA or None), never 0.
    """
    records = with_grids(records)
    names = measure_order(records)
    rows = [_row(record, names) for record in records]
    columns = [f"{name}{end}" for name in names for end in ("", " low", " high")]
    numbers = [*FIGURE_COLUMNS, *INTERVAL_COLUMNS, *TRUNCATION_COLUMNS, *columns]
    frame = pd.DataFrame(rows, columns=[*TEXT_COLUMNS, *COUNT_COLUMNS, *numbers])
    kinds = {**dict.fromkeys(TEXT_COLUMNS, "object"), **dict.fromkeys(COUNT_COLUMNS, "Int64"),
             **dict.fromkeys(numbers, "float64")}  # fmt: skip
    order = sorted(range(len(records)), key=lambda i: _rank(records[i]))
    return frame.astype(kinds).iloc[order].reset_index(drop=True)


def per_query(stored: Iterable[Stored]) -> pd.DataFrame:
    """Return per-query values of records: task, method and query, then one column per measure.

    Raises ResultsError if a record has no per-query values.
    """
    parts = []
    for record, path in stored:
        found = read_per_query(needed_file(record, path, "per_query"))
        names = {"task": record.task.name, "method": record.method.name}
        parts.append(pd.DataFrame({**names, "query": found.query_ids, **found.measures}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def measure_order(records: Iterable[RunRecord]) -> list[str]:
    """Return all measures of the records: headlines first, then by kind and by depth."""
    records = list(records)
    headlines = {record.task.headline for record in records}
    names = {name for record in records for name in record.measures}
    return sorted(names, key=lambda name: (name not in headlines, *_natural(name)))


def _natural(name: str) -> tuple[int, str, int]:
    kinds = ("nDCG", "R", "RR", "AP", "Success", "P", "Judged")
    stem, _, cut = name.partition("@")
    place = kinds.index(stem) if stem in kinds else len(kinds) - 1.5
    digits = re.match(r"\d+", cut)
    return (int(place * 2), stem, int(digits.group()) if digits else 0)


def _rank(record: RunRecord) -> tuple[str, float, str, str, bool]:
    value = -record.headline.mean if record.headline else math.inf
    failed = record.status != "ok"
    return (record.task.name, value, record.method.name, record.environment.machine, failed)


def _row(record: RunRecord, names: Sequence[str]) -> dict[str, Any]:
    task, here, queries = record.task, record.environment, record.queries
    row: dict[str, Any] = {
        **dict.fromkeys(TEXT_COLUMNS),
        "task": task.name,
        "method": record.method.name,
        "label": record.label,
        "machine": here.machine,
        "status": record.status,
        "headline": task.headline,
        "data": canonical_digest(task.sha256)[:8] if task.sha256 else None,
        "split": task.split,
        "interval": record.policy.intervals,
        "trained_on": ", ".join(record.method.trained_on) or None,
        "trained": trained_note(record) if record.is_trained else None,
        "cpu": here.cpu,
        "gpu": here.gpu,
        "error": record.error.message if record.error else None,
        "documents": task.n_documents,
        "queries": queries.n if queries else task.n_queries,
        "queries_missing": queries.n_missing if queries else None,
        "queries_tied": queries.n_tied if queries else None,
        "depth": record.policy.depth,
        "threads": here.threads,
        **truncation(record),
        **_figures(record),
    }
    for name in names:
        if measure := record.measures.get(name):
            row |= {name: measure.mean, f"{name} low": measure.low, f"{name} high": measure.high}
    return row


def truncation(record: RunRecord) -> dict[str, float]:
    """Return the truncation columns: fractions of texts, and of their tokens."""
    row = {}
    for role, cut in record.truncation.items():
        row[f"{role}_cut"] = cut.texts_cut / cut.texts if cut.texts else 0.0
        row[f"{role}_tokens_cut"] = cut.tokens_cut / cut.tokens if cut.tokens else 0.0
    return row


def truncated(row: Mapping[Any, Any]) -> str:
    """Return the truncation columns of a row as a sentence; empty if nothing was truncated."""
    nouns = {"document": "documents", "query": "queries", "pair": "re-scored pairs"}
    shares = [
        f"{row[f'{role}_cut']:.1%} of {noun} ({row[f'{role}_tokens_cut']:.1%} of their tokens)"
        for role, noun in nouns.items()
        if is_known(row.get(f"{role}_cut")) and row[f"{role}_cut"] > 0
    ]
    return f"{' and '.join(shares)} are truncated at the model's limit" if shares else ""


def _figures(record: RunRecord) -> dict[str, Any]:
    """Return the columns of speed and memory."""
    profile = record.profile
    if profile is None:
        return {}
    return {
        "cached": ", ".join(cached_phases(record)) or None,
        "reused": _flagged(record, CACHED),
        "unsteady": _flagged(record, VARIED),
        "timed_queries": profile.latency.n if profile.latency else None,
        **{name: BY_COLUMN[name].of(record) for name in FIGURE_COLUMNS},
        **_intervals(profile.latency),
    }


def _intervals(latency: Latency | None) -> dict[str, float]:
    """Return the known 95% intervals of the percentiles of the total latency."""
    found = latency.total.intervals if latency else {}
    return {
        f"total_{name.removesuffix('_ms')}_{end}_ms": value
        for name, ends in found.items()
        for end, value in zip(("low", "high"), ends, strict=True)
        if f"total_{name.removesuffix('_ms')}_{end}_ms" in INTERVAL_COLUMNS
    }


def _flagged(record: RunRecord, flag: Flag) -> str | None:
    """Return the columns whose figures have `flag`, comma-separated."""
    names = (n for n in FIGURE_COLUMNS if BY_COLUMN[n].of(record) is not None)
    return ", ".join(n for n in names if BY_COLUMN[n].flag(record) is flag) or None


def framed(blocks: tuple[Block, ...], frame: pd.DataFrame) -> Page:
    """Return a page of `blocks` with the values of `frame`; unknown ones are None."""
    rows = tuple({name: _plain(row[name]) for name in frame.columns} for _, row in frame.iterrows())
    return Page(blocks=blocks, fields=tuple(frame.columns), rows=rows)


def _plain(value: Any) -> Any:
    if not is_known(value):
        return None
    return value.item() if hasattr(value, "item") else value
