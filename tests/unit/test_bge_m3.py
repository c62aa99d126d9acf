"""BGE-M3's three representations and their sum, against its equations in transformers."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import torch
from transformers import AutoModel, AutoTokenizer

from rankstone.errors import ModelError
from rankstone.runners.construct import build_runner
from rankstone.runners.testing import PlainContext
from rankstone.specs import MethodSpec
from rankstone.workspace import Workspace
from tests.conformance.stand_ins import stand_in
from tests.tiny_embedders import bge_m3

SPEC = Workspace.find(Path(__file__).resolve().parents[2]).method("hybrid/bge-m3-hybrid")
DOCUMENTS = ["the fox of the river", "a bear", "", "glacier market engine " * 40, "Fox fox <unk> %"]
QUERIES = ["which fox crosses the river", "bear market", ""]
DENSE, SPARSE, MULTI = range(3)
LIMITS = {"query": (64, 64, 32), "document": (64, 64, 64)}


pytestmark = pytest.mark.usefixtures("module_cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("bge-m3") / "model"


@pytest.fixture(scope="module")
def hybrid(folder):
    return stand_in(SPEC, folder)


def forms(folder: Path, loaded: tuple[Any, Any], text: str, role: str) -> tuple[Any, Any, Any]:
    """Return the vector, the weights by token, and the token vectors of a text."""
    tokenizer, model = loaded
    names = ("sparse", "colbert")
    maps = {n: torch.load(folder / f"{n}_linear.pt", weights_only=True) for n in names}
    special = {tokenizer.convert_tokens_to_ids(t) for t in ("<s>", "</s>", "<pad>", "<unk>")}
    found = []
    for form, length in enumerate(LIMITS[role]):
        given = tokenizer(text, truncation=True, max_length=length, return_tensors="pt")
        with torch.inference_mode():
            states = model.eval()(**given).last_hidden_state[0]
        if form == DENSE:
            found.append((states[0] / states[0].norm()).numpy())
        elif form == SPARSE:
            weights = defaultdict(float)
            for token, state in zip(given["input_ids"][0].tolist(), states, strict=True):
                weight = float(maps["sparse"]["weight"][0] @ state + maps["sparse"]["bias"][0])
                if token not in special and weight > weights[token]:
                    weights[token] = weight
            found.append({token: weight for token, weight in weights.items() if weight > 0})
        else:
            rows = [maps["colbert"]["weight"] @ s + maps["colbert"]["bias"] for s in states[1:]]
            found.append(torch.stack([row / row.norm() for row in rows]).numpy())
    return tuple(found)


@pytest.fixture(scope="module")
def official(hybrid, folder):
    texts = {"query": QUERIES, "document": DOCUMENTS}
    loaded = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    return {
        role: [forms(folder, loaded, text, role) for text in own] for role, own in texts.items()
    }


def member(spec: MethodSpec, form: int, engine: str) -> Any:
    one = spec.members[form]
    return build_runner(one.model_copy(update={"parameters": {**one.parameters, "engine": engine}}))


@pytest.mark.parametrize("engine", ["torch", pytest.param("openvino", marks=pytest.mark.slow)])
def test_each_form_is_that_of_its_equation(hybrid, official, engine):
    if engine == "openvino":
        pytest.importorskip("openvino")
    dense, sparse, multi = (member(hybrid, form, engine) for form in (DENSE, SPARSE, MULTI))
    for role, texts in (("query", QUERIES), ("document", DOCUMENTS)):
        vectors, rows = dense.encode(texts, role), sparse.encode(texts, role)
        matrices = multi.encode(texts, role).matrices()
        for number, (vector, weights, rest) in enumerate(official[role]):
            np.testing.assert_allclose(vectors[number], vector, atol=1e-5)
            row = rows[number]
            assert set(np.flatnonzero(row)) == set(weights)
            np.testing.assert_allclose([row[t] for t in weights], [*weights.values()], rtol=1e-4)
            scale = len(rest) if role == "query" else 1
            np.testing.assert_allclose(matrices[number] * scale, rest, atol=2e-3)
    assert {one.describe()["engine"].split()[0] for one in (dense, sparse, multi)} == {engine}


def test_the_sum_is_over_all_candidates_by_all_forms(hybrid, official, tmp_path):
    runner = build_runner(hybrid)
    context = PlainContext(texts=DOCUMENTS, work=tmp_path)
    index = runner.index(context.encoded(runner), context)
    hits = index.search(runner.encode(QUERIES, "query"), 10)
    for row, (vector, weights, rest) in enumerate(official["query"]):
        sums = []
        for other in official["document"]:
            lexical = sum(w * other[SPARSE].get(token, 0) for token, w in weights.items())
            late = np.mean([max(float(q @ d) for d in other[MULTI]) for q in rest])
            sums.append(float(vector @ other[DENSE]) + 0.3 * lexical + late)
        order = np.argsort(-np.array(sums))
        assert hits.docs[row][: len(sums)].tolist() == order.tolist()
        np.testing.assert_allclose(
            hits.scores[row][: len(sums)], np.array(sums)[order], rtol=1e-3, atol=1e-3
        )
        assert (hits.docs[row][len(sums) :] == -1).all()


def test_weights_beside_the_usual_ones_are_part_of_the_model(tmp_path):
    bge_m3(tmp_path / "model")
    spec = Workspace.find(Path(__file__).resolve().parents[2]).method("sparse/bge-m3-sparse")
    here = spec.at(tmp_path / "model")
    assert here.model is not None
    here = here.model_copy(update={"model": here.model.model_copy(update={"sha256": {}})})
    assert "sparse_linear.pt" in build_runner(here).describe()["files"]
    (tmp_path / "model" / "sparse_linear.pt").unlink()
    with pytest.raises(ModelError, match=r"no file 'sparse_linear\.pt' in"):
        build_runner(here)
