"""Vectors equal those of sentence-transformers' `encode`, for all checkpoint settings.

Tiny random checkpoints, saved by the library itself; both engines.
"""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("openvino")

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import (
    LayerNorm,
    Pooling,
    WeightedLayerPooling,
)

from rankstone.errors import DefinitionError, ModelError, RankstoneWarning
from rankstone.runners.encoders.dense import DenseEncoder
from rankstone.runners.models import locate
from rankstone.runners.transformer.engines import export, verification
from rankstone.runners.transformer.network import quiet
from rankstone.specs import ModelSpec
from tests import tiny_encoders, tiny_models

TEXTS = [
    "", "a", "The FOX crosses the river.", "naïve café 漢字 🙂", "two\n\n words\t",
    "glacier " * 40, "[MASK] [SEP] </s>", *(f"bear {n} harbour " * (1 + n % 5) for n in range(9)),
]  # fmt: skip
PROMPTS = {"query": "Query of the Fox: ", "document": "text: "}


pytestmark = pytest.mark.usefixtures("module_cache")


def bert(folder):
    tiny_models.write_encoder(folder)


def roberta(folder):
    tiny_encoders.unixcoder(folder)


def small_roberta(folder):
    """RoBERTa with 22 positions, the first two unused; the tokenizer states no limit."""
    from transformers import RobertaConfig, RobertaModel

    size = tiny_encoders.bytes_tokenizer(folder, tiny_encoders.ROBERTA_SPECIAL)
    sizes = {**tiny_encoders.SMALL, "max_position_embeddings": 22}
    config = RobertaConfig(vocab_size=size, pad_token_id=1, **sizes)
    tiny_encoders.seeded(RobertaModel, config).save_pretrained(folder)


def albert(folder):
    from transformers import AlbertConfig, AlbertModel

    size = len(tiny_models.VOCABULARY)
    config = AlbertConfig(
        vocab_size=size, embedding_size=16, hidden_size=24, num_hidden_layers=2,
        num_attention_heads=2, intermediate_size=32, max_position_embeddings=20,
    )  # fmt: skip
    tiny_encoders.seeded(AlbertModel, config).save_pretrained(folder)
    tiny_models.tokenizer().save_pretrained(folder)


