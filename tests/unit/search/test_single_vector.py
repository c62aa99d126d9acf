"""The single-vector heuristic against loops over tokens."""

import numpy as np
import pytest

from rankstone.errors import AdapterError
from rankstone.runners.representations.ragged import Ragged
from rankstone.runners.search.exact.maxsim import MaxSimIndex
from rankstone.runners.search.multi_vector.single_vector import SingleVector, SingleVectorIndex
from rankstone.runners.testing import MemoryChunks, PlainContext
from tests.numbered import Tokens, texts


def built(documents, tmp_path, **parameters):
    method = SingleVector(members=(Tokens(documents),), **parameters)
    context = PlainContext(texts=range(len(documents)), work=tmp_path)
    return method.index(MemoryChunks(method.encoder, range(len(documents)), 7), context)


def by_definition(query, documents, depth):
    """The candidate list of MUVERA's section 3.1: rank 1 of every query token, then rank 2, ..."""
    owner = np.repeat(np.arange(len(documents)), documents.lengths)
    nearest = [np.argsort(-(documents.tokens @ token), kind="stable")[:depth] for token in query]
    listed = []
    for rank in range(min(depth, len(owner))):
        for rows in nearest:
            doc = int(owner[rows[rank]])
            if doc not in listed:
                listed.append(doc)
    return listed


LENGTHS = [5, 0, 3, 9, 1, 30, 0, 2] * 3


@pytest.mark.parametrize("search", ["exact", "hnsw"])
@pytest.mark.parametrize("depth", [1, 4, 1000])
def test_documents_come_rank_by_rank(tmp_path, search, depth):
    documents, queries = texts(LENGTHS), texts([4, 0, 2, 7], seed=1)
    index = built(documents, tmp_path, search=search, depth=depth)
    found = index.search(queries, 20)
    for row, query in enumerate(queries.matrices()):
        expected = by_definition(query, documents, depth)[:20]
        assert found.docs[row, : len(expected)].tolist() == expected
        assert (np.diff(found.scores[row, : len(expected)]) < 0).all()
        assert (found.docs[row, len(expected) :] == -1).all()
        assert np.isneginf(found.scores[row, len(expected) :]).all()


def test_the_second_rank_of_no_token_is_before_the_first_of_another(tmp_path):
    """The best token of document 1 is nearer than that of document 2, but is ranked after it."""
    tokens = np.array([[1, 0], [0.9, 0], [0, 0.5]], np.float32)
    documents = Ragged(tokens, np.array([0, 1, 2, 3]))
    query = Ragged(np.eye(2, dtype=np.float32), np.array([0, 2]))
    assert built(documents, tmp_path).search(query, 3).docs[0].tolist() == [0, 2, 1]


def test_each_document_is_listed_once(tmp_path):
    same = np.ones((6, 4), np.float32)
    documents = Ragged(same, np.array([0, 2, 2, 3, 6]))
    found = built(documents, tmp_path).search(Ragged(same[:2], np.array([0, 2])), 4)
    assert sorted(found.docs[0].tolist()) == [-1, 0, 2, 3]


def test_results_do_not_depend_on_query_batches(tmp_path, monkeypatch):
    documents, queries = texts(LENGTHS), texts([4, 0, 2, 7, 3, 1], seed=1)
    index = built(documents, tmp_path, depth=6)
    whole = index.search(queries, 9)
    monkeypatch.setattr("rankstone.runners.search.multi_vector.single_vector.PAIRS", 12)
    parts = index.search(queries, 9)
    np.testing.assert_array_equal(parts.docs, whole.docs)
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-5)


def test_rescoring_all_of_it_is_exact_maxsim(tmp_path):
    documents, queries = texts(LENGTHS), texts([4, 0, 2], seed=1)
    found = built(documents, tmp_path, rescore=24).search(queries, 10)
    exact = MaxSimIndex.build(MemoryChunks(Tokens(documents), range(24))).search(queries, 10)
    np.testing.assert_array_equal(found.docs, exact.docs)


@pytest.mark.parametrize("search", ["exact", "hnsw"])
@pytest.mark.parametrize("lengths", [LENGTHS, [0, 0], []])
def test_a_reloaded_index_answers_alike(tmp_path, search, lengths):
    work, saved = tmp_path / "work", tmp_path / "saved"
    work.mkdir(), saved.mkdir()
    index = built(texts(lengths), work, search=search, depth=20)
    index.save(saved)
    loaded = SingleVectorIndex.load(saved)
    queries = texts([4, 0, 2], seed=1)
    for one, other in zip(index.search(queries, 9), loaded.search(queries, 9), strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.nbytes() == index.nbytes() >= 4 * 8 * sum(lengths)


def test_wrong_vectors_are_refused(tmp_path):
    documents = texts([3, 2])
    index = built(documents, tmp_path)
    with pytest.raises(AdapterError, match="expected vectors of 8 dimensions"):
        index.search(texts([3], dim=4), 1)
    documents.tokens[4, 1] = np.inf
    with pytest.raises(AdapterError, match="NaN or infinite"):
        built(documents, tmp_path)
