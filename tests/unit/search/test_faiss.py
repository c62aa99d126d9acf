"""HNSW, inverted lists and product quantisation against exact search and against faiss itself."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankstone.errors import AdapterError, DefinitionError, RankstoneWarning
from rankstone.predicates import Comparison, Where
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.search.faiss.faiss_index import blocks, settled
from rankstone.runners.search.faiss.graph import WithGraph
from rankstone.runners.search.faiss.hnsw import HNSW
from rankstone.runners.search.faiss.ivf import InvertedFile
from rankstone.runners.search.filtered import searched_after
from rankstone.runners.search.quantisation.pq import ProductQuantisation
from rankstone.runners.testing import PlainContext
from tests.numbered import Numbered

N, DIM = 4000, 32
ABOVE = float(np.nextafter(np.float32(1), np.float32(2)))
"""The next number above 1."""


def clustered(n, dim=DIM, seed=0, n_clusters=60, spread=0.5):
    """Return unit vectors with correlated dimensions around centres that are the same for all
    seeds."""
    centres = np.random.default_rng(99).standard_normal((n_clusters, dim))
    mixing = np.random.default_rng(98).standard_normal((dim, dim)) * 0.9 ** np.arange(dim)
    rng = np.random.default_rng(seed)
    vectors = centres[rng.integers(n_clusters, size=n)] + spread * rng.standard_normal((n, dim))
    vectors = vectors @ mixing.T
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


DOCUMENTS, QUERIES = clustered(N), clustered(50, seed=1)


def built(method, tmp_path, *, vectors=DOCUMENTS, seed=0, **parameters):
    runner = method(members=(Numbered(vectors),), **parameters)
    (tmp_path / "work").mkdir(exist_ok=True)
    texts = [str(row) for row in range(len(vectors))]
    context = PlainContext(texts=texts, work=tmp_path / "work", seed=seed)
    index = runner.index(None, context)
    assert not list(context.work.iterdir())
    return index


def recall(index, k=10, documents=DOCUMENTS):
    exact = ExactIndex.build(documents).search(QUERIES, k).docs
    found = index.search(QUERIES, k).docs
    return np.mean([len(set(a) & set(b)) / k for a, b in zip(exact, found, strict=True)])


KINDS = {
    "hnsw": (HNSW, {"m": 8, "ef_construction": 40, "ef_search": 40}),
    "ivf": (InvertedFile, {"n_lists": 40, "n_probe": 4}),
    "pq": (ProductQuantisation, {"subvectors": 8, "bits": 6}),
    "opq": (ProductQuantisation, {"subvectors": 8, "bits": 6, "rotate": True}),
    "ivfpq": (ProductQuantisation, {"subvectors": 8, "bits": 6, "n_lists": 40, "n_probe": 4}),
    "opqivfpq": (
        ProductQuantisation,
        {"subvectors": 8, "bits": 6, "rotate": True, "n_lists": "auto", "n_probe": 4},
    ),
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request, tmp_path_factory):
    method, parameters = KINDS[request.param]
    index = built(method, tmp_path_factory.mktemp("built"), **parameters)
    return method, parameters, index


def test_builds_are_equal_and_so_is_what_was_saved(kind, tmp_path):
    method, parameters, index = kind
    first = index.search(QUERIES, 20)
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    for other in (
        built(method, tmp_path, **parameters),
        type(index).load(tmp_path / "saved"),
    ):
        hits = other.search(QUERIES, 20)
        np.testing.assert_array_equal(hits.docs, first.docs)
        np.testing.assert_array_equal(hits.scores, first.scores)
        assert other.nbytes() == index.nbytes()


def test_one_query_is_as_in_a_batch(kind):
    index = kind[2]
    batch = index.search(QUERIES, 20)
    for row in range(len(QUERIES)):
        single = index.search(QUERIES[row : row + 1], 20)
        np.testing.assert_allclose(single.scores[0], batch.scores[row], atol=1e-5)
        np.testing.assert_array_equal(single.docs[0, :15], batch.docs[row, :15])


def test_bytes_are_those_of_the_serialised_index(kind):
    index = kind[2]
    assert index.nbytes() == pytest.approx(len(faiss.serialize_index(index.faiss)), rel=0.1)


def test_k_beyond_the_corpus_and_no_queries(kind):
    index = kind[2]
    hits = index.search(QUERIES[:2], N + 5)
    assert (hits.docs[:, N:] == -1).all()
    assert (np.isneginf(hits.scores) == (hits.docs < 0)).all()
    assert index.search(QUERIES[:0], 3).docs.shape == (0, 3)


def test_scores_of_float_indexes_are_inner_products(kind):
    method, _, index = kind
    hits = index.search(QUERIES, 10)
    exact = np.einsum("qd,qkd->qk", QUERIES, DOCUMENTS[hits.docs])
    if method is not ProductQuantisation:
        np.testing.assert_allclose(hits.scores, exact, atol=1e-5)
    else:
        assert np.corrcoef(hits.scores.ravel(), exact.ravel())[0, 1] > 0.5


@pytest.mark.parametrize("probes", [[1, 4, 12, 40]])
def test_recall_of_inverted_lists_rises_to_all(tmp_path, probes):
    recalls = [recall(built(InvertedFile, tmp_path, n_lists=40, n_probe=probe)) for probe in probes]
    assert recalls == sorted(recalls)
    assert recalls[0] < 0.95
    assert recalls[-1] == 1


def test_recall_of_the_graph_rises_with_the_candidates(tmp_path):
    recalls = [
        recall(built(HNSW, tmp_path, m=4, ef_construction=20, ef_search=ef)) for ef in (1, 40, 400)
    ]
    assert recalls == sorted(recalls)
    assert recalls[0] < recalls[-1]
    assert recalls[-1] > 0.97


def test_a_graph_examines_at_least_as_many_candidates_as_results(tmp_path):
    index = built(HNSW, tmp_path, m=8, ef_construction=40, ef_search=1)
    assert (index.search(QUERIES, 300).docs >= 0).all()
    assert recall(index, k=300) > 0.95
    passes = np.arange(len(DOCUMENTS)) % 100 == 0
    where = Where(predicate=Comparison("year", ">", 3), passes=passes)
    hits = searched_after(index, QUERIES, 10, where)
    best = np.argsort(-(QUERIES @ DOCUMENTS[passes].T), axis=1)[:, :10]
    assert np.mean(hits.docs == np.flatnonzero(passes)[best]) > 0.95


def test_more_bytes_and_a_rotation_find_more(tmp_path):
    def found(subvectors, rotate=False):
        parameters = {"subvectors": subvectors, "bits": 6, "rotate": rotate}
        return recall(built(ProductQuantisation, tmp_path, **parameters))

    assert found(4) < found(8) < found(16)
    assert found(4) < found(4, rotate=True)


def test_all_lists_of_ivfpq_are_at_least_as_good_as_no_lists(tmp_path):
    parameters = {"subvectors": 8, "bits": 6}
    flat = recall(built(ProductQuantisation, tmp_path, **parameters))
    few = recall(built(ProductQuantisation, tmp_path, n_lists=40, n_probe=1, **parameters))
    all_lists = recall(built(ProductQuantisation, tmp_path, n_lists=40, n_probe=40, **parameters))
    assert few < all_lists
    assert flat <= all_lists  # residuals are smaller than what they are residuals of


def test_the_seed_draws_the_levels_of_every_graph(tmp_path):
    def levels(graph):
        return faiss.vector_to_array(graph.faiss.hnsw.levels)

    def of_another_method(seed):
        context = PlainContext(texts=[], work=tmp_path, seed=seed)
        return WithGraph(members=(None,)).graph([DOCUMENTS], DIM, context)

    third, fourth = of_another_method(3), of_another_method(4)
    hnsw = built(HNSW, tmp_path, seed=3)
    assert np.array_equal(levels(third), levels(hnsw))
    assert not np.array_equal(levels(third), levels(fourth))


def test_another_seed_is_another_quantiser(tmp_path):
    scores = [
        built(ProductQuantisation, tmp_path, seed=seed, subvectors=4, bits=6, rotate=rotate)
        .search(QUERIES, 5).scores
        for rotate in (False, True) for seed in (0, 1)
    ]  # fmt: skip
    assert not np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[2], scores[3])


def test_the_same_as_faiss_by_its_own_factory(tmp_path):
    parameters = {"subvectors": 8, "bits": 6}
    peer = faiss.index_factory(DIM, "PQ8x6", faiss.METRIC_INNER_PRODUCT)
    peer.pq.cp.seed = 5
    peer.train(DOCUMENTS)
    peer.add(DOCUMENTS)
    scores, docs = peer.search(QUERIES, 10)
    hits = built(ProductQuantisation, tmp_path, seed=5, **parameters).search(QUERIES, 10)
    assert (hits.docs == docs).mean() > 0.85  # documents of equal code may be in another order
    np.testing.assert_allclose(hits.scores, scores, atol=1e-6)


def test_scores_of_equal_codes_are_ties_in_the_order_of_positions():
    one, none = np.float32(1), np.finfo(np.float32).min
    above = np.nextafter(one, np.float32(2))
    docs = np.array([[7, 3, 5, 1, 9], [4, 2, 6, -1, -1], [5, 4, 3, 2, 1], [-1, -1, -1, -1, -1]])
    scores = np.array(
        [[above, one, one, 0.5, 0.5], [one, 0.5, 0.5, none, none], [5, 4, 3, 2, 1], [none] * 5],
        dtype=np.float32,
    )
    found, given = settled(docs, scores)
    assert found.tolist() == [[3, 5, 7, 1, 9], [4, 2, 6, -1, -1], [5, 4, 3, 2, 1], [-1] * 5]
    assert (given[0] == [above, above, above, 0.5, 0.5]).all()
    assert (given[1:] == scores[1:]).all()


@given(st.lists(st.floats(-4, 4, width=32) | st.sampled_from([1, ABOVE]), min_size=1, max_size=12))
def test_a_query_alone_is_settled_as_in_a_batch(scores):
    row = -np.sort(-np.array([scores], dtype=np.float32))
    docs = np.arange(row.size)[::-1][None]
    both = settled(np.repeat(docs, 2, axis=0), np.repeat(row, 2, axis=0))
    for alone, batch in zip(settled(docs, row), both, strict=True):
        np.testing.assert_array_equal(alone[0], batch[1])


@pytest.mark.parametrize("name", ["pq", "ivfpq", "ivf"])
def test_copies_of_a_document_tie(tmp_path, name):
    method, parameters = KINDS[name]
    index = built(method, tmp_path, vectors=np.tile(DOCUMENTS[:1001], (3, 1)), **parameters)
    hits = index.search(QUERIES, 9)
    docs = hits.docs.reshape(len(QUERIES), 3, 3)
    scores = hits.scores.reshape(docs.shape)
    single = [row for row in range(len(QUERIES)) if len(set(hits.docs[row] % 1001)) == 3]
    assert len(single) > 10
    assert (np.diff(docs[single], axis=2) > 0).mean() > 0.9
    assert (scores[single, :, 0] == scores[single, :, 2]).mean() > 0.9


def test_blocks_do_not_depend_on_the_pieces():
    for cuts in ([1], [13, 14, 900], [3999]):
        pieces = np.split(DOCUMENTS, cuts)
        made = list(blocks(pieces, rows=300))
        assert [len(block) for block in made] == [300] * 13 + [100]
        np.testing.assert_array_equal(np.concatenate(made), DOCUMENTS)


@pytest.mark.parametrize("name", KINDS)
def test_bad_vectors_are_named(tmp_path, name):
    method, parameters = KINDS[name]
    vectors = DOCUMENTS.copy()
    vectors[1234, 3] = np.nan
    with pytest.raises(AdapterError, match="position 1234"):
        built(method, tmp_path, vectors=vectors, **parameters)
    index = built(HNSW, tmp_path, vectors=DOCUMENTS[:50])
    with pytest.raises(AdapterError, match="query vectors hold NaN"):
        index.search(vectors[1230:1240], 2)
    with pytest.raises(AdapterError, match=r"\(n, 32\)"):
        index.search(QUERIES[:, :5], 2)


def test_small_collections_get_what_they_can_train(tmp_path):
    few = DOCUMENTS[:20]
    with pytest.warns(RankstoneWarning, match="'bits': asked for 8, took 4: 20 documents"):
        index = built(ProductQuantisation, tmp_path, vectors=few, subvectors=8)
    assert (index.search(few, 30).docs[:, 20:] == -1).all()
    with pytest.warns(RankstoneWarning) as warned:
        index = built(InvertedFile, tmp_path, vectors=few, n_lists=64, n_probe=30)
    told = [str(one.message).rpartition(":")[0] for one in warned]
    assert told == [
        "parameter 'n_lists': asked for 64, took 20",
        "parameter 'n_probe': asked for 30, took 20",
    ]
    assert recall(index, documents=few) == 1


def test_parts_must_divide_the_dimension(tmp_path):
    with pytest.raises(DefinitionError, match=r"'parameters.subvectors': 5 parts.* 8, 16, 32"):
        built(ProductQuantisation, tmp_path, subvectors=5)


def test_fewer_documents_than_dimensions_can_be_rotated(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((40, 96)).astype(np.float32)
    parameters = {"subvectors": 24, "bits": 4, "rotate": True}
    index = built(ProductQuantisation, tmp_path, vectors=vectors, **parameters)
    found = index.search(vectors, 1).docs[:, 0]
    assert (found == np.arange(40)).mean() > 0.9
