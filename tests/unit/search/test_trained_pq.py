"""JPQ and RepCONC against OPQ and faiss, and the effects of their training."""

from __future__ import annotations

import faiss
import ir_measures
import numpy as np
import pytest
import torch

from rankstone.errors import DefinitionError, RankstoneWarning
from rankstone.runners.protocols import Truncation
from rankstone.runners.search.quantisation import codebooks
from rankstone.runners.search.quantisation.codebooks import Options, table_scores, train_jpq
from rankstone.runners.search.quantisation.jpq import JPQ
from rankstone.runners.search.quantisation.pq import ProductQuantisation
from rankstone.runners.search.quantisation.quantiser import bare_index, opq, quantiser_of, trained
from rankstone.runners.search.quantisation.repconc import RepCONC
from rankstone.runners.search.quantisation.training_queries import TrainingQueries, mean_ndcg
from rankstone.runners.testing import Pairs, PlainContext

N, N_QUERIES, DIM, M = 400, 120, 8, 2


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def correlated(n, seed):
    mixing = np.random.default_rng(98).standard_normal((DIM, DIM)) * 0.75 ** np.arange(DIM)
    return unit(np.random.default_rng(seed).standard_normal((n, DIM)) @ mixing.T)


DOCUMENTS = correlated(N, 0)
RELEVANT = np.random.default_rng(3).integers(N, size=N_QUERIES)
QUERIES = unit(DOCUMENTS[RELEVANT] + 0.1 * correlated(N_QUERIES, 1))
"""Queries near their relevant documents."""
OTHERS = correlated(40, 2)


class Encoder:
    """Encoder of texts that are row numbers."""

    cacheable = False

    def describe(self):
        return {"method": "numbered"}

    def encode(self, texts, role):
        rows = [int(text) for text in texts]
        return (QUERIES if role == "query" else DOCUMENTS)[rows].copy()

    def truncation(self, texts, role):
        return Truncation()


def context(tmp_path, *, n=N, queries=N_QUERIES):
    work = tmp_path / "work"
    work.mkdir(exist_ok=True)
    judged = Pairs(query=np.arange(queries), document=RELEVANT[:queries])
    return PlainContext(
        texts=[str(row) for row in range(n)],
        work=work,
        train_queries=[str(row) for row in range(queries)],
        train_judgements=judged,
    )


def built(method, tmp_path, *, n=N, queries=N_QUERIES, **parameters):
    runner = method(members=(Encoder(),), **{"subvectors": M, **parameters})
    where = context(tmp_path, n=n, queries=queries)
    return runner.index(None, where)


def parts_of(index):
    """Return rotation and centroids, and codes by position."""
    inner = faiss.downcast_index(index.faiss.index)
    codes = faiss.vector_to_array(inner.codes).reshape(inner.ntotal, -1)
    return quantiser_of(index.faiss), codes


QUICK = {"epochs": 3, "centroid_rate": 1e-3}
METHODS = {
    "jpq": (JPQ, QUICK),
    "jpq-query": (JPQ, {**QUICK, "query_rate": 1e-3}),
    "jpq-ivf": (JPQ, {**QUICK, "n_lists": 8, "n_probe": 3}),
    "repconc": (RepCONC, {**QUICK, "cluster_epochs": 1, "batch_documents": 256, "iterations": 30}),
}


@pytest.fixture(scope="module", params=METHODS)
def subject(request, tmp_path_factory):
    method, parameters = METHODS[request.param]
    return method, parameters, built(method, tmp_path_factory.mktemp("index"), **parameters)


@pytest.fixture(scope="module")
def warm():
    return opq(DOCUMENTS, subvectors=M, bits=8, seed=0)


@pytest.fixture(scope="module")
def queries():
    return TrainingQueries(QUERIES, [np.array([row]) for row in RELEVANT])


