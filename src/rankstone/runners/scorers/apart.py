"""Scorers that read query and candidate apart: lengths, truncation, and tensors of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import Truncation
from rankstone.runners.transformer.network import Array, Facts
from rankstone.runners.transformer.tokens import Tokens

EXTRA = "scorer.safetensors"


def extra_tensors(model: LocatedModel, *wanted: str) -> dict[str, Array]:
    """The tensors beside the backbone, in float32; a ModelError if one of `wanted` is missing."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = model.folder / EXTRA
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"Model '{model.id}': {path}: cannot be read: {error}") from error
    for key in wanted:
        if key not in tensors:
            raise ModelError(
                f"Model '{model.id}': {path}: no tensor '{key}'."
                f" Found: {', '.join(sorted(tensors)) or 'nothing'}."
            )
    return {name: tensor.astype(np.float32) for name, tensor in tensors.items()}


def check_positions(model: LocatedModel, facts: Facts, longest: int) -> None:
    """Raise a DefinitionError if sequences may become longer than the backbone has positions."""
    if facts.positions is not None and longest > facts.positions:
        raise DefinitionError(
            f"Model '{model.id}' has {facts.positions} positions, and query_length and"
            f" document_length ask for {longest}. Lower these parameters."
        )


def truncated_apart(
    of_query: Tokens, of_documents: Tokens, query: str, documents: Sequence[str]
) -> Truncation:
    """Pairs whose query and document each have a limit, special tokens included."""
    (asked,) = of_query.encode([query]).counts
    counts = of_documents.encode(documents).counts
    limits = of_query.limit, of_documents.limit
    assert limits[0] is not None
    assert limits[1] is not None
    return Truncation.of(asked + counts, min(asked, limits[0]) + np.minimum(counts, limits[1]))
