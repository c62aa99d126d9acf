"""Dual encoders: one vector per text, with exact search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.protocols import STRICT, Chunks, Context, Json, Role
from rankstone.runners.search.exact.flat import ExactIndex
from rankstone.runners.search.exact.gpu import GpuIndex, exact
from rankstone.runners.transformer.checkpoint_files import read_json
from rankstone.runners.transformer.encoder import ROLES, Names, TransformerSettings
from rankstone.runners.transformer.network import Head, Loaded, Network

Vectors = NDArray[np.float32]
Pooling = Literal["cls", "mean", "last", "max", "pooler", "own"]
SIMILARITY = "config_sentence_transformers.json", "similarity_fn_name"


@plain_dataclass(frozen=True, kw_only=True)
class Vector(Head):
    """Network with one vector per text, and changes to the checkpoint's modules; None or an empty
    value leaves them unchanged."""

    pooling: Pooling | None
    projection: tuple[str, ...]
    layer_norm: bool
    dimensions: int | None
    normalize: bool | None
    prompt_pooled: bool | None

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.vectors import Changes, load

        return load(network, Changes(**asdict(self)))


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DenseEncoder(TransformerSettings):
    """Pooled hidden states of a transformer, after the model's further modules.

    Vectors equal those of `encode` in sentence-transformers up to rounding, which depends on the
    batch: that library loads the checkpoint, with all modules in `modules.json`. A plain
    transformer gets the modules that the definition states.
    """

    pooling: Pooling | None = None
    """cls: the first token's state; mean: over all tokens; last: the last token's; pooler: BERT's
    tanh(W h + b) of the first token; own: `output` is the vector. None: as in the model's
    configuration."""
    projection: Names = ()
    """Modules in the model's weights that are applied to the pooled vector, by name: linear maps
    and layer norms, such as ANCE's `embeddingHead` and `norm`."""
    layer_norm: bool = False
    """Apply layer norm without weights to the pooled vector, as nomic-embed does before
    truncation."""
    dimensions: Annotated[int, Field(ge=1)] | None = None
    """Number of leading dimensions to keep (Matryoshka); normalised after truncation."""
    normalize: bool | None = None
    """Scale vectors to unit length; None: for cosine, or if the model's configuration does."""
    prompt_pooled: bool | None = None
    """False: pooling skips the tokens before the text, including the prompt, as GritLM does with
    its instruction. None: as in the model's configuration."""
    similarity: Literal["cosine", "dot"] | None = None
    """None: as in the model's configuration, cosine if it states none."""

    def __post_init__(self) -> None:
        if self.similarity != "dot" and self.normalize is False:
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
        query, document = (self._pooling_of(role) for role in ROLES)
        modules = self._tower("document").facts.modules
        by_role: Json = {"query": query, "document": document}
        return {
            **self._describe(),
            "pooling": document if query == document else by_role,
            "projection": self.projection,
            "layer_norm": self.layer_norm,
            "dimensions": self.dimensions,
            "normalized": bool(modules) and modules[-1]["type"] == "Normalize",
            "similarity": self._similarity,
            "index": ExactIndex.DESCRIPTION,
        }

    def encode(self, texts: Sequence[str], role: Role) -> Vectors:
        """(len(texts), dim) vectors, C-contiguous."""
        vectors: Vectors | None = None
        for rows, batch in self._encode(texts, role, lambda output, ids, mask: output):
            if vectors is None:
                vectors = np.empty((len(texts), batch.shape[1]), dtype=np.float32)
            vectors[rows] = batch
        return np.empty((0, self._dim(role)), dtype=np.float32) if vectors is None else vectors

    def index(self, documents: Chunks[Vectors], context: Context) -> ExactIndex | GpuIndex:
        return exact(documents, context.device)

    def _head(self, role: Role) -> Vector:
        return Vector(
            pooling=self.pooling,
            projection=self.projection,
            layer_norm=self.layer_norm,
            dimensions=self.dimensions,
            normalize=True if self._similarity == "cosine" else self.normalize,
            prompt_pooled=self.prompt_pooled,
        )

    def _dim(self, role: Role) -> int:
        return int(self.encode([""], role).shape[1])

    @cached_property
    def _similarity(self) -> str:
        """Stated similarity, else that of the checkpoint's configuration."""
        file, key = SIMILARITY
        own = read_json(self.model.folder / file).get(key) or "cosine"
        if self.similarity is None and own not in ("cosine", "dot"):
            raise DefinitionError(
                f"Model '{self.model.id}' compares vectors by '{own}' ({key} in {file}), and"
                " vectors are searched by cosine or dot. State one: parameters.similarity."
            )
        return self.similarity or str(own)

    def _pooling_of(self, role: Role) -> str:
        """Return the stated pooling, else that of the configuration of the role's model."""
        if self.pooling is not None:
            return self.pooling
        modes = [m["pooling_mode"] for m in self._tower(role).facts.modules if "pooling_mode" in m]
        names = [mode if isinstance(mode, str) else "+".join(mode) for mode in modes]
        return names[0].replace("lasttoken", "last") if names else "own"
