"""Every combination of model settings gives the vectors and the top hit of sentence-transformers.

The grid is the product of the settings that change the network, each with a draw of those that
change its input; the suite compares a sample, `make slow` all of it.
"""

from __future__ import annotations

import itertools
import random
import sys
import warnings
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")
pytest.importorskip("openvino")

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from rankstone.errors import RankstoneWarning
from rankstone.runners.encoders.dense import DenseEncoder
from rankstone.runners.models import locate
from rankstone.runners.testing import MemoryChunks, PlainContext
from rankstone.specs import ModelSpec
from tests import tiny_encoders

POSITIONS = 40
SIZES = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16,
         "intermediate_size": 24, "max_position_embeddings": POSITIONS}  # fmt: skip
DOCUMENTS = [
    "The FOX crosses the river.", "a bear", "", "Glacier market of the engine " * 9,
    "naïve café 漢字 🙂", "two\n\n words\t", "river " * 70 + "fox bear", "print the document",
]  # fmt: skip
QUERIES = ["Which fox crosses a River?", "bear", "", "the engine of the glacier " * 8]
PROMPTS = {"query": "Query of the Fox: ", "document": "text: "}


def bert(folder):
    from transformers import BertConfig, BertModel

    tiny_encoders.word_pieces(folder)
    config = BertConfig(vocab_size=len(tiny_encoders.VOCABULARY), **SIZES)
    tiny_encoders.seeded(BertModel, config).save_pretrained(folder)


def roberta(folder):
    """RoBERTa, whose first two positions are for padding."""
    from transformers import RobertaConfig, RobertaModel

    size = tiny_encoders.bytes_tokenizer(folder, tiny_encoders.ROBERTA_SPECIAL)
    config = RobertaConfig(vocab_size=size, pad_token_id=1, **SIZES)
    tiny_encoders.seeded(RobertaModel, config).save_pretrained(folder)


def albert(folder):
    from transformers import AlbertConfig, AlbertModel

    tiny_encoders.word_pieces(folder)
    config = AlbertConfig(vocab_size=len(tiny_encoders.VOCABULARY), embedding_size=12, **SIZES)
    tiny_encoders.seeded(AlbertModel, config).save_pretrained(folder)


def distilbert(folder):
    from transformers import DistilBertConfig, DistilBertModel

    tiny_encoders.word_pieces(folder)
    config = DistilBertConfig(
        vocab_size=len(tiny_encoders.VOCABULARY), dim=16, n_layers=1, n_heads=2, hidden_dim=24,
        max_position_embeddings=POSITIONS,
    )  # fmt: skip
    tiny_encoders.seeded(DistilBertModel, config).save_pretrained(folder)


def gpt2(folder):
    """GPT-2, with a different name for positions and without a padding token."""
    from transformers import GPT2Config, GPT2Model

    special = {"cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>"}
    size = tiny_encoders.bytes_tokenizer(folder, special)
    config = GPT2Config(vocab_size=size, n_positions=POSITIONS, n_embd=16, n_layer=1, n_head=2)
    tiny_encoders.seeded(GPT2Model, config).save_pretrained(folder)


ORDERS = (
    "pool", "pool normalise", "pool dense", "pool normalise dense", "pool dense normalise",
    "dense pool", "dense pool normalise",
)  # fmt: skip
POOLINGS = ("cls", "mean", "max", "lasttoken", "mean_sqrt_len_tokens", ("mean", "lasttoken"))


class Settings(NamedTuple):
    """One point of the grid."""

    plain: Any
    pooling: Any
    order: str
    include_prompt: bool
    prompts: bool
    truncation_side: str
    lower: bool
    similarity: str
    length: int | None


NETWORKS = list(
    itertools.product(
        (bert, roberta, albert, distilbert, gpt2), POOLINGS, ORDERS, (True, False)
    )
)  # fmt: skip
INPUTS = list(
    itertools.product(
        (True, False), ("left", "right"), (True, False), ("cosine", "dot"), (None, 9, 300)
    )
)  # fmt: skip
DRAWN = random.Random(0)
GRID = [Settings(*network, *DRAWN.choice(INPUTS)) for network in NETWORKS]
SAMPLE = random.Random(89).sample(GRID, 8)


def module(word: str, point: Settings, width: int) -> Any:
    if word == "pool":
        return Pooling(width, point.pooling, include_prompt=point.include_prompt)
    if word == "normalise":
        return Normalize()
    before_pooling = point.order.startswith("dense")
    name = "token_embeddings" if before_pooling else "sentence_embedding"
    return Dense(width, 12, activation_function=torch.nn.Tanh(), module_input_name=name)


