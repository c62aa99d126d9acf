"""A search function as a runner: an existing index, a web service, a pipeline."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rankstone.errors import AdapterError
from rankstone.runners.protocols import Chunks, Context, Defaults, DocumentIds, Hits, Role

Rows = Sequence[Mapping[str, float]]
Search = Callable[[list[str], int], Rows]
EXPECTED = "expected a list with one dict of document id -> score per query"


class SearchFunction(Defaults):
    """`search(queries, k)` takes query texts and returns document id -> score for each.

    It reads no corpus, so the size of the index is unknown.
    """

    def __init__(self, function: Search, name: str) -> None:
        self.function, self.name = function, name

    def encode(self, texts: Sequence[str], role: Role) -> list[str]:
        return list(texts)

    def index(self, documents: Chunks[list[str]], context: Context) -> FunctionIndex:
        return FunctionIndex(self.function, self.name, context.ids)


class FunctionIndex:
    """Index that calls the function. Ties, also at rank k, go to the higher document id."""

    def __init__(self, function: Search, name: str, ids: DocumentIds) -> None:
        self._function, self._name, self._ids = function, name, ids
        self._unknown: dict[str, None] = {}

    def search(self, queries: Sequence[str], k: int) -> Hits:
        rows = self._checked(self._function(list(queries), k), len(queries))
        hits = Hits.empty(len(queries), k)
        for number, row in enumerate(rows):
            names = list(row)
            positions = self._known(names)
            known = np.flatnonzero(positions >= 0).tolist()
            order = sorted(((row[names[i]], names[i], i) for i in known), reverse=True)[:k]
            hits.docs[number, : len(order)] = positions[[i for _, _, i in order]]
            hits.scores[number, : len(order)] = [score for score, _, _ in order]
        return hits

    def notes(self) -> list[str]:
        """Return a note about returned ids that are not in the corpus."""
        if not self._unknown:
            return []
        return [
            f"{self._name}: {len(self._unknown):,} ids that it returned are not in the corpus and"
            f" are left out, such as {next(iter(self._unknown))!r}"
        ]

    def _known(self, names: list[str]) -> NDArray[np.int64]:
        positions = self._ids.positions(names)
        self._unknown |= dict.fromkeys(names[i] for i in np.flatnonzero(positions < 0))
        return positions

    def _checked(self, rows: Any, n: int) -> Rows:
        """Return `rows`; AdapterError, which states the expected form, for a wrong type or
        length."""
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            raise self._fault(f"returned {type(rows).__name__}")
        if len(rows) != n:
            raise self._fault(f"returned {len(rows)} rows for {n} queries")
        for number, row in enumerate(rows):
            if not isinstance(row, Mapping):
                raise self._fault(f"returned {type(row).__name__} for query {number}")
            for name, score in row.items():
                if not isinstance(name, str) or not isinstance(score, Real):
                    pair = f"{type(name).__name__} -> {type(score).__name__}"
                    raise self._fault(f"returned {pair} for query {number}")
                if math.isnan(score):
                    raise self._fault(f"returned NaN for document {name!r} of query {number}")
        return rows

    def _fault(self, found: str) -> AdapterError:
        return AdapterError(f"{self._name}: search(queries, k) {found}; {EXPECTED}.")
