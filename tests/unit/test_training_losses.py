"""Losses, negatives and samplers against other libraries, closed forms and brute force."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("accelerate", reason="needs the extra 'train'")

import torch
from scipy.optimize import brentq
from scipy.special import expit, log_softmax, rel_entr, softmax

from rankstone.errors import DataError, DefinitionError
from rankstone.runners.construct import build_part
from rankstone.specs import MethodSpec, Recipe
from rankstone.training.columns import pairs
from rankstone.training.data import Examples, training_data
from rankstone.training.losses.by_name import LOSSES, form_of
from rankstone.training.negatives import BM25, as_pooled, with_negatives
from rankstone.training.parts import PREPARATION
from rankstone.training.samplers import BINS, topic_batches
from rankstone.training.teachers import teacher_scores
from tests.training_collection import (
    DENSE,
    Texts,
    method,
    opened,
    recipe_run,
    sources,
    write_with_models,
)

LENGTHS = {"query_length": 12, "document_length": 16}
PARAMETERS: dict[str, dict[str, Any]] = {
    "dense": DENSE, "uni_encoder": LENGTHS, "poly_encoder": {**LENGTHS, "engine": "torch"},
}  # fmt: skip
BASE = {"data": ["own"], "repeated_queries": "drop", "steps": 2, "batch": 3, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, module_cache: None) -> Path:
    return write_with_models(tmp_path_factory.mktemp("losses"))


def spec(root: Path, adapter: str, **recipe: Any) -> MethodSpec:
    kind = "sparse" if adapter == "sparse" else "dense"
    part: dict[str, Any] = {
        "model": {"id": kind, "path": str(root / kind)},
        "training": {**BASE, **recipe},
        "parameters": PARAMETERS.get(adapter, {"engine": "torch"}),
    }
    if adapter in ("jpq", "repconc"):
        member = teacher_of(root)
        own = {"members": [member.name], "parameters": {"subvectors": 4}}
        return method(root, adapter, {"adapter": adapter, **own, "training": part["training"]})
    if adapter == "generative":
        part["training"]["start"], part["parameters"] = "random", {"docids": "atomic"}
    if not adapter.endswith("_encoder"):
        return method(root, adapter, {"adapter": adapter, **part})
    method(root, "first", {"adapter": "bm25"})
    body = {"adapter": "two_stage", "members": ["toy/first"], "parameters": {"depth": 5}}
    return method(root, adapter, {**body, "scorer": {"adapter": adapter, **part}})


def teacher_of(root: Path) -> MethodSpec:
    model = {"id": "t", "path": str(root / "dense")}
    return method(root, "teacher", {"adapter": "dense", "parameters": DENSE, "model": model})


INNER = {"loss": "multiple_negatives_ranking"}
OPTIONS: dict[tuple[str, str], dict[str, Any]] = {
    ("dense", "adaptive_layer"): INNER,
    ("dense", "matryoshka"): {**INNER, "matryoshka_dims": [32, 8]},
    ("dense", "matryoshka_2d"): {**INNER, "matryoshka_dims": [32, 8]},
    ("dense", "nested_widths"): {**INNER, "widths": [0.25, 1.0]},
    ("dense", "weighted_exits"): {**INNER, "exits": [1], "distillation": 1.0},
    ("sparse", "splade"): {**INNER, "document_regularizer_weight": 0.1,
                           "query_regularizer_weight": 0.1},
    ("sparse", "idf_splade"): {"loss": {"name": "margin_mse"}, "document_regularizer_weight": 0.1,
                               "query_regularizer_weight": 0.1},
}  # fmt: skip


EVERY = [
    (adapter, name)
    for adapter, names in LOSSES.items()
    for name, loss in names.items()
    if adapter != "sparse" or loss.form is None
]
QUICK = [("dense", "matryoshka"), ("sparse", "idf_splade"), ("cross_encoder", "coupled_estimation")]


@pytest.mark.filterwarnings("ignore:parameter 'bits'")
@pytest.mark.parametrize(
    ("adapter", "name"),
    [pytest.param(*one, marks=[] if one in QUICK else pytest.mark.slow) for one in EVERY],
)
def test_every_loss_trains(root: Path, adapter: str, name: str) -> None:
    teacher = teacher_of(root)
    options = OPTIONS.get((adapter, name), {})
    more = {"negatives": "random", "per_pair": 2, "teacher": teacher.name}
    if name == "dual_teacher":
        more["in_batch_teacher"] = teacher.name
    trained = spec(root, adapter, loss=name, options=options, **more)
    seen: dict[str, int] = {}
    run = recipe_run(
        root, trained, to=f"{adapter}-{name}",
        progress=lambda work, done, total: seen.update({work: done}),
    )  # fmt: skip
    run.trained()
    assert seen["train"] == 2
    if form_of(adapter, name, options) in ("scores", "taught"):
        assert seen[PREPARATION] > 2, "the teacher's encoding is reported"
    (section,) = run.sections.values()
    assert section.loss_name == name
    assert [step for step, _ in section.loss] == [1, 2]
    assert all(np.isfinite(value) for _, value in section.loss)


ALONE = [("cross_encoder", "binary_cross_entropy"), ("cross_encoder", "coupled_estimation"),
         ("cross_encoder", "lambda_rank"), ("cross_encoder", "list_softmax"),
         ("dense", "margin_mse"), ("uni_encoder", "packed_candidates")]  # fmt: skip


@pytest.mark.parametrize(("adapter", "name"), ALONE)
def test_a_loss_that_would_compare_a_document_with_nothing_is_refused(
    root: Path, adapter: str, name: str
) -> None:
    trained = spec(root, adapter, loss=name, teacher=teacher_of(root).name)
    with pytest.raises(DefinitionError, match="compares documents"):
        recipe_run(root, trained, to=f"alone-{name}").trained()


def test_a_trained_reranker_and_sparse_encoder_are_used(root: Path) -> None:
    from rankstone.runners.construct import build_runner

    rerank = spec(root, "cross_encoder", loss="list_net", negatives="bm25", per_pair=2)
    runner: Any = build_runner(recipe_run(root, rerank).trained())
    assert np.isfinite(runner.scorer.score("where is the fox", ["a fox", "a bear"])).all()
    sparse: Any = build_runner(recipe_run(root, spec(
        root, "sparse", loss="splade", options=OPTIONS["sparse", "splade"])).trained())  # fmt: skip
    assert len(sparse.encode(["where is the fox"], "query")) == 1


scores = arrays(np.float64, (4, 7), elements=st.floats(-8, 8))
relevance = arrays(np.bool_, (4, 7)).filter(lambda found: found.any(1).all())


@given(scores, relevance)
def test_decoupled_softmax_by_its_definition(found: Any, right: Any) -> None:
    from rankstone.training.losses.multi_label import decoupled_softmax

    rows = []
    for s, r in zip(found, right, strict=True):
        rest = np.exp(s[~r]).sum()
        rows.append(np.mean([-np.log(np.exp(s[j]) / (np.exp(s[j]) + rest)) for j in np.nonzero(r)]))
    loss = decoupled_softmax(torch.from_numpy(found), torch.from_numpy(right))
    assert float(loss) == pytest.approx(np.mean(rows), abs=1e-9)
    single = np.eye(4, 7, dtype=bool)
    alone = decoupled_softmax(torch.from_numpy(found), torch.from_numpy(single))
    expected = torch.nn.functional.cross_entropy(torch.from_numpy(found), torch.arange(4))
    assert float(alone) == pytest.approx(float(expected))


@settings(max_examples=8)
@given(scores, relevance, st.integers(1, 6), st.floats(0.5, 3))
def test_soft_top_k_by_a_root_finder_and_finite_differences(
    found: Any, right: Any, k: int, alpha: float
) -> None:
    from rankstone.training.losses.multi_label import soft_top_k, soft_top_k_loss

    weights = soft_top_k(torch.from_numpy(found), k, alpha)
    for s, w in zip(found, weights.numpy(), strict=True):
        t = brentq(lambda t, s=s: expit(alpha * (s + t)).sum() - k, -200, 200, xtol=1e-13)
        np.testing.assert_allclose(w, expit(alpha * (s + t)), atol=1e-7)
    mild = torch.from_numpy(found / 8).requires_grad_()
    mask = torch.from_numpy(right)
    assert torch.autograd.gradcheck(lambda x: soft_top_k(x, k, alpha), mild, eps=1e-5, atol=1e-4)
    expected = np.mean([
        -np.log(w[r]).mean()
        for w, r in zip(soft_top_k(mild, k, alpha).detach().numpy(), right, strict=True)
    ])  # fmt: skip
    assert float(soft_top_k_loss(mild.detach(), mask, k, alpha)) == pytest.approx(
        expected, rel=1e-6
    )


def test_in_batch_losses_count_a_repeated_document_once_and_know_all_relevant() -> None:
    from rankstone.training.losses.multi_label import DecoupledSoftmax, decoupled_softmax

    vectors = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.tensor([[0, 10, 11], [1, 12, 10], [0, 13, 14], [2, 10, 12]])
    vectors[1, 3], vectors[2, 1], vectors[2, 3] = vectors[1, 0], vectors[1, 0], vectors[1, 1]
    vectors[0, 2] = vectors[0, 0]
    relevant = [np.array([10, 13]), np.array([12, 14]), np.array([10])]
    loss = DecoupledSoftmax(lambda part: {"sentence_embedding": part}, relevant, "dot", 0.5)
    columns = {10: vectors[1, 0], 11: vectors[2, 0], 12: vectors[1, 1], 13: vectors[1, 2],
               14: vectors[2, 2]}  # fmt: skip
    rows = [vectors[0, 0], vectors[0, 1], vectors[0, 3]]
    matrix = torch.stack(rows) @ torch.stack(list(columns.values())).T / 0.5
    right = torch.tensor([[d in found for d in columns] for found in relevant])
    assert float(loss(list(vectors), labels)) == pytest.approx(
        float(decoupled_softmax(matrix, right))
    )


def test_idf_flops_is_flops_of_weights_over_idf(root: Path) -> None:
    from sentence_transformers.sparse_encoder.losses import FlopsLoss

    from rankstone.training.losses.idf_flops import IdfFlops, idf_of

    weights = np.random.default_rng(0).random((5, 9))
    idf = np.linspace(0.5, 3, 9)
    found = IdfFlops(None, torch.from_numpy(idf)).compute_loss_from_embeddings(
        torch.from_numpy(weights)
    )
    assert float(found) == pytest.approx(
        sum((weights[:, j].mean() / max(idf[j], 1)) ** 2 for j in range(9))
    )
    same = IdfFlops(None, torch.full((9,), 2.5e-5)).compute_loss_from_embeddings(
        torch.from_numpy(weights)
    )
    plain = FlopsLoss(None).compute_loss_from_embeddings(torch.from_numpy(weights))
    assert float(same) == pytest.approx(float(plain))

    class Model:
        def tokenizer(self, texts: list[str], truncation: bool) -> dict[str, list[list[int]]]:
            return {"input_ids": [[int(word) for word in text.split()] for text in texts]}

        def __getitem__(self, number: int) -> Any:
            words = SimpleNamespace(weight=torch.empty(4, 2))
            return SimpleNamespace(auto_model=SimpleNamespace(get_output_embeddings=lambda: words))

    counted = idf_of(Model(), ["0 1 1", "0 2", "0", "1"], block=3)
    expected = [np.log(1 + (4 - n + 0.5) / (n + 0.5)) for n in (3, 2, 1, 0)]
    np.testing.assert_allclose(counted, expected, rtol=1e-6)


@given(scores, scores)
def test_coupled_estimation_by_its_definition(f: Any, g: Any) -> None:
    from rankstone.training.losses.coupled import coupled_loss

    of_f, of_g = (np.exp(log_softmax(s, axis=1)[:, 0]) for s in (f, g))
    weight = {name: np.minimum((1 / p) / (1 / p).mean(), 10) for name, p in
              (("f", of_f), ("g", of_g))}  # fmt: skip
    expected = -(weight["g"] * np.log(of_f)).mean() - (weight["f"] * np.log(of_g)).mean()
    assert float(coupled_loss(torch.from_numpy(f), torch.from_numpy(g), 10)) == pytest.approx(
        expected
    )
    even = torch.zeros(4, 7, dtype=torch.float64)
    plain = torch.nn.functional.cross_entropy(torch.from_numpy(f), torch.zeros(4, dtype=torch.long))
    assert float(coupled_loss(torch.from_numpy(f), even, 10)) == pytest.approx(
        float(plain) + np.log(7)
        * np.minimum((1 / of_f) / (1 / of_f).mean(), 10).mean()
    )  # fmt: skip


@pytest.fixture(scope="module")
def encoder(root: Path) -> Any:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    module = Transformer(str(root / "dense"))
    return SentenceTransformer(modules=[module, Pooling(32)], device="cpu").eval()


def features(model: Any, *columns: list[str]) -> list[dict[str, Any]]:
    return [model.preprocess(column) for column in columns]


def test_weighted_exits_are_losses_of_truncated_networks(encoder: Any) -> None:
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    from rankstone.training.losses.nested import WeightedExits

    texts = ["the fox", "an owl"], ["a river fox", "owl harbour"]
    whole = MultipleNegativesRankingLoss(encoder)
    short = copy.deepcopy(encoder)
    del short[0].auto_model.encoder.layer[1:]
    early = MultipleNegativesRankingLoss(short)(features(short, *texts), None)
    late = whole(features(encoder, *texts), None)
    found = WeightedExits(encoder, whole, [1], "cosine")(features(encoder, *texts), None)
    assert found.item() == pytest.approx(0.5 * early.item() + late.item(), rel=1e-5)
    with pytest.raises(ValueError, match="2 layers"):
        WeightedExits(encoder, whole, [3], "cosine")
    shares = []
    for network in (encoder, short):
        queries, documents = (network.encode(t, normalize_embeddings=True) for t in texts)
        shares.append(softmax(queries @ documents.T / 0.05, axis=1))
    divergence = rel_entr(*shares).sum(1).mean()
    taught = WeightedExits(encoder, whole, [1], "cosine", distillation=3.0)
    assert taught(features(encoder, *texts), None).item() == pytest.approx(
        found.item() + 0.5 * 3 * divergence, rel=1e-4
    )


def test_a_narrowed_network_is_one_with_the_first_hidden_units(encoder: Any) -> None:
    from rankstone.training.losses.nested import narrowed

    texts = ["the fox crosses", "an owl"]
    sliced = copy.deepcopy(encoder)
    for layer in sliced[0].auto_model.encoder.layer:
        for linear, rows in ((layer.intermediate.dense, True), (layer.output.dense, False)):
            linear.weight.data = linear.weight[:16] if rows else linear.weight[:, :16]
            linear.bias.data = linear.bias[:16] if rows else linear.bias
    with torch.no_grad(), narrowed(encoder, 0.25):
        found = encoder(features(encoder, texts)[0])["sentence_embedding"]
    with torch.no_grad():
        expected = sliced(features(sliced, texts)[0])["sentence_embedding"]
        whole = encoder(features(encoder, texts)[0])["sentence_embedding"]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(whole, expected, atol=1e-3)


def recipe(root: Path, **more: Any) -> Recipe:
    found = spec(root, "dense", loss="multiple_negatives_ranking", **more).training
    assert found is not None
    return found


def test_negatives_by_chance_are_no_copies_and_never_relevant() -> None:
    rows = np.zeros(1, dtype=np.int64)
    asked = Recipe.model_construct(negatives="random", per_pair=2, depth=4, seed=0)

    def drawn(*documents: str) -> list[int]:
        given: Any = Texts(documents)
        judged = Examples(["q"], [rows], given, rows)
        found: list[int] = with_negatives(asked, judged, rows, rows, build_part(BM25, "a", "b"))[
            0
        ].tolist()
        return found

    assert sorted(drawn("same", "same", "other", "more")) == [0, 2, 3]
    assert drawn("same", "other") == [0, 1, 1]
    with pytest.raises(DataError, match="has no negative"):
        drawn("same", "same")


def test_documents_outside_the_pool_may_become_negatives() -> None:
    rows, relevant = np.zeros(1, dtype=np.int64), np.array([0, 1])
    given: Any = Texts(["fox fox fox", "fox and bear", "mole"])
    asked = Recipe.model_construct(negatives="bm25", per_pair=1, depth=1, seed=0, pooled=1)
    examples = Examples(["fox"], [relevant], given, rows)
    judged = as_pooled(asked, examples)
    assert [found.tolist() for found in judged.relevant] == [[0]]
    runner = build_part(BM25, "a", "b")
    assert with_negatives(asked, judged, rows, rows, runner).tolist() == [[0, 1]]
    assert as_pooled(asked.model_copy(update={"pooled": None}), examples) is examples
    mole = examples._replace(relevant=[np.array([2])])
    with pytest.raises(DataError, match="no relevant document among its first 1"):
        as_pooled(asked, mole)


def test_a_list_of_the_cross_encoder_is_a_softmax(root: Path) -> None:
    from sentence_transformers import CrossEncoder

    from rankstone.training.losses.coupled import ListSoftmax

    model = CrossEncoder(str(root / "dense"), num_labels=1, device="cpu").eval()
    lists = [["fox", "owl"], ["a fox", "an owl"], ["a mole", "a newt"]]
    found = ListSoftmax(model)(lists)
    rows = [list(zip(lists[0], texts, strict=True)) for texts in lists[1:]]
    scores = [model.predict(one, activation_fn=torch.nn.Identity()) for one in rows]
    expected = -log_softmax(np.stack(scores, axis=1), axis=1)[:, 0].mean()
    assert found.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("source", ["random", "bm25", "start"])
def test_negatives_are_results_that_are_not_relevant(root: Path, source: str) -> None:
    test = opened(root)
    asked = recipe(root, negatives=source, per_pair=3, depth=4)
    examples = training_data(asked, test, sources(root)).examples
    rows, positives = pairs(examples)
    plain = spec(root, "dense", loss="x").model_copy(update={"training": None})
    start = build_part(plain, "start", "start")
    found = with_negatives(asked, examples, rows, positives, start)
    assert (found[:, 0] == positives).all()
    assert all(len({*row[1:]}) == 3 for row in found.tolist())
    for row, chosen in zip(rows.tolist(), found, strict=True):
        assert not {*chosen[1:].tolist()} & {*examples.relevant[row].tolist()}
    again = with_negatives(asked, examples, rows, positives, start)
    assert (again == found).all()
    if source == "start":
        documents = start.encode(examples.documents[:], "document")
        products = start.encode(list(examples.queries), "query") @ documents.T
        for row, chosen in zip(rows.tolist(), found, strict=True):
            products[row, examples.relevant[row]] = -np.inf
            best = np.sort(products[row])[::-1][:4]
            assert (products[row, chosen[1:]] >= best[-1] - 1e-5).all()
    if source == "bm25":
        for row, chosen in zip(rows.tolist(), found, strict=True):
            animal = examples.queries[row].split()[-1]
            named = [animal in text for text in examples.documents.take(chosen[1:])]
            left = 4 - len(examples.relevant[row])
            assert animal in ("fox", "news") or sum(named) >= min(left, 1)


def test_scores_of_teachers_are_inner_products_and_of_two_their_normalised_sum(root: Path) -> None:
    teacher = teacher_of(root)
    asked = recipe(root).model_copy(update={"teacher": teacher})
    examples = training_data(asked, opened(root), sources(root)).examples
    rows, positives = pairs(examples)
    chosen = np.stack([positives, np.roll(positives, 1)], axis=1)
    found = teacher_scores(asked, examples, rows, chosen)
    runner = build_part(teacher, "t", "t")
    for row, places, values in zip(rows.tolist(), chosen, found, strict=True):
        query = runner.encode([examples.queries[row]], "query")[0]
        documents = runner.encode(examples.documents.take(places), "document")
        np.testing.assert_allclose(values, documents @ query, atol=1e-5)
    model = {"id": "sparse", "path": str(root / "sparse")}
    sparse = method(root, "second", {"adapter": "sparse", "model": model})
    both = method(root, "both", {
        "adapter": "weighted_fusion", "members": [teacher.name, sparse.name],
        "parameters": {"normalisation": "minmax", "weights": [0.5, 0.25]},
    })  # fmt: skip
    chosen = np.column_stack([chosen, np.roll(positives, 2)])
    parts = [teacher_scores(asked.model_copy(update={"teacher": one}), examples, rows, chosen)
             for one in (teacher, sparse)]  # fmt: skip
    fused = teacher_scores(asked.model_copy(update={"teacher": both}), examples, rows, chosen)
    low, high = (np.stack([f(part, axis=1) for part in parts]) for f in (np.min, np.max))
    for row in np.flatnonzero((high > low).all(0)):
        scaled = [(p[row] - p[row].min()) / np.ptp(p[row]) for p in parts]
        np.testing.assert_allclose(fused[row], 0.5 * scaled[0] + 0.25 * scaled[1], atol=1e-5)
    rows_of = sparse_products(build_part(sparse, "s", "s"), examples, rows, chosen)
    np.testing.assert_allclose(parts[1], rows_of, rtol=1e-5)


def sparse_products(runner: Any, examples: Examples, rows: Any, chosen: Any) -> Any:
    def weights(text: str, role: str) -> dict[int, float]:
        found = runner.encode([text], role)
        return dict(zip(found.terms.tolist(), found.weights.tolist(), strict=True))

    queries = [weights(examples.queries[row], "query") for row in rows.tolist()]
    return [
        [sum(q.get(t, 0) * w for t, w in weights(text, "document").items()) for text in texts]
        for q, texts in zip(queries, map(examples.documents.take, chosen), strict=True)
    ]


def test_batches_are_of_one_topic_with_margins_of_all_bins() -> None:
    rng = np.random.default_rng(0)
    queries = np.repeat(np.arange(30), 200)
    topics = queries // 10
    margins = rng.exponential(size=len(queries))  # small ones are frequent
    drawn = topic_batches(topics, queries, 8, np.random.default_rng(1), margins)
    chosen = [next(drawn) for _ in range(400)]
    assert all(len({*topics[batch].tolist()}) == 1 for batch in chosen)
    assert all(len({*queries[batch].tolist()}) == len(batch) == 8 for batch in chosen)
    shares = np.zeros(BINS)
    for row in (row for batch in chosen for row in batch):
        own = margins[queries == queries[row]]
        share = (margins[row] - own.min()) / (own.max() - own.min())
        shares[min(int(share * BINS), BINS - 1)] += 1
    low, high = shares[:2].sum() / shares.sum(), shares[6:].sum() / shares.sum()
    assert low < 0.35
    assert high > 0.2, "by chance it would be below .05"
    plain = [next(topic_batches(topics, queries, 8, np.random.default_rng(n))) for n in range(300)]
    rows = np.array(plain).ravel()
    assert (margins[rows] > 3).mean() < 0.08
    small = next(topic_batches(topics, queries, 20, rng))
    assert len(small) == 20
    assert len({*topics[small].tolist()}) == 2


def test_rows_of_enhanced_decoding_see_the_first_position_and_never_themselves() -> None:
    from rankstone.training.losses.retromae import visible_positions

    torch.manual_seed(0)
    mask = torch.ones(40, 30, dtype=torch.bool)
    mask[20:, 20:] = False
    visible = visible_positions(mask, 0.3).numpy()
    assert visible[:, :, 0].all()
    assert not visible[:, range(1, 30), range(1, 30)].any()
    assert not visible[20:, :, 20:].any()
    others = visible[:20, :, 1:].sum() / (20 * (30 * 29 - 29))
    assert 0.69 < others < 0.71


def test_a_token_is_decoded_from_the_others_and_the_sentence(encoder: Any) -> None:
    from rankstone.training.losses.retromae import EnhancedDecoding, visible_positions

    loss = EnhancedDecoding(encoder).eval()
    ids = torch.tensor([[4, 30, 31, 32, 5], [4, 40, 41, 5, 0]])
    sentence = torch.randn(2, 32, generator=torch.Generator().manual_seed(1))
    visible = visible_positions(ids != 0, 0.0)
    with torch.no_grad():
        before = loss.decoded(sentence, ids, visible)
        changed = ids.clone()
        changed[0, 2] = 60
        after = loss.decoded(sentence, changed, visible)
        moved = loss.decoded(sentence + 1, ids, visible)
    same = torch.isclose(before, after, atol=1e-6).all(-1)
    assert same.tolist() == [[False, False, True, False, False], [True] * 5]
    assert not torch.isclose(before, moved, atol=1e-3).all(-1).any()
    batch = encoder.preprocess(["the fox crosses the river", "an owl"])
    assert torch.isfinite(loss([batch])).item()


def test_a_second_recipe_starts_from_the_weights_of_the_first(root: Path) -> None:
    first = {"data": ["own"], "repeated_queries": "drop", "loss": "enhanced_decoding", "steps": 1,
             "batch": 2, "learning_rate": 1e-3}  # fmt: skip
    whole = spec(root, "dense", loss="multiple_negatives_ranking", steps=1, first=first)
    run = recipe_run(root, whole, to="two")
    model = run.trained().model
    pre, fine = run.sections.values()
    assert (pre.loss_name, fine.loss_name) == ("enhanced_decoding", "multiple_negatives_ranking")
    alone = {key: value for key, value in first.items() if key not in BASE} | {
        "steps": 1,
        "batch": 2,
    }
    pretrained = recipe_run(root, spec(root, "dense", **alone), to="two")
    start = pretrained.trained().model
    assert ((start and start.path) or "").split("/")[-2] == pre.checkpoint
    assert next(iter(pretrained.sections.values())).reused
    assert model is not None
    assert model.id == f"dense, trained {fine.checkpoint[:12]}"
