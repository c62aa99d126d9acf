"""Tiny random checkpoints in the official layout, for definitions whose weights are out of reach.

One for each kind of checkpoint: what differs in the names of the weights alone is not repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

from rankstone.errors import ModelError
from rankstone.runners.construct import load_adapter, parts, refuse_unavailable
from rankstone.runners.models import locate
from rankstone.specs import AdapterSpec, MethodSpec, ModelSpec
from tests import tiny_language_models, tiny_models, tiny_rerankers

Write = Callable[[Path], Any]
Part = TypeVar("Part", bound=AdapterSpec)
SHORT = {"max_length": 64}
SHORT_QUERIES = {"query_length": 16}


def _encoder(name: str) -> Write:
    """The writer `name` of `tests/tiny_encoders.py`, which needs torch."""

    def write(folder: Path) -> None:
        from tests import tiny_encoders

        getattr(tiny_encoders, name)(folder)

    return write


def _towers(folder: Path) -> None:
    from tests import tiny_encoders

    for tower in ("ctx_encoder", "question_encoder"):
        tiny_encoders.dpr(folder / tower, tower)


def _two_berts(folder: Path) -> None:
    from tests import tiny_encoders

    tiny_encoders.bert(folder / "document")
    tiny_encoders.bert(folder / "query", seed=1)


def _docid_writer(folder: Path, documents: int = 0) -> None:
    tiny_language_models.write_seq2seq(folder, documents, scale=1.0)


def _idf(folder: Path) -> None:
    tiny_models.write_masked(folder)
    tiny_models.write_idf(folder)


def _vdr(folder: Path) -> None:
    tiny_models.write_vdr(folder, shift=20)
    tiny_models.tokenizer().save_pretrained(folder / "tokenizer")


def _bge_m3(folder: Path) -> None:
    from tests import tiny_embedders

    tiny_embedders.bge_m3(folder)


def _m2_bert(folder: Path) -> None:
    from tests import tiny_encoders

    tiny_encoders.m2_bert(folder)
    tiny_encoders.word_pieces(folder / "tokenizer")


LAYOUTS: dict[str, tuple[Write, dict[str, Any]]] = {
    "dense/tas-b": (_encoder("distilbert"), {}),
    "dense/e5-small-v2": (_encoder("bert"), {}),
    "dense/mcontriever": (_encoder("bert"), {}),
    "dense/dpr-multiset": (_towers, {}),
    "dense/ance": (_encoder("ance"), {}),
    "dense/unixcoder": (_encoder("unixcoder"), {}),
    "dense/nomic-embed-text-v1.5-256": (_encoder("nomic"), SHORT),
    "dense/mamba-retriever-130m": (_encoder("mamba"), SHORT),
    "dense/gear": (_two_berts, {}),
    "dense/m2-bert-2k": (_m2_bert, SHORT),
    "dense/modularstarencoder-18": (_encoder("modular_star_encoder"), SHORT),
    "dense/dupmae": (_encoder("dupmae"), {"top_k": 9}),
    "generative/dsi-naive": (_docid_writer, SHORT_QUERIES),
    "generative/dsi-atomic": (
        partial(_docid_writer, documents=100),
        SHORT_QUERIES,
    ),
    "generative/dsi-semantic": (
        _docid_writer,
        {**SHORT_QUERIES, "branching": 3, "leaf": 4},
    ),
    "hybrid/bge-m3-hybrid": (
        _bge_m3,
        {
            "dense": SHORT,
            "token_weights": SHORT,
            "token_vectors": {"query_length": 32, "document_length": 64},
        },
    ),
    "late_interaction/colbertv2": (partial(tiny_models.write_stanford_colbert, dim=128), {}),
    "late_interaction/gte-moderncolbert": (partial(tiny_models.write_pylate_colbert, dim=128), {}),
    "rerank/bm25-minilm-l6-cross": (tiny_rerankers.write_cross_encoder, SHORT),
    "rerank/minilm-l6-cross-anncur": (tiny_rerankers.write_cross_encoder, SHORT),
    "rerank/bm25-poly-encoder": (
        tiny_rerankers.write_poly_encoder,
        {"query_length": 64, "document_length": 64},
    ),
    "rerank/bm25-uni-encoder": (
        tiny_rerankers.write_uni_encoder,
        {"query_length": 32, "document_length": 32},
    ),
    "rerank/gear-sentences": (
        tiny_rerankers.write_fusion,
        {"layer": 2, "query_length": 32, "document_length": 90},
    ),
    "rerank/bm25-qwen3-reranker-0.6b": (tiny_language_models.write_causal, {"max_length": 400}),
    "rerank/bm25-monot5-base": (tiny_language_models.write_seq2seq, SHORT),
    "rerank/bm25-rank-zephyr": (tiny_language_models.write_silent, {"passage_words": 6}),
    "rerank/bm25-jina-reranker-v3": (tiny_language_models.write_own_code, {}),
    "rerank/svdr-msmarco-beta": (_vdr, {"shift": 20, "top_k": 16}),
    "sparse/splade-pp-ed": (tiny_models.write_masked, {}),
    "sparse/bge-m3-sparse": (_bge_m3, SHORT),
    "sparse/opensearch-doc-v2-mini": (_idf, {}),
    "sparse/svdr-msmarco": (_vdr, {"shift": 20, "top_k": 16}),
}
"""Definition -> the writer of its checkpoint, and parameters that a small one needs; of members,
those by adapter."""

FOLDERS = {"dense/dpr-multiset": {"model": "ctx_encoder", "query_model": "question_encoder"}}
"""Of definitions whose models are separate repositories: the folder of each."""


def within_reach(spec: MethodSpec) -> bool:
    """True if all weights of `spec` are on this machine, and its server is the adapter's own.

    Raises where the weights are not those pinned.
    """
    try:
        for _, part in parts(spec):
            if part.parameters.get("url_env"):
                return False
            if isinstance(part, MethodSpec):
                refuse_unavailable(part)
            for model in part.models.values():
                _located(model.model_dump_json())
    except ModelError as error:
        reason = str(error).partition("\n")[0]
        if "was not found" not in reason and "never released" not in reason:
            raise
        return False
    return True


@cache
def _located(model: str) -> None:
    locate(ModelSpec.model_validate_json(model))


def stand_in(spec: MethodSpec, folder: Path) -> MethodSpec:
    """`spec` with a tiny checkpoint, written to `folder`, in place of its weights."""
    write, changes = LAYOUTS[spec.name]
    folder.mkdir(parents=True, exist_ok=True)
    write(folder)
    return _moved(spec, folder, changes, FOLDERS.get(spec.name, {}))


def _moved(spec: Part, folder: Path, changes: dict[str, Any], folders: dict[str, str]) -> Part:
    """`spec`, its members and its scorer with every model that is out of reach from `folder`."""
    update: dict[str, Any] = {
        "members": tuple(
            member if within_reach(member) else _moved(member, folder, changes, folders)
            for member in spec.members
        )
    }
    scorer = getattr(spec, "scorer", None)
    if scorer is not None:
        update["scorer"] = _moved(scorer, folder, changes, folders)
    for key, model in spec.models.items():
        path = str(folder / folders.get(key, ""))
        update[key] = model.model_copy(update={"path": path, "sha256": {}})
    if spec.models:
        accepted = {field.name for field in fields(load_adapter(spec, "a stand-in"))}
        engine = {"engine": "torch"} if "engine" in accepted else {}
        changed = changes.get(spec.adapter, changes)
        update["parameters"] = {**spec.parameters, "device": "cpu", **engine, **changed}
        if "tokenizer" in spec.parameters:
            update["parameters"]["tokenizer"] = str(folder / "tokenizer")
    return spec.model_copy(update=update)
