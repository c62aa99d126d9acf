"""Learned sparse vectors in Lucene, against integer products and Anserini's searcher."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rankstone.errors import AdapterError
from rankstone.runners.lucene.impacts import LARGEST, ImpactIndex, Scales, quantised
from rankstone.runners.lucene.lucene_impact import LuceneImpact
from rankstone.runners.protocols import Defaults
from rankstone.runners.representations.sparse_rows import SparseRows, sparse_rows
from rankstone.runners.testing import PlainContext

WIDTH = 40


def row(weights):
    """Return the sparse row of a dense vector."""
    terms = np.flatnonzero(weights)
    return terms, np.asarray(weights, dtype=np.float32)[terms]


def rows(n, seed, heaviest=3.0, share=0.3) -> SparseRows:
    rng = np.random.default_rng(seed)
    whole = rng.random((n, WIDTH)) * heaviest * (rng.random((n, WIDTH)) < share)
    return sparse_rows([row(one) for one in whole.astype(np.float32)], WIDTH)


def whole_numbers(vectors: SparseRows, scale: float):
    """Return (n, WIDTH) int64 weights times `scale`, rounded by Python's rule."""
    made = np.zeros((len(vectors), WIDTH), dtype=np.int64)
    for number, (terms, weights) in enumerate(vectors.rows()):
        made[number, terms] = [round(float(w) * scale) for w in weights]
    return made


def expected(exact, k):
    """Return positions of the k highest sums above zero, ties by position."""
    order = np.lexsort((np.arange(len(exact)), -exact))
    return [int(doc) for doc in order if exact[doc] > 0][:k]


def test_weights_become_whole_numbers_or_are_refused() -> None:
    terms, impacts = quantised((np.arange(6), np.array([0.004, 0.006, 0.125, 1, 2.344, 0])), 100)
    assert (terms.tolist(), impacts.tolist()) == ([1, 2, 3, 4], [1, 12, 100, 234])
    for weight in (-1.0, np.nan, np.inf, LARGEST / 100):
        with pytest.raises(AdapterError, match="whole numbers from 0 below 16,777,216"):
            quantised((np.array([0]), np.array([weight])), 100)


pyserini = pytest.importorskip("pyserini", reason="needs the extra 'lucene'")


@pytest.mark.parametrize(("scales", "threads"), [((100.0, 100.0), 1), ((7.5, 51.2), 2)])
def test_scores_are_whole_products(scales, threads, tmp_path: Path) -> None:
    documents, queries = rows(120, seed=1), rows(25, seed=2, share=0.2)
    (tmp_path / "index").mkdir()
    settings = Scales(documents=scales[0], queries=scales[1], threads=threads)
    index = ImpactIndex.build([documents[:50], documents[50:]], tmp_path / "index", settings)
    found = index.search(queries, 30)
    exact = whole_numbers(queries, scales[1]) @ whole_numbers(documents, scales[0]).T
    for number, sums in enumerate(exact):
        docs = expected(sums, 30)
        assert found.docs[number, : len(docs)].tolist() == docs
        assert found.scores[number, : len(docs)].tolist() == sums[docs].tolist()
        assert (found.docs[number, len(docs) :] == -1).all()
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    loaded = ImpactIndex.load(tmp_path / "saved")
    files = [path.stat().st_size for path in (tmp_path / "index").glob("_*")]
    assert loaded.nbytes() == index.nbytes() >= sum(files) > 0
    np.testing.assert_array_equal(loaded.search(queries, 30), found)


def test_scores_above_2_to_24_are_the_nearest_float(tmp_path: Path) -> None:
    documents = rows(40, seed=3, heaviest=60_000.0)
    index = ImpactIndex.build([documents], tmp_path, Scales(documents=100, queries=100))
    query = rows(1, seed=4, heaviest=900.0)
    exact = (whole_numbers(query, 100) @ whole_numbers(documents, 100).T)[0]
    assert exact.max() > 2**36
    found = index.search(query, 40)
    docs = found.docs[0][found.docs[0] >= 0]
    np.testing.assert_allclose(found.scores[0, : len(docs)], exact[docs], rtol=2**-22)


def test_ties_go_to_the_lower_position_and_no_shared_term_finds_nothing(tmp_path: Path) -> None:
    one, other = row([1.001] + [0] * (WIDTH - 1)), row([0, 1.0] + [0] * (WIDTH - 2))
    documents = sparse_rows([other, *[one] * 7, (np.array([]), np.array([]))], WIDTH)
    index = ImpactIndex.build([documents], tmp_path, Scales(documents=100, queries=100))
    faint = row([0.004] + [0] * (WIDTH - 1))
    queries = sparse_rows([one, (np.array([]), np.array([])), faint], WIDTH)
    found = index.search(queries, 4)
    assert found.docs.tolist() == [[1, 2, 3, 4], [-1] * 4, [-1] * 4]
    assert found.scores[0].tolist() == [10_000.0] * 4


def test_scores_are_those_of_anserinis_own_searcher(tmp_path: Path) -> None:
    from rankstone.runners.lucene.jvm import java
    from tests.lucene_indexes import write_impacts

    documents, queries = rows(60, seed=5), rows(6, seed=6)
    written = {
        f"{number:04d}": {f"t{term}": int(n) for term, n in enumerate(own)}
        for number, own in enumerate(whole_numbers(documents, 100))
    }
    write_impacts(tmp_path / "peer", written)
    (tmp_path / "own").mkdir()
    own = ImpactIndex.build([documents], tmp_path / "own", Scales(documents=100, queries=100))
    peer = java("io.anserini.search.SimpleImpactSearcher")(str(tmp_path / "peer"))
    found = own.search(queries, 10)
    for number, weights in enumerate(whole_numbers(queries, 100)):
        asked = java("java.util.HashMap")()
        for term in np.flatnonzero(weights):
            asked.put(f"t{term}", java("java.lang.Integer")(int(weights[term])))
        hits = peer.search(asked, 10)
        assert found.docs[number].tolist() == [int(hit.docid) for hit in hits]
        # Anserini lowers equal scores by 1e-6 and more.
        np.testing.assert_allclose(found.scores[number], [hit.score for hit in hits], atol=0.01)


class Counted(Defaults):
    """Encoder of texts as counts of the letters a to z."""

    def encode(self, texts, role):
        return sparse_rows([row([text.count(chr(97 + n)) for n in range(WIDTH)]) for text in texts],
                           WIDTH)  # fmt: skip

    def index(self, documents, context): ...


def test_any_sparse_encoder_is_a_member(tmp_path: Path) -> None:
    runner = LuceneImpact(members=(Counted(),), scale=10.0, query_scale=2.0)
    context = PlainContext(texts=["abba", "b", "cc"], work=tmp_path)
    index = runner.index(context.encoded(runner), context)
    found = index.search(runner.encode(["bac"], "query"), 3)
    assert found.docs.tolist() == [[0, 2, 1]]
    assert found.scores.tolist() == [[80.0, 40.0, 20.0]]
    assert runner.describe()["index"]["scale"] == 10.0
    assert "anserini" in runner.describe()["index"]["engine"]
