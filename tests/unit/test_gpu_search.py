"""Exact search on a GPU: a device backed by the CPU, and torch's `meta` without values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rankstone.errors import AdapterError
from rankstone.profiling import device as devices
from rankstone.runners.representations.ragged import ragged
from rankstone.runners.search.exact import gpu, gpu_maxsim
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.search.exact.gpu import Best, GpuIndex, exact
from rankstone.runners.search.exact.gpu_maxsim import GpuMaxSimIndex, maxsim
from rankstone.runners.search.exact.maxsim import MaxSimIndex
from tests.unit.test_maxsim import DIM, Pieces, by_definition, texts

torch = pytest.importorskip("torch")


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake card `cuda:3`, with tensors on the CPU and memory for few scores."""
    for module in (gpu, gpu_maxsim):
        monkeypatch.setattr(module, "opened", lambda name: torch.device("cpu"))
        monkeypatch.setattr(module, "resolve", lambda: "cuda:3")
    monkeypatch.setattr(gpu, "for_search", lambda name, size: name)
    monkeypatch.setattr(gpu, "free_bytes", lambda name: 4 * gpu.SCORE_BYTES * 500)
    monkeypatch.setattr(gpu_maxsim, "search_limit", lambda name: 2**20)
    monkeypatch.setattr(gpu_maxsim, "SEARCH_BYTES", 1)
    monkeypatch.setattr(gpu_maxsim, "BLOCK_VECTORS", 40)
    monkeypatch.setattr(gpu_maxsim, "TILE_VECTORS", 3)


def grid(n: int, seed: int) -> np.ndarray:
    """Return small integers, whose inner products are exact and often equal."""
    return np.random.default_rng(seed).integers(-2, 3, (n, 4)).astype(np.float32)


