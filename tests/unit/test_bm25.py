"""BM25 against its closed form, and edge cases."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from rankstone.errors import DefinitionError
from rankstone.runners.encoders.bm25 import BM25, BM25Index
from rankstone.runners.search.exact import bm25_index
from rankstone.runners.testing import MemoryChunks, PlainContext

TEXTS = [
    "the quick brown fox jumps over the lazy dog",
    "a lazy dog sleeps; dogs sleep all day",
    "",
    "brown bears and brown foxes",
    "the of and",
    "a lazy dog sleeps; dogs sleep all day",
]


def build(tmp_path, texts=TEXTS, threads=1, **parameters):
    runner = BM25(**parameters)
    context = PlainContext(texts=texts, work=tmp_path, threads=threads)
    return runner, runner.index(MemoryChunks(runner, texts, 2), context)


def lucene(query, document, corpus, k1, b):
    """ln(1 + (N - df + .5) / (df + .5)) * tf / (tf + k1 (1 - b + b l / L)), summed over terms."""
    mean = sum(map(len, corpus)) / len(corpus)
    counts = Counter(document)
    total = 0.0
    for term in query:
        df = sum(term in other for other in corpus)
        idf = math.log(1 + (len(corpus) - df + 0.5) / (df + 0.5))
        length = k1 * (1 - b + b * len(document) / mean)
        total += idf * counts[term] / (counts[term] + length)
    return total


@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.2, 0.75), (2.0, 0.0)])
def test_scores_are_the_closed_form(tmp_path, k1, b):
    runner, index = build(tmp_path, k1=k1, b=b)
    corpus = runner.encode(TEXTS, "document").lists()
    queries = runner.encode(["brown lazy dogs dogs", "fox"], "query")
    hits = index.search(queries, len(TEXTS))
    for query, docs, scores in zip(queries.lists(), hits.docs, hits.scores, strict=True):
        for doc, score in zip(docs, scores, strict=True):
            if doc >= 0:
                assert score == pytest.approx(lucene(query, corpus[doc], corpus, k1, b), rel=1e-5)
        missing = set(range(len(TEXTS))) - set(docs.tolist())
        assert all(lucene(query, corpus[doc], corpus, k1, b) == 0 for doc in missing)


def test_a_query_of_unknown_words_finds_nothing(tmp_path):
    runner, index = build(tmp_path)
    hits = index.search(runner.encode(["zebra", "", "the of"], "query"), 3)
    assert (hits.docs == -1).all()
    assert np.isneginf(hits.scores).all()


def test_ties_at_rank_k_go_to_the_lower_position(tmp_path):
    runner, index = build(tmp_path)
    queries = runner.encode(["sleeping dogs"], "query")
    assert index.search(queries, 1).docs.tolist() == [[1]]
    assert index.search(queries, 2).docs.tolist() == [[1, 5]]


def test_a_corpus_without_a_single_token(tmp_path):
    runner, index = build(tmp_path, ["", "the"])
    folder = tmp_path / "saved"
    folder.mkdir()
    index.save(folder)
    for one in (index, BM25Index.load(folder)):
        assert (one.search(runner.encode(["dog"], "query"), 2).docs == -1).all()


def test_threads_change_nothing(tmp_path):
    runner, index = build(tmp_path)
    _, threaded = build(tmp_path, threads=2)
    queries = runner.encode(["brown dog", "lazy", "fox day"] * 50, "query")
    for one, other in zip(index.search(queries, 4), threaded.search(queries, 4), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_index_does_not_depend_on_the_number_of_threads(tmp_path, monkeypatch):
    """Nor does it depend on blocks and parts."""
    texts = [" ".join(f"w{i % n}" for n in range(1, 9)) for i in range(50)]
    indexes = []
    for documents, part, threads in ((1 << 14, 1 << 18, 1), (7, 5, 1), (7, 5, 3)):
        monkeypatch.setattr(bm25_index, "DOCUMENTS", documents)
        monkeypatch.setattr(bm25_index, "PART", part)
        runner = BM25()
        context = PlainContext(texts=texts, work=tmp_path, threads=threads)
        indexes.append(runner.index(MemoryChunks(runner, texts, 20), context))
    for other in indexes[1:]:
        assert other.terms == indexes[0].terms
        for name in ("data", "indices", "indptr"):
            one, two = (getattr(index.lists, name) for index in (indexes[0], other))
            np.testing.assert_array_equal(one, two)
    assert not list(tmp_path.iterdir()), "the file of blocks is gone"


def test_stop_words_and_stemmer_are_parameters():
    text = ["The dogs running"]
    plain = BM25(stopwords="none", stemmer="none").encode(text, "query")
    assert plain.lists() == [["the", "dogs", "running"]]
    own = BM25(stopwords=["dogs"], stemmer="english").encode(text, "query")
    assert own.lists() == [["the", "run"]]
    assert BM25().encode(text, "query").lists() == [["dog", "run"]]


@pytest.mark.parametrize("key", ["stopwords", "stemmer"])
def test_an_unknown_language_is_refused(key):
    with pytest.raises(DefinitionError, match="klingon"):
        BM25(**{key: "klingon"})
