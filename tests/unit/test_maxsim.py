"""Exact MaxSim, against the definition and against sentence-transformers."""

import numpy as np
import pytest

from rankstone.errors import AdapterError
from rankstone.runners.representations.base import pack
from rankstone.runners.representations.ragged import ragged, stored
from rankstone.runners.search.exact import maxsim
from rankstone.runners.search.exact.maxsim import MaxSimIndex

pytest.importorskip("torch")
DIM = 8


def texts(n, longest, seed, shortest=0):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(shortest, longest + 1, n)
    return [rng.standard_normal((length, DIM), dtype=np.float32) for length in lengths]


class Pieces:
    def __init__(self, rep, size=17):
        self.rep, self.size = rep, size

    def __len__(self):
        return len(self.rep)

    def __iter__(self):
        for start in range(0, len(self.rep), self.size):
            yield self.rep[start : start + self.size]


def by_definition(queries, documents):
    """Return (n_queries, n_docs) sums over query vectors of the best match, by two loops."""
    scores = np.full((len(queries), len(documents)), -np.inf)
    for i, query in enumerate(queries):
        for j, document in enumerate(documents):
            if len(query) and len(document):
                scores[i, j] = (query.astype(float) @ document.astype(float).T).max(axis=1).sum()
    return scores


@pytest.fixture(params=["resident", "streamed"])
def layout(request, monkeypatch):
    """Use many small blocks and tiles and, if streamed, blocks laid out in each search."""
    monkeypatch.setattr(maxsim, "BLOCK_BYTES", 40 * DIM * 4)
    monkeypatch.setattr(maxsim, "TILE_QUERY_VECTORS", 12)
    monkeypatch.setattr(maxsim, "TILE_PRODUCTS", 300)
    if request.param == "streamed":
        monkeypatch.setattr(maxsim, "resident_limit", lambda: 0)
    return request.param


@pytest.mark.parametrize("storage", ["float32", "float16", "2bit"])
@pytest.mark.parametrize("longest", [1, 9, 70])
def test_scores_are_those_of_the_definition(layout, storage, longest):
    documents, queries = ragged(texts(90, longest, 0), DIM, storage), ragged(texts(11, 20, 1), DIM)
    index = MaxSimIndex.build(Pieces(documents))
    expected = by_definition(queries.matrices(), documents.matrices())
    docs, scores = index.search(queries, 95)
    found = docs >= 0
    assert (found.sum(axis=1) == np.isfinite(expected).sum(axis=1)).all()
    for row in range(len(queries)):
        mine = docs[row][found[row]]
        np.testing.assert_allclose(
            scores[row][found[row]], expected[row][mine], rtol=1e-5, atol=1e-4
        )
        np.testing.assert_allclose(
            scores[row][found[row]], np.sort(expected[row])[::-1][: len(mine)], rtol=1e-5, atol=1e-4
        )


def test_scores_are_those_of_sentence_transformers():
    from sentence_transformers.util import maxsim as theirs

    documents, queries = texts(40, 30, 0, shortest=1), texts(7, 12, 1, shortest=1)
    expected = theirs(queries, documents).numpy()
    docs, scores = MaxSimIndex.build(Pieces(ragged(documents, DIM))).search(
        ragged(queries, DIM), 40
    )
    np.testing.assert_allclose(scores, np.take_along_axis(expected, docs, 1), rtol=1e-5, atol=1e-5)


def test_the_depth_only_truncates(layout):
    index = MaxSimIndex.build(Pieces(ragged(texts(60, 9, 0), DIM)))
    queries = ragged(texts(5, 9, 1), DIM)
    deep, shallow = index.search(queries, 50), index.search(queries, 3)
    np.testing.assert_array_equal(deep.docs[:, :3], shallow.docs)
    np.testing.assert_array_equal(deep.scores[:, :3], shallow.scores)


def test_ties_go_to_the_lower_position(layout):
    matrix = np.eye(DIM, dtype=np.float32)
    # Of different lengths, so that they are laid out apart.
    documents = [np.repeat(matrix, 1 + i % 3, axis=0) for i in range(20)]
    index = MaxSimIndex.build(Pieces(ragged(documents, DIM)))
    docs, _ = index.search(ragged([matrix[:2]], DIM), 6)
    assert docs.tolist() == [[0, 1, 2, 3, 4, 5]]


