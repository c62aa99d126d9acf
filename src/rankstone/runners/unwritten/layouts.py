"""Adapter and parameters of a model, detected from its files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from rankstone.errors import ModelError
from rankstone.runners.models import WEIGHTS, LocatedModel
from rankstone.runners.transformer.checkpoint_files import module_paths, module_types, read_json
from rankstone.runners.transformer.encoder import PROMPT_NAMES
from rankstone.specs import INSTRUCTION

LIBRARY = "config_sentence_transformers.json"
STANFORD = "artifact.metadata"
SCORERS = ("cross_encoder", "causal_reranker", "seq2seq_reranker", "listwise")
"""Adapters of models that re-score candidates."""
PROMPTS = {"qwen3": "qwen3", "qwen2": "mxbai-v2"}
"""Causal model type -> the prompt of released rerankers of that type."""
MOST_TOKENS = 10**6
"""A larger `model_max_length` means "no limit"."""


class Layout(NamedTuple):
    """An adapter and its parameters."""

    adapter: str
    parameters: dict[str, Any]


def layout(model: LocatedModel, stated: Mapping[str, Any]) -> Layout:
    """Return the layout stated by the files of `model`.

    Args:
        stated: explicit values; `adapter` overrides the files.

    Raises: ModelError, if there are no weights, or files and values are insufficient.
    """
    if not any(name.endswith(WEIGHTS) for name in model.files):
        raise ModelError(
            f"Model '{model.id}': no weights in {model.folder} ({', '.join(WEIGHTS)})."
            " Name the folder that `save_pretrained` wrote."
        )
    adapter = stated.get("adapter") or _adapter(model)
    parameters = PARAMETERS[adapter](model) if adapter in PARAMETERS else {}
    if adapter == "late_interaction":
        _require(model, {**parameters, **stated})
    return Layout(adapter, parameters)


def _adapter(model: LocatedModel) -> str:
    """Return the adapter for the model."""
    types, library = module_types(model.folder), read_json(model.folder / LIBRARY)
    kind, classes = library.get("model_type"), _architectures(model)
    if "HF_ColBERT" in classes or kind in ("ColBERT", "MultiVectorEncoder"):
        return "late_interaction"
    if "query_prefix" in library:
        return "late_interaction"
    if kind == "SparseEncoder" or any(t.endswith("SpladePooling") for t in types):
        return "sparse"
    if kind == "CrossEncoder" or any(c.endswith("ForSequenceClassification") for c in classes):
        return "cross_encoder"
    if any(t.endswith(".Pooling") for t in types):
        return "dense"
    if any(t.endswith(".StaticEmbedding") for t in types):
        return "static"
    seen = f"{' or '.join(classes) or 'no architecture'}, {', '.join(types) or 'no modules.json'}"
    raise ModelError(
        f"Model '{model.id}': its files do not say how it retrieves ({seen}). State it:"
        " --set adapter=dense --set pooling=cls (or mean, last, max), --set adapter=sparse, or for"
        f" one that re-scores --set adapter={', '.join(SCORERS[:-1])} or {SCORERS[-1]}."
    )


def _architectures(model: LocatedModel) -> list[str]:
    return [
        str(name) for name in read_json(model.folder / "config.json").get("architectures") or ()
    ]


def _prompts(model: LocatedModel) -> dict[str, Any]:
    """Return the model's own prompts by role, if any, under the library's names."""
    own = read_json(model.folder / LIBRARY).get("prompts") or {}
    found = {role: next((own[n] for n in names if own.get(n)), None)
             for role, names in PROMPT_NAMES.items()}  # fmt: skip
    prompts = {role: words for role, words in found.items() if words is not None}
    return {"prompts": prompts} if prompts else {}


def _static(model: LocatedModel) -> dict[str, Any]:
    """Return the folder of token embeddings, and the similarity, as used by the library."""
    modules = zip(module_types(model.folder), module_paths(model.folder), strict=True)
    path = next(path for kind, path in modules if kind.endswith(".StaticEmbedding"))
    inside = f"{path}/" if path.strip("./") else ""
    names = {"weights": f"{inside}model.safetensors", "tokenizer": f"{inside}tokenizer.json"}
    own = read_json(model.folder / LIBRARY).get("similarity_fn_name") or "cosine"
    unit = any(kind.endswith(".Normalize") for kind in module_types(model.folder))
    return {**names, "similarity": "dot" if own == "dot" and not unit else "cosine"}


def _pairs(model: LocatedModel) -> dict[str, Any]:
    """Return the length stated by the model's tokenizer, as used by the library."""
    length = read_json(model.folder / "tokenizer_config.json").get("model_max_length")
    stated = isinstance(length, int) and 8 <= length < MOST_TOKENS
    return {"max_length": length} if stated else {}


