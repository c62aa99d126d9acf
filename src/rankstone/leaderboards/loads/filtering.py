"""Rows that describe the filter of a record's queries."""

from __future__ import annotations

from collections.abc import Iterator

from rankstone.results.record import Filter

HOW = {
    "native": "by the engine",
    "before": "before the search, which compares all documents that pass",
    "after": "after the search, which fetches more results",
}


def filter_rows(filter: Filter) -> Iterator[tuple[str, str]]:
    """Yield names and texts."""
    shares = [f"{share:.2%}" for share in (filter.selectivity, filter.least, filter.most)]
    yield "predicate", filter.predicate or "one for each query"
    yield "applied", HOW[filter.how]
    yield "documents that pass", "{} ({} to {})".format(*shares)
    yield "queries not asked: no judged document passes", f"{filter.not_asked:,}"
    yield "queries without a relevant document that passes", f"{filter.without_relevant:,}"
