"""Exact search against numpy and faiss."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from rankstone.errors import AdapterError
from rankstone.profiling import memory
from rankstone.runners.search.exact import flat
from rankstone.runners.search.exact.flat import ExactIndex, Mapped

SIZES = {"rows": 300, "dim": 20, "queries": 40, "k": 30, "block": 200, "slice": 90, "pieces": 9}


def random(n, dim=16, seed=0):
    return np.random.default_rng(seed).standard_normal((n, dim), dtype=np.float32)


@pytest.mark.parametrize("blocks", [1, 3, 50])
@pytest.mark.parametrize("k", [1, 10, 700])
def test_the_documents_are_those_of_faiss(blocks, k):
    documents, queries = random(1000), random(20, seed=1)
    peer = faiss.IndexFlatIP(16)
    peer.add(documents)
    scores, docs = peer.search(queries, k)
    hits = ExactIndex.build(Blocks(documents, blocks)).search(queries, k)
    assert (hits.docs == docs).mean() > 0.999
    np.testing.assert_allclose(hits.scores, scores, atol=1e-5)


class Blocks:
    """An array in `count` blocks."""

    def __init__(self, array, count):
        self._array, self._count = array, count

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        yield from np.array_split(self._array, self._count)


class Pieces(list):
    """Arrays in sequence."""

    def __len__(self):
        return sum(map(len, self[:]))


def test_scores_at_rank_k_are_exact_with_many_ties():
    rng = np.random.default_rng(0)
    documents = rng.integers(-1, 2, (300, 3)).astype(np.float32)
    queries = rng.integers(-1, 2, (9, 3)).astype(np.float32)
    expected = -np.sort(-(queries @ documents.T), axis=1)[:, :40]
    index = ExactIndex.build(Blocks(documents, 4))
    first, again = index.search(queries, 40), index.search(queries, 40)
    np.testing.assert_array_equal(first.scores, expected)
    np.testing.assert_array_equal(first.docs, again.docs)


def test_k_beyond_the_corpus_is_padded():
    hits = ExactIndex.build(random(3)).search(random(2, seed=1), 5)
    assert (hits.docs[:, 3:] == -1).all()
    assert np.isneginf(hits.scores[:, 3:]).all()
    assert (np.sort(hits.docs[:, :3]) == [0, 1, 2]).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    documents = random(20)
    documents[7, 3] = bad
    with pytest.raises(AdapterError, match="position 7"):
        ExactIndex.build(Blocks(documents, 4))
    with pytest.raises(AdapterError, match="query"):
        ExactIndex.build(random(5)).search(documents, 2)


@given(
    arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=5),
    )
)
def test_finite_values_are_those_of_numpy(values):
    """Also the largest, whose squares overflow."""
    assert flat.is_finite(values) == np.isfinite(values).all()


def test_dimensions_must_agree():
    with pytest.raises(AdapterError, match="position 5"):
        ExactIndex.build(Pieces([random(5), random(5, dim=8)]))
    with pytest.raises(AdapterError, match=r"\(n, 16\)"):
        ExactIndex.build(random(5)).search(random(1, dim=8), 2)


def test_a_mapped_collection_gives_the_same_results(tmp_path, monkeypatch):
    documents, queries = random(500), random(30, seed=1)
    resident = ExactIndex.build(documents)
    resident.save(tmp_path)
    monkeypatch.setattr(flat, "BLOCK_BYTES", 96 * 16 * 4)
    monkeypatch.setattr(flat, "resident_limit", lambda: documents.nbytes - 1)
    mapped = ExactIndex.build(Mapped(tmp_path / "vectors.f32", 500, 16))
    assert mapped.nbytes() == 96 * 16 * 4 < resident.nbytes() == documents.nbytes
    pieces = ExactIndex.build(Blocks(documents, 9))
    assert "from disk" in pieces.notes()[0]
    assert resident.notes() == ()
    for index in (mapped, pieces, ExactIndex.load(tmp_path)):
        for asked in (queries, queries[:3]):
            same(index.search(asked, 40), resident.search(asked, 40))


def same(found, expected):
    """Check that results are bit-identical, ties included."""
    np.testing.assert_array_equal(found.docs, expected.docs)
    np.testing.assert_array_equal(found.scores, expected.scores)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_what_is_read_in_pieces_is_found_as_what_is_resident(data):
    drawn = {name: data.draw(st.integers(1, most)) for name, most in SIZES.items()}
    rng = np.random.default_rng(drawn["rows"])
    documents = rng.integers(-2, 3, (drawn["rows"], drawn["dim"])).astype(np.float32)
    documents[::3] += rng.standard_normal(drawn["dim"], dtype=np.float32)  # ties and others
    queries = rng.standard_normal((drawn["queries"], drawn["dim"]), dtype=np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flat, "BLOCK_BYTES", drawn["block"] * 4 * drawn["dim"])
        patch.setattr(flat, "SLICE_ROWS", drawn["slice"])
        resident = ExactIndex.build(documents)
        patch.setattr(flat, "resident_limit", lambda: 0)
        pieces = ExactIndex.build(Blocks(documents, drawn["pieces"]))
        assert (bool(pieces.notes()), bool(resident.notes())) == (True, False)
        same(pieces.search(queries, drawn["k"]), resident.search(queries, drawn["k"]))


def test_saving_a_mapped_collection_copies_it(tmp_path, monkeypatch):
    documents = random(100)
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    ExactIndex.build(documents).save(tmp_path / "one")
    monkeypatch.setattr(flat, "BLOCK_BYTES", 7 * 16 * 4)
    monkeypatch.setattr(flat, "resident_limit", lambda: 0)
    ExactIndex.load(tmp_path / "one").save(tmp_path / "two")
    saved = np.fromfile(tmp_path / "two" / "vectors.f32", dtype=np.float32)
    np.testing.assert_array_equal(saved.reshape(100, 16), documents)


def test_a_single_query_starts_no_thread_that_waits_busily():
    if not Path("/proc/self/task").exists():
        pytest.skip("threads are counted in /proc")
    exact = ExactIndex.build(random(300))
    of_faiss = faiss.IndexScalarQuantizer(16, faiss.ScalarQuantizer.QT_fp16)
    of_faiss.add(random(300))
    assert [threads_started(index.search) for index in (exact, of_faiss)] == [0, 1]


def threads_started(search) -> int:
    """Number of threads that OpenMP starts for a query from a thread that has none yet."""

    def counted() -> int:
        faiss.omp_set_num_threads(2)
        before = set(Path("/proc/self/task").iterdir())
        search(random(1), 10)
        return len(set(Path("/proc/self/task").iterdir()) - before)

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(counted).result()


@pytest.mark.parametrize("queries", [1, 3])
def test_slices_of_a_resident_collection_give_the_results_of_one_pass(monkeypatch, queries):
    documents = random(1000)
    documents[500:] = documents[:500]  # every score twice, in different slices
    index, asked = ExactIndex.build(documents), random(queries, seed=1)
    monkeypatch.setattr(flat, "SLICE_ROWS", 64)
    found = index.search(asked, 1000)
    peer = faiss.IndexFlatIP(16)
    peer.add(documents)
    scores, _ = peer.search(asked, 1000)
    np.testing.assert_allclose(found.scores, scores, atol=1e-5)
    products = asked @ documents.T
    np.testing.assert_allclose(found.scores, np.take_along_axis(products, found.docs, 1), atol=1e-5)
    assert all(len(set(row)) == 1000 for row in found.docs.tolist())


def test_memory_within_a_control_group_is_what_its_limit_leaves(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    free = memory.available()
    assert 0 < free <= psutil.virtual_memory().total
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert memory.available() > 2**20
    (tmp_path / "memory.max").write_text("5000\n")
    assert memory.available() == 4000
    (tmp_path / "memory.stat").write_text("anon 300\nactive_file 500\ninactive_file 200\n")
    assert memory.available() == 4700  # 300 bytes cannot be given up
