"""VDR against the authors' implementation, on tiny towers in the released layout."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from rankstone.errors import ModelError
from rankstone.runners.encoders.vdr import VDR
from rankstone.runners.models import locate
from rankstone.runners.testing import PlainContext
from rankstone.specs import ModelSpec
from tests import tiny_models

SHIFT, KEPT = 20, 16
TEXTS = ["", "the fox crosses the river", "glacier " * 90, "naïve café 漢字 🙂", "bear harbour"]
PARTS = {"query": "encoder_q", "document": "encoder_p"}


pytestmark = pytest.mark.usefixtures("module_cache")


@pytest.fixture(scope="module")
def tokenizer_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny_models.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tiny_models.write_vdr(tmp_path_factory.mktemp("vdr"), shift=SHIFT)
    return locate(ModelSpec(id="tiny-vdr", path=str(folder)))


@pytest.fixture(params=["torch", "openvino"])
def runner(request, model, tokenizer_folder):
    return VDR(
        model=model,
        engine=request.param,
        device="cpu",
        shift=SHIFT,
        top_k=KEPT,
        tokenizer=str(tokenizer_folder),
        max_length={"query": 32, "document": 64},
    )


def expected(model, texts, role, length, *, bag=False, with_own=True):
    """Compute the forward pass of the authors' VDREncoder, one text at a time."""
    import torch
    import torch.nn.functional as F  # noqa: N812
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    tensors = load_file(model.folder / "model.safetensors")
    name = f"{PARTS[role]}.bert_model."
    state = {k.removeprefix(name): v for k, v in tensors.items() if k.startswith(name)}
    config = tiny_models.bert().config.to_dict()
    bert = BertModel(BertConfig(**config), add_pooling_layer=False).eval()
    bert.load_state_dict(state)
    norm = torch.nn.LayerNorm(32)
    norm.load_state_dict({k: tensors[f"{PARTS[role]}.ln.{k}"] for k in ("weight", "bias")})
    rows = []
    for text in texts:
        features = tiny_models.tokenizer()(
            text, truncation=True, max_length=length, return_tensors="pt"
        )
        own = torch.zeros(1, len(tiny_models.VOCABULARY)).scatter_(-1, features["input_ids"], 1)
        own = own[:, SHIFT:]
        with torch.inference_mode():
            states = norm(bert(**features).last_hidden_state)
            words = bert.embeddings.word_embeddings.weight[SHIFT:]
            values = (F.elu(states @ words.t()) + 1).max(1)[0]
        kept = torch.zeros_like(values, dtype=torch.bool)
        kept.scatter_(-1, torch.topk(values, KEPT).indices, True)
        own = own * with_own
        rows.append((own if bag else values * torch.logical_or(kept, own.bool()))[0].numpy())
    return np.stack(rows)


def dense(rep):
    return rep.matrix().toarray()


@pytest.mark.parametrize(("role", "length"), [("query", 32), ("document", 64)])
def test_vectors_are_those_of_the_authors_form(runner, model, role, length):
    rep = runner.encode(TEXTS, role)
    assert rep.width == len(tiny_models.VOCABULARY) - SHIFT
    np.testing.assert_allclose(dense(rep), expected(model, TEXTS, role, length), atol=1e-5)
    other = dataclasses.replace(runner, own_tokens=False)
    largest = expected(model, TEXTS, role, length, with_own=False)
    np.testing.assert_allclose(dense(other.encode(TEXTS, role)), largest, atol=1e-5)
    assert other.describe() != runner.describe()


def test_padding_changes_nothing_unlike_in_the_authors_code(runner):
    together = dense(runner.encode(TEXTS, "document"))
    alone = np.concatenate([dense(runner.encode([text], "document")) for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-5)


@pytest.mark.parametrize(("search", "role"), [("alpha", "query"), ("beta", "document")])
def test_one_side_may_be_a_bag_of_tokens(runner, model, search, role):
    own = dataclasses.replace(runner, search=search)
    length = runner.max_length[role]
    bags = expected(model, TEXTS, role, length, bag=True)
    np.testing.assert_array_equal(dense(own.encode(TEXTS, role)), bags)
    other = "document" if role == "query" else "query"
    np.testing.assert_allclose(
        dense(own.encode(TEXTS, other)), dense(runner.encode(TEXTS, other)), atol=1e-6
    )
    assert own.describe() != runner.describe()


def test_scores_are_inner_products_of_the_two_towers(runner, model, tmp_path):
    context = PlainContext(texts=TEXTS, work=tmp_path)
    index = runner.index(context.encoded(runner), context)
    docs, scores = index.search(runner.encode(["the fox", "bear"], "query"), len(TEXTS))
    products = (
        expected(model, ["the fox", "bear"], "query", 32) @ expected(model, TEXTS, "document", 64).T
    )
    np.testing.assert_allclose(scores, -np.sort(-products, axis=1), rtol=1e-5)
    np.testing.assert_array_equal(docs, np.argsort(-products, axis=1))


def test_no_network_is_loaded_for_a_bag_of_tokens(runner, monkeypatch):
    from rankstone.runners.transformer.engines.choice import Engines

    monkeypatch.setattr(Engines, "facts", None)
    own = dataclasses.replace(runner, search="beta")
    assert len(own.encode(TEXTS, "document")) == len(TEXTS)


def test_a_tokenizer_that_is_missing_is_named(model):
    with pytest.raises(ModelError, match="its tokenizer cannot be loaded"):
        VDR(model=model, shift=SHIFT, search="alpha").encode(["a"], "query")


def test_beta_search_with_rescoring_is_parametric_search_of_what_it_found(runner, tmp_path):
    """Both stages together, as runners/rerank/svdr-msmarco-beta.toml names them."""
    from rankstone.runners.compose.two_stage import TwoStage
    from rankstone.runners.scorers.bi_encoder import BiEncoderScorer

    scorer = BiEncoderScorer(members=(runner,), similarity="dot")
    first = dataclasses.replace(runner, search="beta")
    both = TwoStage(members=(first,), scorer=scorer, depth=3)
    context = PlainContext(texts=TEXTS, work=tmp_path)
    index = both.index(context.encoded(both), context)
    found = index.search(both.encode(["the fox", "bear"], "query"), 3)
    whole = runner.index(context.encoded(runner), context)
    every = whole.search(runner.encode(["the fox", "bear"], "query"), len(TEXTS))
    for docs, scores, ranked, values in zip(*found, *every, strict=True):
        expected = dict(zip(ranked.tolist(), values.tolist(), strict=True))
        kept = docs[docs >= 0].tolist()  # a text without a token of the query is not found
        np.testing.assert_allclose(scores[: len(kept)], [expected[d] for d in kept], rtol=1e-5)
        assert len(kept) >= 1
    assert "rerank" in context.phases
