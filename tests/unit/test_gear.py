"""GeAR's fusion encoder and its recipe, against attention written out in plain torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from scipy.special import log_softmax, softmax

from rankstone.benchmarks.dataset import Sources
from rankstone.benchmarks.store import open_dataset
from rankstone.errors import DefinitionError
from rankstone.runners.compose.two_stage import TwoStage
from rankstone.runners.construct import build_runner
from rankstone.runners.protocols import Hits, Truncation
from rankstone.runners.scorers.gear.fusion import FusionScorer, shares
from rankstone.runners.search.blackbox.exhaustive import Exhaustive
from rankstone.runners.testing import PlainContext
from rankstone.specs import MethodSpec
from rankstone.training.fit import evaluating
from rankstone.workspace import Workspace
from tests import tiny_rerankers as tiny
from tests.beir_layout import write_beir
from tests.training_collection import method, recipe_run, write_with_models

QUERY = "which fox crosses"
SENTENCES = ["The fox crosses the river.", "a bear", "an engine repairs the violin, the bear."]
LENGTHS = {"query_length": 24, "document_length": 48}
CLOSE = {"rtol": 1e-4, "atol": 1e-6}


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> FusionScorer:
    model = tiny.write_fusion(tmp_path_factory.mktemp("fusion"))
    return FusionScorer(model=model, layer=2, device="cpu", **LENGTHS)


class Bert:
    """A BERT from its tensors, one sequence at a time."""

    def __init__(self, folder: Path, role: str) -> None:
        from safetensors.torch import load_file
        from transformers import AutoConfig, AutoTokenizer

        self.tensors = load_file(folder / role / "model.safetensors")
        self.tensors |= load_file(folder / "scorer.safetensors")
        self.heads = AutoConfig.from_pretrained(folder / role).num_attention_heads
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder / role)

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ self.tensors[f"{name}.weight"].T + self.tensors[f"{name}.bias"]

    def normed(self, name: str, x: torch.Tensor) -> torch.Tensor:
        x = (x - x.mean(-1, keepdim=True)) / (
            x.var(-1, unbiased=False, keepdim=True) + 1e-12
        ) ** 0.5
        return x * self.tensors[f"{name}.weight"] + self.tensors[f"{name}.bias"]

    def attended(self, name: str, x: torch.Tensor, y: torch.Tensor) -> tuple[Any, torch.Tensor]:
        """Return the output of attention of x to y, and its weights: the mean over the heads."""
        q, k, v = (self.linear(f"{name}.self.{part}", rows)
                   for part, rows in (("query", x), ("key", y), ("value", y)))  # fmt: skip
        size = q.shape[1] // self.heads
        found, weights = [], []
        for start in range(0, q.shape[1], size):
            own = slice(start, start + size)
            weights.append((q[:, own] @ k[:, own].T / size**0.5).softmax(dim=1))
            found.append(weights[-1] @ v[:, own])
        out = self.linear(f"{name}.output.dense", torch.cat(found, dim=1))
        return self.normed(f"{name}.output.LayerNorm", out + x), torch.stack(weights).mean(0)

    def read(self, text: str, other: torch.Tensor | None = None) -> tuple[Any, list[torch.Tensor]]:
        """Return the last states of a text that reads `other`, and each layer's weights of it."""
        ids = self.tokenizer(text)["input_ids"]
        tables = [self.tensors[f"embeddings.{name}_embeddings.weight"]
                  for name in ("word", "position", "token_type")]  # fmt: skip
        x = tables[0][ids] + tables[1][: len(ids)] + tables[2][0]
        x, every = self.normed("embeddings.LayerNorm", x), []
        for layer in (f"encoder.layer.{n}" for n in range(2)):
            x, _ = self.attended(f"{layer}.attention", x, x)
            if other is not None:
                x, weights = self.attended(f"{layer}.crossattention", x, other)
                every.append(weights)
            inner = torch.nn.functional.gelu(self.linear(f"{layer}.intermediate.dense", x))
            x = self.normed(
                f"{layer}.output.LayerNorm", x + self.linear(f"{layer}.output.dense", inner)
            )
        return x, every


