"""Chunks cover their document and fit their method; MaxP is what brute force finds."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rankstone.runners.compose.chunked import BestChunkIndex, mean_vectors
from rankstone.runners.compose.passages import split
from rankstone.runners.document_length import Words
from rankstone.runners.representations.ragged import Ragged
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.transformer.tokens import Tokens
from tests import tiny_models

TEXT = st.text(st.sampled_from("ab. \n-é漢🙂") | st.characters(codec="utf-8"), max_size=200)


class Ruler:
    """Tokens of a tokenizer, special tokens included."""

    unit, limit = "tokens", None

    def __init__(self, tokenizer):
        self._tokens = Tokens(tokenizer, pad=0, limit=None)

    def ends(self, texts):
        return self._tokens.ends(texts)

    def counts(self, texts):
        return self._tokens.encode(texts).counts


def byte_level():
    """Byte-level BPE without merges: a character beyond ASCII is several tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    alphabet = {letter: i for i, letter in enumerate(pre_tokenizers.ByteLevel.alphabet())}
    tokenizer = Tokenizer(models.BPE(vocab=alphabet, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return tokenizer


def metaspace():
    """As T5's and XLM-R's: every text gets a space before it."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    pieces = [("<unk>", 0.0), *((piece, -2.0) for piece in ("▁", "a", "b", "▁a", "ab", "▁ab", "."))]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer


@pytest.fixture(scope="module", params=["words", "wordpiece", "bytes", "metaspace"])
def measure(request):
    if request.param == "words":
        return Words()
    pytest.importorskip("transformers")
    made = {
        "wordpiece": lambda: tiny_models.tokenizer().backend_tokenizer,
        "bytes": byte_level,
        "metaspace": metaspace,
    }
    return Ruler(made[request.param]())


@given(
    texts=st.lists(TEXT, max_size=4),
    limit=st.integers(3, 30),
    overlap=st.integers(0, 12),
)
@example(texts=["a" * 100, "", " ", "🙂" * 20, " a b " * 30], limit=5, overlap=2)
@settings(max_examples=150, deadline=None)
def test_chunks_are_substrings_that_cover_the_document_and_fit(measure, texts, limit, overlap):
    found = split(texts, measure, limit=limit, overlap=overlap)
    assert len(found) == len(texts)
    for text, chunks in zip(texts, found, strict=True):
        assert len(text) in {stop for _, stop in placements(text, chunks)}
        for chunk, count in zip(chunks, measure.counts(chunks), strict=True):
            # Not even a character may fit: one of four bytes in three tokens.
            assert count <= limit or len(chunk) == 1


def placements(text, chunks):
    """Where the last chunk may lie, if every one begins and ends behind the one before, no gap."""
    places = {(-1, 0)}
    for chunk in chunks:
        starts = [match.start() for match in re.finditer(f"(?={re.escape(chunk)})", text)]
        places = {
            (start, start + len(chunk))
            for start in starts
            for before, covered in places
            if before < start <= covered and (start + len(chunk) > covered or not text)
        }
    return places


@given(texts=st.lists(TEXT, max_size=4), limit=st.integers(3, 30))
@settings(max_examples=150, deadline=None)
def test_chunks_without_overlap_are_the_document(measure, texts, limit):
    found = split(texts, measure, limit=limit)
    assert ["".join(chunks) for chunks in found] == texts
    firsts = split(texts, measure, limit=limit, first=True)
    assert firsts == [chunks[:1] for chunks in found]


@given(texts=st.lists(TEXT, max_size=4))
def test_a_text_that_fits_is_its_one_chunk(measure, texts):
    assert split(texts, measure, limit=2000) == [[text] for text in texts]


@given(
    lengths=st.lists(st.integers(1, 9), max_size=12),
    n_queries=st.integers(0, 4),
    k=st.integers(1, 15),
    seed=st.integers(0, 2**32 - 1),
)
@settings(deadline=None)
def test_the_best_chunks_are_those_of_brute_force(lengths, n_queries, k, seed):
    rng = np.random.default_rng(seed)
    offsets = np.cumsum([0, *lengths])
    # Small whole numbers, so that products are exact and ties are common.
    vectors = rng.integers(-3, 4, (offsets[-1], 4)).astype(np.float32)
    queries = rng.integers(-3, 4, (n_queries, 4)).astype(np.float32)
    index = BestChunkIndex(ExactIndex(vectors, dim=4), offsets)
    docs, scores = index.search(queries, k)
    assert docs.shape == scores.shape == (n_queries, k)
    for query, found, values in zip(queries, docs, scores, strict=True):
        best = [max(part @ query) for part in np.split(vectors, offsets[1:-1])] if lengths else []
        expected = np.sort(np.array(best, dtype=np.float32))[::-1][:k]
        n = len(expected)
        np.testing.assert_array_equal(values[:n], expected)
        assert [best[doc] for doc in found[:n]] == list(values[:n])
        assert len(set(found[:n])) == n
        assert (found[n:] == -1).all()
        assert np.isneginf(values[n:]).all()


@given(lengths=st.lists(st.integers(1, 5), min_size=1, max_size=6), normalize=st.booleans())
def test_means_are_those_of_each_document(lengths, normalize):
    offsets = np.cumsum([0, *lengths])
    vectors = np.random.default_rng(0).normal(size=(offsets[-1], 3)).astype(np.float32)
    found = mean_vectors(Ragged(vectors, offsets), normalize=normalize)
    for row, part in zip(found, np.split(vectors, offsets[1:-1]), strict=True):
        mean = part.mean(axis=0)
        expected = mean / np.linalg.norm(mean) if normalize else mean
        np.testing.assert_allclose(row, expected, atol=1e-5)