def test_saved_and_built_again_it_is_the_same(subject, tmp_path):
    method, parameters, index = subject
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    first = index.search(OTHERS, 20)
    for other in (
        type(index).load(tmp_path / "saved"),
        built(method, tmp_path, **parameters),
    ):
        for one, two in zip(first, other.search(OTHERS, 20), strict=True):
            np.testing.assert_array_equal(one, two)
    assert index.nbytes() == pytest.approx(len(faiss.serialize_index(index.faiss)), rel=0.1)


def test_a_score_is_the_inner_product_with_what_codes_stand_for(tmp_path):
    for method, parameters in METHODS.values():
        index = built(method, tmp_path, **{**parameters, "n_lists": None, "query_rate": None})
        quantiser, codes = parts_of(index)
        expected = quantiser.rotated(OTHERS) @ quantiser.decoded(codes).T
        hits = index.search(OTHERS, N)
        found = np.take_along_axis(expected, hits.docs, axis=1)
        np.testing.assert_allclose(hits.scores, found, atol=1e-5)
        assert codes.shape == (N, M)


def test_faiss_gives_the_same_scores_with_the_same_centroids(warm):
    peer = faiss.IndexPQ(DIM, M, 8, faiss.METRIC_INNER_PRODUCT)
    faiss.copy_array_to_vector(warm.centroids.ravel(), peer.pq.centroids)
    peer.is_trained = True
    rotated = warm.rotated(DOCUMENTS)
    peer.add(rotated)
    mine = warm.codes(DOCUMENTS)
    theirs = faiss.vector_to_array(peer.codes).reshape(N, M)
    assert (mine == theirs).mean() > 0.999  # two centroids may be equally near
    scores, _ = bare_index(warm, mine).search(warm.rotated(OTHERS), 10)
    np.testing.assert_allclose(scores, peer.search(warm.rotated(OTHERS), 10)[0], atol=1e-5)


def test_tables_of_torch_are_the_asymmetric_distance(warm):
    codes = warm.codes(DOCUMENTS)
    chosen = np.random.default_rng(0).integers(N, size=(40, 7))
    scores = table_scores(
        torch.from_numpy(OTHERS),
        torch.from_numpy(warm.centroids),
        torch.from_numpy(codes[chosen]).long(),
    )
    decoded = warm.decoded(codes)[chosen]
    np.testing.assert_allclose(scores, np.einsum("qd,qkd->qk", OTHERS, decoded), atol=1e-5)


def test_a_rotation_lowers_the_error(warm):
    def error(quantiser):
        codes = quantiser.codes(DOCUMENTS)
        return ((quantiser.rotated(DOCUMENTS) - quantiser.decoded(codes)) ** 2).sum(axis=1).mean()

    index = faiss.IndexPQ(DIM, M, 8, faiss.METRIC_INNER_PRODUCT)
    plain = quantiser_of(trained(index, DOCUMENTS, rotate=False, seed=0))
    assert plain.rotation is None
    assert error(warm) < 0.95 * error(plain)
    np.testing.assert_allclose(warm.rotation @ warm.rotation.T, np.eye(DIM), atol=1e-4)


def test_jpq_keeps_the_codes_and_rotation_of_opq(tmp_path, warm):
    quantiser, codes = parts_of(built(JPQ, tmp_path, **QUICK))
    np.testing.assert_array_equal(codes, warm.codes(DOCUMENTS))
    np.testing.assert_array_equal(quantiser.rotation, warm.rotation)
    assert not np.array_equal(quantiser.centroids, warm.centroids)


def objective(quantiser, codes, queries):
    """Return the loss of JPQ over all documents, computed independently."""
    scores = quantiser.rotated(queries.vectors) @ quantiser.decoded(codes).T
    scores = scores / codebooks.TEMPERATURE
    right = scores[np.arange(len(queries)), [row[0] for row in queries.relevant]]
    return (np.log(np.exp(scores).sum(axis=1)) - right).mean()


