"""Generative retrieval: beam search over docids against exhaustive scoring, and its parts."""

from __future__ import annotations

import dataclasses
import itertools
import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

from rankstone.errors import DataError, DefinitionError, ModelError
from rankstone.runners.encoders.generative import GenerativeIndex, GenerativeRetriever
from rankstone.runners.representations.ragged import Ragged
from rankstone.runners.search.generative import docids
from rankstone.runners.search.generative.training_pairs import InputSettings, export
from rankstone.runners.search.generative.trie import Trie
from rankstone.runners.testing import MemoryChunks, Pairs, PlainContext
from tests import tiny_language_models as tiny

QUERIES = ["which fox crosses the river", "bear", "the engine " * 12, ""]
N = 20
TEXTS = [f"document {n}" for n in range(N)]


class Blobs:
    """Encoder of texts "... n" as points near one of six corners."""

    cacheable = False

    def encode(self, texts, role):
        numbers = np.array([int(text.split()[-1]) for text in texts])
        corners = np.eye(6, dtype=np.float32)[numbers % 6]
        return corners + np.float32(0.001) * np.sin(numbers)[:, None].astype(np.float32)

    def describe(self):
        return {"encoder": "corners"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seq2seq")
    return {
        "t5": tiny.write_seq2seq(folder / "t5", documents=N, scale=1.0),
        "bart": tiny.write_bart(folder / "bart"),
    }


@pytest.fixture
def context(tmp_path):
    return PlainContext(texts=TEXTS, work=tmp_path)


def retriever(model, kind="naive", **more):
    members = (Blobs(),) if kind == "semantic" else ()
    settings = {"query_length": 16, "beam": N, "device": "cpu", **more}
    return GenerativeRetriever(model=model, docids=kind, members=members, **settings)


@cache
def loaded(folder):
    net = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    return net, transformers.AutoTokenizer.from_pretrained(folder)


def exhaustive(runner, context, query):
    """Return the score of every document, from the loss of transformers for its docid."""
    net, tokenizer = loaded(runner.model.folder)
    given = tokenizer(query, truncation=True, max_length=16, return_tensors="pt")
    scores = []
    for name in runner.names(context):
        labels = tokenizer(text_target=name, return_tensors="pt")["input_ids"]
        labels = labels[:, :1] if runner.docids == "atomic" else labels
        with torch.inference_mode():
            loss = net(**given, labels=labels).loss
        scores.append(-float(loss) * labels.shape[1])
    return np.array(scores)


@pytest.mark.parametrize(
    ("name", "kind"), [("t5", "atomic"), ("t5", "naive"), ("t5", "semantic"), ("bart", "naive")]
)
def test_a_beam_of_all_docids_is_scoring_every_docid(models, context, name, kind):
    runner = retriever(models[name], kind, batch_size=3, branching=2, leaf=4)
    index = runner.index(MemoryChunks(runner, TEXTS), context)
    docs, scores = index.search(runner.encode(QUERIES, "query"), N + 2)
    assert (docs[:, N:] == -1).all()
    for row, query in enumerate(QUERIES):
        expected = exhaustive(runner, context, query)
        np.testing.assert_allclose(scores[row, :N], expected[docs[row, :N]], rtol=1e-5)
        assert sorted(docs[row, :N]) == list(range(N))
        assert (np.diff(scores[row, :N]) <= 0).all()


@pytest.mark.parametrize("name", ["t5", "bart"])
def test_a_narrow_beam_finds_what_transformers_finds(models, name, tmp_path):
    """Docids have one length, because `generate` compares complete ones with longer prefixes."""
    context = PlainContext(texts=TEXTS, work=tmp_path)
    runner = retriever(models[name], beam=3)
    names = [f"{n:03d}" for n in range(0, 900, 900 // N)]
    sequences = runner.sequences(names)
    index = GenerativeIndex(runner, Trie.build(sequences))
    docs, scores = index.search(runner.encode(QUERIES, "query"), 5)
    net, tokenizer = loaded(runner.model.folder)
    assert (docs[:, 3:] == -1).all()

    def allowed(_, ids):
        written = ids.tolist()[1:]
        n = len(written)
        return [s[n] for s in sequences if s[:n] == written and len(s) > n] or [1]

    for row, query in enumerate(QUERIES):
        found = net.generate(
            **tokenizer(query, truncation=True, max_length=16, return_tensors="pt"),
            num_beams=3, num_return_sequences=3, length_penalty=0.0, max_new_tokens=8,
            prefix_allowed_tokens_fn=allowed, output_scores=True, return_dict_in_generate=True,
        )  # fmt: skip
        expected = [sequences.index([t for t in s.tolist()[1:] if t]) for s in found.sequences]
        assert docs[row, :3].tolist() == expected
        np.testing.assert_allclose(scores[row, :3], found.sequences_scores, rtol=1e-5)
    assert context.phases == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=12))
def test_a_trie_has_the_prefixes_of_its_sequences(sequences):
    trie = Trie.build(sequences)
    prefixes = {tuple(s[:n]) for s in sequences for n in range(len(s) + 1)} | {()}
    assert len(trie.tokens) == len(prefixes)
    waiting, seen = [((), 0)], {}
    while waiting:
        prefix, node = waiting.pop()
        seen[prefix] = trie.documents(np.array([node]))[1].tolist()
        _, children = trie.below(np.array([node]))
        tokens = trie.tokens[children].tolist()
        assert tokens == sorted({p[-1] for p in prefixes if p and p[:-1] == prefix})
        waiting += [((*prefix, t), int(c)) for t, c in zip(tokens, children, strict=True)]
    assert seen == {p: [n for n, s in enumerate(sequences) if tuple(s) == p] for p in prefixes}


def test_documents_with_one_docid_are_found_together(models):
    runner = retriever(models["t5"])
    index = GenerativeIndex(runner, Trie.build(runner.sequences(["7", "8", "7"])))
    docs, scores = index.search(runner.encode(["fox"], "query"), 3)
    assert docs[0].tolist() in ([0, 2, 1], [1, 0, 2])
    assert scores[0, docs[0] == 0] == scores[0, docs[0] == 2]
    assert index.nbytes() > runner.network.nbytes() > 4 * 32 * 100
    empty = Ragged(np.empty((0, 32), np.float32), np.zeros(2, np.int64))
    assert index.search(empty, 2).docs.tolist() == [[-1, -1]]


def test_semantic_docids_are_paths_through_clusters():
    vectors = Blobs().encode(TEXTS, "document")
    names = docids.semantic(vectors, branching=6, leaf=5, seed=0)
    assert len(set(names)) == N
    paths = [tuple(map(int, name.split())) for name in names]
    groups = {p[0]: {n % 6 for n, q in enumerate(paths) if q[0] == p[0]} for p in paths}
    # k-means may leave two corners in one cluster, which is then divided.
    assert set().union(*groups.values()) == set(range(6))
    assert all(max(n for *path, n in paths if path == list(p)) < 5 for *p, _ in paths)
    same = docids.semantic(np.ones((23, 4), np.float32), branching=3, leaf=2, seed=0)
    assert len(set(same)) == 23
    assert docids.semantic(np.empty((0, 4), np.float32), 2, 2, 0) == []


def test_docids_beside_the_weights_are_those_of_the_model(models, context, tmp_path):
    folder = tmp_path / "model"
    tiny.write_seq2seq(folder)
    runner = retriever(tiny.located(folder))
    assert runner.names(context)[:2] == ["d0", "d1"]
    (folder / docids.FILE).write_text(json.dumps({f"d{n}": str(7 * n) for n in range(N)}))
    assert retriever(tiny.located(folder)).names(context)[:3] == ["0", "7", "14"]
    (folder / docids.FILE).write_text('{"d0": "1"}')
    with pytest.raises(ModelError, match=r"no docid of document 'd1'.*another collection"):
        retriever(tiny.located(folder)).names(context)
    (folder / docids.FILE).write_text("[]")
    with pytest.raises(ModelError, match="no docids by document"):
        retriever(tiny.located(folder)).names(context)


def test_training_pairs_are_parts_of_documents_and_queries(models, tmp_path):
    words = ["fox", "bear", "river", "engine"]
    long = " ".join(itertools.islice(itertools.cycle(words), 40))
    context = PlainContext(
        texts=[long, "the fox", ""], work=tmp_path, train_queries=["which bear"],
        train_judgements=Pairs(query=np.array([0]), document=np.array([1])),
    )  # fmt: skip
    queries = tmp_path / "queries.jsonl"
    queries.write_text('{"id": "d2", "queries": ["a", "b", "c"]}\n\n')
    runner = retriever(models["t5"])
    inputs = InputSettings(
        first=3, chunks=4, chunk_length=5, queries=str(queries), queries_per_document=2
    )
    pairs = list(runner.training_pairs(context, inputs))
    assert pairs[0] == ("fox bear river", "d0")
    chunks = [pair.input for pair in pairs[1:5]]
    assert all(chunk in long and len(chunk.split()) == 5 for chunk in chunks)
    assert len(set(chunks)) > 1
    assert pairs[5:] == [
        ("the fox", "d1"), ("the fox", "d1"), ("a", "d2"), ("b", "d2"), ("which bear", "d1"),
    ]  # fmt: skip
    assert pairs == list(runner.training_pairs(context, inputs))
    none = InputSettings(first=0, training_queries=False)
    assert list(runner.training_pairs(context, none)) == []
    assert export(tmp_path, iter(pairs), runner.names(context), context) == len(pairs)
    written = [json.loads(line) for line in (tmp_path / "pairs.jsonl").read_text().splitlines()]
    assert written[0] == {"input": "fox bear river", "docid": "d0"}
    assert json.loads((tmp_path / docids.FILE).read_text())["d2"] == "d2"
    for line, match in (
        ('{"id": "x", "queries": []}', r"line 1: no document 'x'"),
        ("[]", r"line 1: expected"),
        ('{"id": "d2", "queries": "a"}', r"not a list of texts"),
    ):
        queries.write_text(line)
        with pytest.raises(DataError, match=match):
            list(runner.training_pairs(context, inputs))


def test_a_definition_that_cannot_be_is_refused(models, context):
    with pytest.raises(DefinitionError, match="semantic docids"):
        GenerativeRetriever(model=models["t5"], docids="semantic")
    runner = retriever(models["t5"], "atomic", token="<document {position}>")
    with pytest.raises(ModelError, match=r"no token '<document 0>'"):
        runner.index(MemoryChunks(runner, TEXTS), context)
    short = dataclasses.replace(retriever(models["t5"]), query_length=4)
    assert short.truncation(QUERIES, "query").texts_cut == 2
    assert short.truncation(QUERIES, "document") is None
