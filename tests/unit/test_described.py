"""Key of encoded documents: changed by everything except settings for queries only."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from rankstone.encodings.cache_key import of_documents
from rankstone.runners.compose.chunked import ChunkedEncoder
from rankstone.runners.encoders.dense import DenseEncoder
from rankstone.runners.encoders.late_interaction import LateInteraction
from rankstone.runners.encoders.sparse import SparseEncoder
from rankstone.runners.models import locate
from rankstone.runners.representations.base import pack
from rankstone.specs import ModelSpec
from tests import tiny_models

# A marker other than the model's own is warned of.
pytestmark = pytest.mark.filterwarnings("ignore::rankstone.errors.RankstoneWarning")
TEXTS = ["the fox crosses an river", "bear,", "", "fox " * 30]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    new = tmp_path_factory.mktemp
    folders = {
        "dense": tiny_models.write_encoder(new("dense")),
        "sparse": tiny_models.write_masked(new("sparse"), "bert"),
        "late": tiny_models.write_stanford_colbert(new("late"), dim=8),
    }
    tiny_models.write_idf(folders["sparse"])
    return {kind: locate(ModelSpec(id=kind, path=str(path))) for kind, path in folders.items()}


@pytest.fixture
def runners(models):
    torch = {"engine": "torch", "device": "cpu", "max_length": {"query": 16, "document": 16}}
    return {
        "dense": DenseEncoder(model=models["dense"], pooling="mean", **torch),
        "sparse": SparseEncoder(model=models["sparse"], **torch),
        "late": LateInteraction(
            model=models["late"],
            device="cpu",
            dim=8,
            query_length=16,
            document_length=16,
            query_marker="[unused0]",
            document_marker="[unused1]",
        ),
    }


def roles(query, document):
    return {"query": query, "document": document}


OF_QUERIES = [
    ("dense", {"prompts": roles("fox", "")}),
    ("dense", {"max_length": roles(9, 16)}),
    ("dense", {"replace": {"query": {"fox": "bear"}}}),
    ("dense", {"batch_tokens": 40}),
    ("sparse", {"prompts": roles("fox", "")}),
    ("sparse", {"top_k": {"query": 3}}),
    ("sparse", {"query": "idf"}),
    ("late", {"query_length": 9}),
    ("late", {"query_marker": "[unused1]"}),
    ("late", {"augment_queries": False}),
    ("late", {"attend_to_mask": True}),
]
OF_DOCUMENTS = [
    ("dense", {"prompts": roles("", "fox")}),
    ("dense", {"max_length": roles(16, 9)}),
    ("dense", {"replace": {"document": {"fox": "bear"}}}),
    ("dense", {"pooling": "cls"}),
    ("dense", {"exit_layer": 1}),
    ("dense", {"feed_forward": 0.5}),
    ("dense", {"precision": "bf16"}),
    ("dense", {"dimensions": 8}),
    ("sparse", {"top_k": {"document": 3}}),
    ("sparse", {"activation": "log1p2"}),
    ("sparse", {"special_tokens": "drop"}),
    ("late", {"document_length": 9}),
    ("late", {"document_marker": "[unused0]"}),
    ("late", {"skip": "nothing"}),
    ("late", {"storage": "float32"}),
]


def key(runner):
    return of_documents(runner.describe())


def arrays(runner):
    return pack(runner.encode(TEXTS, "document")).arrays


@pytest.mark.parametrize(("kind", "change"), OF_QUERIES)
def test_settings_for_queries_change_neither_documents_nor_their_key(runners, kind, change):
    runner, changed = runners[kind], dataclasses.replace(runners[kind], **change)
    assert runner.describe() != changed.describe() or change == {"batch_tokens": 40}
    assert key(runner) == key(changed)
    former, now = arrays(runner), arrays(changed)
    assert former.keys() == now.keys()
    for name, values in former.items():
        np.testing.assert_allclose(now[name], values, atol=1e-6)


@pytest.mark.parametrize(("kind", "change"), OF_DOCUMENTS)
def test_settings_for_documents_change_vectors_and_key(runners, kind, change):
    runner, changed = runners[kind], dataclasses.replace(runners[kind], **change)
    assert key(runner) != key(changed)
    former, now = arrays(runner), arrays(changed)
    assert any(not np.array_equal(now[name], values) for name, values in former.items())


def test_chunks_are_those_of_the_member(runners):
    dense = runners["dense"]
    same, other = (
        dataclasses.replace(dense, prompts=roles(*words)) for words in (("fox", ""), ("", "fox"))
    )
    chunks = [
        key(ChunkedEncoder(members=(one,), aggregate="max")._passages)
        for one in (dense, same, other)
    ]
    assert chunks[0] == chunks[1] != chunks[2]


def test_the_path_of_files_is_described_and_does_not_change_the_key(runners):
    dense = runners["dense"]
    hub = dataclasses.replace(dense, model=dataclasses.replace(dense.model, origin="hub"))
    assert hub.describe()["origin"] == "hub"
    assert key(hub) == key(dense)
    files = {**dense.model.files, "config.json": "0" * 64}
    other = dataclasses.replace(dense, model=dataclasses.replace(dense.model, files=files))
    assert key(other) != key(dense)
    pinned = dataclasses.replace(dense, model=dataclasses.replace(dense.model, revision="0" * 40))
    assert key(pinned) != key(dense)


def test_another_query_encoder_keeps_the_documents_key(runners, models):
    dense = runners["dense"]
    towers = dataclasses.replace(dense, query_model=dataclasses.replace(dense.model, id="other"))
    assert towers.describe()["query_model"]["model"] == "other"
    assert key(towers) == key(dense)
