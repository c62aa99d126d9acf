"""Pruned search of inverted lists against a sum for every document."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.sparse import csc_array

from rankstone.runners.search.exact import max_score
from rankstone.runners.top_k import highest

WEIGHTS = st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.7, 1.1, 1e-6, 9.0])
"""Few, so that there are ties, also of sums that are equal only as they are rounded."""
LISTS = st.lists(st.dictionaries(st.integers(0, 40), WEIGHTS, min_size=1), min_size=1, max_size=7)


def lists_of(columns: list[dict[int, float]], n: int) -> csc_array:
    rows = [row for column in columns for row in sorted(column)]
    values = [column[row] for column in columns for row in sorted(column)]
    ends = np.cumsum([0, *map(len, columns)])
    arrays = np.array(values, np.float32), np.array(rows, np.int32), ends.astype(np.int32)
    return csc_array(arrays, shape=(n, len(columns)))


def by_all_sums(lists: csc_array, terms: list[int], k: int):
    sums = np.zeros(lists.shape[0], np.float32)
    for term in terms:
        run = slice(lists.indptr[term], lists.indptr[term + 1])
        np.add.at(sums, lists.indices[run], lists.data[run])
    return highest(sums, k)


def check(lists: csc_array, terms: list[int], k: int) -> None:
    peaks = np.maximum.reduceat(lists.data, lists.indptr[:-1])
    found = max_score.best(lists, peaks, np.array(terms, np.int32), k)
    for one, other in zip(found, by_all_sums(lists, terms, k), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan as Python runs it, in windows that some documents do not fit in."""
    monkeypatch.setattr(max_score, "WINDOW", 8)
    monkeypatch.setattr(max_score, "GROUP", 4)
    monkeypatch.setattr(max_score, "compiled", lambda: max_score.scan)


@pytest.mark.usefixtures("small_windows")
def test_the_best_are_those_of_all_sums() -> None:
    @settings(max_examples=150, deadline=None)
    @given(LISTS, st.lists(st.integers(0, 6), max_size=9), st.integers(0, 12))
    @example([{0: 9.0, 30: 9.0}, dict.fromkeys(range(41), 0.1)], [0, 1], 2)
    @example([{0: 0.2, 40: 0.2}, {5: 0.2}], [0, 1], 2)
    def property_(columns: list[dict[int, float]], terms: list[int], k: int) -> None:
        check(lists_of(columns, 41), [term % len(columns) for term in terms], k)

    property_()


def test_compiled_it_finds_the_same() -> None:
    pytest.importorskip("numba")
    rng = np.random.default_rng(0)
    n = 3 * max_score.WINDOW + 17
    chosen = [np.flatnonzero(rng.random(n) < share) for share in (0.6, 0.3, 0.1, 0.01, 0.0005)]
    drawn = [rng.choice([0.5, 1.0, 2.0], len(rows)) / np.sqrt(len(rows)) for rows in chosen]
    lists = lists_of(
        [
            dict(zip(a.tolist(), b.tolist(), strict=True))
            for a, b in zip(chosen, drawn, strict=True)
        ],
        n,
    )
    for k in (1, 10, 500, n):
        for terms in ([0, 1, 2, 3, 4], [4, 0, 0], [1, 3], [0], []):
            check(lists, terms, k)