def best_of(scores: np.ndarray, k: int) -> np.ndarray:
    """Rank documents by descending score, then by position."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@pytest.mark.parametrize("k", [1, 7, 130])
def test_the_best_are_exact_and_ties_go_to_the_lower_position(card, tmp_path, k) -> None:
    documents, queries = grid(120, 0), grid(9, 1)
    index = exact(Pieces(documents), "cuda:3")
    assert isinstance(index, GpuIndex)
    index.save(tmp_path)
    for one in (index, GpuIndex.load(tmp_path)):
        docs, scores = one.search(queries, k)
        expected = best_of(queries @ documents.T, k)
        np.testing.assert_array_equal(docs[:, :120], expected)
        found = np.take_along_axis(queries @ documents.T, expected, axis=1)
        np.testing.assert_array_equal(scores[:, :120], found)
        assert (docs[:, 120:] == -1).all()
        assert (scores[:, 120:] == -np.inf).all()
    assert index.nbytes() == documents.nbytes
    assert index.notes() == ("exact search ran on cuda:3, whose memory holds the vectors",)
    on_cpu = ExactIndex.load(tmp_path).search(queries, 5)
    np.testing.assert_array_equal(on_cpu.scores, index.search(queries, 5).scores)


@given(
    arrays(np.float32, (3, 11), elements=st.floats(width=32, allow_nan=False)),
    st.integers(1, 13),
)
def test_any_scores_are_ranked_by_value_then_position(scores: np.ndarray, k: int) -> None:
    best = Best(3, k, "cpu")
    for part in (slice(0, 4), slice(4, 11)):
        best.merge(slice(None), torch.from_numpy(scores[:, part]), torch.arange(11)[part])
    docs, found = best.hits()
    expected = best_of(scores, k)
    np.testing.assert_array_equal(docs[:, :11], expected)
    np.testing.assert_array_equal(found[:, :11], np.take_along_axis(scores, expected, axis=1))


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_sums_of_maxima_are_those_of_the_definition(card, tmp_path, storage) -> None:
    documents, queries = ragged(texts(90, 20, 0), DIM, storage), ragged(texts(11, 9, 1), DIM)
    index = maxsim(Pieces(documents), "cuda:3")
    assert isinstance(index, GpuMaxSimIndex)
    index.save(tmp_path)
    expected = by_definition(queries.matrices(), documents.matrices())
    for one in (index, GpuMaxSimIndex.load(tmp_path)):
        docs, scores = one.search(queries, 95)
        for row, line in enumerate(expected):
            found = docs[row][docs[row] >= 0]
            assert len(found) == np.isfinite(line).sum()
            ranked = np.sort(line)[::-1][: len(found)]
            np.testing.assert_allclose(line[found], ranked, rtol=1e-5, atol=1e-4)
            np.testing.assert_allclose(scores[row][: len(found)], ranked, rtol=1e-5, atol=1e-4)
    same = ragged([np.ones((2, DIM), np.float32)] * 9, DIM)
    assert maxsim(Pieces(same), "cuda").search(same, 4).docs.tolist() == [[0, 1, 2, 3]] * 9


def test_the_cpu_searches_what_the_device_is_not_to_hold(card, monkeypatch) -> None:
    vectors, tokens = Pieces(grid(9, 0)), Pieces(ragged(texts(9, 5, 0), DIM))
    for device in ("cpu", "mps"):
        assert isinstance(exact(vectors, device), ExactIndex)
        assert isinstance(maxsim(tokens, device), MaxSimIndex)
    assert isinstance(exact(Pieces(np.empty((0, 4), np.float32)), "cuda"), ExactIndex)
    monkeypatch.setattr(gpu, "for_search", lambda name, size: "cpu")
    assert isinstance(exact(vectors, "cuda"), ExactIndex)
    for limits in ({"search_limit": lambda name: 64}, {"SEARCH_BYTES": 2**30}):
        with monkeypatch.context() as patch:
            for name, value in limits.items():
                patch.setattr(gpu_maxsim, name, value)
            assert isinstance(maxsim(tokens, "cuda"), MaxSimIndex)


def test_parts_that_do_not_fit_are_halved(card, monkeypatch) -> None:
    documents, queries, sizes = grid(120, 0), grid(9, 1), []
    index = exact(Pieces(documents), "cuda")
    merge = Best.merge

    def short(most: int):
        def merge_some(self, rows, scores, positions):
            sizes.append(len(positions))
            if len(positions) > most:
                raise torch.OutOfMemoryError("CUDA out of memory")
            merge(self, rows, scores, positions)

        return merge_some

    monkeypatch.setattr(Best, "merge", short(20))
    found = index.search(queries, 7)
    np.testing.assert_array_equal(found.docs, best_of(queries @ documents.T, 7))
    assert sizes == [55, 28, 14, *[14] * 7, 8]
    monkeypatch.setattr(Best, "merge", short(0))
    with pytest.raises(MemoryError, match="Use the CPU: --device cpu"):
        index.search(queries, 7)


def test_vectors_that_cannot_be_compared_are_refused(card) -> None:
    bad, good = grid(20, 0), exact(Pieces(grid(9, 0)), "cuda")
    bad[18, 1] = np.nan
    with pytest.raises(AdapterError, match="position 18"):
        exact(Pieces(bad), "cuda")
    with pytest.raises(AdapterError, match="query vectors"):
        good.search(bad[:, :3], 1)
    tokens = ragged([bad[:17], bad[17:]], 4)
    with pytest.raises(AdapterError, match=r"documents from position 0: .* NaN"):
        maxsim(Pieces(tokens), "cuda")


def test_all_tensors_are_on_the_device_that_is_asked_for(card, monkeypatch) -> None:
    """Tensors of `meta` cannot be read, nor mixed with others."""
    for module in (gpu, gpu_maxsim):
        monkeypatch.setattr(module, "opened", lambda name: torch.device("meta"))
    tokens = ragged(texts(9, 5, 0, shortest=1), DIM)
    for index, queries in (
        (exact(Pieces(grid(30, 0)), "cuda"), grid(3, 1)),
        (maxsim(Pieces(tokens), "cuda"), tokens),
    ):
        with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
            index.search(queries, 5)
    assert devices.opened("meta").type == "meta"
