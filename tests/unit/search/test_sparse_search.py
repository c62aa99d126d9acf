"""Seismic and two-step search over sparse vectors, against brute force and the exact index."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankstone.errors import AdapterError
from rankstone.runners.representations.sparse_rows import sparse_rows
from rankstone.runners.search.exact.inverted_index import InvertedIndex
from rankstone.runners.search.sparse.seismic import Seismic, SeismicIndex
from rankstone.runners.search.sparse.two_step import PrunedIndex, TwoStep, heaviest, saturated
from rankstone.runners.testing import PlainContext

WIDTH = 300


def vectors(n, seed, terms=12, width=WIDTH):
    """Return vectors of texts with terms from one of ten topics each."""
    rng = np.random.default_rng(seed)
    topics = np.random.default_rng(99).random((10, width)) ** 12
    rows = []
    for _ in range(n):
        shares = topics[rng.integers(10)]
        own = np.sort(rng.choice(width, terms, replace=False, p=shares / shares.sum()))
        rows.append((own, rng.random(terms, dtype=np.float32) + 0.05))
    return sparse_rows(rows, width)


@dataclass(frozen=True)
class Rows:
    """Encoder whose texts are row numbers."""

    rows: Any
    requires = {}  # noqa: RUF012
    cacheable = False

    def describe(self):
        return {"method": "rows"}

    def encode(self, texts, role):
        from rankstone.runners.representations.base import take

        return take(self.rows, np.array([int(text) for text in texts], dtype=np.int64))


def build(adapter, rows, tmp_path, threads=1, **parameters):
    runner = adapter(members=(Rows(rows),), **parameters)
    texts = [str(i) for i in range(len(rows))]
    return runner.index(None, PlainContext(texts=texts, work=tmp_path, threads=threads))


@given(st.lists(st.lists(st.integers(1, 5), max_size=8), min_size=1, max_size=5), st.integers(1, 6))
def test_heaviest_terms_are_those_of_plain_python(weights, n):
    rows = sparse_rows([(np.arange(len(w)) * 3, np.array(w, np.float32)) for w in weights], 30)
    for (terms, values), given_ in zip(heaviest(rows, n).rows(), weights, strict=True):
        best = sorted(range(len(given_)), key=lambda i: (-given_[i], i))[:n]
        assert terms.tolist() == [3 * i for i in sorted(best)]
        assert values.tolist() == [given_[i] for i in sorted(best)]


def test_saturation_is_that_of_bm25():
    rows = sparse_rows([(np.array([1, 4]), np.array([0.5, 3.0]))], 5)
    found = saturated(rows, 1.2)
    np.testing.assert_allclose(found.weights, [0.5 * 2.2 / 1.7, 3.0 * 2.2 / 4.2], rtol=1e-6)
    assert found.terms.tolist() == [1, 4]


def test_nothing_pruned_is_exact_search(tmp_path):
    rows, queries = vectors(80, 0), vectors(9, 1)
    exact = InvertedIndex.build([rows]).search(queries, 20)
    whole = build(TwoStep, rows, tmp_path, document_terms=12, query_terms=12)
    for one, other in zip(whole.search(queries, 20), exact, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_first_step_scores_pruned_vectors(tmp_path):
    rows, queries = vectors(80, 0), vectors(9, 1)
    index = build(TwoStep, rows, tmp_path, document_terms=4, query_terms=3, k1=0.5)
    found = index.search(queries, 80)
    documents = saturated(heaviest(rows, 4), 0.5).matrix().toarray()
    expected = heaviest(queries, 3).matrix().toarray() @ documents.T
    for row in range(len(queries)):
        own = expected[row]
        order = [int(d) for d in np.lexsort((np.arange(80), -own)) if own[d] > 0]
        assert found.docs[row, : len(order)].tolist() == order
        assert (found.docs[row, len(order) :] == -1).all()


def test_rescoring_brings_pruned_search_nearer_to_exact(tmp_path):
    rows, queries = vectors(400, 0), vectors(30, 1)
    exact = InvertedIndex.build([rows]).search(queries, 10)

    def recall(**parameters):
        found = build(TwoStep, rows, tmp_path, document_terms=4, query_terms=4, **parameters)
        docs = found.search(queries, 10).docs
        return np.mean([len(set(a) & set(b)) for a, b in zip(docs, exact.docs, strict=True)]) / 10

    first, second = recall(), recall(rescore=100)
    assert first + 0.1 < second <= 1
    small = build(TwoStep, rows, tmp_path, document_terms=4)
    assert small.nbytes() < 0.5 * InvertedIndex.build([rows]).nbytes()


def test_a_pruned_index_is_saved_with_its_query_pruning(tmp_path):
    rows, queries = vectors(50, 0), vectors(5, 1)
    index = build(TwoStep, rows, tmp_path, document_terms=5, query_terms=2)
    index.save(tmp_path)
    loaded = PrunedIndex.load(tmp_path)
    np.testing.assert_array_equal(index.search(queries, 9).docs, loaded.search(queries, 9).docs)
    assert loaded.nbytes() == index.nbytes()


@pytest.fixture
def seismic():
    return pytest.importorskip("seismic", reason="needs the extra 'sparse'")


def test_a_thorough_seismic_is_exact_but_for_half_precision(seismic, tmp_path, capfd):
    rows, queries = vectors(300, 0), vectors(20, 1)
    exact = InvertedIndex.build([rows]).search(queries, 20)
    index = build(Seismic, rows, tmp_path, query_cut=12, heap_factor=0.1, summary_energy=1.0)
    found = index.search(queries, 20)
    np.testing.assert_allclose(found.scores, exact.scores, rtol=2e-3)
    share = np.mean(
        [len(set(a) & set(b)) / 20 for a, b in zip(found.docs, exact.docs, strict=True)]
    )
    assert share > 0.98
    assert capfd.readouterr().out == "", "what Seismic prints is kept from stdout"


def test_looking_at_fewer_terms_loses_recall(seismic, tmp_path):
    rows, queries = vectors(2000, 0), vectors(30, 1)
    exact = InvertedIndex.build([rows]).search(queries, 10)

    def recall(cut):
        docs = build(Seismic, rows, tmp_path, query_cut=cut).search(queries, 10).docs
        return np.mean([len(set(a) & set(b)) for a, b in zip(docs, exact.docs, strict=True)]) / 10

    few, many = recall(1), recall(12)
    assert few < many
    assert many > 0.9


def test_seismic_is_the_same_with_threads_and_after_a_reload(seismic, tmp_path):
    rows, queries = vectors(500, 0), vectors(20, 1)
    one, two = (build(Seismic, rows, tmp_path, threads=n) for n in (1, 2))
    two.save(tmp_path)
    loaded = SeismicIndex.load(tmp_path)
    expected = one.search(queries, 30)
    for index in (two, loaded):
        found = index.search(queries, 30)
        np.testing.assert_array_equal(found.docs, expected.docs)
        np.testing.assert_array_equal(found.scores, expected.scores)
    disk = sum(path.stat().st_size for path in tmp_path.iterdir() if path.is_file())
    assert loaded.nbytes() == pytest.approx(disk, rel=0.25)


def test_seismic_with_large_vocabularies_and_without_terms(seismic, tmp_path):
    wide = sparse_rows(
        [(np.array([]), np.array([])), (np.array([7, 99_000]), np.array([1.0, 2.0]))] * 3, 100_000
    )
    index = build(Seismic, wide, tmp_path)
    found = index.search(wide, 9)
    assert found.docs[1][:4].tolist() == [1, 3, 5, -1]
    np.testing.assert_allclose(found.scores[1][:3], 5.0)
    assert (found.docs[0] == -1).all()
    nothing = build(Seismic, wide[:1], tmp_path)
    assert (nothing.search(wide, 3).docs == -1).all()
    assert nothing.nbytes() > 0


@pytest.mark.parametrize("adapter", [Seismic, TwoStep])
def test_other_vocabularies_and_broken_weights_are_refused(adapter, tmp_path):
    if adapter is Seismic:
        pytest.importorskip("seismic", reason="needs the extra 'sparse'")
    index = build(adapter, vectors(5, 0), tmp_path)
    with pytest.raises(AdapterError, match="300 entries, found 400"):
        index.search(vectors(2, 1, width=400), 3)
    broken = sparse_rows([(np.array([1]), np.array([np.nan]))], WIDTH)
    with pytest.raises(AdapterError, match="position 0 holds NaN"):
        build(adapter, broken, tmp_path)


def test_importing_the_adapters_does_not_load_seismic():
    import subprocess

    code = "import sys, rankstone.runners.search.sparse.seismic; sys.exit('seismic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
