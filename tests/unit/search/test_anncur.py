"""ANNCUR against a CUR decomposition in numpy, and scorers that count their calls."""

from dataclasses import dataclass, field
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic.dataclasses import dataclass as strict_dataclass

from rankstone.errors import DefinitionError, RankstoneWarning
from rankstone.runners.compose.rescored import RescoredByEncoder
from rankstone.runners.protocols import STRICT
from rankstone.runners.representations.ragged import ragged
from rankstone.runners.search.blackbox.anncur import AnnCur, AnnCurIndex
from rankstone.runners.search.blackbox.exhaustive import Exhaustive, ExhaustiveIndex
from rankstone.runners.search.exact.maxsim import MaxSimIndex
from rankstone.runners.search.rescoring import all_similarities, similarities
from rankstone.runners.testing import PlainContext

N, N_TRAIN = 80, 50
TEXTS = [f"d {row}" for row in range(N)]
TRAIN = [f"t {row}" for row in range(N_TRAIN)]
QUERIES = [f"q {row}" for row in range(6)]
CALLS = []
"""Number of documents scored by each call of `LowRank`."""


@strict_dataclass(frozen=True, kw_only=True, config=STRICT)
class LowRank:
    """Scorer whose matrix of scores has a given rank, plus noise."""

    rank: int = 4
    noise: float = 0.0
    requires: ClassVar[dict] = {}

    def describe(self):
        return {"rank": self.rank, "noise": self.noise}

    def score(self, query, documents):
        CALLS.append(len(documents))
        return np.array([self.one(query, document) for document in documents], dtype=np.float32)

    def one(self, query, document):
        rough = drawn(query + document, 1)[0]
        return float(self.factors(query) @ self.factors(document)) + self.noise * rough

    def factors(self, text):
        return drawn(text, self.rank)

    def truncation(self, query, documents):
        return None


@cache
def drawn(text, n):
    return np.random.default_rng(hash_of(text)).standard_normal(n)


def hash_of(text):
    return int.from_bytes(text.encode()[-7:], "big")


def whole(scorer, queries=QUERIES):
    return np.array([[scorer.one(query, text) for text in TEXTS] for query in queries])


@dataclass
class Counting(PlainContext):
    """Context that records the items of phases, and has chunks of several sizes."""

    items: dict = field(default_factory=dict)

    def phase(self, name, items=0):
        self.items[name] = self.items.get(name, 0) + items
        return super().phase(name, items)


def context(tmp_path, **changes):
    settled = {"texts": TEXTS, "train_queries": TRAIN, "work": tmp_path}
    return Counting(**{**settled, **changes})


def built(tmp_path, scorer=None, at=None, **parameters):
    scorer = scorer or LowRank()
    settled = {"anchor_queries": 30, "anchor_documents": 10, "rescore": 10}
    runner = AnnCur(scorer=scorer, **{**settled, **parameters})
    return runner, runner.index(None, at or context(tmp_path))


def approximated(index, scorer, queries=QUERIES):
    """Return (n_queries, N) approximate scores, from the latent vectors."""
    latent = index.latent._rows
    known = np.array([scorer.score(q, [TEXTS[a] for a in index.anchors]) for q in queries])
    return known @ latent.T


@settings(deadline=None, max_examples=12)
@given(st.integers(1, 8), st.integers(0, 5), st.integers(0, 9))
def test_it_is_exact_from_the_rank_on(tmp_path_factory, rank, more, seed):
    scorer, work = LowRank(rank=rank), tmp_path_factory.mktemp("work")
    _, index = built(
        work, scorer, at=context(work, seed=seed), anchor_documents=rank + more, rcond=1e-5
    )
    np.testing.assert_allclose(approximated(index, scorer), whole(scorer), atol=2e-2)
    hits = index.search(QUERIES, 5)
    np.testing.assert_array_equal(hits.docs, np.argsort(-whole(scorer), axis=1)[:, :5])


def test_latent_vectors_are_those_of_numpy_by_the_formula(tmp_path):
    scorer = LowRank(rank=20, noise=0.3)
    _, index = built(tmp_path, scorer, anchor_queries=N_TRAIN, rcond=0.0)
    known = whole(scorer, TRAIN)
    latent = np.linalg.pinv(known[:, index.anchors]) @ known
    np.testing.assert_allclose(index.latent._rows, latent.T, atol=1e-3)


def test_the_error_falls_with_more_anchors(tmp_path):
    scorer = LowRank(rank=12, noise=0.1)
    true = whole(scorer)

    def error(anchors, seed):
        _, index = built(
            tmp_path,
            scorer,
            at=context(tmp_path, seed=seed),
            anchor_queries=N_TRAIN,
            anchor_documents=anchors,
        )
        return np.linalg.norm(approximated(index, scorer) - true) / np.linalg.norm(true)

    means = [np.mean([error(anchors, seed) for seed in range(3)]) for anchors in (2, 5, 10, 20)]
    assert means == sorted(means, reverse=True)
    assert means[0] > 3 * means[-1]


