"""Reranker checkpoints in other layouts: remote code, modules, chat templates, unnamed."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.cross_encoder.modules import LogitScore
from sentence_transformers.sentence_transformer.modules import Pooling

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.construct import build_runner
from rankstone.runners.scorers.cross_encoder import CrossEncoderScorer
from rankstone.runners.scorers.own_reranker import OwnReranker
from rankstone.runners.unwritten import forms
from rankstone.workspace import Changes, Workspace
from tests import tiny_encoders
from tests import tiny_language_models as language
from tests import tiny_rerankers as tiny
from tests.conftest import ROOT

QUERY, DOCUMENTS = tiny.QUERY, [*tiny.CANDIDATES, "the violin " * 60]
PLACE = Workspace.find(ROOT)
CLASSIFIER = """
        from transformers.modeling_outputs import SequenceClassifierOutput

        pooled = (states * mask).sum(1) / mask.sum(1)
        return SequenceClassifierOutput(logits=pooled[:, :1])
"""
CHAT = """
{%- for turn in messages %}
{%- set text = turn.content if turn.content is string else turn.content[0].text %}
{%- if turn.role == "system" %}{{ "<|im_start|>system\n" + text + "<|im_end|>\n" }}
{%- elif turn.role == "query" %}{{ "<|im_start|>user\n<Query>: " + text + "\n" }}
{%- elif turn.role == "document" %}{{ "<Document>: " + text + "<|im_end|>\n" }}{%- endif %}
{%- endfor %}{{ "<|im_start|>assistant\n" }}"""


def library(folder, **more):
    return CrossEncoder(str(folder), device="cpu", local_files_only=True, **more)


def check(scorer, **more):
    """Check that the scores are the library's logits."""
    peer = library(scorer.model.folder, trust_remote_code=scorer.trust_remote_code)
    peer.max_seq_length = scorer.describe()["max_length"]
    pairs = [(QUERY, text) for text in DOCUMENTS]
    expected = peer.predict(pairs, activation_fn=torch.nn.Identity(), **more)
    found = scorer.score(QUERY, DOCUMENTS)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    assert np.ptp(found) > 1e-3


def test_code_of_a_scorer_runs_as_that_of_an_encoder(tmp_path):
    tiny_encoders.word_pieces(tmp_path)
    tiny_encoders.remote_code(
        tmp_path, kind="ours", auto_class="AutoModelForSequenceClassification", body=CLASSIFIER,
        vocabulary=len(tiny_encoders.VOCABULARY),
    )  # fmt: skip
    language.write_settings(tmp_path, num_labels=1)
    model = tiny.located(tmp_path)
    with pytest.raises(DefinitionError, match="would run with your rights"):
        CrossEncoderScorer(model=model).score(QUERY, ["a"])
    hub = dataclasses.replace(model, origin="hub cache", revision=None)
    with pytest.raises(DefinitionError, match="Pin its commit"):
        CrossEncoderScorer(model=hub, trust_remote_code=True).score(QUERY, ["a"])
    check(CrossEncoderScorer(model=model, trust_remote_code=True, engine="torch", device="cpu"))


def test_a_model_scores_by_a_method_of_its_own(tmp_path):
    from transformers import AutoModel

    model = language.write_own_code(tmp_path)
    with pytest.raises(DefinitionError, match="would run with your rights"):
        OwnReranker(model=model).score(QUERY, ["a"])
    scorer = OwnReranker(
        model=model, trust_remote_code=True, arguments={"scale": 2.0}, device="cpu"
    )
    peer = AutoModel.from_pretrained(tmp_path, trust_remote_code=True)
    expected = {one["index"]: one["relevance_score"] for one in peer.rerank(QUERY, DOCUMENTS, 2.0)}
    scores = scorer.score(QUERY, DOCUMENTS)
    np.testing.assert_allclose(scores, [expected[i] for i in range(len(DOCUMENTS))], rtol=1e-6)
    assert scorer.score(QUERY, []).shape == (0,)
    json.dumps(scorer.describe())
    top = dataclasses.replace(scorer, arguments={"othre": 2})
    with pytest.raises(DefinitionError, match=r"arguments\.othre'.*Known: query, documents, scale"):
        top.score(QUERY, DOCUMENTS)
    with pytest.raises(ModelError, match="no method 'rerank'"):
        OwnReranker(model=tiny.located(tiny_backbone(tmp_path / "bert"))).score(QUERY, ["a"])


def tiny_backbone(folder):
    tiny.write_backbone(folder)
    return folder


