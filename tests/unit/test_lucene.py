"""Lucene through pyserini, against Anserini's searcher and the formula."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankstone.errors import DefinitionError
from rankstone.runners.lucene.lucene_bm25 import SEPARATOR, LuceneFlat, LuceneMultifield, LuceneRM3
from rankstone.runners.lucene.lucene_index import CONTENTS, TITLE, LuceneIndex, falling, parts
from rankstone.runners.testing import PlainContext

WORDS = ("fox", "bear", "river", "engine", "violin", "harbor", "glacier", "market", "orchard")


def corpus(n=60, seed=0, longest=30):
    """Return (title, text) pairs of words from a skewed distribution."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, len(WORDS) + 1)
    lengths = rng.integers(1, longest, (n, 2))
    return [
        tuple(" ".join(rng.choice(WORDS, size, p=shares / shares.sum())) for size in pair)
        for pair in lengths
    ]


@given(st.lists(st.floats(0.5, 100, width=32), max_size=30))
def test_separated_scores_fall_and_differ_by_a_hair(values):
    scores = np.sort(np.array(values, dtype=np.float32))[::-1].copy()
    separate = falling(scores)
    assert (np.diff(separate) < 0).all()
    np.testing.assert_allclose(separate, scores, rtol=1e-5)
    if len(np.unique(scores)) == len(scores):
        np.testing.assert_array_equal(separate, scores)


def test_title_and_text_are_split_at_the_first_separator():
    assert parts(f"a{SEPARATOR}b{SEPARATOR}c", SEPARATOR) == {
        TITLE: "a", CONTENTS: f"b{SEPARATOR}c"
    }  # fmt: skip
    with pytest.raises(DefinitionError, match=r"missing key 'text'.*ufdd0"):
        parts("title and text", SEPARATOR)


pyserini = pytest.importorskip("pyserini", reason="needs the extra 'lucene'")


def build(runner, texts, tmp_path, **more):
    context = PlainContext(texts=texts, work=tmp_path, **more)
    return runner.index(context.encoded(runner), context)


def stemmed(text):
    from rankstone.runners.lucene.jvm import java

    analyser = java("io.anserini.analysis.DefaultEnglishAnalyzer").newDefaultInstance()
    return list(java("io.anserini.analysis.AnalyzerUtils").analyze(analyser, text))


def test_scores_are_those_of_the_formula(tmp_path):
    texts = [text for _, text in corpus()]
    k1, b, query = 1.2, 0.7, "foxes and a fox by the rivers"
    index = build(LuceneFlat(k1=k1, b=b, separate_ties=False), texts, tmp_path)
    found = index.search([query], 100)
    docs = [stemmed(text) for text in texts]  # shorter than 40 words, so lengths are exact
    mean = sum(map(len, docs)) / len(docs)
    for doc, score in zip(found.docs[0], found.scores[0], strict=True):
        if doc < 0:
            continue
        expected = 0.0
        for term in stemmed(query):
            df = sum(term in other for other in docs)
            tf = docs[doc].count(term)
            idf = math.log(1 + (len(docs) - df + 0.5) / (df + 0.5))
            expected += idf * tf / (tf + k1 * (1 - b + b * len(docs[doc]) / mean))
        assert score == pytest.approx(expected, rel=1e-5)
    matching = {i for i, doc in enumerate(docs) if set(doc) & set(stemmed(query))}
    assert set(found.docs[0][found.docs[0] >= 0].tolist()) == matching


@pytest.mark.parametrize("kind", ["flat", "multifield", "rm3"])
def test_rankings_are_those_of_anserini(kind, tmp_path):
    pairs = corpus(120, seed=3)
    (tmp_path / "work").mkdir()
    runner = {
        "flat": LuceneFlat(), "rm3": LuceneRM3(terms=5, documents=4, original_weight=0.6),
        "multifield": LuceneMultifield(title_weight=0.4),
    }[kind]  # fmt: skip
    joint = SEPARATOR if kind == "multifield" else " "
    index = build(runner, [joint.join(pair) for pair in pairs], tmp_path / "work")
    peer = Anserini(tmp_path / "peer", pairs, multifield=kind == "multifield")
    queries = ["the fox's glacier", "violin violin orchard", "market (engine) OR +harbor^3"]
    found = index.search(queries, 20)
    for row, query in enumerate(queries):
        docs, scores = peer.search(query, 20, runner)
        assert found.docs[row].tolist() == docs
        np.testing.assert_allclose(found.scores[row], scores, atol=2e-4)


