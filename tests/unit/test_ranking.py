"""Results of an index: order, ties, padding, self hits, and their conversion to a ranking."""

from __future__ import annotations

import numpy as np
import pytest

from rankstone.errors import AdapterError
from rankstone.evaluation import ranking
from rankstone.evaluation.ranking import rank
from rankstone.runners.protocols import Hits
from rankstone.runners.search.hits import check_hits

INF = float("inf")


def hits(docs, scores) -> Hits:
    return Hits(np.array(docs, dtype=np.int64), np.array(scores, dtype=np.float32))


def never(positions):
    raise AssertionError(f"ids of {positions} asked for without a tie")


def named(*names):
    return lambda positions: [names[p] for p in positions.tolist()]


def check(found: Hits, n_documents: int = 10) -> None:
    n, k = found.docs.shape
    check_hits(found, n_queries=n, n_documents=n_documents, k=k, method="sparse/bm52")


@pytest.mark.parametrize(
    ("docs", "scores", "fault"),
    [
        ([[1, 2]], [[1, np.nan]], "row 0, column 1, position .*: the score is NaN"),
        (
            [[1, 2], [3, 10]],
            [[2, 1], [2, 1]],
            r"row 1, column 1, position .*: out of range.*0 to 9",
        ),
        ([[1, -2]], [[2, -INF]], "row 0, column 1, position .*: out of range"),
        ([[-1, 2]], [[-INF, 1]], "row 0, column 0, position .*: a pad before a result"),
        ([[1, -1]], [[2, 0]], "row 0, column 1, position .*: a pad with a score"),
        (
            [[4, 5, 6], [6, 5, 6]],
            [[3, 2, 1]] * 2,
            "row 1, column 2, position .*: document 6 .* twice",
        ),
    ],
)
def test_a_fault_is_named_with_method_and_row(docs, scores, fault):
    with pytest.raises(AdapterError, match=f"sparse/bm52: query {fault}"):
        check(hits(docs, scores))


def test_a_fault_below_the_first_block_has_its_own_row():
    docs = np.tile(np.arange(3), (1000, 1))
    scores = np.ones((1000, 3), dtype=np.float32)
    scores[777, 2] = np.nan
    with pytest.raises(AdapterError, match="row 777, column 2"):
        check(Hits(docs, scores))


@pytest.mark.parametrize(
    "found",
    [
        Hits(np.zeros((1, 2), dtype=np.int32), np.zeros((1, 2), dtype=np.float32)),
        Hits(np.array([[0, 1]]), np.zeros((1, 2), dtype=np.float64)),
        Hits(np.array([[0, 1, 2]]), np.zeros((1, 2), dtype=np.float32)),
        Hits(np.array([0, 1]), np.zeros((1, 2), dtype=np.float32)),
    ],
)
def test_shape_and_dtype_are_part_of_the_contract(found):
    with pytest.raises(AdapterError, match=r"sparse/bm52: (docs|scores) must be"):
        check_hits(found, n_queries=1, n_documents=9, k=2, method="sparse/bm52")


def test_unsorted_infinite_and_empty_rows_pass():
    check(
        hits([[1, 2, 3], [4, -1, -1], [-1, -1, -1]], [[-INF, INF, 0], [1, -INF, -INF], [-INF] * 3])
    )
    check(hits(np.zeros((0, 4)), np.zeros((0, 4))))
    check(hits(np.zeros((4, 0)), np.zeros((4, 0))))


def test_sorted_hits_pass_through_uncopied():
    found = hits([[3, 1, -1]], [[2, 1, -INF]])
    ranking = rank(found, ids=never, depth=3)
    assert np.shares_memory(ranking.docs, found.docs)
    assert ranking.docs.tolist() == [[3, 1, -1]]
    assert not ranking.tied.any()
    assert ranking.n_results().tolist() == [2]


def test_order_is_score_descending_whatever_the_index_returned():
    ranking = rank(hits([[0, 1, 2, -1]], [[1, INF, 2, -INF]]), ids=never, depth=2)
    assert ranking.docs.tolist() == [[1, 2]]
    assert ranking.scores.tolist() == [[INF, 2]]


def test_ties_fall_by_id_descending():
    ids = named("10", "9", "2", "1")
    ranking = rank(hits([[0, 1, 2, 3]], [[5, 5, 7, 5]]), ids=ids, depth=4)
    assert ranking.docs.tolist() == [[2, 1, 0, 3]], "'9' > '10' > '1' as bytes"
    assert ranking.tied.tolist() == [True]