def test_texts_without_vectors_find_nothing_and_are_not_found():
    some, none = np.ones((2, DIM), dtype=np.float32), np.empty((0, DIM), dtype=np.float32)
    index = MaxSimIndex.build(Pieces(ragged([none, -some, none], DIM)))
    docs, scores = index.search(ragged([some, none, -some], DIM), 3)
    assert docs.tolist() == [[1, -1, -1], [-1, -1, -1], [1, -1, -1]]
    assert scores[0, 0] == -2 * DIM
    assert np.isneginf(scores[docs < 0]).all()


@pytest.mark.parametrize("documents", [[], [np.empty((0, DIM), dtype=np.float32)] * 3])
def test_a_corpus_without_vectors_has_no_hits(documents, tmp_path):
    index = MaxSimIndex.build(Pieces(ragged(documents, DIM)))
    index.save(tmp_path)
    for one in (index, MaxSimIndex.load(tmp_path)):
        assert (one.search(ragged(texts(2, 3, 0, shortest=1), DIM), 4).docs == -1).all()


@pytest.mark.parametrize("storage", ["float32", "float16", "2bit"])
def test_it_is_saved_as_stored(layout, storage, tmp_path):
    documents, queries = ragged(texts(90, 30, 0), DIM, storage), ragged(texts(4, 9, 1), DIM)
    index = MaxSimIndex.build(Pieces(documents))
    index.save(tmp_path)
    for one, other in zip(
        index.search(queries, 20), MaxSimIndex.load(tmp_path).search(queries, 20), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    vectors = sum(
        a.nbytes
        for a in pack(stored(np.zeros((len(documents.tokens), DIM)), storage)).arrays.values()
    )
    on_disk = sum(path.stat().st_size for path in tmp_path.iterdir())
    parts = len(list(tmp_path.glob("*.offsets.npy")))
    assert vectors < on_disk < vectors + parts * 1024 + 90 * 8 + 1024


def test_only_a_block_is_resident_of_a_large_corpus(monkeypatch):
    documents = Pieces(ragged(texts(200, 30, 0), DIM, "float16"))
    whole = MaxSimIndex.build(documents).nbytes()
    monkeypatch.setattr(maxsim, "BLOCK_BYTES", 100 * DIM * 4)
    monkeypatch.setattr(maxsim, "resident_limit", lambda: whole // 2)
    assert MaxSimIndex.build(documents).nbytes() <= 1.1 * 100 * DIM * 4


@pytest.mark.parametrize(("storage", "width"), [("float16", 2), ("2bit", 1 / 4 + 4 / DIM)])
def test_one_copy_is_held_in_the_width_of_the_store(storage, width, monkeypatch):
    rep = ragged(texts(300, 60, 0), DIM, storage)
    resident = MaxSimIndex.build(Pieces(rep))
    assert resident.nbytes() < 1.05 * len(rep.tokens) * DIM * width
    monkeypatch.setattr(maxsim, "resident_limit", lambda: 0)
    read = MaxSimIndex.build(Pieces(rep, 50))
    assert (len(resident.notes()), len(read.notes())) == (0, 1)
    monkeypatch.setattr(maxsim, "TILE_QUERY_VECTORS", 12)
    for queries in (ragged(texts(1, 9, 1), DIM), ragged(texts(20, 9, 1), DIM)):
        for one, other in zip(resident.search(queries, 99), read.search(queries, 99), strict=True):
            np.testing.assert_array_equal(one, other)


def test_filling_costs_little():
    documents = Pieces(ragged(texts(2000, 300, 0), DIM))
    assert MaxSimIndex.build(documents).nbytes() < 1.05 * documents.rep.tokens.nbytes


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_vectors_that_are_no_numbers_are_refused(bad):
    matrix = np.ones((2, DIM), dtype=np.float32)
    spoiled = matrix.copy()
    spoiled[1, 3] = bad
    with pytest.raises(AdapterError, match="documents from position 0: vectors hold NaN"):
        MaxSimIndex.build(Pieces(ragged([matrix, spoiled], DIM)))
    with pytest.raises(AdapterError, match="queries: vectors hold NaN"):
        MaxSimIndex.build(Pieces(ragged([matrix], DIM))).search(ragged([spoiled], DIM), 1)


def test_another_dimension_is_refused():
    index = MaxSimIndex.build(Pieces(ragged(texts(3, 4, 0), DIM)))
    with pytest.raises(AdapterError, match="queries: expected vectors of 8 dimensions, found 3"):
        index.search(ragged([np.ones((1, 3), dtype=np.float32)], 3), 1)
