"""The sparse encoder against sentence-transformers and the documented use of released models."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.encoders.sparse import SparseEncoder
from rankstone.runners.meter import Work, listening
from rankstone.runners.models import locate
from rankstone.specs import ModelSpec
from tests import tiny_models

TEXTS = [
    "", "a", "The fox jumps over the dog.", "naïve café 漢字 🙂", "fox " * 400,
    "two\n\n words\t", "[MASK] [SEP]", *(f"sentence number {i} " * (1 + i % 7) for i in range(9)),
]  # fmt: skip
ENGINES = ("torch", "openvino")
LIMIT = 128


pytestmark = pytest.mark.usefixtures("module_cache")


@pytest.fixture(scope="module", params=["bert", "distilbert"])
def model(request, tmp_path_factory):
    folder = tiny_models.write_masked(tmp_path_factory.mktemp(request.param), request.param)
    tiny_models.write_idf(folder)
    return locate(ModelSpec(id="tiny", path=str(folder)))


@pytest.fixture(params=ENGINES)
def runner(request, model):
    return made(model, engine=request.param)


def made(model, **parameters):
    return SparseEncoder(model=model, device="cpu", **{"max_length": LIMIT, **parameters})


def dense(rep):
    return rep.matrix().toarray()


def peer(model, pooling="max", activation="relu"):
    """Return sentence-transformers' module of the same files."""
    from sentence_transformers import SparseEncoder as Peer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sparse_encoder.modules import SpladePooling

    network = Transformer(str(model.folder), transformer_task="fill-mask", max_seq_length=LIMIT)
    return Peer(modules=[network, SpladePooling(pooling, activation)], device="cpu")


@pytest.mark.parametrize("pooling", ["max", "sum"])
@pytest.mark.parametrize("activation", ["log1p", "log1p2"])
def test_vectors_are_sentence_transformers_own(runner, model, pooling, activation):
    names = {"log1p": "relu", "log1p2": "log1p_relu"}
    expected = peer(model, pooling, names[activation]).encode_document(
        TEXTS, convert_to_sparse_tensor=False, show_progress_bar=False
    )
    own = dataclasses.replace(runner, pooling=pooling, activation=activation)
    rep = own.encode(TEXTS, "document")
    assert (rep.weights.dtype, rep.width) == (np.float32, len(tiny_models.VOCABULARY))
    scale = max(float(expected.max()), 1.0) if pooling == "sum" else 1.0
    np.testing.assert_allclose(dense(rep), expected.numpy(), atol=1e-5 * scale)


def test_vectors_are_those_of_the_documented_use_of_opensearch(runner, model):
    """Card of opensearch-neural-sparse-encoding-doc-v3: log1p twice, special tokens set to 0."""
    import torch
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model.folder)
    network = AutoModelForMaskedLM.from_pretrained(model.folder).eval()
    features = tokenizer(
        TEXTS, padding=True, truncation=True, max_length=LIMIT, return_tensors="pt"
    )
    with torch.inference_mode():
        logits = network(**features)[0]
        values, _ = torch.max(logits * features["attention_mask"].unsqueeze(-1), dim=1)
        values = torch.log(1 + torch.log(1 + torch.relu(values)))
        values[:, tokenizer.all_special_ids] = 0
    own = dataclasses.replace(runner, activation="log1p2", special_tokens="drop")
    np.testing.assert_allclose(dense(own.encode(TEXTS, "document")), values.numpy(), atol=1e-5)


def test_a_batch_of_one_equals_a_batch_of_many(runner):
    together = dense(runner.encode(TEXTS, "document"))
    alone = np.concatenate([dense(runner.encode([text], "document")) for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-5)


@pytest.mark.parametrize("pooling", ["max", "sum"])
def test_padding_changes_nothing(runner, pooling):
    plain = dataclasses.replace(runner, pooling=pooling)
    expected = dense(plain.encode(TEXTS, "document"))
    for batch_tokens in (1, 300, 100_000):
        other = dataclasses.replace(plain, batch_tokens=batch_tokens)
        found = dense(other.encode(TEXTS, "document"))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        assert other.describe() == plain.describe()


def test_terms_ascend_and_weights_are_above_zero(runner):
    rep = runner.encode(TEXTS, "document")
    assert (rep.weights > 0).all()
    for terms, _ in rep.rows():
        assert (np.diff(terms) > 0).all()


def test_the_largest_weights_are_kept(runner):
    whole = dense(runner.encode(TEXTS, "document"))
    own = dataclasses.replace(runner, top_k={"document": 5})
    cut = dense(own.encode(TEXTS, "document"))
    assert (np.count_nonzero(cut, axis=1) <= 5).all()
    kept = cut > 0
    np.testing.assert_allclose(cut[kept], whole[kept], atol=1e-6)
    for row, full in zip(cut, whole, strict=True):
        np.testing.assert_allclose(np.sort(row)[::-1][:5], np.sort(full)[::-1][:5], atol=1e-6)
    np.testing.assert_allclose(dense(own.encode(TEXTS, "query")), whole, atol=1e-6)


@pytest.mark.parametrize("engine", ENGINES)
def test_bfloat16_stays_near(model, engine):
    whole, half = (
        dense(made(model, engine=engine, precision=precision).encode(TEXTS[2:4], "document"))
        for precision in ("fp32", "bf16")
    )
    assert 0 < np.abs(whole - half).max() < 0.05 * whole.max()


def test_queries_by_idf_are_sentence_transformers_own(model):
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model.folder, model_max_length=LIMIT)
    idf = json.loads((model.folder / "idf.json").read_text())
    del idf["not-in-the-vocabulary"]  # which theirs would take for [UNK]
    (model.folder / "known.json").write_text(json.dumps(idf))
    static = SparseStaticEmbedding.from_json(str(model.folder / "known.json"), tokenizer)
    expected = static(static.preprocess(TEXTS))["sentence_embedding"].detach().numpy()
    own = made(model, query="idf", special_tokens="drop", max_length=LIMIT + 2)
    np.testing.assert_array_equal(dense(own.encode(TEXTS, "query")), expected)


