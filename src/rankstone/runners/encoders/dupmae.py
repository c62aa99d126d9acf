"""DupMAE: a short dense vector beside the heaviest words of a text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic.dataclasses import dataclass
from scipy import sparse

from rankstone.errors import ModelError
from rankstone.runners.protocols import STRICT, Chunks, Context, Hits, Json, Role
from rankstone.runners.transformer.encoder import Length, TransformerSettings
from rankstone.runners.transformer.pooling import Linear, named_steps
from rankstone.runners.transformer.tokens import Ids

Rows = NDArray[np.float32]
QUERY_BLOCK = 64
"""Queries scored at once: a score of every document is held for each."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class DupMAE(TransformerSettings):
    """h = W h_cls, and mu = the maximum over tokens of the masked-language-model's logits.

    Of a document's mu the `top_k` largest entries are kept, a query's is whole:
    score(q, d) = <h_q, h_d> + sum over the kept i of mu_q[i] mu_d[i]. From Xiao et al., RetroMAE-2,
    ACL 2023, arXiv:2305.02564, section 3.3; the maximum is over all tokens but the first, as in the
    authors' pre-training code.

    A document is a row of (h, the kept values, their vocabulary ids), a query of (h, mu).
    """

    task: ClassVar[Literal["hidden", "mlm", "both"]] = "both"

    projection: str
    """The module of the model's weights that makes h of the first token's state."""
    top_k: Length = 384

    def describe(self) -> Mapping[str, Json]:
        return {
            **self._describe(),
            "projection": self.projection,
            "top_k": self.top_k,
            "similarity": "dot",
            "index": DupMAEIndex.DESCRIPTION,
        }

    def encode(self, texts: Sequence[str], role: Role) -> Rows:
        """(len(texts), dim) rows, of another `dim` for queries than for documents."""
        rows = np.empty((len(texts), self._widths[role]), dtype=np.float32)
        for places, batch in self._encode(texts, role, lambda *given: self._finish(role, *given)):
            rows[places] = batch
        return rows

    def index(self, documents: Chunks[Rows], context: Context) -> DupMAEIndex:
        return DupMAEIndex.build(documents, self._short.weight.shape[0], self._vocabulary)

    def _finish(self, role: Role, states: Rows, ids: Ids, mask: Ids) -> Rows:
        head = self._tower(role).engine.head
        weight, bias = head["decoder.weight"], head.get("decoder.bias")
        width = self._short.weight.shape[1]
        short = self._short(states[:, 0, :width])
        mu = np.empty((len(states), len(weight)), dtype=np.float32)
        for row, length in enumerate(mask.sum(axis=1)):
            logits = states[row, 1:length, width:] @ weight.T
            mu[row] = logits.max(axis=0) if bias is None else logits.max(axis=0) + bias
        if role == "query":
            return np.hstack([short, mu])
        kept = np.sort(np.argsort(-mu, axis=1, kind="stable")[:, : self._kept], axis=1)
        return np.hstack([short, np.take_along_axis(mu, kept, axis=1), kept.astype(np.float32)])

    @cached_property
    def _short(self) -> Linear:
        step = named_steps(self.model, (self.projection,))[0]
        if not isinstance(step, Linear):
            raise ModelError(
                f"Model '{self.model.id}': '{self.projection}' is no linear map."
                " Correct parameters.projection."
            )
        return step

    @cached_property
    def _vocabulary(self) -> int:
        return len(self._tower("document").engine.head["decoder.weight"])

    @property
    def _kept(self) -> int:
        return min(self.top_k, self._vocabulary)

    @property
    def _widths(self) -> dict[Role, int]:
        short = self._short.weight.shape[0]
        return {"query": short + self._vocabulary, "document": short + 2 * self._kept}


class DupMAEIndex:
    """The documents of highest score, by brute force; of equal scores the first document."""

    DESCRIPTION = "exact inner product, dense and sparse"

    def __init__(self, short: Rows, words: Any) -> None:
        """Use `build` or `load`. (n, dim) vectors, and (n, vocabulary) weights as CSR."""
        self._short, self._words = short, words

    @classmethod
    def build(cls, documents: Chunks[Rows], width: int, vocabulary: int) -> DupMAEIndex:
        rows = [*documents] or [np.empty((0, width), np.float32)]
        short = np.concatenate([piece[:, :width] for piece in rows])
        kept = (rows[0].shape[1] - width) // 2
        values = np.concatenate([piece[:, width : width + kept] for piece in rows])
        ids = np.concatenate([piece[:, width + kept :] for piece in rows]).astype(np.int32)
        ends = np.arange(len(short) + 1) * kept
        shape = (len(short), vocabulary)
        return cls(short, sparse.csr_array((values.ravel(), ids.ravel(), ends), shape=shape))

    def search(self, queries: Rows, k: int) -> Hits:
        hits = Hits.empty(len(queries), k)
        depth, width = min(k, len(self._short)), self._short.shape[1]
        for start in range(0, len(queries) if depth else 0, QUERY_BLOCK):
            block = queries[start : start + QUERY_BLOCK]
            found = (self._words @ np.ascontiguousarray(block[:, width:].T)).T
            found = found + block[:, :width] @ self._short.T
            best = np.argsort(-found, axis=1, kind="stable")[:, :depth]
            rows = slice(start, start + len(block))
            hits.docs[rows, :depth] = best
            hits.scores[rows, :depth] = np.take_along_axis(found, best, axis=1)
        return hits

    def save(self, folder: Path) -> None:
        words = self._words
        arrays = {"values": words.data, "ids": words.indices, "ends": words.indptr}
        for name, array in {"short": self._short, **arrays}.items():
            np.save(folder / f"{name}.npy", array)
        (folder / "shape.json").write_text(json.dumps(words.shape))

    @classmethod
    def load(cls, folder: Path) -> DupMAEIndex:
        short, *parts = (
            np.load(folder / f"{name}.npy") for name in ("short", "values", "ids", "ends")
        )
        shape = tuple(json.loads((folder / "shape.json").read_text()))
        return cls(short, sparse.csr_array(tuple(parts), shape=shape))

    def nbytes(self) -> int:
        words = self._words
        parts = (self._short, words.data, words.indices, words.indptr)
        return sum(int(part.nbytes) for part in parts)
