"""Similarities normalised by a query bank, to reduce hubness."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.protocols import STRICT, Chunks, Context, Hits
from rankstone.runners.representations.pieces import Derived, Positional
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.base import OverEncoder
from rankstone.runners.search.exact.flat import ExactIndex, Vectors, dense
from rankstone.runners.top_k import largest

Positions = NDArray[np.int64]
Bank = tuple[Vectors, float, Positions | None]
"""Vectors, their beta, and their positions in the corpus if they are documents."""
Mode = Literal["IS", "DIS", "DualIS", "DualDIS", "DualDIS-exp"]
LEAST = 1e-6
"""Lower bound of a similarity inside a logarithm."""
BANK_BLOCK = 4096
"""Vectors of a bank compared with a piece of the corpus at once."""


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BankNormalisation(OverEncoder):
    """Exact inverted softmax over banks: IS, DIS (QB-Norm), DualIS and DualDIS.

    Bogolin et al.: Cross Modal Retrieval with Querybank Normalisation, CVPR 2022, arXiv:2112.12777
    (IS, DIS); Wang, Jian, Xue: Balance Act: Mitigating Hubness in Cross-Modal Retrieval with Query
    and Gallery Banks, EMNLP 2023, arXiv:2310.11612 (Dual).

    IS of query q and document g over a bank of vectors b is

        s'(q, g) = exp(beta <q, g>) / sum over b of exp(beta <b, g>),

    and the dual forms multiply the one over a bank of training queries, with `beta`, by the one
    over a bank of documents, with `beta2`. Computation is in logarithms, to avoid overflow:

        log s'(q, g) / B = <q, g> - h1(g) / B - h2(g) / B,    B = beta + beta2,
        h(g) = log of the mean over b of exp(beta <b, g>),

    which ranks as s' does and is the inner product of (q, -1, -1) and (g, h1 / B, h2 / B): exact
    search over vectors with one more coordinate per bank. The mean replaces the sum because a
    document in the bank of documents is not compared with itself, and so has one term less.

    DIS normalises a query only if its most similar document is activated, that is, among the `k`
    most similar documents of a vector of the bank; otherwise the query's extra coordinate is 0, and
    its scores are raw similarities. DualDIS is the product of two DIS, one per bank; a bank that
    the query does not activate contributes the raw similarity, so that

        log s'(q, g) = log <q, g> + beta <q, g> - h(g)

    if one of the two is activated, and <q, g> ranks if none is. The paper states no rule for
    similarities below zero; here values below 1e-6 enter the logarithm as 1e-6. `DualDIS-exp` is
    our own variant: a raw factor enters as exp(beta <q, g>).

    Scores are in units of the similarity, and comparable within a query. Indexing takes
    O(bank x n x dim), a query O(n x dim), twice for DIS, which first searches for the most similar
    document. Ties are broken by faiss, and in DualDIS go to the lower position.
    """

    DESCRIPTION: ClassVar[str] = "bank normalisation, exact inner product with more coordinates"

    mode: Mode = "DIS"
    beta: Annotated[float, Field(gt=0)] = 20.0
    """Inverse temperature over the bank of queries; 20 is QB-Norm's, for cosines."""
    beta2: Annotated[float, Field(gt=0)] = 3.0
    """Inverse temperature over the bank of documents."""
    k: Annotated[int, Field(ge=1)] = 1
    """Documents that each vector of a bank activates (DIS)."""
    bank_queries: Annotated[int, Field(ge=1)] = 10_000
    """Most training queries in the bank of queries."""
    bank_documents: Annotated[int, Field(ge=1)] = 10_000
    """Most documents in the bank of documents."""

    def build(self, documents: Chunks[Any], context: Context) -> BankIndex:
        banks: list[Bank] = [(self._queries(context), self.beta, None)]
        total, n = self.beta, len(documents)
        if self.mode.startswith("Dual"):
            rng = np.random.default_rng(context.seed)
            chosen = rng.choice(n, min(self.bank_documents, n), replace=False)
            chosen.sort()
            banks.append((dense(documents.take(chosen)), self.beta2, chosen))
            total += self.beta2
        with context.phase("train", items=sum(len(bank) for bank, _, _ in banks)):
            penalties = np.stack(
                [hubness(bank, documents, beta, own=own) / total for bank, beta, own in banks],
                axis=1,
            ).astype(np.float32)
            index = ExactIndex.build(
                Derived(documents, lambda piece, at: np.hstack([dense(piece), penalties[at]]))
            )
            active = [self._activated(index, bank, n) for bank in banks if "DIS" in self.mode]
        return BankIndex(
            index,
            betas=np.array([beta for _, beta, _ in banks]),
            activated=np.array(active, dtype=bool),
            product=self.mode == "DualDIS",
        )

    def _queries(self, context: Context) -> Vectors:
        texts = context.train_queries
        if not len(texts):
            raise DefinitionError(
                f"key 'parameters.mode': {self.mode} needs a bank of training queries, and this"
                " task has none. Take a task with a training split, or the encoder without it."
            )
        rng = np.random.default_rng(context.seed)
        chosen = rng.choice(len(texts), min(self.bank_queries, len(texts)), replace=False)
        with context.phase("train"):
            return dense(self.encoder.encode([texts[row] for row in np.sort(chosen)], "query"))

    def _activated(self, index: ExactIndex, bank: Bank, n: int) -> NDArray[np.bool_]:
        """Return an (n,) mask of the documents among the `k` nearest of a vector of the bank."""
        vectors, _, own = bank
        n_banks = 2 if self.mode.startswith("Dual") else 1
        found = index.search(_raw(vectors, n_banks), self.k + (own is not None)).docs
        if own is not None:  # a document is not its own neighbour
            others = found != own[:, None]
            found = np.where(others & (np.cumsum(others, axis=1) <= self.k), found, -1)
        active = np.zeros(n, dtype=bool)
        active[found[found >= 0]] = True
        return active


