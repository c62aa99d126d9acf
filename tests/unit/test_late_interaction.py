"""Token vectors against forward passes by the definition of ColBERT."""

import string
from pathlib import Path

import numpy as np
import pytest

from rankstone.errors import DefinitionError, ModelError, RankstoneWarning
from rankstone.runners.construct import build_runner
from rankstone.runners.meter import Work, listening
from rankstone.runners.models import locate
from rankstone.runners.protocols import Truncation
from rankstone.runners.representations.base import pack
from rankstone.specs import ModelSpec
from rankstone.workspace import Workspace
from tests import tiny_models

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

WORKSPACE = Workspace.find(Path(__file__).resolve().parents[2])
TEXTS = [
    "Which fox crosses the river?",
    "",
    "?!",
    "glacier",
    "漢字 and the bear, following (an) e-mail: zyzzyva.",
    "The harbour " * 200,
    "an engine " * 12,
]
DIM = 128
COLBERTS = ("colbertv2", "gte-moderncolbert")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A tiny model in place of that of each definition."""
    new = tmp_path_factory.mktemp
    return {
        "colbertv2": tiny_models.write_stanford_colbert(new("stanford"), dim=DIM),
        "gte-moderncolbert": tiny_models.write_pylate_colbert(new("pylate"), dim=DIM),
        "minilm-tokens": tiny_models.write_encoder(new("encoder")),
    }


def build(name, folder, **parameters):
    """Return the runner of a definition with other weights and changed parameters."""
    spec = WORKSPACE.method(f"late_interaction/{name}")
    model = ModelSpec(id="tiny", path=str(folder))
    changed = {**spec.parameters, "storage": "float32", **parameters}
    return build_runner(spec.model_copy(update={"model": model, "parameters": changed}))


class Reference:
    """ColBERT by its paper and code, one text at a time."""

    def __init__(self, name, *, mask_attention=0, skipped=string.punctuation):
        token = tiny_models.VOCABULARY.index
        if name == "colbertv2":
            self.model = tiny_models.bert()
            self.markers = {"query": token("[unused0]"), "document": token("[unused1]")}
            self.longest = 220
        else:
            self.model = tiny_models.modernbert(more_tokens=2)
            size = len(tiny_models.VOCABULARY)
            self.markers = {"query": size, "document": size + 1}
            self.longest = 300
        self.tokenizer = tiny_models.tokenizer()
        self.skipped = [token(character) for character in skipped]
        self.mask_attention = mask_attention

    def __call__(self, text, role, longest=None):
        limit = longest or (32 if role == "query" else self.longest)
        tokens = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        ids = [self.tokenizer.cls_token_id, self.markers[role], *tokens[: limit - 3]]
        ids.append(self.tokenizer.sep_token_id)
        attention = [1] * len(ids)
        if role == "query":
            masks = limit - len(ids)
            ids += [self.tokenizer.mask_token_id] * masks
            attention += [self.mask_attention] * masks
        with torch.no_grad():
            hidden = self.model(
                input_ids=torch.tensor([ids]), attention_mask=torch.tensor([attention])
            ).last_hidden_state[0]
            vectors = hidden @ tiny_models.projection(DIM).T
        vectors = vectors / vectors.norm(dim=1, keepdim=True)
        kept = [role == "query" or token not in self.skipped for token in ids]
        return vectors[torch.tensor(kept)].numpy()


@pytest.mark.parametrize("role", ["query", "document"])
@pytest.mark.parametrize("name", COLBERTS)
def test_vectors_are_those_of_the_definition_of_colbert(folders, name, role):
    reference = Reference(name)
    found = build(name, folders[name]).encode(TEXTS, role).matrices()
    for text, vectors in zip(TEXTS, found, strict=True):
        np.testing.assert_allclose(vectors, reference(text, role), atol=1e-5)


@pytest.mark.parametrize("model_type", ["ColBERT", "SentenceTransformer"])
def test_all_versions_of_pylates_format_are_read_equally(folders, tmp_path, model_type):
    folder = tiny_models.write_pylate_colbert(tmp_path / "other", dim=DIM, model_type=model_type)
    for role in ("query", "document"):
        one, other = (
            build("gte-moderncolbert", path).encode(TEXTS, role)
            for path in (folders["gte-moderncolbert"], folder)
        )
        np.testing.assert_array_equal(one.offsets, other.offsets)
        np.testing.assert_allclose(one.tokens, other.tokens, atol=1e-6)


@pytest.mark.parametrize("attend", [False, True])
def test_graphs_give_the_vectors_of_the_library(tmp_path, attend):
    from sentence_transformers import MultiVectorEncoder

    for name, write, more in (
        ("colbertv2", tiny_models.write_stanford_colbert, {"attend_to_mask_tokens": attend}),
        ("gte-moderncolbert", tiny_models.write_pylate_colbert,
         {"attend_to_expansion_tokens": attend}),
    ):  # fmt: skip
        folder = write(tmp_path / name, dim=DIM, **more)
        peer = MultiVectorEncoder(str(folder), device="cpu")
        runner = build(name, folder, attend_to_mask=attend)
        assert runner.describe()["engine"].startswith("openvino")
        expected = peer.encode_query(TEXTS), peer.encode_document(TEXTS)
        for role, matrices in zip(("query", "document"), expected, strict=True):
            for own, theirs in zip(runner.encode(TEXTS, role).matrices(), matrices, strict=True):
                np.testing.assert_allclose(own, theirs, atol=1e-4)


def test_engines_and_precisions_are_those_of_all_encoders(folders):
    exact = build("minilm-tokens", folders["minilm-tokens"]).encode(TEXTS, "query").tokens
    for parameters, off in (
        ({"engine": "torch"}, 1e-5),
        ({"engine": "torch", "dtype": "bfloat16", "device": "cpu"}, 0.3),
        ({"precision": "int8"}, 0.3),
    ):
        runner = build("minilm-tokens", folders["minilm-tokens"], **parameters)
        apart = np.abs(runner.encode(TEXTS, "query").tokens - exact).max()
        assert apart < off, parameters
        assert (apart > 1e-4) == (off > 0.1), parameters
    with pytest.raises(DefinitionError, match="State query_length and document_length"):
        build("minilm-tokens", folders["minilm-tokens"], max_length=9)


def test_masks_may_be_attended_to(folders):
    reference = Reference("colbertv2", mask_attention=1)
    runner = build("colbertv2", folders["colbertv2"], attend_to_mask=True)
    vectors = runner.encode(TEXTS[:1], "query").matrices()[0]
    np.testing.assert_allclose(vectors, reference(TEXTS[0], "query"), atol=1e-5)
    plain = build("colbertv2", folders["colbertv2"]).encode(TEXTS[:1], "query").matrices()[0]
    assert np.abs(vectors - plain).max() > 1e-3


def test_queries_may_go_without_masks(folders):
    whole = build("colbertv2", folders["colbertv2"]).encode(TEXTS, "query").matrices()
    runner = build("colbertv2", folders["colbertv2"], augment_queries=False)
    for with_masks, without in zip(whole, runner.encode(TEXTS, "query").matrices(), strict=True):
        # No token attends to the masks, so the other vectors are the same.
        np.testing.assert_allclose(without, with_masks[: len(without)], atol=1e-5)
    assert [len(m) for m in runner.encode(["", "glacier"], "query").matrices()] == [3, 4]


def test_lengths_and_the_skip_list_are_parameters(folders):
    folder = folders["colbertv2"]
    runner = build("colbertv2", folder, query_length=8, document_length=10, skip="nothing")
    reference = Reference("colbertv2", skipped="")
    for role, longest in (("query", 8), ("document", 10)):
        for text, vectors in zip(TEXTS, runner.encode(TEXTS, role).matrices(), strict=True):
            np.testing.assert_allclose(vectors, reference(text, role, longest), atol=1e-5)


@pytest.mark.parametrize("name", [*COLBERTS, "minilm-tokens"])
@pytest.mark.parametrize("role", ["query", "document"])
def test_vectors_do_not_depend_on_the_batch(folders, name, role):
    runner = build(name, folders[name])
    alone = [runner.encode([text], role).matrices()[0] for text in TEXTS]
    for parameters in ({}, {"batch_size": 2}, {"batch_tokens": 300}):
        together = build(name, folders[name], **parameters).encode(TEXTS, role).matrices()
        for one, other in zip(alone, together, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("special_tokens", ["keep", "drop"])
def test_plain_vectors_are_the_last_hidden_states(folders, special_tokens):
    runner = build("minilm-tokens", folders["minilm-tokens"], special_tokens=special_tokens)
    tokenizer, model = tiny_models.tokenizer(), tiny_models.bert()
    skipped = [tiny_models.VOCABULARY.index(character) for character in string.punctuation]
    for role in ("query", "document"):
        for text, vectors in zip(TEXTS, runner.encode(TEXTS, role).matrices(), strict=True):
            batch = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
            with torch.no_grad():
                hidden = model(**batch).last_hidden_state[0]
            kept = torch.ones(len(hidden), dtype=torch.bool)
            if special_tokens == "drop":
                kept[[0, -1]] = False
            if role == "document":
                kept &= ~torch.isin(batch["input_ids"][0], torch.tensor(skipped))
            hidden = hidden[kept] / hidden[kept].norm(dim=1, keepdim=True)
            np.testing.assert_allclose(vectors, hidden.numpy(), atol=1e-5)


@pytest.mark.parametrize(("storage", "off"), [("float16", 1e-3), ("2bit", 0.5)])
def test_documents_are_stored_as_wanted_and_queries_in_full(folders, storage, off):
    """Each vector is compared with itself: the inner product is 1."""
    runner = build("colbertv2", folders["colbertv2"], storage=storage)
    documents, queries = runner.encode(TEXTS, "document"), runner.encode(TEXTS, "query")
    assert queries.tokens.dtype == np.float32
    assert pack(documents).kind == ("ragged 2bit" if storage == "2bit" else "ragged matrix")
    full = build("colbertv2", folders["colbertv2"])
    exact = full.encode(TEXTS, "query").tokens @ full.encode(TEXTS, "document").tokens.T
    stored = queries.tokens @ np.concatenate(documents.matrices()).T
    assert np.abs(stored - exact).max() < off
    assert np.abs(stored - exact).std() < off / 5


@pytest.mark.parametrize("name", COLBERTS)
def test_the_definitions_state_the_published_facts(folders, name):
    described = build(name, folders[name]).describe()
    facts = {
        "colbertv2": (220, "[unused0]", "[unused1]"),
        "gte-moderncolbert": (300, "[Q] ", "[D] "),
    }[name]
    assert described["max_length"] == {"query": 32, "document": facts[0]}
    assert described["markers"] == {"query": facts[1], "document": facts[2]}
    assert (described["dim"], described["normalized"]) == (128, True)
    assert described["augmented"] == {"query": True, "document": False}
    assert described["attend_to_mask"] == {"query": False, "document": False}
    assert described["skip"] == list(string.punctuation)
    assert WORKSPACE.method(name).parameters["storage"] == "float16"


def test_settings_in_the_checkpoint_are_part_of_the_model(folders):
    model = locate(ModelSpec(id="tiny", path=str(folders["colbertv2"])))
    assert "artifact.metadata" in model.files


def test_truncation_is_counted(folders):
    runner = build("colbertv2", folders["colbertv2"])
    # [CLS], the marker and [SEP] count; a word of the vocabulary is one token.
    assert runner.truncation(["fox", "fox " * 40], "query") == Truncation(2, 1, 4 + 43, 11)
    assert runner.truncation(["fox " * 218], "document") == Truncation(1, 1, 221, 1)
    assert runner.truncation([], "query") == Truncation()


@pytest.mark.parametrize("key", ["query_length", "document_length"])
@pytest.mark.parametrize("name", ["colbertv2", "minilm-tokens"])
def test_lengths_that_the_model_has_no_positions_for_are_refused(folders, name, key):
    build(name, folders[name], **{key: 512})
    with pytest.raises(DefinitionError, match=rf"key 'parameters.{key}': 513, .* for 512 tokens"):
        build(name, folders[name], **{key: 513})


def test_rotary_positions_have_no_end(folders):
    runner = build("gte-moderncolbert", folders["gte-moderncolbert"], document_length=600)
    assert len(runner.encode(["fox " * 700], "document")) == 1


def test_work_is_reported(folders):
    runner = build("colbertv2", folders["colbertv2"])
    heard = []
    with listening(heard.append):
        runner.encode(["fox", "fox bear"], "query")
        runner.encode(["fox", "fox bear"], "document")
    # A layer: four products of 32 x 32, two of 32 x 64; the projection: 32 x 128.
    linear = 2 * (2 * (4 * 32 * 32 + 2 * 32 * 64) + 32 * 128)
    attention = 2 * 4 * 32
    assert heard == [
        Work(2, 64, linear * 64 + attention * 2 * 32**2),
        Work(2, 9, linear * 9 + attention * (4**2 + 5**2)),
    ]


def test_local_attention_is_counted_by_its_window(folders):
    """Compare with torch's count, in which local attention computes all products."""
    from torch.utils.flop_counter import FlopCounterMode

    runner = build("gte-moderncolbert", folders["gte-moderncolbert"], engine="torch")
    network = runner._tower("document").engines._in_torch().model[0].auto_model
    network.set_attn_implementation("eager")
    heard = []
    with FlopCounterMode(display=False) as counter, listening(heard.append):
        runner.encode(["fox " * 97], "document")
    [work] = heard
    assert work.tokens == 100
    assert work.flops == counter.get_total_flops() - 4 * 32 * 100 * (100 - 16)


def test_a_plain_encoder_is_not_given_a_random_projection(folders):
    runner = build("colbertv2", folders["minilm-tokens"])
    with pytest.raises(ModelError, match=r"no trained projection.*token_vectors"):
        runner.encode(["fox"], "query")


def test_another_dimension_is_refused(folders):
    runner = build("colbertv2", folders["colbertv2"], dim=96)
    with pytest.raises(ModelError, match=r"have 128 dimensions, expected 96.*parameters\.dim"):
        runner.describe()


def test_a_marker_is_one_token_and_the_documented_one(folders):
    runner = build("colbertv2", folders["colbertv2"], query_marker="query: ")
    with pytest.raises(ModelError, match=r"query marker 'query: ' is not one token"):
        runner.describe()
    runner = build("colbertv2", folders["colbertv2"], query_marker="[unused1]")
    with pytest.warns(RankstoneWarning, match=r"documents the query marker '\[unused0\] '"):
        runner.describe()
