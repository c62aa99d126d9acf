"""Third-party vector engines against exact search."""

from __future__ import annotations

import importlib.metadata
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from rankstone.errors import MissingExtraError
from rankstone.predicates import Where, parse, passing
from rankstone.registry import load
from rankstone.runners import construct
from rankstone.runners.search.engines.hnswlib_index import HnswLibIndex
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.search.exactness import recall_of_exact
from rankstone.runners.search.filtered import FilteredSearch
from rankstone.runners.testing import PlainContext
from rankstone.workspace import Workspace
from tests.numbered import Numbered

N, DIM = 1500, 24
ENGINES = {
    "usearch": "usearch",
    "hnswlib": "hnswlib",
    "qdrant": "qdrant_edge",
    "lancedb": "lancedb",
}
"""Adapter -> the module it needs."""
IN_MEMORY = ("usearch", "hnswlib")


def unit(n, seed):
    vectors = np.random.default_rng(seed).standard_normal((n, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


DOCUMENTS, QUERIES = unit(N, 0), unit(40, 1)


def built(adapter, tmp_path, vectors=DOCUMENTS, columns=None, **parameters):
    runner = load("adapter", adapter, "test")(members=(Numbered(vectors),), **parameters)
    texts = [str(row) for row in range(len(vectors))]
    context = PlainContext(texts=texts, work=tmp_path, columns=columns or {})
    return runner, runner.index(None, context)


def test_recall_of_exact_search_is_measured_for_what_approximates(tmp_path):
    """Compared with exact search in numpy; exact methods have no recall."""
    runner = load("adapter", "hnsw", "test")(
        members=(Numbered(DOCUMENTS),), m=2, ef_construction=3, ef_search=1
    )
    context = PlainContext(texts=[str(row) for row in range(N)], work=tmp_path)
    texts, asked = [str(row) for row in range(50)], DOCUMENTS[:50]
    found = runner.index(None, context).search(asked, 12).docs
    exact = np.argsort(-(asked @ DOCUMENTS.T), axis=1)[:, :10]
    shares = [len({*a} & {*b[:10]}) / 10 for a, b in zip(exact, found, strict=True)]
    assert recall_of_exact(runner, texts, found, context) == pytest.approx(np.mean(shares))
    assert np.mean(shares) < 0.9
    assert recall_of_exact(Numbered(DOCUMENTS), texts, found, context) is None
    passes = np.random.default_rng(4).random(N) < 0.1
    where = Where(predicate=parse("words > 3"), passes=passes)
    best = np.argsort(-np.where(passes, asked @ DOCUMENTS.T, -np.inf), axis=1)[:, :10]
    shares = [len(set(a) & set(b)) / 10 for a, b in zip(best, found[:, :10], strict=True)]
    among = recall_of_exact(runner, texts, found, context, [where] * len(texts))
    assert among == pytest.approx(np.mean(shares))
    none = Where(predicate=where.predicate, passes=np.zeros(N, bool))
    assert recall_of_exact(runner, texts[:2], found[:2], context, [none, none]) is None
    half = recall_of_exact(runner, texts[:2], found[:2], context, [none, where])
    assert half == pytest.approx(shares[1])


def recall(index, k=10):
    exact = ExactIndex.build(DOCUMENTS).search(QUERIES, k).docs
    found = index.search(QUERIES, k).docs
    return np.mean([len(set(a) & set(b)) / k for a, b in zip(exact, found, strict=True)])


@pytest.fixture(params=ENGINES)
def adapter(request):
    if find_spec(ENGINES[request.param]) is None:
        pytest.skip(f"needs {ENGINES[request.param]}: pip install 'rankstone[engines]'")
    return request.param


def test_exact_search_is_ours(adapter, tmp_path):
    _, index = built(adapter, tmp_path, exact=True)
    ours, theirs = ExactIndex.build(DOCUMENTS).search(QUERIES, 50), index.search(QUERIES, 50)
    np.testing.assert_allclose(theirs.scores, ours.scores, atol=1e-6)
    np.testing.assert_array_equal(theirs.docs, ours.docs)


def test_ties_go_to_the_lower_position(adapter, tmp_path):
    _, index = built(adapter, tmp_path, np.concatenate([DOCUMENTS[:300]] * 2), exact=True)
    best = np.argsort(-(QUERIES.astype(np.float64) @ DOCUMENTS[:300].T), axis=1)[:, :20]
    expected = np.stack([best, best + 300], axis=2).reshape(len(QUERIES), -1)
    np.testing.assert_array_equal(index.search(QUERIES, 40).docs, expected)


def test_tiny_products_keep_their_order(adapter, tmp_path):
    tiny = DOCUMENTS[:40] * np.float32(1e-5)
    found = built(adapter, tmp_path, tiny, exact=True)[1].search(QUERIES * np.float32(1e-3), 40)
    products = QUERIES.astype(np.float64) * 1e-3 @ tiny.astype(np.float64).T
    np.testing.assert_array_equal(found.docs, np.argsort(-products, axis=1, kind="stable"))
    np.testing.assert_allclose(found.scores, -np.sort(-products, axis=1), rtol=1e-4, atol=1e-13)


def test_recall_of_the_graph_rises_with_the_candidates(adapter, tmp_path):
    recalls = [
        recall(built(adapter, tmp_path, m=4, ef_construction=40, ef_search=ef)[1])
        for ef in (1, 40, 600)
    ]
    assert recalls == sorted(recalls)
    assert recalls[0] < 0.9
    assert recalls[-1] > 0.97


@pytest.mark.slow
def test_recall_reaches_what_hnswlib_requires_of_itself(adapter, tmp_path):
    """Above .95 for 100,000 uniform vectors of 32 dimensions with m = 16 and lists of 200: the
    setting of hnswlib's own tests/python/bindings_test_recall.py, here on unit vectors."""
    drawn = np.random.default_rng(0).random((100_200, 32), dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    documents, queries = drawn[:100_000], drawn[100_000:]
    sizes = {"m": 16, "ef_construction": 200, "ef_search": 200}
    found = built(adapter, tmp_path, documents, **sizes)[1].search(queries, 10).docs
    best = np.argpartition(-(queries @ documents.T), 10, axis=1)[:, :10]
    assert np.mean([np.isin(a, b).mean() for a, b in zip(best, found, strict=True)]) > 0.95


def test_a_single_query_is_answered_as_in_a_batch(adapter, tmp_path):
    """With ties, and with more results than documents."""
    _, index = built(adapter, tmp_path, np.concatenate([DOCUMENTS[:60]] * 2), exact=True)
    for k in (1, 7, 125):
        batch = index.search(QUERIES[:4], k)
        for row in range(4):
            single = index.search(QUERIES[row : row + 1], k)
            np.testing.assert_array_equal(single.docs[0], batch.docs[row])
            np.testing.assert_allclose(single.scores[0], batch.scores[row], rtol=1e-5)
            assert (single.docs.dtype, single.scores.dtype) == (np.int64, np.float32)


@pytest.mark.parametrize("exact", [False, True])
def test_a_saved_index_answers_alike_and_every_shape_is_kept(adapter, tmp_path, exact):
    _, index = built(adapter, tmp_path, m=8, ef_construction=40, ef_search=30, exact=exact)
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    loaded = type(index).load(tmp_path / "saved")
    for k in (20, N + 5):
        first, again = index.search(QUERIES[:3], k), loaded.search(QUERIES[:3], k)
        np.testing.assert_array_equal(first.docs, again.docs)
        np.testing.assert_array_equal(first.scores, again.scores)
        single = index.search(QUERIES[:1], k)
        np.testing.assert_array_equal(single.docs[0], first.docs[0])
        assert (np.isneginf(first.scores) == (first.docs < 0)).all()
    assert index.search(QUERIES[:0], 3).docs.shape == (0, 3)
    size = sum(file.stat().st_size for file in (tmp_path / "saved").iterdir())
    if adapter in IN_MEMORY:
        assert index.nbytes() == pytest.approx(size, rel=0.1)
    assert loaded.nbytes() == index.nbytes()
    assert 4 * N * DIM < index.nbytes() < 40 * N * DIM


def columns():
    """Return columns of every type, with one in seven values unknown."""
    rng = np.random.default_rng(2)
    values = {
        "year": rng.integers(1990, 2020, N).tolist(),
        "price": rng.random(N).tolist(),
        "source": rng.choice(["web", "b'c", "Ö"], N).tolist(),
        "draft": (rng.random(N) < 0.5).tolist(),
    }
    known = {name: np.where(rng.random(N) < 1 / 7, None, held) for name, held in values.items()}
    return {name: pa.chunked_array([held[:700], held[700:]]) for name, held in known.items()}


COLUMNS = columns()
FILTERS = [
    "year >= 2005", 'source != "web" and not draft', "price < .01", "year != 2001 or draft == True",
    """source in ["Ö", "b'c"] and (1995 < year <= 2001 or not (price >= .5 or draft))""",
]  # fmt: skip


@pytest.mark.parametrize("exact", [False, True])
def test_filtered_search_finds_the_best_that_pass(adapter, tmp_path, exact):
    wheres = [Where(predicate=(p := parse(t)), passes=passing(p, COLUMNS)) for t in FILTERS]
    index = built(adapter, tmp_path, columns=COLUMNS, exact=exact, ef_search=200)[1]
    search = FilteredSearch(index, [*wheres, None])
    native = adapter in ("qdrant", "lancedb") or (adapter == "hnswlib" and not exact)
    assert search.how == ("native" if native else "after")
    found = search.search(QUERIES[: len(FILTERS) + 1], range(len(FILTERS) + 1), 20)
    scores = QUERIES.astype(np.float64) @ DOCUMENTS.T
    for row, where in enumerate(wheres):
        best = np.argsort(-np.where(where.passes, scores[row], -np.inf))
        best = best[: min(20, where.passes.sum())]
        hits = found.docs[row][found.docs[row] >= 0]
        assert where.passes[hits].all()
        assert len(hits) <= len(best)
        assert np.isin(best, hits).mean() == 1 if exact else np.isin(best, hits).mean() > 0.9
        if exact:
            assert hits.tolist() == best.tolist()
    np.testing.assert_array_equal(
        found.docs[-1], index.search(QUERIES[len(FILTERS)][None], 20).docs[0]
    )


@pytest.mark.parametrize("exact", [False, True])
def test_deletions_never_come_back_and_insertions_are_found(adapter, tmp_path, exact):
    """Six exchanges of ten documents, against brute force over the live ones."""
    index = built(adapter, tmp_path, DOCUMENTS[:500], exact=exact, ef_search=100)[1]
    rng, live, key, recalls = np.random.default_rng(3), {n: n for n in range(500)}, 500, []
    for _ in range(6):
        gone = rng.choice(sorted(live), 10, replace=False)
        index.delete(gone)
        came = [live.pop(one) for one in gone.tolist()]
        index.insert(np.arange(key, key + 5), DOCUMENTS[came[:5]])
        live.update(zip(range(key, key + 5), came[:5], strict=True))
        key += 5
        keys = np.array(list(live))
        best = keys[np.argsort(-(QUERIES @ DOCUMENTS[list(live.values())].T), axis=1)[:, :10]]
        hits = index.search(QUERIES, 10).docs
        assert set(hits.ravel().tolist()) <= set(live)
        recalls.append(np.mean([np.isin(a, b).mean() for a, b in zip(best, hits, strict=True)]))
    if hasattr(index, "compact"):
        index.compact()
    assert min(recalls) == 1 if exact else np.mean(recalls) > 0.95
    every = index.search(QUERIES[:1], 600).docs[0]
    assert set(every[every >= 0].tolist()) == set(live) or not exact


def test_the_description_states_version_and_parameters(adapter, tmp_path):
    runner = built(adapter, tmp_path, DOCUMENTS[:20], ef_search=77)[0]
    described = runner.describe()["index"]
    assert described["ef_search"] == 77
    assert described["engine"] == f"{runner.ENGINE} {importlib.metadata.version(runner.ENGINE)}"


def test_a_missing_package_is_an_error_with_the_install_line(monkeypatch):
    spec = Workspace.find(Path(__file__).resolve().parents[3]).method("engines/minilm-usearch")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=re.escape("rankstone[engines]")):
        construct.build_runner(spec)


class Parts:
    """A disconnected graph as in hnswlib: a query's values state how many 64ths it reaches."""

    def knn_query(self, queries, k, num_threads):
        if k > (64 * queries[:, 0] / queries[:, 1]).min():
            raise RuntimeError("Cannot return the results in a contiguous 2D array")
        return np.tile(np.arange(k, dtype=np.uint64), (len(queries), 1)), np.zeros(
            (len(queries), k)
        )


def test_a_query_that_reaches_few_documents_gets_these():
    about = {"rows": 10, "dim": 2, "threads": 1, "exact": True}
    reached = np.array([[1, 64], [7, 64], [10, 64], [12, 64]], dtype=np.float32)
    docs, scores = HnswLibIndex(Parts(), about).search(reached, 12)
    assert [(row >= 0).sum() for row in docs] == [1, 7, 10, 10]
    assert docs[1].tolist() == [*range(7), *[-1] * 5]
    assert (np.isneginf(scores) == (docs < 0)).all()
