"""k-NN search with a black-box scorer by a CUR decomposition of its scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.errors import DefinitionError
from rankstone.runners.meter import Work, report
from rankstone.runners.protocols import STRICT, Context, Hits
from rankstone.runners.representations.pieces import Derived, Positional
from rankstone.runners.saved import SavedIndex
from rankstone.runners.search.base import capped
from rankstone.runners.search.blackbox.black_box import OverBlackBox
from rankstone.runners.search.blackbox.call_split import best_split, defined, pseudo_inverse
from rankstone.runners.search.exact.flat import ExactIndex, written
from rankstone.runners.search.rescoring import Scored, reranking
from rankstone.runners.top_k import beneath
from rankstone.text_files import sentences

Scores = NDArray[np.float32]
Positions = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class AnnCur(OverBlackBox):
    """ANNCUR: all scores of a query are predicted from its scores for a few documents.

    Yadav, Monath, Angell, Zaheer, McCallum: Efficient Nearest Neighbor Search for Cross-Encoder
    Models using Matrix Factorization, EMNLP 2022, arXiv:2210.12579, section 2.2. R (k_q, n) are the
    scores of anchor queries for all documents, A its columns of the k_i anchor documents, and with
    the pseudo-inverse U of A

        E = U R    (k_i, n),    s = e_q E    (n,),

    where e_q are the k_i scores of a query for the anchor documents. s is exact for every query if
    the matrix of all scores has the rank of A. Both kinds of anchors are drawn uniformly.

    A query costs B = anchor_documents + rescore calls of the black box and k_i n multiply-adds:
    the best `rescore` documents by s, without anchors, are scored, and ranked together with the
    anchors by exact scores; ties go to the lower position. All others follow in the order of s. A
    document without a score, such as one without tokens, is not found, and such a query finds
    nothing. The calls are the items of the phase `rerank`.

    With `anchor_documents = "tuned"`, k_i is chosen within a budget of `calls` to maximise the
    recall of the `tuned_for` best documents of held-out anchor queries (see `best_split`), and k_r
    is the rest. Their scores for all documents are known already, so tuning needs no calls.

    Indexing costs k_q n calls and O(k_q k_i min(k_q, k_i)) for U. A scorer's R is cached in shards
    like an encoding, and one shard of R is in memory. Search keeps E in memory: 4 k_i n bytes.
    """

    DESCRIPTION: ClassVar[str] = "ANNCUR, exact over latent vectors, the best scored exactly"

    anchor_queries: Annotated[int, Field(ge=1)] = 500
    anchor_documents: Annotated[int, Field(ge=1)] | Literal["tuned"] = 100
    rescore: Annotated[int, Field(ge=1)] = 100
    """Documents scored for each query in addition to the anchors."""
    calls: Annotated[int, Field(ge=2)] = 500
    """B, the calls per query of a tuned split."""
    tuned_for: Annotated[int, Field(ge=1)] = 100
    """Depth of the recall that a tuned split maximises."""
    rcond: Annotated[float, Field(ge=0, lt=1)] = 1e-4
    """Singular values of A below this share of the largest are treated as zero: inverted, they
    would amplify the noise in A, especially with similar numbers of anchors of both kinds. 0 keeps
    all."""
    queries_from: Literal["training", "documents"] = "training"
    """Source of anchor queries: the training split, or the first sentences of documents, which are
    always available but less similar to queries."""

    def build(self, scored: Scored, context: Context) -> AnnCurIndex:
        rng = np.random.default_rng(context.seed)
        texts = self._anchor_queries(context, rng)
        with context.phase("train"):  # a phase of its own: progress counts texts, not calls
            known = scored.against(self.encode(texts, "query"))
        tuned = self.anchor_documents == "tuned"
        with context.phase("train", items=len(texts) * len(scored) if tuned else 0):
            asked, rescore = self._split(known, len(texts), context.seed)
        n_anchors = capped("anchor_documents", asked, len(scored), "there are no more documents")
        anchors = np.sort(rng.choice(len(scored), n_anchors, replace=False))
        with context.phase("train", items=len(texts) * len(scored)):
            latent = _Latent(known, anchors, self.rcond)
            rows = written(latent, n_anchors, context.work)
            index = ExactIndex.build(rows)
        skipped = np.union1d(anchors, latent.undefined)
        return AnnCurIndex(
            scored, index, anchors, skipped, rescore=rescore, tuned=tuned, context=context
        )

    def _split(self, known: Positional, n_queries: int, seed: int) -> tuple[int, int]:
        """Return the numbers of anchor documents (k_i) and of re-scored documents (k_r)."""
        if self.anchor_documents != "tuned":
            return self.anchor_documents, self.rescore
        anchors = best_split(known, n_queries, self.calls, self.tuned_for, self.rcond, seed)
        return anchors, self.calls - anchors

    def _anchor_queries(self, context: Context, rng: np.random.Generator) -> list[str]:
        if self.queries_from == "training":
            known = context.train_queries
            if not len(known):
                raise DefinitionError(
                    "key 'parameters.anchor_queries': they are drawn from training queries, and"
                    " this task has none. Take a task with a training split, or state"
                    ' queries_from = "documents".'
                )
        else:
            known = context.texts
        why = f"there are no more {self.queries_from} queries"
        size = capped("anchor_queries", self.anchor_queries, len(known), why)
        chosen = rng.choice(len(known), size, replace=False)
        texts = [known[int(row)] for row in np.sort(chosen)]
        if self.queries_from == "training":
            return texts
        return [next(iter(sentences(text)), "") for text in texts]


class _Latent:
    """E of the formula, by document; read once because R is expensive."""

    def __init__(self, known: Positional, anchors: Positions, rcond: float) -> None:
        """`known`: R, transposed."""
        self._inverse = pseudo_inverse(known.take(anchors).T, rcond)
        self._known = known
        self._undefined: list[Positions] = []

    def __iter__(self) -> Iterator[Scores]:
        return iter(Derived(self._known, self._latent))

    def _latent(self, scores: Scores, positions: Positions) -> Scores:
        self._undefined.append(positions[np.isneginf(scores).all(axis=1)])
        vectors = defined(scores).astype(np.float64) @ self._inverse.T
        report(Work(scores.size))
        return vectors.astype(np.float32)

    @property
    def undefined(self) -> Positions:
        """Documents read so far that have no score for any query."""
        return np.concatenate([np.empty(0, np.int64), *self._undefined])


@dataclasses.dataclass(frozen=True, eq=False)
class AnnCurIndex(SavedIndex):
    """Latent vectors of all documents, and the black box."""

    scored: Scored
    latent: ExactIndex
    anchors: Positions
    skipped: Positions
    """Documents excluded from the latent search: anchors, and those without scores."""
    rescore: int
    tuned: bool = False
    context: Context | None = None
    """Charges calls to the phase `rerank`; None in a loaded index."""

    def notes(self) -> list[str]:
        """Return the split in use, if it was tuned, and the scorer's notes."""
        split = f"{len(self.anchors)} anchors and {self.rescore} more documents a query"
        return [
            *super().notes(),
            *([f"the split of calls was tuned: {split}"] if self.tuned else []),
        ]

    def search(self, queries: Any, k: int) -> Hits:
        hits = Hits.empty(len(queries), k)
        for row in range(len(queries)):
            found = self._found(queries[row : row + 1], k)
            n = len(found.docs)
            hits.docs[row, :n], hits.scores[row, :n] = found
        return hits

    def _found(self, query: Any, k: int) -> Hits:
        """Search for a single query: in a batch, s and so its ties could be rounded differently."""
        known = self._asked(query, self.anchors)
        if np.isneginf(known).all():
            return Hits(self.anchors[:0], known[:0])
        depth = min(max(k, self.rescore) + len(self.skipped), len(self.scored))
        near = self.latent.search(defined(known)[None], depth)
        kept = ~np.isin(near.docs[0], self.skipped)
        others, approximate = near.docs[0][kept], near.scores[0][kept]
        docs = np.concatenate([self.anchors, others[: self.rescore]])
        exact = np.concatenate([known, self._asked(query, others[: self.rescore])])
        order = np.lexsort((docs, -exact))[: int((exact > -np.inf).sum())]
        docs, exact = docs[order], exact[order]
        tail = beneath(float(exact[-1]), approximate[self.rescore :])
        docs = np.concatenate([docs, others[self.rescore :]])
        return Hits(docs[:k], np.concatenate([exact, tail])[:k])

    def _asked(self, query: Any, positions: Positions) -> Scores:
        with reranking(self.context, len(positions)):
            return self.scored.scores(query, positions)