@pytest.mark.parametrize("few_keys", [True, False])
def test_many_rows_with_ties_are_sorted_as_python_sorts_pairs(few_keys, monkeypatch):
    """In blocks of any size, and with keys of either width."""
    if not few_keys:
        monkeypatch.setattr(ranking, "narrowest", lambda largest: np.int64)
    monkeypatch.setattr(ranking, "TIED_ROWS", 7)
    rng = np.random.default_rng(0)
    docs = np.array([rng.permutation(40)[:20] for _ in range(50)])
    scores = rng.choice([3.0, 1.0, -0.0, -INF], docs.shape).astype(np.float32)
    n_results = rng.integers(0, 21, 50)[:, None]
    pads = np.arange(20) >= n_results
    docs[pads], scores[pads] = -1, -INF
    found = rank(Hits(docs, scores), ids=lambda at: [f"d{i}" for i in at.tolist()], depth=20)
    for row in range(50):
        pairs = [(s, f"d{d}") for d, s in zip(docs[row], scores[row], strict=True) if d >= 0]
        expected = [int(name[1:]) for _, name in sorted(pairs, reverse=True)]
        assert found.docs[row].tolist() == expected + [-1] * (20 - len(pairs))


def test_keys_of_ties_may_exceed_32_bits():
    n = 70_000  # 35,000 runs of 2 times 70,000 places
    docs = np.random.default_rng(0).permutation(n)[None]
    scores = -(np.arange(n) // 2).astype(np.float32)[None]
    found = rank(Hits(docs, scores), ids=lambda at: [f"{i:05}" for i in at.tolist()], depth=n)
    np.testing.assert_array_equal(
        found.docs.reshape(-1, 2), np.sort(docs.reshape(-1, 2), axis=1)[:, ::-1]
    )


def test_ties_fall_by_utf8_bytes_beyond_ascii():
    # UTF-16 would put U+1F600 (a surrogate pair, D83D) before U+FF21.
    names = ("z", "é", "\uff21", "\U0001f600", "Z", "a\0", "a")
    ranking = rank(hits([range(7)], [[1] * 7]), ids=named(*names), depth=7)
    by_bytes = sorted(names, key=lambda name: name.encode(), reverse=True)
    assert [names[p] for p in ranking.docs[0]] == by_bytes


def test_negative_zero_ties_with_zero_and_infinities_with_themselves():
    ids = named("a", "b", "c", "d", "e", "f")
    found = hits([[0, 1, 2, 3, 4, 5]], [[INF, INF, 0.0, -0.0, -INF, -INF]])
    assert rank(found, ids=ids, depth=6).docs.tolist() == [[1, 0, 3, 2, 5, 4]]


def test_scores_that_only_float64_tells_apart_tie():
    found = hits([[0, 1]], [[0.90000000002, 0.90000000001]])
    assert rank(found, ids=named("a", "b"), depth=2).docs.tolist() == [[1, 0]]


def test_ties_are_broken_before_truncation_and_counted_within_the_depth():
    found = hits([[0, 1, 2]], [[3, 1, 1]])
    ranking = rank(found, ids=named("a", "b", "c"), depth=2)
    assert ranking.docs.tolist() == [[0, 2]]
    assert ranking.tied.tolist() == [False]


def test_pads_are_no_tie():
    ranking = rank(hits([[1, -1, -1]], [[-INF, -INF, -INF]]), ids=never, depth=3)
    assert ranking.tied.tolist() == [False]


def test_self_hits_leave_and_depth_stays():
    found = hits(
        [[5, 1, 2], [1, 6, 2], [1, 2, 7], [1, 2, 3], [8, -1, -1]],
        [[3, 2, 1]] * 4 + [[3, -INF, -INF]],
    )
    own = np.array([5, 6, 7, -1, 8])
    ranking = rank(found, ids=never, self_positions=own, drop_self=True, depth=2)
    assert ranking.docs.tolist() == [[1, 2], [1, 2], [1, 2], [1, 2], [-1, -1]]
    assert ranking.scores[1].tolist() == [3, 1]
    assert found.docs[0, 0] == 5, "the index's own arrays are left alone"


def test_a_dropped_self_hit_goes_behind_a_result_that_scores_minus_infinity():
    found = hits([[5, 1]], [[1, -INF]])
    ranking = rank(found, ids=never, self_positions=np.array([5]), drop_self=True, depth=2)
    assert ranking.docs.tolist() == [[1, -1]]