def test_a_pooled_encoder_with_a_dense_head(tmp_path):
    tiny.write_backbone(tmp_path / "bert")
    modules = [
        Transformer(str(tmp_path / "bert")),
        Pooling(32, pooling_mode="mean"),
        Dense(32, 1, activation_function=torch.nn.Identity(), module_output_name="scores"),
    ]
    torch.nn.init.normal_(modules[2].linear.weight)
    CrossEncoder(modules=modules, device="cpu").save_pretrained(str(tmp_path / "whole"))
    check(CrossEncoderScorer(model=tiny.located(tmp_path / "whole"), device="cpu", engine="torch"))


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    language.write_causal(folder / "plain")
    (folder / "plain/chat_template.jinja").write_text(CHAT)
    module = Transformer(str(folder / "plain"), transformer_task="text-generation")
    yes, no = (module.tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    made = CrossEncoder(
        modules=[module, LogitScore(yes, no)], device="cpu", prompts={"web": "Find it."},
        default_prompt_name="web",
    )  # fmt: skip
    made.save_pretrained(str(folder / "whole"))
    return tiny.located(folder / "whole")


def test_a_causal_model_with_a_chat_template_for_pairs(chat):
    scorer = CrossEncoderScorer(model=chat, device="cpu", engine="torch", max_length=200)
    check(scorer)
    other = dataclasses.replace(scorer, instruction="Find code.")
    check(other, prompt="Find code.")
    described = [json.loads(json.dumps(one.describe())) for one in (scorer, other)]
    assert [one["instruction"] for one in described] == ["Find it.", "Find code."]
    cut = scorer.truncation(QUERY, DOCUMENTS)
    assert (cut.texts, cut.texts_cut) == (len(DOCUMENTS), 1)
    assert scorer.score(QUERY, []).shape == (0,)
    assert other.truncation(QUERY, []) == (0, 0, 0, 0)


def test_a_causal_model_that_states_no_prompt_is_refused(tmp_path):
    model = language.write_causal(tmp_path)
    with pytest.raises(ModelError, match=r"causal_reranker.*scorer\.parameters\.template"):
        CrossEncoderScorer(model=model, device="cpu").score(QUERY, ["a"])
    plain = tiny.write_cross_encoder(tmp_path / "bert")
    with pytest.raises(ModelError, match="takes no instruction"):
        CrossEncoderScorer(model=plain, device="cpu", instruction="x").score(QUERY, ["a"])


def method(folder: Path, *settings: str, **options: object):
    [made] = PLACE.methods([str(folder)], changes=Changes(settings=settings, **options))
    return made


def test_a_reranker_without_a_definition_needs_adapter_and_candidates(chat, tmp_path):
    language.write_causal(tmp_path / "qwen")
    language.write_seq2seq(tmp_path / "t5")
    behind = {"candidates": "bm25", "depth": 7}
    made = method(chat.folder, **behind)
    assert made.scorer.adapter == "cross_encoder"
    with pytest.raises(ModelError, match="causal_reranker, seq2seq_reranker or listwise"):
        method(tmp_path / "qwen", **behind)
    with pytest.raises(DefinitionError, match="--candidates bm25 --depth 100"):
        method(tmp_path / "qwen", "adapter=causal_reranker")
    made = method(tmp_path / "qwen", "adapter=causal_reranker", **behind)
    assert made.scorer.parameters["template"] == "qwen3"
    words = {
        one: build_runner(
            method(tmp_path / "qwen", "adapter=causal_reranker", *more, **behind).on_task(
                "a/b", one
            )
        ).scorer.instruction
        for one, more in (("", ()), ("the task's", ()), ("theirs", ["instruction=mine"]))
    }
    web = "Given a web search query, retrieve relevant passages that answer the query"
    assert words == {"": web, "the task's": "the task's", "theirs": "mine"}
    assert made.name.startswith("folder/qwen+causal_reranker+candidates-lexical-bm25-7+weights-")
    assert build_runner(made).scorer.max_length == 8192
    made = method(tmp_path / "t5", "adapter=seq2seq_reranker", "scorer.max_length=90", **behind)
    assert build_runner(made).scorer.max_length == 90
    made = method(tmp_path / "qwen", "adapter=listwise", "scorer.window=12", **behind)
    assert build_runner(made).scorer.window == 12


def test_a_reranker_of_mtebs_registry_is_known_by_its_loader(tmp_path, monkeypatch):
    language.write_seq2seq(tmp_path)
    files = dataclasses.replace(tiny.located(tmp_path), origin="hub cache", revision="c" * 40)
    loader = type("MonoT5Reranker", (), {})
    meta = SimpleNamespace(name="org/name", revision="c" * 40, loader=loader, loader_kwargs={})
    registry = ModuleType("mteb")
    registry.__spec__ = SimpleNamespace()
    registry.get_model_meta = lambda name: meta
    monkeypatch.setitem(sys.modules, "mteb", registry)
    monkeypatch.setattr(forms, "locate_here", lambda model: files)
    [made] = PLACE.methods(["mteb:org/name"], changes=Changes(candidates="bm25", depth=9))
    assert made.scorer.adapter == "seq2seq_reranker"
    assert made.name == "mteb/org/name+revision-cccccccc+candidates-lexical-bm25-9"