@pytest.mark.parametrize("layer", [1, 2])
def test_scores_are_the_attention_written_out(scorer: FusionScorer, layer: int) -> None:
    used = FusionScorer(model=scorer.model, layer=layer, device="cpu", **LENGTHS)
    query, document = (Bert(scorer.model.folder, role) for role in ("query", "document"))
    states, _ = document.read(" ".join(SENTENCES))
    given = query.read(QUERY, states)[1][layer - 1].mean(0)
    sizes = [len(document.tokenizer(text, add_special_tokens=False)["input_ids"])
             for text in SENTENCES]  # fmt: skip
    own = torch.stack([part.sum() for part in given[1:-1].split(sizes)])
    assert len(given) == sum(sizes) + 2
    np.testing.assert_allclose(used.score(QUERY, SENTENCES), own / own.sum(), **CLOSE)
    assert float(own.max() / own.sum()) > 0.5


def test_vectors_are_those_of_sentence_transformers(scorer: FusionScorer) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    vectors = []
    for role, texts in (("query", [QUERY]), ("document", SENTENCES)):
        inner = Transformer(str(scorer.model.folder / role))
        pooling = Pooling(inner.get_embedding_dimension(), "mean")
        model = SentenceTransformer(modules=[inner, pooling], device="cpu")
        vectors.append(model.encode(texts, normalize_embeddings=True))
    used = FusionScorer(model=scorer.model, by="vectors", layer=1, device="cpu", **LENGTHS)
    np.testing.assert_allclose(used.score(QUERY, SENTENCES), vectors[1] @ vectors[0][0], **CLOSE)


def test_padding_and_batches_change_no_attention(scorer: FusionScorer) -> None:
    encoders = scorer._encoders
    documents = [" ".join(SENTENCES), "a bear"]
    asked, mask, _ = scorer._tokens("query", [QUERY, "the river"])
    ids, read, _ = scorer._tokens("document", documents)
    with torch.inference_mode():
        together = encoders.attention(asked, mask, encoders.states("document", ids, read), read, 2)
        other = ids.masked_fill(read == 0, 7)
        again = encoders.attention(
            asked.masked_fill(mask == 0, 9), mask, encoders.states("document", other, read), read, 2
        )
    np.testing.assert_allclose(again, together, **CLOSE)
    for row, (query, text) in enumerate(zip([QUERY, "the river"], documents, strict=True)):
        one, alone, _ = scorer._tokens("query", [query])
        part, own, _ = scorer._tokens("document", [text])
        with torch.inference_mode():
            states = encoders.states("document", part, own)
            expected = encoders.attention(one, alone, states, own, 2)[0]
        np.testing.assert_allclose(together[row, : len(expected)], expected, **CLOSE)
        assert not together[row, len(expected) :].any()


WORDS = st.lists(st.sampled_from(tiny.WORDS), max_size=6).map(" ".join)


@settings(max_examples=15, deadline=None)
@given(sentences=st.lists(WORDS, min_size=1, max_size=5))
def test_scores_of_a_query_add_up_to_one(scorer: FusionScorer, sentences: list[str]) -> None:
    scores = scorer.score(QUERY, sentences)
    empty = [not sentence for sentence in sentences]
    assert (scores >= 0).all()
    assert not scores[empty].any()
    assert scores.sum() == pytest.approx(0 if all(empty) else 1, abs=1e-5)


def test_a_text_has_the_share_of_its_tokens_among_all_texts() -> None:
    given = np.array([0.4, 0.1, 0.2, 0.1, 0.2])
    found = shares(given, np.array([-1, 0, 3, 6, -1]), [2, 2, 3, 0])
    np.testing.assert_allclose(found, [0.25, 0.5, 0.25, 0], rtol=1e-6)