def test_queries_by_tokens_hold_every_token_once(model):
    rep = made(model, query="tokens").encode(["the fox the [SEP] fox", ""], "query")
    ((terms, weights), (none, _)) = rep.rows()
    words = {tiny_models.VOCABULARY[term] for term in terms}
    assert (words, set(weights.tolist()), len(none)) == ({"the", "fox"}, {1.0}, 0)


CHEAP = """
import json, sys
from pathlib import Path
from rankstone.runners.models import locate
from rankstone.runners.encoders.sparse import SparseEncoder
from rankstone.runners.transformer.engines.choice import Engines
from rankstone.specs import ModelSpec

Engines.facts = None  # loading a network would fail
model = locate(ModelSpec(id="tiny", path=sys.argv[1]))
runner = SparseEncoder(model=model, query="idf", max_length=128)
rep = runner.encode(["the fox", "a bear"], "query")
runner.truncation(["the fox"], "query")
print(json.dumps([rep.lengths.tolist(), sorted(sys.modules)]))
"""


def test_no_network_and_no_torch_are_loaded_for_queries_by_idf(model):
    command = [sys.executable, "-c", CHEAP, str(model.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lengths, modules = json.loads(done.stdout.splitlines()[-1])
    assert lengths == [2, 2]
    assert not {"torch", "transformers", "openvino"} & set(modules)


def test_idf_that_is_missing_is_named(tmp_path):
    folder = tiny_models.write_masked(tmp_path)
    model = locate(ModelSpec(id="tiny", path=str(folder)))
    with pytest.raises(ModelError, match=r"no idf\.json"):
        made(model, query="idf").encode(["a"], "query")


def test_an_unused_query_model_is_refused(model):
    with pytest.raises(DefinitionError, match="needs no model of queries"):
        made(model, query="idf", query_model=model)


def test_settings_that_change_encodings_are_described(model):
    plain = made(model, engine="torch")
    for changes in (
        {"activation": "log1p2"}, {"pooling": "sum"}, {"special_tokens": "drop"}, {"top_k": 3},
        {"query": "idf"}, {"precision": "bf16"}, {"max_length": 64},
    ):  # fmt: skip
        other = dataclasses.replace(plain, **changes)
        assert other.describe() != plain.describe(), changes


@pytest.mark.parametrize("engine", ENGINES)
def test_settings_that_a_checkpoint_states_are_followed(model, engine, tmp_path):
    made_by = peer(model, "sum", "log1p_relu")
    made_by.save(str(tmp_path / "saved"), create_model_card=False)
    own = SparseEncoder(
        model=locate(ModelSpec(id="saved", path=str(tmp_path / "saved"))), engine=engine,
        device="cpu",
    )  # fmt: skip
    expected = made_by.encode_document(
        TEXTS, convert_to_sparse_tensor=False, show_progress_bar=False
    ).numpy()
    found = dense(own.encode(TEXTS, "document"))
    np.testing.assert_allclose(found, expected, atol=1e-5 * max(float(expected.max()), 1))
    described = own.describe()
    assert (described["pooling"], described["activation"]) == ("sum", "log1p2")
    assert described["max_length"] == {"query": LIMIT, "document": LIMIT}


def test_a_router_has_a_separate_path_for_documents(model, tmp_path):
    """As in OpenSearch's models: queries by token weights, documents by the network."""
    from sentence_transformers import SparseEncoder as Peer
    from sentence_transformers.base.modules import Router
    from sentence_transformers.sparse_encoder.modules import SparseStaticEmbedding

    network, pooling = peer(model)
    static = SparseStaticEmbedding(network.tokenizer, frozen=True)
    router = Router.for_query_document(query_modules=[static], document_modules=[network, pooling])
    both = Peer(modules=[router], device="cpu")
    both.save(str(tmp_path / "routed"), create_model_card=False)
    routed = locate(ModelSpec(id="routed", path=str(tmp_path / "routed")))
    own = SparseEncoder(model=routed, engine="torch", device="cpu")
    expected = both.encode_document(TEXTS, convert_to_sparse_tensor=False, show_progress_bar=False)
    found = dense(own.encode(TEXTS, "document"))
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    with pytest.raises(DefinitionError, match="makes queries by SparseStaticEmbedding"):
        own.encode(["fox"], "query")


def test_the_vocabulary_counts_among_the_operations(model):
    done: list[Work] = []
    with listening(done.append):
        made(model, engine="torch").encode(["the fox"], "document")
    weights = 2 * 32 * len(tiny_models.VOCABULARY)
    assert done[0].flops > done[0].tokens * weights


def test_two_towers_may_have_different_length_limits(runner):
    own = dataclasses.replace(runner, max_length={"query": 8, "document": LIMIT})
    query, document = (dense(own.encode(TEXTS[4:5], role)) for role in ("query", "document"))
    short = dataclasses.replace(runner, max_length=8)
    np.testing.assert_allclose(query, dense(short.encode(TEXTS[4:5], "query")), atol=1e-5)
    assert np.abs(query - document).max() > 1e-3
