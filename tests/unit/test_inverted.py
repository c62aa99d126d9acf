"""Exact sparse search against dense products, and the sparse representation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankstone.errors import AdapterError
from rankstone.runners.representations.base import UNPACK, concatenate, pack, take
from rankstone.runners.representations.sparse_rows import SparseRows, sparse_rows
from rankstone.runners.search.exact import inverted_index
from rankstone.runners.search.exact.inverted_index import InvertedIndex

WEIGHTS = st.sampled_from([0.0, 0.0, 0.0, 0.25, 0.5, 1.0, 2.0])
"""Multiples of powers of two: their sums and products are exact in float32, so ties are true."""


@st.composite
def matrices(draw, width=6):
    rows = st.lists(WEIGHTS, min_size=width, max_size=width)
    return np.array(draw(st.lists(rows, max_size=12)), dtype=np.float32).reshape(-1, width)


def rep(matrix):
    rows = [(np.flatnonzero(row), row[np.flatnonzero(row)]) for row in matrix]
    return sparse_rows(rows, matrix.shape[1])


def pieces(rows: SparseRows, size: int) -> list[SparseRows]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def brute_force(queries, documents, k):
    """Return (docs, scores) above zero, by descending score, then by ascending position."""
    docs = np.full((len(queries), k), -1, np.int64)
    scores = np.full((len(queries), k), -np.inf, np.float32)
    for row, products in enumerate(queries @ documents.T):
        best = [i for i in np.argsort(-products, kind="stable") if products[i] > 0][:k]
        docs[row, : len(best)], scores[row, : len(best)] = best, products[best]
    return docs, scores


@given(matrices(), matrices(), st.integers(1, 5), st.integers(0, 14))
def test_hits_are_those_of_a_dense_product(documents, queries, size, k):
    index = InvertedIndex.build(pieces(rep(documents), size))
    found = index.search(rep(queries), k)
    for mine, expected in zip(found, brute_force(queries, documents, k), strict=True):
        np.testing.assert_array_equal(mine, expected)


@given(matrices(), matrices(), st.integers(1, 5), st.integers(0, 14), st.integers(1, 9))
def test_what_is_read_in_blocks_is_found_as_what_is_resident(documents, queries, size, k, entries):
    read = pieces(rep(documents * np.float32(1.1)), size)  # sums are rounded
    resident = InvertedIndex.build(read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inverted_index, "resident_limit", lambda: resident.lists.nnz * 8 - 1)
        patch.setattr(inverted_index, "BLOCK_ENTRIES", entries)
        index = InvertedIndex.build(read)
        assert (len(index.notes()), len(resident.notes())) == (1, 0)
        asked = rep(queries / np.float32(3))
        for one, other in zip(index.search(asked, k), resident.search(asked, k), strict=True):
            np.testing.assert_array_equal(one, other)


def test_random_weights_and_many_queries_at_once(tmp_path):
    rng = np.random.default_rng(0)
    documents, queries = (
        rng.random((n, 50), dtype=np.float32) * (rng.random((n, 50)) < 0.1) for n in (400, 100)
    )
    index = InvertedIndex.build(pieces(rep(documents), 97))
    docs, scores = index.search(rep(queries), 20)
    expected = brute_force(queries, documents, 20)
    np.testing.assert_allclose(scores, expected[1], rtol=1e-6)
    for row in range(100):
        single = index.search(rep(queries)[row : row + 1], 20)
        np.testing.assert_array_equal(single.docs[0], docs[row])
        np.testing.assert_array_equal(single.scores[0], scores[row])
    index.save(tmp_path)
    loaded = InvertedIndex.load(tmp_path)
    np.testing.assert_array_equal(loaded.search(rep(queries), 20).docs, docs)
    assert loaded.nbytes() == index.nbytes() > 8 * np.count_nonzero(documents)


def test_a_query_that_shares_no_term_finds_nothing():
    index = InvertedIndex.build([rep(np.float32([[1, 0, 0], [0, 1, 0]]))])
    docs, scores = index.search(rep(np.float32([[0, 0, 5], [0, 0, 0]])), 2)
    assert (docs == -1).all()
    assert np.isneginf(scores).all()


def test_ties_go_to_the_lower_position():
    index = InvertedIndex.build([rep(np.float32([[1, 0], [2, 0], [1, 0], [1, 0]]))])
    assert index.search(rep(np.float32([[1, 0]])), 3).docs.tolist() == [[1, 0, 2]]


def test_the_index_is_made_without_a_second_copy_of_the_entries():
    """Chunks are read twice, and none is kept."""

    class Pieces:
        reads = 0

        def __len__(self):
            return 40

        def __iter__(self):
            Pieces.reads += 1
            for _ in range(8):
                yield rep(np.float32([[1, 0, 2]] * 5))

    index = InvertedIndex.build(Pieces())
    assert Pieces.reads == 2
    assert index.nbytes() == 80 * 8 + 4 * 4


def test_faulty_vectors_are_named():
    good, bad = np.float32([[1, 0], [0, 1]]), np.float32([[0, 0], [0, np.nan]])
    with pytest.raises(AdapterError, match="position 3 holds NaN"):
        InvertedIndex.build([rep(good), rep(bad)])
    with pytest.raises(AdapterError, match="from position 2: expected vectors over 2 entries"):
        InvertedIndex.build([rep(good), rep(np.float32([[1, 2, 3]]))])
    with pytest.raises(AdapterError, match="expected query vectors over 2 entries, found 3"):
        InvertedIndex.build([rep(good)]).search(rep(np.float32([[1, 2, 3]])), 1)


@given(matrices(), st.data())
def test_the_representation_is_a_sequence_of_texts(matrix, data):
    rows = rep(matrix)
    part = data.draw(st.slices(len(matrix)))
    np.testing.assert_array_equal(rows[part].matrix().toarray(), matrix[part])
    chosen = data.draw(st.lists(st.integers(0, len(matrix) - 1))) if len(matrix) else []
    taken = take(rows, np.array(chosen, dtype=np.int64))
    np.testing.assert_array_equal(taken.matrix().toarray(), matrix[chosen])
    np.testing.assert_array_equal(
        concatenate([rows, taken, rows]).matrix().toarray(),
        np.concatenate([matrix, matrix[chosen], matrix]),
    )
    packed = pack(rows)
    np.testing.assert_array_equal(UNPACK[packed.kind](packed.arrays).matrix().toarray(), matrix)
    if len(matrix):
        np.testing.assert_array_equal(rows[-1], matrix[-1])
        np.testing.assert_array_equal(rows @ matrix[0], matrix @ matrix[0])


def test_vocabularies_of_different_sizes_do_not_join():
    with pytest.raises(AdapterError, match=r"\[2, 3\] entries do not join"):
        concatenate([rep(np.float32([[1, 2]])), rep(np.float32([[1, 2, 3]]))])
