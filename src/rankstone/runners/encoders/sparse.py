"""Learned sparse encoders: one weight per entry of the vocabulary, and exact search over them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.encoders.bag_of_tokens import (
    TokenTower,
    activated,
    largest,
    special_ids,
    unpadded,
)
from rankstone.runners.protocols import STRICT, Chunks, Context, Json, Role
from rankstone.runners.representations.sparse_rows import Row, SparseRows, sparse_rows
from rankstone.runners.search.exact.inverted_index import InvertedIndex
from rankstone.runners.transformer.batching import windows
from rankstone.runners.transformer.encoder import Length, TransformerSettings
from rankstone.runners.transformer.network import Array, Facts, Loaded, Network
from rankstone.runners.transformer.tokens import Ids
from rankstone.runners.transformer.tower import Tower

IDF = "idf.json"
Activation = Literal["log1p", "log1p2"]
"""log1p: log(1 + relu(x)), as SPLADE has it; log1p2: log(1 + log(1 + relu(x)))."""


@plain_dataclass(frozen=True, kw_only=True)
class Splade:
    """The kind of a network whose logits over the vocabulary are pooled over a text's tokens."""

    activation: Activation | None
    pooling: Literal["max", "sum"] | None
    """None: as the checkpoint's own pooling has it."""

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.vocabulary import load_splade

        return load_splade(network, self.pooling, self.activation)

    def comparable(self, outputs: Array, facts: Facts) -> Array:
        """Weights: sums are activated before they are summed."""
        pooling, activation = pooled_by(facts)
        return outputs if pooling == "sum" else activated(np.maximum(outputs, 0), activation)


