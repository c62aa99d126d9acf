"""Long documents with any member: a tiny encoder, token vectors, BM25."""

from __future__ import annotations

import dataclasses
import sys
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest

from rankstone.encodings.cache import EncodingCache
from rankstone.errors import AdapterError, DefinitionError
from rankstone.predicates import Where, parse
from rankstone.profiling.clock import Clock
from rankstone.runners.compose.chunked import ChunkedEncoder
from rankstone.runners.compose.fusion import ReciprocalRankFusion
from rankstone.runners.encoders.bm25 import BM25
from rankstone.runners.meter import Work, listening
from rankstone.runners.models import locate
from rankstone.runners.protocols import Hits, Truncation
from rankstone.runners.search.filtered import FilteredSearch
from rankstone.runners.testing import PlainContext
from rankstone.specs import ModelSpec
from tests import tiny_models

LIMIT = 16
WORDS = ("the", "fox", "bear", "river", "glacier", "harbour", "crosses", "follows", "an", "which")
RNG = np.random.default_rng(0)
DOCUMENTS = [
    " ".join(RNG.choice(WORDS, size=n)) for n in (5, 60, 14, 200, 1, 33, 90, 7, 28, 120)
] + ["", "  ", "fox"]
QUERIES = ["which fox crosses the river", "glacier", "", "an harbour follows bear"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    pytest.importorskip("transformers")
    return locate(
        ModelSpec(id="tiny", path=str(tiny_models.write_encoder(tmp_path_factory.mktemp("tiny"))))
    )


@pytest.fixture(scope="module")
def dense(model):
    from rankstone.runners.encoders.dense import DenseEncoder

    return DenseEncoder(model=model, engine="torch", device="cpu", pooling="mean", max_length=LIMIT)


@pytest.fixture(scope="module")
def tokens(model):
    from rankstone.runners.encoders.late_interaction import TokenVectors

    return TokenVectors(
        model=model, query_length=LIMIT, document_length=LIMIT, storage="float32", device="cpu"
    )


def chunked(member, aggregate="max", **parameters):
    return ChunkedEncoder(members=(member,), aggregate=aggregate, **parameters)


def search(runner, tmp_path, k, documents=DOCUMENTS):
    context = PlainContext(texts=documents, work=tmp_path)
    index = runner.index(context.encoded(runner), context)
    return index, index.search(runner.encode(QUERIES, "query"), k)


def by_hand(n_words):
    """Return chunks of `n_words` words; every word of DOCUMENTS is one token."""
    cut = [text.split() for text in DOCUMENTS]
    return [
        [" ".join(words[i : i + n_words]) for i in range(0, max(len(words), 1), n_words)]
        for words in cut
    ]


def test_a_document_scores_as_its_best_chunk(dense, tmp_path):
    queries = dense.encode(QUERIES, "query")
    expected = np.array(
        [(dense.encode(c, "document") @ queries.T).max(axis=0) for c in by_hand(LIMIT - 2)]
    ).T
    for k in (3, len(DOCUMENTS), len(DOCUMENTS) + 5):
        _, (docs, scores) = search(chunked(dense), tmp_path, k)
        best = -np.sort(-expected, axis=1)[:, :k]
        np.testing.assert_allclose(scores[:, : len(DOCUMENTS)], best, atol=1e-5)
        found = np.take_along_axis(expected, docs[:, : best.shape[1]], axis=1)
        np.testing.assert_allclose(found, best, atol=1e-5)


def test_a_document_is_the_mean_of_its_chunks(dense, tmp_path):
    means = np.array([dense.encode(c, "document").mean(axis=0) for c in by_hand(LIMIT - 2)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    runner = chunked(dense, "mean")
    np.testing.assert_allclose(runner.encode(DOCUMENTS, "document"), means, atol=1e-5)
    dot = dataclasses.replace(dense, similarity="dot", normalize=False)
    plain = np.array([dot.encode(c, "document").mean(axis=0) for c in by_hand(LIMIT - 2)])
    np.testing.assert_allclose(chunked(dot, "mean").encode(DOCUMENTS, "document"), plain, atol=1e-4)
    _, (_, scores) = search(runner, tmp_path, 4)
    expected = runner.encode(QUERIES, "query") @ means.T
    np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :4], atol=1e-5)


def test_the_first_chunk_is_what_the_member_sees_of_it_anyway(dense, tmp_path):
    runner = chunked(dense, "first")
    np.testing.assert_allclose(
        runner.encode(DOCUMENTS, "document"), dense.encode(DOCUMENTS, "document"), atol=1e-5
    )
    _, found = search(runner, tmp_path, 5)
    _, expected = search(dense, tmp_path, 5)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    assert runner.truncation(DOCUMENTS, "document") == dense.truncation(DOCUMENTS, "document")


@pytest.mark.parametrize(("aggregate", "how"), [("max", "after"), ("mean", "native")])
def test_filters_are_of_documents(dense, tmp_path, aggregate, how):
    pytest.importorskip("qdrant_edge", reason="needs rankstone[engines]")
    from rankstone.runners.search.engines.qdrant_index import Qdrant

    lengths = [len(text) for text in DOCUMENTS]
    columns = {"characters": pa.chunked_array([lengths])}
    context = PlainContext(texts=DOCUMENTS, work=tmp_path, columns=columns)
    runner = chunked(Qdrant(members=(dense,), exact=True), aggregate)
    index = runner.index(None, context)
    passes = np.array(lengths) > 100
    where = Where(predicate=parse("characters > 100"), passes=passes)
    filtered = FilteredSearch(index, [where] * len(QUERIES))
    assert filtered.how == how
    queries, rows = runner.encode(QUERIES, "query"), range(len(QUERIES))
    found = filtered.search(queries, rows, 3)
    every = index.search(queries, len(DOCUMENTS)).docs
    assert found.docs.tolist() == [[d for d in row if passes[d]][:3] for row in every.tolist()]


@pytest.mark.parametrize("aggregate", ["max", "mean"])
def test_chunks_lose_nothing_and_report_it(dense, aggregate):
    runner = chunked(dense, aggregate)
    n_tokens = sum(len(text.split()) for text in DOCUMENTS)
    n_chunks = sum(map(len, by_hand(LIMIT - 2)))
    cut = runner.truncation(DOCUMENTS, "document")
    assert cut == Truncation(len(DOCUMENTS), 0, n_tokens + 2 * n_chunks, 0)
    assert runner.truncation(["fox " * 99], "query") == dense.truncation(["fox " * 99], "query")


@pytest.mark.parametrize("aggregate", ["first", "max"])
def test_an_index_of_another_package_that_holds_documents_keeps_its_abilities(aggregate, tmp_path):
    """Its hits are the method's; those over chunks are combined, and checked before."""

    class Foreign:
        filtering = "native"

        def search(self, queries, k):
            return Hits(
                np.zeros((len(queries), k), np.int64), np.ones((len(queries), k), np.float32)
            )

        def search_where(self, queries, k, where):
            return Hits.empty(len(queries), k)

        def nbytes(self):
            return 0

        def save(self, folder):
            pass

    class Member(BM25):
        def index(self, documents, context):
            return Foreign()

    runner = chunked(Member(), aggregate, chunk_tokens=20)
    index = runner.index(None, PlainContext(texts=DOCUMENTS, work=tmp_path))
    assert FilteredSearch(index, None).how == ("native" if aggregate == "first" else "after")
    if aggregate == "max":
        with pytest.raises(AdapterError, match=r"Foreign: .* twice"):
            index.search(runner.encode(QUERIES, "query"), 3)


def test_a_limit_that_leaves_no_room_is_refused(dense):
    prompted = dataclasses.replace(dense, max_length=3, prompts={"document": "the "})
    with pytest.raises(DefinitionError, match="3 tokens are no more than what the member"):
        chunked(prompted, "first").encode(["fox"], "document")


def test_a_character_that_does_not_fit_is_reported_as_truncated():
    """A character of several tokens exceeds the limit; its document counts once."""

    class Wide(BM25):
        """Counts two units per character, and has a limit of one."""

        def truncation(self, texts, role):
            counts = np.array([2 * len(text) for text in texts])
            cut = np.maximum(counts - 1, 0)
            return Truncation(len(texts), *(int(n) for n in (sum(cut > 0), sum(counts), sum(cut))))

    runner = chunked(Wide(), chunk_tokens=1)
    assert runner.truncation(["a b", "", "c"], "document") == (3, 2, 8, 5)


def test_a_prompt_takes_its_share_of_every_chunk(dense):
    prompted = dataclasses.replace(dense, prompts={"document": "the fox "})
    runner = chunked(prompted, "mean")
    assert runner.truncation(DOCUMENTS, "document").texts_cut == 0
    expected = [prompted.encode(c, "document").mean(axis=0) for c in by_hand(LIMIT - 4)]
    own = runner.encode(DOCUMENTS, "document")
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(own, expected, atol=1e-5)


def test_chunks_overlap_as_asked(dense):
    text = " ".join(WORDS * 5)
    passages = chunked(dense, chunk_tokens=12, overlap=4)._passages
    (chunks,) = passages._split([text])
    assert all(len(chunk.split()) == 10 for chunk in chunks[:-1])
    for one, following in pairwise(chunks):
        assert one.split()[-4:] == following.split()[:4]


def test_token_vectors_are_chunked_as_well(tokens, tmp_path):
    """MaxSim over a chunk, and the best of these."""
    runner = chunked(tokens)
    index, (docs, scores) = search(runner, tmp_path, 6)
    flat = [chunk for own in by_hand(LIMIT - 2) for chunk in own]
    owners = np.repeat(np.arange(len(DOCUMENTS)), [len(own) for own in by_hand(LIMIT - 2)])
    chunks = tokens.encode(flat, "document").matrices()
    queries = tokens.encode(QUERIES, "query").matrices()
    for row, query in enumerate(queries):
        each = np.array([(query @ chunk.T).max(axis=1).sum() for chunk in chunks])
        best = np.array([each[owners == doc].max() for doc in range(len(DOCUMENTS))])
        np.testing.assert_allclose(scores[row], -np.sort(-best)[:6], atol=1e-4)
        np.testing.assert_allclose(best[docs[row]], scores[row], atol=1e-4)
    index.save(tmp_path)
    again = type(index).load(tmp_path).search(runner.encode(QUERIES, "query"), 6)
    np.testing.assert_array_equal(again.docs, docs)


def test_words_are_the_units_where_there_are_no_tokens(tmp_path):
    """BM25 over chunks, against BM25 over the chunks themselves as a corpus."""
    runner, n_words = chunked(BM25(), chunk_tokens=20), 20
    flat = [chunk for own in by_hand(n_words) for chunk in own]
    owners = np.repeat(np.arange(len(DOCUMENTS)), [len(own) for own in by_hand(n_words)])
    _, (docs, scores) = search(runner, tmp_path, 5)
    _, chunks = search(BM25(), tmp_path, len(flat), flat)
    for row in range(len(QUERIES)):
        best: dict[int, float] = {}
        for chunk, score in zip(chunks.docs[row], chunks.scores[row], strict=True):
            if chunk >= 0:
                best.setdefault(int(owners[chunk]), score)
        expected = sorted(best.values(), reverse=True)[:5]
        np.testing.assert_allclose(scores[row, : len(expected)], expected)
        assert all(
            best[doc] == s for doc, s in zip(docs[row], scores[row], strict=True) if doc >= 0
        )
        assert (docs[row] >= 0).sum() == len(expected)
    assert runner.truncation(DOCUMENTS, "document") is None
    first = chunked(BM25(), "first", chunk_tokens=20).truncation(DOCUMENTS, "document")
    lengths = [len(text.split()) for text in DOCUMENTS]
    cut = [max(n - 20, 0) for n in lengths]
    assert first == (len(DOCUMENTS), sum(map(bool, cut)), sum(lengths), sum(cut))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"chunk_tokens": 17}, "17, but the member would truncate chunks at 16 tokens"),
        ({"overlap": 9}, "9 is more than half of a chunk"),
        ({"chunk_tokens": 8, "overlap": 5}, "more than half"),
    ],
)
def test_impossible_chunk_settings_are_refused(dense, parameters, message):
    with pytest.raises(DefinitionError, match=message):
        chunked(dense, **parameters)