def gpt2(folder):
    """GPT-2, with a different name for positions and without special or padding tokens."""
    from transformers import GPT2Config, GPT2Model

    special = {"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    size = tiny_encoders.bytes_tokenizer(folder, special, around=False)
    config = GPT2Config(vocab_size=size, n_positions=24, n_embd=24, n_layer=2, n_head=2)
    tiny_encoders.seeded(GPT2Model, config).save_pretrained(folder)


def model(tmp_path, plain, behind, *, length=32, lower=False, hidden=False, **config):
    """Save a checkpoint by sentence-transformers; return its folder and the library's model."""
    plain(tmp_path / "plain")
    first = Transformer(
        str(tmp_path / "plain"), max_seq_length=length, do_lower_case=lower,
        config_kwargs={"output_hidden_states": hidden} if hidden else {},
    )  # fmt: skip
    if first.tokenizer.pad_token is None:
        first.tokenizer.pad_token = first.tokenizer.eos_token
    made = SentenceTransformer(modules=[first, *behind(first.get_embedding_dimension())])
    made.save(str(tmp_path / "saved"), create_model_card=False)
    path = tmp_path / "saved" / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    folder = str(tmp_path / "saved")
    peer = SentenceTransformer(folder, device="cpu", local_files_only=True)
    return locate(ModelSpec(id="tiny", path=folder)), peer


def weighted_layers(dim):
    return [WeightedLayerPooling(dim, num_hidden_layers=2, layer_start=1), Pooling(dim)]


def mixed(dim):
    torch.manual_seed(1)
    return [
        Pooling(dim, ("mean", "lasttoken")),
        Normalize(),
        Dense(2 * dim, 12, activation_function=torch.nn.GELU()),
        LayerNorm(12),
        Dense(12, 12, activation_function=torch.nn.Tanh(), use_residual=True),
    ]


GRID = {
    "mean": (bert, lambda dim: [Pooling(dim), Normalize()], {}),
    "mean_sqrt": (bert, lambda dim: [Pooling(dim, "mean_sqrt_len_tokens")], {}),
    "weighted": (bert, lambda dim: [Pooling(dim, "weightedmean")], {}),
    "order": (bert, mixed, {}),
    "layers": (bert, weighted_layers, {"hidden": True}),
    "truncated": (bert, lambda dim: [Pooling(dim), Normalize()], {"truncate_dim": 8}),
    "prompts": (bert, lambda dim: [Pooling(dim, "cls")], {"prompts": PROMPTS}),
    "prompt left out": (
        bert,
        lambda dim: [Pooling(dim, include_prompt=False)],
        {"prompts": PROMPTS},
    ),
    "lower case": (roberta, lambda dim: [Pooling(dim)], {"lower": True, "length": 64}),
    "roberta": (small_roberta, lambda dim: [Pooling(dim)], {"length": 20}),
    "albert": (albert, lambda dim: [Pooling(dim, "max")], {"length": None}),
}


@pytest.mark.parametrize("name", GRID)
def test_vectors_are_the_librarys(name, tmp_path):
    plain, behind, settings = GRID[name]
    located, peer = model(tmp_path, plain, behind, similarity_fn_name="dot", **settings)
    for engine in ("torch", "openvino"):
        own = DenseEncoder(model=located, engine=engine, device="cpu")
        for role, encode in (("query", peer.encode_query), ("document", peer.encode_document)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RankstoneWarning)  # of prompts left out
                vectors = own.encode(TEXTS, role)
            expected = encode(TEXTS, show_progress_bar=False)
            np.testing.assert_allclose(vectors, expected, atol=2e-5, rtol=1e-4)
        assert own.describe()["similarity"] == "dot"
    assert own.truncation(TEXTS, "document").texts_cut >= 1


def test_a_text_without_any_token_is_the_librarys(tmp_path, monkeypatch):
    """In a batch, because the library fails on it alone; by torch, because OpenVINO fails."""
    located, peer = model(tmp_path, gpt2, lambda dim: [Pooling(dim, "lasttoken")], length=24)
    expected = peer.encode(TEXTS, show_progress_bar=False)
    monkeypatch.setenv("RANKSTONE_DEVICE", "cpu")
    own = DenseEncoder(model=located, similarity="dot")
    with pytest.warns(RankstoneWarning, match="differ from the library's by nan"):
        vectors = own.encode(TEXTS, "query")
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose(own.encode([""], "query")[0], expected[0], atol=1e-5)


def test_the_librarys_tokenizer_is_used_where_ours_differs(tmp_path, monkeypatch):
    from rankstone.runners.transformer import loading

    located, peer = model(tmp_path, bert, lambda dim: [Pooling(dim)], length=16)
    monkeypatch.setattr(loading, "same_tokens", lambda *given: False)
    monkeypatch.setenv("RANKSTONE_DEVICE", "cpu")
    own = DenseEncoder(model=located, similarity="dot")
    with pytest.warns(RankstoneWarning, match="tokens are made by transformers alone"):
        vectors = own.encode(TEXTS, "document")
    np.testing.assert_allclose(vectors, peer.encode(TEXTS), atol=1e-5)
    counts = [len(peer.tokenizer(text, truncation=False)["input_ids"]) for text in TEXTS]
    assert own.truncation(TEXTS, "document").tokens == sum(counts)


@pytest.mark.parametrize("prefix", ["", "none."])
def test_weights_of_another_model_are_not_random_numbers(tmp_path, prefix):
    from safetensors.torch import load_file, save_file

    bert(tmp_path)
    path = tmp_path / "model.safetensors"
    renamed = {f"other.{name}": weight for name, weight in load_file(path).items()}
    save_file(renamed, path, metadata={"format": "pt"})
    plain = locate(ModelSpec(id="tiny", path=str(tmp_path)))
    own = DenseEncoder(model=plain, pooling="mean", engine="torch", prefix=prefix)
    with pytest.raises(ModelError, match=f"no weights '{prefix}.*missing"):
        own.encode(["a"], "query")
    right = DenseEncoder(model=plain, pooling="mean", engine="torch", prefix="other.")
    assert np.isfinite(right.encode(["a"], "query")).all()


def test_tokens_are_left_out_where_the_tokenizer_says(tmp_path):
    located, _ = model(tmp_path, bert, lambda dim: [Pooling(dim)], length=8)
    path = located.folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "truncation_side": "left"}))
    located = locate(ModelSpec(id="tiny", path=str(located.folder)))
    own = DenseEncoder(model=located, similarity="dot", engine="torch", device="cpu")
    peer = SentenceTransformer(str(located.folder), device="cpu", local_files_only=True)
    expected = peer.encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(own.encode(TEXTS, "query"), expected, atol=1e-5)
    assert own.describe()["truncation_side"] == "left"


