"""Recipes that train several parts: formulas by brute force, and methods with the weights."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

pytest.importorskip("accelerate", reason="needs the extra 'train'")

import torch
from scipy.special import log_expit, log_softmax, softmax

from rankstone.errors import DefinitionError
from rankstone.runners.construct import build_runner, untrained
from rankstone.runners.search.quantisation.learnt_centroids import Learnt
from rankstone.runners.search.quantisation.quantiser import Quantiser, opq
from rankstone.runners.search.quantisation.trained_pq import whole_bytes
from rankstone.runners.testing import MemoryChunks, PlainContext
from rankstone.specs import MethodSpec
from tests.training_collection import DENSE, Texts, method, opened, recipe_run, write_with_models

BASE = {"data": ["own"], "repeated_queries": "drop", "steps": 2, "batch": 4, "learning_rate": 1e-3}
scores = arrays(np.float64, (4, 7), elements=st.floats(-8, 8))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, module_cache: None) -> Path:
    return write_with_models(tmp_path_factory.mktemp("systems"))


def dense(root: Path, name: str, **recipe: Any) -> MethodSpec:
    body: dict[str, Any] = {"adapter": "dense", "parameters": DENSE,
                            "model": {"id": "start", "path": str(root / "dense")}}  # fmt: skip
    return method(root, name, {**body, **({"training": {**BASE, **recipe}} if recipe else {})})


def ranker(root: Path, **recipe: Any) -> MethodSpec:
    method(root, "first", {"adapter": "bm25"})
    scorer = {"adapter": "cross_encoder", "model": {"id": "d", "path": str(root / "dense")},
              "parameters": {"engine": "torch"}, "training": {**BASE, **recipe}}  # fmt: skip
    body = {"adapter": "two_stage", "members": ["toy/first"], "parameters": {"depth": 5}}
    return method(root, "ranker", {**body, "scorer": scorer})


@given(scores, scores)
def test_retriever_and_ranker_by_their_definitions(g: Any, d: Any) -> None:
    from rankstone.training.losses.adversarial import adversarial_loss, distillation

    rows = []
    for of_g, of_d in zip(g, d, strict=True):
        drawn = softmax(of_g[1:])
        rows.append(sum(p * log_softmax([of_d[0], of_d[1 + j]])[0] for j, p in enumerate(drawn)))
    retriever = torch.from_numpy(g).requires_grad_()
    found = adversarial_loss(retriever, torch.from_numpy(d))
    assert found.item() == pytest.approx(np.mean(rows), abs=1e-9)
    (gradient,) = torch.autograd.grad(found, retriever)
    by_reward = np.zeros_like(g)  # sum_d p(d) grad log p(d) log p_D, as the paper writes it
    for row, (of_g, of_d) in enumerate(zip(g, d, strict=True)):
        p = softmax(of_g[1:])
        for j, share in enumerate(p):
            by_reward[row, 1:] += share * (np.eye(6)[j] - p) * log_expit(of_d[0] - of_d[1 + j]) / 4
    np.testing.assert_allclose(gradient, by_reward, atol=1e-9)
    expected = -(softmax(d, axis=1) * log_softmax(g, axis=1)).sum(1).mean()
    assert distillation(retriever, torch.from_numpy(d)).item() == pytest.approx(expected, abs=1e-9)


@given(arrays(np.float64, (3, 6), elements=st.floats(-4, 4), unique=True),
       arrays(np.bool_, (3, 6)))  # fmt: skip
def test_weights_of_lambda_loss_are_changes_of_the_reciprocal_rank(found: Any, out: Any) -> None:
    from rankstone.training.losses.quantised import lambda_loss

    out[:, 0] = False
    total = 0.0
    for s, left_out in zip(found, out, strict=True):
        kept = np.flatnonzero(~left_out)
        order = sorted(kept, key=lambda d, s=s: -s[d])
        for other in kept[1:]:
            swapped = [{0: other, other: 0}.get(d, d) for d in order]
            change = 1 / (order.index(0) + 1) - 1 / (swapped.index(0) + 1)
            total += abs(change) * -log_expit(s[0] - s[other])
    loss = lambda_loss(torch.from_numpy(found), torch.from_numpy(out))
    assert float(loss) == pytest.approx(total / 3, abs=1e-9)


class Lengths:
    """Teacher whose scores are the lengths of texts."""

    def encode(self, texts: Any, role: str) -> Any:
        return np.array([[len(text), 1.0] for text in texts], dtype=np.float32)


def test_two_teachers_by_the_definition() -> None:
    from rankstone.training.losses.dual_teacher import DualTeacher

    draw = np.random.default_rng(0)
    vectors, pairwise = draw.standard_normal((3, 4, 5)), draw.standard_normal((4, 2))
    asked = {3: "a", 5: "bbb", 7: "cc", 9: "dddd"}

    class Documents:
        def take(self, positions: Any) -> list[str]:
            return ["x" * (1 + int(p)) for p in positions]

    numbers = np.array([[5, 2, 8], [3, 1, 0], [9, 4, 2], [7, 6, 5]])
    loss = DualTeacher(
        lambda part: {"sentence_embedding": part}, "dot", asked, Documents(), Lengths(),
        alpha=0.5, in_batch_scale=0.1,
    )  # fmt: skip
    labels = torch.from_numpy(np.column_stack([numbers, pairwise]))
    found = float(loss(list(torch.from_numpy(vectors)), labels))
    pair, batch = [], []
    for i in range(4):
        own = vectors[0, i] @ vectors[1, i]
        pair.append(
            ((own - vectors[0, i] @ vectors[2, i]) - (pairwise[i, 0] - pairwise[i, 1])) ** 2
        )
        for column in (1, 2):
            for j in range(4):
                words = len(asked[numbers[i, 0]]) * 0.1
                taught = words * (float(numbers[i, 1]) - float(numbers[j, column]))
                batch.append(((own - vectors[0, i] @ vectors[column, j]) - taught) ** 2)
    assert found == pytest.approx(np.mean(pair) + 0.5 * np.mean(batch))


def test_retriever_and_ranker_are_trained_in_turn(root: Path) -> None:
    teacher = ranker(root, loss="list_softmax", negatives="student", per_pair=2)
    with pytest.raises(DefinitionError, match="names this one as its teacher"):
        recipe_run(root, teacher, to="alone").trained()
    spec = dense(root, "ar2", loss="adversarial", negatives="start", per_pair=2, rounds=2,
                 teacher=teacher.name,
                 first={**BASE, "loss": "multiple_negatives_ranking"})  # fmt: skip
    run = recipe_run(root, spec, to="ar2")
    run.trained()
    steps = [(one.loss_name, one.negatives) for one in run.sections.values()]
    turn = [("list_softmax", "student"), ("adversarial", "start")]
    assert steps == [("multiple_negatives_ranking", "batch"), *turn, *turn]
    once = recipe_run(
        root,
        spec.model_copy(
            update={"training": spec.training and spec.training.model_copy(update={"rounds": 1})}
        ),
        to="ar2",
    )
    once.trained()
    assert list(once.sections) == list(run.sections)[:3], "the same beginning is reused"
    assert all(one.reused for one in once.sections.values())


def centroids_and_codes(root: Path, runner: Any, tmp_path: Path) -> tuple[Any, Any, Any]:
    """Return the index of the collection, the vectors that its codes represent, and the texts."""
    corpus = opened(root).corpus
    texts = corpus.take(np.arange(len(corpus)))
    tmp_path.mkdir()
    context = PlainContext(texts=texts, work=tmp_path)
    index = runner.index(MemoryChunks(runner, texts), context)
    inner = faiss.downcast_index(faiss.downcast_index(index.faiss).index)
    decoded = np.stack([inner.reconstruct(row) for row in range(inner.ntotal)])
    return index, decoded, texts


@pytest.mark.filterwarnings("ignore:parameter 'bits'")
def test_a_quantiser_is_trained_with_its_encoders(root: Path, tmp_path: Path) -> None:
    dense(root, "member")
    body = {"members": ["toy/member"], "parameters": {"subvectors": 4}}
    jpq = {**BASE, "loss": "jpq", "options": {"negatives": 9, "centroid_rate": 0.05}}
    joint = {**BASE, "loss": "repconc", "negatives": "random", "per_pair": 3}
    start: Any = build_runner(untrained(dense(root, "member")))
    asked = ["where is the fox"]
    for adapter, training in (("jpq", jpq), ("repconc", {**jpq, "first": joint})):
        spec = method(root, adapter, {"adapter": adapter, **body, "training": training})
        run = recipe_run(root, spec, to=adapter)
        trained = run.trained()
        runner: Any = build_runner(trained)
        plain: Any = build_runner(untrained(spec))
        assert trained.model is not None
        assert trained.model.path is not None
        assert runner.describe()["query_model"] == trained.model.id
        index, decoded, texts = centroids_and_codes(root, runner, tmp_path / adapter)
        query, document = runner.encode(asked, "query"), runner.encode(texts[:1], "document")
        assert not np.allclose(query, start.encode(asked, "query"), atol=1e-3)
        moved = not np.allclose(document, start.encode(texts[:1], "document"), atol=1e-3)
        assert moved == (adapter == "repconc"), "JPQ leaves the encoder of documents"
        learnt = np.load(Path(trained.model.path) / "quantiser.npz")
        rotation, coding, scoring = (learnt[name] for name in ("rotation", "coding", "scoring"))
        assert np.abs(coding - scoring).max() > 1e-3
        parts = (runner.encode(texts, "document") @ rotation.T).reshape(len(texts), 4, 8)
        distances = ((parts[:, :, None] - coding[None]) ** 2).sum(3)
        shown = np.abs(decoded.reshape(len(texts), 4, 1, 8) - scoring[None]).max(3) < 1e-5
        assert shown.any(2).all(), "each part is a scoring centroid"
        # Centroids of so few texts may be equally near up to rounding: either is right.
        chosen = np.where(shown, distances, np.inf).min(2)
        np.testing.assert_allclose(chosen, distances.min(2), atol=1e-6)
        hits = index.search(query, 5)
        found = (query @ rotation.T @ decoded.T)[0]
        np.testing.assert_allclose(hits.scores[0], np.sort(found)[::-1][:5], atol=1e-4)
        if adapter == "jpq":
            warm = plain.start(MemoryChunks(plain.encoder, texts), 0)
            np.testing.assert_allclose(coding, warm.centroids, atol=1e-3)


class Numbered:
    """Runner over random vectors, with documents as row numbers and codes of OPQ."""

    VECTORS = np.random.default_rng(5).standard_normal((300, 8)).astype(np.float32)
    epsilon, iterations = 0.003, 100

    @property
    def encoder(self) -> Any:
        return self

    def encode(self, texts: Any, role: str) -> Any:
        return self.VECTORS[[int(text) for text in texts]]

    def start(self, documents: Any, seed: int) -> Quantiser:
        return whole_bytes(opq(self.VECTORS, subvectors=2, bits=4, seed=seed))

    def codes(self, quantiser: Quantiser, documents: Any) -> Any:
        return quantiser.codes(np.concatenate(list(documents)))


def test_centroids_of_another_size_are_refused(root: Path, tmp_path: Path) -> None:
    dense(root, "member")
    found = opq(Numbered.VECTORS, subvectors=2, bits=4, seed=0)
    Learnt(found, found).save(tmp_path)
    body = {"members": ["toy/member"], "parameters": {"subvectors": 4},
            "model": {"id": "other", "path": str(tmp_path)}}  # fmt: skip
    runner: Any = build_runner(method(root, "other", {"adapter": "jpq", **body}))
    with pytest.raises(DefinitionError, match="trained with 2"):
        runner.start([], 0)


class Few(Numbered):
    def start(self, documents: Any, seed: int) -> Quantiser:
        return opq(self.VECTORS, subvectors=2, bits=4, seed=seed)


def identity(part: Any) -> dict[str, Any]:
    return {"sentence_embedding": part}


def test_queries_learn_from_what_the_index_of_codes_ranks_best() -> None:
    from rankstone.training.losses.quantised import RankedCodes, lambda_loss

    texts, relevant = Texts(map(str, range(300))), [np.array([4, 8]), np.array([9])]
    loss = RankedCodes(
        identity, relevant, "dot", texts, Numbered(), 0, negatives=20, temperature=0.5
    )
    queries = np.random.default_rng(6).standard_normal((2, 8)).astype(np.float32)
    found = float(loss([torch.from_numpy(queries)], torch.tensor([[0, 8], [1, 9]])).detach())
    start = Numbered().start(None, 0)
    decoded = start.decoded(start.codes(Numbered.VECTORS)) @ start.rotation
    total = 0.0
    for query, right, positive in zip(queries, relevant, (8, 9), strict=True):
        values = decoded @ query
        best = [d for d in np.argsort(-values, kind="stable")[:20] if d not in right]
        row = torch.from_numpy(values[[positive, *best]])[None] / 0.5
        total += float(lambda_loss(row, torch.zeros_like(row, dtype=torch.bool)))
    assert found == pytest.approx(total / 2, rel=1e-3)
    (name,) = loss.rates
    assert [n for n, _ in loss.named_parameters()] == ["centroids.weight"]
    assert name.replace("\\", "") == "^centroids.weight$"


def test_joint_clustering_ranks_balanced_codes_straight_through() -> None:
    from rankstone.training.losses.multi_label import decoupled_softmax
    from rankstone.training.losses.quantised import JointClustering

    texts, relevant = Texts(map(str, range(300))), [np.array([n]) for n in range(64)]
    loss = JointClustering(identity, relevant, "dot", texts, Few(), 0, mse_weight=0.3)
    documents = torch.from_numpy(Numbered.VECTORS[:64].copy()).requires_grad_()
    queries = documents.detach() + 0.1
    labels = torch.stack([torch.arange(64), torch.arange(64)], dim=1)
    rotated = documents.detach() @ loss.centroids.rotation.T
    coded = loss.quantised(rotated).detach()
    start, nearest = Few().start(None, 0), Few().start(None, 0).codes(documents.detach().numpy())
    for number, part in enumerate(coded.reshape(64, 2, 4).transpose(0, 1).numpy()):
        _, counts = np.unique(part.round(4), axis=0, return_counts=True)
        uneven = np.bincount(nearest[:, number], minlength=16)
        assert len(counts) == 16
        assert counts.max() <= 6 < uneven.max(), "64 documents, 16 centroids"
        assert {*part.round(4).ravel()} <= {*start.centroids[number].round(4).ravel()}
    value = loss([queries, documents], labels)
    error = ((rotated - coded) ** 2).sum(1).mean()
    through = (coded @ loss.centroids.rotation).requires_grad_()
    ranking = decoupled_softmax(queries @ through.T, torch.eye(64, dtype=torch.bool))
    assert value.item() == pytest.approx(ranking.item() + 0.3 * error.item(), rel=1e-4)
    value.backward()
    (by_code,) = torch.autograd.grad(ranking, through)
    by_error = 0.3 * 2 * (rotated - coded) / 64 @ loss.centroids.rotation
    np.testing.assert_allclose(documents.grad, by_code + by_error, atol=1e-5)
    assert loss.centroids.weight.grad.abs().sum() > 0


def test_queries_without_a_network_learn_their_documents(root: Path) -> None:
    spec = method(root, "free", {
        "adapter": "sparse", "model": {"id": "s", "path": str(root / "sparse")},
        "parameters": {"query": "idf", "special_tokens": "drop", "engine": "torch",
                       "activation": "log1p2"},
        "training": {**BASE, "loss": "splade", "options": {
            "loss": "multiple_negatives_ranking", "document_regularizer_weight": 0.1,
            "document_regularizer_threshold": 5}},
    })  # fmt: skip
    run = recipe_run(root, spec, to="free")
    trained: Any = build_runner(run.trained())
    corpus = opened(root).corpus
    texts = corpus.take(np.arange(len(corpus)))
    words = [text.replace("\n", " ").split() for text in texts]
    query = trained.encode(["the fox fox"], "query")
    vocabulary = trained.vocabulary("query")
    found = {vocabulary[t]: w for t, w in zip(query.terms.tolist(), query.weights, strict=True)}
    n = {word: sum(word in text for text in words) for word in ("the", "fox")}
    expected = {word: np.log1p((64 - n[word] + 0.5) / (n[word] + 0.5)) for word in n}
    assert found == pytest.approx(expected, rel=1e-5)
    described = trained.describe()
    assert (described["activation"], described["weighed_by"]["query"]) == ("log1p2", "idf")
    before: Any = build_runner(untrained(spec))
    assert trained.encode(texts[:1], "document").weights.sum() != pytest.approx(
        before.encode(texts[:1], "document").weights.sum(), rel=1e-3
    )


CHILD = """
import sys, time
from pathlib import Path
from tests.training_collection import recipe_run
from rankstone.workspace import Workspace
root, to = Path(sys.argv[1]), sys.argv[2]
slow = lambda work, done, total: time.sleep(0.3)
recipe_run(root, Workspace.find(root).method("toy/killed"), to=to, progress=slow).trained()
"""


@pytest.mark.slow
def test_a_process_killed_in_the_middle_ends_in_the_same_bits(root: Path, tmp_path: Path) -> None:
    spec = dense(root, "killed", loss="multiple_negatives_ranking", steps=40, save_every=3)

    def weights(to: str) -> tuple[bytes, bool]:
        run = recipe_run(root, spec, to=str(tmp_path / to))
        model = run.trained().model
        assert model is not None
        assert model.path is not None
        (section,) = run.sections.values()
        return (Path(model.path) / "model.safetensors").read_bytes(), section.resumed

    home = Path(__file__).parents[2]
    paths = os.pathsep.join([str(home), str(home / "src")])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(root), str(tmp_path / "killed")],
        env={**os.environ, "PYTHONPATH": paths, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    while not list((tmp_path / "killed").glob("*.unfinished/checkpoint-6/trainer_state.json")):
        assert child.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    (ended, resumed), (whole, _) = weights("killed"), weights("whole")
    assert resumed
    assert ended == whole
    kept = [path.name for path in (tmp_path / "killed").iterdir() if path.is_dir()]
    assert len(kept) == 1
