"""Learned sparse encoders: one weight per vocabulary entry, with exact search."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass as plain_dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError, ModelError
from rankstone.runners.encoders.bag_of_tokens import IDF, VocabularyEncoder, activated, special_ids
from rankstone.runners.protocols import STRICT, Json, Role
from rankstone.runners.representations.sparse_rows import Row
from rankstone.runners.search.exact.inverted_index import InvertedIndex
from rankstone.runners.top_k import largest
from rankstone.runners.transformer.encoder import Length
from rankstone.runners.transformer.network import Array, Facts, Head, Loaded, Network
from rankstone.runners.transformer.tokens import Ids

Activation = Literal["log1p", "log1p2"]
"""log1p: log(1 + relu(x)), as in SPLADE; log1p2: log(1 + log(1 + relu(x)))."""


@plain_dataclass(frozen=True, kw_only=True)
class Splade(Head):
    """Network whose logits over the vocabulary are pooled over a text's tokens."""

    activation: Activation | None
    pooling: Literal["max", "sum"] | None
    """None: as in the checkpoint."""

    def load(self, network: Network) -> Loaded:
        from rankstone.runners.transformer.vocabulary import load_splade

        return load_splade(network, self.pooling, self.activation)

    def comparable(self, outputs: Array, facts: Facts) -> Array:
        """Return weights; for sum pooling the outputs are activated already."""
        pooling, activation = pooled_by(facts)
        return outputs if pooling == "sum" else activated(np.maximum(outputs, 0), activation)


def pooled_by(facts: Facts) -> tuple[str, str]:
    """Return pooling and activation of a loaded network, as named in definitions."""
    own = facts.modules[-1]
    double = own["activation_function"] == "log1p_relu"
    return str(own["pooling_strategy"]), "log1p2" if double else "log1p"


@dataclass(frozen=True, kw_only=True, config=STRICT)
class SparseEncoder(VocabularyEncoder):
    """SPLADE models: activated logits of a masked language model, pooled over tokens.

    w_j = max_t log(1 + relu(logit_tj)) over the tokens t of a text, special tokens included (Formal
    et al. 2021, SPLADE v2, arXiv:2109.10086, equations 1 and 3), or the sum instead of the maximum
    (SPLADE v1). The score is the inner product.

    Queries may be inference-free (OpenSearch's doc-only models, Geng et al. 2024,
    arXiv:2411.04403): each distinct token of a query, with a weight from `idf.json`. No network is
    loaded for them.

    Values equal those of SparseEncoder in sentence-transformers up to rounding, which depends on
    the batch. Only documents that share a term with the query are returned.
    """

    activation: Activation | None = None
    """log1p: as above; log1p2: log(1 + log(1 + relu(x))), of the L0 models (arXiv:2504.14839).
    None: as in the model's configuration, log1p if it states none."""
    pooling: Literal["max", "sum"] | None = None
    """None: as in the model's configuration, max if it states none."""
    special_tokens: Literal["keep", "drop"] = "keep"
    """drop: the tokenizer's special tokens have weight 0, as in OpenSearch's models."""
    top_k: Length | dict[Role, Length] | None = None
    """Number of largest weights kept per text; None: all above zero."""
    own_tokens: Annotated[tuple[Role, ...], Field(strict=False)] = ()
    """Roles whose texts are not expanded: only a text's own tokens have weights."""
    query: Literal["model", "idf", "tokens"] = "model"
    """Weights of a query's terms: from the network, from `idf.json`, or 1 for each."""

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
            "expanded": {role: role not in self.own_tokens for role in ("query", "document")},
            "weighed_by": {"query": self.query, "document": "model"},
            "index": InvertedIndex.DESCRIPTION,
        }

    def _row(self, role: Role) -> Callable[[Array, Ids], Row]:
        tower, top_k = self._tower(role), self._top_k(role)
        if role == "query" and tower.facts.query_route:
            raise DefinitionError(
                f"Model '{self.model.id}' makes queries by {', '.join(tower.facts.query_route)},"
                ' not by the network of documents. Set parameters.query = "idf" or "tokens".'
            )
        dropped = special_ids(tower) if self.special_tokens == "drop" else np.empty(0, np.int64)
        pooling, activation = pooled_by(tower.facts)
        later = activation if pooling == "max" else None  # sums are activated already
        own = held if role in self.own_tokens else lambda values, ids: values
        return lambda values, ids: row_of(own(values, ids), dropped, top_k, later)

    def _bag(self, ids: Ids) -> Row:
        terms = np.unique(ids)
        terms = terms[self._token_weights[terms] > 0]
        terms = terms[largest(self._token_weights[terms], self._top_k("query"))]
        return terms, self._token_weights[terms]

    @cached_property
    def _token_weights(self) -> NDArray[np.float32]:
        """(vocabulary,) weights of query tokens."""
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
        return self._tower(role).facts.vocabulary

    def _head(self, role: Role) -> Splade:
        return Splade(activation=self.activation, pooling=self.pooling)

    @property
    def _tokens_alone(self) -> tuple[Role, ...]:
        return () if self.query == "model" else ("query",)


def held(values: Array, ids: Ids) -> Array:
    """Return `values` at the entries of the tokens `ids`, and 0 elsewhere."""
    kept = np.zeros_like(values)
    kept[ids] = values[ids]
    return kept


def row_of(values: Array, dropped: Ids, top_k: int | None, activation: str | None) -> Row:
    """Return the `top_k` largest values above zero, activated, without the `dropped` entries."""
    values[dropped] = 0
    terms = np.flatnonzero(values > 0)
    above = values[terms]
    kept = largest(above, top_k)
    weights = above[kept]
    return terms[kept], weights if activation is None else activated(weights, activation)
