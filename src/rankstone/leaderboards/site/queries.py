"""Queries of a data set: values for each method, and top ranks of the best methods.

A page lists the queries. Values and ranks are in scripts beside it, which a page can load from
disk, in parts of `PART` queries. The constants limit the size for a data set to `BUDGET`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rankstone.errors import RankstoneWarning, ResultsError
from rankstone.leaderboards import compare
from rankstone.leaderboards.numbers import count, quality
from rankstone.leaderboards.site.environment import render
from rankstone.leaderboards.site.model import Board, Entry, Site, Texts
from rankstone.leaderboards.site.pairs import DEPTH, Rankings

BUDGET = 24_000_000
"""Largest size of the queries of one data set in bytes, for ids of up to 40 bytes."""
LISTED = 10_000
"""Largest number of queries."""
VALUES = 400_000
"""Largest number of per-query values, over all methods; the best methods are kept."""
RANKS = 250_000
"""Largest number of ranked results, over all methods and queries."""
QUERY_BYTES, DOCUMENT_BYTES = 3_000_000, 4_000_000
"""Total size of the texts of queries, and of documents, in bytes."""
QUERY, DOCUMENT, SHORTEST = 300, 220, 40
"""Largest size of one query and one document, and smallest useful size, in bytes."""
PART = 100
"""Number of queries per file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Queries:
    """Queries of a board that are shown."""

    board: Board
    ids: tuple[str, ...]
    total: int
    """Number of judged queries."""
    values: Mapping[Entry, Mapping[str, float]]
    """Entry -> query -> headline measure, best entry first."""

    @property
    def page(self) -> str:
        return self.board.page.replace("tasks/", "queries/", 1)

    @property
    def ranked(self) -> list[Entry]:
        """Return the entries whose top ranks are shown."""
        return list(self.values)[: max(1, RANKS // (DEPTH * len(self.ids)))]

    def link(self, *entries: Entry) -> str:
        """Return the URL of the page with the values of these entries; empty if there are none."""
        if any(entry not in self.values for entry in entries):
            return ""
        chosen = zip("ab", map(_key, entries), strict=False)
        return f"{self.page}#{'&'.join('='.join(pair) for pair in chosen)}"


def collected(board: Board) -> Queries | None:
    """Return the queries of a board; None if no record has per-query values."""
    found: dict[Entry, Mapping[str, float]] = {}
    ids: tuple[str, ...] = ()
    total = 0
    for entry in board.done:
        if found and (len(found) + 1) * len(ids) > VALUES:
            break
        if values := _values(entry, board.headline):
            found[entry] = values
            total = total or len(values)
            ids = ids or tuple(values)[:LISTED]
    return Queries(board=board, ids=ids, total=total, values=found) if found else None


def documents(queries: Queries, rankings: Rankings) -> set[str]:
    """Return the documents shown on the page."""
    return {
        document
        for entry in queries.ranked
        for query in queries.ids
        for document in rankings.of(entry, query) or ()
    }


def files(
    site: Site, queries: Queries, rankings: Rankings, texts: Texts
) -> Iterator[tuple[str, str]]:
    """Yield the page, and the scripts with its data."""
    parts = [queries.ids[at : at + PART] for at in range(0, len(queries.ids), PART)]
    shown = [_part(queries, part, rankings, texts) for part in parts]
    length = _length(DOCUMENT_BYTES, sum(len(part["docs"]) for part in shown), DOCUMENT)
    folder = queries.page.removesuffix(".html")
    for n, part in enumerate(shown):
        part["docs"] = [[id, beginning(texts.documents.get(id, ""), length)] for id in part["docs"]]
        yield f"{folder}/{n}.js", _script(n, part)
    yield f"{folder}/values.js", _script("values", _methods(site, queries))
    yield queries.page, _page(site, queries, folder, texts, length)


def beginning(text: str, length: int) -> str:
    """Return the first `length` bytes of a text, without incomplete characters."""
    joined = " ".join(text[: 4 * length].split())
    if len(joined.encode()) <= length:
        return joined
    return joined.encode()[:length].decode(errors="ignore").rstrip() + "…" if length else ""


def _values(entry: Entry, measure: str) -> dict[str, float]:
    if entry.file("per_query") is None:
        return {}
    try:
        return compare.values_of((entry.record, entry.path), measure)
    except ResultsError as error:
        warnings.warn(f"not on the page of queries: {error}", RankstoneWarning, stacklevel=2)
        return {}


def _length(budget: int, texts: int, longest: int) -> int:
    each = min(longest, budget // max(1, texts))
    return each if each >= SHORTEST else 0


def _page(site: Site, queries: Queries, folder: str, texts: Texts, length: int) -> str:
    short = _length(QUERY_BYTES, len(queries.ids), QUERY)
    best = next(iter(queries.values))
    return render(
        "queries.html",
        queries.page,
        site=site,
        board=queries.board,
        folder=folder,
        part=PART,
        best=best,
        rows=[
            (id, beginning(texts.queries.get(id, ""), short), quality(queries.values[best].get(id)))
            for id in queries.ids
        ],
        limits=list(_limits(queries, length)),
    )


def _limits(queries: Queries, length: int) -> Iterator[str]:
    able = sum(entry.file("per_query") is not None for entry in queries.board.done)
    budget = f"limit of {BUDGET // 1_000_000} MB per data set"
    if queries.total > len(queries.ids):
        yield f"the first {len(queries.ids):,} of {queries.total:,} queries ({budget})"
    if able > len(queries.values):
        yield f"values of the best {len(queries.values):,} of {able:,} methods ({budget})"
    if len(queries.ranked) < len(queries.values):
        yield f"results of the best {count(len(queries.ranked), 'method')} ({budget})"
    if not length:
        yield f"documents without texts ({budget})"


def _methods(site: Site, queries: Queries) -> dict[str, Any]:
    methods = [
        {"key": _key(entry), "name": site.label(entry), "page": entry.page}
        for entry in queries.values
    ]
    rows = queries.values.values()
    return {
        "methods": methods,
        "values": [[_rounded(values.get(id)) for id in queries.ids] for values in rows],
        "depth": DEPTH,
    }


def _part(
    queries: Queries, part: tuple[str, ...], rankings: Rankings, texts: Texts
) -> dict[str, Any]:
    """Return the ranks of some queries; documents are given by their rows in `docs`."""
    docs: dict[str, int] = {}
    ranks, labels, relevant = [], [], []
    for query in part:
        found = [rankings.of(entry, query) for entry in queries.ranked]
        ranks.append(
            [
                None if ids is None else [docs.setdefault(id, len(docs)) for id in ids]
                for ids in found
            ]
        )
        judged, shown = texts.labels.get(query, {}), {id for ids in found for id in ids or ()}
        labels.append({docs[id]: label for id, label in judged.items() if id in shown})
        relevant.append(sum(label > 0 for label in judged.values()))
    return {"docs": list(docs), "ranks": ranks, "labels": labels, "relevant": relevant}


def _key(entry: Entry) -> str:
    """Return the entry's name in URLs: the digest in its page's file name."""
    return entry.page.removesuffix(".html").rpartition("-")[2]


def _rounded(value: float | None) -> float | int | None:
    if value is None:
        return None
    short = round(value, 3)
    return int(short) if short == int(short) else short


def _script(name: str | int, value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"QUERIES[{json.dumps(name)}]={text};\n"
