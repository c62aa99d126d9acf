"""DupMAE's vector against its formula, by BERT's own masked-language model."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, BertForMaskedLM

from rankstone.errors import ModelError
from rankstone.runners.encoders.dupmae import DupMAE
from rankstone.runners.models import locate
from rankstone.runners.testing import MemoryChunks, PlainContext
from rankstone.specs import ModelSpec
from tests import tiny_encoders as tiny

TEXTS = ["the fox", "", "a bear of the river", "def x(y): return y", "print the title " * 50]
KEPT = 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dupmae")
    tiny.dupmae(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RANKSTONE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield folder


@pytest.fixture(params=["torch", "openvino"])
def runner(request, folder):
    return DupMAE(
        model=locate(ModelSpec(id="dupmae", path=str(folder))),
        projection="cls_projection",
        top_k=KEPT,
        max_length=64,
        engine=request.param,
        device="cpu",
    )


def reference(folder):
    """(h, mu) of every text, one at a time: no padding."""
    model = BertForMaskedLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    weight = load_file(folder / "model.safetensors")["cls_projection.weight"]
    short, words = [], []
    for text in TEXTS:
        inputs = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        with torch.inference_mode():
            output = model(**inputs, output_hidden_states=True)
        short.append(output.hidden_states[-1][0, 0] @ weight.T)
        words.append(output.logits[0, 1:].max(0).values)
    return torch.stack(short).numpy(), torch.stack(words).numpy()


def test_vectors_are_those_of_the_formula(runner, folder):
    short, words = reference(folder)
    queries, documents = runner.encode(TEXTS, "query"), runner.encode(TEXTS, "document")
    np.testing.assert_allclose(queries, np.hstack([short, words]), atol=1e-5, rtol=1e-5)
    np.testing.assert_allclose(documents[:, :12], short, atol=1e-5, rtol=1e-5)
    best = np.sort(np.argsort(-words, axis=1)[:, :KEPT], axis=1)
    np.testing.assert_array_equal(documents[:, 12 + KEPT :], best)
    alone = np.concatenate([runner.encode([text], "document") for text in TEXTS])
    np.testing.assert_allclose(alone, documents, atol=1e-5, rtol=1e-5)


def test_the_score_is_that_of_the_formula(runner, folder, tmp_path):
    short, words = reference(folder)
    expected = short @ short.T
    for query in range(len(TEXTS)):
        for doc in range(len(TEXTS)):
            kept = np.argsort(-words[doc])[:KEPT]
            expected[query, doc] += words[query, kept] @ words[doc, kept]
    index = runner.index(MemoryChunks(runner, TEXTS, 2), PlainContext(texts=TEXTS, work=tmp_path))
    docs, scores = index.search(runner.encode(TEXTS, "query"), 7)
    assert (docs[:, len(TEXTS) :] == -1).all()
    order = np.argsort(-expected, axis=1)
    np.testing.assert_array_equal(docs[:, : len(TEXTS)], order)
    np.testing.assert_allclose(
        scores[:, : len(TEXTS)], np.take_along_axis(expected, order, axis=1), rtol=1e-5
    )
    index.save(tmp_path)
    again = type(index).load(tmp_path)
    np.testing.assert_array_equal(again.search(runner.encode(TEXTS, "query"), 7).docs, docs)
    assert index.nbytes() == again.nbytes() > 0


def test_a_checkpoint_without_the_projection_is_refused(folder):
    located = locate(ModelSpec(id="dupmae", path=str(folder)))
    with pytest.raises(ModelError, match=r"no weights 'none.weight'"):
        DupMAE(model=located, projection="none", engine="torch").encode(["a"], "query")
