"""The contract of runners and indexes, over every definition in runners/."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from rankstone.benchmarks.corpus import text_template
from rankstone.encodings.cache import EncodingCache
from rankstone.encodings.cache_key import encoding_key
from rankstone.errors import MissingExtraError
from rankstone.profiling.clock import Clock
from rankstone.runners.construct import build_runner, load_adapter, untrained
from rankstone.runners.protocols import Truncation
from rankstone.runners.representations.base import concatenate, pack, take
from rankstone.runners.testing import MemoryChunks, Pairs, PlainContext
from rankstone.specs import MethodSpec
from rankstone.workspace import Workspace
from tests.conformance.stand_ins import LAYOUTS, stand_in, within_reach

# What a collection is too small for, or has no training queries for, is warned of.
pytestmark = pytest.mark.filterwarnings("ignore::rankstone.errors.RankstoneWarning")
os.environ["HF_HUB_OFFLINE"] = "1"
WORKSPACE = Workspace.find(Path(__file__).resolve().parents[2])
SUBJECTS = ("fox", "bear", "river", "engine", "violin", "harbour", "glacier", "market", "orchard")
VERBS = ("crosses", "remembers", "repairs", "follows")
TEXTS = [
    *(f"The {one} {VERBS[i % 4]} the {two}." for i, one in enumerate(SUBJECTS[:6])
      for two in SUBJECTS[3:]),
    "", "naïve café 漢字 🙂", "glacier " * 500, "The fox crosses the engine.",
]  # fmt: skip
QUERIES = [
    "which fox crosses an engine",
    "glacier",
    "violin and harbour",
    "",
    "zyzzyva qqq",
    "café",
]

TRAIN_QUERIES = ["does the fox cross the engine", "who remembers a glacier", "repairing violins"]


ROUNDING = 1e-6
"""Relative tolerance: a few units in the last place of float32, as sums in another order differ.
Scores of random weights are large; for genuine ones numpy's own is enough."""


def kind(spec):
    """What definitions share that differ in numbers alone, such as the bytes of a code."""
    told = spec.model_dump(mode="json", exclude={"name", *MethodSpec.DOCUMENTATION})
    for key, value in told["parameters"].items():
        told["parameters"][key] = "number" if type(value) in (int, float) else value
    return json.dumps(told, sort_keys=True)


DEFINED = {name: WORKSPACE.method(name) for name in WORKSPACE.method_names()}
SPECS = {name: spec for name, spec in DEFINED.items() if untrained(spec) == spec}
"""Without methods that a recipe trains first: their adapters have other definitions."""


def sooner(spec, **parameters):
    """`spec`, which encodes candidates for every query, by two layers of six."""
    scorer = spec.scorer.model_copy(update={"members": (SPECS["dense/all-minilm-l6-v2-exit-2"],)})
    changed = {"scorer": scorer, "parameters": {**spec.parameters, **parameters}}
    return spec.model_copy(update=changed)


SPECS["rerank/minilm-bi-exhaustive"] = sooner(SPECS["rerank/minilm-bi-exhaustive"])
SPECS["rerank/bm25-minilm-bi"] = sooner(SPECS["rerank/bm25-minilm-bi"], depth=12)


def as_read(template):
    """The texts as a method with this key `text` reads them: documents without titles."""
    if template is None:
        return list(TEXTS)
    task = WORKSPACE.task("stdlib/modules").model_copy(update={"text": template})
    _, join = text_template(task)
    return [text.strip() for text in join([""] * len(TEXTS), TEXTS)]


REACHED = [name for name, spec in SPECS.items() if within_reach(spec)]
TINY = [name for name in LAYOUTS if name not in REACHED]
FIRST = {kind(SPECS[name]): name for name in reversed([*REACHED, *TINY])}
REPEATED = (
    "compressed/minilm-itq-rescored",
    "compressed/minilm-itq-uncentred",
)
"""Built twice under the marker slow: they take seconds, and train as `compressed/minilm-itq`."""
HEAVY = {
    "late_interaction/minilm-muvera-10240",
    "late_interaction/minilm-muvera-paper",
    "rerank/minilm-bi-exhaustive",
}
"""Under the marker slow altogether: a query takes a minute, as the paper sets it; or every query
scores every document, which test_anncur compares with brute force."""


def unless_slow(names, slow=HEAVY):
    return [pytest.param(n, marks=pytest.mark.slow) if n in slow else n for n in names]


TRAINED = unless_slow(
    [name for name in (*REACHED, *TINY) if name == FIRST[kind(SPECS[name])]], {*REPEATED, *HEAVY}
)


ENCODERS = ("dense", "sparse", "late_interaction", "vdr", "bm25", "tests")
"""Families whose own encoding is under test; what others, and methods with members, index may be
encoded once for all."""
SHARED = {}