def test_construction_needs_neither_torch_nor_the_model(model, monkeypatch, tmp_path):
    """The member's limit is that of its model, which is loaded when a text is encoded."""
    from rankstone.runners.encoders.dense import DenseEncoder
    from rankstone.runners.transformer.network import Network

    def load(network):
        raise LookupError("loaded")

    monkeypatch.setenv("RANKSTONE_CACHE", str(tmp_path))
    monkeypatch.setattr(Network, "load", load)
    monkeypatch.setitem(sys.modules, "torch", None)
    runner = chunked(DenseEncoder(model=model, device="cpu"))
    with pytest.raises(LookupError, match="loaded"):
        runner.encode(["fox"], "document")


def test_a_member_without_a_limit_needs_one():
    with pytest.raises(DefinitionError, match=r"Add it: words per chunk"):
        chunked(BM25())


def test_only_vectors_have_a_mean(tokens, tmp_path):
    for member in (tokens, BM25()):
        with pytest.raises(DefinitionError, match="only vectors have a mean"):
            search(chunked(member, "mean", chunk_tokens=16), tmp_path, 3)


def test_a_member_that_looks_beyond_its_chunks_is_refused(dense, tmp_path):
    fusion = ReciprocalRankFusion(members=(dense, BM25()))
    with pytest.raises(DefinitionError, match="Chunk its members instead"):
        search(chunked(fusion, chunk_tokens=20), tmp_path, 3)
    both = ReciprocalRankFusion(members=(chunked(dense), chunked(BM25(), chunk_tokens=20)))
    _, found = search(both, tmp_path, 3)
    assert (found.docs[:2] >= 0).all()