@dataclasses.dataclass(frozen=True, eq=False)
class BankIndex(SavedIndex):
    """Index of vectors with each document's hubness as extra coordinates."""

    index: ExactIndex
    betas: NDArray[np.float64]
    """(n_banks,)"""
    activated: NDArray[np.bool_]
    """(n_banks, n) for DIS; (0,) if every query is normalised."""
    product: bool
    """True: a bank that is not activated contributes the raw similarity as a factor (DualDIS)."""

    def search(self, queries: Vectors, k: int) -> Hits:
        queries = np.asarray(dense(queries))
        n_banks = len(self.betas)
        asked = _raw(queries, n_banks)
        normalised = np.ones((len(queries), n_banks), dtype=bool)
        if self.activated.size:
            best = self.index.search(asked, 1).docs[:, 0]
            normalised = self.activated[:, best].T
        asked[:, queries.shape[1] :] = np.where(normalised, np.float32(-1), np.float32(0))
        hits = self.index.search(asked, k)
        for row in np.flatnonzero(normalised.any(1) & ~normalised.all(1)) if self.product else ():
            docs, scores = self._product(queries[row], normalised[row], k)
            hits.docs[row, : len(docs)], hits.scores[row, : len(docs)] = docs, scores
        return hits

    def _product(
        self, query: Vectors, normalised: NDArray[np.bool_], k: int
    ) -> tuple[Positions, Vectors]:
        """Return the best documents by raw similarity times inverted softmax, over all
        documents."""
        total, beta = self.betas.sum(), self.betas @ normalised
        scores = [np.empty(0, np.float32)]
        for block in self.index.blocks():
            similarity = block[:, : len(query)] @ query
            penalty = block[:, len(query) :] @ normalised.astype(np.float32)
            logs = np.log(np.maximum(similarity, LEAST)) + beta * similarity
            scores.append((logs / total - penalty).astype(np.float32))
        found = np.concatenate(scores)
        kept = largest(found, k)
        docs = kept[np.lexsort((kept, -found[kept]))]
        return docs, found[docs]


def _raw(queries: Vectors, n_banks: int) -> Vectors:
    """Return queries whose inner products with the index's vectors are the raw similarities."""
    zeros = np.zeros((len(queries), n_banks), dtype=np.float32)
    return np.hstack([np.asarray(queries, dtype=np.float32), zeros])


def hubness(
    bank: Vectors, documents: Positional, beta: float, own: Positions | None = None
) -> NDArray[np.float64]:
    """Return the (len(documents),) log of the mean over b of exp(beta <b, g>) for documents g.

    `own`: positions of the bank's vectors if they are documents, which skip themselves.
    """
    parts, start = [np.empty(0)], 0
    for piece in documents:
        parts.append(_hubness(bank, dense(piece), beta, None if own is None else own - start))
        start += len(piece)
    return np.concatenate(parts)


def _hubness(
    bank: Vectors, piece: Vectors, beta: float, own: Positions | None
) -> NDArray[np.float64]:
    largest = np.full(len(piece), -np.inf)
    total, count = np.zeros(len(piece)), np.full(len(piece), len(bank))
    for start in range(0, len(bank), BANK_BLOCK):
        logits = np.float32(beta) * (bank[start : start + BANK_BLOCK] @ piece.T)
        if own is not None:
            rows = np.arange(start, start + len(logits))
            rows = rows[(own[rows] >= 0) & (own[rows] < len(piece))]
            logits[rows - start, own[rows]] = -np.inf
            count[own[rows]] -= 1
        # Streaming log-sum-exp: the sum so far is in units of exp(largest so far).
        higher = np.maximum(largest, logits.max(axis=0))
        floor = np.where(np.isfinite(higher), higher, 0)
        added = np.exp(logits - floor.astype(np.float32)).sum(axis=0, dtype=np.float64)
        total = total * np.exp(largest - floor) + added
        largest = higher
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 0, np.log(total / count) + largest, 0.0)
