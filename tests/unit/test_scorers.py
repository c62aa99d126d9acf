"""Scorers against sentence-transformers, and against their formulas in plain torch."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("transformers")

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners import meter
from rankstone.runners.protocols import Scorer, Truncation
from rankstone.runners.scorers.bi_encoder import BiEncoderScorer
from rankstone.runners.scorers.cross_encoder import CrossEncoderScorer
from rankstone.runners.scorers.poly_encoder import PolyEncoderScorer
from rankstone.runners.scorers.uni_encoder import UniEncoderScorer
from tests import tiny_rerankers as tiny

QUERY, CANDIDATES = tiny.QUERY, list(tiny.CANDIDATES)
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
SHORT = {"query_length": 20, "document_length": 24, "device": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def cross(folder):
    return CrossEncoderScorer(model=tiny.write_cross_encoder(folder / "cross"), device="cpu")


@pytest.fixture(scope="module")
def poly(folder):
    return PolyEncoderScorer(model=tiny.write_poly_encoder(folder / "poly"), **SHORT)


@pytest.fixture(scope="module")
def uni(folder):
    return UniEncoderScorer(model=tiny.write_uni_encoder(folder / "uni"), **SHORT)


@pytest.fixture(scope="module")
def one_way(uni):
    return dataclasses.replace(uni, attention="one-way")


@pytest.fixture(scope="module", params=["cross", "poly", "uni", "one_way", "bi"])
def scorer(request):
    if request.param == "bi":
        return BiEncoderScorer(members=(LetterVectors(),))
    return request.getfixturevalue(request.param)


class LetterVectors:
    """Encoder of texts as letter counts."""

    def describe(self):
        return {"method": "letters", "similarity": "cosine"}

    def encode(self, texts, role):
        return np.array([[t.count(c) for c in "abcdefghijk"] for t in texts], dtype=np.float32)

    def truncation(self, texts, role):
        cut = [max(len(text) - 9, 0) for text in texts]
        return Truncation(len(texts), sum(map(bool, cut)), sum(map(len, texts)), sum(cut))


# All scorers.


def test_a_scorer_keeps_the_contract(scorer):
    assert isinstance(scorer, Scorer)
    scores = scorer.score(QUERY, CANDIDATES)
    assert (scores.dtype, scores.shape) == (np.float32, (len(CANDIDATES),))
    assert np.isfinite(scores).all()
    assert np.ptp(scores) > 0.1, "random weights tell candidates apart"
    np.testing.assert_array_equal(scores, scorer.score(QUERY, tuple(CANDIDATES)))
    assert scorer.score(QUERY, []).shape == (0,)
    assert json.dumps(scorer.describe()) == json.dumps(scorer.describe())


def test_permuting_candidates_permutes_scores(scorer):
    order = np.random.default_rng(3).permutation(len(CANDIDATES))
    permuted = scorer.score(QUERY, [CANDIDATES[place] for place in order])
    np.testing.assert_allclose(permuted, scorer.score(QUERY, CANDIDATES)[order], **CLOSE)


def test_truncation_of_pairs_adds_up(scorer):
    whole = scorer.truncation(QUERY, CANDIDATES)
    parts = [scorer.truncation(QUERY, part) for part in (CANDIDATES[:3], CANDIDATES[3:])]
    assert whole == parts[0].plus(parts[1])
    assert whole.texts == len(CANDIDATES)
    assert scorer.truncation(QUERY, []) == Truncation()


def test_candidates_that_are_scored_apart_do_not_know_of_each_other(cross, poly, one_way):
    for scorer in (cross, poly, one_way):
        alone = [scorer.score(QUERY, [text])[0] for text in CANDIDATES]
        np.testing.assert_allclose(scorer.score(QUERY, CANDIDATES), alone, **CLOSE)


def test_other_batches_give_the_same_scores(cross, poly):
    for scorer in (cross, poly):
        small = dataclasses.replace(scorer, batch_size=3, batch_tokens=40)
        np.testing.assert_allclose(
            small.score(QUERY, CANDIDATES), scorer.score(QUERY, CANDIDATES), **CLOSE
        )


# Cross-encoder.


def test_the_cross_encoder_is_that_of_sentence_transformers(cross):
    import torch
    from sentence_transformers import CrossEncoder

    peer = CrossEncoder(
        str(cross.model.folder), device="cpu", local_files_only=True,
        activation_fn=torch.nn.Identity(),
    )  # fmt: skip
    documents = [*CANDIDATES, "violin " * 200, "the bear crosses an engine " * 30]
    for query in (QUERY, "", "fox " * 150):
        expected = peer.predict([(query, text) for text in documents], show_progress_bar=False)
        np.testing.assert_allclose(cross.score(query, documents), expected, rtol=0, atol=1e-5)


def test_an_activation_other_than_a_sigmoid_is_the_models_own(folder):
    from sentence_transformers import CrossEncoder

    model = tiny.write_cross_encoder(folder / "tanh")
    settings = model.folder / "config.json"
    activation = {"activation_fn": "torch.nn.modules.activation.Tanh"}
    body = {**json.loads(settings.read_text()), "sentence_transformers": activation}
    settings.write_text(json.dumps(body))
    scorer = CrossEncoderScorer(model=tiny.located(model.folder))
    assert scorer.describe()["engine"].startswith("openvino")
    peer = CrossEncoder(str(model.folder), device="cpu", local_files_only=True)
    expected = peer.predict([(QUERY, text) for text in CANDIDATES])
    np.testing.assert_allclose(scorer.score(QUERY, CANDIDATES), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_a_token_without_an_embedding_is_named(folder, engine):
    from transformers import AutoTokenizer

    model = tiny.write_cross_encoder(folder / f"late-{engine}")
    tokenizer = AutoTokenizer.from_pretrained(model.folder)
    tokenizer.add_tokens(["<late>"])
    tokenizer.save_pretrained(model.folder)
    scorer = CrossEncoderScorer(model=tiny.located(model.folder), engine=engine, device="cpu")
    assert np.isfinite(scorer.score(QUERY, ["the fox"])).all()
    with pytest.raises(ModelError, match=r"'<late>' has the id .* embeddings for"):
        scorer.score(QUERY, ["the <late> fox"])


def test_a_classifier_without_weights_is_refused(folder):
    tiny.write_backbone(folder / "bare")
    with pytest.raises(ModelError, match=r"no weights 'classifier.weight'"):
        CrossEncoderScorer(model=tiny.located(folder / "bare")).score(QUERY, ["a"])


@pytest.mark.parametrize("kind", ["cross", "poly"])
def test_engines_and_precisions_are_those_of_encoders(request, kind):
    scorer = request.getfixturevalue(kind)
    assert scorer.describe()["engine"].startswith("openvino")
    full = scorer.score(QUERY, CANDIDATES)
    torch = dataclasses.replace(scorer, engine="torch").score(QUERY, CANDIDATES)
    np.testing.assert_allclose(torch, full, **CLOSE)
    integers = dataclasses.replace(scorer, precision="int8").score(QUERY, CANDIDATES)
    apart = np.abs(integers - full).max() / np.abs(full).max()
    assert 1e-5 < apart < 0.2


def test_pairs_are_truncated_at_the_limit(cross):
    short = dataclasses.replace(cross, max_length=16)
    assert short.describe()["max_length"] == 16
    assert cross.describe()["max_length"] == 96, "the model's own limit is lower than 512"
    # [CLS], 5 words, [SEP], the document's words, [SEP]
    assert short.truncation(QUERY, ["fox " * 9, "fox"]) == (2, 1, 17 + 9, 1)


def test_a_classifier_of_several_labels_is_refused(folder):
    model = tiny.write_cross_encoder(folder / "three", labels=3)
    with pytest.raises(ModelError, match="3 labels: a scorer needs a model with one"):
        CrossEncoderScorer(model=model, device="cpu").score(QUERY, ["a"])


def test_half_precision_is_near(cross):
    half = dataclasses.replace(cross, dtype="bfloat16")
    full = cross.score(QUERY, CANDIDATES)
    assert np.abs(half.score(QUERY, CANDIDATES) - full).max() < 0.1 * np.abs(full).max()


# Poly-encoder.


def outputs(backbone, tokenizer, text, limit):
    """Return the (L, d) token outputs of one text without padding."""
    import torch

    ids = tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")
    with torch.no_grad():
        return backbone(**ids).last_hidden_state[0].double()


@pytest.mark.parametrize("own", [False, True])
def test_the_poly_encoder_is_its_formula(folder, own):
    import torch
    from safetensors.torch import load_file
    from transformers import BertModel, BertTokenizer

    model = tiny.write_poly_encoder(folder / f"poly-{own}", own_candidates=own)
    more = {"candidates": "candidates"} if own else {}
    scorer = PolyEncoderScorer(model=model, **more, **SHORT)
    of_queries = BertModel.from_pretrained(model.folder)
    of_candidates = BertModel.from_pretrained(model.folder / "candidates") if own else of_queries
    codes = load_file(model.folder / "scorer.safetensors")["codes"].double()
    tokenizer = BertTokenizer.from_pretrained(model.folder)
    tokens = outputs(of_queries, tokenizer, QUERY, 20)
    vectors = [
        sum(w * h for w, h in zip((tokens @ c).softmax(0), tokens, strict=True)) for c in codes
    ]
    expected = []
    for text in CANDIDATES:
        candidate = outputs(of_candidates, tokenizer, text, 24)[0]
        weights = torch.stack([candidate @ vector for vector in vectors]).softmax(0)
        found = sum(w * vector for w, vector in zip(weights, vectors, strict=True))
        expected.append(float(found @ candidate))
    np.testing.assert_allclose(scorer.score(QUERY, CANDIDATES), expected, rtol=1e-5, atol=1e-4)


def test_missing_tensors_are_named(folder):
    model = tiny.write_uni_encoder(folder / "no-codes")
    with pytest.raises(ModelError, match=r"no tensor 'codes'. Found: bias, weight"):
        PolyEncoderScorer(model=model, **SHORT).score(QUERY, ["a"])


# Uni-encoder.


def sequence(scorer, query, candidates):
    """Return ids, token types, positions and the owner of each token (-1: the query)."""
    from transformers import BertTokenizer

    tokenizer = BertTokenizer.from_pretrained(scorer.model.folder)
    context = tokenizer(query, truncation=True, max_length=scorer.query_length)["input_ids"]
    columns = [(token, 0, place, -1) for place, token in enumerate(context)]
    for number, text in enumerate(candidates):
        ids = tokenizer(text, truncation=True, max_length=scorer.document_length)["input_ids"]
        columns += [(token, 1, len(context) + i, number) for i, token in enumerate(ids)]
    return [list(column) for column in zip(*columns, strict=True)]


def may_attend(one, other, attention):
    """Return True if tokens of `one` see those of `other` (-1: the query), as in the paper."""
    if one == -1:
        return other == -1 or attention == "arrow"
    return other in (-1, one)


def plain_bert(state, config, ids, types, positions, mask):
    """Compute BERT step by step: (L, d) outputs under an (L, L) boolean mask."""
    import torch

    def dense(name, x):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name, x):
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.pow(2).mean(-1, keepdim=True) + config.layer_norm_eps).sqrt()
        return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]

    def embedded(name, rows):
        return state[f"embeddings.{name}_embeddings.weight"][torch.tensor(rows)]

    size = config.hidden_size // config.num_attention_heads
    x = embedded("word", ids) + embedded("token_type", types) + embedded("position", positions)
    x = norm("embeddings.LayerNorm", x)
    for number in range(config.num_hidden_layers):
        layer, heads = f"encoder.layer.{number}", []
        q, k, v = (dense(f"{layer}.attention.self.{part}", x) for part in ("query", "key", "value"))
        for head in range(config.num_attention_heads):
            part = slice(head * size, (head + 1) * size)
            logits = q[:, part] @ k[:, part].T / size**0.5
            heads.append(logits.masked_fill(~mask, -torch.inf).softmax(-1) @ v[:, part])
        mixed = dense(f"{layer}.attention.output.dense", torch.cat(heads, -1))
        x = norm(f"{layer}.attention.output.LayerNorm", x + mixed)
        inner = dense(f"{layer}.intermediate.dense", x)
        inner = 0.5 * inner * (1 + torch.erf(inner / 2**0.5))
        x = norm(f"{layer}.output.LayerNorm", x + dense(f"{layer}.output.dense", inner))
    return x


def masked(scorer, candidates):
    import torch

    ids, types, positions, owners = sequence(scorer, QUERY, candidates)
    mask = [[may_attend(one, other, scorer.attention) for other in owners] for one in owners]
    return ids, types, positions, owners, torch.tensor(mask)


def head(scorer, hidden, owners):
    """Return w . mean + b of each candidate."""
    from safetensors.torch import load_file

    tensors = load_file(scorer.model.folder / "scorer.safetensors")
    groups = [[i for i, owner in enumerate(owners) if owner == n] for n in range(max(owners) + 1)]
    means = [hidden[group].mean(0).double() for group in groups]
    return [float(mean @ tensors["weight"].double() + tensors["bias"].double()) for mean in means]


def test_the_uni_encoder_is_bert_under_the_full_mask(uni, one_way):
    from safetensors.torch import load_file

    for scorer in (uni, one_way):
        for candidates in (CANDIDATES, CANDIDATES[3:4], CANDIDATES[:2]):
            *inputs, owners, mask = masked(scorer, candidates)
            state = load_file(scorer.model.folder / "model.safetensors")
            state = {name: tensor.double() for name, tensor in state.items()}
            hidden = plain_bert(state, tiny.config(), *inputs, mask)
            expected = head(scorer, hidden, owners)
            np.testing.assert_allclose(scorer.score(QUERY, candidates), expected, **CLOSE)


def test_transformers_own_bert_agrees_on_the_mask(uni, one_way):
    import torch
    from transformers import BertModel

    for scorer in (uni, one_way):
        ids, types, positions, owners, mask = masked(scorer, CANDIDATES)
        model = BertModel.from_pretrained(scorer.model.folder, attn_implementation="sdpa")
        with torch.no_grad():
            hidden = model(
                input_ids=torch.tensor([ids]),
                token_type_ids=torch.tensor([types]),
                position_ids=torch.tensor([positions]),
                attention_mask=mask[None, None],
            ).last_hidden_state[0]
        expected = head(scorer, hidden, owners)
        np.testing.assert_allclose(scorer.score(QUERY, CANDIDATES), expected, **CLOSE)


def test_the_query_sees_its_candidates_only_through_the_arrow(uni, one_way):
    alone = np.array([uni.score(QUERY, [text])[0] for text in CANDIDATES])
    assert np.abs(uni.score(QUERY, CANDIDATES) - alone).max() > 1e-3
    assert np.abs(one_way.score(QUERY, CANDIDATES) - uni.score(QUERY, CANDIDATES)).max() > 1e-3
    # A candidate alone differs from the one-way form too: there the query does not see it.
    assert abs(one_way.score(QUERY, CANDIDATES[:1])[0] - alone[0]) > 1e-3


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.sampled_from(tiny.WORDS), max_size=30), min_size=1, max_size=8))
def test_without_the_arrow_each_candidate_has_its_own_score(one_way, lists):
    texts = [" ".join(words) for words in lists]
    alone = [one_way.score(QUERY, [text])[0] for text in texts]
    np.testing.assert_allclose(one_way.score(QUERY, texts), alone, **CLOSE)


def test_candidates_may_be_scored_in_groups(uni):
    grouped = dataclasses.replace(uni, together=3).score(QUERY, CANDIDATES)
    parts = [uni.score(QUERY, CANDIDATES[start : start + 3]) for start in range(0, 8, 3)]
    np.testing.assert_array_equal(grouped, np.concatenate(parts))


def test_lengths_beyond_the_positions_are_refused(uni, poly):
    for scorer, length in ((uni, 90), (poly, 97)):
        with pytest.raises(DefinitionError, match="has 96 positions"):
            dataclasses.replace(scorer, document_length=length).score(QUERY, ["a"])


def test_queries_and_candidates_are_truncated_separately(uni, poly):
    for scorer in (uni, poly):
        # With [CLS] and [SEP]: 7 of the query, 32 and 3 of the documents.
        assert scorer.truncation(QUERY, ["fox " * 30, "fox"]) == (2, 1, 7 + 32 + 7 + 3, 8)
        assert scorer.truncation("fox " * 19, ["fox"]) == (1, 1, 21 + 3, 1)


# Bi-encoder.


def test_the_bi_encoder_is_the_cosine_or_the_product():
    query, documents = "abba", ["abab", "cab", "zz"]
    cosine = BiEncoderScorer(members=(LetterVectors(),)).score(query, documents)
    np.testing.assert_allclose(cosine, [1, 4 / (8 * 3) ** 0.5, 0], rtol=1e-6)
    dot = BiEncoderScorer(members=(LetterVectors(),), similarity="dot").score(query, documents)
    assert dot.tolist() == [8, 4, 0]


def test_the_similarity_is_the_members_own(monkeypatch):
    scorer = lambda: BiEncoderScorer(members=(LetterVectors(),))  # noqa: E731
    assert scorer().describe()["similarity"] == "cosine"
    monkeypatch.setattr(LetterVectors, "describe", lambda self: {"similarity": "dot"})
    assert scorer().score("aabb", ["aab"]).tolist() == [6]
    monkeypatch.setattr(LetterVectors, "describe", lambda self: {"similarity": "maxsim"})
    with pytest.raises(DefinitionError, match=r"similarity': the member's own is 'maxsim'"):
        scorer().score("a", ["a"])


def test_a_truncated_query_truncates_every_pair():
    scorer = BiEncoderScorer(members=(LetterVectors(),))
    assert scorer.truncation("a" * 10, ["b", "c" * 12]) == (2, 2, 20 + 13, 2 + 3)
    assert scorer.truncation("a", ["b", "c" * 12]) == (2, 1, 2 + 13, 3)


# Work.


def counted(scorer, candidates):
    heard = []
    with meter.listening(heard.append):
        scorer.score(QUERY, candidates)
    total = meter.Work()
    for work in heard:
        total = total.plus(work)
    return total[:3]


def flops(tokens, attended):
    d, inner, layers = 32, 48, 2
    return layers * (tokens * (8 * d * d + 4 * d * inner) + 4 * d * attended)


def test_work_is_counted_by_definition(cross, poly, uni, one_way):
    texts = ["fox", "fox bear river"]  # with [CLS] and [SEP]: 3 and 5; the query: 7
    assert counted(cross, texts) == (2, 9 + 11, flops(20, 81 + 121))
    assert counted(poly, texts) == (3, 7 + 3 + 5, flops(15, 49 + 9 + 25))
    own = 3 * 10 + 5 * 12
    assert counted(uni, texts) == (2, 15, flops(15, 7 * 15 + own))
    assert counted(one_way, texts) == (2, 15, flops(15, 7 * 7 + own))
