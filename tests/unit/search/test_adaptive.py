"""Funnel search against brute force in numpy, and against the encoder's own truncation."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankstone.errors import DefinitionError
from rankstone.runners.compose.asymmetric import Asymmetric
from rankstone.runners.encoders.dense import DenseEncoder
from rankstone.runners.models import locate
from rankstone.runners.search.adaptive import Funnel, FunnelIndex, cut
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.testing import PlainContext
from rankstone.specs import ModelSpec

DIM = 16
TEXTS = [str(number) for number in range(60)]
QUERIES = [str(number) for number in range(1000, 1007)]


@dataclass(frozen=True)
class Drawn:
    """A random unit vector for each text; earlier dimensions are larger, as Matryoshka's are."""

    dim: int = DIM
    noise: float = 0.0
    normalized: bool = True
    requires: ClassVar[dict] = {}
    cacheable: ClassVar[bool] = True

    def describe(self):
        return {"normalized": self.normalized}

    def encode(self, texts, role):
        out = np.empty((len(texts), self.dim), dtype=np.float32)
        for row, text in zip(out, texts, strict=True):
            rng = np.random.default_rng(int(text or 0))
            row[:] = rng.standard_normal(self.dim) / np.sqrt(1 + np.arange(self.dim))
            row += self.noise * rng.standard_normal(self.dim)
        norms = np.linalg.norm(out, axis=1, keepdims=True)
        return out / norms if self.normalized else out

    def index(self, documents, context):
        return ExactIndex.build(documents)

    def truncation(self, texts, role):
        return None


def built(tmp_path, encoder=None, texts=TEXTS, **parameters):
    runner = Funnel(members=(encoder or Drawn(),), **parameters)
    return runner, runner.index(None, PlainContext(texts=texts, work=tmp_path))


def by_hand(documents, queries, dims, shortlists, normalize):
    """Return each query's final ranking, stage by stage over full rankings."""
    rows = []
    for query in queries:
        order = np.arange(len(documents))
        for stage, dim in enumerate(dims):
            size = len(order) if stage == 0 else shortlists[stage - 1]
            candidates = documents[order[:size], :dim]
            scores = candidates @ query[:dim]
            if normalize:
                scores = scores / np.linalg.norm(candidates, axis=1)
            order[:size] = order[:size][np.argsort(-scores, kind="stable")]
        rows.append(order)
    return np.array(rows)


@settings(deadline=None, max_examples=25)
@given(st.booleans(), st.booleans(), st.integers(1, 70), st.data())
def test_stages_narrow_as_by_hand(tmp_path_factory, normalized, resident, k, data):
    # A unit vector of one dimension ties with half of all others.
    dims = sorted(data.draw(st.sets(st.integers(2, DIM), min_size=1, max_size=4)))
    sizes = st.lists(st.integers(1, 70), min_size=len(dims) - 1, max_size=len(dims) - 1)
    shortlists = sorted(data.draw(sizes), reverse=True)
    encoder, work = Drawn(normalized=normalized), tmp_path_factory.mktemp("work")
    runner, index = built(work, encoder, dims=dims, shortlists=shortlists, resident=resident)
    queries = runner.encode(QUERIES, "query")
    hits = index.search(queries, k)
    documents = encoder.encode(TEXTS, "document")
    want = by_hand(documents, queries, dims, shortlists, normalized)
    reached = min(k, len(TEXTS))
    np.testing.assert_array_equal(hits.docs[:, :reached], want[:, :reached])
    assert (np.diff(hits.scores[:, :reached], axis=1) <= 0).all()
    assert (hits.docs[:, reached:] == -1).all()
    assert np.isneginf(hits.scores[:, reached:]).all()


def test_everything_on_the_shortlists_is_full_search(tmp_path):
    runner, index = built(tmp_path, dims=[2, 5, DIM], shortlists=[60, 60])
    queries = runner.encode(QUERIES, "query")
    exact = ExactIndex.build(Drawn().encode(TEXTS, "document")).search(queries, 60)
    found = index.search(queries, 60)
    np.testing.assert_array_equal(found.docs, exact.docs)
    np.testing.assert_allclose(found.scores, exact.scores, atol=1e-6)