class Corpus:
    def __len__(self):
        return len(DOCUMENTS)

    def texts(self, start, stop):
        return DOCUMENTS[start:stop]


@dataclasses.dataclass
class Cached:
    """A context whose encodings are kept in a folder."""

    cache: EncodingCache
    threads: int = 1
    device: str = "cpu"

    @property
    def work(self):
        return self.cache.folder

    def encoded(self, runner):
        return self.cache.chunks(runner)


def cache(folder, shard_size=4):
    return EncodingCache(
        folder=folder, corpus=Corpus(), key_material={}, clock=Clock(), shard_size=shard_size
    )


def test_text_after_the_first_chunk_is_reported_as_truncated(tmp_path):
    kept, runner = cache(tmp_path), chunked(BM25(), "first", chunk_tokens=20)
    documents = kept.chunks(runner)
    runner.index(documents, Cached(kept))
    assert documents.truncation is None, "it is never read"
    assert kept.truncation == runner.truncation(DOCUMENTS, "document")
    assert kept.truncation.texts_cut > 0


@pytest.mark.parametrize("member", ["dense", "tokens"])
def test_maximum_and_mean_share_cached_chunks(member, dense, tokens, tmp_path):
    encoder = {"dense": dense, "tokens": tokens}[member]
    kept = cache(tmp_path)
    chunked(encoder).index(None, Cached(kept))
    assert (len(kept.keys_filled), len(kept.keys_hit)) == (1, 0)
    assert kept.truncation.texts == len(DOCUMENTS)
    again = cache(tmp_path)
    index = chunked(encoder).index(None, Cached(again))
    _, fresh = search(chunked(encoder), tmp_path, 5)
    found = index.search(encoder.encode(QUERIES, "query"), 5)
    np.testing.assert_allclose(found.scores, fresh.scores, atol=1e-5)
    assert (again.keys_filled, again.keys_hit) == ([], kept.keys_filled)
    if member == "dense":
        chunked(encoder, "mean").index(None, Cached(again))
        assert again.keys_filled == []