def test_what_is_behind_the_limit_has_no_share(scorer: FusionScorer) -> None:
    used = FusionScorer(
        model=scorer.model, layer=1, device="cpu", query_length=9, document_length=6
    )
    scores = used.score(QUERY, SENTENCES)
    assert scores[0] == 1
    assert not scores[1:].any()
    counts = [len(scorer._tokenizers["query"](text)["input_ids"])
              for text in (QUERY, " ".join(SENTENCES))]  # fmt: skip
    whole = sum(counts)
    assert used.truncation(QUERY, SENTENCES) == Truncation(1, 1, whole, whole - counts[0] - 6)


def test_a_layer_that_the_model_lacks(scorer: FusionScorer) -> None:
    used = FusionScorer(model=scorer.model, layer=3, device="cpu")
    with pytest.raises(DefinitionError, match="2 layers, and layer 3"):
        used.score(QUERY, SENTENCES)
    alone, deeper = (
        FusionScorer(model=scorer.model, by="vectors", layer=layer, device="cpu")
        for layer in (2, 3)
    )
    assert (alone.score(QUERY, SENTENCES) == deeper.score(QUERY, SENTENCES)).all()


def test_results_of_a_first_stage_are_no_document(scorer: FusionScorer) -> None:
    given: Any = (object(),)
    with pytest.raises(DefinitionError, match="sentences of one document, in order"):
        TwoStage(members=given, scorer=scorer)
    alone = FusionScorer(model=scorer.model, by="vectors", device="cpu")
    assert TwoStage(members=given, scorer=alone).scorer is alone


# Local retrieval: the sentences of a question's own document.

CORPUS = {
    f"d{n}": f"The {animal} crosses the river. An engine repairs the {animal}. The bear."
    for n, animal in enumerate(("fox", "bear", "engine", "violin") * 2)
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, module_cache: None) -> Path:
    root = write_with_models(tmp_path_factory.mktemp("gear"))
    documents = {name: {"title": name, "text": text} for name, text in CORPUS.items()}
    # In no sentence, in all, and in one.
    answers = ["violin", "the", *["RIVER"] * (len(CORPUS) - 2)]
    queries = {f"q{n}": {"text": f"what crosses {n}", "metadata": {"answers": [answer]}}
               for n, answer in enumerate(answers)}  # fmt: skip
    judged = [(f"q{n}", f"d{n}") for n in range(len(CORPUS))]
    write_beir(root / "data" / "tiny" / "asked", documents, queries, test=judged)
    (root / "benchmarks" / "local.toml").write_text(
        '[tasks.sentences]\ndescription = "d"\nloader = "answer_sentences"\ndepth = 5\n'
        'source = { of = "tiny/asked" }\ntext = "{text}"\nfilter = "question == {id}"\n'
        'folds_by = "titles"\nmeasures = ["P@1"]\nheadline = "P@1"\n'
    )
    return root


def test_sentences_of_each_questions_document(root: Path) -> None:
    task = Workspace.find(root).task("local/sentences")
    data = open_dataset(task, Sources(data=root / "data", cache=root / "cache"))
    assert data.query_ids == tuple(f"q{n}" for n in range(2, 8))
    assert data.corpus.texts(0, 3) == CORPUS["d2"].replace(". ", ".\n").split("\n")
    assert data.corpus.ids(data.judgements.document) == [f"q{n}#0" for n in range(2, 8)]
    assert data.filters is not None
    passing = [np.flatnonzero(where.passes).tolist() for where in data.filters.wheres if where]
    assert passing == [[3 * n, 3 * n + 1, 3 * n + 2] for n in range(6)]


def trained(root: Path, **options: Any) -> Any:
    run = recipe_run(root, defined(root, **options), to="gear", task="local/sentences@fold1of3")
    return build_runner(run.trained())


def defined(root: Path, *, data: str = "own", start: str = "weights", **options: Any) -> MethodSpec:
    recipe = {"data": [data], "loss": "generation_augmented", "steps": 2, "batch": 2,
              "start": start,
              "repeated_queries": "drop", "learning_rate": 1e-3, "options": options}  # fmt: skip
    part = {"adapter": "fusion", "model": {"id": "d", "path": str(root / "dense")},
            "parameters": {**LENGTHS, "layer": 2}, "training": recipe}  # fmt: skip
    return method(root, "gear", {"adapter": "exhaustive", "scorer": part})