def saved(folder: Any, point: Settings) -> Any:
    """Save a checkpoint with these settings by the library; return its folder."""
    point.plain(folder / "plain")
    (folder / "plain" / "special_tokens_map.json").unlink(missing_ok=True)
    length = {} if point.length is None else {"max_seq_length": point.length}
    first = Transformer(str(folder / "plain"), do_lower_case=point.lower, **length)
    if first.tokenizer.pad_token is None:
        first.tokenizer.pad_token = first.tokenizer.unk_token
    first.tokenizer.truncation_side = point.truncation_side
    modules, width = [first], first.get_embedding_dimension()
    torch.manual_seed(1)
    for word in point.order.split():
        modules.append(module(word, point, width))
        width = getattr(modules[-1], "get_embedding_dimension", lambda width=width: width)()
    prompts = PROMPTS if point.prompts else None
    made = SentenceTransformer(
        modules=modules, prompts=prompts, similarity_fn_name=point.similarity, device="cpu"
    )
    made.save(str(folder / "saved"), create_model_card=False)
    return folder / "saved"


def compare(folder: Any, point: Settings) -> int:
    """Return the number of engines with the library's vectors and top hits; raise otherwise."""
    path = saved(folder, point)
    peer = SentenceTransformer(str(path), device="cpu", local_files_only=True)
    most = POSITIONS - 2 * (point.plain is roberta)  # the library fails beyond
    peer.max_seq_length = min(peer.max_seq_length or most, most)
    located = locate(ModelSpec(id="tiny", path=str(path)))
    expected = {
        "query": peer.encode_query(QUERIES, show_progress_bar=False),
        "document": peer.encode_document(DOCUMENTS, show_progress_bar=False),
    }
    scores = peer.similarity(expected["query"], expected["document"]).numpy()
    for engine in ("torch", "openvino"):
        own = DenseEncoder(model=located, engine=engine, device="cpu")
        texts = {"query": QUERIES, "document": DOCUMENTS}
        vectors = {role: own.encode(texts[role], role) for role in texts}
        for role, rows in expected.items():
            norms = np.linalg.norm(rows, axis=1)
            cosine = (vectors[role] * rows).sum(1) / norms / np.linalg.norm(vectors[role], axis=1)
            assert cosine.min() >= 0.99999, (engine, role, point)
            if point.similarity == "dot":
                np.testing.assert_allclose(np.linalg.norm(vectors[role], axis=1), norms, rtol=1e-4)
        chunks = MemoryChunks(own, DOCUMENTS)
        hits = own.index(chunks, PlainContext(texts=DOCUMENTS, work=folder)).search(
            vectors["query"], 1
        )
        best = scores[np.arange(len(QUERIES)), hits.docs[:, 0]]
        np.testing.assert_allclose(best, scores.max(1), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(hits.scores[:, 0], scores.max(1), rtol=1e-4, atol=1e-5)
    return 2


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RANKSTONE_CACHE", str(tmp_path / "cache"))
    warnings.simplefilter("ignore", RankstoneWarning)  # of prompts left out


@pytest.mark.parametrize("number", range(len(SAMPLE)))
def test_a_sample_of_the_grid(number, tmp_path):
    assert compare(tmp_path, SAMPLE[number]) == 2


def test_a_decoder_whose_settings_keep_a_cache_is_exported(tmp_path):
    gpt2(tmp_path / "plain")
    assert '"use_cache": true' in (tmp_path / "plain" / "config.json").read_text()
    located = locate(ModelSpec(id="tiny", path=str(tmp_path / "plain")))
    of_torch, of_openvino = (
        DenseEncoder(model=located, pooling="last", engine=engine).encode(DOCUMENTS, "document")
        for engine in ("torch", "openvino")
    )
    np.testing.assert_allclose(of_openvino, of_torch, atol=1e-5)


def test_the_sample_has_every_value_of_every_setting():
    for chosen, possible in zip(zip(*SAMPLE, strict=True), zip(*GRID, strict=True), strict=True):
        missing = set(possible) - set(chosen)
        assert not missing, missing


def test_the_grid_has_every_pair_of_values():
    pairs = {
        (a, b, x, y)
        for point in GRID
        for (a, x), (b, y) in itertools.combinations(enumerate(point), 2)
    }
    values = [set(column) for column in zip(*GRID, strict=True)]
    expected = sum(len(x) * len(y) for x, y in itertools.combinations(values, 2))
    assert len(pairs) == expected


@pytest.mark.slow
def test_every_point_of_the_grid_is_as_the_library_computes_it(tmp_path):
    compared = sum(compare(tmp_path / str(n), point) for n, point in enumerate(GRID))
    sys.stdout.write(f"{compared} combinations of settings and engine compared with the library\n")
    assert compared == 2 * len(GRID) == 2 * 5 * 6 * 7 * 2
