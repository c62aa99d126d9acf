"""Prompted rerankers against the documented use of their models in plain torch."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
import transformers

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners import meter
from rankstone.runners.protocols import Scorer
from rankstone.runners.scorers.causal_reranker import CausalReranker
from rankstone.runners.scorers.seq2seq_reranker import Seq2SeqReranker
from tests import tiny_language_models as tiny

QUERY = "which fox crosses the river?"
DOCUMENTS = [
    "The fox crosses the river.", "bear", "", "an engine repairs the violin " * 12, "yes, no!\n",
    "naïve 漢字 🙂",
]  # fmt: skip
TORCH = {"device": "cpu", "engine": "torch"}
LIMIT = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def qwen3(folder):
    return CausalReranker(model=tiny.write_causal(folder / "qwen3"), max_length=LIMIT, **TORCH)


@pytest.fixture(scope="module")
def mxbai(folder):
    model = tiny.write_causal(folder / "qwen2", "qwen2")
    return CausalReranker(model=model, template="mxbai-v2", max_length=120, **TORCH)


@pytest.fixture(scope="module")
def monot5(folder):
    return Seq2SeqReranker(model=tiny.write_seq2seq(folder / "t5"), max_length=64, **TORCH)


def of_the_card(scorer, query, documents, instruction):
    """Return P(yes) as in the model card of Qwen3-Reranker, with transformers."""
    folder = scorer.model.folder
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    system = (
        "Judge whether the Document meets the requirements based on the Query and the Instruct"
        ' provided. Note that the answer can only be "yes" or "no".'
    )
    prefix = f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n"
    suffix = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    before, after = (tokenizer.encode(t, add_special_tokens=False) for t in (prefix, suffix))
    pairs = [
        f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {text}" for text in documents
    ]
    inputs = tokenizer(
        pairs, padding=False, truncation="longest_first", return_attention_mask=False,
        max_length=scorer.max_length - len(before) - len(after),
    )  # fmt: skip
    inputs["input_ids"] = [before + ids + after for ids in inputs["input_ids"]]
    padded = tokenizer.pad(inputs, padding=True, return_tensors="pt")
    with torch.no_grad():
        logits = model(**padded).logits[:, -1]
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    return torch.log_softmax(logits[:, [no, yes]], dim=1)[:, 1].exp().numpy()


def sigmoid(x):
    return 1 / (1 + np.exp(-x.astype(np.float64)))


WEB = "Given a web search query, retrieve relevant passages that answer the query"


def test_qwen3_is_as_its_card_computes_it(qwen3):
    expected = of_the_card(qwen3, QUERY, DOCUMENTS, WEB)
    assert np.ptp(expected) > 0.1, "random weights tell documents apart"
    np.testing.assert_allclose(sigmoid(qwen3.score(QUERY, DOCUMENTS)), expected, atol=2e-5)
    other = dataclasses.replace(qwen3, instruction="Find {code}")
    expected = of_the_card(qwen3, QUERY, DOCUMENTS[:2], "Find {code}")
    np.testing.assert_allclose(sigmoid(other.score(QUERY, DOCUMENTS[:2])), expected, atol=2e-5)


def of_the_package(scorer, query, documents):
    """Return the log-odds of "1" against "0" as in the package mxbai-rerank: each part is tokenised
    separately, and the query has at most 3/4 of the length without the frame."""
    folder, limit = scorer.model.folder, scorer.max_length
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    task = (
        "You are a search relevance expert who evaluates how well documents match search queries."
        " For each query-document pair, carefully analyze the semantic relationship between them,"
        " then provide your binary relevance judgment (0 for not relevant, 1 for relevant)."
        "\nRelevance:"
    )
    system = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."

    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    scores = []
    for document in documents:
        asked = ids(f"query: {query}")[: limit * 3 // 4]
        body = (asked + ids("\n") + ids(f"document: {document}"))[:limit]
        frame = ids(f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\n")
        end = ids("\n") + ids(task) + ids("<|im_end|>\n<|im_start|>assistant\n")
        with torch.no_grad():
            logits = model(torch.tensor([frame + body + end])).logits[0, -1]
        scores.append(float(logits[ids("1")[0]] - logits[ids("0")[0]]))
    return scores


def test_mxbai_v2_is_as_its_package_computes_it(mxbai):
    for query in (QUERY, "fox " * 60):
        expected = of_the_package(mxbai, query, DOCUMENTS)
        np.testing.assert_allclose(mxbai.score(query, DOCUMENTS), expected, rtol=1e-4, atol=1e-4)


def of_pygaggle(scorer, query, documents):
    """Return log P(true) of the first token generated by T5, for prompts that fit."""
    folder = scorer.model.folder
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    texts = [f"Query: {query} Document: {text} Relevant:" for text in documents]
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    words = tokenizer.convert_tokens_to_ids(["▁false", "▁true"])
    output = model.generate(
        **inputs, max_new_tokens=1, do_sample=False, return_dict_in_generate=True,
        output_logits=True,
    )  # fmt: skip
    return torch.log_softmax(output.logits[0][:, words], dim=1)[:, 1].numpy()


def test_monot5_is_as_pygaggle_computes_it(monot5):
    fitting = ["the fox crosses the river", "bear", "", "an engine: true or false"]
    expected = of_pygaggle(monot5, QUERY, fitting)
    assert np.ptp(expected) > 0.1
    logs = np.log(sigmoid(monot5.score(QUERY, fitting)))
    np.testing.assert_allclose(logs, expected, rtol=1e-4, atol=1e-4)


def test_only_the_end_of_a_document_is_left_out(qwen3, mxbai, monot5):
    long = "the river " * 300
    for scorer in (qwen3, mxbai, monot5):
        ids, counts = scorer._tokens.pairs(QUERY, ["the river", long, f"{long} fox"])
        after, room = scorer._tokens._last, scorer._tokens._room
        around = len(scorer._tokens._first) + len(after)
        assert [len(one) for one in ids[1:]] == [room + around] * 2
        assert all(one[-len(after) :].tolist() == after.tolist() for one in ids)
        assert ids[1].tolist() == ids[2].tolist()
        cut = scorer.truncation(QUERY, ["the river", long])
        assert (cut.texts, cut.texts_cut) == (2, 1)
        assert cut.tokens_cut == counts[1] - len(ids[1]) > 0


def test_prompted_scorers_keep_the_contract(qwen3, mxbai, monot5):
    for scorer in (qwen3, mxbai, monot5):
        assert isinstance(scorer, Scorer)
        scores = scorer.score(QUERY, DOCUMENTS)
        assert (scores.dtype, scores.shape) == (np.float32, (len(DOCUMENTS),))
        small = dataclasses.replace(scorer, batch_tokens=1)
        np.testing.assert_allclose(small.score(QUERY, DOCUMENTS), scores, rtol=1e-4, atol=1e-4)
        assert scorer.score(QUERY, []).shape == (0,)
        whole = scorer.truncation(QUERY, DOCUMENTS)
        parts = [scorer.truncation(QUERY, part) for part in (DOCUMENTS[:3], DOCUMENTS[3:])]
        assert whole == parts[0].plus(parts[1])
        described = json.dumps(scorer.describe())
        assert "instruction" in described
        other = dataclasses.replace(scorer, template={"yes": "a", "no": "b"})
        assert json.dumps(other.describe()) != described


@pytest.mark.parametrize("kind", ["qwen3", pytest.param("monot5", marks=pytest.mark.slow)])
def test_openvino_gives_the_same_scores(request, kind):
    pytest.importorskip("openvino")
    scorer = request.getfixturevalue(kind)
    exported = dataclasses.replace(scorer, engine="openvino")
    scores = scorer.score(QUERY, DOCUMENTS)
    np.testing.assert_allclose(exported.score(QUERY, DOCUMENTS), scores, rtol=1e-4, atol=1e-3)


def test_prompts_that_do_not_fit_are_refused(qwen3, monot5):
    with pytest.raises(DefinitionError, match="the prompt around a pair takes"):
        dataclasses.replace(qwen3, max_length=20).score(QUERY, ["a"])
    other = dataclasses.replace(monot5, template={"yes": "perhaps", "no": "b"})
    with pytest.raises(ModelError, match="no token 'perhaps' in its vocabulary"):
        other.score(QUERY, ["a"])
    for template, fault in (
        ("qwen4", "Name one of qwen3, mxbai-v2"),
        ({"yes": "a"}, "template.no"),
        ({"yes": "a", "no": "b", "query": "{asked}"}, "KeyError 'asked'"),
        ({"yes": "a", "no": "b", "quary": "x"}, "quary"),
    ):
        with pytest.raises(DefinitionError, match=fault):
            dataclasses.replace(qwen3, template=template)


def test_work_is_counted_by_definition(qwen3, monot5):
    """Counts the encoder, and the keys and values that T5's decoder computes from its output."""
    heard = []
    with meter.listening(heard.append):
        monot5.score("fox", ["bear"])
    ids = monot5._tokens.pairs("fox", ["bear"]).ids[0]
    d, inner, layers, n = 32, 48, 2, len(ids)
    encoder = layers * (n * 2 * (4 * d * d + 2 * d * inner) + 4 * d * n * n)
    assert heard[0][:3] == (1, n, encoder + n * 2 * layers * 2 * d * d)
    heard.clear()
    with meter.listening(heard.append):
        qwen3.score("fox", ["bear"])
    n = heard[0].tokens
    weights = d * d + 2 * d * 16 + d * d + 3 * d * inner
    assert heard[0].flops == layers * (2 * weights * n + 4 * d * n * n)