def searched(runner: Any, root: Path) -> Hits:
    task = Workspace.find(root).task("local/sentences@fold1of3")
    data = open_dataset(task, Sources(data=root / "data", cache=root / "cache"))
    texts = data.corpus.texts(0, len(data.corpus))
    index = runner.index(None, PlainContext(texts=texts, work=root))
    assert data.filters is not None
    pairs = zip(data.query_texts, data.filters.wheres, strict=True)
    found = [index.search_where([text], 5, where) for text, where in pairs]
    return Hits(*map(np.concatenate, zip(*found, strict=True)))


def test_a_trained_fusion_ranks_the_sentences_of_one_document(root: Path) -> None:
    pytest.importorskip("accelerate", reason="needs the extra 'train'")
    runner = trained(root)
    hits = searched(runner, root)
    assert [sorted({doc // 3 for doc in row if doc >= 0}) for row in hits.docs.tolist()] == [
        [row[0] // 3] for row in hits.docs.tolist()
    ]
    np.testing.assert_allclose(hits.scores[:, :3].sum(axis=1), 1, rtol=1e-5)
    begun = _tensors(root / "dense")
    for role in ("query", "document"):
        own = _tensors(runner.scorer.model.folder / role)
        assert any((own[name] != begun[name]).any() for name in own)
    assert not any("crossattention" in name for name in own)


def _tensors(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_it_learns_from_sentences_alone(root: Path) -> None:
    pytest.importorskip("accelerate", reason="needs the extra 'train'")
    with pytest.raises(DefinitionError, match="Name a task of sentences"):
        recipe_run(root, defined(root, data="tiny/animals"), to="none").trained()


def test_it_starts_from_weights(root: Path) -> None:
    with pytest.raises(DefinitionError, match="starts from the weights"):
        trained(root, start="random")


@pytest.fixture
def loss(root: Path) -> Any:
    from sentence_transformers import SentenceTransformer
    from transformers import AutoTokenizer

    from rankstone.runners.scorers.gear.fused_network import begun
    from rankstone.training.losses.gear import Fusion, GenerationAugmented

    torch.manual_seed(3)
    tokenizer: Any = AutoTokenizer.from_pretrained(root / "dense")
    module = Fusion(begun(root / "dense", None), tokenizer, 48)
    loss = GenerationAugmented(SentenceTransformer(modules=[module], device="cpu"), weight=0.5)
    with torch.no_grad():  # apart from the encoders, as after some steps
        for weight in loss.average.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    return loss.eval()


COLUMNS = [["which fox", "the bear crosses it"], ["The fox. A river.", "A glacier. The bear."],
           ["The fox.", "The bear and the harbour."]]  # fmt: skip


def features(loss: Any) -> list[dict[str, Any]]:
    return [loss.model.preprocess(column) for column in COLUMNS]


def test_the_loss_by_loops_over_its_definition(loss: Any) -> None:
    asked, documents, targets = features(loss)
    mean = lambda states, mask: (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)  # noqa: E731
    with torch.no_grad():
        found = float(loss([asked, documents, targets]))
        networks = {}
        for name, one in (("now", loss.encoders), ("slow", loss.average)):
            q = mean(one.states("query", *_pair(asked)), asked["attention_mask"]).numpy()
            d = mean(one.states("document", *_pair(documents)), documents["attention_mask"]).numpy()
            q, d = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (q, d))
            networks[name] = q @ d.T / 0.07
        states = loss.encoders.states("document", *_pair(documents))
        fused = loss.encoders.fused(*_pair(asked), states, documents["attention_mask"])
        logits = loss.decoder(
            input_ids=targets["input_ids"], encoder_hidden_states=fused,
            encoder_attention_mask=asked["attention_mask"],
        ).logits.numpy()  # fmt: skip
    contrast = 0.0
    for way in (lambda x: x, np.transpose):
        for row in range(2):
            labels = 0.4 * softmax(way(networks["slow"])[row]) + 0.6 * np.eye(2)[row]
            contrast -= labels @ log_softmax(way(networks["now"])[row]) / 4
    told = [
        -log_softmax(logits[row, at - 1])[int(targets["input_ids"][row, at])]
        for row in range(2)
        for at in range(1, int(targets["attention_mask"][row].sum()))
    ]
    assert found == pytest.approx(contrast + 0.5 * np.mean(told), rel=1e-4)


def _pair(features: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    return features["input_ids"], features["attention_mask"]


def test_cross_attention_learns_from_generation_alone(loss: Any) -> None:
    crossed = {name: one for name, one in loss.encoders.query.named_parameters()
               if "crossattention" in name}  # fmt: skip
    loss.decoder, decoder = None, loss.decoder
    loss(features(loss)).backward()
    assert all(one.grad is None for one in crossed.values())
    loss.decoder = decoder
    loss(features(loss)).backward()
    assert all(one.grad is not None and one.grad.abs().sum() > 0
               for name, one in crossed.items() if "key.bias" not in name)  # fmt: skip


def test_the_average_follows_in_training_alone(loss: Any) -> None:
    before = [one.clone() for one in loss.average.parameters()]
    loss(features(loss))
    assert all(map(torch.equal, before, loss.average.parameters()))
    loss.train()(features(loss))
    now = [0.995 * slow + 0.005 * fast
           for slow, fast in zip(before, loss.encoders.parameters(), strict=True)]  # fmt: skip
    for expected, found in zip(now, loss.average.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_evaluation_leaves_averages_alone_and_drops_no_unit(loss: Any) -> None:
    loss.train()
    loss.model.eval()  # as the trainer does, for the model alone
    before = [one.clone() for one in loss.average.parameters()]
    with torch.no_grad(), evaluating(loss):
        found = [float(loss(features(loss))) for _ in range(2)]
        assert not any(module.training for module in loss.decoder.modules())
    assert all(map(torch.equal, before, loss.average.parameters()))
    assert found[0] == found[1]
    assert (loss.training, loss.decoder.training, loss.model.training) == (True, True, False)


def test_a_fusion_is_kept_by_its_loss_on_held_out_queries(root: Path) -> None:
    pytest.importorskip("accelerate", reason="needs the extra 'train'")
    spec = defined(root)
    assert spec.scorer is not None
    assert spec.scorer.training is not None
    recipe = spec.scorer.training.model_copy(update={"held_out": 0.4, "check_every": 1})
    scorer = spec.scorer.model_copy(update={"training": recipe})
    spec = spec.model_copy(update={"scorer": scorer})
    run = recipe_run(root, spec, to="held-out", task="local/sentences@fold1of3")
    searched(build_runner(run.trained()), root)
    (section,) = run.sections.values()
    assert section.held_out_queries > 0
    steps, losses = zip(*section.held_out, strict=True)
    assert steps == (1, 2)
    assert section.best_step == steps[int(np.argmin(losses))]


def test_a_listwise_scorer_gets_one_list_in_the_order_of_the_corpus() -> None:
    from rankstone.predicates import Where, parse

    given = []

    class Order:
        listwise = True
        requires: ClassVar[dict[str, str]] = {}

        def describe(self) -> dict[str, Any]:
            return {}

        def score(self, query: str, documents: list[str]) -> np.ndarray:
            given.append(list(documents))
            return np.arange(len(documents), dtype=np.float32)

        def truncation(self, query: str, documents: list[str]) -> None:
            return None

    texts = [f"d{n}" for n in range(2500)]
    index = Exhaustive(scorer=Order()).index(None, PlainContext(texts=texts, work=Path()))
    assert index.search(["q"], 2).docs.tolist() == [[2499, 2498]]
    where = Where(predicate=parse("x"), passes=np.isin(np.arange(2500), [3, 5, 2400]))
    assert index.search_where(["q"], 4, where).docs.tolist() == [[2400, 5, 3, -1]]
    assert given[-2:] == [texts, ["d3", "d5", "d2400"]]
    nothing = Where(predicate=parse("x"), passes=np.zeros(2500, dtype=bool))
    assert index.search_where(["q"], 2, nothing).docs.tolist() == [[-1, -1]]
