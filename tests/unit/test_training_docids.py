"""Generative retrieval by a recipe: loss, inputs, reproducibility, and a complete cell."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("accelerate", reason="needs the extra 'train'")

import torch

from rankstone.errors import DataError, DefinitionError
from rankstone.runners.construct import build_runner
from rankstone.runners.search.generative.simulated_queries import probabilities, simulated_queries
from rankstone.specs import MethodSpec
from rankstone.training.data import Documents, training_data
from rankstone.training.docids import collection
from tests.tiny_models import WORDS, tokenizer, write_encoder
from tests.training_collection import method, opened, recipe_run, sources, write_collection

BASE = {"data": ["own"], "loss": "docid_cross_entropy", "start": "random", "steps": 8, "batch": 4,
        "repeated_queries": "drop", "learning_rate": 1e-2, "save_every": 3}  # fmt: skip
TINY = {"vocabulary": 80, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_heads": 2, "num_layers": 1}
INPUTS = {"first": 6, "simulated": 3, "simulated_length": 3}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, module_cache: None) -> Path:
    folder = write_collection(tmp_path_factory.mktemp("docids"))
    write_encoder(folder / "dense")
    model = {"id": "dense", "path": str(folder / "dense")}
    parameters = {"pooling": "mean", "similarity": "cosine", "engine": "torch"}
    method(folder, "vectors", {"adapter": "dense", "model": model, "parameters": parameters})
    return folder


def dsi(root: Path, kind: str = "atomic", options: Any = None, **recipe: Any) -> MethodSpec:
    body: dict[str, Any] = {
        "adapter": "generative",
        "model": {"id": "start", "path": str(root / "dense")},
        "parameters": {"docids": kind, "beam": 64, "query_length": 16, "device": "cpu"},
    }
    if kind == "semantic":
        body["members"] = ["toy/vectors"]
        body["parameters"] |= {"branching": 4, "leaf": 4}
    options = {"network": TINY, "inputs": INPUTS} if options is None else options
    return method(root, kind, {**body, "training": {**BASE, "options": options, **recipe}})


@pytest.mark.parametrize("kind", ["atomic", "naive", "semantic"])
def test_the_loss_is_what_search_scores(root: Path, kind: str, tmp_path: Path) -> None:
    """Beam search sums log-probabilities step by step; the loss is computed by transformers."""
    from rankstone.training.losses.docids import DocidCrossEntropy, Writer

    trained = recipe_run(root, dsi(root, kind, steps=2), to=kind).trained()
    runner: Any = build_runner(trained)
    documents = Documents((opened(root).corpus,))
    context = collection(documents, 0)
    module = Writer.load(str(runner.model.folder))
    module.limit = 16
    model: Any = torch.nn.Sequential(module.eval())
    loss = DocidCrossEntropy(model, documents, runner, 0)
    index = runner.index(context.encoded(runner), context)
    text = "where is the otter"
    hits = index.search(runner.encode([text], "query"), 64)
    for document, score in list(zip(hits.docs[0].tolist(), hits.scores[0], strict=True))[::9]:
        found = loss([module.preprocess([text])], torch.tensor([document]))
        written = int((loss.docids[document] >= 0).sum())
        assert -float(found.detach()) * written == pytest.approx(float(score), rel=1e-4)
    assert sorted(hits.docs[0].tolist()) == list(range(64))


class Killed(BaseException):
    pass


def killed(work: str, done: int, total: int | None) -> None:
    if (work, done) == ("train", 7):
        raise Killed


def weights(run: Any) -> bytes:
    return (Path(run.trained().model.path) / "model.safetensors").read_bytes()


def test_a_killed_training_ends_in_the_same_weights(root: Path, tmp_path: Path) -> None:
    first = weights(recipe_run(root, dsi(root), to=str(tmp_path / "whole")))
    with pytest.raises(Killed):
        recipe_run(root, dsi(root), to=str(tmp_path / "halves"), progress=killed).trained()
    again = recipe_run(root, dsi(root), to=str(tmp_path / "halves"))
    assert weights(again) == first
    (section,) = again.sections.values()
    assert (section.resumed, section.steps) == (True, 8)
    assert section.pairs == 8 * 4


def test_other_synthetic_queries_are_other_data(root: Path, tmp_path: Path) -> None:
    path = tmp_path / "queries.jsonl"
    recipe = dsi(root, options={"network": TINY, "inputs": {"queries": str(path)}}).training
    assert recipe is not None
    with pytest.raises(DataError, match=r"options\.inputs\.queries.*queries\.jsonl"):
        training_data(recipe, opened(root), sources(root))
    digests = set()
    for query in ("a fox", "a bear"):
        path.write_text(json.dumps({"id": "fox-river", "queries": [query]}))
        digests.add(training_data(recipe, opened(root), sources(root)).digest)
    assert len(digests) == 2


@pytest.mark.slow
def test_documents_are_learnt_by_heart(root: Path) -> None:
    spec = dsi(root, steps=600, batch=32, options={"network": {**TINY, "d_model": 32},
                                                   "inputs": INPUTS})  # fmt: skip
    runner: Any = build_runner(recipe_run(root, spec, to="heart").trained())
    texts = opened(root).corpus.take(np.arange(64))
    hits = build_index(root, runner).search(runner.encode(texts, "query"), 1)
    assert (hits.docs[:, 0] == np.arange(64)).mean() > 0.9


def build_index(root: Path, runner: Any) -> Any:
    documents = Documents((opened(root).corpus,))
    context = collection(documents, 0)
    return runner.index(context.encoded(runner), context)


def test_a_new_vocabulary_has_the_most_frequent_pieces_and_all_characters() -> None:
    from rankstone.training.losses.docids import Sizes

    made = Sizes(vocabulary=2).pieces(tokenizer(), ["the fox crosses", "the fox", "The bear"])
    assert {*WORDS} & {*made.get_vocab()} == {"the", "fox"}
    assert made.tokenize("The fox, bear") == ["the", "fox", ",", "b", "##e", "##a", "##r"]
    assert {"[PAD]", "[UNK]", "[CLS]", "[SEP]"} <= {*made.get_vocab()}
    assert sorted(made.get_vocab().values()) == list(range(len(made)))


def test_word_pieces_are_a_berts() -> None:
    from transformers import ByT5Tokenizer

    from rankstone.training.losses.docids import Sizes

    with pytest.raises(DefinitionError, match=r"found 'ByT5Tokenizer'\. Name a BERT"):
        Sizes().pieces(ByT5Tokenizer(), [])


def test_words_are_drawn_by_popularity_and_discrimination() -> None:
    texts = ["fox_fox the(bear) 7", "the bear", "the Mole", "", "the"]
    frequencies = Counter({"the": 4, "bear": 2, "fox": 1, "mole": 1})
    found = Counter({"fox": 2, "the": 1, "bear": 1})
    fox, the, bear = 2 * np.log(5), np.log(5 / 4), np.log(5 / 2)
    expected = np.array([fox, the, bear]) / (fox + the + bear)
    np.testing.assert_allclose(probabilities(found, frequencies, 5), expected)
    queries = list(simulated_queries(texts, 2000, 2.5, seed=0))
    drawn = Counter(word for query in queries[0] for word in query.split())
    total = sum(drawn.values())
    for word, share in zip(found, expected, strict=True):
        assert drawn[word] / total == pytest.approx(share, abs=0.02)
    lengths = np.array([len(query.split()) for query in queries[0]])
    assert lengths.min() == 1
    assert lengths.mean() == pytest.approx(2.5 + np.exp(-2.5), abs=0.12), "Poisson, 0 counts as 1"
    assert queries[3] == []
    assert queries == list(simulated_queries(texts, 2000, 2.5, seed=0))
    alike = list(simulated_queries(["the", "the"], 3, 1.0, seed=0))
    assert {word for query in alike[0] for word in query.split()} == {"the"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"held_out": 0.3}, "learns from documents"),
        ({"options": {"inputs": {"queries_": 3}}}, "options.inputs"),
        ({"options": {"network": {"width": 3}}}, "options.network"),
        ({"options": {"inputs": {"first": 0, "training_queries": False}}}, "makes no input"),
        ({"options": {"network": TINY, "beams": 3}}, "options of 'docid_cross_entropy'"),
    ],
)
def test_a_wrong_recipe_is_refused(root: Path, more: Any, message: str) -> None:
    with pytest.raises(DefinitionError, match=message):
        recipe_run(root, dsi(root, **more), to="wrong").trained()
