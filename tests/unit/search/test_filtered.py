"""Pre-filtering and post-filtering against brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.errors import AdapterError
from rankstone.predicates import Comparison, Where
from rankstone.runners.protocols import Hits
from rankstone.runners.search.exact.flat import ExactIndex, written
from rankstone.runners.search.filtered import FilteredSearch, searched_after

PREDICATE = Comparison("year", ">", 3)


def where(passes: np.ndarray) -> Where:
    return Where(predicate=PREDICATE, passes=passes)


class Ranked:
    """Index with fixed results: queries are rows of results, padded by -1."""

    def __init__(self, ranking: np.ndarray) -> None:
        self.ranking, self.asked = ranking, list[tuple[int, int]]()

    def search(self, queries: np.ndarray, k: int) -> Hits:
        self.asked.append((len(queries), k))
        docs = self.ranking[queries, :k]
        return Hits(docs, np.where(docs >= 0, -np.arange(k, dtype=np.float32), -np.inf))


@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 30), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_dropping_keeps_the_first_that_pass(seed: int, n: int, k: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    ranking = np.stack([rng.permutation(n) for _ in range(4)])
    ranking[1, rng.integers(0, n + 1) :] = -1
    passes = rng.random(n) < share
    found = searched_after(Ranked(ranking), np.arange(4), k, where(passes))
    for row, docs in enumerate(ranking):
        expected = [doc for doc in docs.tolist() if doc >= 0 and passes[doc]][:k]
        assert found.docs[row].tolist() == expected + [-1] * (k - len(expected))
        assert (np.isneginf(found.scores[row]) == (found.docs[row] < 0)).all()


def test_only_queries_that_lack_results_are_asked_again() -> None:
    ranking = np.stack([np.arange(100), np.arange(100)[::-1]])
    index = Ranked(ranking)
    searched_after(index, np.arange(2), 5, where(np.arange(100) < 10))
    assert index.asked == [(2, 50), (1, 100)]


@pytest.mark.parametrize("resident", [True, False])
def test_exact_search_selects_before(tmp_path: Path, resident: bool) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((300, 8)).astype(np.float32)
    queries = rng.standard_normal((5, 8)).astype(np.float32)
    rows = vectors if resident else written([vectors], 8, tmp_path)
    search = ExactIndex(rows, dim=8)
    for share in (0.5, 0.02):
        passes = rng.random(300) < share
        found = search.search_where(queries, 20, where(passes))
        expected = np.argsort(-np.where(passes, queries @ vectors.T, -np.inf), axis=1)[:, :20]
        expected[:, passes.sum() :] = -1
        np.testing.assert_array_equal(found.docs, expected)
    assert FilteredSearch(search, [None]).how == "before"


class Leaky(Ranked):
    filtering = "native"

    def search_where(self, queries: np.ndarray, k: int, where: Where) -> Hits:
        return self.search(queries, k)


def test_a_result_that_does_not_pass_is_an_error() -> None:
    search = FilteredSearch(Leaky(np.arange(5)[None]), [where(np.arange(5) != 2)])
    assert search.search(np.arange(1), [0], 2).docs.tolist() == [[0, 1]]
    with pytest.raises(AdapterError, match="position 2 does not pass"):
        search.search(np.arange(1), [0], 3)


def test_each_query_has_its_own_filter_or_none() -> None:
    ranking = np.tile(np.arange(6), (4, 1))
    even, odd = (where(np.arange(6) % 2 == rest) for rest in (0, 1))
    search = FilteredSearch(Ranked(ranking), [even, even, None, odd])
    found = search.search(np.arange(4)[1:], [1, 2, 3], 2)
    assert found.docs.tolist() == [[0, 2], [0, 1], [1, 3]]
