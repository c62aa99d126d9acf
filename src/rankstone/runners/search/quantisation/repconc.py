"""RepCONC: product quantisation by constrained clustering, trained to rank."""

from __future__ import annotations

from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT, Chunks
from rankstone.runners.search.exact.flat import Vectors
from rankstone.runners.search.faiss.faiss_index import blocks
from rankstone.runners.search.quantisation.codebooks import Constraint, Options, train_repconc
from rankstone.runners.search.quantisation.quantiser import Codes, Quantiser, encoded
from rankstone.runners.search.quantisation.sinkhorn import balanced_codes
from rankstone.runners.search.quantisation.trained_pq import Rate, TrainedQuantisation
from rankstone.runners.search.quantisation.training_queries import TrainingQueries


@dataclass(frozen=True, kw_only=True, config=STRICT)
class RepCONC(TrainedQuantisation):
    """Representations by constrained clustering, then JPQ.

    Zhan, Mao, Liu, Guo, Zhang, Ma: Learning Discrete Representations via Constrained Clustering for
    Effective and Efficient Dense Retrieval, WSDM 2022 (arXiv:2110.05789). Warm start from
    OPQ{M},PQ{M}x8. First stage: the centroids learn to rank documents whose codes are assigned
    under the constraint that all centroids of a part are used equally (see `sinkhorn` and
    `codebooks.train_repconc`). Second stage: all documents get the code of their nearest centroids,
    and the centroids are trained once more as in JPQ. Both keep the epoch of the best held-out
    nDCG@10, the start included.

    What differs from the paper: neither encoder is trained, so the first stage moves centroids
    only, where the paper moves the documents towards them too. The rotation stays OPQ's. With fewer
    than 20 training queries the index is OPQ's, and a warning says so.

    Score, ties and memory: as `jpq.JPQ`. Training: O(M batch_documents 256 iterations) per 64
    queries and epoch of the first stage.
    """

    DESCRIPTION: ClassVar[str] = "RepCONC, asymmetric inner product, faiss"

    cluster_epochs: Annotated[int, Field(ge=0)] = 5
    """Of the first stage, at most."""
    cluster_rate: Rate = 2e-4
    """Adam's learning rate of the centroids in the first stage."""
    epsilon: Rate = 0.003
    """Weight of the entropy in the assignment, for distances scaled to [-1, 1]."""
    iterations: Annotated[int, Field(ge=1)] = 100
    """Of Sinkhorn's normalisation."""
    mse_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1e-4
    """Of the squared error of quantisation beside the ranking loss."""
    batch_documents: Annotated[int, Field(ge=256)] = 1024
    """Documents that are clustered together in one step."""
    balanced: bool = False
    """Whether the final codes obey the constraint too, in batches; the paper's are the nearest."""

    def clustered(
        self,
        start: Quantiser,
        documents: Chunks[Vectors],
        learn: TrainingQueries,
        held_out: TrainingQueries,
        seed: int,
    ) -> Quantiser:
        constraint = Constraint(
            self.epsilon, self.iterations, self.mse_weight, self.batch_documents
        )
        learnt = train_repconc(
            start,
            documents.take,
            lambda quantiser: encoded(quantiser, documents),
            learn,
            held_out,
            Options(self.cluster_epochs, self.cluster_rate, seed=seed),
            constraint,
        )
        return learnt.quantiser

    def codes(self, quantiser: Quantiser, documents: Chunks[Vectors]) -> Codes:
        if not self.balanced:
            return super().codes(quantiser, documents)
        parts = blocks(documents, self.batch_documents)
        return np.concatenate([self._balanced(quantiser, block) for block in parts])

    def _balanced(self, quantiser: Quantiser, block: Vectors) -> Codes:
        import torch

        n_parts, _, width = quantiser.centroids.shape
        codes = balanced_codes(
            torch.from_numpy(quantiser.rotated(block)).reshape(len(block), n_parts, width),
            torch.from_numpy(quantiser.centroids),
            epsilon=self.epsilon,
            iterations=self.iterations,
        )
        return np.asarray(codes.numpy(), dtype=np.uint8)