def _causal(model: LocatedModel) -> dict[str, Any]:
    """Return the prompt of released rerankers of the model's type."""
    kind = read_json(model.folder / "config.json").get("model_type")
    more = {"instruction": INSTRUCTION} if kind == "qwen3" else {}
    return {"template": PROMPTS[kind], **more} if kind in PROMPTS else {}


def _late_interaction(model: LocatedModel) -> dict[str, Any]:
    stanford = "HF_ColBERT" in _architectures(model)
    found = _of_stanford(model) if stanford else _of_pylate(model)
    return {key: value for key, value in found.items() if value is not None}


def _of_stanford(model: LocatedModel) -> dict[str, Any]:
    """Return the parameters in Stanford ColBERT's configuration, with its default markers."""
    own = read_json(model.folder / STANFORD)
    return {
        "query_length": own.get("query_maxlen"),
        "document_length": own.get("doc_maxlen"),
        "query_marker": own.get("query_token_id") or "[unused0]",
        "document_marker": own.get("doc_token_id") or "[unused1]",
        "dim": own.get("dim"),
        "attend_to_mask": bool(own.get("attend_to_mask_tokens")),
        "skip": "punctuation" if own.get("mask_punctuation", True) else "nothing",
    }


def _of_pylate(model: LocatedModel) -> dict[str, Any]:
    """Return the parameters in PyLate's or sentence-transformers' configuration."""
    own = read_json(model.folder / LIBRARY)
    inner = read_json(model.folder / "sentence_bert_config.json")
    prompts = own.get("prompts") or {}
    expansion = inner.get("query_expansion") or {}
    plainly = "query_expansion" in inner and not inner["query_expansion"]
    return {
        "query_length": own.get("query_length")
        or expansion.get("length")
        or inner.get("query_length"),
        "document_length": own.get("document_length") or inner.get("document_length"),
        "query_marker": own.get("query_prefix") or prompts.get("query"),
        "document_marker": own.get("document_prefix") or prompts.get("document"),
        "dim": _width(model),
        "augment_queries": bool(own.get("do_query_expansion", not plainly)),
        "attend_to_mask": bool(own.get("attend_to_expansion_tokens", expansion.get("attend"))),
        "skip": "punctuation" if own.get("skiplist_words", True) else "nothing",
    }


def _width(model: LocatedModel) -> int | None:
    """Return the output dimensions of the last linear map among the modules."""
    configs = [
        n for n in sorted(model.files) if PurePosixPath(n).name == "config.json" and "/" in n
    ]
    widths = [read_json(model.folder / name).get("out_features") for name in configs]
    return next((width for width in reversed(widths) if isinstance(width, int)), None)


def _require(model: LocatedModel, stated: Mapping[str, Any]) -> None:
    """Raise ModelError if a parameter of late interaction is missing."""
    needed = ("query_length", "document_length", "query_marker", "document_marker", "dim")
    missing = [key for key in needed if key not in stated]
    if missing:
        options = " ".join(f"--set {key}=VALUE" for key in missing)
        raise ModelError(
            f"Model '{model.id}': its files do not state {', '.join(missing)}. State it: {options}"
        )


PARAMETERS = {
    "dense": _prompts,
    "sparse": _prompts,
    "static": _static,
    "cross_encoder": _pairs,
    "causal_reranker": _causal,
    "late_interaction": _late_interaction,
}
