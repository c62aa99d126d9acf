"""RepCONC: product quantisation by constrained clustering, trained with a ranking loss."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks
from rankstone.runners.search.exact.flat import Vectors
from rankstone.runners.search.faiss.faiss_index import blocks
from rankstone.runners.search.quantisation.codebooks import (
    Model,
    Options,
    batches,
    best_epoch,
    ranking_loss,
)
from rankstone.runners.search.quantisation.quantiser import Codes, Quantiser, bare_index, encoded
from rankstone.runners.search.quantisation.sinkhorn import balanced_codes
from rankstone.runners.search.quantisation.trained_pq import Rate, TrainedQuantisation
from rankstone.runners.search.quantisation.training_queries import Positions, TrainingQueries


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RepCONC(TrainedQuantisation):
    """Constrained clustering of representations, then JPQ.

    Zhan, Mao, Liu, Guo, Zhang, Ma: Learning Discrete Representations via Constrained Clustering for
    Effective and Efficient Dense Retrieval, WSDM 2022 (arXiv:2110.05789). Training starts from
    OPQ{M},PQ{M}x8. In the first stage, centroids are trained with a ranking loss over codes that
    are assigned such that all centroids of a part are used equally (see `sinkhorn`). In the second
    stage, documents get the codes of their nearest centroids, and the centroids are trained again
    as in JPQ. Each stage keeps the epoch with the best held-out nDCG@10, including its start.

    Recipes also train the encoders: both with loss = "repconc" in the first stage, the query
    encoder with loss = "jpq" in the second (see `rankstone.training.losses.quantised`). Without
    recipes, the first stage trains only centroids, while the paper also moves documents towards
    them; and with fewer than 20 training queries the index is OPQ's, with a warning. The rotation
    remains OPQ's.

    Score, ties and memory: as `jpq.JPQ`. Training: O(M batch_documents 256 iterations) per 64
    queries and epoch of the first stage.
    """

    DESCRIPTION: ClassVar[str] = "RepCONC, asymmetric inner product, faiss"

    cluster_epochs: Annotated[int, Field(ge=0)] = 5
    """Most epochs of the first stage."""
    cluster_rate: Rate = 2e-4
    """Adam's learning rate for the centroids in the first stage."""
    epsilon: Rate = 0.003
    """Weight of the entropy in the assignment, for distances scaled to [-1, 1]."""
    iterations: Annotated[int, Field(ge=1)] = 100
    """Sinkhorn iterations."""
    mse_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    """Weight of the squared quantisation error in the loss."""
    batch_documents: Annotated[int, Field(ge=256)] = 1024
    """Documents clustered per step."""
    balanced: bool = False
    """True: the final codes obey the constraint too, batch by batch; the paper uses the nearest."""

    def clustered(
        self,
        start: Quantiser,
        documents: Chunks[Vectors],
        learn: TrainingQueries,
        held_out: TrainingQueries,
        seed: int,
    ) -> Quantiser:
        """Train centroids with a ranking loss under uniform use of the centroids.

        A step takes the relevant documents of its queries, some ranked best by the current index,
        and random others; encodes them by `balanced_codes`; and ranks all of them for every query.
        The loss is `ranking_loss` plus mse_weight |R x - c|^2. Only centroids are updated; document
        vectors and rotation are fixed.
        """
        model = Model(start, Options(self.cluster_epochs, self.cluster_rate, seed=seed))
        rng = np.random.default_rng(seed)

        def nearest(quantiser: Quantiser) -> Codes:
            return encoded(quantiser, documents)

        def epoch(number: int) -> float:
            quantiser, total = model.state()[0], 0.0
            index = bare_index(quantiser, nearest(quantiser))
            for batch in batches(learn, rng):
                positions = _documents_of(batch, index, model, self.batch_documents, rng)
                vectors = np.ascontiguousarray(documents.take(positions), dtype=np.float32)
                loss = self._loss(model, batch, positions, start.rotated(vectors))
                total += model.step(loss) * len(batch)
            return total / len(learn)

        return best_epoch(model, epoch, nearest, held_out, self.cluster_epochs).quantiser

    def codes(self, quantiser: Quantiser, documents: Chunks[Vectors]) -> Codes:
        if not self.balanced:
            return super().codes(quantiser, documents)
        parts = blocks(documents, self.batch_documents)
        return np.concatenate([self._balanced(quantiser, block) for block in parts])

    def _balanced(self, quantiser: Quantiser, block: Vectors) -> Codes:
        import torch

        n_parts, _, width = quantiser.centroids.shape
        parts = torch.from_numpy(quantiser.rotated(block)).reshape(len(block), n_parts, width)
        codes = self._balanced_codes(parts, torch.from_numpy(quantiser.centroids))
        return np.asarray(codes.numpy(), dtype=np.uint8)

    def _balanced_codes(self, parts: Any, centroids: Any) -> Any:
        return balanced_codes(parts, centroids, epsilon=self.epsilon, iterations=self.iterations)

    def _loss(
        self, model: Model, batch: TrainingQueries, positions: Positions, vectors: Vectors
    ) -> Any:
        import torch

        centroids, documents = model.centroids, torch.from_numpy(vectors)
        n_parts, _, width = centroids.shape
        parts = documents.reshape(len(documents), n_parts, width)
        codes = self._balanced_codes(parts, centroids.detach())
        quantised = centroids[torch.arange(n_parts), codes].reshape(len(documents), -1)
        scores = model.queries(batch.vectors) @ quantised.T
        relevant = np.stack([np.isin(positions, right) for right in batch.relevant])
        # The best-ranked relevant document is first in each row; other relevant ones are ignored.
        mask = torch.from_numpy(relevant)
        leader = scores.detach().masked_fill(~mask, -torch.inf).argmax(dim=1, keepdim=True)
        ordered = torch.cat([scores.gather(1, leader), scores], dim=1)
        left_out = torch.cat([torch.zeros_like(mask[:, :1]), mask], dim=1)
        error = ((documents - quantised) ** 2).sum(dim=1).mean()
        return ranking_loss(ordered, left_out) + self.mse_weight * error


def _documents_of(
    batch: TrainingQueries, index: Any, model: Model, n: int, rng: np.random.Generator
) -> Positions:
    """Return `n` sorted positions: all relevant ones, as many hard negatives, and random ones."""
    asked = np.ascontiguousarray(model.queries(batch.vectors).detach().numpy())
    depth = min(max(1, n // 2 // len(batch)), index.ntotal)
    _, hard = index.search(asked, depth)
    named = np.unique(np.concatenate([*batch.relevant, hard.ravel()]))
    chance = rng.permutation(index.ntotal)[: n + len(named)]
    others = chance[~np.isin(chance, named)][: max(0, n - len(named))]
    positions: Positions = np.sort(np.concatenate([named, others]))
    return positions
