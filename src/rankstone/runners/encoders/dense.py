"""Dual encoders: one vector per text, and exact search over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.models import LocatedModel
from rankstone.runners.protocols import STRICT, Chunks, Context, Json, Role
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.transformer.encoder import Names, TransformerSettings
from rankstone.runners.transformer.pooling import (
    Head,
    LayerNorm,
    Linear,
    Pooling,
    named_steps,
    pool,
    sentence_head,
)
from rankstone.runners.transformer.tokens import Ids

Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DenseEncoder(TransformerSettings):
    """Pooled hidden states of a transformer, and what the model does to them.

    Vectors equal those of the model library's own documented use up to the last bits, which
    depend on what shares a batch. What a definition leaves out is taken from the model's
    sentence-transformers settings (`modules.json`), if it has them.
    """

    pooling: Pooling | None = None
    """cls: the first token's state; mean: of all tokens; last: the last token's; pooler: BERT's
    tanh(W h + b) of the first token; own: `output` is the vector. None: as the model's settings
    say."""
    projection: Names = ()
    """Modules of the model's weights that the pooled vector goes through, by name: linear maps and
    layer norms, as ANCE's `embeddingHead` and `norm`."""
    layer_norm: bool = False
    """Standardise the pooled vector, without weights, as nomic-embed does before truncation."""
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """Keep only the first so many (Matryoshka); normalised after the cut."""
    normalize: bool | None = None
    """Scale vectors to unit length; None: for cosine, and where the model's settings do."""
    similarity: Literal["cosine", "dot"] = "cosine"

    def __post_init__(self) -> None:
        if self.similarity == "cosine" and self.normalize is False:
            raise DefinitionError(
                "key 'parameters.normalize': cosine is the inner product of unit vectors."
                ' Remove the key, or set similarity = "dot".'
            )
        if (self.output is not None) != (self.pooling == "own"):
            raise DefinitionError(
                "key 'parameters.output': vectors that the model makes itself go with"
                ' pooling = "own". State both or neither.'
            )
        if self.padding_side == "left" and self.output is None:
            raise DefinitionError(
                "key 'parameters.padding_side': left is for models that pool by themselves."
                " Remove it, or state parameters.output."
            )

    def describe(self) -> Mapping[str, Json]:
        query, document = self._poolings["query"], self._poolings["document"]
        by_role: Json = {"query": query, "document": document}
        return {
            **self._describe(),
            "pooling": document if query == document else by_role,
            "head": [type(step).__name__ for step in self._steps["document"]],
            "projection": self.projection,
            "layer_norm": self.layer_norm,
            "dimensions": self.dimensions,
            "normalized": self._normalize,
            "similarity": self.similarity,
            "index": ExactIndex.DESCRIPTION,
        }

    def encode(self, texts: Sequence[str], role: Role) -> Vectors:
        """(len(texts), dim) vectors, C-contiguous."""
        vectors: Vectors | None = None
        for rows, batch in self._encode(texts, role, self._finisher(role)):
            if vectors is None:
                vectors = np.empty((len(texts), batch.shape[1]), dtype=np.float32)
            vectors[rows] = batch
        if vectors is None:
            return np.empty((0, self._dim(role)), dtype=np.float32)
        return vectors

    def index(self, documents: Chunks[Vectors], context: Context) -> ExactIndex:
        return ExactIndex.build(documents)

    def _finisher(self, role: Role) -> Any:
        weights, pooling = self._tower(role).engine.head, self._poolings[role]

        def finish(hidden: NDArray[np.float32], ids: Ids, mask: Ids) -> Vectors:
            vectors = pool(hidden, mask, pooling, weights)
            for step in self._steps[role]:
                vectors = step(vectors)
            return self._finished(vectors)

        return finish

    def _finished(self, vectors: Vectors) -> Vectors:
        if self.layer_norm:
            centred = vectors - vectors.mean(axis=1, keepdims=True)
            vectors = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + 1e-5)
        if self.dimensions is not None:
            if self.dimensions > vectors.shape[1]:
                raise DefinitionError(
                    f"key 'parameters.dimensions': {self.dimensions}, but the vectors of"
                    f" '{self.model.id}' have {vectors.shape[1]}. Correct it."
                )
            vectors = vectors[:, : self.dimensions]
        if self._normalize:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = vectors / np.maximum(norms, 1e-12)
        return np.ascontiguousarray(vectors, dtype=np.float32)

    def _dim(self, role: Role) -> int:
        return int(self.encode([""], role).shape[1])

    @cached_property
    def _normalize(self) -> bool:
        if self.normalize is None:
            return self.similarity == "cosine" or self._heads["document"].normalize
        return self.normalize

    @cached_property
    def _models(self) -> dict[Role, LocatedModel]:
        return {"query": self.query_model or self.model, "document": self.model}

    @cached_property
    def _heads(self) -> dict[Role, Head]:
        document = sentence_head(self.model)
        query = document if self.query_model is None else sentence_head(self.query_model)
        return {"query": query, "document": document}

    @cached_property
    def _steps(self) -> dict[Role, list[Linear | LayerNorm]]:
        """What follows the pooling, for each role."""
        made = {
            role: [*self._heads[role].steps, *named_steps(model, self.projection)]
            for role, model in self._models.items()
            if role == "document" or self.query_model is not None
        }
        return {"query": made["document"], **made}

    @cached_property
    def _poolings(self) -> dict[Role, Pooling]:
        """As stated for both roles, or as the settings of each role's model say."""
        found: dict[Role, Pooling] = {}
        for role, model in self._models.items():
            pooling = self.pooling or self._heads[role].pooling
            if pooling is None:
                raise DefinitionError(
                    f"Model '{model.id}' does not say how its vectors are pooled."
                    " State it: parameters.pooling."
                )
            found[role] = pooling
        return found
