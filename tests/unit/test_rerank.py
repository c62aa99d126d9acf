"""Two stages: re-scored documents, those below, and saved indexes."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from rankstone.errors import AdapterError, DefinitionError, MissingExtraError, ModelError
from rankstone.execution.cell_key import model_files
from rankstone.execution.context import CellContext
from rankstone.profiling.clock import Clock
from rankstone.runners.adapter_json import from_json, to_json
from rankstone.runners.compose.two_stage import TwoStage
from rankstone.runners.construct import build_runner, code_digest
from rankstone.runners.encoders.bm25 import BM25
from rankstone.runners.method_files import load_method
from rankstone.runners.protocols import Hits, Truncation
from rankstone.runners.representations.pieces import SavedTexts
from rankstone.runners.search.blackbox.black_box import ScoredTexts
from rankstone.runners.search.rescoring import FirstMemberIndex, RescoredIndex
from rankstone.runners.testing import PlainContext
from rankstone.runners.top_k import beneath
from rankstone.specs import MethodSpec
from tests import tiny_rerankers as tiny
from tests.tiny_rerankers import SharedLetters

TEXTS = [f"{a} {b} {c}" for a in ("fox", "fox fox", "bear") for b in ("river", "engine", "naïve 🙂")
         for c in ("", "violin", "zz")]  # fmt: skip
QUERIES = ["fox river", "violin", "", "qqq", "bear engine zz"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Broken(SharedLetters):
    """Scorer of invalid scores."""

    value: float = np.nan
    extra: int = 0

    def score(self, query, documents):
        return np.full(len(documents) + self.extra, self.value, dtype=np.float32)


def built(tmp_path, **changes):
    runner = TwoStage(**{"members": (BM25(),), "scorer": SharedLetters(), "depth": 4, **changes})
    context = PlainContext(texts=TEXTS, work=tmp_path)
    return runner, runner.index(None, context), context


def found(docs):
    return [int(doc) for doc in docs if doc >= 0]


@pytest.mark.parametrize("depth", [1, 4, 10, 100])
@pytest.mark.parametrize("k", [1, 3, 4, 9, 40])
def test_the_top_is_rescored_and_the_rest_keeps_its_order(tmp_path, depth, k):
    runner, index, _ = built(tmp_path, depth=depth)
    hits = index.search(runner.encode(QUERIES, "query"), k)
    first = BM25().index(index.context.encoded(BM25()), index.context)
    before = first.search(BM25().encode(QUERIES, "query"), max(k, depth))
    assert hits.docs.shape == hits.scores.shape == (len(QUERIES), k)
    for query, docs, scores, base in zip(QUERIES, *hits, before.docs, strict=True):
        top, rest = found(base)[:depth], found(base)[depth:]
        given_ = runner.scorer.score(query, [TEXTS[doc] for doc in top])
        order = sorted(range(len(top)), key=lambda place: (-given_[place], place))
        assert found(docs) == ([top[place] for place in order] + rest)[:k]
        np.testing.assert_array_equal(scores[: len(top)], np.sort(given_)[::-1][:k])
        kept = scores[: len(found(docs))]
        assert np.isfinite(kept).all()
        assert (np.diff(kept) <= 0).all()
        assert len(top) >= len(kept) or kept[len(top)] < kept[len(top) - 1]


descending = arrays.arrays(np.float32, st.integers(0, 50), elements=st.floats(-100, 100, width=32))


@given(descending, st.floats(-(2.0**99), 2.0**99, width=32))
def test_lower_scores_decrease_with_the_first_stage(scores, floor):
    scores = np.sort(scores)[::-1]
    placed = beneath(np.float32(floor), scores)
    assert placed.dtype == np.float32
    assert np.isfinite(placed).all()
    assert (placed < np.float32(floor)).all()
    np.testing.assert_array_equal(np.diff(placed) < 0, np.diff(scores) < 0)


def test_a_thousand_ranks_stay_distinct_below_any_score():
    scores = np.arange(1000, 0, -1, dtype=np.float32)
    for floor in (0.1, -11.3, 1e-6, 2.0**24, -3e7, 1e29):
        assert (np.diff(beneath(np.float32(floor), scores)) < 0).all()


def test_no_query_and_no_candidate_are_no_trouble(tmp_path):
    runner, index, _ = built(tmp_path)
    assert index.search(runner.encode([], "query"), 3).docs.shape == (0, 3)
    assert not found(index.search(runner.encode(["qqq"], "query"), 3).docs[0])


@pytest.mark.parametrize(
    "scorer", [Broken(), Broken(value=np.inf), Broken(value=2e30), Broken(value=0.0, extra=1)]
)
def test_scores_that_cannot_be_ranked_are_refused(tmp_path, scorer):
    runner, index, _ = built(tmp_path, scorer=scorer)
    with pytest.raises(AdapterError, match="Broken gave scores of shape"):
        index.search(runner.encode(QUERIES, "query"), 3)


def test_the_rescoring_is_charged_apart(tmp_path):
    clock = Clock()
    shown = []
    context = CellContext(
        progress=lambda *step: shown.append(step), texts=TEXTS, ids=(),
        queries_of_training=(), judgements_of_training=None, seed=0, threads=1, device="cpu",
        work=tmp_path,
        clock=clock,
        cache=SimpleNamespace(chunks=PlainContext(texts=TEXTS, work=tmp_path).encoded),
    )  # fmt: skip
    runner = TwoStage(members=(BM25(),), scorer=SharedLetters(limit=20), depth=4)
    with clock.phase("index"):
        index = runner.index(None, context)
    with clock.phase("search", items=len(QUERIES)):
        hits = index.search(runner.encode(QUERIES, "query"), 10)
    pairs = [len(found(docs)[:4]) for docs in hits.docs]
    phases = clock.phases()
    assert phases["rerank"].items == sum(pairs) > 0
    assert phases["search"].items == len(QUERIES)
    assert (phases["rerank"].tokens, phases["search"].tokens) == (2 * sum(pairs), None)
    assert shown[-1] == ("rerank", sum(pairs), sum(pairs))
    assert (context.pairs.texts, context.pairs.texts_cut > 0) == (sum(pairs), True)
    counted = context.pairs
    with clock.pause():
        index.search(runner.encode(QUERIES, "query"), 10)
    assert context.pairs == counted, "the latency sample is not counted again"
    assert clock.phases()["rerank"].items == sum(pairs)


def test_a_scorer_without_a_limit_counts_nothing(tmp_path):
    context = SimpleNamespace(clock=Clock(), pairs=None)
    CellContext.count_pairs(context, lambda: None)
    assert context.pairs is None
    CellContext.count_pairs(context, lambda: Truncation(2, 1, 9, 3))
    CellContext.count_pairs(context, lambda: Truncation(1, 1, 1, 1))
    assert context.pairs == (3, 2, 10, 4)


def test_a_loaded_index_constructs_its_scorer_again(tmp_path):
    pytest.importorskip("torch")
    from rankstone.runners.scorers.cross_encoder import CrossEncoderScorer

    model = tiny.write_cross_encoder(tmp_path / "model")
    scorer = CrossEncoderScorer(model=model, max_length=40, device="cpu")
    runner, index, _ = built(tmp_path, scorer=scorer)
    folder = tmp_path / "index"
    folder.mkdir()
    index.save(folder)
    loaded = RescoredIndex.load(folder)
    assert loaded.scored.scorer == scorer
    queries = runner.encode(QUERIES, "query")
    for one, other in zip(index.search(queries, 9), loaded.search(queries, 9), strict=True):
        np.testing.assert_array_equal(one, other)
    (model.folder / "vocab.txt").write_text("[PAD]\n")
    with pytest.raises(ModelError, match=r"vocab.txt: expected sha256"):
        RescoredIndex.load(folder)


def test_adapters_are_the_same_after_json(tmp_path):
    from rankstone.runners.scorers.bi_encoder import BiEncoderScorer

    scorer = BiEncoderScorer(members=(BM25(k1=1.5),), similarity="dot")
    assert from_json(json.loads(json.dumps(to_json(scorer)))) == scorer
    with pytest.raises(AdapterError, match=r"SimpleNamespace cannot be saved.*dataclass"):
        to_json(SimpleNamespace())


@given(st.lists(st.text() | st.just("\ud800")))
def test_saved_texts_are_the_texts(tmp_path_factory, texts):
    folder = tmp_path_factory.mktemp("texts")
    SavedTexts.write(folder, texts)
    saved = SavedTexts(folder)
    assert list(saved) == texts
    assert saved[1:3] == texts[1:3]
    assert not texts or saved[-1] == texts[-1]


# Definitions.

TOML = """
description = "d"
adapter = "two_stage"
members = ["first"]
[parameters]
depth = 7
[scorer]
adapter = "tests.tiny_rerankers:SharedLetters"
parameters = { weight = 2.0 }
"""


@pytest.fixture
def define(tmp_path):
    def write(text, name="two"):
        for stem, body in (
            ("first", 'description = ""\nadapter = "bm25"\n'),
            (name, text),
        ):
            path = tmp_path / "fam" / f"{stem}.toml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(body)
        return load_method(f"fam/{name}", tmp_path)

    return write


def test_a_scorer_is_built_from_its_table(define):
    runner = build_runner(define(TOML))
    assert runner == TwoStage(members=(BM25(),), scorer=SharedLetters(weight=2.0), depth=7)
    assert runner.describe()["scorer"] == {"scorer": "shared letters", "weight": 2.0}


def test_the_digest_covers_the_scorer_and_survives_json(define):
    spec = define(TOML)
    assert MethodSpec.model_validate_json(spec.model_dump_json()) == spec
    assert define(TOML.replace("2.0", "3.0")).digest() != spec.digest()
    assert "scorer" not in MethodSpec(name="a/b", description="", adapter="m:C")._digested()


def test_the_scorers_members_model_and_code_count(define, tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.safetensors").write_bytes(b"w")
    more = f'members = ["first"]\nmodel = {{ id = "m", path = "{tmp_path / "weights"}" }}\n'
    spec = define(TOML + more)
    assert [member.name for member in spec.scorer.members] == ["fam/first"]
    assert set(code_digest(spec)) == {"fam/two", "fam/two: scorer", "fam/first"}
    assert set(model_files(spec)) == {"fam/two: scorer"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("weight", "wait"), r"table 'scorer': .*unknown key|unexpected keyword"),
        (("[scorer]", "[scores]"), r"unknown key 'scores'. Did you mean: scorer\?"),
        (("SharedLetters", "SharedLetter"), r"table 'scorer': .*Did you mean: SharedLetters"),
        (("tests.tiny_rerankers:SharedLetters", "bm25"), "table 'scorer'"),
        (("parameters = {", "parameter = {"), r"unknown key 'scorer.parameter'. Did you mean"),
        (("parameters = { weight = 2.0 }", 'members = ["nobody"]'), "key 'scorer.members'"),
        (("parameters = { weight = 2.0 }", 'members = ["two"]'), "contains itself"),
        (('members = ["first"]', ""), "key 'members': .*Add it"),
        (('members = ["first"]', 'members = ["first", "first"]'), "key 'members'"),
        (("[scorer]", "[parameters.scorer]"), r"'parameters.scorer': not a parameter"),
    ],
)
def test_faults_of_a_scorer_name_the_key(define, change, message):
    with pytest.raises(DefinitionError, match=message):
        build_runner(define(TOML.replace(*change)))


def test_a_method_needs_its_scorer_and_others_take_none(define):
    with pytest.raises(
        DefinitionError, match=r"key 'scorer': .*needs a valid \[scorer\] table.*Add it"
    ):
        build_runner(define(TOML.partition("[scorer]")[0]))
    with pytest.raises(DefinitionError, match="key 'scorer': this adapter has no such key"):
        build_runner(define(TOML.replace("two_stage", "reciprocal_rank_fusion")
                            .replace("depth", "k")))  # fmt: skip


def test_what_does_not_score_is_refused():
    with pytest.raises(DefinitionError, match="BM25 does not score pairs"):
        TwoStage(members=(BM25(),), scorer=BM25())


def test_a_scorers_missing_extra_is_named(define, monkeypatch):
    monkeypatch.setattr(SharedLetters, "requires", {"no_such_library": "dense"})
    with pytest.raises(MissingExtraError, match=r"'fam/two'.*rankstone\[dense\]"):
        build_runner(define(TOML))


def test_a_first_stage_that_finds_less_than_the_depth(tmp_path):
    class Few:
        def search(self, queries, k):
            docs = np.full((1, k), -1, dtype=np.int64)
            docs[0, :2] = 5, 3
            return Hits(docs, np.where(docs >= 0, 1, -np.inf).astype(np.float32))

    index = RescoredIndex(FirstMemberIndex(Few()), ScoredTexts(SharedLetters(), TEXTS), depth=5)
    runner, _, _ = built(tmp_path)
    hits = index.search(runner.encode(["fox"], "query"), 4)
    assert sorted(found(hits.docs[0])) == [3, 5]
    assert np.isneginf(hits.scores[0, 2:]).all()