def test_exact_scores_on_top_then_the_order_of_approximate_ones(tmp_path):
    scorer = LowRank(rank=20, noise=0.5)
    _, index = built(tmp_path, scorer)
    hits, true = index.search(QUERIES, N + 3), whole(scorer)
    approximate = approximated(index, scorer)
    for row, (docs, scores) in enumerate(zip(*hits, strict=True)):
        top, rest = docs[:20], docs[20:N]
        assert set(index.anchors) <= set(top.tolist())
        np.testing.assert_allclose(scores[:20], true[row, top], rtol=1e-5)
        others = np.setdiff1d(np.arange(N), index.anchors)
        order = others[np.argsort(-approximate[row, others], kind="stable")]
        assert set(top.tolist()) == {*index.anchors.tolist(), *order[:10].tolist()}
        np.testing.assert_array_equal(rest, order[10:])
        assert (np.diff(scores[:N]) <= 0).all()
        assert (docs[N:] == -1).all()


def test_calls_are_counted_and_no_more_are_made(tmp_path):
    at = context(tmp_path)
    runner, index = built(tmp_path, at=at)
    assert at.items["train"] == 30 * N
    CALLS.clear()
    at.items.clear()
    index.search(runner.encode(QUERIES, "query"), 50)
    assert at.items == {"rerank": len(QUERIES) * 20}
    assert sum(CALLS) == len(QUERIES) * 20


def test_pieces_of_the_corpus_do_not_matter_and_neither_does_reloading(tmp_path):
    _, index = built(tmp_path)
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    loaded = AnnCurIndex.load(tmp_path / "saved")
    for one, other in zip(index.search(QUERIES, 30), loaded.search(QUERIES, 30), strict=True):
        np.testing.assert_array_equal(one, other)
    assert index.nbytes() == loaded.nbytes() == N * 10 * 4 + 2 * 10 * 8


def test_scores_with_anchors_are_encodings_that_can_be_cached(tmp_path):
    asked = []

    class Caching(Counting):
        def encoded(self, runner):
            asked.append((runner.cacheable, runner.describe()))
            return super().encoded(runner)

    built(tmp_path, at=Caching(texts=TEXTS, train_queries=TRAIN, work=tmp_path))
    other = Caching(texts=TEXTS, train_queries=TRAIN[:20], work=tmp_path)
    built(tmp_path, at=other, anchor_queries=20)
    (cacheable, one), (_, two) = asked
    assert cacheable
    assert one["scorer"] == {"rank": 4, "noise": 0.0}
    assert one["scores_with"]["sha256"] != two["scores_with"]["sha256"]


def test_a_small_collection_is_all_anchors_with_a_warning(tmp_path):
    at = context(tmp_path, texts=TEXTS[:7], train_queries=TRAIN[:3])
    with pytest.warns(RankstoneWarning) as told:
        _, index = built(tmp_path, at=at, anchor_documents=10, anchor_queries=30)
    messages = " ".join(str(one.message) for one in told)
    assert "asked for 10, took 7: there are no more documents" in messages
    assert "asked for 30, took 3: there are no more training queries" in messages
    exact = np.argsort(-whole(LowRank())[:, :7], axis=1)
    np.testing.assert_array_equal(index.search(QUERIES, 7).docs, exact)


def test_without_training_queries_documents_are_used_if_configured(tmp_path):
    with pytest.raises(DefinitionError, match=r"parameters.anchor_queries'.*no|this task has none"):
        built(tmp_path, at=context(tmp_path, train_queries=()))
    at = context(tmp_path, train_queries=())
    _, index = built(tmp_path, at=at, queries_from="documents")
    np.testing.assert_array_equal(
        index.search(QUERIES, 3).docs, np.argsort(-whole(LowRank()), axis=1)[:, :3]
    )


@dataclass(frozen=True)
class Tokens:
    """Encoder of texts as token vectors; `empty ...` has none."""

    requires: ClassVar[dict] = {}
    cacheable: ClassVar[bool] = True

    def describe(self):
        return {"tokens": 5}

    def encode(self, texts, role):
        rows = []
        for text in texts:
            rng = np.random.default_rng(hash_of(text))
            size = 0 if text.startswith("empty") else int(rng.integers(1, 6))
            rows.append(rng.standard_normal((size, 5)).astype(np.float32))
        return ragged(rows, 5)

    def index(self, documents, at):
        return MaxSimIndex.build(documents)

    def truncation(self, texts, role):
        return None


def test_maxsim_is_a_black_box_and_what_has_no_tokens_is_not_found(tmp_path):
    texts = ["empty a", *TEXTS, "empty b"]
    at = context(tmp_path, texts=texts, train_queries=[*TRAIN, "empty t"])
    runner = AnnCur(members=(Tokens(),), anchor_queries=51, anchor_documents=30, rescore=N)
    index = runner.index(None, at)
    queries = runner.encode([*QUERIES, "empty q"], "query")
    hits = index.search(queries, len(texts))
    exact = MaxSimIndex.build(at.encoded(Tokens())).search(queries, len(texts))
    np.testing.assert_array_equal(hits.docs, exact.docs)
    np.testing.assert_allclose(hits.scores, exact.scores, rtol=1e-5)
    assert (hits.docs[-1] == -1).all()
    assert not np.isin(hits.docs, [0, len(texts) - 1]).any()


