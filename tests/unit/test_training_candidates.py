"""Recipes of Poly- and Uni-Encoders: losses by definition, and scorers with the weights."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("accelerate", reason="needs the extra 'train'")

import torch
from scipy.special import log_softmax, softmax

from rankstone.errors import DefinitionError
from rankstone.runners.construct import build_runner
from rankstone.specs import MethodSpec
from tests.training_collection import method, recipe_run, write_with_models

BASE = {"data": ["own"], "repeated_queries": "drop", "steps": 2, "batch": 3, "learning_rate": 1e-3,
        "negatives": "bm25", "per_pair": 2}  # fmt: skip
LENGTHS = {"query_length": 12, "document_length": 16}
QUERIES = ["where is the fox", "the bear news"]
DOCUMENTS = ["the fox crosses the river", "a bear", "the owl crosses", "harbour seal news"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, module_cache: None) -> Path:
    return write_with_models(tmp_path_factory.mktemp("candidates"))


def scorer(root: Path, adapter: str, loss: str, **more: Any) -> MethodSpec:
    method(root, "first", {"adapter": "bm25"})
    parameters = {**LENGTHS, **({"engine": "torch"} if adapter == "poly_encoder" else {})}
    part = {"adapter": adapter, "model": {"id": "d", "path": str(root / "dense")},
            "parameters": parameters, "training": {**BASE, "loss": loss, **more}}  # fmt: skip
    body = {"adapter": "two_stage", "members": ["toy/first"], "parameters": {"depth": 5}}
    return method(root, adapter, {**body, "scorer": part})


def trained(root: Path, adapter: str, loss: str) -> Any:
    run = recipe_run(root, scorer(root, adapter, loss), to=adapter)
    built: Any = build_runner(run.trained())
    return built.scorer


def opened(folder: Path) -> Any:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    module = Transformer(str(folder))
    return SentenceTransformer(modules=[module], device="cpu").eval()


def features(model: Any, texts: list[str]) -> dict[str, Any]:
    return dict(model.preprocess(texts))


def test_poly_encoders_loss_by_loops_over_its_definition(root: Path) -> None:
    from rankstone.training.losses.candidates import PolyCodes

    model = opened(root / "dense")
    torch.manual_seed(1)
    loss = PolyCodes(model, codes=3)
    columns = [QUERIES, DOCUMENTS[:2], DOCUMENTS[2:]]
    with torch.no_grad():
        found = float(loss([features(model, texts) for texts in columns]))
        states = {t: model.encode(t, output_value="token_embeddings").numpy()
                  for t in (*QUERIES, *DOCUMENTS)}  # fmt: skip
    codes, total = loss.codes.detach().numpy(), 0.0
    for place, query in enumerate(QUERIES):
        read = [softmax([code @ h for h in states[query]]) @ states[query] for code in codes]
        scores = []
        for text in DOCUMENTS:
            r = states[text][0]
            weights = softmax([r @ y for y in read])
            scores.append(sum(w * y for w, y in zip(weights, read, strict=True)) @ r)
        total -= log_softmax(scores)[place]
    assert found == pytest.approx(total / 2, rel=1e-4)


def test_a_uni_encoder_drops_attention_in_training_alone(root: Path) -> None:
    from rankstone.training.losses.candidates import PackedCandidates

    model = opened(root / "dense")
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5 if name.endswith("attention.self.dropout") else 0.0
    loss = PackedCandidates(model)
    columns = [features(model, texts) for texts in (QUERIES, DOCUMENTS[:2], DOCUMENTS[2:])]
    with torch.no_grad():
        values = {
            mode: {float(loss.train(mode)(columns)) for _ in range(2)} for mode in (True, False)
        }
    assert [len(values[mode]) for mode in (True, False)] == [2, 1]


def test_a_poly_encoder_has_codes(root: Path) -> None:
    spec = scorer(root, "poly_encoder", "poly_codes", options={"codes": 0})
    with pytest.raises(DefinitionError, match="'codes' is a number from 1, found 0"):
        recipe_run(root, spec, to="none").trained()


def test_uni_encoders_loss_by_a_mask_over_the_whole_sequence(root: Path) -> None:
    """One sequence with a (length, length) attention mask, as in the paper."""
    from transformers import AutoModel, AutoTokenizer

    from rankstone.training.losses.candidates import PackedCandidates

    torch.manual_seed(2)
    loss = PackedCandidates(model := opened(root / "dense"))
    columns = [QUERIES, DOCUMENTS[:2], DOCUMENTS[2:]]
    with torch.no_grad():
        found = float(loss([features(model, texts) for texts in columns]))
    bert: Any = AutoModel.from_pretrained(root / "dense", attn_implementation="eager").eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(root / "dense")
    total = 0.0
    for query, *candidates in zip(*columns, strict=True):
        parts = [tokenizer(text)["input_ids"] for text in (query, *candidates)]
        owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        seen = (owner[:, None] == owner) | (owner[:, None] == 0) | (owner == 0)
        start = len(parts[0])
        positions = [*range(start), *(start + n for part in parts[1:] for n in range(len(part)))]
        with torch.no_grad():
            states = bert(
                input_ids=torch.tensor([[*itertools.chain(*parts)]]),
                attention_mask=torch.from_numpy(np.where(seen, 0.0, -1e9))[None, None].float(),
                token_type_ids=torch.from_numpy((owner > 0).astype(np.int64))[None],
                position_ids=torch.tensor([positions]),
            ).last_hidden_state[0].numpy()  # fmt: skip
        weight, bias = loss.head.weight[0].detach().numpy(), float(loss.head.bias.detach())
        scores = [states[owner == n].mean(0) @ weight + bias for n in (1, 2)]
        total -= log_softmax(scores)[0]
    assert found == pytest.approx(total / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("adapter", "loss"), [("poly_encoder", "poly_codes"), ("uni_encoder", "packed_candidates")]
)
def test_the_scorer_scores_as_its_training_did(root: Path, adapter: str, loss: str) -> None:
    from safetensors.torch import load_file

    from rankstone.training.losses import candidates

    used = trained(root, adapter, loss)
    folder = used.model.folder
    model, extra = opened(folder), load_file(folder / "scorer.safetensors")
    with torch.no_grad():
        if adapter == "poly_encoder":
            asked = features(model, QUERIES[:1])
            states = model(dict(asked))["token_embeddings"]
            read = candidates.read_by_codes(extra["codes"], states, asked["attention_mask"] > 0)
            first = model(features(model, DOCUMENTS))["token_embeddings"][:, 0]
            expected = candidates.attended(first, read)[0]
        else:
            whole = candidates.PackedCandidates(model)
            whole.head.load_state_dict({"weight": extra["weight"][None], "bias": extra["bias"]})
            rows = [torch.tensor(model.tokenizer(text)["input_ids"])
                    for text in (QUERIES[0], *DOCUMENTS)]  # fmt: skip
            expected = whole.scores(rows[0], rows[1:])
    np.testing.assert_allclose(used.score(QUERIES[0], DOCUMENTS), expected, rtol=1e-4, atol=1e-5)