def test_jpq_never_worsens_its_objective(warm, queries):
    codes = warm.codes(DOCUMENTS)
    learn, held_out = queries.split(0)
    assert len(learn) + len(held_out) == len(queries)
    learnt = train_jpq(warm, codes, learn, held_out, Options(8, 1e-3))
    assert learnt.losses == sorted(learnt.losses, reverse=True)
    assert objective(learnt.quantiser, codes, learn) < objective(warm, codes, learn)
    best = learnt.held_out.index(max(learnt.held_out))
    index = bare_index(learnt.quantiser, codes)
    docs = index.search(learnt.quantiser.rotated(held_out.vectors), 10)[1]
    assert mean_ndcg(docs, held_out.relevant) == learnt.held_out[best] >= learnt.held_out[0]


def test_a_training_that_only_harms_leaves_the_start(warm, queries):
    codes = warm.codes(DOCUMENTS)
    learn, held_out = queries.split(0)
    learnt = train_jpq(warm, codes, learn, held_out, Options(20, 10.0))
    assert learnt.quantiser.centroids is not warm.centroids
    np.testing.assert_array_equal(learnt.quantiser.centroids, warm.centroids)
    assert len(learnt.held_out) == 1 + codebooks.PATIENCE


def test_without_training_queries_it_is_opq_with_a_warning(tmp_path):
    expected = built(ProductQuantisation, tmp_path, rotate=True).search(OTHERS, 20)
    for method in (JPQ, RepCONC):
        with pytest.warns(RankstoneWarning, match="results are those of OPQ, the initial state"):
            index = built(method, tmp_path, queries=0)
        hits = index.search(OTHERS, 20)
        np.testing.assert_allclose(hits.scores, expected.scores, atol=1e-5)


def test_all_lists_are_no_lists(tmp_path):
    whole = built(JPQ, tmp_path, **QUICK).search(OTHERS, 20)
    for n_probe, equal in ((8, True), (1, False)):
        hits = built(JPQ, tmp_path, **QUICK, n_lists=8, n_probe=n_probe).search(OTHERS, 20)
        assert np.allclose(hits.scores, whole.scores, atol=1e-5) == equal


def test_balanced_codes_use_centroids_more_equally(tmp_path):
    def spread(**more):
        parameters = {"cluster_epochs": 0, "epochs": 0, "batch_documents": N, **more}
        _, codes = parts_of(built(RepCONC, tmp_path, **parameters))
        return np.mean([np.bincount(column, minlength=256).std() for column in codes.T])

    assert spread(balanced=True) < 0.8 * spread()


def test_few_documents_train_few_centroids_in_whole_bytes(tmp_path):
    for method in (JPQ, RepCONC):
        with pytest.warns(RankstoneWarning) as warned:
            index = built(method, tmp_path, n=26, queries=0)
        assert "'bits': asked for 8, took 4" in str(warned[0].message)
        quantiser, codes = parts_of(index)
        assert quantiser.centroids.shape == (M, 256, DIM // M)
        assert codes.max() < 16
        assert (index.search(OTHERS, 30).docs[:, 26:] == -1).all()


def test_parts_must_divide_the_dimension(tmp_path):
    with pytest.raises(DefinitionError, match=r"parameters.subvectors.*1, 2, 4, 8"):
        built(JPQ, tmp_path, subvectors=5)


def test_held_out_quality_is_the_ndcg_of_ir_measures():
    rng = np.random.default_rng(0)
    docs = np.array([rng.permutation(30)[:10] for _ in range(20)])
    relevant = [rng.permutation(30)[: rng.integers(1, 14)] for _ in range(20)]
    qrels = [ir_measures.Qrel(str(q), str(d), 1) for q, row in enumerate(relevant) for d in row]
    run = [
        ir_measures.ScoredDoc(str(q), str(d), -float(rank))
        for q, row in enumerate(docs) for rank, d in enumerate(row)
    ]  # fmt: skip
    measure = ir_measures.nDCG @ 10
    expected = ir_measures.calc_aggregate([measure], qrels, run)[measure]
    assert mean_ndcg(docs, relevant) == pytest.approx(expected)