class Anserini:
    """Anserini's indexer and searcher, with ids in the order of positions."""

    def __init__(self, folder, pairs, *, multifield):
        import json

        from rankstone.runners.lucene.jvm import java

        folder.mkdir()
        fields = "-fields title" if multifield else ""
        line = f"-input {folder} -index {folder} -collection JsonCollection -storeDocvectors"
        arguments = java("io.anserini.index.SimpleIndexer").parseArgs(f"{line} {fields}".split())
        indexer = java("io.anserini.index.SimpleIndexer")(arguments)
        for number, (title, text) in enumerate(pairs):
            own = {"contents": text, "title": title}
            whole = own if multifield else {"contents": f"{title} {text}"}
            indexer.addRawDocument(json.dumps({"id": f"{number:06d}", **whole}))
        indexer.close()
        self.searcher = java("io.anserini.search.SimpleSearcher")(str(folder))
        self.searcher.set_bm25(0.9, 0.4)

    def search(self, query, k, runner):
        from rankstone.runners.lucene.jvm import java

        if isinstance(runner, LuceneRM3):
            self.searcher.set_rm3(runner.terms, runner.documents, runner.original_weight)
        if isinstance(runner, LuceneMultifield):
            fields = java("java.util.HashMap")()
            for name, weight in runner.weights.items():
                fields.put(name, java("java.lang.Float")(weight))
            hits = self.searcher.search_fields(query, fields, k)
        else:
            hits = self.searcher.search(query, k)
        return [int(hit.docid) for hit in hits], [hit.score for hit in hits]


def test_ties_go_to_the_lower_position_and_stay_in_order(tmp_path):
    texts = ["glacier fox", "fox", *["fox river"] * 40, "fox"]
    separate = build(LuceneFlat(), texts, tmp_path).search(["river"], 30)
    together = build(LuceneFlat(separate_ties=False), texts, tmp_path).search(["river"], 30)
    assert separate.docs[0].tolist() == together.docs[0].tolist() == list(range(2, 32))
    assert len(set(together.scores[0])) == 1
    assert (np.diff(separate.scores[0]) < 0).all()


def test_any_text_can_be_asked_for_and_found(tmp_path):
    texts = ["\ud800 lone", "nul\0byte", "smile 🙂", 'quote " \\ (', "", "harbour"]
    index = build(LuceneFlat(), texts, tmp_path)
    queries = ["lone \udfff", "byte\0", "🙂", '"quote +-&&||!(){}[]^~*?:\\/', "", "the", "NOT lone"]
    found = index.search(queries, 3).docs
    assert found[:, 0].tolist() == [0, 1, 2, 3, -1, -1, 0]
    assert (found[:, 1:] == -1).all()


def test_queries_of_thousands_of_words(tmp_path):
    index = build(LuceneFlat(), ["w7 w8", "w9000"], tmp_path)
    found = index.search([" ".join(f"w{i}" for i in range(5000))], 2).docs
    assert found.tolist() == [[0, -1]]


def test_threads_and_a_copy_elsewhere_change_nothing(tmp_path):
    pairs = corpus(200, seed=5)
    queries = [title for title, _ in pairs[:33]]
    (tmp_path / "work").mkdir()
    (tmp_path / "saved").mkdir()
    texts = [" ".join(pair) for pair in pairs]
    one = build(LuceneRM3(), texts, tmp_path / "work")
    expected = one.search(queries, 50)
    two = build(LuceneRM3(), texts, tmp_path / "work", threads=2)
    two.save(tmp_path / "saved")
    size = two.nbytes()
    shutil.rmtree(tmp_path / "work")
    loaded = LuceneIndex.load(tmp_path / "saved")
    assert loaded.nbytes() == size > 0
    for found in (loaded.search(queries, 50),):
        np.testing.assert_array_equal(found.docs, expected.docs)
        np.testing.assert_array_equal(found.scores, expected.scores)


def test_an_index_without_documents_finds_nothing(tmp_path):
    index = build(LuceneFlat(), [], tmp_path)
    assert (index.search(["fox"], 3).docs == -1).all()


def test_the_environment_is_left_as_it_was():
    code = (
        "import os; before = dict(os.environ)\n"
        "from rankstone.runners.lucene.jvm import java\n"
        "java('java.lang.String'); assert dict(os.environ) == before\n"
        "import signal; assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
    )
    for home in (None, "/nowhere"):
        environment = {k: v for k, v in os.environ.items() if k not in ("JAVA_HOME", "JDK_HOME")}
        environment |= {"JAVA_HOME": home} if home else {}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")


PUBLISHED = {
    "flat": {"beir/scifact": (0.6789, 0.9253), "beir/nfcorpus": (0.3218, 0.2457)},
    "multifield": {"beir/scifact": (0.6647, 0.9076), "beir/nfcorpus": (0.3254, 0.2500)},
}
"""nDCG@10 and R@100 of pyserini 1.6.0 (2cr/beir.yaml)."""


@pytest.mark.usefixtures("forked_cells")
@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("flat", "beir/nfcorpus"),
        *(
            pytest.param(*pair, marks=pytest.mark.slow)
            for pair in (
                ("flat", "beir/scifact"), ("multifield", "beir/scifact"),
                ("multifield", "beir/nfcorpus"),
            )
        ),
    ],
)  # fmt: skip
def test_lucene_has_its_published_values(kind, task, data_folder, tmp_path):
    import rankstone

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        [record] = rankstone.run(
            f"lexical/lucene-bm25-{kind}", task,
            cache=tmp_path / "cache", results=tmp_path / "results", data=data_folder,
        )  # fmt: skip
    found = [record["measures"][name]["mean"] for name in ("nDCG@10", "R@100")]
    assert found == pytest.approx(PUBLISHED[kind][task], abs=0.001)
