"""JPQ: OPQ with centroids trained by a ranking loss."""

from __future__ import annotations

from typing import ClassVar

from pydantic.dataclasses import dataclass

from rankstone.runners.protocols import STRICT
from rankstone.runners.search.quantisation.trained_pq import TrainedQuantisation


@dataclass(frozen=True, kw_only=True, config=STRICT)
class JPQ(TrainedQuantisation):
    """Joint optimisation of queries and product quantisation over fixed document codes.

    Zhan, Mao, Liu, Guo, Zhang, Ma: Jointly Optimizing Query Encoder and Product Quantization to
    Improve Retrieval Performance, CIKM 2021 (arXiv:2108.00644). Codes are fixed to those of
    OPQ{M},PQ{M}x8; the centroids are trained on training queries, with a listwise softmax over the
    200 documents ranked best by the index itself (see `codebooks.train_jpq`), and the epoch with
    the best held-out nDCG@10 is kept.

    A recipe (`[training]`, loss = "jpq") trains the query encoder and the centroids as in the paper
    (see `rankstone.training.losses.quantised`). Without one the query encoder is fixed,
    `query_rate` trains a linear map of its vectors instead, and the loss is the softmax, not
    LambdaLoss; with fewer than 20 training queries the index is OPQ's, with a warning.

    Score, ties and memory: as `pq.ProductQuantisation` with `rotate`. n M bytes of codes,
    1,024 dim of centroids and 4 dim^2 of the rotation; with lists 8 n + 4 dim n_lists more.
    Training: one search of the index per 64 queries and epoch.
    """

    DESCRIPTION: ClassVar[str] = "JPQ, asymmetric inner product, faiss"
