"""Static embeddings against wordllama's inference."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from rankstone.errors import ModelError
from rankstone.runners.construct import build_runner
from rankstone.runners.encoders import static
from rankstone.runners.encoders.static import StaticEmbeddings
from rankstone.runners.models import locate
from rankstone.specs import MethodSpec, ModelSpec

MODEL = ModelSpec(id="dleemiller/word-llama-l2-supercat", package="wordllama")
WEIGHTS = "weights/l2_supercat_256.safetensors"
TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"


@pytest.fixture(scope="module")
def runner():
    parameters = {"weights": WEIGHTS, "tokenizer": TOKENIZER}
    return build_runner(
        MethodSpec(
            name="dense/test",
            description="",
            adapter="static",
            model=MODEL,
            parameters=parameters,
        )
    )


@pytest.fixture(scope="module")
def oracle():
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from wordllama.inference import WordLlamaInference
    folder = Path(find_spec("wordllama").submodule_search_locations[0])
    return WordLlamaInference(
        load_file(folder / WEIGHTS)["embedding.weight"],
        Tokenizer.from_file(str(folder / TOKENIZER)),
    )


TEXTS = [
    "one",
    "A quick brown fox.",
    "def f(x):\n    return x ** 2",
    "naïve café 漢字 🙂",
    "x " * 9000,
]


def test_vectors_are_wordllamas(runner, oracle):
    np.testing.assert_allclose(
        runner.encode(TEXTS, "document"), oracle.embed(TEXTS, norm=True), atol=1e-5
    )


def test_dot_keeps_the_length(runner, oracle):
    dot = StaticEmbeddings(
        model=runner.model, weights=WEIGHTS, tokenizer=TOKENIZER, similarity="dot"
    )
    np.testing.assert_allclose(dot.encode(TEXTS, "query"), oracle.embed(TEXTS), atol=1e-5)


def test_a_text_without_tokens_is_the_zero_vector(runner):
    assert not runner.encode([""], "document").any()
    assert runner.encode([], "document").shape == (0, 256)


@pytest.mark.parametrize("cores", [1, 3])
def test_neither_batches_nor_cores_change_a_vector(runner, cores, monkeypatch):
    monkeypatch.setattr(static, "usable_cores", lambda: cores)
    vectors = runner.encode(TEXTS * 160, "document").reshape(160, len(TEXTS), -1)
    alone = runner.encode(TEXTS, "document")
    np.testing.assert_array_equal(vectors, np.broadcast_to(alone, vectors.shape))


def test_a_file_that_the_model_lacks_is_named():
    runner = StaticEmbeddings(model=locate(MODEL), weights="weights/none.safetensors")
    with pytest.raises(ModelError, match=r"none\.safetensors"):
        runner.describe()