def pooled_by(facts: Facts) -> tuple[str, str]:
    """Pooling and activation of a loaded network, in our words."""
    own = facts.modules[-1]
    double = own["activation_function"] == "log1p_relu"
    return str(own["pooling_strategy"]), "log1p2" if double else "log1p"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SparseEncoder(TransformerSettings):
    """SPLADE and its kin: activated logits of a masked language model, pooled over tokens.

    w_j = max_t log(1 + relu(logit_tj)) over the tokens t of a text, special tokens included (Formal
    et al. 2021, SPLADE v2, arXiv:2109.10086, equations 1 and 3), or the sum in place of the maximum
    (SPLADE v1). The score is the inner product.

    Queries may do without the network (OpenSearch's doc-only models, Geng et al. 2024,
    arXiv:2411.04403): every token that a query holds, once, with a weight from `idf.json`. Then no
    network is loaded for them.

    Values equal those of sentence-transformers' SparseEncoder up to the last bits, which depend on
    what shares a batch. Only documents that share a term with the query are results.
    """

    activation: Activation | None = None
    """log1p: as above; log1p2: log(1 + log(1 + relu(x))), of the L0 models (arXiv:2504.14839).
    None: as the model's settings state it, log1p where they do not."""
    pooling: Literal["max", "sum"] | None = None
    """None: as the model's settings state it, max where they do not."""
    special_tokens: Literal["keep", "drop"] = "keep"
    """drop: the tokenizer's special tokens weigh nothing, as in OpenSearch's models."""
    top_k: Length | dict[Role, Length] | None = None
    """Keep so many of the largest weights of a text; None: all above zero."""
    query: Literal["model", "idf", "tokens"] = "model"
    """What weighs a query's terms: the network; `idf.json`; or nothing, each counts 1."""

    def __post_init__(self) -> None:
        if self.query != "model" and self.query_model is not None:
            raise DefinitionError(
                f"key 'parameters.query': \"{self.query}\" needs no model of queries."
                " Remove query_model, or the key."
            )

    def describe(self) -> Mapping[str, Json]:
        pooling, activation = pooled_by(self._tower("document").facts)
        return {
            **self._describe(),
            "activation": activation,
            "pooling": pooling,
            "special_tokens": self.special_tokens,
            "top_k": {role: self._top_k(role) for role in ("query", "document")},
            "weighed_by": {"query": self.query, "document": "model"},
            "index": InvertedIndex.DESCRIPTION,
        }

    def encode(self, texts: Sequence[str], role: Role) -> SparseRows:
        if role == "query" and self.query != "model":
            return self._looked_up(texts)
        rows: list[Row | None] = [None] * len(texts)
        finish = self._finisher(role)
        for numbers, batch in self._encode(texts, role, finish):
            for number, row in zip(numbers, batch, strict=True):
                rows[number] = row
        return sparse_rows([row for row in rows if row is not None], self._width(role))

    def index(self, documents: Chunks[SparseRows], context: Context) -> InvertedIndex:
        return InvertedIndex.build(documents)

    def _finisher(self, role: Role) -> Any:
        tower, top_k = self._tower(role), self._top_k(role)
        if role == "query" and tower.facts.query_route:
            raise DefinitionError(
                f"Model '{self.model.id}' makes queries by {', '.join(tower.facts.query_route)},"
                ' not by the network of documents. Set parameters.query = "idf" or "tokens".'
            )
        dropped = special_ids(tower) if self.special_tokens == "drop" else np.empty(0, np.int64)

        pooling, activation = pooled_by(tower.facts)
        later = activation if pooling == "max" else None  # sums are activated before they are

        def finish(hidden: NDArray[np.float32], ids: Ids, mask: Ids) -> list[Row]:
            values = tower.engine.decoded(unpadded(hidden, mask))
            return [row_of(one, dropped, top_k, later) for one in values]

        return finish

    def _looked_up(self, texts: Sequence[str]) -> SparseRows:
        """The weight of every token that a text holds, special tokens excepted."""
        tower = self._tower("query")
        rows: list[Row] = []
        for window in windows(texts):
            for ids in tower.tokens.encode(self._prepared(texts[window], "query")).ids:
                terms = np.unique(ids)
                terms = terms[self._token_weights[terms] > 0]
                terms = terms[largest(self._token_weights[terms], self._top_k("query"))]
                rows.append((terms, self._token_weights[terms]))
        return sparse_rows(rows, len(self._token_weights))

    @cached_property
    def _token_weights(self) -> NDArray[np.float32]:
        """(vocabulary,) what a token of a query weighs."""
        tower = self._tower("query")
        weights = np.ones(self._width("query"), dtype=np.float32)
        if self.query == "idf":
            weights[:] = 0
            for token, weight in self._idf().items():
                number = tower.tokens.tokenizer.token_to_id(token)
                if number is not None:
                    weights[number] = weight
        weights[special_ids(tower)] = 0
        return weights

    def _idf(self) -> dict[str, float]:
        path = self.model.folder / IDF
        if not path.is_file():
            raise ModelError(
                f"Model '{self.model.id}': no {IDF} in {self.model.folder}, which"
                ' parameters.query = "idf" needs. Fetch the model again, or set query = "model".'
            )
        weights: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
        return weights

    def _top_k(self, role: Role) -> int | None:
        return self.top_k.get(role) if isinstance(self.top_k, dict) else self.top_k

    def _width(self, role: Role) -> int:
        """Size of the vocabulary."""
        return self._tower(role).facts.vocabulary

    def _head(self, role: Role) -> Splade:
        return Splade(activation=self.activation, pooling=self.pooling)

    def _tower(self, role: Role) -> Tower:
        if role == "query" and self.query != "model":
            return self._query_tokens
        return super()._tower(role)

    @cached_property
    def _query_tokens(self) -> Tower:
        network = self._network("query", self.model)
        return self._tower_of("query", network, self._engines(network), TokenTower)


def row_of(values: Array, dropped: Ids, top_k: int | None, activation: str | None) -> Row:
    """The `top_k` largest values above zero, activated; those of `dropped` entries are left out."""
    values[dropped] = 0
    terms = np.flatnonzero(values > 0)
    above = values[terms]
    kept = largest(above, top_k)
    weights = above[kept]
    return terms[kept], weights if activation is None else activated(weights, activation)
