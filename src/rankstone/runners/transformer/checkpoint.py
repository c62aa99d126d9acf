"""What scorers share that read a checkpoint themselves: loading, batches, padding, counting.

torch and transformers are imported inside functions: adapters import this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import Json, Truncation
from rankstone.runners.transformer.engines.choice import best_device

Dtype = Literal["float32", "float16", "bfloat16"]


def load(kind: str, folder: Path, dtype: Dtype, device: str | None, **more: Any) -> Any:
    """The model in `folder` as transformers' class `kind` reads it, ready for inference.

    Its `costs` are the `Costs` of what every token goes through, without a classifier.
    """
    import torch
    import transformers
    from transformers.utils.logging import disable_progress_bar

    from rankstone.runners.transformer.flops import costs

    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        model = getattr(transformers, kind).from_pretrained(
            folder, dtype=getattr(torch, dtype), local_files_only=True, **more
        )
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: cannot be read as {kind}: {error}") from error
    model.costs = costs(model.base_model)
    return model.to(device or best_device()).eval()


def load_tokenizer(folder: Path) -> Any:
    import transformers

    return transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)


def extra_tensors(model: LocatedModel, name: str, *wanted: str) -> dict[str, Any]:
    """The tensors `wanted` of a safetensors file beside the backbone; a ModelError if missing."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = model.folder / name
    try:
        found = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"Model '{model.id}': {path}: cannot be read: {error}") from error
    for key in wanted:
        if key not in found:
            raise ModelError(
                f"Model '{model.id}': {path}: no tensor '{key}'."
                f" Found: {', '.join(sorted(found)) or 'nothing'}."
            )
    return found


def check_positions(model: LocatedModel, backbone: Any, longest: int) -> None:
    """Raise a DefinitionError if sequences may become longer than the backbone has positions."""
    limit = backbone.config.max_position_embeddings
    if longest > limit:
        raise DefinitionError(
            f"Model '{model.id}' has {limit} positions, and query_length and document_length ask"
            f" for {longest}. Lower these parameters."
        )


def libraries() -> dict[str, Json]:
    """For `describe`."""
    return {
        "engine": f"torch {version('torch')}",
        "libraries": {"transformers": version("transformers")},
    }


def padded(rows: Sequence[Sequence[int]], fill: int) -> Any:
    """(len(rows), longest) int64 tensor, filled up at the right."""
    import torch

    out = np.full((len(rows), max(map(len, rows))), fill, dtype=np.int64)
    for row, values in enumerate(rows):
        out[row, : len(values)] = values
    return torch.from_numpy(out)


def mask_of(rows: Sequence[Sequence[int]]) -> Any:
    """1 where `padded` keeps a value, 0 where it fills."""
    return padded([[1] * len(row) for row in rows], 0)


def cut_apart(
    tokenizer: Any, query: str, documents: Sequence[str], limits: tuple[int, int]
) -> Truncation:
    """Of pairs whose query and document each have a limit, special tokens included."""
    of_query = len(_token_ids(tokenizer, [query])[0]) + 2
    lengths = [len(ids) + 2 for ids in _token_ids(tokenizer, documents)]
    of_documents = np.array(lengths, dtype=np.int64)
    kept = min(of_query, limits[0]) + np.minimum(of_documents, limits[1])
    return Truncation.of(of_query + of_documents, kept)


def _token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Tokens of each text, no limit, no special tokens."""
    if not len(texts):
        return []
    encoded = tokenizer(
        list(texts),
        add_special_tokens=False,
        truncation=False,
        padding=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def framed(tokenizer: Any, texts: Sequence[str], limit: int) -> list[list[int]]:
    """`[CLS] ids [SEP]` of each text, with as many ids as `limit` leaves room for."""
    first, last = tokenizer.cls_token_id, tokenizer.sep_token_id
    return [[first, *ids[: limit - 2], last] for ids in _token_ids(tokenizer, texts)]