class SharedChunks(MemoryChunks):
    """Encoded once for all definitions whose documents have the same key in the cache."""

    def __iter__(self):
        key = encoding_key(self.runner, {"texts": self.texts}, self.chunk_size)
        if key not in SHARED:
            SHARED[key] = list(super().__iter__())
        return iter(SHARED[key])


class SharedContext(PlainContext):
    def encoded(self, runner):
        return SharedChunks(runner, self.texts)


MEMBERS = {}


def member(spec, *where, **find):
    """Build a member once for the definitions that follow each other: loading it takes longest."""
    key = spec.model_dump_json()
    if key not in MEMBERS:
        if len(MEMBERS) == 4:
            del MEMBERS[next(iter(MEMBERS))]
        MEMBERS[key] = build_runner(spec, *where, **find)
    return MEMBERS[key]


@pytest.fixture(scope="module")
def subject(request, tmp_path_factory):
    """(runner, index, queries, context) of one definition."""
    spec = SPECS[request.param]
    if request.param in TINY:
        spec = stand_in(spec, tmp_path_factory.mktemp("weights"))
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("rankstone.runners.construct.build_runner", member)
            runner = build_runner(spec)
    except MissingExtraError as error:
        pytest.skip(str(error))
    alone = request.param.partition("/")[0] in ENCODERS and not spec.members
    context = (PlainContext if alone else SharedContext)(
        texts=as_read(spec.text),
        work=tmp_path_factory.mktemp("work"),
        train_queries=TRAIN_QUERIES,
        train_judgements=Pairs(query=np.arange(3), document=np.array([0, 7, 11])),
    )
    index = runner.index(context.encoded(runner), context)
    return runner, index, runner.encode(QUERIES, "query"), context


ALIKE = {name for name in (*REACHED, *TINY) if name != FIRST[kind(SPECS[name])]}
"""They differ from another in numbers alone: their hits have the shape of the contract; further
tests are under the marker slow."""
each = pytest.mark.parametrize(
    "subject", unless_slow([*REACHED, *TINY]), indirect=True, scope="module"
)
every = pytest.mark.parametrize(
    "subject", unless_slow([*REACHED, *TINY], HEAVY | ALIKE), indirect=True, scope="module"
)
TAUGHT = [n for n in REACHED if not any(model.random for model in SPECS[n].models.values())]
genuine = pytest.mark.parametrize("subject", unless_slow(TAUGHT), indirect=True, scope="module")
KEPT = [n for n in (*REACHED, *TINY) if load_adapter(SPECS[n], n).cacheable is not False]
cacheable = pytest.mark.parametrize(
    "subject", unless_slow(KEPT, HEAVY | ALIKE), indirect=True, scope="module"
)
first_of_a_kind = pytest.mark.parametrize("subject", TRAINED, indirect=True, scope="module")
"""Of definitions that differ in numbers alone the first: training can take seconds."""


def test_what_is_out_of_reach_has_a_stand_in_of_its_adapter():
    def adapters(spec):
        return spec.adapter, spec.scorer and spec.scorer.adapter

    replaced = {adapters(SPECS[name]) for name in (*LAYOUTS, *REACHED)}
    missing = [
        n for n, spec in SPECS.items() if n not in REACHED and adapters(spec) not in replaced
    ]
    by_address = {n for n in missing if SPECS[n].parameters.get("url_env")}  # doubles test them
    assert set(missing) - by_address <= {"adaptive/nomic-funnel"}  # tested over other members


def test_what_differs_in_numbers_alone_is_known():
    assert {"ann/minilm-ivf-1-probe", "compressed/minilm-opq96"} <= ALIKE
    assert not {"ann/minilm-hnsw", "compressed/minilm-itq-uncentred"} & ALIKE


@pytest.mark.parametrize("k", [1, 10, len(TEXTS), len(TEXTS) + 7])
@each
def test_hits_have_the_shape_and_order_of_the_contract(subject, k):
    _, index, queries, _ = subject
    docs, scores = index.search(queries, k)
    assert (docs.dtype, scores.dtype) == (np.int64, np.float32)
    assert docs.shape == scores.shape == (len(QUERIES), k)
    pads = docs < 0
    assert docs.max() < len(TEXTS)
    assert (docs[pads] == -1).all()
    assert (np.isneginf(scores) == pads).all()
    assert not np.isnan(scores).any()
    assert (np.diff(pads.astype(int), axis=1) >= 0).all(), "pads stand at the end"
    assert (scores[:, :-1] >= scores[:, 1:]).all()
    for row in docs:
        found = row[row >= 0]
        assert len(set(found.tolist())) == len(found)