def test_many_similarities_at_once_are_those_one_by_one():
    encoder = Tokens()
    queries = encoder.encode([*QUERIES, "empty q"], "query")
    documents = encoder.encode(["empty a", *TEXTS], "document")
    rows = [similarities(queries[row : row + 1], documents) for row in range(len(queries))]
    np.testing.assert_allclose(all_similarities(queries, documents), rows, rtol=1e-5)
    assert all_similarities(queries, documents[:0]).shape == (7, 0)
    vectors = np.eye(3, dtype=np.float32)
    np.testing.assert_array_equal(all_similarities(vectors, vectors[:2]), np.eye(3)[:, :2])


@pytest.mark.parametrize("box", [{"scorer": LowRank(noise=0.2)}, {"members": (Tokens(),)}])
def test_exhaustive_search_is_brute_force(tmp_path, box):
    at = context(tmp_path)
    runner = Exhaustive(**box)
    index = runner.index(None, at)
    queries = runner.encode(QUERIES, "query")
    hits = index.search(queries, N + 2)
    assert at.items["rerank"] == N * len(QUERIES)
    if "scorer" in box:
        want = np.argsort(-whole(box["scorer"]), axis=1)
    else:
        want = MaxSimIndex.build(at.encoded(Tokens())).search(queries, N).docs
    np.testing.assert_array_equal(hits.docs[:, :N], want)
    (tmp_path / "saved").mkdir()
    index.save(tmp_path / "saved")
    again = ExhaustiveIndex.load(tmp_path / "saved").search(queries, N + 2)
    np.testing.assert_array_equal(again.docs, hits.docs)
    np.testing.assert_array_equal(again.scores, hits.scores)


@pytest.mark.parametrize("box", [{}, {"scorer": LowRank(), "members": (Tokens(),)}])
def test_a_black_box_is_one_or_the_other(box):
    with pytest.raises(DefinitionError, match="State one of both"):
        AnnCur(**box)


def test_a_second_encoder_scores_what_the_first_found(tmp_path):
    @dataclass(frozen=True)
    class Backwards(Tokens):
        """Ranks documents from the last to the first."""

        def encode(self, texts, role):
            return list(texts)

        def index(self, documents, at):
            return Last(len(documents))

    at = context(tmp_path)
    runner = RescoredByEncoder(members=(Backwards(), Tokens()), rescore=10)
    index = runner.index(None, at)
    queries = runner.encode(QUERIES, "query")
    hits = index.search(queries, 15)
    assert at.items["rerank"] == 10 * len(QUERIES)
    exact = MaxSimIndex.build(at.encoded(Tokens())).search(queries.members[1], N)
    for docs, order in zip(hits.docs, exact.docs, strict=True):
        np.testing.assert_array_equal(docs[:10], order[order >= N - 10])
        np.testing.assert_array_equal(docs[10:], np.arange(N - 11, N - 16, -1))


@dataclass
class Last:
    n: int

    def search(self, queries, k):
        from rankstone.runners.protocols import Hits

        docs = np.tile(np.arange(self.n)[::-1][:k], (len(queries), 1))
        return Hits(docs, np.tile(-np.arange(docs.shape[1], dtype=np.float32), (len(queries), 1)))


def test_a_tuned_split_is_the_best_for_queries_that_were_held_out(tmp_path):
    """Compared with a separate method for every split."""
    scorer = LowRank(rank=6, noise=0.3)
    at = context(tmp_path, train_queries=[f"t {row}" for row in range(100)])
    _, index = built(
        tmp_path, scorer, at=at, anchor_queries=100, anchor_documents="tuned", calls=20,
        tuned_for=10,
    )  # fmt: skip
    assert len(index.anchors) + index.rescore == 20
    assert index.notes() == [
        f"the split of calls was tuned: {len(index.anchors)} anchors and {index.rescore} more"
        " documents a query"
    ]
    best = np.argsort(-whole(scorer, QUERIES * 1), axis=1)[:, :10]

    def recall(anchors, seeds=6):
        found = []
        for seed in range(seeds):
            _, other = built(
                tmp_path, scorer, at=context(tmp_path, train_queries=at.train_queries, seed=seed),
                anchor_queries=80, anchor_documents=anchors, rescore=20 - anchors,
            )  # fmt: skip
            docs = other.search(QUERIES, 10).docs
            found += [np.isin(*rows).mean() for rows in zip(best, docs, strict=True)]
        return np.mean(found)

    recalls = {anchors: recall(anchors) for anchors in (1, 4, 8, 12, 18)}
    nearest = min(recalls, key=lambda anchors: abs(anchors - len(index.anchors)))
    assert recalls[nearest] >= max(recalls.values()) - 0.05
    assert min(recalls.values()) < max(recalls.values()) - 0.1, "the split matters here"


def test_without_a_choice_of_splits_one_anchor_is_taken(tmp_path):
    _, index = built(tmp_path, anchor_documents="tuned", calls=2)
    assert (len(index.anchors), index.rescore) == (1, 1)