def test_settings_that_change_chunks_change_the_key(dense, tmp_path):
    kept = cache(tmp_path)
    runners = [
        dense,
        *(chunked(dense, a) for a in ("first", "max")),
        chunked(dense, chunk_tokens=12),
        chunked(dense, overlap=3),
        chunked(dataclasses.replace(dense, prompts={"document": "the "})),
    ]
    keys = [kept.key(getattr(runner, "_passages", runner)) for runner in runners]
    assert len(set(keys)) == len(keys)
    assert kept.key(chunked(dense)._passages) == kept.key(chunked(dense, "mean")._passages)


def test_the_code_of_a_member_belongs_to_the_key(dense, tmp_path, monkeypatch):
    from rankstone.encodings import cache_key as module

    runner, kept = chunked(dense)._passages, cache(tmp_path)
    before = kept.key(runner)
    digest = module.adapter_digest
    edited = lambda adapter: "other" if adapter is type(dense) else digest(adapter)  # noqa: E731
    monkeypatch.setattr(module, "adapter_digest", edited)
    assert kept.key(runner) != before


def test_progress_counts_documents_and_work_is_the_members(dense):
    heard: list[Work] = []
    with listening(heard.append):
        chunked(dense)._passages.encode(DOCUMENTS, "document")
    assert sum(work.texts for work in heard) == len(DOCUMENTS)
    seen = chunked(dense).truncation(DOCUMENTS, "document").tokens
    assert sum(work.tokens for work in heard) == seen


def test_no_documents_have_no_chunks(dense):
    with listening(lambda work: None):
        assert len(chunked(dense)._passages.encode([], "document")) == 0


def test_the_description_states_how_documents_are_split(dense):
    described = chunked(dense, chunk_tokens=12, overlap=2).describe()
    assert described["model"] == "tiny"
    assert described["aggregate"] == "max"
    chunks = described["chunks"]
    assert (chunks["limit"], chunks["unit"], chunks["overlap"]) == (12, "tokens", 2)


def test_chunks_can_be_taken_by_position(dense, tmp_path):
    from rankstone.runners.compose.chunked import _EveryChunk

    runner = chunked(dense)
    context = PlainContext(texts=DOCUMENTS, work=tmp_path)
    chunks = _EveryChunk(context.encoded(runner._passages))
    flat = [chunk for own in by_hand(LIMIT - 2) for chunk in own]
    assert len(chunks) == len(flat)
    chosen = RNG.permutation(len(flat))[:9]
    expected = dense.encode([flat[i] for i in chosen], "document")
    np.testing.assert_allclose(chunks.take(chosen), expected, atol=1e-5)
    assert len(chunks.sample(5, seed=1)) == 5
    assert len(chunks.sample(10**6, seed=1)) == len(flat)
