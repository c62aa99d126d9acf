"""Re-scoring with any encoder, and the chunks beside a saved index."""

import numpy as np
import pytest

from rankstone.errors import AdapterError
from rankstone.runners.protocols import Hits
from rankstone.runners.representations.base import concatenate, take
from rankstone.runners.representations.pieces import Stored
from rankstone.runners.representations.ragged import ragged
from rankstone.runners.representations.sparse_rows import sparse_rows
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.search.exact.maxsim import MaxSimIndex
from rankstone.runners.search.rescoring import RescoredIndex, ScoredRepresentations, similarities


class Fixed:
    """Index that returns the same documents for every query."""

    def __init__(self, docs):
        self.docs = docs

    def search(self, queries, k):
        docs = np.full((len(queries), k), -1, dtype=np.int64)
        docs[:, : min(k, len(self.docs))] = self.docs[:k]
        scores = np.where(docs >= 0, -np.arange(k), -np.inf).astype(np.float32)
        return Hits(docs, scores)

    def nbytes(self):
        return 7


class Pieces(list):
    """Chunks of representations, with access by position."""

    def __len__(self):
        return sum(map(len, iter(self)))

    def take(self, positions):
        return take(concatenate(list(iter(self))), positions)


def vectors(n=40, dim=8, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim)).astype(np.float32)


def tokens(lengths, seed=0):
    rng = np.random.default_rng(seed)
    return ragged([rng.standard_normal((n, 4)).astype(np.float32) for n in lengths], 4)


def test_rescoring_everything_is_exact_search(tmp_path):
    documents, queries = vectors(), vectors(5, seed=1)
    exact = ExactIndex.build(Pieces([documents])).search(queries, 40)
    pieces = Pieces([documents[:13], documents[13:]])
    index = RescoredIndex(Fixed(np.arange(40)[::-1]), ScoredRepresentations(pieces), depth=40)
    found = index.search(queries, 10)
    np.testing.assert_array_equal(found.docs, exact.docs[:, :10])
    np.testing.assert_allclose(found.scores, exact.scores[:, :10], rtol=1e-5)
    assert index.nbytes() == 7


def test_documents_that_are_not_rescored_stay_below_in_their_order():
    documents, queries = vectors(), vectors(3, seed=1)
    index = RescoredIndex(
        Fixed(np.arange(30)), ScoredRepresentations(Pieces([documents])), depth=10
    )
    found = index.search(queries, 35)
    assert all(set(row[:10]) == set(range(10)) for row in found.docs)
    assert (found.docs[:, 10:30] == np.arange(10, 30)).all()
    assert (np.diff(found.scores[:, :30], axis=1) <= 0).all()
    assert (found.docs[:, 30:] == -1).all()
    assert np.isneginf(found.scores[:, 30:]).all()
    shallow = index.search(queries, 4)
    np.testing.assert_array_equal(shallow.docs, found.docs[:, :4])


def test_a_similarity_that_is_nan_is_no_missing_one():
    """A document without a similarity (-inf) is not found; NaN is the fault of an encoder."""

    kept = ScoredRepresentations(Pieces([np.float32([[1, 0], [np.nan, 0]])]))
    query = np.float32([[1, 0]])
    assert kept.scores(query, np.array([0])).tolist() == [1]
    with pytest.raises(AdapterError, match="position 1 is NaN"):
        kept.scores(query, np.array([0, 1]))


def test_maxsim_of_single_queries_is_that_of_the_index():
    documents, queries = tokens([3, 1, 0, 5, 2]), tokens([2, 4], seed=1)
    exact = MaxSimIndex.build(Pieces([documents])).search(queries, 5)
    found = RescoredIndex(
        Fixed(np.arange(5)), ScoredRepresentations(Pieces([documents])), depth=5
    ).search(queries, 5)
    np.testing.assert_array_equal(found.docs, exact.docs)
    np.testing.assert_allclose(found.scores, exact.scores, rtol=1e-5)
    assert (found.docs[:, 4] == -1).all(), "a document without tokens is not found"


def test_similarity_of_sparse_rows_is_their_inner_product():
    rows = sparse_rows(
        [(np.array([0, 2]), np.array([1.0, 2.0])), (np.array([1]), np.array([5.0]))], 3
    )
    np.testing.assert_allclose(similarities(rows[:1], rows), [5.0, 0.0])


@pytest.mark.parametrize(
    "rep",
    [vectors(11), tokens([1, 0, 4, 2, 2, 0, 1, 3, 1, 1, 2]),
     sparse_rows([(np.array([i]), np.array([1.0 + i])) for i in range(11)], 11)],
    ids=["matrix", "ragged", "sparse"],
)  # fmt: skip
def test_stored_pieces_are_taken_by_position(tmp_path, rep):
    Stored.write(tmp_path, [rep[:4], rep[4:4], rep[4:]])
    stored = Stored(tmp_path)
    assert len(stored) == 11
    positions = np.array([10, 0, 4, 3, 4])
    mine, kept = take(rep, positions), stored.take(positions)
    for row in range(len(positions)):
        for one, other in zip(parts(mine[row : row + 1]), parts(kept[row : row + 1]), strict=True):
            np.testing.assert_array_equal(one, other)


def parts(rep):
    from rankstone.runners.representations.base import pack

    return list(pack(rep).arrays.values())
