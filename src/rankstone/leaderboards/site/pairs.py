"""Selection and comparison of the pairs of methods that have a page.

The number of pairs is quadratic, so not all have a page. Selected on each data set are all pairs of
the `best` methods by the headline measure, and every composite method with each of its members.
Only records with per-query values count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations
from typing import NamedTuple

import numpy as np

from rankstone.errors import ResultsError
from rankstone.evaluation.family import holm
from rankstone.evaluation.sign_flips import TIE
from rankstone.evaluation.significance import Paired, paired
from rankstone.leaderboards import compare
from rankstone.leaderboards.compare import Moved
from rankstone.leaderboards.site.model import Board, Entry, Site, slug
from rankstone.results.trec_run import read_run
from rankstone.text_files import encode_id

BEST = 5
"""Default number of best methods of a data set that are compared pairwise."""
MOVED = 12
"""Number of queries shown, with the largest differences in either direction."""
DEPTH = 10
"""Number of ranks shown of each ranking."""
Ranking = list[str]


class Dot(NamedTuple):
    """Point of all queries with equal values."""

    of: float
    than: float
    queries: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pair:
    """Two records of one board, the better first."""

    board: Board
    of: Entry
    than: Entry
    paired: Paired
    adjusted: float
    """p value of the sign-flip test, adjusted by Holm's method over the pairs of the board."""
    moved: tuple[Moved, ...]
    dots: tuple[Dot, ...]

    @cached_property
    def page(self) -> str:
        sides = [side for entry in (self.of, self.than) for side in entry.cell]
        name = slug(self.of.method, "vs", self.than.method, "on", self.board.name,
                    unique=[self.board.name, *sides])  # fmt: skip
        return f"pairs/{name}.html"


def chosen(site: Site, board: Board, best: int) -> list[tuple[Entry, Entry]]:
    """Return the selected pairs of a board, with one record per method."""
    able: dict[str, Entry] = {}
    for entry in board.done:
        if entry.headline is not None and entry.file("per_query") is not None:
            able.setdefault(entry.method, entry)
    order = list(able.values())
    found = list(combinations(order[:best], 2))
    for entry in order:
        spec = site.methods.get(entry.method)
        for member in spec.members if spec is not None else ():
            if member.name in able:
                two = sorted((entry, able[member.name]), key=order.index)
                found.append((two[0], two[1]))
    return list(dict.fromkeys(found))


def made(site: Site, board: Board, best: int) -> tuple[list[Pair], list[str]]:
    """Return the compared pairs of a board, and the reasons why others cannot be compared."""
    pairs, faults = [], []
    for of, than in chosen(site, board, best):
        try:
            pairs.append(_pair(board, of, than))
        except ResultsError as error:
            faults.append(str(error))
    adjusted = holm([pair.paired.p for pair in pairs])
    return [replace(pair, adjusted=p) for pair, p in zip(pairs, adjusted, strict=True)], faults


def _pair(board: Board, of: Entry, than: Entry) -> Pair:
    stored = (of.record, of.path), (than.record, than.path)
    queries, ours, theirs = compare.paired_values(*stored, board.headline)
    tested = paired(ours, theirs)
    return Pair(
        board=board,
        of=of,
        than=than,
        paired=tested,
        adjusted=tested.p,
        moved=tuple(_most_moved(queries, ours.tolist(), theirs.tolist())),
        dots=tuple(_dots(queries, ours.tolist(), theirs.tolist())),
    )


def _most_moved(
    queries: Sequence[str], ours: Sequence[float], theirs: Sequence[float]
) -> Iterator[Moved]:
    """Yield the largest gains of the first method, then those of the second."""
    moved = [Moved(*values) for values in zip(queries, ours, theirs, strict=True)]
    for sign in (1, -1):
        won = [m for m in moved if sign * (m.of - m.than) > TIE]
        yield from sorted(won, key=lambda m: (sign * (m.than - m.of), m.query))[: MOVED // 2]


def _dots(queries: Sequence[str], ours: Sequence[float], theirs: Sequence[float]) -> Iterator[Dot]:
    found: dict[tuple[float, float], list[str]] = {}
    for query, of, than in zip(queries, ours, theirs, strict=True):
        found.setdefault((round(of, 3), round(than, 3)), []).append(query)
    for (of, than), same in sorted(found.items()):
        yield Dot(of, than, tuple(same))


class Rankings:
    """Top ranks of all queries of records; each run is read once."""

    def __init__(self) -> None:
        self._found = dict[Entry, Mapping[str, Ranking] | None]()

    def of(self, entry: Entry, query: str) -> Ranking | None:
        """Return documents, best first; None if the run is not stored beside the record."""
        if entry not in self._found:
            self._found[entry] = _first_ranks(entry)
        found = self._found[entry]
        return None if found is None else found.get(encode_id(query), [])

    def documents(self, pairs: Iterable[Pair]) -> set[str]:
        """Return all documents shown on the pages of `pairs`."""
        return {
            document
            for pair in pairs
            for entry in (pair.of, pair.than)
            for moved in pair.moved
            for document in self.of(entry, moved.query) or ()
        }


def _first_ranks(entry: Entry) -> Mapping[str, Ranking] | None:
    """Return the top documents of every query in the order of the protocol: score, then id, both
    descending."""
    path = entry.file("run")
    if path is None:
        return None
    run = read_run(path)
    names = np.array([id.encode() for id in run.document_ids], dtype=object)
    by_name = np.empty(len(names), np.int64)
    by_name[np.argsort(names)] = np.arange(len(names))
    order = np.lexsort((-by_name[run.document], -run.score, run.query))
    query = run.query[order]
    rank = np.arange(len(order)) - np.searchsorted(query, query)
    found: dict[str, Ranking] = {}
    kept = order[rank < DEPTH]
    for row, document in zip(run.query[kept].tolist(), run.document[kept].tolist(), strict=True):
        found.setdefault(run.query_ids[row], []).append(run.document_ids[document])
    return found