@genuine
def test_it_finds_what_it_should(subject):
    _, index, queries, _ = subject
    docs, _ = index.search(queries, 5)
    assert any("glacier" in TEXTS[doc] for doc in docs[1] if doc >= 0)


@first_of_a_kind
def test_two_searches_and_two_builds_are_equal(subject):
    runner, index, queries, context = subject
    first = index.search(queries, 10)
    again = runner.index(context.encoded(runner), context)
    for other in (index.search(queries, 10), again.search(runner.encode(QUERIES, "query"), 10)):
        np.testing.assert_array_equal(first.docs, other.docs)
        np.testing.assert_array_equal(first.scores, other.scores)


@every
def test_one_query_ranks_as_in_the_batch(subject, request):
    rounding = ROUNDING if request.node.callspec.params["subject"] in TINY else 1e-7
    _, index, queries, _ = subject
    batch = index.search(queries, 10)
    for row in range(len(QUERIES)):
        single = index.search(queries[row : row + 1], 10)
        np.testing.assert_allclose(single.scores[0], batch.scores[row], atol=1e-5, rtol=rounding)


def tolerance(runner):
    """How far scores may move with what is encoded together: the last bits of the precision.

    The last bits of float32 can turn the rounding of a vector that is stored in half precision.
    """
    described = runner.describe()
    if described.get("precision", "fp32") != "fp32":
        return 1e-2
    return float(np.finfo(np.float16).eps) if described.get("storage") == "float16" else 1e-5


@every
def test_representations_can_be_sliced_taken_and_joined(subject):
    runner, index, queries, _ = subject
    assert len(queries) == len(QUERIES)
    halves = concatenate([queries[:2], queries[2:]])
    turned = take(queries, np.arange(len(QUERIES))[::-1])
    expected = index.search(queries, 5).docs
    np.testing.assert_array_equal(index.search(halves, 5).docs, expected)
    np.testing.assert_array_equal(index.search(turned, 5).docs[::-1], expected)
    assert len(runner.encode([], "query")) == 0
    assert index.search(runner.encode([], "query"), 3).docs.shape == (0, 3)


@every
def test_a_saved_index_gives_the_same_results(subject, tmp_path):
    _, index, queries, _ = subject
    index.save(tmp_path)
    loaded = type(index).load(tmp_path)
    for one, other in zip(index.search(queries, 10), loaded.search(queries, 10), strict=True):
        np.testing.assert_array_equal(one, other)
    assert index.nbytes() > 0
    assert loaded.nbytes() > 0


@first_of_a_kind
def test_chunk_boundaries_do_not_change_a_ranking(subject):
    runner, index, queries, context = subject
    other = runner.index(type(context.encoded(runner))(runner, context.texts, 7), context)
    np.testing.assert_allclose(
        other.search(queries, 5).scores,
        index.search(queries, 5).scores,
        atol=tolerance(runner),
        rtol=1e-5,
    )


@every
def test_the_description_is_json_and_stable(subject):
    runner = subject[0]
    described = json.dumps(runner.describe(), sort_keys=True)
    assert described == json.dumps(runner.describe(), sort_keys=True)
    assert len(described) > 20


@every
def test_truncation_adds_up(subject):
    runner = subject[0]
    whole = runner.truncation(TEXTS, "document")
    parts = [runner.truncation(part, "document") for part in (TEXTS[:9], TEXTS[9:])]
    assert whole == (None if whole is None else parts[0].plus(parts[1]))
    assert runner.truncation([], "query") in (None, Truncation())


@every
def test_inputs_are_left_alone(subject):
    runner, index, _, _ = subject
    texts = list(QUERIES)
    queries = runner.encode(texts, "query")
    before = repr(queries)
    index.search(queries, 3)
    assert texts == QUERIES
    assert repr(queries) == before
    runner.encode(tuple(texts), "query")


@cacheable
def test_the_cache_keeps_its_encodings_bit_for_bit(subject, tmp_path):
    runner, _, _, _ = subject
    assert runner.cacheable
    texts = TEXTS[:12]

    class Corpus:
        def __len__(self):
            return len(texts)

        def texts(self, start, stop):
            return texts[start:stop]

    def run():
        cache = EncodingCache(
            folder=tmp_path, corpus=Corpus(), key_material={}, clock=Clock(), shard_size=5
        )
        return concatenate(list(cache.chunks(runner))), cache.keys_hit

    (fresh, missed), (cached, hit) = run(), run()
    mine, kept = pack(fresh), pack(cached)
    assert (mine.kind, mine.arrays.keys()) == (kept.kind, kept.arrays.keys())
    for name, array in mine.arrays.items():
        np.testing.assert_array_equal(array, kept.arrays[name])
    assert (missed, len(hit)) == ([], 1)