@pytest.mark.parametrize(("plain", "most"), [(small_roberta, 20), (albert, 20), (gpt2, 24)])
def test_a_length_beyond_the_learnt_positions_is_neither_used_nor_allowed(tmp_path, plain, most):
    located, _ = model(tmp_path, plain, lambda dim: [Pooling(dim)], length=300)
    own = DenseEncoder(model=located, engine="torch", device="cpu")
    assert own.describe()["max_length"] == {"query": most, "document": most}
    assert np.isfinite(own.encode(["fox " * 600], "query")).all()
    stated = DenseEncoder(model=located, engine="torch", device="cpu", max_length=most + 1)
    with pytest.raises(DefinitionError, match=f"positions for {most} tokens"):
        stated.encode(["fox"], "query")


@pytest.mark.parametrize("similarity", ["euclidean", "manhattan"])
def test_a_similarity_that_is_not_searched_is_refused_by_name(tmp_path, similarity):
    located, _ = model(tmp_path, bert, lambda dim: [Pooling(dim)], similarity_fn_name=similarity)
    with pytest.raises(DefinitionError, match=f"by '{similarity}'.*State one"):
        DenseEncoder(model=located, engine="torch").encode(["a"], "query")
    stated = DenseEncoder(model=located, engine="torch", similarity="dot")
    assert stated.describe()["similarity"] == "dot"


def test_a_token_without_an_embedding_is_named(tmp_path):
    located, _ = model(tmp_path, bert, lambda dim: [Pooling(dim)])
    tokenizer = tiny_models.tokenizer()
    tokenizer.add_tokens(["<late>"])
    tokenizer.save_pretrained(located.folder)
    own = DenseEncoder(
        model=locate(ModelSpec(id="tiny", path=str(located.folder))), engine="openvino"
    )
    assert np.isfinite(own.encode(["the fox"], "query")).all()
    with pytest.raises(ModelError, match=r"'<late>' has the id .* embeddings for"):
        own.encode(["the <late> fox"], "query")


@pytest.mark.parametrize("name", ["model.safetensors", "modules.json", "1_Pooling/config.json"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "pointer of git-lfs"),
        (b"{", "damaged"),
        (b"", "damaged"),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, content, words):
    located, _ = model(tmp_path, bert, lambda dim: [Pooling(dim)])
    (located.folder / name).write_bytes(content)
    broken = locate(ModelSpec(id="tiny", path=str(located.folder)))
    with pytest.raises(ModelError, match=f"{name} is .*{words}"):
        DenseEncoder(model=broken, engine="torch").encode(["a"], "query")