def test_the_last_stage_scores_the_top_and_earlier_stages_rank_the_rest_below(tmp_path):
    runner, index = built(tmp_path, dims=[4, 8, DIM], shortlists=[20, 5])
    queries = runner.encode(QUERIES, "query")
    hits = index.search(queries, 60)
    documents = Drawn().encode(TEXTS, "document")
    for query, docs, scores in zip(queries, *hits, strict=True):
        np.testing.assert_allclose(scores[:5], documents[docs[:5]] @ query, atol=1e-6)
        assert (np.diff(scores) < 0).all()
        assert scores[5] <= scores[4] - 1
        assert scores[20] <= scores[19] - 1


@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_truncated_vector_is_what_the_encoder_makes_of_fewer_dimensions(
    layer_norm, tmp_path, monkeypatch
):
    pytest.importorskip("sentence_transformers")
    from tests import tiny_models

    monkeypatch.setenv("RANKSTONE_CACHE", str(tmp_path / "cache"))
    folder = tiny_models.write_encoder(tmp_path / "model")

    def encoded(dimensions):
        runner = DenseEncoder(
            model=locate(ModelSpec(id="tiny", path=str(folder))),
            engine="torch",
            device="cpu",
            pooling="mean",
            layer_norm=layer_norm,
            dimensions=dimensions,
        )
        return runner.encode(["one fox", "", "another dog " * 9], "document")

    np.testing.assert_allclose(cut(encoded(None), 8, True), encoded(8), atol=1e-6)


def test_multiply_adds_are_counted(tmp_path):
    runner, _ = built(tmp_path, dims=[2, 4, 16], shortlists=[30, 10])
    said = runner.describe()["multiply_adds"]
    assert said == {"per_document": 2, "per_query": 30 * 4 + 10 * 16}
    alone, _ = built(tmp_path, dims=[2], shortlists=[])
    assert alone.describe()["multiply_adds"] == {"per_document": 2, "per_query": 0}


def test_without_shortlists_it_is_truncation(tmp_path):
    runner, index = built(tmp_path, dims=[4], shortlists=[], resident=True)
    queries = runner.encode(QUERIES, "query")
    cut_documents = cut(Drawn().encode(TEXTS, "document"), 4, True)
    exact = ExactIndex.build(cut_documents).search(cut(queries, 4, True), 10)
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    for one in (index, FunnelIndex.load(tmp_path / "saved")):
        np.testing.assert_array_equal(one.search(queries, 10).docs, exact.docs)
        assert one.nbytes() == 60 * 4 * 4


@pytest.mark.parametrize("resident", [False, True])
def test_a_reloaded_index_has_the_same_bytes_and_hits(tmp_path, resident):
    runner, index = built(tmp_path, dims=[4, 8], shortlists=[20], resident=resident)
    assert index.nbytes() == 60 * 4 * 4 + resident * 60 * 8 * 4
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    loaded = FunnelIndex.load(tmp_path / "saved")
    assert loaded.nbytes() == index.nbytes()
    queries = runner.encode(QUERIES, "query")
    for one, other in zip(index.search(queries, 30), loaded.search(queries, 30), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"dims": [4, 8], "shortlists": [9, 8]}, "parameters.shortlists': 2 for 2 stages"),
        ({"dims": [8, 4], "shortlists": [9]}, "parameters.dims'"),
        ({"dims": [2, 4, 8], "shortlists": [5, 9]}, "parameters.shortlists': .* descend"),
        ({"dims": [2, 17], "shortlists": [5]}, "parameters.dims': 17, but .* have 16"),
    ],
)
def test_contradictory_settings_are_refused(tmp_path, parameters, says):
    with pytest.raises(DefinitionError, match=says):
        built(tmp_path, **parameters)


def test_documents_and_queries_are_encoded_by_their_own_member(tmp_path):
    full, early = Drawn(), Drawn(noise=0.3)
    runner = Asymmetric(members=(full, early))
    index = runner.index(None, PlainContext(texts=TEXTS, work=tmp_path))
    queries = runner.encode(QUERIES, "query")
    np.testing.assert_array_equal(queries, early.encode(QUERIES, "query"))
    scores = queries @ full.encode(TEXTS, "document").T
    np.testing.assert_array_equal(index.search(queries, 5).docs, np.argsort(-scores)[:, :5])


def test_members_of_other_dimensions_are_refused(tmp_path):
    runner = Asymmetric(members=(Drawn(), Drawn(dim=8)))
    with pytest.raises(DefinitionError, match=r"key 'members': dimensions .* are 16 and 8"):
        runner.index(None, PlainContext(texts=TEXTS, work=tmp_path))
