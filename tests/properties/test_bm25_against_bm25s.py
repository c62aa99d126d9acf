"""BM25 against bm25s itself: its words, and its scores to the last bit, for every variant."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import bm25s
import numpy as np
import pytest
import Stemmer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rankstone.runners.encoders import tokens
from rankstone.runners.encoders.bm25 import BM25
from rankstone.runners.testing import MemoryChunks, PlainContext

WORDS = st.sampled_from(
    ["the", "running", "runs", "dogs", "dog", "fox", "a", "7", "b2", "Éclair", "x_y", "東京"]
)
SENTENCES = st.lists(WORDS, max_size=12).map(" ".join)
METHODS = st.sampled_from(["lucene", "robertson", "atire"])
UNIT = st.floats(0, 1)
SEPARATORS = [
    "a\nb\r\n c\u2028dd\x1cee", "İstanbul ΟΔΟΣ", "ΟΔΟΣ", "ﬀ 𝒳𝒴", "\ud800xy é́e", "1\u0661 __ _a",
]  # fmt: skip


def theirs(texts: list[str], stemmer: object) -> list[list[str]]:
    """Words by the library; it gives the empty word to texts without any."""
    found = bm25s.tokenize(
        texts, stopwords="english", stemmer=stemmer, return_ids=False, show_progress=False
    )
    return [[word for word in row if word] for row in found]


@pytest.mark.parametrize("few", [0, tokens.FEW])
def test_words_are_those_of_the_library(monkeypatch, few: int) -> None:
    monkeypatch.setattr(tokens, "FEW", few)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.text(st.characters(exclude_categories=[])) | SENTENCES, max_size=6))
    @example(SEPARATORS)
    @example([])
    @example(["", "", "xy"])
    def check(texts: list[str]) -> None:
        assert BM25(stemmer="none").encode(texts, "document").lists() == theirs(texts, None)
        stemmer = Stemmer.Stemmer("english")
        assert BM25().encode(texts, "document").lists() == theirs(texts, stemmer)

    check()


def test_every_character_is_taken_as_by_the_pattern() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    matching = np.zeros(len(every), dtype=bool)
    matching[[*map(ord, re.findall(r"\w", every))]] = True
    np.testing.assert_array_equal(tokens._in_words(), matching)


def test_long_texts_are_split_by_several_threads(monkeypatch) -> None:
    texts = [f"word{i} " * (i % 7) for i in range(300)]
    whole = BM25().encode(texts, "document").lists()
    monkeypatch.setattr(tokens, "FEW", 0)
    monkeypatch.setattr(tokens, "BATCH", 50)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert BM25().encode(texts, "document").lists() == whole


@settings(max_examples=40, deadline=None)
@given(st.lists(SENTENCES, min_size=1, max_size=12), SENTENCES, METHODS, UNIT, UNIT)
def test_scores_are_those_of_the_library(texts, query, method, k1, b) -> None:
    runner = BM25(k1=3 * k1, b=b, method=method)
    context = PlainContext(texts=texts, work=Path())
    index = runner.index(MemoryChunks(runner, texts, 5), context)
    hits = index.search(runner.encode([query], "query"), len(texts))
    found = dict(zip(hits.docs[0].tolist(), hits.scores[0].tolist(), strict=True))
    scores = library_scores(runner, texts, query)
    assert {d: s for d, s in found.items() if d >= 0} == {
        d: s for d, s in enumerate(scores.tolist()) if s > 0
    }
    assert (np.diff(hits.scores[0][hits.docs[0] >= 0]) <= 0).all()


def library_scores(runner: BM25, texts: list[str], query: str) -> np.ndarray:
    """A score for every text by the library alone."""
    stemmer = Stemmer.Stemmer("english")
    documents, (asked,) = theirs(texts, stemmer), theirs([query], stemmer)
    if not any(documents):
        return np.zeros(len(texts))
    engine = bm25s.BM25(k1=runner.k1, b=runner.b, method=runner.method)
    engine.index(documents, show_progress=False)
    known = [word for word in asked if word in engine.vocab_dict]
    return engine.get_scores(known) if known else np.zeros(len(texts))
