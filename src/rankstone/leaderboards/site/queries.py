"""Every query of a data set: its value for each method, and the first ranks of the best ones.

A page lists the queries. Values and ranks are scripts beside it, which a page may load from a disk,
in parts of `PART` queries. The constants bound what a data set adds to a site to `BUDGET`.
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
"""Bytes at most that the queries of one data set add to a site, with ids of up to 40 bytes."""
LISTED = 10_000
"""Queries."""
VALUES = 400_000
"""Values of queries, over all methods; the best methods come first."""
RANKS = 250_000
"""Results, over all methods and queries."""
QUERY_BYTES, DOCUMENT_BYTES = 3_000_000, 4_000_000
"""Bytes of the texts of queries, and of documents."""
QUERY, DOCUMENT, SHORTEST = 300, 220, 40
"""Bytes of one text at most, and the fewest with which texts are of use."""
PART = 100
"""Queries of one file."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Queries:
    """The queries of a board, as far as they are shown."""

    board: Board
    ids: tuple[str, ...]
    total: int
    """Queries that were judged."""
    values: Mapping[Entry, Mapping[str, float]]
    """Entry -> query -> headline measure; the best entry first."""

    @property
    def page(self) -> str:
        return self.board.page.replace("tasks/", "queries/", 1)

    @property
    def ranked(self) -> list[Entry]:
        """The entries whose first ranks are shown."""
        return list(self.values)[: max(1, RANKS // (DEPTH * len(self.ids)))]

    def link(self, *entries: Entry) -> str:
        """Return the address of the page with the values of these entries; empty without them."""
        if any(entry not in self.values for entry in entries):
            return ""
        chosen = zip("ab", map(_key, entries), strict=False)
        return f"{self.page}#{'&'.join('='.join(pair) for pair in chosen)}"


def collected(board: Board) -> Queries | None:
    """Return the queries of a board; None where no record has values per query beside it."""
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
    """Return the documents that the page shows."""
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
    """Return the first `length` bytes of a text, without a part of a character."""
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
    """Return the ranks of some queries, whose documents are rows of `docs`."""
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
    """Return a name of the entry for addresses: the digest in its page's."""
    return entry.page.removesuffix(".html").rpartition("-")[2]


def _rounded(value: float | None) -> float | int | None:
    if value is None:
        return None
    short = round(value, 3)
    return int(short) if short == int(short) else short


def _script(name: str | int, value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f"QUERIES[{json.dumps(name)}]={text};\n"
