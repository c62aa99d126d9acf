"""BM25 of tantivy, against the formula."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from rankstone.predicates import Where, parse, passing
from rankstone.runners.search.engines.tantivy_index import Tantivy, TantivyIndex
from rankstone.runners.testing import PlainContext

pytest.importorskip("tantivy", reason="needs the extra 'engines'")
WORDS = ("fox", "bear", "river", "engine", "violin", "harbor", "glacier", "market")
RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(WORDS, RNG.integers(1, 30))) for _ in range(60)]
QUERIES = ["Fox fox river", "glacier", "unknown", "", 'market AND -"bear" title:(']


def expected(query):
    """Return scores by Robertson's formula with Lucene's idf; lengths below 40 are exact."""
    documents = [text.split() for text in TEXTS]
    mean = sum(map(len, documents)) / len(documents)
    scores = np.zeros(len(TEXTS))
    for word in query:
        df = sum(word in document for document in documents)
        idf = math.log(1 + (len(documents) - df + 0.5) / (df + 0.5))
        for position, document in enumerate(documents):
            tf = document.count(word)
            scores[position] += idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * len(document) / mean))
    return scores


def built(tmp_path, texts=TEXTS, columns=None, **parameters):
    runner = Tantivy(**parameters)
    context = PlainContext(texts=texts, work=tmp_path, columns=columns or {})
    return runner.index(context.encoded(runner), context)


def test_scores_are_those_of_the_formula(tmp_path):
    hits = built(tmp_path, stemmer="none", stopwords="none").search(QUERIES, len(TEXTS))
    for row, words in enumerate((["fox", "fox", "river"], ["glacier"], [], [], ["market", "bear"])):
        scores = expected(words)
        found = hits.docs[row][hits.docs[row] >= 0]
        assert set(found) == set(np.flatnonzero(scores))
        np.testing.assert_allclose(hits.scores[row, : len(found)], scores[found], rtol=1e-5)


def test_ties_go_to_the_lower_position_and_saved_is_alike(tmp_path):
    index = built(tmp_path, ["a fox", "the foxes", "a bear", "fox"] * 20)
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    for searched in (index, TantivyIndex.load(tmp_path / "saved")):
        docs = searched.search(["foxes", "the"], 30).docs
        assert docs[0].tolist() == [n for n in range(80) if n % 4 != 2][:30]
        assert (docs[1] == -1).all(), "a stop word"
        assert searched.search([], 3).docs.shape == (0, 3)
        assert searched.nbytes() > 0
    assert "tantivy 0." in Tantivy().describe()["engine"]


@pytest.mark.parametrize(
    "text",
    ["size >= 20", "size != 7 and size < 20.5", 'kind != "a"', "fresh or 3 < size <= 6",
     """kind in ["b'c"] and not (fresh or price < .25)"""],
)  # fmt: skip
def test_a_filter_keeps_scores_and_order(tmp_path, text):
    n = len(TEXTS)
    columns = {
        "size": pa.chunked_array(
            [[None if k % 9 == 0 else len(TEXTS[k].split()) for k in range(n)]]
        ),
        "kind": pa.chunked_array([[[None, "a", "b'c"][k % 3] for k in range(n)]]),
        "fresh": pa.chunked_array([[[None, True, False, False][k % 4] for k in range(n)]]),
        "price": pa.chunked_array([RNG.random(n)]),
    }
    index = built(tmp_path, columns=columns)
    where = Where(predicate=parse(text), passes=passing(parse(text), columns))
    every, found = index.search(QUERIES, n), index.search_where(QUERIES, 5, where)
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    again = TantivyIndex.load(tmp_path / "saved").search_where(QUERIES, 5, where)
    np.testing.assert_array_equal(again.docs, found.docs)
    for row in range(len(QUERIES)):
        kept = (every.docs[row] >= 0) & where.passes[every.docs[row]]
        expected = every.docs[row][kept][:5]
        assert found.docs[row, : len(expected)].tolist() == expected.tolist()
        assert (found.docs[row, len(expected) :] == -1).all()
        scores = found.scores[row, : len(expected)]
        np.testing.assert_allclose(scores, every.scores[row][kept][:5], rtol=1e-6)


def test_documents_come_and_go(tmp_path):
    index = built(tmp_path, ["a fox", "a bear", "fox river"])
    index.delete(np.array([0]))
    assert index.search(["fox"], 5).docs[0].tolist() == [2, -1, -1, -1, -1]
    index.insert(np.array([3, 4]), ["fox", "bear bear"])
    assert set(index.search(["fox"], 5).docs[0].tolist()) == {2, 3, -1}
    index.delete(np.array([2, 3]))
    assert index.search(["fox", "bear"], 3).docs[:, :2].tolist() == [[-1, -1], [4, 1]]