WRONG_SETTINGS = {
    "prompts null": ("config_sentence_transformers.json", {"prompts": None}, "'prompts' holds"),
    "prompt a list": (
        "config_sentence_transformers.json", {"prompts": {"query": ["a"]}}, "'prompts.query' holds",
    ),
    "settings a list": ("config_sentence_transformers.json", [], "valid dictionary"),
    "negative length": ("tokenizer_config.json", {"model_max_length": -1}, "holds -1"),
    "length in words": ("sentence_bert_config.json", {"max_seq_length": "64"}, "holds '64'"),
    "no module": ("modules.json", [], "at least 1 item"),
    "untyped module": ("modules.json", [{"path": ""}], "'0.type'.*required"),
    "null": ("tokenizer.json", None, "valid dictionary"),
    "pooling": ("1_Pooling/config.json", {"pooling_mode": "x"}, "Fetch .* or correct its settings"),
    "size": ("config.json", {"model_type": "bert", "vocab_size": 7}, "weights have other sizes"),
    "no type": ("config.json", {}, "model_type.* in its config.json. Fetch"),
    "code": ("modules.json", [{"path": "", "type": "mine.Module"}], "code that its .*mine.Module"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_SETTINGS)
def test_settings_that_no_library_can_follow_are_named(tmp_path, case):
    name, content, words = WRONG_SETTINGS[case]
    located, _ = model(tmp_path, bert, lambda dim: [Pooling(dim)])
    (located.folder / name).write_text(json.dumps(content))
    wrong = locate(ModelSpec(id="tiny", path=str(located.folder)))
    with pytest.raises((ModelError, DefinitionError), match=words) as error:
        DenseEncoder(model=wrong, engine="torch").encode(["a"], "query")
    assert "\n" not in str(error.value)


def test_settings_with_a_byte_order_mark_are_named(tmp_path):
    located, _ = model(tmp_path, bert, lambda dim: [Pooling(dim)])
    path = located.folder / "tokenizer_config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    with pytest.raises(ModelError, match=r"tokenizer_config.json begins with a byte-order mark"):
        DenseEncoder(model=located, engine="torch").encode(["a"], "query")


@pytest.mark.parametrize("name", ["1_Pooling/config.json", "model-00002-of-", "tokenizer.json"])
def test_a_missing_file_is_named(tmp_path, name):
    """The checkpoint is in shards."""
    from transformers import AutoModel

    located, _ = model(tmp_path, bert, lambda dim: [Pooling(dim)])
    AutoModel.from_pretrained(located.folder).save_pretrained(located.folder, max_shard_size="12KB")
    (located.folder / "model.safetensors").unlink(missing_ok=True)
    whole = locate(ModelSpec(id="tiny", path=str(located.folder)))
    assert DenseEncoder(model=whole, engine="torch").encode(["a"], "query").shape == (1, 32)
    next(located.folder.glob(f"{name}*")).unlink()
    broken = locate(ModelSpec(id="tiny", path=str(located.folder)))
    words = f"{name}.*is missing|tokenizer has no vocabulary"
    with pytest.raises(ModelError, match=f"({words}).* Fetch the model again"):
        DenseEncoder(model=broken, engine="torch").encode(["a"], "query")


def test_weights_stored_in_16_bits_are_computed_in_32(tmp_path):
    from transformers import AutoModel

    located, _ = model(tmp_path, bert, lambda dim: [Pooling(dim)])
    AutoModel.from_pretrained(located.folder, dtype=torch.bfloat16).save_pretrained(located.folder)
    stored = locate(ModelSpec(id="tiny", path=str(located.folder)))
    peer = SentenceTransformer(
        str(located.folder), device="cpu", local_files_only=True,
        model_kwargs={"dtype": torch.float32},
    )  # fmt: skip
    expected = peer.encode(TEXTS, show_progress_bar=False)
    for engine in ("torch", "openvino"):
        own = DenseEncoder(model=stored, similarity="dot", engine=engine, device="cpu")
        np.testing.assert_allclose(own.encode(TEXTS, "query"), expected, atol=1e-5)


@pytest.mark.parametrize(("stated", "limit"), [(10**30, 512), (12, 12), (None, 512)])
def test_the_tokenizers_length_counts_below_the_positions(tmp_path, stated, limit):
    located, _ = model(tmp_path, bert, lambda dim: [Pooling(dim)], length=None)
    path = located.folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_max_length": stated}))
    changed = locate(ModelSpec(id="tiny", path=str(located.folder)))
    own = DenseEncoder(model=changed, engine="torch", device="cpu", similarity="dot")
    assert own.describe()["max_length"]["query"] == limit
    peer = SentenceTransformer(str(located.folder), device="cpu", local_files_only=True)
    expected = peer.encode(TEXTS, show_progress_bar=False)
    np.testing.assert_allclose(own.encode(TEXTS, "query"), expected, atol=1e-5)


def test_an_adapter_of_another_model_is_refused(tmp_path):
    located, _ = model(tmp_path, bert, lambda dim: [Pooling(dim)])
    (located.folder / "adapter_config.json").write_text('{"base_model_name_or_path": "some/one"}')
    adapter = locate(ModelSpec(id="tiny", path=str(located.folder)))
    with pytest.raises(ModelError, match="adapter of another model"):
        DenseEncoder(model=adapter, engine="torch").encode(["a"], "query")


def test_a_graph_that_differs_is_not_used(tmp_path, monkeypatch):
    """Later runs do not try it again."""
    located, peer = model(tmp_path, bert, lambda dim: [Pooling(dim)])
    apart = verification._apart
    monkeypatch.setenv("RANKSTONE_DEVICE", "cpu")
    monkeypatch.setattr(verification, "_apart", lambda *rows: apart(*rows) + 0.5)
    for _ in range(2):
        own = DenseEncoder(model=located, similarity="dot")
        with pytest.warns(RankstoneWarning, match=r"differ from the library's by 0\.5.*torch does"):
            vectors = own.encode(TEXTS, "query")
        assert own.describe()["engine"].startswith("torch")
        np.testing.assert_allclose(vectors, peer.encode(TEXTS), atol=1e-5)
        monkeypatch.setattr(verification, "difference", None)  # would fail
    with pytest.raises(ModelError, match=r"differ from the library's .*engine = .torch."):
        DenseEncoder(model=located, similarity="dot", engine="openvino").encode(["a"], "query")


def test_verification_sees_a_wrong_weight(tmp_path):
    """The graph has other weights than the library's model, like a faulty export."""
    located, _ = model(tmp_path, bert, lambda dim: [Pooling(dim)])
    network = DenseEncoder(model=located)._network("query", located)
    loaded, other = network.load(), network.load()
    with torch.no_grad():
        other.network.backbone.auto_model.encoder.layer[1].output.dense.weight.mul_(1.01)
    with quiet():
        assert verification.difference(network, loaded, export._traced(loaded)) is None
        reason = verification.difference(network, loaded, export._traced(other))
    assert reason is not None
    assert "differ from the library's by" in reason


def test_later_runs_import_neither_torch_nor_the_library(tmp_path):
    import subprocess
    import sys

    located, _ = model(tmp_path, bert, lambda dim: [Pooling(dim)])
    own = DenseEncoder(model=located, engine="openvino")
    expected = own.encode(TEXTS, "query")
    code = (
        "import sys, numpy as np\n"
        "from rankstone.runners.encoders.dense import DenseEncoder\n"
        "from rankstone.runners.models import locate\n"
        "from rankstone.specs import ModelSpec\n"
        "model = locate(ModelSpec(id='tiny', path=sys.argv[1]))\n"
        "own = DenseEncoder(model=model, engine='openvino')\n"
        "own.describe()\n"
        "np.save(sys.argv[2], own.encode(eval(sys.argv[3]), 'query'))\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)\n"
        "sys.exit(bool(heavy))"
    )
    out = tmp_path / "vectors.npy"
    command = [sys.executable, "-c", code, str(located.folder), str(out), repr(TEXTS)]
    subprocess.run(command, check=True)
    np.testing.assert_array_equal(np.load(out), expected)
    shutil.rmtree(tmp_path / "saved")
